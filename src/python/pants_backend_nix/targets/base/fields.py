"""The fields of `nix_image` that say what the image is on top of."""

from __future__ import annotations

from pants.engine.target import BoolField, StringField
from pants.util.strutil import help_text


class NixBaseField(StringField):
    alias = "base"
    help = help_text(
        """
        The image that this one is on top of, as after `FROM` in a Dockerfile: an `oci_base_image`, or another
        `nix_image`. Its layers are the lowest ones. Those of an `oci_base_image` are copied as they are: `package`
        reads its manifest and its config, and no layer.

        A `nix_image` counts like an entry of `layers`: store paths that it holds are left out here.
        """
    )


class NixInheritConfigField(BoolField):
    alias = "inherit_config"
    default = True
    help = help_text(
        """
        Whether the config of `base` is inherited, as by `FROM` in a Dockerfile: `env`, `labels`, `exposed_ports` and
        `volumes` are added to those of the base; `entrypoint`, `cmd`, `user`, `working_dir`, `stop_signal` and
        `healthcheck` stay unless they are set here, and an `entrypoint` that is set here clears the `cmd` of the
        base. So `PATH` is that of the base unless `env` sets another one. `created` and `author` are never inherited.

        With `False` the config is what the fields and `config` of this target say, and nothing else.
        """
    )
