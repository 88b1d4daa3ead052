"""Every SQLite takes the file for one of its own, whatever its version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
import sqlean
from nixoci.database.nix_database import database_bytes

from tests.nixoci.store.registration_support import many

_NEW = "/nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-new"

#: That of Python and two that bring their own; years lie between the versions.
SQLITES = {"python": sqlite3, "pysqlite3": pysqlite3, "sqlean": sqlean}


def test_the_versions_differ() -> None:
    """Or the other test of this file would show less than it says."""
    assert 3 == len({module.sqlite_version for module in SQLITES.values()})


@pytest.mark.parametrize("name", SQLITES)
def test_it_reads_and_writes(tmp_path: Path, name: str) -> None:
    """It finds no fault, reads all rows, inserts, and deletes with what hangs on it."""
    registrations = many(600)
    path = tmp_path / "db.sqlite"
    data = database_bytes(registrations)
    path.write_bytes(data)
    connection = SQLITES[name].connect(str(path), isolation_level=None)

    def query(*words: Any) -> list[Any]:
        rows: list[Any] = connection.execute(*words).fetchall()
        return rows

    assert [("wal",)] == query("PRAGMA journal_mode")
    assert [("ok",)] == query("PRAGMA integrity_check")
    assert [] == query("PRAGMA foreign_key_check")
    assert [(0,)] == query("PRAGMA freelist_count")
    expected = [(number, r.path, r.nar_size) for number, r in enumerate(registrations, 1)]
    assert expected == query("SELECT id, path, narSize FROM ValidPaths ORDER BY path")
    references = [(r.path, reference) for r in registrations for reference in r.references]
    assert references == query(
        "SELECT a.path, b.path FROM Refs JOIN ValidPaths a ON a.id = referrer"
        " JOIN ValidPaths b ON b.id = reference ORDER BY 1, 2"
    )

    query("PRAGMA foreign_keys = ON")
    query("INSERT INTO ValidPaths (path, hash, registrationTime) VALUES (?, '', 2)", (_NEW,))
    ((number,),) = query("SELECT id FROM ValidPaths WHERE path = ?", (_NEW,))
    assert number == len(registrations) + 1
    query("INSERT INTO Refs SELECT ?, id FROM ValidPaths", (number,))
    assert [("ok",)] == query("PRAGMA integrity_check")
    query("DELETE FROM ValidPaths WHERE id = ?", (number,))
    assert [(len(references),)] == query("SELECT count(*) FROM Refs")
    # Those that nothing but themselves reference, until none is left.
    while query("SELECT 1 FROM ValidPaths LIMIT 1"):
        query(
            "DELETE FROM ValidPaths WHERE id NOT IN"
            " (SELECT reference FROM Refs WHERE referrer <> reference)"
        )
    assert [(0,)] == query("SELECT count(*) FROM Refs")
    assert [("ok",)] == query("PRAGMA integrity_check")
    query("VACUUM")
    assert [("ok",)] == query("PRAGMA integrity_check")
    # The numbers of deleted rows are not given again.
    query("INSERT INTO ValidPaths (path, hash, registrationTime) VALUES (?, '', 2)", (_NEW,))
    assert [(number + 1,)] == query("SELECT id FROM ValidPaths")
    connection.close()
