"""Tests of `nixoci.cli.main`: the core as one file, run by a bare Python, with this machine's Nix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipapp
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional

import nixoci
import pytest
from nixoci.compression.formats import Compression
from nixoci.database.nix_database import read_registrations
from nixoci.elf.facts import ElfFacts, facts_from_json
from nixoci.layer.digest import digest_layer
from nixoci.layer.layer import Layer
from nixoci.layering.contents import Contents
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.closure import ClosureGraph
from nixoci.store.evaluate import Derivation

from tests.nixoci.elf.elf_support import elf_bytes
from tests.nixoci.store.closure_support import info, split_recipes, store_path
from tests.nixoci.store.nix_support import (
    delete,
    environment,
    nix,
    program,
    shell_derivation,
    unique_word,
    write_tree,
)

NOT_VALID = 75
NO_NIX = 76


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package `nixoci` as one file that Python runs."""
    target = tmp_path_factory.mktemp("archive") / "nixoci.pyz"
    sources = Path(nixoci.__file__).parent.parent

    def is_core(path: Path) -> bool:
        return path.parts[0] == "nixoci" and path.suffix == ".py"

    zipapp.create_archive(sources, target, main="nixoci.__main__:console", filter=is_core)
    return target


class Command:
    """Runs the file with `python -I -S`, so that nothing but the standard library is there."""

    def __init__(self, archive: Path, directory: Path) -> None:
        self.archive = archive
        self.directory = directory
        self.environment = environment(directory)

    def run(
        self, *arguments: str, stdin: bytes = b"", python: str = sys.executable
    ) -> subprocess.CompletedProcess[bytes]:
        result = subprocess.run(
            [python, "-I", "-S", str(self.archive), *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=self.environment,
        )
        assert b"Traceback" not in result.stderr, result.stderr.decode()
        return result

    def output(self, *arguments: str, **more: Any) -> bytes:
        """Returns what a command that must succeed prints."""
        result = self.run(*arguments, **more)
        assert 0 == result.returncode, (result.stdout, result.stderr)
        return result.stdout

    def error(self, status: int, *arguments: str, **more: Any) -> dict[str, Any]:
        """Returns the JSON error of a command that must end with `status`."""
        result = self.run("--json-errors", *arguments, **more)
        assert status == result.returncode, (result.stdout, result.stderr)
        document = json.loads(result.stdout)
        assert isinstance(document, dict) and document["message"]
        return document


@pytest.fixture
def command(archive: Path, tmp_path: Path) -> Command:
    return Command(archive, tmp_path)


def _sources(directory: Path, word: str) -> Path:
    library = shell_derivation("library", f"echo {word} > $out")
    app = shell_derivation(
        "app", "echo ${library} $out > $out; echo > $doc", 'outputs = ["out" "doc"];'
    )
    return write_tree(
        directory / "sources",
        {"a.nix": f"{{ system }}: let library = {library}; in {{ app = {app}; }}"},
    )


def _recipe(*names: str) -> LayerRecipe:
    (recipe,) = split_recipes(Contents(ClosureGraph(info(name) for name in names)), max_layers=1)
    return recipe


def test_from_sources_to_a_layer(command: Command, tmp_path: Path) -> None:
    """tools → evaluate → realise → closure → digest: each reads what the one before wrote."""
    root = _sources(tmp_path, unique_word())
    tools = tmp_path / "tools" / "tools.json"
    command.output("tools", "--environment-name", "NIX_CONFIG", str(tmp_path / "tools"))
    # From here on, everything a step needs of the machine is in that directory.
    command.environment = {}
    step = ("--tools", str(tools))
    python = str(tmp_path / "tools" / "python3")

    where = ("--root", str(root), "--source", "a.nix", "--attr", "app")
    command.output(*step, "evaluate", *where, "--output", "drv.json", python=python)
    derivation = Derivation.from_json((tmp_path / "drv.json").read_bytes())
    app = dict(derivation.outputs)["out"]
    assert (app,) == nix(tmp_path).invalid([app])

    printed = command.output(*step, "realise", "--derivation", "drv.json", python=python)
    assert f"{app}\n".encode() == printed

    command.output(*step, "closure", app, "--output", "closure.json", python=python)
    graph = ClosureGraph.from_json((tmp_path / "closure.json").read_bytes())
    assert ["app", "library"] == sorted(path.name for path in graph)
    assert nix(tmp_path).closure([app]) == graph

    (recipe,) = split_recipes(Contents(graph), max_layers=1)
    (tmp_path / "recipe.json").write_bytes(recipe.to_json())
    printed = command.output(*step, "digest", "recipe.json", python=python)
    assert digest_layer(recipe) == Layer.from_json(printed)

    assert Path(app).read_bytes() + b"\n" == command.output(*step, "read-file", app, python=python)


def test_closure_to_a_database(command: Command, tmp_path: Path) -> None:
    """The database has what `closure` printed."""
    (path,) = _add(tmp_path, "registered")
    graph = command.output("closure", path)
    (tmp_path / "graph.json").write_bytes(graph)
    command.output("database", "graph.json", "--output", "db.sqlite")
    (found,) = read_registrations(str(tmp_path / "db.sqlite"))
    known = ClosureGraph.from_json(graph)[found.path]
    assert (found.path, found.nar_hash, found.nar_size) == (path, known.nar_hash, known.nar_size)


def test_realise_evaluates_again(command: Command, tmp_path: Path) -> None:
    """With the sources given, a derivation that is gone from the store is made again."""
    root = _sources(tmp_path, unique_word())
    where = ("--root", str(root), "--source", "a.nix", "--attr", "app")
    command.output("evaluate", *where, "--output", "drv.json")
    derivation = Derivation.from_json((tmp_path / "drv.json").read_bytes())
    assert derivation.drv_path is not None
    delete(nix(tmp_path), derivation.drv_path)
    found = command.error(1, "realise", "--derivation", "drv.json")
    assert "BuildFailedError" == found["error"]
    printed = command.output("realise", *where, "--derivation", "drv.json", "doc", "out").decode()
    by_name = dict(derivation.outputs)
    assert [by_name["doc"], by_name["out"]] == printed.split()


def test_standard_input_and_output(command: Command, tmp_path: Path) -> None:
    """A dash is standard input; without `--output` the result goes to standard output."""
    (tmp_path / "file").write_text("text")
    added = command.output("closure", *_add(tmp_path, "file"))
    (recipe,) = split_recipes(Contents(ClosureGraph.from_json(added)), max_layers=1)
    command.output("digest", "-", "--output", "layer.json", stdin=recipe.to_json())
    assert digest_layer(recipe) == Layer.from_json((tmp_path / "layer.json").read_bytes())


def test_a_path_that_is_not_valid(command: Command, tmp_path: Path) -> None:
    """The reserved exit status, and the paths to realise in the JSON error."""
    missing = store_path(f"never-{unique_word()}")
    found = command.error(NOT_VALID, "closure", missing)
    assert ("InvalidPathError", [missing]) == (found["error"], found["paths"])
    names = [f"never-{unique_word()}" for _ in range(2)]
    recipe = _recipe(*names)
    found = command.error(NOT_VALID, "digest", "-", stdin=recipe.to_json())
    assert sorted(recipe.paths) == found["paths"]
    found = command.error(NOT_VALID, "read-file", missing)
    assert [missing] == found["paths"]


@pytest.mark.parametrize("tools", [None, "nosuch/tools.json"])
def test_no_nix(command: Command, tmp_path: Path, tools: Optional[str]) -> None:
    """The reserved exit status, whether Nix is looked for in PATH or where it once was."""
    command.environment["PATH"] = "/nowhere"
    options = ["--tools", tools] if tools else []
    found = command.error(NO_NIX, *options, "closure", store_path("a"))
    assert "NixNotFoundError" == found["error"] and "Install Nix" in found["message"]
    if tools is None:
        assert "NixNotFoundError" == command.error(NO_NIX, "tools", "t")["error"]


def test_a_nix_that_is_too_old(command: Command, tmp_path: Path) -> None:
    """`tools` refuses it before any step fails in a way that is harder to read."""
    directory = program(tmp_path / "old", "nix", "echo 'nix (Nix) 2.3.16'")
    command.environment["PATH"] = str(directory)
    found = command.error(1, "tools", "t")
    assert ("NixTooOldError", "2.3.16") == (found["error"], found["version"])


def test_an_error_for_people(command: Command) -> None:
    """Without `--json-errors` standard output stays empty and standard error has the sentence."""
    result = command.run("closure", "/etc/passwd")
    assert (1, b"") == (result.returncode, result.stdout)
    assert b"nixoci: store path '/etc/passwd' is not valid" in result.stderr
    result = command.run("closure", store_path(f"never-{unique_word()}"))
    assert (NOT_VALID, b"") == (result.returncode, result.stdout)
    assert b"nixoci: Not valid in this Nix store" in result.stderr


def test_an_evaluation_error_has_its_facts(command: Command, tmp_path: Path) -> None:
    """Which attribute of which source, and the file that is not among the sources."""
    text = 'x: { bad = throw "why"; hidden = import ./hidden.nix; }'
    write_tree(tmp_path / "s", {"a.nix": text.replace("x:", "{ system }:")})
    where = ("evaluate", "--root", "s", "--source", "a.nix", "--attr")
    found = command.error(1, *where, "bad")
    assert ("EvaluationError", "a.nix", "bad") == (found["error"], found["source"], found["attr"])
    assert "why" in found["message"]
    found = command.error(1, *where, "hidden")
    assert ("UndeclaredSourceError", "hidden.nix") == (found["error"], found["path"])
    assert "NoSuchAttributeError" == command.error(1, *where, "nosuch")["error"]
    found = command.error(1, "evaluate", "--root", "s", "--source", "a.nix", "--attr=-x")
    assert "InvalidInputError" == found["error"]


@pytest.mark.parametrize("name", ["realise", "digest"])
@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"version": 99}'])
def test_hostile_input(command: Command, tmp_path: Path, name: str, data: bytes) -> None:
    """A file that no step wrote is an error like any other."""
    (tmp_path / "in.json").write_bytes(data)
    arguments = ["--derivation", "in.json"] if name == "realise" else ["in.json"]
    assert "InvalidInputError" == command.error(1, name, *arguments)["error"]


