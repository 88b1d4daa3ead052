"""The Nix database of an image lists exactly what is in its store, and real Nix works on it."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

import nixoci
import pytest

from tests.integration.support import engines, nix
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.process import run

_COMPLAINT = re.compile(
    "error|warning|missing|modified|disappeared|busy|corrupt|fixing|invalid", re.IGNORECASE
)
#: Nix before 2.16 says so of a writer's first attempt, also with a database of its own making
#: (NixOS/nix#7998), and tries again.
_FIRST_ATTEMPT = re.compile("warning: error: SQLite database '.*' is busy\n")

_NIX = """\
let
  text = name: attributes: script: derivation (attributes // {
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
  });
in rec {
  libc = text "libc" { } "echo I am $out > $out";
  lib = text "lib" { inherit libc; } "echo $libc > $out";
  app = text "app" { inherit lib; } "echo $lib > $out";
  tool = text "tool" { outputs = [ "out" "doc" ]; inherit libc; } ''
    echo a manual > $doc
    echo $libc $doc > $out
  '';
  config = text "config" { inherit app; } ''echo "{\\"Entrypoint\\": [\\"$app\\"]}" > $out'';
  config-user = text "config-user" { inherit config; } "echo $config > $out";
  tree = text "tree" { inherit app tool; } ''
    /bin/mkdir -p $out/bin $out/etc
    /bin/ln -s $app $out/bin/app
    /bin/ln -s $tool $out/bin/tool
    echo tree > $out/etc/tree
  '';
  tree-user = text "tree-user" { inherit tree; } "echo $tree/etc/tree > $out";
}
"""

_NAMES = ("libc", "lib", "app", "tool", "config", "config-user", "tree", "tree-user")

_IMAGE = """\
nix_image(
    name="{name}",
    nix_database=True,
    output_format="oci-layout",
    image_tags=["1"],
    {fields},
)
"""

_LAYERS = """\
nix_layer(name="app-layer", packages=[":app"])
nix_layer(name="tool-layer", packages=[":tool"])
nix_layer(name="lib-layer", packages=[":lib"])
nix_layer(name="over-app", packages=[":tool"], layers=[":app-layer"])
nix_layer(name="ignores-tree", packages=[":app"], ignore=[":tree"])
nix_layer(name="lacks-lib", packages=[":app"], ignore=[":lib"])
nix_layer(name="wants-config", packages=[":config-user"])
"""


@dataclass(frozen=True)
class Kind:
    """One kind of image.

    :param fields: of the target.
    :param reached: the attributes whose closures the image is made of.
    :param left_out: the attributes of what is then kept out of its store.
    """

    fields: str
    reached: tuple[str, ...]
    left_out: tuple[str, ...] = ()


KINDS = {
    "plain": Kind('packages=[":app", ":tool"]', ("app", "tool")),
    "nix-made-config": Kind('config=":config"', ("config",), ("config",)),
    "copied": Kind('copy_to_root=[":tree"]', ("tree",), ("tree",)),
    "copied-and-referenced": Kind(
        'packages=[":tree-user"], copy_to_root=[":tree"]', ("tree-user", "tree")
    ),
    "sharing-layers": Kind(
        'layers=[":app-layer", ":tool-layer", ":over-app"]', ("app", "tool")
    ),
    "ignoring-layer": Kind(
        'layers=[":ignores-tree"], packages=[":lib"]', ("app", "tree"), ("tree",)
    ),
    "ignored-but-wanted": Kind('layers=[":lib-layer", ":lacks-lib"]', ("app",)),
    "config-but-wanted": Kind('config=":config", layers=[":wants-config"]', ("config-user",)),
    "owned": Kind(
        'packages=[":app"], copy_to_root=[":tree"], nix_uid=1000, nix_gid=100',
        ("app", "tree"),
        ("tree",),
    ),
    "nothing": Kind("packages=[]", ()),
}

kinds = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class Packaged:
    """All kinds of images, packaged by one run of Pants.

    :param paths: store paths by attribute;
    :param directory: has an unpacked image of each kind.
    """

    repository: Monorepo
    run: PantsRun
    paths: Mapping[str, str]
    directory: Path

    def root(self, kind: str) -> Path:
        return self.directory / kind / "rootfs"

    def expected(self, kind: str) -> set[str]:
        """What belongs into the store of the image, by what Nix says of the machine's store."""
        reached = [self.paths[name] for name in KINDS[kind].reached]
        closure = self.repository.nix.run("nix-store", "--query", "--requisites", *reached).split()
        return set(closure if reached else ()) - {self.paths[n] for n in KINDS[kind].left_out}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Packaged:
    """See `Packaged`."""
    directory = tmp_path_factory.mktemp("nix-database")
    repository = Monorepo.create(directory, machine_nix)
    repository.write("app/default.nix", _NIX)
    packages = (f'nix_package(name="{n}", source="default.nix", attr="{n}")\n' for n in _NAMES)
    images = (_IMAGE.format(name=name, fields=kind.fields) for name, kind in KINDS.items())
    repository.write("app/BUILD", "".join([*packages, _LAYERS, *images]))
    pants = repository.pants("-ldebug", "package", *(f"app:{name}" for name in KINDS))
    expression = repository.root / "app/default.nix"
    paths = dict(zip(_NAMES, machine_nix.build(expression, *_NAMES)))
    (directory / "unpacked").mkdir()
    for name in KINDS:
        engines.umoci_unpack(
            repository.root / "dist/app" / name, "1", directory / "unpacked" / name
        )
    return Packaged(repository, pants, paths, directory / "unpacked")


