"""The Pythons of this machine, by version."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess

from tests.integration.support.tools import ToolMissingError


def interpreter(version: str) -> str:
    """Returns the path of a Python, from PATH or pyenv.

    :param version: such as `3.11`.
    :raises ToolMissingError: there is none.
    """
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = (
        shutil.which(f"python{version}"),
        *sorted(glob.glob(f"{root}/versions/{version}.*/bin/python{version}")),
    )
    for candidate in candidates:
        # A shim of pyenv may stand for a version that is not there.
        if candidate and not subprocess.run([candidate, "-c", ""], stderr=subprocess.PIPE).returncode:
            return candidate
    raise ToolMissingError(f"python{version}", "pyenv does not have it either")