def test_an_output_that_there_is_not(command: Command, tmp_path: Path) -> None:
    """A name that the derivation does not have is the user's mistake, and shown as one."""
    derivation = Derivation(None, (("out", store_path("a")),), "out")
    (tmp_path / "drv.json").write_bytes(derivation.to_json())
    found = command.error(1, "realise", "--derivation", "drv.json", "nosuch")
    assert ("InvalidInputError", "nosuch") == (found["error"], found["value"])


def test_files_that_cannot_be_read_or_written(command: Command, tmp_path: Path) -> None:
    """The error names the file and says what the system says."""
    found = command.error(1, "digest", "nosuch.json")
    assert "Cannot read nosuch.json: No such file or directory." == found["message"]
    found = command.error(1, "realise", "--derivation", str(tmp_path))
    assert f"Cannot read {tmp_path}: Is a directory." == found["message"]
    found = command.error(1, "closure", *_add(tmp_path, "file"), "--output", "no/such")
    assert "no/such cannot be written: No such file or directory." == found["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["closure"],
        ["digest"],
        ["evaluate"],
        ["realise"],
        ["tools"],
        ["python-interpreter", "/nix/store/x"],
        ["python-distributions", "tree"],
        ["python-bytecode", "python3", "tree"],
        ["closure", "--out", "x", "y"],
        ["write", "x", "--format", "zip", "--output", "y"],
    ],
)
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    """Status 2 and the usage; options are not abbreviated."""
    result = command.run(*arguments)
    assert (2, b"") == (result.returncode, result.stdout)
    assert result.stderr.startswith(b"usage: nixoci")


