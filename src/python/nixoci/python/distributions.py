"""A flat tree of installed distributions → which file is whose, and files without traces of where they were made.

`pex3 venv create --layout=flat` lays wheels out as `pip install --target` does: modules at the top, with
`bin`, `share` and their like among them. `RECORD`, `INSTALLER`, `direct_url.json`:
packaging.python.org/specifications/recording-installed-packages.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import stat
from dataclasses import dataclass
from email.parser import HeaderParser

from nixoci.descent import walk
from nixoci.errors import NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.python.environment import DATA_DIRECTORIES, Environment
from nixoci.sha256 import sha256

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Optional

_METADATA = ".dist-info"

#: What says where a distribution came from, which is a place of this machine.
_DIRECT_URL = "direct_url.json"

#: The first line, or lines, of a script that Python runs: as installers write it, or, where the path of
#: the interpreter is too long for the kernel, as a shell script that Python takes for a string. The program
#: counts, not the directories that it is in.
_PYTHON_SCRIPT = re.compile(
    rb"#!(?![^\n]*[ \t]#)(?:[^\n]*[/ \t])?(?:python|pypy)[^\s/]*(?:[ \t\r][^\n]*)?\n"
    rb"|#!/bin/sh\n'''exec' [^\n]*python[^\n]*\n' '''\n"
)

#: Bytes that are enough for that beginning: paths of Linux are at most 4096 long.
_BEGINNING = 9000


@dataclass(frozen=True)
class Distribution:
    """A distribution in a tree.

    :param name: and `version`, as its metadata say.
    :param files: paths in the tree, sorted. What two have is with the first of them by name, as `pex` took it.
    """

    name: str
    version: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Installed:
    """What is in a tree.

    :param data: directories at the top that hold no modules.
    :param left_out: files that are not for an image: bytecode, which others made, and traces.
    :param scripts: programs in `bin`, whether Python runs them.
    """

    distributions: tuple[Distribution, ...]
    data: tuple[str, ...]
    left_out: tuple[str, ...]
    scripts: Mapping[str, bool]

    def to_json(self) -> bytes:
        """Returns the one JSON form."""
        return canonical_json(
            "installed distributions",
            {
                "data": list(self.data),
                "distributions": [
                    {"files": list(one.files), "name": one.name, "version": one.version}
                    for one in self.distributions
                ],
                "left_out": list(self.left_out),
                "scripts": dict(self.scripts),
            },
        )

    @classmethod
    def from_json(cls, data: bytes) -> Installed:
        """Parses what `to_json` returned.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("installed distributions", data)
        scripts = get_field(document, "scripts", dict)
        return cls(
            tuple(
                Distribution(
                    get_field(one, "name", str),
                    get_field(one, "version", str),
                    tuple(get_list(one, "files", str)),
                )
                for one in get_list(document, "distributions", dict)
            ),
            tuple(get_list(document, "data", str)),
            tuple(get_list(document, "left_out", str)),
            {name: get_field(scripts, name, bool) for name in scripts},
        )


def data_directories(names: Iterable[str], files: Iterable[str]) -> tuple[str, ...]:
    """Returns the names at the top of a tree that are directories without modules.

    :param files: paths in the tree.
    """
    packages = {path.split("/")[0] for path in files if path.endswith("/__init__.py") and path.count("/") == 1}
    return tuple(sorted((DATA_DIRECTORIES - packages).intersection(names)))


def normalize_distributions(
    tree: str, environment: Environment, changed: str
) -> Installed:
    """Reads a flat tree, and writes those of its files that are others in an image.

    :param tree: a directory that `pex3 venv create --layout=flat` made.
    :param environment: where it goes.
    :param changed: the directory that gets these files, each at its path in the tree.
    :raises NixOciError: a file cannot be read, or metadata are none.
    """
    try:
        return _normalize(tree, environment, changed)
    except OSError as error:
        raise NixOciError(f"Cannot read or write {error.filename}: {error.strerror}.") from None


