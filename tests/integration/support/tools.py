"""Programs that tests need beside Nix: found on PATH, else installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.integration.support.cache import cache_root, locked
from tests.integration.support.process import run

#: Where Debian puts daemons. A PATH of somebody who is not root often lacks these.
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


class ToolMissingError(Exception):
    """A program is neither installed nor installable here; `name` says which one."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"The tests need the program `{name}`, which is not on PATH, and {why}.")


def tool(name: str) -> str:
    """Returns the absolute path of the program `name`; installs the test tools if it is missing.

    :raises ToolMissingError: it is not there, also after the installation.
    :raises CommandFailedError: the installation failed.
    """
    found = _find(name)
    if found is None:
        with locked(cache_root() / "install-test-tools.lock"):
            found = _find(name)
            if found is None:
                run([_installer(name)], timeout=900)
                found = _find(name)
    if found is None:
        raise ToolMissingError(name, "build-support/install-test-tools did not install it")
    return found


def _find(name: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_DIRECTORIES])
    found = shutil.which(name, path=path)
    return None if found is None else os.path.abspath(found)


def _installer(name: str) -> Path:
    # The place of this file relative to the repository root is the same in a Pants sandbox, where
    # the script is there since a BUILD file says that this module depends on it.
    script = Path(__file__).parents[3] / "build-support" / "install-test-tools"
    if not script.is_file():
        raise ToolMissingError(name, f"{script} does not exist")
    return script
