"""The SQLite file format as written without SQLite, for any records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nixoci.database import sqlite_file
from nixoci.database.sqlite_file import DatabaseTooLargeError, IntegerRecords, SqliteFile, record

_TABLE = "CREATE TABLE t (a, b)"
_INDEX = "CREATE INDEX i ON t (b)"

#: Lengths around those at which a record no longer fits into its cell, or needs another page more.
_LENGTHS = st.one_of(
    st.integers(0, 300),
    st.integers(4040, 4070),
    st.integers(4540, 4590),
    st.integers(8130, 8180),
    st.integers(12000, 13000),
)

_INTEGERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(
        [sign * (2**bits + more) for sign in (1, -1) for bits in range(63) for more in (-1, 0, 1)]
    ),
)


def save(path: Path, rows: list[tuple[Any, Any]]) -> None:
    """Writes a table of the rows and an index of their second values."""
    file = SqliteFile()
    table = file.add_table(map(record, rows))
    keys = sorted((b, number) for number, (_, b) in enumerate(rows, 1))
    index = file.add_index(map(record, keys))
    schema = [("table", "t", "t", table, _TABLE), ("index", "i", "t", index, _INDEX)]
    path.write_bytes(file.to_bytes(schema))


def load(path: Path) -> list[tuple[Any, Any]]:
    """Returns the rows, after SQLite found the file in order."""
    with closing(sqlite3.connect(path)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        by_index = "SELECT a, b FROM t INDEXED BY i ORDER BY b, rowid"
        rows = connection.execute("SELECT a, b FROM t NOT INDEXED").fetchall()
        assert sorted(rows, key=lambda row: row[1]) == connection.execute(by_index).fetchall()
        return rows


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(_LENGTHS, max_size=30))
def test_rows_of_any_length(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    """Those that need pages of their own as well."""
    path = tmp_path_factory.mktemp("file") / "db"
    rows = [("x" * length, length) for length in lengths]
    save(path, rows)
    assert rows == load(path)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 990), max_size=60),
    repeat=st.integers(1, 40),
)
def test_keys_of_any_length(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], repeat: int
) -> None:
    """From leaves of four keys to trees of three levels."""
    path = tmp_path_factory.mktemp("file") / "db"
    rows = [(None, "x" * length) for length in lengths * repeat]
    save(path, rows)
    assert rows == load(path)


@pytest.mark.parametrize("count", [0, 1, 2, 3, *range(505, 515), *range(1010, 1030), 100_000])
def test_any_number_of_rows(tmp_path: Path, count: int) -> None:
    """Around the numbers at which a page is full, and with trees of three levels."""
    rows = [(number, number) for number in range(count)]
    save(tmp_path / "db", rows)
    assert rows == load(tmp_path / "db")


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(_INTEGERS.filter(lambda n: -(2**63) <= n < 2**63), max_size=60))
def test_integers_of_any_size(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    """From none to eight bytes."""
    path = tmp_path_factory.mktemp("file") / "db"
    rows = [(number, number) for number in numbers]
    save(path, rows)
    assert rows == load(path)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_larger_integers_are_refused(number: int) -> None:
    """SQLite has none."""
    with pytest.raises(ValueError):
        record([number])


@pytest.mark.parametrize("columns", [1, 5, 126, 127, 128, 300])
def test_records_of_many_values(tmp_path: Path, columns: int) -> None:
    """Their header may be longer than one byte can say."""
    names = ", ".join(f"c{number}" for number in range(columns))
    file = SqliteFile()
    root = file.add_table([record(range(columns))])
    data = file.to_bytes([("table", "t", "t", root, f"CREATE TABLE t ({names})")])
    (tmp_path / "db").write_bytes(data)
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert [tuple(range(columns))] == connection.execute("SELECT * FROM t").fetchall()


@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 300)), max_size=50))
def test_the_fast_way_is_the_slow_way(rows: list[tuple[int, int]]) -> None:
    """Records of integers are the same from both."""
    largest = max((max(row) for row in rows), default=0)
    columns = [[row[0] for row in rows], [row[1] for row in rows]]
    assert [record(row) for row in rows] == list(IntegerRecords(largest)(*columns))


@pytest.mark.parametrize("largest", [1, 127, 128, 32767, 32768, 100_000])
def test_the_fast_way_up_to_each_size(largest: int) -> None:
    """The largest number itself is in."""
    assert [record([1, largest])] == list(IntegerRecords(largest)([1], [largest]))


def test_a_key_that_is_too_long_is_refused() -> None:
    """It would need pages of its own, which no key here ever does."""
    with pytest.raises(ValueError):
        SqliteFile().add_index([record(["x" * 1000, 1])])


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of writing into the page that SQLite locks."""
    monkeypatch.setattr(sqlite_file, "_MAX_PAGES", 5)
    rows = [record(["x" * 4000])] * 4
    assert 6 > SqliteFile().add_table(rows[:3])
    with pytest.raises(DatabaseTooLargeError):
        SqliteFile().add_table(rows)
