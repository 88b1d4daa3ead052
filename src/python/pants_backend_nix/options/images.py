"""Options of the scope `[nix-images]`: how images are made, named and shipped."""

from __future__ import annotations

from enum import Enum
from typing import Any, Mapping, Optional

from nixoci.layering.preferences import MOST_RATE
from pants.option.option_types import (
    BoolOption,
    DictOption,
    EnumOption,
    IntOption,
    ShellStrListOption,
    StrListOption,
    StrOption,
)
from pants.option.subsystem import Subsystem
from pants.util.docutil import bin_name
from pants.util.strutil import softwrap


class Layering(Enum):
    """The strategies of `nixoci.layering.split` that need nothing else; `layer_groups` stands for `explicit`."""

    expected_cost = "expected_cost"
    size_first = "size_first"
    popularity = "popularity"


class TarDialect(Enum):
    """How names and fields are written in the tar of a layer; see `nixoci.recipe.layer`."""

    oci = "oci"
    nix2container = "nix2container"


class CompressionFormat(Enum):
    """How layers are compressed; see `nixoci.compression.formats`."""

    none = "none"
    gzip = "gzip"
    zstd = "zstd"


class ManifestFormatName(Enum):
    """The formats of manifests; see `nixoci.image.manifest_format`."""

    oci = "oci"
    docker = "docker"


class Engine(Enum):
    """A container engine."""

    podman = "podman"
    docker = "docker"


