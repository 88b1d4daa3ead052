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

#: What no command of the core uses, only the plugin; and the version, which must be in no cache key.
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
    "store/locks/moves.py",
    "version.py",
)


#: What no step uses, only commands that work on whole images or update lock files, whose results are in no cache. A
#: change of how images are pushed must not change the key of any step.
NOT_IN_STEPS = (
    "base/",
    "cli/commands/engines.py",
    "cli/commands/images.py",
    "cli/commands/locks.py",
    "cli/commands/registries.py",
    "engine/",
    "image/",
    "layer/blob_stream.py",
    "layer/source.py",
    "registry/",
    "store/locks/update.py",
)


@dataclass(frozen=True)
class Zipapp:
    """The core as far as steps need it.

    :param digest: a tree with the one file `ZIPAPP`.
    """

    digest: Digest


@dataclass(frozen=True)
class WholeZipapp:
    """The core with all of its commands.

    :param digest: as that of `Zipapp`, with the same file.
    """

    digest: Digest


@rule(desc="Pack nixoci for steps")
async def pack_zipapp() -> Zipapp:
    return Zipapp(await create([FileContent(ZIPAPP, zipapp_bytes(NOT_IN_STEPS))]))


@rule(desc="Pack nixoci")
async def pack_whole_zipapp() -> WholeZipapp:
    return WholeZipapp(await create([FileContent(ZIPAPP, zipapp_bytes())]))


def zipapp_bytes(but: tuple[str, ...] = ()) -> bytes:
    """Returns the package `nixoci` as a zip file: the same bytes for the same sources, everywhere.

    :param but: files and directories to leave out besides `LEFT_OUT`.

    It is stored, not compressed, as the bytes of a compressed one depend on the version of zlib.
    """
    root = os.path.dirname(nixoci.__file__)
    paths = [("__main__.py", os.path.join(root, "__main__.py"))]
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            place = os.path.relpath(path, root)
            if name.endswith(".py") and not place.startswith((*LEFT_OUT, *but)):
                paths.append((os.path.join("nixoci", place), path))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths:
            with open(path, "rb") as file:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), file.read())
    return buffer.getvalue()


def rules():
    return collect_rules()
