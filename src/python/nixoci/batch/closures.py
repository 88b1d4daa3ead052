"""Closures of many packages, by one query: an answer for each of which all paths are valid."""

from __future__ import annotations

from nixoci.batch.answers import CLOSURE, Answers, answer_key
from nixoci.errors import NixOciError
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Sequence


def answer_closures(
    nix: Nix,
    answers: Answers,
    roots: Mapping[str, Sequence[StorePath]],
    *,
    on_disk: bool = False,
) -> dict[str, tuple[StorePath, ...]]:
    """Writes the closures that are in the store as answers.

    :param roots: of each closure, by the key of its answer.
    :param on_disk: what is not on the disk is taken for not valid, and Nix is not asked about it. That is a guess: a store
        may be made elsewhere only when it is used first.
    :returns: for each of the others the roots that are not valid, sorted.
    :raises NixOciError: Nix fails, or an answer cannot be written.
    """
    missing: set[StorePath] = set()
    if on_disk:
        missing.update(nix.absent(path for paths in roots.values() for path in paths))
    valid = {key: paths for key, paths in roots.items() if missing.isdisjoint(paths)}
    if valid:
        # Mostly, what was evaluated just now is to be built, and closures come later.
        from nixoci.store.closure import InvalidPathError
    while valid:
        try:
            graph = nix.closure(path for paths in valid.values() for path in paths)
        except InvalidPathError as error:
            missing.update(error.paths)
            valid = {key: paths for key, paths in valid.items() if missing.isdisjoint(paths)}
        else:
            for key, paths in valid.items():
                answers.write(key, graph.closure(paths).to_json())
            break
    return {key: tuple(sorted(missing & set(roots[key]))) for key in roots.keys() - valid.keys()}


def answer_closures_early(
    nix: Nix,
    answers: Answers,
    program: str,
    packages: Mapping[str, Sequence[StorePath]],
    *,
    on_disk: bool = False,
) -> frozenset[str]:
    """Writes closures for whoever is about to ask for them, as Nix is at work already.

    :param program: as of `answer_key`.
    :param packages: the outputs of each package, by any key.
    :param on_disk: as of `answer_closures`.
    :returns: the keys of those of which an output is not valid. What fails in another way fails again, with
        an error of its own, when it is asked for.
    """
    keys = {key: answer_key(program, CLOSURE, sorted(paths)) for key, paths in packages.items()}
    try:
        missing = answer_closures(
            nix, answers, {keys[k]: p for k, p in packages.items()}, on_disk=on_disk
        )
    except NixOciError:
        return frozenset()
    return frozenset(key for key in packages if keys[key] in missing)
