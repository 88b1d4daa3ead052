"""`pants package` for images, indexes and layers.

The descriptor is an ordinary file of Pants. The other formats hold the bytes of all layers; they are
streamed from the Nix store straight into `dist/`, by a process that no cache knows of.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Sequence, Union

from nixoci.errors import InvalidInputError
from nixoci.image.descriptor import layer_summary
from nixoci.image.image import Image
from nixoci.image.index.descriptor import any_descriptor_json
from nixoci.image.index.platforms import platform_name
from nixoci.image.reference import Reference
from nixoci.image.written import is_written
from nixoci.json_input import read_all
from nixoci.json_output import readable_json
from nixoci.recipe.files import FilesRecipe
from nixoci.report.summary import ImageSummary, image_summary
from pants.backend.docker.package_types import BuiltDockerImage
from pants.base.build_environment import get_buildroot
from pants.core.goals.package import (
    BuiltPackage,
    BuiltPackageArtifact,
    OutputPathField,
    PackageFieldSet,
)
from pants.core.target_types import ArchivePackagesField
from pants.core.util_rules.distdir import DistDir
from pants.engine.addresses import Address
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules
from pants.engine.unions import UnionRule
from pants.help.maybe_color import MaybeColor
from pants.option.global_options import GlobalOptions

from pants_backend_nix.engine import (
    addresses_of,
    all_targets,
    create,
    implicitly,
    merge,
    prefix,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.progress import logged_progress
from pants_backend_nix.rules.assembly.digested import DigestedLayersRequest, digest_layers
from pants_backend_nix.rules.assembly.image import ImageRequest, build_image
from pants_backend_nix.rules.core.contents import contents_arguments
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.core.zipapp import pack_whole_zipapp
from pants_backend_nix.rules.delivery.claims import CLAIMS
from pants_backend_nix.rules.delivery.copies import copy_sources, environment_file
from pants_backend_nix.rules.delivery.healthcheck import warn_of_lost_healthcheck
from pants_backend_nix.rules.delivery.index import Built, IndexRequest, build_index
from pants_backend_nix.rules.delivery.origins import ORIGINS_FILE, OriginsRequest, collect_origins
from pants_backend_nix.rules.delivery.references import ReferencesRequest, name_image
from pants_backend_nix.rules.registry.environment import registry_environment
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.fields.closures import NixLayersField, NixMaxLayersField
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.image import DOCKER_ARCHIVE, NixOutputFormatField
from pants_backend_nix.targets.index.target import NixIndexedImagesField

if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

logger = logging.getLogger(__name__)

_DESCRIPTOR = "descriptor"

#: The directory of the layers that are kept, in the sandbox.
_KEPT = "kept"

_REGISTRIES = "registries.json"

#: What the name of a descriptor ends in.
_DESCRIPTOR_ENDING = "image.json"

#: And that of an index.
_INDEX_ENDING = "index.json"

#: What the default output path of another format ends in.
_ENDINGS = {"oci-layout": None, "oci-archive": "tar", DOCKER_ARCHIVE: "tar"}


@dataclass(frozen=True)
class NixImagePackageFieldSet(PackageFieldSet):
    required_fields = (NixConfigField, NixOutputFormatField)

    output_format: NixOutputFormatField
    output_path: OutputPathField


@dataclass(frozen=True)
class NixIndexPackageFieldSet(PackageFieldSet):
    required_fields = (NixIndexedImagesField, NixOutputFormatField)

    output_format: NixOutputFormatField
    output_path: OutputPathField


AnyPackageFieldSet = Union[NixImagePackageFieldSet, NixIndexPackageFieldSet]


@dataclass(frozen=True)
class NixLayerPackageFieldSet(PackageFieldSet):
    required_fields = (NixLayersField, NixMaxLayersField)

    config: NixConfigField
    output_path: OutputPathField

    @classmethod
    def opt_out(cls, tgt) -> bool:
        return tgt.has_field(NixConfigField)


async def _take_output_path(field: OutputPathField, address: Address, path: str) -> None:
    """:raises NixImageError: another target of the command writes to the same place in the dist directory."""
    if field.value is None:
        # By default a path has the target's address in it.
        return
    session = await current_session(CurrentSessionRequest(), **implicitly())
    other = CLAIMS.take(session.id, f"output {path}", address)
    if other is not None:
        one, two = sorted((str(address), str(other)))
        raise NixImageError(
            f"{one} and {two} would both write {path} into the dist directory. Give them different values of the field "
            f"`{field.alias}` (of a parametrized target, parametrize it along), or leave it out of one."
        )


async def _warn_of_archives(field_set: AnyPackageFieldSet) -> None:
    """Says which `archive` targets have a file that only tells of the image."""
    holders = []
    for target in await all_targets():
        if target.has_field(ArchivePackagesField) and target[ArchivePackagesField].value:
            addresses = await addresses_of(
                target[ArchivePackagesField].to_unparsed_address_inputs()
            )
            if field_set.address in addresses:
                holders.append(str(target.address))
    if holders:
        logger.warning(
            f"{', '.join(holders)}: the field `packages` names {field_set.address}, of which only the "
            f"descriptor gets into an archive. Its `output_format`, {field_set.output_format.value}, is written to "
            "the dist directory alone, since no cache of Pants keeps the bytes of layers. Take the file from there."
        )


async def _write(
    field_set: AnyPackageFieldSet,
    built: Built,
    descriptor: bytes,
    references: Sequence[Reference],
    output: str,
    workdir: str,
    options: NixImageSubsystem,
) -> bool:
    """Writes the image, unless the output is as it was written before; returns whether it did.

    :param output: relative to the build root.
    :param workdir: that of Pants, which has the record of what was written.
    """
    output_format = field_set.output_format.value
    session = await current_session(CurrentSessionRequest(), **implicitly())
    path = os.path.join(get_buildroot(), output)
    record = os.path.join(
        workdir, "nix", "written", f"{sha256(path.encode()).hexdigest()[:32]}.json"
    )
    # Another version of the program may write other bytes.
    zipapp = await pack_whole_zipapp(**implicitly())
    key = f"{output_format} {sha256(descriptor).hexdigest()} {zipapp.digest.fingerprint}"
    if is_written(record, path, key):
        logger.info(f"{output} of {field_set.address} is up to date and was not written again.")
        return False
    origins = await collect_origins(OriginsRequest(built.packages), **implicitly())
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    settings = known.connection_settings().to_json()
    environment = await registry_environment(options.env_vars)
    directory = os.path.join(workdir, "nix")
    progress = os.path.join(directory, f"{field_set.address.path_safe_spec}.progress")
    with environment_file(directory, environment) as variables, logged_progress(progress):
        await run_store_step(
            StoreStep(
                CoreRun(
                    (
                        "write",
                        "descriptor.json",
                        # What it lacks, it builds by itself, and nothing else.
                        f"--origins={ORIGINS_FILE}",
                        f"--kept-layers={_KEPT}",
                        f"--format={output_format}",
                        f"--output={path}",
                        f"--record={record}",
                        f"--record-key={key}",
                        f"--progress={progress}",
                        f"--registries={_REGISTRIES}",
                        f"--registry-environment={variables}",
                        *copy_sources(options.copy_from, references),
                        *contents_arguments(built.contents),
                    ),
                    f"Write {output} of {field_set.address}",
                    await merge(
                        (
                            await create(
                                [
                                    FileContent("descriptor.json", descriptor),
                                    FileContent(_REGISTRIES, settings),
                                ]
                            ),
                            origins.digest,
                            await prefix(built.kept, _KEPT),
                        )
                    ),
                    contents=built.contents,
                    session=session.id,
                    has_image=True,
                    # A Docker archive has the plain tars.
                    needs_packages=built.image.is_compressed and output_format != DOCKER_ARCHIVE,
                    needs_nix=built.has_store_paths,
                ),
                built.packages,
            ),
            **implicitly(),
        )
    return True


def _descriptor_path(field_set: AnyPackageFieldSet, ending: str) -> str:
    """Returns where the descriptor goes below `dist/`: beside an output of another format."""
    output_format = field_set.output_format.value or _DESCRIPTOR
    if output_format == _DESCRIPTOR:
        return str(field_set.output_path.value_or_default(file_ending=ending))
    output = field_set.output_path.value_or_default(file_ending=_ENDINGS[output_format])
    return f"{output[: -len('.tar')] if output.endswith('.tar') else output}.{ending}"


async def _package(
    field_set: AnyPackageFieldSet,
    built: Built,
    summary: str,
    ending: str,
    dist_dir: DistDir,
    global_options: GlobalOptions,
    options: NixImageSubsystem,
) -> BuiltPackage:
    """Writes the descriptor, and the image or index in another format, if that is wanted.

    :param summary: the line that the user sees.
    :param ending: of the name of the descriptor.
    """
    names = await name_image(
        ReferencesRequest(field_set.address, built.image.digest), **implicitly()
    )
    descriptor = any_descriptor_json(built.image, built.recipes, references=names.references)
    output_format = field_set.output_format.value or _DESCRIPTOR
    if output_format == _DESCRIPTOR:
        path = _descriptor_path(field_set, ending)
        await _take_output_path(field_set.output_path, field_set.address, path)
        digest = await create([FileContent(path, descriptor)])
        return BuiltPackage(digest, (_artifact(path, (summary,), built, names.references),))
    await _warn_of_archives(field_set)
    output = field_set.output_path.value_or_default(file_ending=_ENDINGS[output_format])
    await _take_output_path(field_set.output_path, field_set.address, output)
    path = _descriptor_path(field_set, ending)
    shown = os.path.join(dist_dir.relpath, output)
    written = await _write(
        *(field_set, built, descriptor, names.references),
        *(shown, global_options.pants_workdir, options),
    )
    digest = await create([FileContent(path, descriptor)])
    # Pants empties the places of artifacts before it writes them, so the output is named in a line.
    lines = (f"Wrote {shown} ({output_format})",) if written else ()
    return BuiltPackage(digest, (_artifact(path, (summary, *lines), built, names.references),))


def _artifact(
    path: str, lines: tuple[str, ...], built: Built, references: Sequence[Reference]
) -> BuiltPackageArtifact:
    """Returns what a `docker_image` takes for one of its kind: a Dockerfile may begin with this image.

    Its name is that of the digest: a tag in the engine or in a registry may be that of an older one.
    """
    digest = built.image.digest
    names = dict.fromkeys(f"{reference.repository}@{digest}" for reference in references)
    return BuiltDockerImage(path, lines, digest, tuple(names))


async def _warn_of_lost_healthcheck(address: Address, image: Image) -> None:
    if image.loses_healthcheck:
        # What pantsd remembers from an earlier session would not be said in this one.
        await current_session(CurrentSessionRequest(), **implicitly())
        warn_of_lost_healthcheck(address, image)


@dataclass(frozen=True)
class NewsRequest:
    """Asks what is new in an image since it was packaged here last.

    :param path: of its descriptor, below `dist/`.
    """

    image: Image
    path: str


@dataclass(frozen=True)
class News:
    summary: ImageSummary


@rule
async def tell_news(request: NewsRequest, dist_dir: DistDir) -> News:
    # It is looked at in each session; only if it says something else, the image is packaged again.
    await current_session(CurrentSessionRequest(), **implicitly())
    try:
        with open(os.path.join(get_buildroot(), dist_dir.relpath, request.path), "rb") as file:
            before = read_all(file, request.path)
    except (OSError, InvalidInputError):
        before = None
    return News(image_summary(request.image, before))


def _line(summary: ImageSummary, colors: bool) -> str:
    """Returns the line that the user sees. Colours are for what is looked for first.

    :param colors: `[GLOBAL].colors`: whether the output shows them.
    """
    color = MaybeColor(colors)
    paint = color.maybe_yellow if summary.has_new_layers else color.maybe_green
    news = f", {paint(summary.news)}" if summary.news else ""
    return f"Digest {color.maybe_cyan(summary.digest)}, {summary.contents}{news}"


@rule(desc="Package nix_image")
async def package_image(
    field_set: NixImagePackageFieldSet,
    dist_dir: DistDir,
    global_options: GlobalOptions,
    options: NixImageSubsystem,
) -> BuiltPackage:
    built = await build_image(ImageRequest(field_set.address), **implicitly())
    # A Docker archive has no manifest, and what podman loads of it has the healthcheck.
    if field_set.output_format.value != DOCKER_ARCHIVE:
        await _warn_of_lost_healthcheck(field_set.address, built.image)
    path = _descriptor_path(field_set, _DESCRIPTOR_ENDING)
    news = await tell_news(NewsRequest(built.image, path), **implicitly())
    summary = _line(news.summary, global_options.colors)
    return await _package(
        field_set, built, summary, _DESCRIPTOR_ENDING, dist_dir, global_options, options
    )


@rule(desc="Package nix_image_index")
async def package_index(
    field_set: NixIndexPackageFieldSet,
    dist_dir: DistDir,
    global_options: GlobalOptions,
    options: NixImageSubsystem,
) -> BuiltPackage:
    built = await build_index(IndexRequest(field_set.address), **implicitly())
    for address, one in built.images:
        await _warn_of_lost_healthcheck(address, one.image)
    platforms = ", ".join(platform_name(one.image.platform) for _, one in built.images)
    digest = MaybeColor(global_options.colors).maybe_cyan(built.image.digest)
    summary = f"Digest {digest}, {len(built.images)} images: {platforms}"
    return await _package(
        field_set, built, summary, _INDEX_ENDING, dist_dir, global_options, options
    )


def _files(recipe: Recipe) -> dict[str, Any]:
    """Returns what the file of a layer target says of a layer of files."""
    if not isinstance(recipe, FilesRecipe):
        return {}
    return {"files": [entry.to_document() for entry in recipe.entries]}


@rule(desc="Package nix_layer")
async def package_layer(
    field_set: NixLayerPackageFieldSet, global_options: GlobalOptions
) -> BuiltPackage:
    digested = await digest_layers(DigestedLayersRequest(field_set.address), **implicitly())
    document = {
        "layers": [
            {**layer_summary(layer), "storePaths": list(recipe.paths), **_files(recipe)}
            for layer, recipe in zip(digested.layers, digested.recipes)
        ]
    }
    path = field_set.output_path.value_or_default(file_ending="layer.json")
    await _take_output_path(field_set.output_path, field_set.address, path)
    digest = await create([FileContent(path, readable_json("layers", document))])
    cyan = MaybeColor(global_options.colors).maybe_cyan
    lines = tuple(f"Digest {cyan(layer.digest)}, {layer.size} bytes" for layer in digested.layers)
    return BuiltPackage(digest, (BuiltPackageArtifact(path, lines),))


def rules():
    return (
        *collect_rules(),
        UnionRule(PackageFieldSet, NixImagePackageFieldSet),
        UnionRule(PackageFieldSet, NixIndexPackageFieldSet),
        UnionRule(PackageFieldSet, NixLayerPackageFieldSet),
    )
