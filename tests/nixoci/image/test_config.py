"""Tests of `nixoci.image.config`."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.image.config import DEFAULT_CREATED, ImageConfig, Platform, merge
from nixoci.image.healthcheck import Healthcheck
from nixoci.json_output import canonical_json

# A busy machine is no reason to fail: no example has a time limit.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
NAME = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=4)
STRINGS = st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple)
JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
OTHER = st.dictionaries(
    st.sampled_from(["Shell", "ArgsEscaped", "x-own", "X-Own"]),
    JSON_VALUE.map(lambda value: canonical_json("test", value).decode()),
    max_size=2,
).map(lambda pairs: tuple(pairs.items()))
DURATION = st.just(0) | st.integers(10**6, 2**63 - 1)
HEALTHCHECKS = st.just(Healthcheck(("NONE",))) | st.builds(
    Healthcheck,
    st.just(("CMD-SHELL", "true")) | st.lists(TEXT).map(lambda words: ("CMD", "/bin/x", *words)),
    DURATION,
    DURATION,
    DURATION,
    DURATION,
    st.integers(0, 9),
)


@st.composite
def configs(draw: Any) -> ImageConfig:
    variables = draw(st.dictionaries(NAME, TEXT, max_size=3))
    return ImageConfig(
        entrypoint=draw(STRINGS),
        cmd=draw(STRINGS),
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        working_dir=draw(st.none() | TEXT.map(lambda text: "/" + text)),
        user=draw(st.none() | st.sampled_from(["nobody", "0", "1000:100", "app:app"])),
        exposed_ports=tuple(draw(st.lists(st.sampled_from(["80", "53/udp", "8000-8002"])))),
        volumes=tuple(draw(st.lists(TEXT.map(lambda text: "/" + text), max_size=2))),
        labels=tuple(draw(st.dictionaries(TEXT.filter(bool), TEXT, max_size=3)).items()),
        stop_signal=draw(st.none() | st.sampled_from(["SIGTERM", "15", "SIGRTMIN+3"])),
        healthcheck=draw(st.none() | HEALTHCHECKS),
        architecture=draw(st.sampled_from(["amd64", "arm64"])),
        os=draw(st.none() | st.just("linux")),
        variant=draw(st.none() | st.just("v8")),
        os_version=draw(st.none() | st.just("1.2")),
        created=draw(st.none() | st.just("2024-02-29T12:00:00.5+01:00")),
        author=draw(st.none() | TEXT.filter(bool)),
        other=draw(OTHER),
        other_top_level=draw(OTHER),
    )


def parse(document: Any) -> ImageConfig:
    return ImageConfig.from_json(json.dumps(document).encode())


@UNHURRIED
@given(configs())
def test_what_is_written_parses_to_the_same(config: ImageConfig) -> None:
    """Writing and parsing loses nothing, for every config, and only fills in the defaults."""
    parsed = ImageConfig.from_json(canonical_json("config", config.to_document()))
    defaults = ImageConfig(os=config.os or "linux", created=config.created or DEFAULT_CREATED)
    assert parsed == merge(config, defaults)


@UNHURRIED
@given(configs(), configs(), configs())
def test_merge_is_associative_and_nothing_is_its_unit(
    one: ImageConfig, two: ImageConfig, three: ImageConfig
) -> None:
    """It does not matter in which order a chain of configs is merged."""
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, ImageConfig()) == merge(ImageConfig(), one) == merge(one, one) == one


def test_merge_replaces_values_and_merges_by_key() -> None:
    """Single values, entrypoint and cmd are replaced; the rest is merged; order of env is kept."""
    base = ImageConfig(
        entrypoint=("/a",),
        cmd=("x",),
        env=("PATH=/bin", "HOME=/"),
        user="0",
        exposed_ports=("80",),
        labels=(("a", "1"), ("b", "1")),
        volumes=("/data",),
        other=(("Shell", '["/bin/sh"]'), ("x-own", "null")),
    )
    over = ImageConfig(
        cmd=(),
        env=("LANG=C", "PATH=/app/bin"),
        user="1000",
        exposed_ports=("80/udp", "80/tcp"),
        labels=(("b", "2"),),
        volumes=("/data", "/cache"),
        other=(("Shell", '["/bin/bash"]'),),
    )
    assert merge(base, over) == ImageConfig(
        entrypoint=("/a",),
        cmd=(),
        env=("PATH=/app/bin", "HOME=/", "LANG=C"),
        user="1000",
        exposed_ports=("80/tcp", "80/udp"),
        labels=(("a", "1"), ("b", "2")),
        volumes=("/cache", "/data"),
        other=(("Shell", '["/bin/bash"]'), ("x-own", "null")),
    )


def test_both_forms_and_every_case_are_the_same() -> None:
    """The whole document and its object `config` alone, in the spec's case or another."""
    expected = ImageConfig(entrypoint=("/bin/app",), env=("A=1",), exposed_ports=("80/tcp",))
    ports: dict[str, Any] = {"80": {}}
    inner = {"entrypoint": ["/bin/app"], "Env": ["A=1"], "exposedPorts": ports, "User": ""}
    assert parse(inner) == expected
    assert parse({"config": inner}) == expected
    assert parse({"Config": inner, "OS": "linux", "architecture": "arm64"}) == merge(
        expected, ImageConfig(os="linux", architecture="arm64")
    )
    assert parse({}) == parse({"config": None}) == parse({"Cmd": None}) == ImageConfig()


