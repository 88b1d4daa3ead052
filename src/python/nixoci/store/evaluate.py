"""Nix sources → derivation: evaluates one attribute, with nothing else in sight than the sources."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from dataclasses import dataclass
from typing import Optional, Sequence
from urllib.parse import quote

from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.store.nix import Nix, NixFailedError
from nixoci.store.path import StorePath

FLAKE = "flake.nix"

#: A JSON file beside the directory of the sources: which of them are executable, relative to it.
#: Without it their modes are taken as they are.
EXECUTABLES = ".executables.json"

#: Where fetchers may go in restricted mode. Fetched contents are checked by the hash in the source.
_ALLOWED_URIS = (
    "https:// http:// ftp:// ssh:// git:// git+https:// git+ssh:// git+http:// "
    "github: gitlab: sourcehut: tarball: flake:"
)

#: Applied to the value that is found. A function is called as `nix-build` would, with the system if
#: it wants that. `outputName` is what `"${package}"` would interpolate.
_DESCRIBE = """
found:
let
  wanted = builtins.intersectAttrs (builtins.functionArgs found);
  value = if builtins.isFunction found
    then found (wanted { system = builtins.currentSystem; })
    else found;
in
if !(builtins.isAttrs value) || (value.type or null) != "derivation"
then throw "nixoci: not a derivation"
else {
  inherit (value) drvPath;
  default = value.outputName or "out";
  outputs = builtins.listToAttrs (map
    (output: { name = output; value = value.${output}.outPath; })
    (value.outputs or [ "out" ]));
}
"""

#: How Nix says that it may not or cannot read a file.
_UNREADABLE = re.compile(
    r"access to (?:absolute )?path '([^']+)' is forbidden"
    r"|(?:getting status of|opening file|path) '([^']+)'(?:: No such file| does not exist)"
)

#: The copy of a flake's directory that Nix evaluates.
_FLAKE_SOURCE = re.compile(r"^/nix/store/[0-9a-z]{32}-source/")

#: With `error:`, since newer Nix shows lines of `_DESCRIBE` where evaluating the value fails.
_NOT_A_DERIVATION = "error: nixoci: not a derivation"


class EvaluationError(NixOciError):
    """Nix could not evaluate the sources. `message` is Nix's own."""

    def __init__(self, source: str, attr: str, message: str) -> None:
        self.source = source
        self.attr = attr
        self.message = message
        super().__init__(f"Nix could not evaluate {attr or 'the value'} of {source}:\n{message}")


class NoSuchAttributeError(EvaluationError):
    """The source has no such attribute, or it is no derivation."""


class UndeclaredSourceError(EvaluationError):
    """Evaluation reads a file that is not among the sources. `path` says which one."""

    def __init__(self, source: str, attr: str, message: str, path: str) -> None:
        super().__init__(source, attr, message)
        self.path = path


