"""`pants nix-layers`: what is in the layers of images, why, and what a push would cost."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from enum import Enum
from typing import Optional

from nixoci.atomic import replace_file
from nixoci.errors import NixOciError
from nixoci.image.descriptor import Descriptor
from nixoci.image.image import Image
from nixoci.json_input import read_all
from nixoci.json_output import readable_json
from nixoci.layer.layer import Layer
from nixoci.report.diff import ImageDiff, diff_images
from nixoci.report.document import SCHEMA_VERSION, layer_document
from nixoci.report.page import layer_page
from nixoci.report.report import ImageReport, LayerFacts, report_layers
from nixoci.report.table import layer_table
from pants.base.build_environment import get_buildroot
from pants.core.goals.package import OutputPathField
from pants.core.util_rules.distdir import DistDir
from pants.engine.addresses import Address, Addresses
from pants.engine.console import Console
from pants.engine.goal import Goal, GoalSubsystem
from pants.engine.rules import collect_rules, goal_rule
from pants.engine.target import Target
from pants.help.maybe_color import MaybeColor
from pants.option.option_types import EnumOption, StrOption
from pants.util.docutil import bin_name
from pants.util.strutil import softwrap

from pants_backend_nix.engine import concurrently, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.digested import DigestedLayersRequest, digest_layers
from pants_backend_nix.rules.assembly.image import ImageRequest, build_image
from pants_backend_nix.rules.assembly.layers import PlannedLayers
from pants_backend_nix.rules.delivery.index import IndexedImagesRequest, find_indexed_images
from pants_backend_nix.targets.fields.closures import NixMaxLayersField
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.index.target import NixIndexedImagesField

logger = logging.getLogger(__name__)


class Output(Enum):
    """What is shown, or written."""

    table = "table"
    json = "json"
    html = "html"


class NixLayersSubsystem(GoalSubsystem):
    name = "nix-layers"
    help = softwrap(
        """
        Show the layers of `nix_image` and `nix_layer` targets, and of each image of a `nix_image_index`:
        how large they are, what is in them, why these store paths share a layer, and how often each is
        expected to be pushed again.

        A store path changes when something in its closure changes by itself, and then all of its layer
        is pushed and pulled again. So each layer changes in some part of all updates, its share; share
        times size is what an update is expected to push for it. All paths count as equally likely to
        change, except that what is built from your own sources (or else what nothing references) has
        half of all updates, and except for what `change_rates` says.

        It needs what `package` needs, and takes it from the same caches: nothing is built to be looked
        at when the image was packaged before.

        With `--diff` it says what a push costs now if the registry has an image that was packaged
        before, and which changes are the cause.
        """
    )

    output = EnumOption(
        default=Output.table,
        help=softwrap(
            """
            `table` for people, `json` for scripts, `html` for one page with a map of layers and store
            paths, which opens in a browser and needs no network.
            """
        ),
    )
    output_file = StrOption(
        default=None,
        metavar="<path>",
        help=softwrap(
            """
            Write to this file, relative to the build root, instead of the terminal. A page goes to
            `dist/DIRECTORY/NAME.layers.html` unless you say otherwise.
            """
        ),
    )
    diff = StrOption(
        default=None,
        metavar="<descriptor>",
        help=softwrap(
            f"""
            A descriptor that `{bin_name()} package` wrote earlier (`dist/DIRECTORY/NAME.image.json`, or
            a copy of it), relative to the build root: show what a push uploads where that image is, and
            why. For one image at a time.
            """
        ),
    )


class NixLayers(Goal):
    subsystem_cls = NixLayersSubsystem
    environment_behavior = Goal.EnvironmentBehavior.LOCAL_ONLY


@dataclass(frozen=True)
class ReportRequest:
    """:param old: the descriptor to compare with; only for an image."""

    address: Address
    old: Optional[Descriptor] = None


@dataclass(frozen=True)
class Report:
    address: Address
    report: ImageReport
    diff: Optional[ImageDiff]


@rule(desc="Look at layers")
async def report_target(request: ReportRequest) -> Report:
    (target,) = await targets_of(Addresses([request.address]))
    address = target.address
    if not target.has_field(NixConfigField):
        digested = await digest_layers(DigestedLayersRequest(address), **implicitly())
        return Report(address, _report(address, digested.layers, digested.plan), None)
    built = await build_image(ImageRequest(address), **implicitly())
    layers = tuple(item.layer for item in built.image.layers)
    report = _report(address, layers, built.plan, built.image)
    diff = None
    if request.old is not None:
        diff = diff_images(request.old, built.image, built.recipes, report, built.plan.all_paths)
    return Report(address, report, diff)


def _report(
    address: Address,
    layers: tuple[Layer, ...],
    plan: PlannedLayers,
    image: Optional[Image] = None,
) -> ImageReport:
    facts = [
        LayerFacts(
            layer,
            planned.recipe,
            "" if planned.target in (None, address) else str(planned.target),
            planned.keep,
            planned.distributions,
            planned.why,
        )
        for layer, planned in zip(layers, plan.layers)
    ]
    return report_layers(
        str(address),
        facts,
        plan.all_paths,
        digest=image.digest if image else "",
        preferences=plan.preferences,
    )


async def _with_images(addresses: Addresses) -> Addresses:
    """Returns addresses with the images of indexes among them, each once."""
    found: dict[Address, None] = {}
    for target in await targets_of(addresses):
        found[target.address] = None
        if target.has_field(NixIndexedImagesField):
            images = await find_indexed_images(
                IndexedImagesRequest(target.address), **implicitly()
            )
            found.update(dict.fromkeys(images.addresses))
    return Addresses(found)


@goal_rule
async def show_layers(
    addresses: Addresses, options: NixLayersSubsystem, console: Console, dist_dir: DistDir
) -> NixLayers:
    every = await targets_of(await _with_images(addresses))
    targets = tuple(target for target in every if target.has_field(NixMaxLayersField))
    _check(targets, options)
    old = None if options.diff is None else _read_descriptor(options.diff)
    reports = await concurrently(
        report_target(ReportRequest(target.address, old), **implicitly()) for target in targets
    )
    if options.output == Output.html:
        for one in reports:
            _write(options.output_file or _page_path(one.address, dist_dir), _page(one))
        return NixLayers(exit_code=0)
    if options.output == Output.json:
        images = [layer_document(one.report, one.diff) for one in reports]
        document = {"schemaVersion": SCHEMA_VERSION, "images": images}
        text = readable_json("layers", document).decode()
    else:
        # A file has no colours.
        color = MaybeColor(console.use_colors and options.output_file is None)
        text = "\n".join(
            layer_table(
                *(one.report, one.diff),
                paint_new=color.maybe_yellow,
                paint_gone=color.maybe_red,
            )
            for one in reports
        )
    if options.output_file is None:
        console.write_stdout(text)
    else:
        _write(options.output_file, text.encode())
    return NixLayers(exit_code=0)


def _check(targets: tuple[Target, ...], options: NixLayersSubsystem) -> None:
    """:raises NixImageError: the options cannot be met for these targets."""
    if not targets:
        raise NixImageError(
            f"`{bin_name()} nix-layers` shows `nix_image` and `nix_layer` targets, and none is among "
            f"what you named. `{bin_name()} --filter-target-type=nix_image list ::` lists the images."
        )
    names = ", ".join(str(target.address) for target in targets)
    if options.diff is not None and not (len(targets) == 1 and targets[0].has_field(NixConfigField)):
        raise NixImageError(
            f"`--nix-layers-diff` compares one `nix_image` with its earlier descriptor; you named "
            f"{names}. Name one image."
        )
    if options.output == Output.html and options.output_file is not None and len(targets) > 1:
        raise NixImageError(
            f"`--nix-layers-output-file` can take the page of one target; you named {names}. Leave the "
            "option out, so that each gets a page in the dist directory, or name one target."
        )


def _read_descriptor(name: str) -> Descriptor:
    way_out = (
        f"Give `--nix-layers-diff` a file that `{bin_name()} package` wrote for a `nix_image`, such as "
        "dist/DIRECTORY/NAME.image.json or a copy of it."
    )
    try:
        with open(os.path.join(get_buildroot(), name), "rb") as file:
            return Descriptor.from_json(read_all(file, name))
    except OSError as error:
        raise NixImageError(f"{name} cannot be read: {error.strerror}. {way_out}") from None
    except NixOciError as error:
        raise NixImageError(f"{name} is no descriptor of an image. {way_out} {error}") from None


def _page(one: Report) -> bytes:
    return layer_page(one.report, one.diff)


def _page_path(address: Address, dist_dir: DistDir) -> str:
    # Not the target's own `output_path`: there is the descriptor.
    name = OutputPathField(None, address).value_or_default(file_ending="layers.html")
    return os.path.join(dist_dir.relpath, name)


def _write(name: str, content: bytes) -> None:
    path = os.path.join(get_buildroot(), name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with replace_file(path) as file:
            file.write(content)
    except (OSError, NixOciError) as error:
        raise NixImageError(
            f"{error} Choose another `--nix-layers-output-file`, or make room for this one."
        ) from None
    logger.info(f"Wrote {name}")


def rules():
    return collect_rules()
