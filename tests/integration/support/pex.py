"""What Pants needs to build PEX files in a monorepo of a test: Pex itself, and a Python."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from pathlib import Path

from pants.version import PANTS_SEMVER

from tests.integration.support.cache import cached_directory
from tests.integration.support.interpreters import interpreter_itself
from tests.integration.support.process import run

#: In a Pants sandbox too, since a BUILD file says that this module depends on it. The first is the Pex of 2.17;
#: versions from 2.20 on refuse it, and take the other one, each of them.
_LOCK = (
    Path(__file__).parents[3]
    / "3rdparty"
    / "python"
    / ("pex.lock" if PANTS_SEMVER.release < (2, 20) else "pex-newer.lock")
)

#: What builds PEX files. They run on others, too.
_PYTHON = "3.11"

_STRICT = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")


def pex_options() -> tuple[str, ...]:
    """Returns options with which Pants has its backend for Python, and downloads nothing for it.

    :raises ToolMissingError: there is no Python 3.11.
    :raises CommandFailedError: pip could not fetch Pex, at the first call on a machine.
    """
    pex = _pex_file()
    content = pex.read_bytes()
    (version,) = re.findall("^pex==([^ ]+)", _LOCK.read_text(), re.MULTILINE)
    known = "|".join(
        [f"v{version}", "linux_x86_64", hashlib.sha256(content).hexdigest(), str(len(content))]
    )
    return (
        "--backend-packages=+['pants.backend.python']",
        f"--pex-cli-version=v{version}",
        f"--pex-cli-url-template={pex.as_uri()}",
        f"--pex-cli-known-versions={[known]}",
        f"--python-bootstrap-search-path={[str(interpreter_itself(_PYTHON).parent)]}",
        "--python-interpreter-constraints=['CPython>=3.9']",
        "--python-infer-use-rust-parser",
    )


def _pex_file() -> Path:
    """Pex as a PEX file, as Pants' own download is; made on first use and kept."""

    def make(directory: Path, _final: Path) -> None:
        wheels, unpacked = directory / "wheels", directory / "unpacked"
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PEX_", "PYTHON"))},
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_USER": "0",
        }
        command = [interpreter_itself(_PYTHON), "-I", "-m", "pip", "download", *_STRICT]
        run([*command, "--requirement", _LOCK, "--dest", wheels], env=environment)
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        command = [interpreter_itself(_PYTHON), "-m", "pex", "--disable-cache", "--no-index", "--find-links", wheels]
        command += ["--python-shebang", "/usr/bin/env python3", "--console-script", "pex"]
        run(
            [*command, wheel, "--output-file", directory / "pex"],
            env={**environment, "PYTHONPATH": str(unpacked)},
        )

    tag = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    return cached_directory("test-pex", tag, make) / "pex"
