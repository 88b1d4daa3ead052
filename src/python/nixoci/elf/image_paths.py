"""What is at a path of an image, through its symbolic links."""

from __future__ import annotations

from nixoci.elf.store_facts import store_path_of
from nixoci.store.path import STORE_DIR

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Mapping, Optional

#: As the kernel: more symbolic links than that go round in circles.
_MOST_LINKS = 40

#: In place of the target of something that is a link, perhaps: nobody knows where it leads.
UNKNOWN = ""


class ImagePaths:
    """The paths of an image, and what its store paths have in directories that are known.

    :param paths: everything that is outside of the store, by absolute path: the target of a symbolic link, as
        it is written; None for a file or a directory; `UNKNOWN` for what may be a link whose target is not
        known, so that everything below it counts as there. Directories that others are in may be left out.
    :param store_paths: those of the image.
    :param directories: the names in directories of the store; what is in another directory of a store path
        of the image counts as there.
    """

    def __init__(
        self,
        paths: Mapping[str, Optional[str]],
        store_paths: Collection[str] = (),
        directories: Mapping[str, Collection[str]] = {},
    ) -> None:
        self._paths: dict[str, Optional[str]] = {"/": None}
        for path, target in paths.items():
            self._paths[path] = target
            parent = path.rpartition("/")[0]
            while parent and parent not in paths and parent not in self._paths:
                self._paths[parent] = None
                parent = parent.rpartition("/")[0]
        self._store_paths = frozenset(store_paths)
        self._directories = {path: frozenset(names) for path, names in directories.items()}
        self._real: dict[str, Optional[str]] = {}

    def real(self, path: str) -> Optional[str]:
        """Returns where a path leads in the image, without symbolic links on the way; None if nothing is
        there.

        Links are followed up to the store, and not in it.

        :param path: absolute.
        """
        if path not in self._real:
            self._real[path] = self._follow(path)
        return self._real[path]

    def _follow(self, path: str) -> Optional[str]:
        waiting = path.split("/")[::-1]
        here = ""
        links = 0
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            here = f"{here}/{name}"
            if here == "/nix" or f"{here}/".startswith(STORE_DIR + "/"):
                continue
            if here not in self._paths:
                return None
            target = self._paths[here]
            if target == UNKNOWN:
                return "/".join([here, *waiting[::-1]])
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    return None
                here = "" if target.startswith("/") else here.rpartition("/")[0]
                waiting += target.split("/")[::-1]
        store_path = store_path_of(here)
        if store_path is None:
            return here or "/"
        directory, _, name = here.rpartition("/")
        known = self._directories.get(directory)
        if store_path not in self._store_paths or (known is not None and name not in known):
            return None
        return here
