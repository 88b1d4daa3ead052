"""Links between pages lead somewhere."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, Page, page, pages


@pytest.mark.parametrize("of", pages(), ids=lambda of: of.name)
def test_links_lead_somewhere(of: Page) -> None:
    """The file is there, and so is the heading."""
    wrong = []
    for link in of.links:
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (of.directory / path).resolve() if path else ROOT / of.name
        if not target.exists():
            wrong.append(link)
        elif anchor and anchor not in page(target.relative_to(ROOT).as_posix()).anchors:
            wrong.append(link)
    assert wrong == []


def test_every_page_is_reached_from_the_readme() -> None:
    """By links, perhaps over other pages."""
    reached, todo = set(), ["README.md"]
    while todo:
        name = todo.pop()
        if name in reached or not name.endswith(".md"):
            continue
        reached.add(name)
        of = page(name)
        paths = {link.partition("#")[0] for link in of.links if not link.startswith("http")}
        targets = {(of.directory / path).resolve() for path in paths if path}
        todo += [target.relative_to(ROOT).as_posix() for target in targets if target.is_file()]
        todo += [
            (target / "README.md").relative_to(ROOT).as_posix()
            for target in targets
            if (target / "README.md").is_file()
        ]
    assert {of.name for of in pages()} - reached == set()


def test_headings_have_the_anchors_of_github() -> None:
    text = "# The `pants run` goal\n```\n# no heading\n```\n## A: [b](c.md), d\n## A: b, d\n"
    assert Page("x.md", text).anchors == {"the-pants-run-goal", "a-b-d", "a-b-d-1"}
