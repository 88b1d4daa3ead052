"""What a Nix file refers to by a path, and which files that are."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Iterable, Iterator, Optional, Sequence

#: What stands for a directory that is imported.
DEFAULT_NIX = "default.nix"


@dataclass(frozen=True)
class PathReference:
    """A path in a Nix file.

    :param path: from the root of the repository, normalized, without a slash at its end; empty for the root.
        Where a part of it is only known to an evaluation, what comes before that part, as it is.
    :param suffix: None for a path that is known. Otherwise what comes after all unknown parts.
    :param imported: it is imported: of a directory, that is its `default.nix`.
    :param required: evaluation fails without it. It is not if the file asks whether there is such a path.
    :param line: of the Nix file, from 1.
    """

    path: str
    suffix: Optional[str] = None
    imported: bool = False
    required: bool = True
    line: int = 0

    def __str__(self) -> str:
        shown = self.path or "."
        return shown if self.suffix is None else f"{self.path}*{self.suffix}"


def merge_references(references: Iterable[PathReference]) -> tuple[PathReference, ...]:
    """Returns each path once, with all that it is used for, in the order of their lines."""
    merged: dict[tuple[str, Optional[str]], PathReference] = {}
    for one in references:
        key = (one.path, one.suffix)
        other = merged.setdefault(key, one)
        merged[key] = replace(
            other,
            imported=other.imported and one.imported,
            required=other.required and one.required,
            line=min(other.line, one.line),
        )
    return tuple(sorted(merged.values(), key=lambda one: (one.line, one.path, one.suffix or "")))


def files_of(reference: PathReference, files: Sequence[str]) -> tuple[str, ...]:
    """Returns those of `files` that a reference stands for.

    :param files: paths from the root of the repository, sorted.
    :returns: the file; or `default.nix` of an imported directory; or all that is below a directory; or all
        that can be meant where a part is unknown.
    """
    path = reference.path
    if reference.suffix is not None:
        return tuple(_matching(reference, files))
    if path and _has(files, path):
        return (path,)
    directory = f"{path}/" if path else ""
    if reference.imported:
        default = directory + DEFAULT_NIX
        return (default,) if _has(files, default) else ()
    return tuple(_starting(directory, files))


def _matching(reference: PathReference, files: Sequence[str]) -> Iterator[str]:
    suffix = reference.suffix or ""
    for file in _starting(reference.path, files):
        rest = file[len(reference.path) :]
        if rest.endswith(suffix) or f"{suffix}/" in rest:
            # What is imported by a name that is computed is a Nix file, or a directory with one.
            if not reference.imported or file.endswith(".nix"):
                yield file


def _has(files: Sequence[str], path: str) -> bool:
    place = bisect_left(files, path)
    return place < len(files) and files[place] == path


def _starting(prefix: str, files: Sequence[str]) -> Iterator[str]:
    for place in range(bisect_left(files, prefix), len(files)):
        if not files[place].startswith(prefix):
            return
        yield files[place]
