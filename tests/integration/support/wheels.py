"""Wheels for the tests: those that an example locks, and small ones that are made here."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path
from typing import Mapping

from tests.integration.support.cache import cached_directory
from tests.integration.support.interpreters import interpreter
from tests.integration.support.process import run

#: In a Pants sandbox too, since a BUILD file says that this module depends on it.
_LOCK = Path(__file__).parents[3] / "examples" / "service" / "requirements.lock"


def service_wheels() -> Path:
    """Returns a directory with the wheels that `examples/service` locks, for Python 3.11.

    :raises CommandFailedError: pip could not fetch them, at the first call on a machine.
    """

    def make(directory: Path, _final: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PEX_", "PYTHON"))}
        run(
            [
                *(interpreter("3.11"), "-I", "-m", "pip", "download", "--quiet"),
                *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
                *("--requirement", _LOCK, "--dest", directory),
            ],
            env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"},
        )

    tag = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    return cached_directory("test-service-wheels", tag, make)


def wheel_options(*directories: Path) -> tuple[str, ...]:
    """Returns options with which Pants finds wheels in these directories, and nowhere else."""
    links = [directory.as_uri() for directory in directories]
    return (
        f"--python-repos-find-links={links}",
        "--python-repos-indexes=[]",
        # That which is part of Pex; another one would have to be fetched.
        "--python-pip-version=20.3.4-patched",
    )


def write_wheel(
    directory: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    tag: str = "py3-none-any",
    scripts: Mapping[str, str] = {},
    requires: tuple[str, ...] = (),
) -> Path:
    """Writes a wheel (packaging.python.org/specifications/binary-distribution-format).

    :param files: contents by their paths in the wheel, `{data}` for its directory of data.
    :param tag: of the Python, its ABI and the platform.
    :param scripts: of the console: what each calls, `module:function`.
    """
    information = f"{name}-{version}.dist-info"
    headers = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    content: dict[str, str | bytes] = {
        path.format(data=f"{name}-{version}.data"): text for path, text in files.items()
    }
    content[f"{information}/METADATA"] = "\n".join(["Metadata-Version: 2.1", *headers, "", ""])
    content[f"{information}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    )
    if scripts:
        lines = [f"{script} = {target}" for script, target in scripts.items()]
        content[f"{information}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    rows = []
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in sorted(content.items()):
            data = text if isinstance(text, bytes) else text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(data)}\n")
            archive.writestr(zipfile.ZipInfo(path), data)
        record = f"{information}/RECORD"
        archive.writestr(zipfile.ZipInfo(record), "".join([*rows, f"{record},,\n"]))
    return wheel


def repacked_wheel(wheel: Path, directory: Path, old: str, new: str) -> Path:
    """Writes the same distribution as another version, and returns that wheel."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = directory / wheel.name.replace(f"-{old}-", f"-{new}-")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(("/METADATA", "/RECORD")):
                content = content.replace(old.encode(), new.encode())
            target.writestr(name.replace(f"-{old}.", f"-{new}."), content)
    return changed
