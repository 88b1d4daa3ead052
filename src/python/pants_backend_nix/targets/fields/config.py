"""The fields of the image config and manifest, in the words of the OCI image spec."""

from __future__ import annotations

from pants.engine.target import DictStringToStringField, StringField, StringSequenceField
from pants.util.strutil import help_text

_INTERPOLATION = (
    "`{name}` stands for the store path of the `nix_package` of that name among the packages of "
    "this target and of its layers, `{name^output}` for another output; the package becomes part of "
    "the image. Write `{{` and `}}` for braces."
)


class NixConfigField(StringField):
    alias = "config"
    help = help_text(
        """
        A `nix_package` target whose output is an image config in JSON: an OCI image configuration, or
        the object that belongs under its key `config`. What it references becomes part of the image;
        the file itself stays out. Fields of this target are merged over it.
        """
    )


class NixEntrypointField(StringSequenceField):
    alias = "entrypoint"
    help = help_text(
        """
        The command that the container runs: `["{python}/bin/python3", "-m", "app"]`.
        """
        + _INTERPOLATION
    )


class NixCmdField(StringSequenceField):
    alias = "cmd"
    help = "Default arguments of the entrypoint, or the command if there is none. " + _INTERPOLATION


class NixEnvField(DictStringToStringField):
    alias = "env"
    help = 'Environment variables: `{"PATH": "{coreutils}/bin"}`. ' + _INTERPOLATION


class NixWorkingDirField(StringField):
    alias = "working_dir"
    help = "The directory that the command starts in, absolute. " + _INTERPOLATION


class NixUserField(StringField):
    alias = "user"
    help = "The user that the command runs as: `user`, `uid`, `user:group` or `uid:gid`."


class NixExposedPortsField(StringSequenceField):
    alias = "exposed_ports"
    help = 'Ports that the command listens on: `["8080", "53/udp"]`.'


class NixVolumesField(StringSequenceField):
    alias = "volumes"
    help = 'Directories that hold data of the container: `["/var/lib/app"]`.'


class NixLabelsField(DictStringToStringField):
    alias = "labels"
    help = "Labels of the image config. " + _INTERPOLATION


class NixStopSignalField(StringField):
    alias = "stop_signal"
    help = "The signal that asks the command to end, such as `SIGINT`."


class NixAnnotationsField(DictStringToStringField):
    alias = "annotations"
    help = (
        'Annotations of the manifest: `{"org.opencontainers.image.source": "https://…"}`. '
        + _INTERPOLATION
    )


class NixCreatedField(StringField):
    alias = "created"
    help = help_text(
        """
        The time of creation, RFC 3339: `2026-01-31T12:00:00Z`. By default one second after the epoch,
        as files in the Nix store have, so that the same input makes the same image.
        """
    )


class NixArchitectureField(StringField):
    alias = "architecture"
    help = help_text(
        """
        The processor, in Go's words: `amd64`, `arm64`. By default that of the packages' `system`.
        """
    )


class NixOsField(StringField):
    alias = "os"
    help = "The operating system, in Go's words. By default `linux`."


class NixVariantField(StringField):
    alias = "variant"
    help = "The variant of the processor, such as `v8` for `arm64`."