def test_help_names_every_command(command: Command) -> None:
    """Each command has a sentence, and help of its own."""
    text = command.output("--help").decode()
    for name in (
        *("evaluate", "realise", "closure", "digest", "read-file", "tools", "write"),
        *("python-interpreter", "python-distributions", "python-bytecode"),
    ):
        assert f"\n    {name}" in text
        assert f"usage: nixoci {name} ".encode() in command.output(name, "--help")


def test_a_reader_that_goes_away_is_no_crash(command: Command, tmp_path: Path) -> None:
    """Output into a closed pipe ends with a plain status, without a traceback."""
    (path,) = _add(tmp_path, "file")
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-I", "-S", str(command.archive), "closure", path],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=command.environment,
    )
    os.close(writer)
    assert result.returncode
    assert b"Traceback" not in result.stderr


def test_it_runs_as_a_module_too(tmp_path: Path) -> None:
    """`python -m nixoci` is the same command."""
    result = subprocess.run(
        [sys.executable, "-m", "nixoci", "closure", "/etc"],
        stderr=subprocess.PIPE,
        env={**environment(tmp_path), "PYTHONPATH": str(Path(nixoci.__file__).parent.parent)},
    )
    assert (1, True) == (result.returncode, result.stderr.startswith(b"nixoci: store path"))


