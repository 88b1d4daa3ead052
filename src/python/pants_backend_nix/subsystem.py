"""Options of the plugin."""

from __future__ import annotations

import platform
from enum import Enum
from typing import Any, Mapping

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

from pants_backend_nix.targets.layering_fields import Layering, check_rate

#: Where Nix is installed when `PATH` does not say: system-wide, per user, on NixOS.
USUAL_PLACES = (
    "/nix/var/nix/profiles/default/bin",
    "/run/current-system/sw/bin",
    "~/.nix-profile/bin",
    "~/.local/state/nix/profile/bin",
)


class NixSubsystem(Subsystem):
    options_scope = "nix"
    name = "Nix"
    help = softwrap(
        """
        The Nix package manager (https://nixos.org), which builds what `nix_package` targets name.

        Nix is only started when something is not in a cache yet. Its own settings (substituters,
        sandbox, access tokens) stay where Nix has them: in `nix.conf`.

        Where Nix is and which store and settings it uses is said here for this machine. The workers of a
        `remote_environment` have what their own `nix.conf` says, see its field `has_nix`.
        """
    )

    search_path = StrListOption(
        default=["<PATH>", *USUAL_PLACES],
        help=softwrap(
            """
            Directories in which `nix` and `python3` (3.9 or later) are looked for, in this order.
            `<PATH>` stands for the entries of the environment variable, a leading `~` for your
            home directory. Where they are found is in no cache key: machines with Nix in different
            places share results.
            """
        ),
    )
    store = StrOption(
        default=None,
        help=softwrap(
            """
            The Nix store to use, if not the one that Nix would choose: `daemon`, a directory
            (`/data/nix`, a chroot store with its own `/nix/store`) or `local?root=/data/nix`. It must
            be on this machine. Overrides the environment variable `NIX_REMOTE`.
            """
        ),
    )
    substituters = StrListOption(
        default=None,
        help=softwrap(
            """
            Binary caches to use in place of those in `nix.conf`. The keys that they sign with must be
            trusted (`trusted-public-keys`), and with a daemon you must be a trusted user.
            """
        ),
    )
    extra_experimental_features = StrListOption(
        default=[],
        help=softwrap(
            """
            Experimental features of Nix that your expressions need. `nix-command` and `flakes` are
            on in any case. Evaluations with other features are other ones in all caches; nothing
            else of the version or configuration of Nix tells them apart.
            """
        ),
    )
    extra_options = DictOption[str](
        default={},
        help=softwrap(
            """
            Further settings of `nix.conf`, by name, for every command of Nix:
            `{"sandbox": "false", "connect-timeout": "5"}`. They are in no cache key, so they must not
            change what an evaluation comes to; and everybody on this machine can see them, so they
            are no place for secrets.
            """
        ),
    )
    system = StrOption(
        default=None,
        help=softwrap(
            """
            The Nix system that packages are built for unless their field `system` says otherwise,
            such as `x86_64-linux`. The default is Linux on the processor of this machine; set it
            where all machines shall make the same images.
            """
        ),
    )
    env_vars = StrListOption(
        default=[],
        help=softwrap(
            """
            Names of further environment variables for Nix. It always gets those that choose its
            store and configuration (`HOME`, `NIX_REMOTE`, `NIX_CONF_DIR`, …). They are in no cache
            key, so they must not change what an evaluation comes to. Values are kept in a file that
            only you can read; put secrets into `nix.conf` (`access-tokens`) or `netrc` rather than
            here.
            """
        ),
    )

    def directories(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Returns `search_path`, expanded with `PATH` and `HOME` of `environment`, no duplicates."""
        found: dict[str, None] = {}
        for entry in self.search_path:
            if entry == "<PATH>":
                found.update(dict.fromkeys(environment.get("PATH", "").split(":")))
            elif entry.startswith("~/") and "HOME" in environment:
                found[environment["HOME"] + entry[1:]] = None
            else:
                found[entry] = None
        return tuple(directory for directory in found if directory.startswith("/"))

    @property
    def settings(self) -> dict[str, str]:
        """Returns the settings of `nix.conf` that the options come to."""
        settings = {name: str(value) for name, value in self.extra_options.items()}
        if self.substituters:
            settings["substituters"] = " ".join(self.substituters)
        if self.extra_experimental_features:
            settings["extra-experimental-features"] = " ".join(self.extra_experimental_features)
        return settings

    @property
    def default_system(self) -> str:
        """The option `system`, or Linux on this machine's processor."""
        machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(
            platform.machine().lower(), platform.machine()
        )
        return self.system or f"{machine}-linux"


class TarDialect(Enum):
    """How names and fields are written in the tar of a layer; see `nixoci.recipe.layer`."""

    oci = "oci"
    nix2container = "nix2container"


class CompressionFormat(Enum):
    """How layers are compressed; see `nixoci.compression.formats`."""

    none = "none"
    gzip = "gzip"
    zstd = "zstd"


class Engine(Enum):
    """A container engine."""

    podman = "podman"
    docker = "docker"


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
            digests, so that a registry that has images made by nix2container gets no layer twice.
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
            config.
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
            `docker login` or `podman login`; they are no option.
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
            or `NAME` alone for the value that it has in the environment. They change names and
            nothing else of an image. As `[docker].build_args`.
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
