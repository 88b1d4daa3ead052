"""What can go wrong while the tar of a recipe is made."""

from __future__ import annotations

from nixoci.errors import NixOciError
from nixoci.recipe.reserved import WHITEOUT
from nixoci.store.path import StorePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class StoreReadError(NixOciError):
    """A store path cannot be packed as it is.

    :param path: the store path.
    :param file: what is wrong below it, relative to `path`, or "" for the path itself.
    """

    def __init__(self, path: StorePath, file: str, why: str) -> None:
        self.path = path
        self.file = file
        self.why = why
        place = f"{path}/{file}" if file else path
        super().__init__(f"{place} {why}")


class StorePathMissingError(StoreReadError):
    """The store path is not in the store that is read.

    :param location: where it was looked for; differs from `path` in a chroot store.
    """

    def __init__(self, path: StorePath, location: str) -> None:
        self.location = location
        where = "" if location == path else f" (looked for at {location})"
        super().__init__(path, "", f"is not in the store{where}; build or substitute it first.")


class StorePathUnreadableError(StoreReadError):
    """The operating system refuses to read something of the store path.

    :param errno: the system's error number, if it gave one.
    """

    def __init__(self, path: StorePath, file: str, errno: Optional[int], reason: str) -> None:
        self.errno = errno
        self.reason = reason
        super().__init__(path, file, f"cannot be read: {reason}.")


class UnsupportedFileTypeError(StoreReadError):
    """Something is neither directory nor regular file nor symbolic link; Nix stores none of it."""

    def __init__(self, path: StorePath, file: str, kind: str) -> None:
        self.kind = kind
        super().__init__(
            path, file, f"is a {kind}; a layer holds directories, regular files and symbolic links."
        )


class NotADirectoryInRootError(StoreReadError):
    """A path that is to be copied to the root of the image is not a directory."""

    def __init__(self, path: StorePath) -> None:
        super().__init__(
            path,
            "",
            "is not a directory, so its contents cannot be copied to the root of the image.",
        )


class CopiedStoreError(StoreReadError):
    """A path that is to be copied to the root of the image has something in `nix/store`.

    It would be in the store of the image without Nix's knowing of it.
    """

    def __init__(self, path: StorePath, name: str) -> None:
        self.name = name
        super().__init__(
            path,
            f"nix/store/{name}",
            "would be copied into the store of the image, where only whole packages belong; make a "
            "package of it, or take it out of what is copied to the root.",
        )


class HiddenStoreError(StoreReadError):
    """A path that is to be copied to the root of the image has a file or link for `nix` or `nix/store`.

    Whatever layer the store paths of the image are in, they would not be found.
    """

    def __init__(self, path: StorePath, file: str) -> None:
        super().__init__(
            path,
            file,
            "is no directory, and copied to the root it would hide the Nix store of the image; leave it out "
            "with `excludes`, or take it out of the package.",
        )


class ReservedNameError(StoreReadError):
    """A layer has names like that of something for another purpose: to delete files of lower layers."""

    def __init__(self, path: StorePath, file: str) -> None:
        super().__init__(
            path,
            file,
            f"would delete files in the image: in layers, names that begin with {WHITEOUT} are reserved for "
            "that. Leave it out with `excludes`, or have the package name it otherwise.",
        )


class CaseHackError(StoreReadError):
    """Names in a directory have no true names of their own, see `nixoci.store.case_hack`.

    :param names: one or two, as they are on the disk.
    """

    def __init__(self, path: StorePath, file: str, names: tuple[str, ...], why: str) -> None:
        self.names = names
        # No pattern matches an empty name.
        what = "them" if len(names) > 1 else "the directory"
        super().__init__(
            path,
            file,
            f"{why}. Leave {what} out with `excludes`, or have the package choose other names.",
        )


class FileChangedError(StoreReadError):
    """A file had another size while it was read than when it was opened.

    :param expected: bytes that its metadata promised.
    """

    def __init__(self, path: StorePath, file: str, expected: int) -> None:
        self.expected = expected
        super().__init__(
            path,
            file,
            f"changed its size of {expected} bytes while it was read; "
            "nothing may write to a store path, "
            "`nix-store --verify --check-contents` finds out more.",
        )


class DuplicateDestinationError(NixOciError):
    """Two store paths differ in what they put at the same place of the image.

    :param destination: the absolute path in the image.
    :param paths: the two store paths, in the order of the recipe.
    """

    def __init__(self, destination: str, paths: tuple[StorePath, StorePath]) -> None:
        self.destination = destination
        self.paths = paths
        super().__init__(
            f"{destination} would come from both {paths[0]} and {paths[1]}, "
            "which differ there; "
            "leave one of them out or do not copy both to the root of the image."
        )
