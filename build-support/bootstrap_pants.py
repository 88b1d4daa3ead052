"""Makes the virtualenv that the launcher `./pants` runs Pants from. Started by the launcher only.

The virtualenv is made beside its final place and then renamed, so that an interrupted run leaves
nothing that a later one would take for complete. A lock makes concurrent first runs wait for the
one that does the work. Standard library only, Python 3.9.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Sequence
from urllib.parse import quote

# Errors only: an index without some project is worth a warning to pip and none to the user.
PIP_GLOBAL_OPTIONS = ("--disable-pip-version-check", "--quiet", "--quiet")
# Exactly the locked files, and nothing that would have to be compiled here.
PIP_STRICT_OPTIONS = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
PIP_WAY_OUT = (
    "Check that pip reaches a package index (`pip config list` shows which), then run again."
)

PEX_PLATFORMS = ("linux_arm64", "linux_x86_64", "macos_arm64", "macos_x86_64")

# Both a shell script and a Python program: the native client of Pants executes it, and pantsd is
# started as `python pants-server`. A plain `#!` line would hold the absolute path of the
# virtualenv, which changes with the rename and may be longer than the kernel accepts.
PANTS_SERVER = """\
#!/bin/sh
''':'
exec "${0%/*}/python" "$0" "$@"
'''
import sys

from pants.bin.pants_loader import main

if __name__ == "__main__":
    sys.exit(main())
