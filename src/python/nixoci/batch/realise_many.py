"""Makes the outputs of many packages valid by one call of Nix, which knows best in which order."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nixoci.errors import NixOciError
from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.nix import Nix, NixFailedError
from nixoci.store.path import StorePath
from nixoci.store.realise import (
    NotBuildableError,
    OutputChangedError,
    build_failure,
    end_of_log,
    run_realise,
)

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Optional, Sequence

    from nixoci.store.realise import ShowWork


@dataclass(frozen=True)
class Wanted:
    """A package that is to be valid.

    :param outputs: their names.
    :param evaluation: by which it is made where the store has no derivation of it.
    """

    derivation: Derivation
    outputs: tuple[str, ...]
    evaluation: Optional[Attribute] = None

    @property
    def paths(self) -> tuple[StorePath, ...]:
        """:raises KeyError: there is no such output."""
        by_name = dict(self.derivation.outputs)
        return tuple(by_name[name] for name in self.outputs)


def realise_many(
    nix: Nix,
    packages: Sequence[Wanted],
    log_file: Optional[str] = None,
    show: Optional[ShowWork] = None,
) -> tuple[Optional[NixOciError], ...]:
    """Makes all outputs of `packages` valid that can be.

    What fails is no reason not to build the others.

    :param log_file: gets all that Nix says, while it says it.
    :param show: sees how far Nix is.
    :returns: for each package None, or the error that `nixoci.store.realise.realise` raises for it.
    """
    invalid = _invalid(nix, [path for package in packages for path in package.paths])
    missing = {
        package: tuple(path for path in package.paths if path in invalid) for package in packages
    }
    # Whether a derivation that is there is valid too is asked only if something fails.
    errors = _evaluate_again(
        nix, _without_derivation([p for p in packages if missing[p]], nix.absent)
    )
    built = {p: _words(p, missing[p]) for p in packages if missing[p] and p not in errors}
    # Nix gives up at once where it cannot know how a path is made.
    for some in (
        {p: words for p, words in built.items() if p.derivation.drv_path is None},
        {p: words for p, words in built.items() if p.derivation.drv_path is not None},
    ):
        looked = False
        while some:
            words = tuple(dict.fromkeys(word for words in some.values() for word in words))
            more = ("--keep-going",) if len(some) > 1 else ()
            status, log = run_realise(nix, words, log_file, more, show=show)
            if not status:
                break
            lost = [] if looked else _without_derivation(some, nix.invalid)
            looked = True
            if lost:
                errors.update(_evaluate_again(nix, lost))
                some = {package: words for package, words in some.items() if package not in errors}
                continue
            left = set(nix.invalid([path for package in some for path in missing[package]]))
            failed = {p: [path for path in missing[p] if path in left] for p in some}
            failed = {package: paths for package, paths in failed.items() if paths}
            from nixoci.store.messages.machine import missing_machine

            # A derivation that no machine can build ends Nix before 2.29 at once, whatever else it was asked for.
            unbuildable = missing_machine("\n".join(log))
            innocent = {
                package: some[package]
                for package in failed
                if unbuildable is not None and not _needs(nix, package, unbuildable.drv_path)
            }
            if len(innocent) == len(failed):
                innocent = {}
            for package, paths in failed.items():
                if package not in innocent:
                    alone = len(some) == 1
                    errors[package] = _failure(nix, package, paths, some[package], log, not alone)
            some = innocent
    return tuple(errors.get(package) for package in packages)


def _invalid(nix: Nix, paths: Sequence[StorePath]) -> set[StorePath]:
    absent = set(nix.absent(paths))
    return absent.union(nix.invalid(path for path in paths if path not in absent))


def _without_derivation(
    packages: Iterable[Wanted], missing: Callable[[list[StorePath]], tuple[StorePath, ...]]
) -> list[Wanted]:
    """Returns those packages whose derivation is missing, and has to be evaluated again.

    :param missing: returns those of some paths that are.
    """
    drv_paths = [p.derivation.drv_path for p in packages if p.derivation.drv_path is not None]
    found = set(missing(drv_paths))
    return [package for package in packages if package.derivation.drv_path in found]


def _evaluate_again(nix: Nix, packages: Sequence[Wanted]) -> dict[Wanted, NixOciError]:
    """Makes derivations valid, and returns the errors of those where that did not succeed."""
    by_file: dict[Attribute, list[tuple[str, Wanted]]] = {}
    for package in packages:
        if package.evaluation is not None:
            file = replace(package.evaluation, attr="")
            by_file.setdefault(file, []).append((package.evaluation.attr, package))
    errors: dict[Wanted, NixOciError] = {}
    if not by_file:
        return errors
    from nixoci.batch.evaluate_many import evaluate_many

    for file, some in by_file.items():
        found = evaluate_many(nix, file, [attr for attr, _ in some])
        for attr, package in some:
            recorded, value = package.derivation, found[attr]
            if isinstance(value, NixOciError):
                errors[package] = value
            elif (value.drv_path, value.outputs) != (recorded.drv_path, recorded.outputs):
                errors[package] = OutputChangedError(recorded, value)
    return errors


def _words(package: Wanted, missing: Sequence[StorePath]) -> tuple[str, ...]:
    """Returns what Nix is asked to realise."""
    if package.derivation.drv_path is None:
        return tuple(missing)
    names = {path: name for name, path in package.derivation.outputs}
    return tuple(f"{package.derivation.drv_path}!{names[path]}" for path in missing)


def _failure(
    nix: Nix,
    package: Wanted,
    paths: Sequence[StorePath],
    words: Sequence[str],
    log: Sequence[str],
    has_others: bool,
) -> NixOciError:
    """:param has_others: the log is that of other packages as well."""
    from nixoci.store.messages.machine import missing_machine

    drv_path = package.derivation.drv_path
    if drv_path is None:
        return NotBuildableError(paths, end_of_log(log))
    unbuildable = missing_machine("\n".join(log))
    if has_others and (unbuildable is None or not _needs(nix, package, unbuildable.drv_path)):
        log = _about(nix, drv_path, log) or log
    return build_failure(words, log)


def _needs(nix: Nix, package: Wanted, drv_path: str) -> bool:
    """Whether a derivation is that of a package, or one that it depends on."""
    own = package.derivation.drv_path
    if own is None or own == drv_path:
        return own == drv_path
    try:
        return drv_path in _requisites(nix, own)
    except NixFailedError:
        return False


def _requisites(nix: Nix, drv_path: StorePath) -> list[str]:
    """:raises NixFailedError: the derivation is not valid."""
    return nix.run(("nix-store", "--query", "--requisites", drv_path)).decode().split()


#: How Nix says that a builder failed, or did not make what it should. In newer versions the reason has a line of its own.
_FAILED = re.compile(r"error: (?:builder for|Cannot build) '([^']+\.drv)'")
_REASON = re.compile(r"\s+Reason: (.+)")
#: Newer versions say likewise what could not be built since something else had failed.
_NOT_TRIED = re.compile(r"[0-9]+ dependenc\S+ failed")


def _failures(log: Sequence[str]) -> dict[str, str]:
    """Returns what a log says of each derivation that was built and failed."""
    failures = {}
    for line, after in zip(log, [*log[1:], ""]):
        failed, reason = _FAILED.search(line), _REASON.match(after)
        if failed and not (reason and _NOT_TRIED.match(reason[1])):
            failures[failed[1]] = f"{line} {reason[1]}" if reason else line
    return failures


def _about(nix: Nix, drv_path: StorePath, log: Sequence[str]) -> Sequence[str]:
    """Returns what concerns one derivation, and what it needs, of a log; empty if that is not to be told."""
    failures = _failures(log)
    if drv_path not in failures:
        try:
            needs = _requisites(nix, drv_path)
        except NixFailedError:
            return ()
        failures = {path: failures[path] for path in needs if path in failures}
    else:
        failures = {drv_path: failures[drv_path]}
    lines = []
    for path, line in failures.items():
        try:
            lines += nix.run(("nix-store", "--read-log", path)).decode(errors="replace").split("\n")
        except NixFailedError:
            # Nix keeps no logs here.
            pass
        lines.append(line)
    return lines
