"""The core as one file that any Python can run: input of every sandboxed step."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass

import nixoci
from pants.engine.fs import Digest, FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import create, rule

ZIPAPP = "nixoci.pyz"

#: What no command of the core uses, only the plugin: its changes must not change the key of any step.
LEFT_OUT = (
    "elf/image_paths.py",
    "elf/search.py",
    "layering/collisions.py",
    "layering/contents.py",
    "layering/directories.py",
    "layering/distributions.py",
    "layering/files.py",
    "layering/previous_document.py",
    "layering/shared.py",
    "recipe/accounts.py",
    "registry/lookup.py",
    "report",
)


@dataclass(frozen=True)
class Zipapp:
    """:param digest: a tree with the one file `ZIPAPP`."""

    digest: Digest


@rule(desc="Pack nixoci")
async def pack_zipapp() -> Zipapp:
    return Zipapp(await create([FileContent(ZIPAPP, zipapp_bytes())]))


def zipapp_bytes() -> bytes:
    """Returns what steps need of the package `nixoci` as a zip file: the same bytes for the same sources, everywhere.

    It is stored, not compressed, as the bytes of a compressed one depend on the version of zlib.
    """
    root = os.path.dirname(nixoci.__file__)
    paths = [("__main__.py", os.path.join(root, "__main__.py"))]
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            place = os.path.relpath(path, root)
            if name.endswith(".py") and not place.startswith(LEFT_OUT):
                paths.append((os.path.join("nixoci", place), path))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths:
            with open(path, "rb") as file:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), file.read())
    return buffer.getvalue()


def rules():
    return collect_rules()
