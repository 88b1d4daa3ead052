"""docs/troubleshooting.md quotes messages as the sources have them."""

from __future__ import annotations

import ast
import functools
import re
from typing import Iterator

import pytest

from tests.docs.pages import ROOT, Block, page

_PAGE = "docs/troubleshooting.md"

#: Characters of a message without what is filled in, so that it is no other one.
_LEAST = 20


def _templates(node: ast.AST) -> Iterator[list[str]]:
    """Returns the texts in a syntax tree: the parts between which something is filled in."""
    if isinstance(node, ast.JoinedStr):
        parts = [""]
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts[-1] += str(value.value)
            else:
                parts.append("")
                yield from _templates(value)
        yield parts
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield [node.value]
    else:
        for child in ast.iter_child_nodes(node):
            yield from _templates(child)


@functools.lru_cache(maxsize=None)
def _messages() -> tuple[re.Pattern[str], ...]:
    """Returns a pattern for the beginning of each text in the sources, up to the first paragraph."""
    found = set()
    for file in sorted((ROOT / "src" / "python").rglob("*.py")):
        for parts in _templates(ast.parse(file.read_bytes())):
            text = "\0".join(parts).strip().partition("\n\n")[0]
            text = re.sub(r"\s+", " ", text)
            # A page may quote no more than the first sentence.
            ends = [match.end() for match in re.finditer(r"[.:](?= |$)", text)]
            for candidate in {text, *(text[:end] for end in ends[:4])}:
                if len(candidate.replace("\0", "")) >= _LEAST:
                    parts_of_it = map(re.escape, candidate.split("\0"))
                    found.add(".*?".join(parts_of_it))
    return tuple(re.compile(pattern) for pattern in sorted(found))


def _is_said(line: str) -> bool:
    return any(pattern.search(line) for pattern in _messages())


def _symptoms() -> list[Block]:
    return list(page(_PAGE).blocks("text"))


#: What engines, kernels and Pants say.
_OTHERS = ("No such file or directory", "Permission denied", "remote_cache_requests_uncached")


@pytest.mark.parametrize("symptom", _symptoms(), ids=lambda symptom: symptom.where)
def test_the_first_line_is_in_the_sources(symptom: Block) -> None:
    line = symptom.text.splitlines()[0]
    assert line in _OTHERS or _is_said(line)


def test_there_are_twenty() -> None:
    """Each in a section of its own, with a cause and a way out."""
    sections = re.split(r"^### ", page(_PAGE).text, flags=re.MULTILINE)[1:]
    assert len(sections) >= 20
    for section in sections:
        assert "**Cause.**" in section and "**Way out.**" in section, section.splitlines()[0]


def test_what_is_no_message() -> None:
    """The check can fail."""
    assert not _is_said("src/api:image: something else has gone wrong with it.")
