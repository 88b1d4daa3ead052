"""Tests of `nixoci.report.page` and `layer_document`, but for what only a browser can tell.

tests/integration/test_layer_page_browser.py has that.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.report.document import layer_document
from nixoci.report.page import embedded_json, layer_page, page_data

from tests.nixoci.report.report_support import Built, built, images
from tests.nixoci.store.closure_support import graph

OLD = built(graph({"app-1": "lib-1", "lib-1": ""}), "lib-1", "app-1")
NEW = built(graph({"app-2": "lib-1", "lib-1": ""}), "lib-1", "app-2")
DIFF = NEW.since(OLD)


class Elements(HTMLParser):
    """Collects elements, and the text of each script and style."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.texts.append((self.tags[-1][0], data))

    def data(self) -> dict[str, Any]:
        """Returns the block of JSON."""
        (first, _) = [text for tag, text in self.texts if tag == "script" and text.strip()]
        return json.loads(first)


def test_the_page_stands_alone() -> None:
    """No element asks for another file, and the policy forbids whatever might."""
    elements = Elements(layer_page(NEW.report, DIFF))
    for tag, attributes in elements.tags:
        assert tag not in ("link", "img", "iframe", "object", "form", "base")
        assert not {"src", "href", "style", "action"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    page = layer_page(NEW.report, DIFF).decode()
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|import\(|innerHTML|eval\(", page)


def test_the_policy_names_the_style_and_the_script() -> None:
    elements = Elements(layer_page(NEW.report))
    (policy,) = [a["content"] for tag, a in elements.tags if a.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    found = re.findall("(style|script)-src '(sha256-[^']+)'", policy)
    texts = [text for tag, text in elements.texts if tag in ("style", "script") and text.strip()]
    digests = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    # The second one is the block of JSON, which no browser runs.
    assert found == [("style", f"sha256-{digests[0]}"), ("script", f"sha256-{digests[2]}")]
    assert "unsafe" not in policy


def test_the_page_has_the_document() -> None:
    """Its data is what `--output=json` prints, and references by place."""
    data = Elements(layer_page(NEW.report, DIFF)).data()
    assert data.pop("references") == [[], [0]]
    assert data == json.loads(json.dumps(layer_document(NEW.report, DIFF)))
    assert data["diff"]["pushBytes"] == DIFF.push_bytes
    assert [layer["number"] for layer in data["diff"]["new"]] == [2]


def test_the_same_input_gives_the_same_page() -> None:
    assert layer_page(NEW.report, DIFF) == layer_page(NEW.report, DIFF)


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "{{script}}{{data}}",
    "\u2028\u2029\x00\x7f",
    '"&quot;\\u003c\'`${1}',
    "__proto__",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_leave_the_data(name: str) -> None:
    """Addresses of targets have few rules; the page has the same elements whatever they are."""
    hostile = replace(NEW.report, name=name)
    page, plain = layer_page(hostile), layer_page(NEW.report)
    assert Elements(page).tags == Elements(plain).tags
    assert Elements(page).data()["name"] == name


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_embedded_json_has_no_character_of_html(text: str) -> None:
    embedded = embedded_json({text: [text]})
    assert not set(embedded) & set("<>&\u2028\u2029")
    assert json.loads(embedded) == {text: [text]}


@given(images(), images())
def test_every_path_is_on_the_page_once(old: Built, new: Built) -> None:
    data = page_data(new.report, new.since(old))
    paths = [path["path"] for layer in data["layers"] for path in layer["paths"]]
    assert sorted(paths) == list(new.graph)
    for path, references in zip(paths, data["references"]):
        expected = {r for r in new.graph[path].references if r != path}
        assert {paths[place] for place in references} == expected
    assert sum(layer["size"] for layer in data["layers"]) == data["size"]
