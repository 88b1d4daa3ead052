"""The tar stream of a layer of files. Headers are those of the dialect `oci`, see `nixoci.tar.pack`."""

from __future__ import annotations

import os

from nixoci.errors import NixOciError
from nixoci.recipe.files import FileEntry, FilesRecipe
from nixoci.tar.capabilities import CAPABILITY_KEYWORD, capability_value
from nixoci.tar.header import (
    BLOCK_SIZE,
    DIRECTORY,
    REGULAR,
    SYMLINK,
    encode_header,
    owner_fields,
)
from nixoci.tar.output import Flush, Output, SizeChangedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class ContentsReadError(NixOciError):
    """The contents of a file cannot be read as the recipe says.

    :param path: where the file is in the image.
    :param sha256: of the contents.
    """

    def __init__(self, path: str, sha256: str, why: str) -> None:
        self.path = path
        self.sha256 = sha256
        self.why = why
        super().__init__(f"The contents of {path!r} (sha256:{sha256}) {why}")


class ContentsMissingError(ContentsReadError):
    """Nobody has said where they are, or they are not there.

    :param directory: where they were looked for; None if nothing was said.
    """

    def __init__(self, path: str, sha256: str, directory: Optional[str]) -> None:
        self.directory = directory
        looked = "are in no Nix store" if directory is None else f"are not in {directory!r}"
        super().__init__(
            path,
            sha256,
            f"{looked}. Give `--contents` a directory that has them, as a file named {sha256} or at "
            f"{path[1:]!r}.",
        )


def pack_files(
    recipe: FilesRecipe, buffer: memoryview, flush: Flush, *, contents: Optional[str]
) -> tuple[int, memoryview]:
    """As `nixoci.tar.pack.pack`, for a recipe of files; it reads no Nix store.

    :param contents: directory of the contents, see `open_contents`; None if there is none.
    :raises ContentsReadError: they are not there, or not of the size that the recipe says.
    :raises InvalidInputError: an owner that ustar has no room for.
    """
    output = Output(buffer, flush)
    for entry in recipe.entries:
        name = entry.path[1:].encode()
        fields = owner_fields(entry.owner)
        if entry.target is not None:
            output.append(encode_header(name, SYMLINK, 0o777, 0, entry.target.encode(), fields))
        elif entry.text is not None:
            text = entry.text.encode()
            output.append(encode_header(name, REGULAR, entry.mode, len(text), b"", fields))
            output.append(text + bytes(-len(text) % BLOCK_SIZE))
        elif entry.sha256 is None:
            output.append(encode_header(name + b"/", DIRECTORY, entry.mode, 0, b"", fields))
        else:
            attributes = (
                ((CAPABILITY_KEYWORD, capability_value(entry.capabilities)),)
                if entry.capabilities
                else ()
            )
            output.append(
                encode_header(
                    name, REGULAR, entry.mode, entry.size, b"", fields, attributes=attributes
                )
            )
            _copy(output, entry, entry.sha256, contents)
    output.append(bytes(2 * BLOCK_SIZE))
    return output.flushed + output.position, output.view[: output.position]


def open_contents(entry: FileEntry, sha256: str, contents: Optional[str]) -> int:
    """Opens the contents of a file and returns the descriptor.

    They are in a directory under the name of their digest, as the plugin puts them there, or else at
    the path that they have in the image. What is read is verified by the digest of the layer.

    :raises ContentsReadError: they are not there, or cannot be read.
    """
    try:
        if contents is not None:
            for place in (sha256, entry.path[1:]):
                try:
                    # Nobody may ever write into a pipe.
                    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
                    return os.open(os.path.join(contents, place), flags)
                except (FileNotFoundError, NotADirectoryError):
                    continue
    except OSError as error:
        raise ContentsReadError(
            entry.path, sha256, f"cannot be read: {error.strerror}."
        ) from None
    raise ContentsMissingError(entry.path, sha256, contents)


def _copy(output: Output, entry: FileEntry, sha256: str, contents: Optional[str]) -> None:
    descriptor = open_contents(entry, sha256, contents)
    try:
        output.copy(descriptor, entry.size)
    except SizeChangedError:
        raise ContentsReadError(
            entry.path, sha256, f"are not {entry.size} bytes: the file is another one."
        ) from None
    except OSError as error:
        if output.flush_failed:
            raise
        raise ContentsReadError(
            entry.path, sha256, f"cannot be read: {error.strerror}."
        ) from None
    finally:
        os.close(descriptor)