"""


class BootstrapError(Exception):
    """A step of the set-up failed; the message is a sentence for the user."""


def run(arguments: Sequence[str | os.PathLike[str]], way_out: str) -> None:
    """Runs a command with its output on our standard error; raises BootstrapError if it fails."""
    environment = {
        name: value
        for name, value in os.environ.items()
        # Settings of an enclosing Pex or Python must not reach this virtualenv.
        if not name.startswith(("PEX_", "PYTHON"))
    }
    # A user-wide `pip install --user` default is an error in a virtualenv. Where packages come
    # from stays as pip is configured on this machine.
    environment["PIP_USER"] = "0"
    environment["PEX_IGNORE_RCFILES"] = "true"
    try:
        status = subprocess.run(arguments, env=environment, stdout=sys.stderr).returncode
    except OSError as error:
        raise BootstrapError(f"{error}. {way_out}") from error
    if status != 0:
        command = shlex.join(os.fspath(argument) for argument in arguments)
        raise BootstrapError(f"`{command}` failed, its messages are above. {way_out}")


def locked_version(lock: Path, project: str) -> str:
    """Returns the version that a requirements-style lockfile pins for a project."""
    for line in lock.read_text().splitlines():
        name, separator, rest = line.partition("==")
        if separator and name == project:
            return rest.split()[0]
    raise BootstrapError(f"{lock} pins no version of {project}: run build-support/lock.")


def make_virtualenv(directory: Path, pants_lock: Path) -> None:
    """Makes a virtualenv in `directory` and installs exactly what `pants_lock` pins."""
    run(
        [sys.executable, "-I", "-m", "venv", directory],
        f"{sys.executable} must be able to make a virtualenv with pip in it; some distributions "
        "package that apart (python3.9-venv).",
    )
    run(
        [
            *(directory / "bin" / "python", "-I", "-m", "pip"),
            *PIP_GLOBAL_OPTIONS,
            "install",
            *PIP_STRICT_OPTIONS,
            *("--requirement", pants_lock),
        ],
        PIP_WAY_OUT,
    )
    # The wheel carries the native client without a run bit.
    (client,) = directory.glob("lib/python3.9/site-packages/pants/bin/native_client")
    client.chmod(0o755)
    (directory / "bin" / "native_client").symlink_to(os.path.relpath(client, directory / "bin"))
    server = directory / "bin" / "pants-server"
    server.write_text(PANTS_SERVER)
    server.chmod(0o755)


def make_pex(directory: Path, pex_lock: Path) -> None:
    """Packs the locked Pex into the PEX file `directory`/pex, byte for byte the same everywhere."""
    python = directory / "bin" / "python"
    # In the short path of the system's temporary directory: Pex warns of long ones.
    with tempfile.TemporaryDirectory(prefix="pex-") as work:
        run(
            [
                *(python, "-I", "-m", "pip", *PIP_GLOBAL_OPTIONS, "download"),
                *PIP_STRICT_OPTIONS,
                *("--requirement", pex_lock, "--dest", f"{work}/wheels"),
            ],
            PIP_WAY_OUT,
        )
        run(
            [
                *(python, "-I", "-m", "pex", "--disable-cache", "--tmpdir", work),
                *("--no-index", "--find-links", f"{work}/wheels"),
                *("--python-shebang", "/usr/bin/env python3"),
                f"pex=={locked_version(pex_lock, 'pex')}",
                *("--console-script", "pex", "--output-file", directory / "pex"),
            ],
            "Check that the temporary directory has 100 MB to spare, then run again.",
        )


def write_launcher_variables(directory: Path, destination: Path, pex_lock: Path) -> None:
    """Writes `directory`/launcher.sh, which the launcher sources; paths in it are final ones."""
    content = (directory / "pex").read_bytes()
    version = locked_version(pex_lock, "pex")
    known_versions = [
        f"v{version}|{platform}|{hashlib.sha256(content).hexdigest()}|{len(content)}"
        for platform in PEX_PLATFORMS
    ]
    search_path = [os.path.dirname(sys.executable)]
    variables = {
        # Quoting also keeps braces in the path from being read as places of the template.
        "pex_url_template": f"file://{quote(os.fspath(destination / 'pex'))}",
        "pex_known_versions": repr(known_versions),
        "python_search_path": f"+{search_path!r}",
    }
    (directory / "launcher.sh").write_text(
        "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    )


def move_programs(directory: Path, destination: Path) -> None:
    """Has the programs in `directory`/bin name `destination`, a directory beside it, instead of `directory`.

    pip and venv write the place of the virtualenv into the first lines of programs and into the `activate` scripts,
    which have its name in the prompt, too.
    """
    for program in (directory / "bin").iterdir():
        if program.is_symlink() or not program.is_file():
            continue
        content = program.read_bytes()
        changed = content.replace(os.fsencode(directory.name), os.fsencode(destination.name))
        # The length of what is compiled must stay.
        if changed != content and b"\0" not in content:
            program.write_bytes(changed)


def is_complete(destination: Path) -> bool:
    """Says whether the launcher could use what is at `destination`."""
    return (destination / "launcher.sh").is_file() and os.access(
        destination / "bin" / "python", os.X_OK
    )


def bootstrap(destination: Path, pants_lock: Path, pex_lock: Path) -> None:
    """Makes `destination`, unless a concurrent run just did."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{destination}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(destination):
            return
        version = locked_version(pants_lock, "pantsbuild-pants")
        print(f"Setting up Pants {version} in {destination} (once).", file=sys.stderr)
        # We hold the lock, so whatever is there was left behind by a run that was killed, or is a
        # virtualenv whose interpreter has gone.
        for leftover in (destination, *destination.parent.glob(f"{destination.name}.tmp-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{destination.name}.tmp-", dir=destination.parent))
        try:
            make_virtualenv(work, pants_lock)
            make_pex(work, pex_lock)
            write_launcher_variables(work, destination, pex_lock)
            move_programs(work, destination)
            work.rename(destination)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("destination", "pants-lock", "pex-lock"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        bootstrap(arguments.destination, arguments.pants_lock, arguments.pex_lock)
    except BootstrapError as error:
        print(f"Setting up Pants failed: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"Setting up Pants failed: {error}. Its place is under XDG_CACHE_HOME or ~/.cache; "
            "set XDG_CACHE_HOME to a directory with 500 MB to spare.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
