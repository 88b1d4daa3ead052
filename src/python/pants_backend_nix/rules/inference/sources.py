"""A Nix file → the files of the repository that it reads as far as its own text and what it imports say.

Whether a target owns them makes no difference: this is for what has no targets yet.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Iterable

from nixoci.store.locks.names import FLAKE
from pants.engine.fs import Digest, PathGlobs
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import concurrently, entries, files_matching, merge, rule
from pants_backend_nix.rules.inference.nix_file import parsed_file
from pants_backend_nix.rules.inference.references import DEFAULT_NIX, PathReference

#: So many files import each other at most.
_DEEPEST = 100


@dataclass(frozen=True)
class WrittenSourcesRequest:
    """Asks for the files that a Nix file reads.

    :param path: of the file, from the root of the repository.
    """

    path: str


@dataclass(frozen=True)
class WrittenSources:
    """:param digest: a tree with the files, at their places in the repository."""

    digest: Digest


def _globs(file: str, reference: PathReference) -> Iterable[str]:
    """Returns globs of the files that a path stands for, as far as evaluation reads them.

    Of a directory that is built, evaluation needs nothing. An input of a flake is one of which it does.
    """
    path = reference.path
    if reference.suffix is not None:
        return (f"{path}*{reference.suffix}",)
    if not path:
        return ()
    if reference.imported:
        return (path, f"{path}/{DEFAULT_NIX}")
    return (path, f"{path}/**/*.nix") if posixpath.basename(file) == FLAKE else (path,)


@rule(desc="Find files that a Nix file reads")
async def find_written_sources(request: WrittenSourcesRequest) -> WrittenSources:
    seen: set[str] = set()
    digests = [await files_matching(PathGlobs([request.path]))]
    waiting = [request.path]
    for _ in range(_DEEPEST):
        seen.update(waiting)
        parsed = await concurrently([parsed_file(path) for path in waiting])
        globs = {
            glob
            for path, one in zip(waiting, parsed)
            for reference in one.references
            for glob in _globs(path, reference)
        }
        found = await files_matching(PathGlobs(sorted(globs)))
        digests.append(found)
        files = [entry.path for entry in await entries(found)]
        waiting = [path for path in files if path.endswith(".nix") and path not in seen]
        if not waiting:
            break
    return WrittenSources(await merge(digests))


def rules():
    return collect_rules()
