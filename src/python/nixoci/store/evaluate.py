"""Nix sources → derivation: evaluates one attribute, with nothing else in sight than the sources."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from nixoci.descent import OPEN_FILE, Item, walk
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.store.expression import DESCRIBE, selected
from nixoci.store.location import root_below_home
from nixoci.store.locks.names import FLAKE
from nixoci.store.messages.evaluation import UndeclaredSourceError, UnknownOutputPathError
from nixoci.store.nix import Nix, NixFailedError, without_missing_build_group
from nixoci.store.path import StorePath
from nixoci.temporary import temporary_directory

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

#: A part of the name of a store path, but for `out` (libstore/path.cc).
_OUTPUT_NAME = re.compile(r"[0-9A-Za-z+\-._?=]{1,211}")

#: A JSON file beside the directory of the sources: which of them are executable, relative to it.
#: Without it their modes are taken as they are.
EXECUTABLES = ".executables.json"

#: A flake that stands for a file that is none, for what only flakes can do: its settings count from when it
#: has been read. So Nix starts in restricted mode, where the file can be read and knows its system, and
#: goes on in pure mode, where fetchers want a hash (`primops/fetchTree.cc`, in every version from 2.8 on).
_PURE = "{ nixConfig.pure-eval = true; outputs = _: { value = null; }; }\n"

#: Where fetchers may go in restricted mode. Fetched contents are checked by the hash in the source.
_ALLOWED_URIS = (
    "https:// http:// ftp:// ssh:// git:// git+https:// git+ssh:// git+http:// "
    "github: gitlab: sourcehut: tarball: flake:"
)

#: What stands for an output path that is not known before something is built (libstore/downstream-placeholder.cc).
_PLACEHOLDER = re.compile("/[0-9a-z]{52}")

#: Of a derivation's file: each output with name, path, and two fields of its hash; and the derivations that it
#: needs (libstore/derivations.cc).
_DRV_OUTPUT = re.compile(r'\("[^"]*","([^"]*)","([^"]*)","([^"]*)"\)')
_DRV_INPUT = re.compile(r'\("(/nix/store/[^"\\]+\.drv)",[\[(]')

#: A `system` of derivations that Nix builds itself, for whoever wants them.
_ANY_SYSTEM = "builtin"


@dataclass(frozen=True)
class Derivation:
    """What an evaluation comes to; nothing is built yet.

    :param drv_path: the derivation, or None for a package that is just a store path.
    :param outputs: name and store path of each output, by name.
    :param default_output: the output that `"${package}"` means in Nix.
    :param system: for which Nix system the outputs are; None if it is not known, or does not matter.
    """

    drv_path: Optional[StorePath]
    outputs: tuple[tuple[str, StorePath], ...]
    default_output: str
    system: Optional[str] = None

    def to_json(self) -> bytes:
        document = {
            "drvPath": self.drv_path,
            "outputs": dict(self.outputs),
            "default": self.default_output,
            "system": self.system,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Derivation:
        """:raises InvalidInputError: `data` is not what `to_json` or Nix wrote."""
        document = parse_object("derivation", data)
        outputs = get_field(document, "outputs", dict)
        default = get_field(document, "default", str)
        for name in outputs:
            if not _OUTPUT_NAME.fullmatch(name):
                raise InvalidInputError("name of an output", name, "Nix does not allow it")
        if default not in outputs:
            raise InvalidInputError("default output", default, f"outputs are {sorted(outputs)}")
        drv_path = document.get("drvPath")
        if document.get("system") is not None:
            get_field(document, "system", str)
        return cls(
            None if drv_path is None else StorePath.parse(drv_path),
            tuple((name, StorePath.parse(outputs[name])) for name in sorted(outputs)),
            default,
            document.get("system"),
        )


@dataclass(frozen=True)
class Attribute:
    """An attribute of a Nix file, with all that its value depends on: the parameters of `evaluate`."""

    root: str
    source: str
    attr: str
    system: str
    features: tuple[str, ...] = ()
    root_is_copy: bool = False
    arguments: str = ""
    import_from_derivation: bool = False

    def evaluate(self, nix: Nix) -> Derivation:
        """As the function `evaluate`."""
        return evaluate(nix, **vars(self))

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "root": self.root,
            "source": self.source,
            "attr": self.attr,
            "system": self.system,
            "features": self.features,
            "rootIsCopy": self.root_is_copy,
            "arguments": self.arguments,
            "importFromDerivation": self.import_from_derivation,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], directory: str) -> Attribute:
        """Reads the JSON form.

        :param directory: that the root is relative to.
        :raises InvalidInputError: not such a form.
        """
        return cls(
            os.path.join(directory, get_field(document, "root", str)),
            get_field(document, "source", str),
            get_field(document, "attr", str),
            get_field(document, "system", str),
            tuple(get_list(document, "features", str, default=())),
            get_field(document, "rootIsCopy", bool, default=False),
            get_field(document, "arguments", str, default=""),
            get_field(document, "importFromDerivation", bool, default=False),
        )


def evaluate(
    nix: Nix,
    *,
    root: str,
    source: str,
    attr: str,
    system: str,
    features: Sequence[str] = (),
    root_is_copy: bool = False,
    arguments: str = "",
    import_from_derivation: bool = False,
) -> Derivation:
    """Evaluates `attr` of a Nix file and instantiates the derivation in the store.

    Two machines with copies of the same files below `root` get the same result: a flake is evaluated in pure
    mode, another file in a mode that is both restricted and pure: only `root` can be read, the environment
    is empty, the current system is `system`, and what is fetched has its hash in the sources.

    :param root: directory of the sources.
    :param root_is_copy: it was made for this. Modification times in it are set to 1, since Nix would pass
        them on to the expressions of a flake, and modes as `EXECUTABLES` beside it says. Otherwise
        nothing in it is touched, and a flake sees the times that its files have.
    :param source: path of the Nix file below `root`. A file named `flake.nix` is a flake, and sees
        what is in its own directory and below.
    :param attr: attribute path; of a flake, it is looked for as by `nix build` (`packages.SYSTEM.…`,
        `legacyPackages.SYSTEM.…`). Empty: the value itself, of a flake the default package.
    :param features: experimental features of Nix that the sources need.
    :param arguments: a JSON object of what a file that is a function, and no flake, is called with besides `system`.
    :param import_from_derivation: evaluation may build what it needs to go on.
    :raises EvaluationError: or one of its children.
    :raises InvalidInputError: `attr` would be an option, `source` is not below `root`, or `root` can be no copy.
    """
    if attr.startswith("-"):
        raise InvalidInputError("attribute path", attr, "it starts with a dash")
    arguments = checked_arguments(source, arguments)
    root, directory = prepare(root, source, attr, root_is_copy)
    if os.path.basename(source) == FLAKE:
        add_path_inputs(nix, directory)
    with ExitStack() as stack:
        where = list(surroundings(nix, system, features, import_from_derivation))
        if os.path.basename(source) == FLAKE:
            from urllib.parse import quote

            # Nix 2.8 does not decode an absolute path, so the directory is where it runs.
            where += [f"path:.#{quote(attr)}", "--apply", DESCRIBE]
        else:
            found = selected(os.path.join(root, source), attr, system, arguments)
            where += pure_value(f"({DESCRIBE}) ({found})", root)
            directory = stack.enter_context(pure_flake())
        output = evaluate_value(nix, where, directory, root, source, attr)
    return with_system(read_derivation(nix, output, source, attr), system)


def prepare(root: str, source: str, attr: str, root_is_copy: bool) -> tuple[str, str]:
    """Gives files below `root`, if it is a copy, the modes and times that evaluation has to see.

    :returns: the real paths of the root, and of the directory that the Nix file `source` is in.
    :raises UndeclaredSourceError: there is no such file.
    :raises InvalidInputError: it is not below the root, or the root can be no copy.
    """
    root = os.path.realpath(root)
    if root_is_copy and root in (os.sep, os.path.expanduser("~")):
        raise InvalidInputError("root", root, "it is no copy of sources")
    path = os.path.join(root, source)
    if not os.path.isfile(path):
        raise UndeclaredSourceError(source, attr, f"{source} does not exist", source)
    directory = os.path.realpath(os.path.dirname(path))
    if not (directory + os.sep).startswith(root.rstrip(os.sep) + os.sep):
        raise InvalidInputError("source", source, "it is not below the root")
    if root_is_copy:
        _set_modes(root)
        _reset_modification_times(root)
    return root, directory


def checked_arguments(source: str, arguments: str) -> str:
    """Returns the arguments that a file is called with, as a JSON object.

    :raises InvalidInputError: they are no JSON object, or there are some for a flake.
    """
    if not arguments:
        return "{}"
    document = parse_object("arguments", arguments.encode())
    if document and os.path.basename(source) == FLAKE:
        raise InvalidInputError("arguments", arguments, "a flake takes none, only other files do")
    return canonical_json("arguments", document).decode()


def add_path_inputs(nix: Nix, directory: str) -> None:
    """Copies to the store what a flake has locked as inputs by relative path.

    Before 2.26 Nix does not look for such an input beside the flake, but takes what has the locked hash.

    :param directory: of the flake.
    """
    from nixoci.store.messages.sources import copied_flake, relative_inputs

    for path in relative_inputs(directory):
        copy = copied_flake(path)
        if copy and not os.path.exists(nix.store_root + copy):
            try:
                evaluator(nix).command("store", "add-path", "--name", "source", path)
            except NixFailedError:
                # Whether it is needed is for the evaluation to say.
                pass


def surroundings(
    nix: Nix, system: str, features: Sequence[str], import_from_derivation: bool
) -> tuple[str, ...]:
    """Returns what every evaluation says to Nix."""
    return (
        *("--system", system, "--extra-experimental-features", " ".join(features)),
        # The settings of a flake are nobody's who runs it, and not for it to choose, whatever a user accepts.
        *("--option", "accept-flake-config", "false"),
        *("--option", "allow-import-from-derivation", str(import_from_derivation).lower()),
        *(without_missing_build_group(nix) if import_from_derivation else ()),
    )


def pure_value(expression: str, root: str) -> tuple[str, ...]:
    """Returns the words by which Nix evaluates an expression, in the directory of a `pure_flake`.

    :param root: what it can read.
    """
    return (
        *("path:.#value", "--apply", f"_: {expression}"),
        *("--impure", "--accept-flake-config", "--option", "eval-cache", "false"),
        *("--option", "restrict-eval", "true", "-I", f"source={root}"),
        *("--option", "allowed-uris", _ALLOWED_URIS),
    )


def with_system(derivation: Derivation, system: str) -> Derivation:
    """Returns the derivation with the system that it is for, where it does not say so itself."""
    if derivation.system is None:
        return replace(derivation, system=system)
    return replace(derivation, system=None) if derivation.system == _ANY_SYSTEM else derivation


#: The command, without what is evaluated. Of a flake, all must be in the lock file, which is not written; and no
#: working tree is taken for an input, since it would be one that cannot be locked.
EVAL = ("eval", "--json", "--no-update-lock-file", "--option", "allow-dirty", "false")


def evaluator(nix: Nix) -> Nix:
    """Returns a Nix that evaluates: with no setting but the store, and without `<…>`.

    It does not find either which settings of flakes the user has accepted for all times, which Nix keeps there.
    """
    store = tuple(setting for setting in nix.settings if setting[0] == "store")
    below_home = "" if store else root_below_home(nix.environment)
    if below_home and nix.store in ("", "auto"):
        # Nix would look for it beside these settings.
        store = (("store", below_home),)
    nowhere = {"NIX_PATH": "", "XDG_DATA_HOME": "/nonexistent", "NIX_DATA_HOME": "/nonexistent"}
    return replace(nix, environment={**nix.environment, **nowhere}, settings=store)


def evaluate_value(
    nix: Nix, where: Sequence[str], directory: str, root: str, source: str, attr: str
) -> bytes:
    """Runs Nix in `directory` on what `where` says; the rest as for `evaluate`, for its errors.

    :returns: the value, as JSON.
    :raises EvaluationError: or one of its children.
    """
    nix = evaluator(nix)

    def run(*more: str) -> bytes:
        return nix.command(*EVAL, "--show-trace", *where, *more, directory=directory)

    try:
        return run()
    except NixFailedError as failed:
        from nixoci.store.messages.failure import explain

        def value(expression: str) -> bytes:
            with pure_flake() as directory:
                return nix.command(*EVAL, *pure_value(expression, root), directory=directory)

        raise explain(failed.message, root, source, attr, run, value) from None


def read_derivation(nix: Nix, output: bytes, source: str, attr: str) -> Derivation:
    """Reads what `DESCRIBE` came to.

    :raises UnknownOutputPathError: where it has output paths, there is what stands for them.
    """
    document = parse_object("derivation", output)
    drv_path = StorePath.parse(document.get("drvPath"))
    paths = get_field(document, "outputs", dict).values()
    if any(isinstance(path, str) and _PLACEHOLDER.fullmatch(path) for path in paths):
        causes = _unknown_outputs(nix, drv_path)
        raise UnknownOutputPathError(
            source, attr, tuple(causes), any(causes.values()), drv_path not in causes
        )
    return Derivation.from_json(output)


def _unknown_outputs(nix: Nix, drv_path: StorePath) -> dict[str, bool]:
    """Returns the derivations that `drv_path` needs whose outputs have paths only when they are built, and of each
    whether it is impure.
    """
    causes: dict[str, bool] = {}
    seen: dict[str, None] = {drv_path: None}
    waiting = deque(seen)
    while waiting:
        path = waiting.popleft()
        try:
            with open(nix.store_root + path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            # The store may be elsewhere. Then it is not said which ones.
            continue
        outputs = _DRV_OUTPUT.findall(text.partition("],[")[0])
        if any(not place and algorithm for place, algorithm, _ in outputs):
            causes[path] = any(digest == "impure" for _, _, digest in outputs)
        elif any(not place for place, _, _ in outputs):
            more = [found for found in _DRV_INPUT.findall(text) if found not in seen]
            seen.update(dict.fromkeys(more))
            waiting.extend(more)
    return causes


@contextmanager
def pure_flake() -> Iterator[str]:
    """Writes the flake that stands for files that are none into a directory that lasts as long as its body.

    :returns: the directory.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(temporary_directory({FLAKE: _PURE}))
        except OSError as error:
            raise NixOciError(
                f"Evaluation needs a temporary directory, which cannot be made: {error.strerror or error}. "
                "Set TMPDIR to a directory that can be written to."
            ) from None
        yield directory


