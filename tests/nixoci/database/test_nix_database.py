"""The database file: the same bytes everywhere, and what SQLite itself finds in it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import nixoci
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.atomic import OutputError
from nixoci.database.nix_database import (
    SCHEMA_VERSION,
    database_bytes,
    read_registrations,
    write_database,
)
from nixoci.errors import InvalidInputError
from nixoci.store.closure import ContradictionError, NotClosedError
from nixoci.store.registration import Registrations, closed_registrations, to_json

from tests.integration.support.interpreters import interpreter
from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.registration_support import many, registered, registration_sets

_COLUMNS = "id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca"

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from nixoci.database.nix_database import write_database
from nixoci.store.registration import from_json
with open(sys.argv[2], "rb") as file:
    write_database(from_json(file.read()), sys.argv[3])
"""


def write(directory: Path, registrations: Registrations) -> Path:
    path = directory / "db.sqlite"
    write_database(registrations, str(path))
    return path


def query(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def made_by_sqlite(path: Path, registrations: Registrations) -> None:
    """Writes the database of some registrations as Nix does: by inserting rows."""
    empty = path.with_name("empty")
    write_database((), str(empty))
    statements = query(empty, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
    with closing(sqlite3.connect(path)) as connection:
        for (statement,) in statements:
            if "sqlite_sequence" not in statement:
                connection.execute(statement)
        for r in registrations:
            nar_hash = "sha256:" + hashlib.sha256(f"nar of {r.path.name}".encode()).hexdigest()
            row = (r.path, nar_hash, r.deriver, r.nar_size, " ".join(r.signatures) or None, r.ca)
            connection.execute(
                "INSERT INTO ValidPaths (path, hash, registrationTime, deriver, narSize, sigs, ca)"
                " VALUES (?, ?, 1, ?, ?, ?, ?)",
                row,
            )
        for r in registrations:
            for reference in r.references:
                connection.execute(
                    "INSERT INTO Refs SELECT a.id, b.id FROM ValidPaths a, ValidPaths b"
                    " WHERE a.path = ? AND b.path = ?",
                    (r.path, reference),
                )
        connection.commit()


@given(registration_sets(), st.randoms(use_true_random=False))
def test_bytes_do_not_depend_on_the_order(registrations: Registrations, random: Any) -> None:
    """Nor on whether something is given twice."""
    shuffled = [*registrations, *registrations[:1]]
    random.shuffle(shuffled)
    assert database_bytes(registrations) == database_bytes(shuffled)


def test_bytes_are_those_of_the_first_release() -> None:
    """Another database for the same paths is another layer in every image: it must be wanted."""
    digests = [hashlib.sha256(database_bytes(many(count))).hexdigest() for count in (0, 700)]
    assert [
        "789b1ee944383efea82a99420faa160a8282cb68acdcf590aa20621805e0f3c8",
        "d6e43e4cc8706fd76fe57ad71ec88b5ff9c3d4ac5907dfb4354d57529221efc3",
    ] == digests


@pytest.mark.parametrize("version", ["3.9", "3.11", "3.13"])
def test_bytes_do_not_depend_on_the_python(tmp_path: Path, version: str) -> None:
    """Each supported version writes the same file, with no site packages and no environment."""
    registrations = many(300)
    source = tmp_path / "registrations.json"
    source.write_bytes(to_json(registrations))
    target = tmp_path / "db.sqlite"
    package = str(Path(nixoci.__file__).parents[1])
    command = [interpreter(version), "-I", "-S", "-c", PROGRAM, package]
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*command, str(source), str(target)], env=environment, check=True)
    assert database_bytes(registrations) == target.read_bytes()


