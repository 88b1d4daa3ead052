"""The Nix database of an image: the SQLite file in which Nix has what is valid."""

from __future__ import annotations

import os
import shutil
import tempfile

from nixoci.atomic import replace_file
from nixoci.database.sqlite_file import IntegerRecords, SqliteFile, record
from nixoci.errors import InvalidInputError
from nixoci.store.hashes import parse_sha256, to_sri
from nixoci.store.path import StorePath
from nixoci.store.registration import Registration, Registrations, closed_registrations

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator, Optional

#: What the file `schema` beside the database says, without a final newline. Nix 2.8 to 2.34 have
#: this version.
SCHEMA_VERSION = b"10"

#: When every path was registered: the time that Nix gives to all files in its store.
_REGISTRATION_TIME = 1

# Names and types are Nix's, which its statements rely on. That a path is deleted with its
# references, and not while another references it, is what the garbage collector relies on.
_VALID_PATHS = """\
CREATE TABLE ValidPaths (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  path TEXT UNIQUE NOT NULL,
  hash TEXT NOT NULL,
  registrationTime INTEGER NOT NULL,
  deriver TEXT,
  narSize INTEGER,
  ultimate INTEGER,
  sigs TEXT,
  ca TEXT
)"""
# SQLite makes and knows this one itself, for AUTOINCREMENT.
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"
_REFS = """\
CREATE TABLE Refs (
  referrer INTEGER NOT NULL REFERENCES ValidPaths (id) ON DELETE CASCADE,
  reference INTEGER NOT NULL REFERENCES ValidPaths (id) ON DELETE RESTRICT,
  PRIMARY KEY (referrer, reference)
)"""
_INDEX_REFERRER = "CREATE INDEX IndexReferrer ON Refs (referrer)"
_INDEX_REFERENCE = "CREATE INDEX IndexReference ON Refs (reference)"
# A path that references itself could never be deleted without it.
_DELETE_SELF_REFS = """\
CREATE TRIGGER DeleteSelfRefs BEFORE DELETE ON ValidPaths BEGIN
  DELETE FROM Refs WHERE referrer = OLD.id AND reference = OLD.id;
END"""
_DERIVATION_OUTPUTS = """\
CREATE TABLE DerivationOutputs (
  drv INTEGER NOT NULL REFERENCES ValidPaths (id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  path TEXT NOT NULL,
  PRIMARY KEY (drv, id)
)"""
_INDEX_DERIVATION_OUTPUTS = "CREATE INDEX IndexDerivationOutputs ON DerivationOutputs (path)"


def write_database(registrations: Iterable[Registration], path: str) -> None:
    """Writes the database file of a set of registrations; the same bytes for the same set.

    It is in write-ahead log mode, as Nix wants it: in another, parallel Nix processes find it busy.

    :param path: the file to write or to replace; Nix wants `/nix/var/nix/db/db.sqlite`, and beside
        it a file `schema` that says `SCHEMA_VERSION`.
    :raises OutputError: it cannot be written.
    :raises NotClosedError, ContradictionError, InvalidInputError: as `closed_registrations`.
    :raises DatabaseTooLargeError: see there.
    """
    data = database_bytes(registrations)
    with replace_file(path) as file:
        file.write(data)


def database_bytes(registrations: Iterable[Registration]) -> bytes:
    """Returns the content of the file that `write_database` writes.

    :raises NixOciError: as `write_database`.
    """
    ordered = closed_registrations(registrations)
    ids = {registration.path: number for number, registration in enumerate(ordered, 1)}
    referrers = [ids[r.path] for r in ordered for _ in r.references]
    references = [ids[reference] for r in ordered for reference in r.references]
    rows = range(1, len(references) + 1)
    by_reference = sorted(range(len(references)), key=references.__getitem__)

    integer_records = IntegerRecords(max(len(ids), len(references)))
    file = SqliteFile()
    roots = {
        "ValidPaths": file.add_table(map(_valid_path, ordered)),
        "sqlite_autoindex_ValidPaths_1": file.add_index(map(record, ids.items())),
        # The highest number that was ever given; there is no row before the first.
        "sqlite_sequence": file.add_table([record(("ValidPaths", len(ids)))] if ids else []),
        "Refs": file.add_table(integer_records(referrers, references)),
        "sqlite_autoindex_Refs_1": file.add_index(integer_records(referrers, references, rows)),
        "IndexReferrer": file.add_index(integer_records(referrers, rows)),
        "IndexReference": file.add_index(
            integer_records([references[i] for i in by_reference], [rows[i] for i in by_reference])
        ),
        "DerivationOutputs": file.add_table([]),
        "sqlite_autoindex_DerivationOutputs_1": file.add_index([]),
        "IndexDerivationOutputs": file.add_index([]),
        "DeleteSelfRefs": 0,
    }
    entities: list[tuple[str, str, str, Optional[str]]] = [
        ("table", "ValidPaths", "ValidPaths", _VALID_PATHS),
        ("index", "sqlite_autoindex_ValidPaths_1", "ValidPaths", None),
        ("table", "sqlite_sequence", "sqlite_sequence", _SEQUENCE),
        ("table", "Refs", "Refs", _REFS),
        ("index", "sqlite_autoindex_Refs_1", "Refs", None),
        ("index", "IndexReferrer", "Refs", _INDEX_REFERRER),
        ("index", "IndexReference", "Refs", _INDEX_REFERENCE),
        ("trigger", "DeleteSelfRefs", "ValidPaths", _DELETE_SELF_REFS),
        ("table", "DerivationOutputs", "DerivationOutputs", _DERIVATION_OUTPUTS),
        ("index", "sqlite_autoindex_DerivationOutputs_1", "DerivationOutputs", None),
        ("index", "IndexDerivationOutputs", "DerivationOutputs", _INDEX_DERIVATION_OUTPUTS),
    ]
    return file.to_bytes([(kind, n, table, roots[n], sql) for kind, n, table, sql in entities])


