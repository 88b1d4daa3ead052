"""Tests of `nixoci.later`, and that starting the core makes use of it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import nixoci
import pytest
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.tools import write_tools

from tests.nixoci.store.nix_support import environment, shell_derivation

SOURCES = Path(nixoci.__path__[0])


def _python(script: str) -> str:
    """What a fresh Python prints, without what `site` imports."""
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(SOURCES.parent)!r})\n{script}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_module_loads_when_it_is_used() -> None:
    """Whoever has imported it before, in whatever way; then it is the module itself that others import."""
    script = """
from nixoci.later import import_later
import_later("colorsys")
import colorsys
stands_for = colorsys
print(type(colorsys).__name__, "hls_to_rgb" in vars(colorsys))
print(colorsys.hls_to_rgb(0, 1.0, 0))
from colorsys import rgb_to_hls
import colorsys
print(colorsys is not stands_for, colorsys.rgb_to_hls is rgb_to_hls is stands_for.rgb_to_hls)
try:
    stands_for.bogus
except AttributeError as error:
    print(error)
"""
    assert _python(script).splitlines() == [
        "_Later False",
        "(1.0, 1.0, 1.0)",
        "True True",
        "module 'colorsys' has no attribute 'bogus'",
    ]


def test_what_is_imported_already_stays() -> None:
    """Others may have it."""
    script = "from nixoci.later import import_later; import keyword as k; import_later('keyword'); import keyword"
    assert _python(f"{script}; print(k is keyword, type(k).__name__)") == "True module\n"


def test_the_start_of_the_core_inspects_nothing() -> None:
    """`dataclasses` needs `inspect` for classes without docstrings, so all of ours have one."""
    bare = [
        f"{path.relative_to(SOURCES)}:{node.lineno} {node.name}"
        for path in sorted(SOURCES.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        and not ast.get_docstring(node)
    ]
    assert bare == []
    script = """
import os, runpy
sys.argv[1:] = ["push", os.devnull]
try:
    runpy.run_module("nixoci", run_name="__main__")
except SystemExit as end:
    print(end.code, "nixoci.registry.push" in sys.modules, "dis" in sys.modules, "hashlib" in sys.modules)
"""
    # From Python 3.13 on, `dataclasses` asks `inspect` for annotations.
    assert _python(script).splitlines()[-1] == f"1 True {sys.version_info >= (3, 13)} False"


#: What steps leave alone until they need it. All of it together takes as long as the rest of their start.
_LEFT_ALONE = ("hashlib", "lzma", "nixoci.store.messages.failure", "shutil", "tempfile", "typing")


@pytest.mark.parametrize(
    "words, more",
    (
        (("leave-answer", "--answers={}", "a" * 64, "{}/request"), ("_hashlib", "subprocess")),
        (("evaluate-many", "--root={}", "--source=default.nix", "{}/request"), ("_hashlib",)),
        (("realise-many", "{}/request"), ("_hashlib",)),
        (("closures", "{}/request"), ("_hashlib",)),
        (("digest", "{}/recipe"), ("nixoci.compression.formats",)),
    ),
    ids=lambda words: words[0] if words else "",
)
def test_steps_import_what_they_need(
    tmp_path: Path, words: tuple[str, ...], more: tuple[str, ...]
) -> None:
    """Each is a process of its own, and most take little longer than to start."""
    write_tools(str(tmp_path), environment(tmp_path))
    (tmp_path / "default.nix").write_text(f"{{ system }}: {{ one = {shell_derivation('one', 'exit 1')}; }}")
    request = {"attributes": {"one": {"key": "b" * 64, "outputs": []}}, "packages": [], "program": "x"}
    (tmp_path / "request").write_text("{}" if words[0] == "closures" else json.dumps(request))
    (tmp_path / "recipe").write_bytes(LayerRecipe(()).to_json())
    arguments = [f"--tools={tmp_path}/tools.json", *(word.format(tmp_path) for word in words)]
    script = f"""
sys.argv[1:] = {arguments!r}
from nixoci.__main__ import console
try:
    console()
except SystemExit as end:
    print()
    print(end.code, *sorted(set(sys.modules) & set({(*_LEFT_ALONE, *more)!r})))
"""
    assert _python(script).splitlines()[-1] == "0"


def test_only_who_hashes_loads_openssl() -> None:
    """The process that packs a large layer leaves all of it to the other one."""
    script = """
from nixoci.processes.overlapped_hash import OverlappedSha256
with OverlappedSha256() as hasher:
    view = hasher.buffer
    for _ in range(5):
        view = hasher.flush(view)
    print(bool(hasher.process), len(hasher.finish(view)), "_hashlib" in sys.modules)
"""
    assert _python(script) == "True 64 False\n"


def test_a_parser_asks_for_no_terminal_with_each_argument() -> None:
    """`argparse` imports `shutil` for the width of one, and with it what unpacks archives."""
    script = """
import os, runpy
sys.argv[1:] = ["split", os.devnull]
try:
    runpy.run_module("nixoci", run_name="__main__")
except SystemExit as end:
    print(end.code, "nixoci.cli.commands.sources" in sys.modules, "shutil" in sys.modules)
"""
    assert _python(script).splitlines()[-1] == "1 True False"