@settings(max_examples=30, deadline=None)
@given(registrations=registration_sets())
def test_sqlite_would_have_stored_the_same(
    tmp_path_factory: pytest.TempPathFactory, registrations: Registrations
) -> None:
    """Tables, rows, row numbers and the order of every index are those of a database that SQLite
    made of the same insertions."""
    directory = tmp_path_factory.mktemp("databases")
    made_by_sqlite(directory / "expected", registrations)
    path = write(directory, registrations)
    for statement in (
        "SELECT type, name, tbl_name, sql FROM sqlite_schema",
        f"SELECT {_COLUMNS} FROM ValidPaths",
        "SELECT * FROM sqlite_sequence",
        "SELECT rowid, * FROM Refs NOT INDEXED",
        "SELECT rowid, * FROM Refs INDEXED BY IndexReference ORDER BY reference, rowid",
        "SELECT rowid, * FROM Refs INDEXED BY IndexReferrer ORDER BY referrer, rowid",
        "SELECT rowid, * FROM DerivationOutputs",
    ):
        assert query(directory / "expected", statement) == query(path, statement)
    assert [("ok",)] == query(path, "PRAGMA integrity_check")
    assert [] == query(path, "PRAGMA foreign_key_check")


@pytest.mark.parametrize("count", [0, 1, 40, 41, 42, 43, 300, 3000])
def test_sqlite_finds_no_fault(tmp_path: Path, count: int) -> None:
    """For databases of few pages and of many, with everything where the indexes say."""
    registrations = many(count)
    path = write(tmp_path, registrations)
    assert [("ok",)] == query(path, "PRAGMA integrity_check")
    assert [] == query(path, "PRAGMA foreign_key_check")
    for registration in registrations[:: max(1, count // 50)]:
        where = f"WHERE path = '{registration.path}'"
        plan = query(path, f"EXPLAIN QUERY PLAN SELECT id FROM ValidPaths {where}")
        assert "sqlite_autoindex_ValidPaths_1" in plan[0][-1]
        ((number,),) = query(path, f"SELECT id FROM ValidPaths {where}")
        references = query(
            path,
            f"SELECT path FROM Refs JOIN ValidPaths ON id = reference WHERE referrer = {number}",
        )
        assert sorted(references) == [(reference,) for reference in registration.references]


def test_the_header_says_nothing_of_who_wrote_it(tmp_path: Path) -> None:
    """Write-ahead log; pages of 4 KiB, none free; no trace of a version of SQLite or of changes."""
    data = write(tmp_path, many(100)).read_bytes()
    assert b"SQLite format 3\0" == data[:16]
    assert b"\x10\x00" == data[16:18]
    assert b"\2\2" == data[18:20]
    assert (1).to_bytes(4, "big") == data[24:28] == data[92:96]
    assert len(data) == 4096 * int.from_bytes(data[28:32], "big")
    assert bytes(8) == data[32:40]
    assert bytes(4) == data[52:56]
    assert (3007000).to_bytes(4, "big") == data[96:100]


def test_only_the_file_is_left(tmp_path: Path) -> None:
    """No log, no shared memory, nothing half-written, and what was there before is replaced."""
    (tmp_path / "db.sqlite").write_bytes(b"what was there")
    path = write(tmp_path, many(3))
    assert ["db.sqlite"] == os.listdir(tmp_path)
    assert many(3) == read_registrations(str(path))
    assert ["db.sqlite"] == os.listdir(tmp_path)


def test_schema_version_has_no_newline() -> None:
    """Nix up to 2.8 reads the whole file as a number."""
    assert b"10" == SCHEMA_VERSION


@given(registration_sets())
def test_everything_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, registrations: Registrations
) -> None:
    """With content addresses, signatures and derivers."""
    path = write(tmp_path_factory.mktemp("database"), registrations)
    assert registrations == read_registrations(str(path))


def test_hundreds_of_signatures_are_kept(tmp_path: Path) -> None:
    """Such a row is longer than a page."""
    for count in (45, 46, 47, 48, 100, 500):
        signatures = tuple(f"key-{number}:{'A' * 86}==" for number in range(count))
        registrations = closed_registrations([registered("a", signatures=signatures)])
        path = write(tmp_path, registrations)
        assert registrations == read_registrations(str(path))
        assert [("ok",)] == query(path, "PRAGMA integrity_check")


def test_what_is_not_closed_is_not_written(tmp_path: Path) -> None:
    """Nothing is there after the error."""
    with pytest.raises(NotClosedError) as raised:
        write_database([registered("a", ["b"])], str(tmp_path / "db.sqlite"))
    assert (store_path("a"), store_path("b")) == raised.value.chain
    with pytest.raises(ContradictionError):
        write_database([registered("a"), registered("a", nar_size=1)], str(tmp_path / "db.sqlite"))
    assert [] == os.listdir(tmp_path)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As for every other output."""
    with pytest.raises(OutputError, match="missing"):
        write_database((), str(tmp_path / "missing" / "db.sqlite"))


def test_a_log_that_was_left_is_read_too(tmp_path: Path) -> None:
    """Nix leaves its log in place; what is only there counts, and both stay as they are."""
    path = write(tmp_path, many(3))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM Refs")
        connection.execute("DELETE FROM ValidPaths WHERE id > 1")
        connection.commit()
        before = {name: (tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))}
        assert "db.sqlite-wal" in before
        found = read_registrations(str(path))
        assert before == {
            name: (tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))
        }
    assert (dataclasses.replace(many(3)[0], references=()),) == found


_VALID_PATHS = (
    "CREATE TABLE ValidPaths (id INTEGER PRIMARY KEY, path, hash, narSize, deriver, sigs, ca)"
)
_REFS = "CREATE TABLE Refs (referrer, reference)"
_ROW = f"INSERT INTO ValidPaths VALUES (1, '{store_path('a')}', 'sha256:{'0' * 64}', {{}})"
_ENDLESS = """
CREATE VIEW ValidPaths AS WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
SELECT id, id path, id hash, id narSize, id deriver, id sigs, id ca FROM n
"""
_VIEW = """
CREATE VIEW ValidPaths AS
SELECT referrer id, referrer path, 0 hash, 0 narSize, 0 deriver, 0 ca, 0 sigs FROM Refs
"""


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [_VALID_PATHS],
        [_ENDLESS, _REFS],
        [_REFS, _VIEW],
        [_VALID_PATHS.replace("path,", "path AS (zeroblob(900000000)),"), _REFS],
        [_VALID_PATHS, _REFS, "INSERT INTO ValidPaths (id, path) VALUES (1, x'ff')"],
        [_VALID_PATHS, _REFS, "INSERT INTO ValidPaths (id, path) VALUES (1, CAST(x'ff' AS TEXT))"],
        [_VALID_PATHS, _REFS, "INSERT INTO ValidPaths (id, path) VALUES (1, '/nix/store/a')"],
        [_VALID_PATHS, _REFS, _ROW.format("1.5, NULL, NULL, NULL")],
        [_VALID_PATHS, _REFS, _ROW.format("NULL, NULL, NULL, NULL")],
        [_VALID_PATHS, _REFS, _ROW.format("-1, NULL, NULL, NULL")],
        [_VALID_PATHS, _REFS, _ROW.format("1, 7, NULL, NULL")],
        [_VALID_PATHS, _REFS, _ROW.format("1, NULL, 7, NULL")],
        [_VALID_PATHS, _REFS, _ROW.format("1, NULL, NULL, x'00'")],
        [_VALID_PATHS, _REFS, _ROW.format("1, NULL, NULL, 'fixed'")],
        [
            _VALID_PATHS,
            _REFS,
            _ROW.format("1, NULL, NULL, NULL"),
            "INSERT INTO Refs VALUES (1, 2)",
        ],
    ],
)
def test_other_databases_are_refused(tmp_path: Path, statements: list[str]) -> None:
    """Also those whose schema would have SQLite compute something."""
    with closing(sqlite3.connect(tmp_path / "db.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(InvalidInputError):
        read_registrations(str(tmp_path / "db.sqlite"))


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A missing file, a directory, a file of something else, a damaged database."""
    (tmp_path / "other").write_bytes(b"x" * 5000)
    (tmp_path / "damaged").write_bytes(database_bytes(many(100))[:20000])
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "", "other", "damaged", "pipe"):
        with pytest.raises(InvalidInputError):
            read_registrations(str(tmp_path / name))