@pytest.fixture(params=["machine", "trixie", "sid"])
def any_nix(request: pytest.FixtureRequest) -> Nix:
    """Every Nix that there is: 2.8, 2.26, 2.34."""
    return nix.machine_nix() if request.param == "machine" else nix.newer_nix(request.param)


@dataclass(frozen=True)
class Image:
    """A copy of an unpacked image, and a Nix whose store is that of the image."""

    root: Path
    nix: Nix

    @classmethod
    def copy(cls, packaged: Packaged, kind: str, nix: Nix, directory: Path) -> Image:
        root = directory / "image"
        run(["cp", "--archive", packaged.root(kind), root])
        return cls(root, nix.chroot_store(root))

    def messages(self, program: str, *arguments: str | Path) -> str:
        """Runs a program of Nix and returns what it says beside its result."""
        argv = [self.nix.bin_directory / program, *arguments]
        return run(argv, env=self.nix.environment()).stderr

    def dump(self) -> list[tuple[str, ...]]:
        """Returns what is registered, as Nix dumps it, one tuple for each path."""
        # Without paths, Nix dumps all that there are.
        infos = self.nix.path_info().values()
        return sorted((i.path, i.nar_hash, str(i.nar_size), *i.references) for i in infos)


def registered(root: Path) -> set[str]:
    """Reads the paths in an image's database, with nothing but SQLite; fails if one is twice."""
    database = root / "nix/var/nix/db/db.sqlite"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = [path for (path,) in connection.execute("SELECT path FROM ValidPaths")]
    assert len(rows) == len(set(rows))
    return set(rows)


def on_disk(root: Path) -> set[str]:
    """Returns the store paths that there are in an image."""
    return {f"/nix/store/{name}" for name in os.listdir(root / "nix/store")} - {"/nix/store/.links"}


@kinds
def test_registered_is_what_is_on_disk(packaged: Packaged, kind: str, tmp_path: Path) -> None:
    """No entry without its path, no path without its entry, and both are what was asked for."""
    image = Image.copy(packaged, kind, packaged.repository.nix, tmp_path)
    assert on_disk(image.root) == packaged.expected(kind)
    assert registered(image.root) == packaged.expected(kind)


def test_the_kinds_differ_as_they_should(packaged: Packaged) -> None:
    """What is expected is not empty talk: the store path that each kind is about is in or out."""
    paths = packaged.paths
    assert paths["config"] not in packaged.expected("nix-made-config")
    assert paths["config"] in packaged.expected("config-but-wanted")
    assert paths["tree"] not in packaged.expected("copied")
    assert paths["tree"] in packaged.expected("copied-and-referenced")
    assert paths["tree"] not in packaged.expected("ignoring-layer")
    assert paths["tool"] in packaged.expected("ignoring-layer")
    assert paths["lib"] in packaged.expected("ignored-but-wanted")
    assert packaged.expected("nothing") == set()