def check_rate(rate: object) -> Optional[str]:
    """Returns what is wrong with a rate, or None."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        return "it must be a number."
    if not 0 <= rate <= MOST_RATE:
        return f"it must be from 0 to {MOST_RATE}."
    return None


class NixImageSubsystem(Subsystem):
    # Not `nix-image`: Pants allows no scope with the name of a target type.
    options_scope = "nix-images"
    name = "Nix images"
    help = "How `nix_image` and `nix_layer` targets become images."

    tar_dialect = EnumOption(
        default=TarDialect.oci,
        help=softwrap(
            """
            How layers are written. `oci` has relative names, as most tools write them.
            `nix2container` has the exact bytes of that tool: the same store paths make the same layer
            digests, so that a registry that has images made by nix2container gets no layer twice. Like
            that tool it takes modes from the disk, where `oci` has those that Nix gives to files.
            """
        ),
    )

    layering = EnumOption(
        default=Layering.expected_cost,
        help=softwrap(
            """
            How store paths are split over layers, unless the field `layering` of a target says
            otherwise. `expected_cost` is for the fewest bytes that an update is expected to push and
            pull; `size_first` is the way of dockerTools in nixpkgs since 2024, `popularity` that of
            nix2container.
            """
        ),
    )
    change_rates = DictOption[Any](
        default={},
        help=softwrap(
            """
            How often store paths change by themselves, compared with 1 for others, by shell patterns
            of their names: `{"acme-*": 20}`. For all targets, after the patterns of their own fields
            `change_rates`.
            """
        ),
    )
    compression = EnumOption(
        default=CompressionFormat.none,
        help=softwrap(
            """
            How layers are compressed, unless the field `compression` of an image says otherwise.
            Compressed layers take fewer bytes in registries and on the way; a layer that changed takes
            longer to package, and to send. Docker pulls `zstd` from version 23 on, containerd from 1.5
            on. `gzip` runs everywhere, and compresses less in more time.
            """
        ),
    )
    compression_level = IntOption(
        default=None,
        help=softwrap(
            """
            How hard to compress: 1 to 12 for `gzip` (default 6), 1 to 22 for `zstd` (default 3). Images
            with a field `compression` of their own have a level of their own.
            """
        ),
    )

    manifest_format = EnumOption(
        default=ManifestFormatName.oci,
        help=softwrap(
            """
            The format of manifests, unless the field `manifest_format` of an image says otherwise: `oci`,
            or `docker` for registries and tools that know Docker's manifest version 2, schema 2, only.
            """
        ),
    )

    annotate_layers = BoolOption(
        default=False,
        help=softwrap(
            """
            Write the names of the store paths of each layer into the manifests of images, as the
            annotation `dev.pants-backend-nix.store-paths` of the layer. Then people and scanners see
            in a registry what is in which layer, and `nixoci previous` makes the file for the field
            `previous` out of a published image.

            It costs some ten kilobytes of manifest for hundreds of store paths. Annotations are part
            of the manifest and so of the image's digest; they are part of no layer, and not of the
            config. Manifests in the format `docker` have no annotations, so these images go without.
            """
        ),
    )

    @property
    def rates(self) -> Mapping[str, float]:
        """The option `change_rates`, checked.

        :raises ValueError: a rate is not valid.
        """
        for pattern, rate in self.change_rates.items():
            why = check_rate(rate)
            if why:
                raise ValueError(
                    f"The option `[{self.options_scope}].change_rates` gives {pattern!r} the rate "
                    f"{rate!r}: {why}"
                )
        return self.change_rates

    registries = DictOption[Any](
        default={},
        fromfile=True,
        help=softwrap(
            """
            Registries, by alias. An entry has the keys of `[docker].registries`, whose entries are
            known too if they have another alias and address:

                [nix-images.registries.internal]
                address = "registry.example:5000"
                default = true
                extra_image_tags = ["{build_args.BRANCH}"]
                repository = "images/{target_repository}"
                skip_push = false

            `default` (or the alias `default`) makes it the registry of images that name none.
            `repository` is used instead of the field of the target; it can have the placeholders of
            that field and `{target_repository}`.

            And it can have keys that say how to connect: `ca_file`, `client_certificate` and
            `client_key` (PEM files), `skip_tls_verify`, `plain_http`. A registry on this machine
            is spoken to without encryption if it does not speak TLS. Credentials are those of
            `docker login` or `podman login`; they are no option. They go over plain HTTP to this
            machine only, and to hosts with `plain_http`, which may also be token servers.
            """
        ),
    )
    default_repository = StrOption(
        default="{name}",
        help=softwrap(
            """
            The repository name of images without the field `repository`. It can have the placeholders
            of that field: `images/{directory}/{name}`.
            """
        ),
    )
    build_args = ShellStrListOption(
        help=softwrap(
            """
            Values for `{build_args.NAME}` in the fields `repository` and `image_tags`: `NAME=value`,
            or `NAME` alone for the value that it has in the environment. The last entry that has a
            value counts, so that `["BRANCH=main", "BRANCH"]` has a default. They change names and
            nothing else of an image. As `[docker].build_args`.

            An image can have its own, or other values, in its field `extra_build_args`.
            """
        ),
    )
    mount_from = StrListOption(
        default=[],
        help=softwrap(
            """
            Repositories, with their registry, that are likely to have layers of the images that are
            published: `["registry.example:5000/acme/base"]`. A layer that is there is not uploaded to
            another repository of that registry, but taken over.
            """
        ),
    )
    copy_from = StrListOption(
        default=[],
        help=softwrap(
            f"""
            Repositories, with their registry, that may have layers of images already, in the order in which they are
            asked: `["staging.example/{{repository}}"]`, where `{{repository}}` stands for the repository name of the
            image. What `{bin_name()} publish`, `run` and archives of `package` need, and this machine does not have, is
            copied from there, verified by its digest, before anything is built.
            """
        ),
    )
    tags_together = BoolOption(
        default=False,
        help=softwrap(
            f"""
            With `{bin_name()} publish`, write the tags of all images of the command together, when each is in its
            registries. If one cannot be pushed, no tag of any image moves, and the command fails. By default an image
            has its tags before the next one is pushed.

            Images that a registry has already, and those that are skipped, take no part. Pants says of the others
            by which digest they were pushed; the lines with their tags follow at the end.
            """
        ),
    )
    engine = EnumOption(
        default=None,
        enum_type=Engine,
        help=softwrap(
            f"""
            The container engine for `{bin_name()} run`. By default podman if it is there and works,
            else docker.
            """
        ),
    )
    run_args = ShellStrListOption(
        help=softwrap(
            f"""
            Options of `podman run` or `docker run` for `{bin_name()} run`, such as
            `-p 127.0.0.1:8080:80` or `--env NAME`. Arguments for the image's entrypoint come after a
            double dash on the command line.

            The container is removed when it ends, and has a terminal if there is one.
            """
        ),
    )
    env_vars = StrListOption(
        default=[],
        help=softwrap(
            f"""
            Names of further environment variables for `{bin_name()} publish`, such as those that a
            credential helper reads. It always gets those that say where credentials, proxies and
            certificates are (`HOME`, `DOCKER_CONFIG`, `REGISTRY_AUTH_FILE`, `HTTPS_PROXY`, …).
            """
        ),
    )
