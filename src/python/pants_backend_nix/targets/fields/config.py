"""The fields of the image config and manifest, in the words of the OCI image spec."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.image.healthcheck import DURATIONS, Healthcheck, parse_command, parse_duration
from nixoci.image.manifest_format import MANIFEST_FORMATS
from pants.engine.addresses import Address
from pants.engine.target import (
    DictStringToStringField,
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
    StringField,
    StringSequenceField,
)
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text

_INTERPOLATION = (
    "`{name}` stands for the store path of the `nix_package` of that name among the packages of "
    "this target and of its layers, or else in this directory, `{path/to:name}` for one elsewhere, and "
    "`{name^output}` for another output; the package becomes part of the image. Write `{{` and `}}` for braces."
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


class NixHealthcheckField(Field):
    alias = "healthcheck"
    value: Optional[FrozenDict[str, Any]]
    default = None
    keys = ("test", *DURATIONS, "retries")
    help = help_text(
        f"""
        How an engine finds out whether the container is well, as HEALTHCHECK in a Dockerfile:

            healthcheck={{
                "test": ["{{curl}}/bin/curl", "-f", "http://localhost:8080/"],
                "interval": "30s",
                "timeout": "5s",
                "start_period": "10s",
                "retries": 3,
            }},

        `test` is a program with its arguments, or, as a string, a command for `/bin/sh`, which must be in
        the image then. `"test": "NONE"` switches off the one that `config` has, which is replaced as a
        whole in any case. Times, also `start_interval`, are such as `1m30s` and `500ms`, at least `1ms`;
        what is left out or 0 is up to the engine. Podman reads healthchecks in images with
        `manifest_format="docker"` only, Docker in all; Kubernetes has probes of its own and reads none.

        In `test`, {_INTERPOLATION}
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Mapping[str, Any]], address: Address
    ) -> Optional[FrozenDict[str, Any]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type='a dictionary such as `{"test": ["/bin/check"]}`'
            )
        # A list could be changed after it was checked.
        value = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
        why = ""
        for key in value:
            if key not in cls.keys:
                why = f"there is no key {key!r}; there are {', '.join(f'`{key}`' for key in cls.keys)}."
        if "test" not in value:
            why = why or '`test` is missing. Set it to a list, a string or "NONE".'
        try:
            if not why:
                healthcheck_of(value)
        except InvalidInputError as error:
            why = str(error)
        if why:
            raise InvalidFieldException(f"The field `{cls.alias}` of {address} is not valid: {why}")
        return FrozenDict(value)


def healthcheck_of(
    value: Mapping[str, Any], interpolate: Callable[[str], str] = lambda text: text
) -> Healthcheck:
    """Returns the healthcheck that a value of the field stands for.

    :param interpolate: makes each word of its command.
    :raises InvalidInputError: it is none.
    """
    kind, *words = parse_command(value["test"])
    return Healthcheck(
        (kind, *(interpolate(word) if isinstance(word, str) else word for word in words)),
        retries=value.get("retries", 0),
        **{key: parse_duration(key, value[key]) for key in DURATIONS if key in value},
    )


class NixManifestFormatField(StringField):
    alias = "manifest_format"
    valid_choices = tuple(MANIFEST_FORMATS)
    help = help_text(
        """
        The format of the manifest: `oci`, or `docker` for Docker's manifest version 2, schema 2. By default
        what `[nix-images].manifest_format` says, which is `oci`.

        Old registries and tools take `docker` only, best with `compression="gzip"`; and podman reads
        `healthcheck` in it only. It has no annotations, neither `annotations` nor those of
        `[nix-images].annotate_layers`, no zstd, and no place in an `oci-layout` or `oci-archive`. Layers and
        config, and so the image ID, are the same in both.
        """
    )


class NixAnnotationsField(DictStringToStringField):
    alias = "annotations"
    help = (
        'Annotations of the manifest: `{"org.opencontainers.image.source": "https://…"}`; none with '
        '`manifest_format="docker"`. ' + _INTERPOLATION
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
        The processor, in Go's words: `amd64`, `arm64`. By default that of the packages, of which it is known
        what they are for, cross-compiled or not. So it is needed for an image without packages, or with
        none but store paths; another one than that of the packages is an error.
        """
    )


class NixOsField(StringField):
    alias = "os"
    help = "The operating system, in Go's words. By default that of the packages, or else `linux`."


class NixVariantField(StringField):
    alias = "variant"
    help = "The variant of the processor, such as `v8` for `arm64`. One of another processor is an error."