def test_a_copy_that_is_kept_is_told(packaged: Packaged) -> None:
    """At debug level, and only of the image in which a copied path is in the store as well."""
    tree, user = packaged.paths["tree"], packaged.paths["tree-user"]
    lines = [line for line in packaged.run.stderr.splitlines() if "kept in its store" in line]
    assert len(lines) == 1
    assert "[DEBUG]" in lines[0] and f"app:copied-and-referenced: {tree} is copied" in lines[0]
    assert lines[0].endswith(f"since {user} references it.")
    root = packaged.root("copied-and-referenced")
    assert (root / "etc/tree").read_text() == "tree\n"
    assert (root / tree[1:] / "etc/tree").read_text() == "tree\n"


@kinds
def test_verify_has_no_complaint_and_loses_nothing(
    packaged: Packaged, kind: str, any_nix: Nix, tmp_path: Path
) -> None:
    """Nix deletes the entries of what it does not find, so before and after are compared."""
    image = Image.copy(packaged, kind, any_nix, tmp_path)
    before = image.dump()
    messages = image.messages("nix-store", "--verify", "--check-contents")
    assert not _COMPLAINT.search(messages), messages
    assert image.dump() == before
    assert {path for path, *_ in before} == packaged.expected(kind)


@kinds
def test_nix_finds_all_of_it(packaged: Packaged, kind: str, any_nix: Nix, tmp_path: Path) -> None:
    """Closures, hashes, sizes and references are those of the store that the image came from."""
    image = Image.copy(packaged, kind, any_nix, tmp_path)
    expected = sorted(packaged.expected(kind))
    if not expected:
        assert image.nix.run("nix", "path-info", "--all") == ""
        return
    assert sorted(image.nix.run("nix-store", "-qR", *expected).split()) == expected
    assert image.nix.path_info(*expected) == packaged.repository.nix.path_info(*expected)
    document = image.nix.run("nix", "path-info", "--json", "-r", *expected)
    assert all(path[len("/nix/store/") :] in document for path in expected)
    assert '"valid":false' not in document and ":null}" not in document


@kinds
def test_gc_deletes_what_was_added_and_nothing_of_the_image(
    packaged: Packaged, kind: str, any_nix: Nix, tmp_path: Path
) -> None:
    """The image is kept by its roots; what is added is registered, and goes unless it is needed."""
    image = Image.copy(packaged, kind, any_nix, tmp_path)
    before = image.dump()
    (tmp_path / "new").write_text("new")
    added = image.nix.run("nix-store", "--add", tmp_path / "new").strip()
    assert registered(image.root) == on_disk(image.root) == {*packaged.expected(kind), added}
    image.messages("nix-store", "--gc")
    assert on_disk(image.root) == packaged.expected(kind)
    assert image.dump() == before
    messages = image.messages("nix-store", "--verify", "--check-contents")
    assert not _COMPLAINT.search(messages), messages


def test_a_profile_survives_gc(packaged: Packaged, any_nix: Nix, tmp_path: Path) -> None:
    """The garbage collector reads `profiles` itself: it needs no link among the roots."""
    image = Image.copy(packaged, "plain", any_nix, tmp_path)
    (tmp_path / "new").write_text("new")
    (tmp_path / "other").write_text("other")
    kept, lost = image.nix.run("nix-store", "--add", tmp_path / "new", tmp_path / "other").split()
    profiles = image.root / "nix/var/nix/profiles"
    (profiles / "mine-1-link").symlink_to(kept)
    (profiles / "mine").symlink_to("mine-1-link")
    assert not os.path.lexists(image.root / "nix/var/nix/gcroots/profiles")
    image.messages("nix-store", "--gc")
    assert not os.path.lexists(image.root / "nix/var/nix/gcroots/profiles")
    assert registered(image.root) == on_disk(image.root) == {*packaged.expected("plain"), kept}