def _normalize(tree: str, environment: Environment, changed: str) -> Installed:
    files = _files(tree)
    every = set(files)
    data = data_directories({path.split("/")[0] for path in files if "/" in path}, files)
    left_out = {path for path in files if _is_trace(path)}
    scripts: dict[str, bool] = {}
    written: dict[str, bytes] = {}
    for path in files:
        if path.startswith("bin/") and path.count("/") == 1 and "bin" in data:
            content = _script(os.path.join(tree, path), environment)
            scripts[path[len("bin/") :]] = content is not None
            if content is not None:
                written[path] = content
    owned: set[str] = set()
    distributions = []
    for directory in sorted({p.split("/")[0] for p in files if p.split("/")[0].endswith(_METADATA)}):
        metadata = f"{directory}/METADATA"
        if metadata not in every:
            continue
        name, version = _name_and_version(_read(tree, metadata), directory)
        record = f"{directory}/RECORD"
        mine = {f"{directory}/{path}" for path in _below(files, directory)}
        if record in every:
            rows = {path: facts for path, facts in _rows(_read(tree, record)) if path in every}
            mine.update(rows)
            written[record] = _record(rows, record, written, left_out, environment, data)
        mine = (mine & every) - left_out - owned
        owned |= mine
        distributions.append(Distribution(name, version, tuple(sorted(mine))))
    for path, content in written.items():
        location = os.path.join(changed, path)
        os.makedirs(os.path.dirname(location), exist_ok=True)
        with open(location, "wb") as file:
            file.write(content)
        os.chmod(location, os.stat(os.path.join(tree, path)).st_mode & 0o777 | 0o200)
    return Installed(tuple(distributions), data, tuple(sorted(left_out)), scripts)


def _files(tree: str) -> list[str]:
    """Returns the paths of all files and links in a tree, sorted."""

    def choose(below: str, names: list[str]) -> dict[str, str]:
        return {name: name for name in names}

    items = walk(os.path.realpath(tree), choose)
    return sorted(item.path for item in items if item.kind != stat.S_IFDIR)


def _below(files: Iterable[str], directory: str) -> Iterable[str]:
    prefix = f"{directory}/"
    return (path[len(prefix) :] for path in files if path.startswith(prefix))


def _is_trace(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    if name == _DIRECT_URL and directory.endswith(_METADATA):
        return True
    return directory.rpartition("/")[2] == "__pycache__" and name.endswith(".pyc")


def _read(tree: str, path: str) -> bytes:
    with open(os.path.join(tree, path), "rb") as file:
        return file.read()


def _name_and_version(metadata: bytes, directory: str) -> tuple[str, str]:
    headers = HeaderParser().parsestr(metadata.decode(errors="replace"))
    name, _, version = directory[: -len(_METADATA)].partition("-")
    return _line(headers.get("Name")) or name, _line(headers.get("Version")) or version


def _line(header: object) -> str:
    return " ".join(str(header or "").split())


def _rows(record: bytes) -> Iterable[tuple[str, list[str]]]:
    """Returns what a file RECORD says: paths in the tree, each with its hash and size; not all are there."""
    # Whether a null byte is an error differs between versions of Python.
    text = record.decode(errors="replace").replace("\0", "\ufffd")
    try:
        # Without `newline`, an end of a line that is not that of this system would be an error.
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error:
        return ()
    return [(os.path.normpath(row[0]), [*row[1:], "", ""][:2]) for row in rows]


def _record(
    rows: Mapping[str, list[str]],
    record: str,
    written: Mapping[str, bytes],
    left_out: Iterable[str],
    environment: Environment,
    data: Iterable[str],
) -> bytes:
    """Returns the file RECORD of a distribution in an image.

    :param rows: of files in the tree: what is elsewhere has no place in an image.
    """
    lines = []
    for path, facts in rows.items():
        if path in left_out or _is_trace(path):
            continue
        if path == record:
            facts = ["", ""]
        elif path in written:
            digest = base64.urlsafe_b64encode(sha256(written[path]).digest())
            facts = [f"sha256={digest.rstrip(b'=').decode()}", str(len(written[path]))]
        place = environment.relative_place(path, data)
        lines.append([os.path.relpath(place, environment.site_packages), *facts])
    output = io.StringIO()
    csv.writer(output, lineterminator="\n").writerows(sorted(lines))
    return output.getvalue().encode()


def _script(location: str, environment: Environment) -> Optional[bytes]:
    """Returns a script as it is in an image; None if Python does not run it."""
    if os.path.islink(location):
        return None
    with open(location, "rb") as file:
        beginning = file.read(_BEGINNING)
        found = _PYTHON_SCRIPT.match(beginning)
        if found is None:
            return None
        rest = beginning[found.end() :] + file.read()
    return environment.shebang.encode() + rest
