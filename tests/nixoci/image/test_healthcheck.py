"""Tests of `nixoci.image.healthcheck`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig, merge
from nixoci.image.healthcheck import Healthcheck, parse_command, parse_duration

SECOND = 10**9
CURL = ("CMD", "/bin/curl", "-f", "http://localhost")


def parse(healthcheck: Any) -> ImageConfig:
    return ImageConfig.from_json(json.dumps({"Healthcheck": healthcheck}).encode())


@pytest.mark.parametrize(
    "command, expected",
    [
        (["/bin/curl", "-f", "http://localhost"], CURL),
        (("/bin/curl", ""), ("CMD", "/bin/curl", "")),
        ("curl -f http://localhost || exit 1", ("CMD-SHELL", "curl -f http://localhost || exit 1")),
        ("NONE", ("NONE",)),
        ("none", ("CMD-SHELL", "none")),
    ],
)
def test_commands_are_those_of_dockerfiles(command: Any, expected: tuple[str, ...]) -> None:
    """A list is a program, a string a command of the shell, and one string says that there is none."""
    assert parse_command(command) == Healthcheck(parse_command(command)).test == expected


@pytest.mark.parametrize("command", [["CMD", "x"], ["CMD-SHELL", "x"], ["NONE"], 1, None, {"a": 1}])
def test_commands_that_are_none(command: Any) -> None:
    """What compose files and configs write is not taken for a program with that name."""
    with pytest.raises(InvalidInputError) as caught:
        parse_command(command)
    assert "image config field healthcheck test " in str(caught.value)
    if isinstance(command, list):
        assert f'leave the "{command[0]}" out' in str(caught.value)


@pytest.mark.parametrize(
    "text, nanoseconds",
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1h0m0.5s", 3600 * SECOND + SECOND // 2),
        ("500ms", SECOND // 2),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("1000us", 10**6),
        ("1000\u00b5s", 10**6),
        ("1000\u03bcs", 10**6),
        ("0.1s", SECOND // 10),
        ("1.0000000019s", SECOND + 1),
        ("1s1s", 2 * SECOND),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    """The syntax of Go, in which Dockerfiles have them, and no rounding."""
    assert parse_duration("interval", text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "1", "s", "30 s", " 30s", "30s\n", "-1s", "+1s", "1d", "1S", "1m30", "1..5s", "1e3s", "٣s"]
    + ["1sx", "9223372036854775808ns", "9" * 40 + "h", "9" * 5000 + "h", "1s" * 200, 30, 1.5, None, True],
)
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_duration("start_period", text)
    assert str(caught.value).startswith("image config field healthcheck start_period ")


@pytest.mark.parametrize(
    "text", ["9" * 5_000, "1s" * 110, "9" * 19_000 + "h", "0." + "0" * 199 + "1h", "." * 201, "1" * 201]
)
def test_what_is_long_is_no_duration(text: str) -> None:
    """The time that it takes to say so grows with the third power of the length, so it is said before."""
    with pytest.raises(InvalidInputError, match="it is too long"):
        parse_duration("interval", text)
    assert parse_duration("interval", "1s" * 50) == 50 * SECOND


@pytest.mark.parametrize(
    "field, values, message",
    [
        ("test", {"test": ()}, 'expected "CMD" and a program'),
        ("test", {"test": ("CMD",)}, 'expected "CMD" and a program'),
        ("test", {"test": ("CMD", "")}, 'expected "CMD" and a program'),
        ("test", {"test": ("CMD-SHELL",)}, '"CMD-SHELL" and one command'),
        ("test", {"test": ("CMD-SHELL", " ")}, '"CMD-SHELL" and one command'),
        ("test", {"test": ("CMD-SHELL", "a", "b")}, '"CMD-SHELL" and one command'),
        ("test", {"test": ("NONE", "a")}, '"NONE" alone'),
        ("test", {"test": ("/bin/curl",)}, 'expected "CMD" and a program'),
        ("test", {"test": ("CMD", 1)}, "expected a string"),
        ("test", {"test": ("CMD", "a\0b")}, "it has a NUL character"),
        ("test", {"test": "curl"}, "expected a list"),
        ("test", {"test": ("NONE",), "retries": 1}, "there is no check"),
        ("interval", {"interval": 999_999}, "at least 1ms"),
        ("interval", {"interval": -1}, "expected 0 to"),
        ("timeout", {"timeout": 1}, "at least 1ms"),
        ("start_period", {"start_period": 2**63}, "expected 0 to"),
        ("start_interval", {"start_interval": 1.5}, "expected a whole number"),
        ("retries", {"retries": -1}, "expected 0 to"),
        ("retries", {"retries": True}, "expected a whole number"),
        ("retries", {"retries": "3"}, "expected a whole number"),
    ],
)
def test_what_docker_would_refuse(field: str, values: dict[str, Any], message: str) -> None:
    """Whoever makes one, fields or a config in JSON, is told which value and what is possible."""
    with pytest.raises(InvalidInputError) as caught:
        Healthcheck(**{"test": CURL, **values})
    assert message in str(caught.value)
    if message != "expected a string":
        assert f"image config field healthcheck {field} " in str(caught.value)


def test_limits_are_taken() -> None:
    """A millisecond, and the longest that Go counts."""
    written = Healthcheck(CURL, 10**6, 0, 2**63 - 1).to_document()
    assert written == {"Test": CURL, "Interval": 10**6, "StartPeriod": 2**63 - 1}


def test_the_config_of_nix_has_the_same() -> None:
    """In JSON a healthcheck is Docker's object, in any case; zeros and nulls are what is absent."""
    document = {"test": list(CURL), "Interval": 5 * SECOND, "retries": 3, "Timeout": 0, "startPeriod": None}
    expected = Healthcheck(CURL, interval=5 * SECOND, retries=3)
    assert parse(document).healthcheck == expected
    assert parse({}).healthcheck is parse(None).healthcheck is None
    config = merge(parse(document), ImageConfig(architecture="amd64"))
    written = json.loads(json.dumps(config.to_document()))
    assert written["config"] == {
        "Healthcheck": {"Test": list(CURL), "Interval": 5 * SECOND, "Retries": 3}
    }
    assert ImageConfig.from_json(json.dumps(written).encode()).healthcheck == expected


