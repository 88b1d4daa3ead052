"""The configuration of an image: what a container engine starts, and on which platform."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.image import config_values as values
from nixoci.image.healthcheck import Healthcheck
from nixoci.json_input import MOST_NESTED, get_field, get_list, parse_object
from nixoci.json_output import canonical_json

#: When an image says it was created unless told otherwise. Any fixed time would be reproducible;
#: this one is what nixpkgs' dockerTools writes, and the time that every file of a Nix store has.
DEFAULT_CREATED = "1970-01-01T00:00:01Z"

#: Names of the OCI image spec (config.md) for the fields of `ImageConfig`: those of the object
#: `config`, and those beside it.
_EXECUTION_NAMES = {
    "entrypoint": "Entrypoint",
    "cmd": "Cmd",
    "env": "Env",
    "working_dir": "WorkingDir",
    "user": "User",
    "exposed_ports": "ExposedPorts",
    "volumes": "Volumes",
    "labels": "Labels",
    "stop_signal": "StopSignal",
    "healthcheck": "Healthcheck",
}
_IMAGE_NAMES = {
    "architecture": "architecture",
    "os": "os",
    "variant": "variant",
    "os_version": "os.version",
    "created": "created",
    "author": "author",
}

#: What nixoci computes from the layers and nobody else can know.
_COMPUTED_NAMES = ("rootfs", "history")


@dataclass(frozen=True)
class Platform:
    """The machine that an image runs on (OCI image spec, image-index.md)."""

    os: str
    architecture: str
    variant: Optional[str] = None
    os_version: Optional[str] = None

    def to_document(self) -> dict[str, str]:
        """This platform as a `platform` object of an image index."""
        return {_IMAGE_NAMES[name]: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class ImageConfig:
    """An OCI image config without what is computed from the layers. Valid once it exists.

    Absent is None for what has no empty value, and `()` for what is merged by key. For `entrypoint`
    and `cmd`, which have both, `()` clears what a config below sets (see `merge`).

    :param env: ordered `NAME=value`, each name once.
    :param exposed_ports: `80`, `80/tcp` or `8000-8010/udp`; kept as the single ports with their
        protocol, as Docker's EXPOSE does, since the OCI image spec knows no ranges.
    :param labels: pairs of key and value, each key once.
    :param architecture: a value of Go's GOARCH.
    :param created: RFC 3339 date and time; `DEFAULT_CREATED` in the image if absent.
    :param other: what the spec or an engine knows and this class does not (`Shell`, …), as
        pairs of name and canonical JSON. `other_top_level` likewise, beside `config`.
    :raises InvalidInputError: a value that is not valid; it names the field.
    """

    entrypoint: Optional[tuple[str, ...]] = None
    cmd: Optional[tuple[str, ...]] = None
    env: tuple[str, ...] = ()
    working_dir: Optional[str] = None
    user: Optional[str] = None
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: Optional[str] = None
    healthcheck: Optional[Healthcheck] = None
    architecture: Optional[str] = None
    os: Optional[str] = None
    variant: Optional[str] = None
    os_version: Optional[str] = None
    created: Optional[str] = None
    author: Optional[str] = None
    other: tuple[tuple[str, str], ...] = ()
    other_top_level: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "healthcheck":
                if value is not None and not isinstance(value, Healthcheck):
                    raise InvalidInputError(
                        "image config field healthcheck", value, "expected a Healthcheck"
                    )
            elif value is not None:
                # Several forms mean the same; the one form that is kept makes equal configs equal.
                object.__setattr__(self, field.name, values.normalise(field.name, value))

    @classmethod
    def from_json(cls, data: bytes) -> ImageConfig:
        """Parses an OCI image config that a user or Nix wrote.

        :param data: the whole document (`{"architecture": …, "config": {"Env": …}}`), or only
            the object `config` of it (`{"Env": …}`), as users of nix2container write. Names are
            matched without regard to case, as Go does, so both `entrypoint` and `Entrypoint` are
            right. Unknown names are kept as they are.
        :raises InvalidInputError: no such document, a value that is not valid, or `rootfs` or
            `history`, which are computed.
        """
        # A descriptor has the config in it, and this one may be a part of it only.
        document = parse_object("image config", data, MOST_NESTED - 8)
        computed = [name for name in document if name.casefold() in _COMPUTED_NAMES]
        if computed:
            raise InvalidInputError(
                "image config key",
                computed[0],
                "rootfs and history are computed from the layers, so leave them out",
            )
        top_level = _with_spec_names(document, ("config", *_IMAGE_NAMES.values()))
        if not any(name in top_level for name in ("config", *_IMAGE_NAMES.values())):
            top_level = {"config": document}
        misplaced = sorted({n.casefold() for n in top_level} & _folded_execution_names())
        if misplaced:
            raise InvalidInputError(
                "image config key",
                misplaced[0],
                "in a document that has architecture, os, created or config beside it, it belongs"
                " into the object config",
            )
        execution = _with_spec_names(
            get_field(top_level, "config", dict, default={}), _EXECUTION_NAMES.values()
        )
        # An empty string is how Go writes what is absent.
        strings = {
            field: get_field(source, name, str, default="") or None
            for source, names in ((execution, _EXECUTION_NAMES), (top_level, _IMAGE_NAMES))
            for field, name in names.items()
            if field in values.STRING_FIELDS
        }
        return cls(
            entrypoint=_get_strings(execution, "Entrypoint"),
            cmd=_get_strings(execution, "Cmd"),
            env=_get_strings(execution, "Env") or (),
            exposed_ports=_get_set(execution, "ExposedPorts"),
            volumes=_get_set(execution, "Volumes"),
            labels=tuple(get_field(execution, "Labels", dict, default={}).items()),
            healthcheck=_get_healthcheck(execution),
            other=_get_other(execution, _EXECUTION_NAMES.values()),
            other_top_level=_get_other(top_level, ("config", *_IMAGE_NAMES.values())),
            **strings,
        )

    def platform(self) -> Platform:
        """The platform of the image; its operating system is `linux` unless another is set.

        :raises InvalidInputError: no architecture is set. That of this machine is no default: the
            same input would give another image on another machine.
        """
        if self.architecture is None:
            raise InvalidInputError(
                "image config field architecture", None, "an image must name one, such as amd64"
            )
        return Platform(self.os or "linux", self.architecture, self.variant, self.os_version)

    def to_document(self) -> dict[str, Any]:
        """This config as an OCI document that has all but `rootfs` and `history`.

        :raises InvalidInputError: as `platform`.
        """
        execution: dict[str, Any] = {name: json.loads(text) for name, text in self.other}
        for field, name in _EXECUTION_NAMES.items():
            value: Any = getattr(self, field)
            if value:
                if field in values.SET_FIELDS:
                    value = {item: {} for item in value}
                elif isinstance(value, Healthcheck):
                    value = value.to_document()
                execution[name] = dict(value) if field == "labels" else value
        document: dict[str, Any] = {name: json.loads(text) for name, text in self.other_top_level}
        document.update(self.platform().to_document())
        document["created"] = self.created or DEFAULT_CREATED
        if self.author:
            document["author"] = self.author
        # Docker 20.10 expects the object `config` in an image even where it is empty.
        document["config"] = execution
        return document


def merge(base: ImageConfig, over: ImageConfig) -> ImageConfig:
    """Returns `base` with what `over` sets.

    What is one value, `entrypoint`, `cmd` and `healthcheck` (as a whole) are replaced where `over` sets
    them, each on its own;
    `env`, `labels`, `exposed_ports`, `volumes` and what is unknown are merged by key. A variable
    that both set keeps its place, as with Docker's ENV; new ones follow.
    """
    merged: dict[str, Any] = {}
    for field in fields(ImageConfig):
        below, above = getattr(base, field.name), getattr(over, field.name)
        if field.name == "env":
            variables = {v.partition("=")[0]: v for v in (*below, *above)}
            merged[field.name] = tuple(variables.values())
        elif field.name in values.SET_FIELDS:
            merged[field.name] = (*below, *above)
        elif field.name in values.PAIR_FIELDS:
            merged[field.name] = tuple({**dict(below), **dict(above)}.items())
        else:
            merged[field.name] = below if above is None else above
    return ImageConfig(**merged)


def _folded_execution_names() -> set[str]:
    return {name.casefold() for name in _EXECUTION_NAMES.values()}


def _with_spec_names(document: Mapping[str, Any], names: Any) -> dict[str, Any]:
    """Returns `document` with the spec's spelling of `names`; other keys stay as they are."""
    spelling = {name.casefold(): name for name in names}
    renamed: dict[str, Any] = {}
    for key, value in document.items():
        name = spelling.get(key.casefold(), key)
        if name in renamed:
            raise InvalidInputError("image config key", key, f"{name} is given twice")
        renamed[name] = value
    return renamed


def _get_strings(document: Mapping[str, Any], name: str) -> Optional[tuple[str, ...]]:
    items = get_list(document, name, str, default=[])
    return tuple(items) if document.get(name) is not None else None


def _get_set(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Reads what Go writes as a map of empty objects."""
    items = get_field(document, name, dict, default={})
    for key, value in items.items():
        if value not in ({}, None):
            raise InvalidInputError(f"value of {key} in {name}", value, "expected an empty object")
    return tuple(items)


def _get_healthcheck(document: Mapping[str, Any]) -> Optional[Healthcheck]:
    """An empty object is how Go may write what is absent."""
    value = get_field(document, "Healthcheck", dict, default={})
    return Healthcheck.from_document(value) if value else None


def _get_other(document: Mapping[str, Any], known: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, canonical_json(f"image config key {name}", value).decode())
        for name, value in document.items()
        if name not in known
    )