def test_ten_processes_at_once(packaged: Packaged, any_nix: Nix, tmp_path: Path) -> None:
    """Builds, additions and queries in the image's own `/nix`: none is in another's way."""
    root = tmp_path / "image"
    run(["cp", "--archive", packaged.root("plain"), root])
    inside = any_nix.with_fresh_root(root / "nix")
    app = packaged.paths["app"]
    commands: list[list[str]] = []
    for number in range(3):
        (tmp_path / f"file-{number}").write_text(str(number))
        expression = (
            f'derivation {{ name = "built-{number}"; system = "x86_64-linux"; builder = "/bin/sh"; '
            f'args = [ "-c" "echo $app > $out" ]; app = builtins.storePath "{app}"; }}'
        )
        commands += [
            ["nix-build", "--no-out-link", "--expr", expression],
            ["nix-store", "--add", str(tmp_path / f"file-{number}")],
            ["nix", "path-info", "--json", "-r", app],
        ]
    commands.append(["nix-store", "--verify", "--check-contents"])
    running = [
        subprocess.Popen(
            [*inside.prefix, str(inside.bin_directory / command[0]), *command[1:]],
            env=inside.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    results = [(*process.communicate(timeout=120), process.returncode) for process in running]
    made = set()
    for command, (output, messages, code) in zip(commands, results):
        if any_nix.version() < (2, 16):
            messages = _FIRST_ATTEMPT.sub("", messages)
        assert code == 0, (command, messages)
        assert not re.search("busy|corrupt", messages), (command, messages)
        made.update(output.split() if command[1] in ("--no-out-link", "--add") else ())
    assert len(made) == 6
    # A derivation is registered too.
    new = {path for path in registered(root) if not path.endswith(".drv")}
    assert new == {*packaged.expected("plain"), *made}
    database = root / "nix/var/nix/db/db.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()


def test_the_database_is_written_again_without_nix(packaged: Packaged, tmp_path: Path) -> None:
    """From the descriptor alone, into a layout that has all other layers."""
    dist = packaged.repository.root / "dist/app"
    run(["cp", "--archive", dist / "plain", tmp_path / "layout"])
    digest = packaged.repository.descriptor("app/plain.image.json")["layers"][-1]["digest"]
    blob = tmp_path / "layout/blobs" / digest.replace(":", "/")
    content = blob.read_bytes()
    blob.unlink()
    program = "from nixoci.cli.main import main; raise SystemExit(main())"
    arguments = [dist / "plain.image.json", "--format=oci-layout", "--reference=plain:1"]
    run(
        [sys.executable, "-c", program, "write", *arguments, f"--output={tmp_path / 'layout'}"],
        env={"PATH": "/nowhere", "PYTHONPATH": str(Path(nixoci.__file__).parents[1])},
    )
    assert blob.read_bytes() == content


def _owners(root: Path) -> dict[str, tuple[int, int]]:
    owners = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            owners["/" + os.path.relpath(path, root)] = (status.st_uid, status.st_gid)
    return owners


def test_who_runs_nix_owns_it(packaged: Packaged) -> None:
    """`/nix` and all below it, in all layers, and nothing of what is copied to the root."""
    owners = _owners(packaged.root("owned"))
    assert {"/nix", "/nix/store", "/nix/var/nix/db/db.sqlite", "/etc/tree"} < set(owners)
    assert packaged.paths["app"] in owners
    for path, owner in owners.items():
        in_nix = path == "/nix" or path.startswith("/nix/")
        assert owner == ((1000, 100) if in_nix else (0, 0)), path


def test_root_owns_it_unless_told_otherwise(packaged: Packaged) -> None:
    """The default; and the layers of images with another owner are other layers."""
    assert set(_owners(packaged.root("copied")).values()) == {(0, 0)}


def test_the_layer_with_the_database_is_the_last(packaged: Packaged) -> None:
    """It holds no store path; `.links` and `profiles` are there for Nix, and no log of SQLite's."""
    descriptor = packaged.repository.descriptor("app/plain.image.json")
    kinds_of_layers = ["registrations" in layer["recipe"] for layer in descriptor["layers"]]
    assert kinds_of_layers == [False] * (len(kinds_of_layers) - 1) + [True]
    root = packaged.root("plain")
    assert sorted(os.listdir(root / "nix/var/nix/db")) == ["db.sqlite", "schema"]
    assert (root / "nix/var/nix/db/schema").read_bytes() == b"10"
    for name in ("store/.links", "var/nix/profiles", "var/nix/gcroots/image"):
        assert stat.S_IMODE((root / "nix" / name).stat().st_mode) == 0o755
