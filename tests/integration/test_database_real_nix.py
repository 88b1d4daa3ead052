"""Real Nix takes the database that is written here for its own."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import pytest
from nixoci.database.nix_database import SCHEMA_VERSION, read_registrations, write_database
from nixoci.store.closure import ClosureGraph, parse_nix_path_info
from nixoci.store.path import StorePath
from nixoci.store.registration import Registrations, parse_text, registrations_of, to_text

from tests.integration.support import nix
from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.nixoci.store.registration_support import many

_COMPLAINT = re.compile(
    "error|warning|missing|modified|disappeared|busy|corrupt|fixing|invalid", re.IGNORECASE
)


@dataclass(frozen=True)
class Origin:
    """A store that Nix filled: built paths, some signed, and one addressed by its contents."""

    directory: Path
    paths: tuple[StorePath, ...]
    graph: ClosureGraph


@dataclass(frozen=True)
class Image:
    """An unpacked image: store paths, our database of them, and a Nix that works on it."""

    directory: Path
    nix: Nix
    registrations: Registrations

    @property
    def database(self) -> Path:
        return self.directory / "nix/var/nix/db/db.sqlite"

    def run(self, program: str, *arguments: str | Path) -> tuple[str, str]:
        """Runs a program of the image's Nix; returns standard output and error."""
        argv = [self.nix.bin_directory / program, *arguments]
        result = run(argv, env=self.nix.environment())
        return result.stdout, result.stderr

    def dump(self) -> Registrations:
        """What Nix says is registered."""
        return parse_text(self.run("nix-store", "--dump-db")[0].encode())

    def integrity(self) -> list[tuple[str]]:
        with closing(sqlite3.connect(self.database)) as connection:
            violations = connection.execute("PRAGMA foreign_key_check").fetchall()
            return connection.execute("PRAGMA integrity_check").fetchall() + violations


def path_info(nix: Nix, paths: Sequence[str]) -> ClosureGraph:
    return parse_nix_path_info(nix.run("nix", "path-info", "--json", "-r", *paths).encode())


