"""Options of the scope `[nix]`: where Nix is, and what it gets."""

from __future__ import annotations

import platform
from typing import Mapping

from pants.option.option_types import (
    BoolOption,
    DictOption,
    SkipOption,
    StrListOption,
    StrOption,
)
from pants.option.subsystem import Subsystem
from pants.util.strutil import softwrap

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
            home directory. Without such a `python3` there, steps run on the Python that runs Pants. Where
            they are found is in no cache key: machines with Nix in different places share results.
            """
        ),
    )
    store = StrOption(
        default=None,
        help=softwrap(
            """
            The Nix store to use, if not the one that Nix would choose: `daemon`, a directory
            (`/data/nix`, a chroot store with its own `/nix/store`), `local?root=/data/nix` or
            `local?real=/data/store`. It must be on this machine. Overrides `store` in `nix.conf` and in
            `NIX_CONFIG`, and the environment variable `NIX_REMOTE`.
            """
        ),
    )
    substituters = StrListOption(
        default=None,
        help=softwrap(
            """
            Binary caches to use in place of those in `nix.conf`; `[]` for none, where the network cannot be
            reached: else Nix waits for each of them, some seconds for each call. The keys that they sign with must be
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
            else of the version or configuration of Nix tells them apart. With `ca-derivations`, packages
            that have no output path before they are built are still an error.
            """
        ),
    )
    extra_options = DictOption[str](
        default={},
        help=softwrap(
            """
            Further settings of `nix.conf`, by name, for every command of Nix that builds, copies or queries:
            `{"sandbox": "false", "connect-timeout": "5"}`. Evaluation has none of them. They are in no cache key, so they must not
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
            where all machines must make the same images.
            """
        ),
    )
    skip = SkipOption("check")
    tailor = BoolOption(
        default=True,
        help=softwrap(
            """
            If true, `pants tailor` adds a `nix_sources` target to each directory that has Nix files (`*.nix`,
            and a `flake.lock` beside them) without an owner.
            """
        ),
    )
    tailor_packages = BoolOption(
        default=False,
        help=softwrap(
            """
            If true, `pants tailor` also adds a `nix_package` target for each package of a `flake.nix` (what is in
            `packages.SYSTEM`, for the system of the option `system`), and of a `default.nix` that has no flake
            beside it (the derivation that it is, or each derivation in its attribute set; a function is called if all
            of its arguments but `system` have defaults). Targets are named after the attributes. Nix lists
            the names, and evaluates no package for it; a file that it cannot evaluate is reported and left out.
            """
        ),
    )
    env_vars = StrListOption(
        default=[],
        help=softwrap(
            """
            Names of further environment variables for Nix. It always gets those that choose its
            store and configuration (`HOME`, `NIX_REMOTE`, `NIX_CONF_DIR`, …), but of `NIX_CONFIG`, which may
            have secrets, only `store` unless it is named here. They are in no cache key, so they must not
            change what an evaluation comes to. Values are kept in a file that
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
        if self.store is not None:
            settings["store"] = self.store
        if self.substituters or not self.options.is_default("substituters"):
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
