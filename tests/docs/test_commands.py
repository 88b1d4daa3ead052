"""Commands in pages are those that Pants and `nixoci` take."""

from __future__ import annotations

import re
import shlex
from typing import Iterable, Iterator, Optional, Sequence

import pytest
import toml
from nixoci.cli.main import _split_arguments
from nixoci.cli.parser import make_parser

from tests.docs.pages import ROOT, Block, Page, pages
from tests.docs.plugin import fields, goals, options

_PANTS = ("pants", "./pants")
_NIXOCI = ("nixoci",)

#: What ends a command of a shell.
_ENDS = re.compile(r"[|;&()<>]+|\d>")


def _commands(block: Block) -> Iterator[Sequence[str]]:
    """Returns the words of each simple command of a block in a shell's language."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip()
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        yield from _simple_commands(line)


def _simple_commands(line: str) -> Iterator[Sequence[str]]:
    # What runs in another command's place is a command, too.
    for inner in re.findall(r"\$\(([^()]*)\)", line):
        yield from _simple_commands(inner)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        words = list(lexer)
    except ValueError:
        # A part of a longer construct.
        return
    for word in words:
        if _ENDS.fullmatch(word):
            yield _without_variables(command)
            command = []
        else:
            command.append(word)
    yield _without_variables(command)


def _without_variables(command: Sequence[str]) -> Sequence[str]:
    words = list(command)
    while words and re.match(r"\w+=", words[0]):
        words.pop(0)
    if words[:3] == ["python3", "-m", "nixoci"]:
        return ["nixoci", *words[3:]]
    return words


def _aliases() -> frozenset[str]:
    """Words of this repository's own `pants.toml` that stand for others."""
    return frozenset(toml.loads((ROOT / "pants.toml").read_text())["cli"]["alias"])


def _names_an_option(word: str, goals_before: Iterable[str]) -> bool:
    name = word[2:].partition("=")[0]
    for scope, known in options().items():
        # Options of a goal that was named before go without its name.
        prefixes = [f"{scope}-"] if scope else [""]
        if scope in goals_before:
            prefixes.append("")
        for prefix in prefixes:
            if not name.startswith(prefix) and not name.startswith(f"no-{prefix}"):
                continue
            bare = name[len(prefix) :] if name.startswith(prefix) else name[len(prefix) + 3 :]
            option = known.get(bare)
            if option and (option.is_flag or name.startswith(prefix)):
                return True
    return False


def _wrong_pants(words: Sequence[str]) -> Optional[str]:
    """Says what is wrong with a command of Pants, or None."""
    named: list[str] = []
    specs = False
    for word in words[1:]:
        if word == "--":
            break
        if word.startswith("--"):
            if not _names_an_option(word, named):
                return f"no option {word}"
        elif re.match(r"-(l|h)", word):
            continue
        elif named[:1] in (["help"], ["help-advanced"]):
            things = {*fields(), *options(), *goals(), "global", "targets", "goals"}
            if word not in things:
                return f"there is no help for {word}"
        elif not specs and word in goals():
            named.append(word)
        elif word in _aliases():
            continue
        elif re.search(r"[:/.$]", word) or re.fullmatch(r"[A-Z]+", word):
            specs = True
        else:
            return f"no goal {word}"
    return None


def _wrong_nixoci(words: Sequence[str], capfd: pytest.CaptureFixture[str]) -> Optional[str]:
    """Likewise of `nixoci`."""
    before, _ = _split_arguments(words[1:])
    if before == ["--help"]:
        return None
    try:
        make_parser().parse_args(before)
    except SystemExit:
        return capfd.readouterr().err.strip()
    return None


@pytest.mark.parametrize("of", pages(), ids=lambda of: of.name)
def test_commands(of: Page, capfd: pytest.CaptureFixture[str]) -> None:
    """Goals, options, arguments; in blocks as a whole."""
    wrong = []
    for block in of.blocks("console", "sh", "yaml"):
        for words in _commands(block):
            why = None
            if words[:1] and words[0] in _PANTS:
                why = _wrong_pants(words)
            elif words[:1] and words[0] in _NIXOCI:
                why = _wrong_nixoci(words, capfd)
            if why:
                wrong.append((block.where, why))
    assert wrong == []


@pytest.mark.parametrize("of", pages(), ids=lambda of: of.name)
def test_commands_in_sentences(of: Page, capfd: pytest.CaptureFixture[str]) -> None:
    """They need not be whole: arguments may be left out."""
    wrong = []
    for text in of.code:
        if not text.startswith(("pants ", "./pants ", "nixoci ")):
            continue
        for words in _simple_commands(text.replace("…", "").replace("...", "")):
            if words[:1] and words[0] in _PANTS:
                why = _wrong_pants(words)
            elif words[:1] and words[0] in _NIXOCI:
                why = _wrong_nixoci(words, capfd)
                if why and "required" in why:
                    why = None
            else:
                continue
            if why:
                wrong.append((text, why))
    assert wrong == []


def test_what_is_found_in_commands(capfd: pytest.CaptureFixture[str]) -> None:
    """The check can fail."""
    block = Block(
        "x",
        "console",
        "$ A=b ./pants --no-pantsd package \\\n  app:image | cat\noutput pants\n"
        "$ x=$(pants list ::) && nixoci --help\n",
    )
    found = [words for words in _commands(block) if words]
    assert found[:2] == [["./pants", "--no-pantsd", "package", "app:image"], ["cat"]]
    assert ["pants", "list", "::"] in found and ["nixoci", "--help"] in found
    for good in (
        "pants publish --output=a :: ",
        "pants --publish-output=a publish a:b",
        "pants --no-test-timeouts test ::",
        "pants run a:b -- --whatever",
        "pants help nix_image",
        "pants nix-layers --diff=a b:c",
    ):
        assert _wrong_pants(good.split()) is None, good
    for bad in (
        "pants pakage a:b",
        "pants package --output=a ::",
        "pants --nix-images-engines=a run a:b",
        "pants help nix_picture",
        "pants nix_layers a:b",
    ):
        assert _wrong_pants(bad.split()) is not None, bad
    for bad in ("nixoci pull a", "nixoci push --fast a.json", "nixoci write a.json --format zip"):
        assert _wrong_nixoci(bad.split(), capfd) is not None, bad