def _add(directory: Path, name: str) -> tuple[str]:
    """Adds a file to the store and returns its path."""
    (directory / name).write_text("text")
    output = nix(directory).run(("nix-store", "--add", str(directory / name)))
    return (output.decode().strip(),)


def test_reading_elf_files_needs_a_package(command: Command, tmp_path: Path) -> None:
    """Without it the error says what to install; with it, given as Pants does, there are facts."""
    contents = tmp_path / "contents"
    write_tree(contents, {"text": "text", "empty": ""})
    assert json.loads(command.output("elf-facts", "contents")) == {}
    (contents / "program").write_bytes(elf_bytes(needed=("libx.so",), interpreter="/lib/ld.so"))
    result = command.run("--json-errors", "elf-facts", "contents")
    document = json.loads(result.stdout)
    assert (1, "ElfReaderError") == (result.returncode, document["error"])
    assert "pip install pyelftools" in document["message"]

    spec = find_spec("elftools")
    assert spec is not None and spec.origin is not None
    packages = os.path.dirname(os.path.dirname(spec.origin))
    command.output(
        *("tools", "tools", f"--packages-python={sys.executable}"),
        f"--packages-directory={packages}",
    )
    command.output("--tools=tools/tools.json", "elf-facts", "contents", "--output=facts.json")
    facts = facts_from_json((tmp_path / "facts.json").read_bytes())
    expected = ElfFacts("EM_X86_64", 64, "/lib/ld.so", needed=("libx.so",))
    assert facts == {"program": expected}
    assert b"Cannot list nosuch" in command.run("elf-facts", "nosuch").stderr
    (contents / "directory").mkdir()
    assert b"directory: Is a directory" in command.run("elf-facts", "contents").stderr