@pytest.mark.parametrize(
    "document, message",
    [
        ({"Test": ["curl"]}, 'expected "CMD" and a program'),
        ({"Interval": SECOND}, 'expected "CMD" and a program'),
        ({"Test": list(CURL), "Interval": "30s"}, "healthcheck interval '30s'"),
        ({"Test": list(CURL), "Intervall": SECOND}, "key of Healthcheck 'Intervall'"),
        ({"Test": list(CURL), "test": []}, "Test is given twice"),
        ({"Test": "curl"}, "expected a list"),
        ([], "expected dict"),
        ("NONE", "expected dict"),
    ],
)
def test_configs_of_nix_that_are_refused(document: Any, message: str) -> None:
    """They reached the image as they were, and the container had no check or did not start."""
    with pytest.raises(InvalidInputError) as caught:
        parse(document)
    assert message in str(caught.value)


def test_one_replaces_the_other_as_a_whole() -> None:
    """As in a Dockerfile: what the lower one says beside its command is gone too."""
    below = ImageConfig(healthcheck=Healthcheck(CURL, interval=SECOND))
    above = ImageConfig(healthcheck=Healthcheck(("CMD-SHELL", "true"), retries=1))
    none = ImageConfig(healthcheck=Healthcheck(("NONE",)))
    assert merge(below, above) == above
    assert merge(below, ImageConfig()) == merge(ImageConfig(), below) == below
    assert merge(below, none) == none
    document = merge(none, ImageConfig(architecture="amd64")).to_document()
    assert json.loads(json.dumps(document["config"])) == {"Healthcheck": {"Test": ["NONE"]}}
