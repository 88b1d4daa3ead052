"""Tests of `nixoci.elf.image_paths`."""

from __future__ import annotations

from typing import Optional

import pytest
from nixoci.elf.image_paths import UNKNOWN, ImagePaths

STORE = "/nix/store/00000000000000000000000000000000-a"
OTHER = "/nix/store/11111111111111111111111111111111-b"

IMAGE = ImagePaths(
    {
        "/usr/lib/a.so": None,
        "/lib": "usr/lib",
        "/lib64": "/lib",
        "/usr/lib/up": "../../usr",
        "/usr/lib/b.so": f"{STORE}/lib/b.so",
        "/usr/lib/c.so": f"{STORE}/lib/c.so",
        "/usr/lib/far.so": f"{STORE}/more/far.so",
        "/usr/lib/gone.so": f"{OTHER}/lib/gone.so",
        "/usr/lib/back.so": f"{STORE}/lib/../../../../lib/a.so",
        "/store": f"{STORE}/lib",
        "/one": "two",
        "/two": "one",
        "/loop": f"{STORE}/../../../loop",
        "/etc/unknown": UNKNOWN,
    },
    [STORE],
    {f"{STORE}/lib": ["b.so"]},
)


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/", "/"),
        ("/usr", "/usr"),
        ("/usr/./lib//a.so", "/usr/lib/a.so"),
        ("/lib64/a.so", "/usr/lib/a.so"),
        ("/lib64/up/lib/a.so", "/usr/lib/a.so"),
        ("/../usr/lib/../lib", "/usr/lib"),
        ("/lib/b.so", f"{STORE}/lib/b.so"),
        ("/store/b.so", f"{STORE}/lib/b.so"),
        ("/store/c.so", None),
        ("/lib/c.so", None),
        ("/lib/far.so", f"{STORE}/more/far.so"),
        ("/lib/gone.so", None),
        ("/lib/back.so", "/usr/lib/a.so"),
        (STORE, STORE),
        (OTHER, None),
        ("/lib/nosuch", None),
        ("/nosuch/a.so", None),
        ("/one", None),
        ("/loop", None),
        ("/etc/unknown", "/etc/unknown"),
        ("/etc/unknown/below/it", "/etc/unknown/below/it"),
    ],
)
def test_where_paths_lead(path: str, expected: Optional[str]) -> None:
    assert IMAGE.real(path) == expected
