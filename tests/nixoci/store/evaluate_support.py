"""Files and flakes that tests evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nixoci.store.evaluate import Derivation, evaluate

from tests.nixoci.store.nix_support import SYSTEM, nix, shell_derivation, write_tree

ONE = shell_derivation("one", "echo 1 > $out")
SEVERAL = shell_derivation(
    "several", "echo 1 > $dev; echo 2 > $out; echo 3 > $doc", 'outputs = [ "dev" "out" "doc" ];'
)


def evaluated(
    home: Path, root: Path, attr: str = "", source: str = "default.nix", **options: Any
) -> Derivation:
    """What an attribute of a file below `root` evaluates to, with the Nix of this machine."""
    return evaluate(
        nix(home), root=str(root), source=source, attr=attr, system=SYSTEM, **options
    )


def file_with(root: Path, attributes: str, **files: str) -> Path:
    """Writes a file with attributes, and others."""
    return write_tree(root, {"default.nix": f"{{ system }}: {{ {attributes} }}", **files})


def flake_with(root: Path, packages: str, directory: str = "") -> Path:
    """Writes a flake with packages."""
    text = (
        f'{{ outputs = {{ self }}: let system = "{SYSTEM}"; in '
        f"{{ packages.{SYSTEM} = {{ {packages} }}; }}; }}"
    )
    return write_tree(root, {os.path.join(directory, "flake.nix"): text})