@pytest.fixture(scope="module")
def origin(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """See `Origin`; the closure has self references and references between siblings."""
    directory = tmp_path_factory.mktemp("origin")
    expression = materialize_tiny_closure(directory / "sources")
    store = machine_nix.chroot_store(directory / "root")
    built = machine_nix.build(expression, "a", "several", "several.dev", "greeting")
    machine_nix.copy_closure(built, store)
    (directory / "file").write_text("addressed by its contents")
    added = store.run("nix-store", "--add", directory / "file").strip()
    keys = directory / "secret", directory / "public"
    for name in ("one-1", "two-1"):
        store.run("nix-store", "--generate-binary-cache-key", name, *keys)
        store.run("nix", "store", "sign", "--recursive", "--key-file", keys[0], *built[:2])
    paths = tuple(map(StorePath.parse, (*built, added)))
    return Origin(directory / "root", paths, path_info(store, paths))


@pytest.fixture(params=["machine", "trixie", "sid"])
def any_nix(request: pytest.FixtureRequest) -> Nix:
    """Every Nix that there is: 2.8, 2.26, 2.34."""
    return nix.machine_nix() if request.param == "machine" else nix.newer_nix(request.param)


@pytest.fixture()
def image(any_nix: Nix, origin: Origin, tmp_path: Path) -> Image:
    """All that is in `origin`, as an unpacked image with our database."""
    registrations = registrations_of(origin.graph)
    root = tmp_path / "image"
    database = root / "nix/var/nix/db/db.sqlite"
    (root / "nix/store").mkdir(parents=True)
    database.parent.mkdir(parents=True)
    # An image has roots. Where this directory is missing, parallel processes race to make it.
    (root / "nix/var/nix/gcroots").mkdir()
    for path in origin.graph:
        run(["cp", "-a", f"{origin.directory}{path}", f"{root}{path}"])
    write_database(registrations, str(database))
    database.with_name("schema").write_bytes(SCHEMA_VERSION)
    return Image(root, any_nix.chroot_store(root), registrations)


def test_the_origin_has_all_kinds_of_facts(origin: Origin) -> None:
    """What the other tests compare has signatures, a content address and self references."""
    infos = list(origin.graph.values())
    assert any(len(info.signatures) == 2 for info in infos)
    assert any(info.ca is not None for info in infos)
    assert any(info.path in info.references for info in infos)


def test_verify_has_no_complaint_and_loses_nothing(image: Image) -> None:
    """Nix deletes the entries of what it does not find, so before and after are compared."""
    _, messages = image.run("nix-store", "--verify", "--check-contents")
    assert not _COMPLAINT.search(messages), messages
    assert read_registrations(str(image.database)) == image.registrations
    assert [("ok",)] == image.integrity()


def test_nix_knows_what_the_original_store_knows(image: Image, origin: Origin) -> None:
    """Also content addresses and signatures, which only `nix path-info` tells."""
    assert origin.graph == path_info(image.nix, origin.paths)
    for path in origin.paths:
        requisites = image.run("nix-store", "--query", "--requisites", path)[0].split()
        assert sorted(requisites) == sorted(origin.graph.closure([path]))
        referrers = image.run("nix-store", "--query", "--referrers", path)[0].split()
        assert sorted(referrers) == [p for p, i in origin.graph.items() if path in i.references]


def test_text_of_the_database_is_what_nix_dumps(image: Image) -> None:
    """`to_text` is what Nix dumps; the order of the paths is not Nix's to choose."""
    assert image.run("nix-store", "--dump-db")[0].encode() == to_text(image.registrations)


def test_nix_adds_to_it(image: Image, tmp_path: Path) -> None:
    """What is added is registered beside what was."""
    (tmp_path / "new").write_text("new")
    added = image.run("nix-store", "--add", tmp_path / "new")[0].strip()
    after = read_registrations(str(image.database))
    assert [r for r in after if r.path != added] == list(image.registrations)
    assert len(after) == len(image.registrations) + 1
    _, messages = image.run("nix-store", "--verify", "--check-contents")
    assert not _COMPLAINT.search(messages), messages
    assert [("ok",)] == image.integrity()


def test_gc_keeps_what_has_roots(image: Image, origin: Origin) -> None:
    """Roots of the packages keep all that they reach."""
    roots = image.directory / "nix/var/nix/gcroots/image"
    roots.mkdir()
    for path in origin.paths:
        (roots / Path(path).name).symlink_to(path)
    image.run("nix-store", "--gc")
    assert read_registrations(str(image.database)) == image.registrations
    assert all(Path(f"{image.directory}{path}").exists() for path in origin.graph)


def test_gc_deletes_all_without_roots(image: Image) -> None:
    """References do not keep what nothing else keeps, self references included."""
    image.run("nix-store", "--gc")
    assert () == read_registrations(str(image.database))
    assert {".links"} >= {entry.name for entry in (image.directory / "nix/store").iterdir()}
    assert [("ok",)] == image.integrity()


def test_nix_deletes_one_path_and_refuses_a_referenced_one(image: Image, origin: Origin) -> None:
    """`--delete` of a path works if nothing else references it, and only then."""
    path = origin.paths[0]
    referenced = origin.graph[path].references[0]
    argv = [str(image.nix.bin_directory / "nix-store"), "--delete", referenced]
    refused = run(argv, env=image.nix.environment(), check=False)
    assert refused.returncode != 0
    assert read_registrations(str(image.database)) == image.registrations
    image.run("nix-store", "--delete", path)
    expected = [r for r in image.registrations if r.path != path]
    assert expected == list(read_registrations(str(image.database)))


def test_ten_processes_at_once(image: Image, origin: Origin, tmp_path: Path) -> None:
    """Readers and writers wait for each other; none finds the database corrupt, and none fails.

    None says that it is busy either, with an exception: a writer of Nix before 2.16 does so at its
    first attempt, also with a database of Nix's own making (NixOS/nix#7998), and tries again.
    """
    reader = ["--query", "--requisites", *origin.paths]
    writers = []
    for number in range(5):
        files = [tmp_path / f"file-{number}-{i}" for i in range(20)]
        for file in files:
            file.write_text(file.name)
        writers.append(["--add", *map(str, files)])
    running = [
        subprocess.Popen(
            [str(image.nix.bin_directory / "nix-store"), *command],
            env=image.nix.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for writer in writers
        for command in (writer, reader)
    ]
    results = [(*process.communicate(timeout=120), process.returncode) for process in running]
    added = {path for output, _, _ in results[::2] for path in output.split()}
    retries = image.nix.version() < (2, 16)
    for number, (_, messages, code) in enumerate(results):
        if retries and number % 2 == 0:
            messages = re.sub("warning: error: SQLite database '.*' is busy\n", "", messages)
        assert code == 0 and not _COMPLAINT.search(messages), messages
    assert len(added) == 100
    after = read_registrations(str(image.database))
    assert added == {r.path for r in after} - {r.path for r in image.registrations}
    assert [("ok",)] == image.integrity()


def test_a_large_database_shrinks_in_order(any_nix: Nix, tmp_path: Path) -> None:
    """Nix deletes thousands of entries, whose paths are not there, from b-trees of many pages."""
    registrations = many(3000)
    image = Image(tmp_path, any_nix.chroot_store(tmp_path), registrations)
    image.database.parent.mkdir(parents=True)
    write_database(registrations, str(image.database))
    image.database.with_name("schema").write_bytes(SCHEMA_VERSION)
    assert image.dump() == registrations
    image.run("nix-store", "--verify")
    assert () == image.dump()
    assert [("ok",)] == image.integrity()


def test_text_is_loaded_and_dumped(any_nix: Nix, origin: Origin, tmp_path: Path) -> None:
    """`nix-store --load-db` accepts the text form, and `--dump-db` gives it back."""
    text = to_text(registrations_of(origin.graph))
    store = any_nix.chroot_store(tmp_path)
    subprocess.run(
        [store.bin_directory / "nix-store", "--load-db"],
        input=text,
        env=store.environment(),
        check=True,
    )
    dump = store.run("nix-store", "--dump-db").encode()
    assert parse_text(text) == parse_text(dump)
    assert sorted(text.split(b"\n")) == sorted(dump.split(b"\n"))
    database = tmp_path / "nix/var/nix/db/db.sqlite"
    assert parse_text(text) == read_registrations(str(database))