def test_unknown_names_are_carried_through() -> None:
    """What this version does not know reaches the image as it was, where it was."""
    shell = ["/bin/bash", "-c"]
    document = parse(
        {"config": {"Shell": shell}, "os.features": ["x"], "architecture": "amd64"}
    ).to_document()
    assert document["config"] == {"Shell": shell}
    assert document["os.features"] == ["x"]


@pytest.mark.parametrize(
    "document, message",
    [
        ({"rootfs": {"type": "layers"}}, "rootfs and history are computed from the layers"),
        ({"config": {}, "History": []}, "rootfs and history are computed from the layers"),
        ({"os": "linux", "Env": ["A=1"]}, "it belongs into the object config"),
        ({"Env": ["A=1"], "env": ["B=1"]}, "Env is given twice"),
        ({"Env": ["A=1", "A=2"]}, "A is set twice"),
        ({"Env": "A=1"}, "field Env 'A=1' is not valid: expected list"),
        ({"Env": [1]}, "item of Env 1 is not valid: expected str"),
        ({"Labels": {"a": 1}}, "field labels 1 is not valid: expected a string"),
        ({"ExposedPorts": {"80": {"a": 1}}}, "expected an empty object"),
        ({"ExposedPorts": ["80"]}, "field ExposedPorts ['80'] is not valid: expected dict"),
        ({"x": float("nan")}, "Out of range float"),
        ({"x": "\ud800"}, "it is not Unicode text"),
        ({"Cmd": ["\ud800"]}, "it is not Unicode text"),
        (["Env"], "expected a JSON object"),
    ],
)
def test_documents_that_are_refused(document: Any, message: str) -> None:
    """Every document that cannot be an image config is refused with a reason."""
    with pytest.raises(InvalidInputError) as caught:
        parse(document)
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    """No input makes the parser fail in another way than by an error for the user."""
    with pytest.raises(InvalidInputError):
        ImageConfig.from_json(data)


@pytest.mark.parametrize(
    "field, value",
    [
        ("entrypoint", "sh"),
        ("entrypoint", ("a\0b",)),
        ("cmd", (1,)),
        ("env", ("A",)),
        ("env", ("=b",)),
        ("env", ("A B=c",)),
        ("working_dir", "app"),
        ("working_dir", ""),
        ("user", ""),
        ("user", "a b"),
        ("user", "a:b:c"),
        ("user", "a:"),
        ("user", "2147483648"),
        ("user", "0:99999999999999999999"),
        ("exposed_ports", ("0",)),
        ("exposed_ports", ("65536",)),
        ("exposed_ports", ("80/http",)),
        ("exposed_ports", ("90-80",)),
        ("exposed_ports", ("80:80",)),
        ("exposed_ports", ("\u0661",)),
        ("volumes", ("data",)),
        ("labels", (("", "x"),)),
        ("labels", (("a", "x"), ("a", "y"))),
        ("labels", ("ab",)),
        ("stop_signal", "sigterm"),
        ("architecture", "x86_64"),
        ("architecture", ""),
        ("os", "Linux"),
        ("variant", ""),
        ("created", "yesterday"),
        ("created", "2023-02-29T00:00:00Z"),
        ("created", "2024-02-29 00:00:00Z"),
        ("created", "2024-02-29T00:00:00"),
        ("created", "2024-02-29T00:00:60Z"),
        ("author", 1),
        ("healthcheck", {"Test": ["NONE"]}),
    ],
)
def test_values_that_are_refused(field: str, value: Any) -> None:
    """An invalid value is refused by an error that names the field."""
    with pytest.raises(InvalidInputError) as caught:
        ImageConfig(**{field: value})
    assert str(caught.value).startswith(f"image config field {field} ")


@pytest.mark.parametrize(
    "field, value",
    [
        ("user", "nobody:nogroup"),
        ("user", "1000:app"),
        ("user", "2147483647"),
        ("env", ("A=", "B=x=y", "ProgramFiles(x86)=C:")),
        ("created", "0001-01-01T00:00:00Z"),
        ("created", "2024-02-29T23:59:59.123456789-11:30"),
        ("stop_signal", "SIGRTMIN+3"),
        ("working_dir", "/"),
    ],
)
def test_values_that_are_kept_as_they_are(field: str, value: Any) -> None:
    """A valid value reaches the image unchanged."""
    assert getattr(ImageConfig(**{field: value}), field) == value


def test_ports_become_single_ports_with_protocol() -> None:
    """As Docker's EXPOSE does; the spec has no ranges."""
    config = ImageConfig(exposed_ports=("8000-8001/udp", "80", "80/tcp"))
    assert config.exposed_ports == ("80/tcp", "8000/udp", "8001/udp")


def test_names_of_architectures_elsewhere_are_explained() -> None:
    """Who writes what Nix calls the machine is told what images call it."""
    with pytest.raises(InvalidInputError) as caught:
        ImageConfig(architecture="aarch64-linux")
    assert "so it is arm64 here" in str(caught.value)


def test_platform() -> None:
    """The architecture must be said; the operating system is Linux by default."""
    config = ImageConfig(architecture="arm", variant="v7")
    assert config.platform() == Platform("linux", "arm", "v7")
    with pytest.raises(InvalidInputError) as caught:
        ImageConfig().platform()
    assert "architecture" in str(caught.value)