def _set_modes(root: str) -> None:
    """Makes executable what `EXECUTABLES` says, and nothing else, where there is such a file.

    A hard link is replaced by a copy first. What else has the same file, such as a cache, wants
    neither another mode nor another modification time.
    """
    try:
        with open(root + EXECUTABLES, "rb") as file:
            listing = parse_object("list of executables", file.read())
    except FileNotFoundError:
        return
    executables = set(map(os.path.normpath, get_list(listing, "executables", str)))

    def set_mode(item: Item) -> None:
        if item.kind not in (stat.S_IFREG, 0):
            return
        if os.lstat(item.name, dir_fd=item.parent).st_nlink > 1:
            with open(os.open(item.name, OPEN_FILE, dir_fd=item.parent), "rb") as file:
                content = file.read()
            os.unlink(item.name, dir_fd=item.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(item.name, flags, dir_fd=item.parent), "wb") as file:
                file.write(content)
        mode = 0o755 if item.path in executables else 0o644
        os.chmod(item.name, mode, dir_fd=item.parent)

    _change_each(root, "mode", set_mode)


def _reset_modification_times(root: str) -> None:
    def reset(item: Item) -> None:
        os.utime(item.name, (1, 1), dir_fd=item.parent, follow_symlinks=False)

    _change_each(root, "modification time", reset)


def _change_each(root: str, what: str, change: Callable[[Item], None]) -> None:
    """Changes something of all that is at and below the root."""
    place = root
    try:
        for item in walk(root, lambda below, names: dict(zip(names, names))):
            place = item.location
            change(item)
    except OSError as error:
        raise NixOciError(
            f"Cannot set the {what} of {place}: {error.strerror or error}. "
            "Evaluate a copy of the sources that belongs to you."
        ) from None