@dataclass(frozen=True)
class Derivation:
    """What an evaluation comes to; nothing is built yet.

    :param drv_path: the derivation, or None for a package that is just a store path.
    :param outputs: name and store path of each output, by name.
    :param default_output: the output that `"${package}"` means in Nix.
    """

    drv_path: Optional[StorePath]
    outputs: tuple[tuple[str, StorePath], ...]
    default_output: str

    def to_json(self) -> bytes:
        document = {
            "drvPath": self.drv_path,
            "outputs": dict(self.outputs),
            "default": self.default_output,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Derivation:
        """:raises InvalidInputError: `data` is not what `to_json` or Nix wrote."""
        document = parse_object("derivation", data)
        outputs = get_field(document, "outputs", dict)
        default = get_field(document, "default", str)
        if default not in outputs:
            raise InvalidInputError("default output", default, f"outputs are {sorted(outputs)}")
        drv_path = document.get("drvPath")
        return cls(
            None if drv_path is None else StorePath.parse(drv_path),
            tuple((name, StorePath.parse(outputs[name])) for name in sorted(outputs)),
            default,
        )


def evaluate(
    nix: Nix,
    *,
    root: str,
    source: str,
    attr: str,
    system: str,
    features: Sequence[str] = (),
) -> Derivation:
    """Evaluates `attr` of a Nix file and instantiates the derivation in the store.

    Two machines with the same files below `root` get the same result: a flake is evaluated in pure
    mode, another file in restricted mode, where only `root` can be read, the environment is empty
    and the current system is `system`.

    :param root: directory of the sources; modification times in it are set to 1, since Nix would
        pass them on to the expressions of a flake. Modes are set as `EXECUTABLES` beside it says.
    :param source: path of the Nix file below `root`. A file named `flake.nix` is a flake, and sees
        what is in its own directory and below.
    :param attr: attribute path; of a flake, it is looked for as by `nix build` (`packages.SYSTEM.…`,
        `legacyPackages.SYSTEM.…`). Empty: the value itself, of a flake the default package.
    :param features: experimental features of Nix that the sources need.
    :raises EvaluationError: or one of its children.
    :raises InvalidInputError: `attr` would be an option, or `source` is not below `root`.
    """
    if attr.startswith("-"):
        raise InvalidInputError("attribute path", attr, "it starts with a dash")
    root = os.path.realpath(root)
    _set_modes(root)
    _reset_modification_times(root)
    path = os.path.join(root, source)
    if not os.path.isfile(path):
        raise UndeclaredSourceError(source, attr, f"{source} does not exist", source)
    directory = os.path.realpath(os.path.dirname(path))
    if not (directory + os.sep).startswith(root.rstrip(os.sep) + os.sep):
        raise InvalidInputError("source", source, "it is not below the root")
    if os.path.basename(source) == FLAKE:
        # Nix 2.8 does not decode an absolute path, so the directory is where it runs.
        where = [f"path:.#{quote(attr)}", "--no-write-lock-file", "--no-update-lock-file"]
    else:
        where = ["--file", path, attr, "--argstr", "system", system]
        where += ["--option", "restrict-eval", "true", "-I", f"source={root}"]
        where += ["--option", "allowed-uris", _ALLOWED_URIS]
    environment = {**nix.environment, "NIX_PATH": ""}
    try:
        output = Nix(nix.directory, environment).command(
            "eval",
            "--json",
            *where,
            "--system",
            system,
            "--apply",
            _DESCRIBE,
            *("--extra-experimental-features", " ".join(features)),
            directory=directory,
        )
    except NixFailedError as error:
        raise _explain(error.message, root, source, attr) from None
    return Derivation.from_json(output)


def _explain(message: str, root: str, source: str, attr: str) -> EvaluationError:
    """Turns Nix's message into the error that says what to do."""
    message = message[max(message.find("error:"), 0) :]
    shown = message.replace(root + os.sep, "")
    if _NOT_A_DERIVATION in message:
        return NoSuchAttributeError(source, attr, f"{attr or 'The value'} is not a derivation.")
    if "in selection path" in message or "does not provide attribute" in message:
        return NoSuchAttributeError(source, attr, shown)
    match = _UNREADABLE.search(message)
    if match is None:
        return EvaluationError(source, attr, shown)
    path = match[1] or match[2]
    if path.startswith(root + os.sep):
        path = os.path.relpath(path, root)
    else:
        path = _FLAKE_SOURCE.sub(os.path.join(os.path.dirname(source), ""), path)
    return UndeclaredSourceError(source, attr, shown, path)


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
    executables = {os.path.join(root, p) for p in get_list(listing, "executables", str)}
    try:
        for directory, _, files in os.walk(root):
            for path in (os.path.join(directory, name) for name in files):
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    continue
                if status.st_nlink > 1:
                    copy = f"{path}.nixoci-copy"
                    shutil.copyfile(path, copy)
                    os.replace(copy, path)
                os.chmod(path, 0o755 if path in executables else 0o644)
    except OSError as error:
        raise NixOciError(
            f"Cannot set the mode of {error.filename or root}: {error.strerror}. "
            "Evaluate a copy of the sources that belongs to you."
        ) from None


def _reset_modification_times(root: str) -> None:
    try:
        for directory, directories, files in os.walk(root, topdown=False):
            for name in (*directories, *files):
                os.utime(os.path.join(directory, name), (1, 1), follow_symlinks=False)
        os.utime(root, (1, 1))
    except OSError as error:
        raise NixOciError(
            f"Cannot set the modification time of {error.filename or root}: {error.strerror}. "
            "Evaluate a copy of the sources that belongs to you."
        ) from None
