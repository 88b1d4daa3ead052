"""The pages of the documentation, and what is in them: blocks, headings, links, words in code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

#: In a Pants sandbox too, since a BUILD file says that this module depends on the pages.
ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^ *```$", re.M | re.S)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)
_LINK = re.compile(r"\[[^\]]*\]\(\s*([^)\s]+)\s*\)")
_CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    :param where: page and line, for messages.
    :param language: as in the page, such as `console`; empty if it says none.
    :param text: without the indentation of the block.
    """

    where: str
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """:param name: relative to the root of the repository."""

    name: str
    text: str

    @property
    def directory(self) -> Path:
        return (ROOT / self.name).parent

    @property
    def prose(self) -> str:
        """The text without blocks of code; lines keep their numbers."""
        return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), self.text)

    def blocks(self, *languages: str) -> Iterator[Block]:
        """Returns the blocks in one of `languages`, in order."""
        for match in _FENCE.finditer(self.text):
            if match["language"] in languages:
                line = self.text.count("\n", 0, match.start()) + 1
                indent = len(match["indent"])
                lines = [text[indent:] for text in match["text"].splitlines()]
                yield Block(f"{self.name}:{line}", match["language"], "\n".join(lines) + "\n")

    @property
    def anchors(self) -> frozenset[str]:
        """What can follow `#` in a link to the page, as GitHub makes it of headings."""
        found: dict[str, int] = {}
        for heading in _HEADING.findall(self.prose):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
        return frozenset(
            slug if number == 0 else f"{slug}-{number}"
            for slug, last in found.items()
            for number in range(last + 1)
        )

    @property
    def links(self) -> tuple[str, ...]:
        """The targets of all links."""
        return tuple(_LINK.findall(self.prose))

    @property
    def code(self) -> tuple[str, ...]:
        """All words in backquotes, each on one line."""
        return tuple(" ".join(text.split()) for text in _CODE.findall(self.prose))


def page(name: str) -> Page:
    """Reads a page."""
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def pages() -> tuple[Page, ...]:
    """Returns all pages that users read."""
    patterns = ("*.md", "docs/**/*.md", "examples/*/README.md", "benchmarks/README.md")
    files = {file for pattern in patterns for file in ROOT.glob(pattern)}
    return tuple(page(file.relative_to(ROOT).as_posix()) for file in sorted(files))