def _valid_path(registration: Registration) -> bytes:
    return record(
        (
            # The column that is the row number is empty in the record.
            None,
            registration.path,
            f"sha256:{parse_sha256(registration.nar_hash).hex()}",
            _REGISTRATION_TIME,
            registration.deriver,
            registration.nar_size,
            # Nothing says that the path was built where the image is.
            None,
            " ".join(registration.signatures) or None,
            registration.ca,
        )
    )


def read_registrations(path: str) -> Registrations:
    """Returns what is registered in a database file, for an image that starts from another.

    The file and what is beside it are left as they are. Nobody must be writing to it meanwhile.

    :raises InvalidInputError: it cannot be read, is no such database, or says what none can.
    :raises NotClosedError: as `closed_registrations`.
    """
    # Writing does without it, and there are builds of Python that have none.
    import sqlite3

    def allow(action: int, table: Optional[str], _column: Any, _database: Any, view: Any) -> int:
        # The schema is as foreign as the data: a view or a function of it could run for ever.
        allowed = (
            action == sqlite3.SQLITE_SELECT
            or action == sqlite3.SQLITE_READ
            and table in ("ValidPaths", "Refs")
        )
        return sqlite3.SQLITE_OK if allowed and view is None else sqlite3.SQLITE_DENY

    # Opening a database with a log or a journal may write to it and to files beside it.
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "db.sqlite")
        try:
            shutil.copyfile(path, copy)
            for suffix in ("-wal", "-journal"):
                if os.path.exists(f"{path}{suffix}"):
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
            connection = sqlite3.connect(copy)
            try:
                for table in ("ValidPaths", "Refs"):
                    columns = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
                    # The last value is not 0 for columns that are computed when they are read.
                    if any(column[-1] for column in columns):
                        raise InvalidInputError("Nix database", path, f"{table} computes a column")
                connection.set_authorizer(allow)
                valid_paths = connection.execute(
                    "SELECT id, path, hash, narSize, deriver, ca, sigs FROM ValidPaths"
                ).fetchall()
                refs = connection.execute("SELECT referrer, reference FROM Refs").fetchall()
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise InvalidInputError("Nix database", path, str(error)) from error
    return closed_registrations(_registrations(path, valid_paths, refs))


def _registrations(
    database: str, valid_paths: list[tuple[Any, ...]], refs: list[tuple[Any, Any]]
) -> Iterator[Registration]:
    """Yields the registrations that are in the rows of a database."""
    paths = {row[0]: StorePath.parse(row[1]) for row in valid_paths}
    references: dict[StorePath, list[StorePath]] = {path: [] for path in paths.values()}
    for referrer, reference in refs:
        if referrer not in paths or reference not in paths:
            raise InvalidInputError("Nix database", database, "a reference is of an unknown path")
        references[paths[referrer]].append(paths[reference])
    for number, _, nar_hash, nar_size, deriver, ca, signatures in valid_paths:
        path = paths[number]
        for value, kind in ((nar_size, int), (ca or "", str), (signatures or "", str)):
            if not isinstance(value, kind):
                raise InvalidInputError("registration in a Nix database", path, f"it has {value!r}")
        yield Registration(
            path=path,
            nar_hash=to_sri(parse_sha256(nar_hash)),
            nar_size=nar_size,
            references=tuple(references[path]),
            deriver=StorePath.parse(deriver) if deriver else None,
            ca=ca or None,
            signatures=tuple((signatures or "").split()),
        )
