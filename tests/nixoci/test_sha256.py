"""Tests of `nixoci.sha256`, also with Pythons that were built without OpenSSL or without hashes of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest
from nixoci.sha256 import sha256, sha256_of

_DATA = bytes(range(256)) * 5


def test_it_is_sha_256() -> None:
    expected = hashlib.sha256(_DATA).hexdigest()
    parts = sha256(_DATA[:100])
    parts.update(_DATA[100:])
    assert [sha256(_DATA).hexdigest(), parts.hexdigest(), sha256_of(_DATA)] == [expected] * 3


@pytest.mark.parametrize("missing", (("_hashlib",), ("_sha2", "_sha256"), ()), ids=" ".join)
def test_whatever_python_has(missing: tuple[str, ...]) -> None:
    """The name that it has decides nothing but the time that it takes."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(nixoci.__path__[0]).parent)!r})
for name in {missing!r}:
    sys.modules[name] = None
from nixoci.sha256 import sha256, sha256_of
print(sha256({_DATA!r}).hexdigest(), sha256_of({_DATA!r}))
"""
    end = subprocess.run([sys.executable, "-S", "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    assert end.stdout.split() == [hashlib.sha256(_DATA).hexdigest()] * 2
