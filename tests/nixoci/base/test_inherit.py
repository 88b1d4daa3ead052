"""What an image has of its base; `tests/integration/test_base_images.py` compares it with docker."""

from __future__ import annotations

import pytest
from nixoci.base.inherit import inherit, only_platform, platform_difference
from nixoci.image.config import ImageConfig
from nixoci.image.healthcheck import Healthcheck

BASE = ImageConfig(
    entrypoint=("/entry",),
    cmd=("serve",),
    env=("PATH=/bin", "A=1"),
    user="app",
    working_dir="/srv",
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    labels=(("a", "1"), ("b", "1")),
    stop_signal="SIGINT",
    healthcheck=Healthcheck(("CMD", "/check")),
    architecture="arm64",
    os="linux",
    variant="v8",
    created="2024-02-29T12:00:00Z",
    author="somebody",
    other=(("Shell", '["/bin/bash"]'),),
)


@pytest.mark.parametrize(
    "own, field, expected",
    (
        (ImageConfig(), "entrypoint", ("/entry",)),
        (ImageConfig(), "cmd", ("serve",)),
        (ImageConfig(cmd=("x",)), "entrypoint", ("/entry",)),
        (ImageConfig(cmd=("x",)), "cmd", ("x",)),
        (ImageConfig(entrypoint=("x",)), "cmd", None),
        (ImageConfig(entrypoint=()), "cmd", None),
        (ImageConfig(entrypoint=("x",), cmd=("y",)), "cmd", ("y",)),
        (ImageConfig(cmd=()), "cmd", ()),
        (ImageConfig(env=("B=2", "A=3")), "env", ("PATH=/bin", "A=3", "B=2")),
        (ImageConfig(env=("PATH=/x",)), "env", ("PATH=/x", "A=1")),
        (ImageConfig(labels=(("b", "2"),)), "labels", (("a", "1"), ("b", "2"))),
        (ImageConfig(exposed_ports=("90",)), "exposed_ports", ("80/tcp", "90/tcp")),
        (ImageConfig(volumes=("/x",)), "volumes", ("/data", "/x")),
        (ImageConfig(), "user", "app"),
        (ImageConfig(user="0"), "user", "0"),
        (ImageConfig(), "working_dir", "/srv"),
        (ImageConfig(), "stop_signal", "SIGINT"),
        (ImageConfig(healthcheck=Healthcheck(("NONE",))), "healthcheck", Healthcheck(("NONE",))),
        (ImageConfig(), "healthcheck", BASE.healthcheck),
        (ImageConfig(), "other", BASE.other),
        (ImageConfig(), "variant", "v8"),
        (ImageConfig(), "created", None),
        (ImageConfig(author="me"), "author", "me"),
        (ImageConfig(), "author", None),
    ),
)
def test_inheritance(own: ImageConfig, field: str, expected: object) -> None:
    assert getattr(inherit(BASE, own), field) == expected


def test_platforms_must_fit() -> None:
    assert platform_difference(BASE, ImageConfig()) is None
    assert platform_difference(BASE, ImageConfig(architecture="arm64", os="linux")) is None
    difference = platform_difference(BASE, ImageConfig(architecture="amd64"))
    assert difference == "architecture 'arm64', not 'amd64'"
    assert platform_difference(BASE, ImageConfig(variant="v9")) == "variant 'v8', not 'v9'"
    assert only_platform(BASE) == ImageConfig(architecture="arm64", os="linux", variant="v8")