def test_libraries_of_a_store(command: Command, tmp_path: Path) -> None:
    """The store paths must be valid, and only they are read."""
    (path,) = _add(tmp_path, "library")
    hashes = {path: "sha256-"}
    request = {"store_paths": hashes, "programs": [path], "directories": [path]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    answer = json.loads(command.output("store-libraries", "request.json"))
    assert answer == {"directories": {path: []}, "programs": [{"loader": None, "path": path}]}
    gone = store_path("gone")
    (tmp_path / "request.json").write_text(json.dumps({"store_paths": {gone: "sha256-"}}))
    document = command.error(NOT_VALID, "store-libraries", "request.json")
    assert ("InvalidPathError", [gone]) == (document["error"], document["paths"])
    (tmp_path / "request.json").write_text(json.dumps({**request, "store_paths": {}}))
    assert b"none of the store paths" in command.run("store-libraries", "request.json").stderr


def _add_python(directory: Path) -> str:
    """Adds a program that starts the Python of this test to the store, and returns its path there."""
    program(directory / "python" / "bin", "python3", f'exec {sys.executable} "$@"')
    output = nix(directory).run(("nix-store", "--add", str(directory / "python")))
    return f"{output.decode().strip()}/bin/python3"


def test_a_python_says_what_it_is(command: Command, tmp_path: Path) -> None:
    """The first place that there is; a store path that is not valid has the status that realises it."""
    python = _add_python(tmp_path)
    spec = find_spec("packaging")
    assert spec is not None and spec.origin is not None
    library = f"--library={Path(spec.origin).parent.parent}"
    places = (f"{python}-missing", python)
    command.output("python-interpreter", library, "--output=found.json", *places)
    document = json.loads((tmp_path / "found.json").read_bytes())
    assert document["path"] == python and "py3-none-any" in document["platform"]["compatible_tags"]
    error = command.error(1, "python-interpreter", library, f"{python}-missing")
    assert ("InterpreterMissingError", [f"{python}-missing"]) == (error["error"], error["places"])
    error = command.error(1, "python-interpreter", "--library=.", python)
    assert ("InterpreterFailedError", python) == (error["error"], error["interpreter"])
    gone = f"{store_path('gone')}/bin/python3"
    assert "InvalidPathError" == command.error(NOT_VALID, "python-interpreter", library, gone)["error"]
    assert "InvalidInputError" == command.error(1, "python-interpreter", library, "/bin/true")["error"]


def test_modules_to_bytecode(command: Command, tmp_path: Path) -> None:
    """The source of the compiler comes out of the one file that is the core."""
    write_tree(tmp_path, {"tree/package/module.py": "", "tree/bin/script.py": ""})
    where = ("--place=/app", "--without=bin", "--directory=bytecode", _add_python(tmp_path))
    command.output("python-bytecode", *where, "tree")
    (found,) = (path for path in (tmp_path / "bytecode").rglob("*") if path.is_file())
    name = f"module.{sys.implementation.cache_tag}.pyc"
    assert found == tmp_path / "bytecode" / "package" / "__pycache__" / name
    gone = f"{store_path('gone')}/bin/python3"
    command.error(NOT_VALID, "python-bytecode", *where[:-1], gone, "tree")


def test_distributions_of_a_tree(command: Command, tmp_path: Path) -> None:
    """The document goes to standard output; a tree without anything is one."""
    write_tree(
        tmp_path,
        {"tree/bin/tool": "#!python\n", "tree/a-1.dist-info/METADATA": "Name: a\nVersion: 1\n\n"},
    )
    where = ("--place=/app", "--version=3.11", "--interpreter=/python", "--changed=changed")
    document = json.loads(command.output("python-distributions", *where, "tree"))
    assert document["scripts"] == {"tool": True}
    assert [one["name"] for one in document["distributions"]] == ["a"]
    assert (tmp_path / "changed" / "bin" / "tool").read_text() == "#!/app/bin/python3 -sE\n"
    (tmp_path / "empty").mkdir()
    document = json.loads(command.output("python-distributions", *where, "empty"))
    assert document == {"data": [], "distributions": [], "left_out": [], "scripts": {}}


def test_compressing_needs_the_compressor(command: Command, tmp_path: Path) -> None:
    """Without it the error says what to install; with it, given as Pants does, there is a layer."""
    graph = ClosureGraph.from_json(command.output("closure", *_add(tmp_path, "compressed")))
    ((path, known),) = graph.items()
    recipe = LayerRecipe((RecipeEntry(path, known.nar_hash, path),))
    (tmp_path / "recipe.json").write_bytes(recipe.to_json())
    arguments = ("digest", "recipe.json", "--compression=zstd", "--compression-level=5")
    result = command.run("--json-errors", *arguments)
    assert 1 == result.returncode
    document = json.loads(result.stdout)
    assert ("CompressorError", "zstandard 0.25.0 (zstd 1.5.7)") == (
        document["error"],
        document["wanted"],
    )
    assert "pip install zstandard==0.25.0" in document["message"]

    spec = find_spec("zstandard")
    assert spec is not None and spec.origin is not None
    packages = os.path.dirname(os.path.dirname(spec.origin))
    command.output(
        *("tools", "tools", f"--packages-python={sys.executable}"),
        f"--packages-directory={packages}",
    )
    layer = Layer.from_json(command.output("--tools=tools/tools.json", *arguments))
    assert Compression.create("zstd", 5) == layer.compression
    plain = Layer.from_json(command.output("digest", "recipe.json"))
    assert layer.uncompressed() == plain

    refused = command.run("--tools=tools/tools.json", *arguments, "--keep=kept")
    assert b"keep the layer first" in refused.stderr
    for wrong in ("--compression=lz4", "--compression-level=99", "--compressor=zstandard 1"):
        assert 1 == command.run("--tools=tools/tools.json", *arguments, wrong).returncode
    for words in (("--compression-level=5",), ("--compressor=x", "--compression=none")):
        idle = command.run("digest", "recipe.json", *words)
        assert idle.returncode == 1 and b"it goes with --compression=gzip" in idle.stderr
