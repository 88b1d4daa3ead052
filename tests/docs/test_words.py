"""Pages, help texts and messages are in plain English."""

from __future__ import annotations

import ast
import re
from typing import Iterator

from tests.docs.pages import ROOT, pages

#: Words that readers have to look up, and what is written instead.
_PLAIN = {
    r"albeit": "although",
    r"at all events": "in any case",
    r"betwixt": "between",
    r"for want of": "without, since there is no",
    r"forsooth": "",
    r"a good many": "many",
    r"hearken\w*": "listen",
    r"(un)?heed(s|ed|ing)?": "read, follow, take into account",
    r"hither(to)?": "here, so far",
    r"lest": "so that … not",
    r"mend(s|ed|ing)?": "fix",
    r"n[ao]ught": "nothing",
    r"of no account": "does not matter",
    r"shall": "must, is to",
    r"thence|whence|henceforth": "from there, from now on",
    r"thither|whither": "there, where",
    r"wherefore": "why",
    r"without a word": "silently",
}
_ANY = re.compile(rf"\b(?:{'|'.join(_PLAIN)})\b", re.IGNORECASE)

#: Names that others have given.
_NAMES = {"whence"}


def _texts() -> Iterator[tuple[str, str]]:
    for of in pages():
        yield of.name, of.text
    for file in sorted((ROOT / "src" / "python").rglob("*.py")):
        text = file.read_text()
        strings = [
            node.value
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        comments = re.findall(r"#.*", text)
        yield str(file.relative_to(ROOT)), "\n".join([*strings, *comments])


def test_words_are_plain() -> None:
    wrong = [
        (where, match[0])
        for where, text in _texts()
        for match in _ANY.finditer(" ".join(text.split()))
        if match[0].lower() not in _NAMES
    ]
    assert wrong == [], _PLAIN


def test_what_is_found_in_texts() -> None:
    """The check can fail."""
    assert _ANY.search("Mend the derivation") and _ANY.search("heeds") and _ANY.search("Thence it")
    assert not _ANY.search("recommend, the northern, amend, fewest, then")
