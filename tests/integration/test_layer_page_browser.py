"""The page of `pants nix-layers --output=html` in a real browser: seen, by keyboard, and hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Iterator

import pytest
from nixoci.report.page import layer_page
from nixoci.store.path import StorePath

from tests.integration.support.browser import Browser, browser
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.package_graph import materialize_package_graph
from tests.nixoci.report.report_support import built
from tests.nixoci.store.closure_support import graph

_BUILD = """\
nix_sources(name="nix", sources=["*.nix", "*.json"])
nix_package(name="app", source="default.nix", attr="app", dependencies=[":nix"])
nix_image(name="image", packages=[":app"], max_layers=20, nix_database=True)
"""

_LABEL = "return document.activeElement.getAttribute('aria-label')"

#: Contrast of each visible text to what is behind it (WCAG 2, 1.4.3), the least one first.
_CONTRAST = """
const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = numbers(getComputedStyle(node).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !node.checkVisibility() || node.matches("script, noscript, .tiny, .tiny *")) continue;
  const pair = [luminance(numbers(getComputedStyle(node).color)), luminance(behind(node))];
  const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  found.push([contrast, node.className + ": " + node.textContent.slice(0, 40)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> tuple[Path, Path]:
    """The page of an image, and that of what changed in it since."""
    directory = tmp_path_factory.mktemp("pages")
    repository = Monorepo.create(directory, machine_nix)
    materialize_package_graph(repository.root / "app")
    repository.write("app/BUILD", _BUILD)
    words = {"libssl3-3.0.20-1-deb12u2": "other"}
    with repository.with_daemon() as running:
        running.pants("package", "nix-layers", "--output=html", "app:image")
        shutil.copyfile(repository.root / "dist/app/image.image.json", directory / "old.json")
        materialize_package_graph(repository.root / "app", words=words)
        running.pants(
            "nix-layers",
            *("--output=html", f"--diff={directory / 'old.json'}", "--output-file=diff/page.html"),
            "app:image",
        )
    return repository.root / "dist/app/image.layers.html", repository.root / "diff/page.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(chromium: Browser, pages: tuple[Path, Path]) -> Browser:
    """A browser of the size of a laptop that shows the page of the image."""
    return show(chromium, pages[0])


def show(chromium: Browser, file: Path, width: int = 1366, height: int = 768) -> Browser:
    chromium.color_scheme("light")
    chromium.resize(width, height)
    chromium.open(file)
    return chromium


def data_of(file: Path) -> dict[str, Any]:
    """Reads the block of JSON in a page."""
    text = file.read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_the_page_is_quiet_and_whole(chromium: Browser, pages: tuple[Path, Path]) -> None:
    """No error, no request but for the file itself; a cell for every path, a node for every layer."""
    for file in pages:
        chromium.console()
        chromium.requested()
        show(chromium, file)
        assert chromium.console() == []
        assert chromium.requested() == [file.resolve().as_uri()]
        layers = data_of(file)["layers"]
        assert sum(len(layer["paths"]) for layer in layers) == 257
        assert chromium.run("return document.querySelectorAll('#map .cell').length") == 257
        assert chromium.run("return document.querySelectorAll('#map .layer').length") == len(layers)


def test_area_is_size(page: Browser, pages: tuple[Path, Path]) -> None:
    """Layers cover the map as they do the image, and no cell leaves its layer."""
    boxes = page.run(
        "return [...document.querySelectorAll('#map .layer')].map(node => {"
        " const box = node.getBoundingClientRect();"
        " return [node.item.facts.number, box.width * box.height]; })"
    )
    data = data_of(pages[0])
    whole = sum(area for _, area in boxes)
    sizes = {layer["number"]: layer["size"] for layer in data["layers"]}
    for number, area in boxes:
        assert area / whole == pytest.approx(sizes[number] / data["size"], rel=0.02, abs=1e-4)
    outside = page.run(
        "return [...document.querySelectorAll('#map .cell')].filter(node => {"
        " const box = node.getBoundingClientRect();"
        " const layer = node.closest('.layer').getBoundingClientRect();"
        " return box.left < layer.left - 1 || box.right > layer.right + 1"
        "  || box.top < layer.top - 1 || box.bottom > layer.bottom + 1; }).length"
    )
    assert outside == 0


def test_keys_reach_and_open_everything(page: Browser) -> None:
    """Tab enters the map at one place; arrows move, Enter opens, Escape goes back."""
    page.press("Tab")
    assert page.run("return document.activeElement.id") == "filter"
    page.press("Tab")
    first = page.run(_LABEL)
    assert first.startswith("Layer ") and "of updates" in first
    page.press("Right")
    second = page.run(_LABEL)
    assert second.startswith("Layer ") and second != first
    assert page.run("return document.querySelectorAll('.ring:not([hidden])').length") == 1
    page.press("Home", "Enter")
    opened = "return document.querySelectorAll('[aria-expanded=true]').length"
    assert page.run(opened) == 1
    cell = page.run(_LABEL)
    assert not cell.startswith("Layer ") and page.run("return document.activeElement.className")
    assert page.run("return document.getElementById('details').innerText").startswith(
        cell.partition(",")[0]
    )
    # Every cell of the layer, one after the other, then its head, which Enter closes.
    count = page.run("return document.querySelectorAll('.layer.open .cell').length")
    seen = {cell}
    for _ in range(count - 1):
        page.press("PageDown")
        seen.add(page.run(_LABEL))
    assert len(seen) == count
    page.press("Home")
    assert page.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    page.press("Enter")
    assert page.run(opened) == 0 and page.run(_LABEL) == first
    page.press("Enter", "Down", "Escape")
    assert page.run(opened) == 0 and page.run(_LABEL) == first
    page.press("Tab")
    assert page.run("return document.activeElement.closest('#map')") is None


def test_arrows_go_where_they_point(page: Browser) -> None:
    page.press("Tab", "Tab", "Home")
    middle = (
        "const box = document.activeElement.getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height / 2]"
    )
    start = page.run(middle)
    page.press("Right")
    right = page.run(middle)
    assert right[0] > start[0]
    page.press("Left")
    assert page.run(middle)[0] < right[0]


def test_every_layer_is_reached_by_arrows_alone(page: Browser) -> None:
    """From any layer, some way of arrows leads to any other: none is an island."""
    page.press("Tab", "Tab")
    reached = page.run(
        """
        const press = (node, key) => {
          node.focus();
          node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
          return document.activeElement;
        };
        const seen = new Set([document.activeElement]);
        const waiting = [...seen];
        while (waiting.length) {
          const node = waiting.pop();
          for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
            const next = press(node, key);
            if (!seen.has(next)) { seen.add(next); waiting.push(next); }
          }
        }
        return seen.size === document.querySelectorAll("#map .layer").length;
        """
    )
    assert reached


def test_clicks_do_what_keys_do(page: Browser) -> None:
    page.click("#map .layer .head")
    assert page.run("return document.querySelectorAll('.layer.open').length") == 1
    page.click("#back")
    assert page.run("return document.querySelectorAll('.layer.open').length") == 0
    page.click("#tables tbody button")
    assert page.run("return document.activeElement.className").startswith("layer")


def test_the_filter_finds(page: Browser) -> None:
    """What does not match fades; Enter goes to the largest match, Escape takes the filter away."""
    page.press("Tab", *"LIBSSL3")
    cells = "return [...document.querySelectorAll('.cell:not(.dim)')].map(n => n.item.title)"
    assert page.run(cells) == ["libssl3-3.0.20-1-deb12u2"]
    assert "1 of 257 paths" in page.run("return document.getElementById('found').textContent")
    page.press("Enter")
    assert page.run(_LABEL).startswith("libssl3-3.0.20")
    page.run("document.getElementById('filter').focus()")
    page.press("Escape")
    assert page.run("return document.querySelectorAll('.dim').length") == 0


def test_a_diff_is_marked(chromium: Browser, pages: tuple[Path, Path]) -> None:
    """New layers and changed paths have marks and words, not colours alone."""
    diff = data_of(pages[1])["diff"]
    show(chromium, pages[1])
    changed = chromium.run("return document.querySelectorAll('.cell.changed').length")
    assert changed == len([c for c in diff["changes"] if c["path"]]) > 10
    new = chromium.run(
        "return [...document.querySelectorAll('.layer.new')].map(n => n.getAttribute('aria-label'))"
    )
    assert len(new) == len(diff["new"]) and all(label.endswith(", new") for label in new)
    text = chromium.run("return document.body.innerText")
    assert "a push uploads" in text and "Why layers are pushed" in text
    assert "libssl3-3.0.20-1-deb12u2" in text


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_text_can_be_read(chromium: Browser, pages: tuple[Path, Path], scheme: str) -> None:
    """All text has the contrast of level AA, in the light and in the dark."""
    show(chromium, pages[1])
    chromium.color_scheme(scheme)
    found = chromium.run(_CONTRAST)
    assert len(found) > 100
    assert [text for contrast, text in found if contrast < 4.5] == []


@pytest.mark.parametrize("width,height", ((1366, 768), (1920, 1080), (700, 900), (360, 740)))
def test_it_fits_the_screen(
    chromium: Browser, pages: tuple[Path, Path], width: int, height: int
) -> None:
    """Nothing is cut off at the right; on a laptop the page does not scroll as a whole."""
    show(chromium, pages[1], width, height)
    root = "document.documentElement"
    assert chromium.run(f"return {root}.scrollWidth") <= width
    if width > 900:
        assert chromium.run(f"return {root}.scrollHeight") <= height
    area = "const box = document.getElementById('map').getBoundingClientRect();"
    assert chromium.run(f"{area} return box.width > 300 && box.height > 300")
    visible = "return [...document.querySelectorAll('.layer:not(.tiny) .head')].map(n => n.innerText)"
    assert any(text.strip() for text in chromium.run(visible))


def test_hostile_names_are_text(chromium: Browser, tmp_path: Path) -> None:
    """Whatever a name has, it is shown: no element, script or request comes of it."""
    evil = "</script><img src=x onerror=alert(1)><b>&amp;\u2028${1}'\""
    plain = built(graph({"app": "lib", "lib": ""}), "lib", "app").report
    # No store path can have such a name; the page does not rely on it.
    text = json.dumps(evil)
    layers = []
    for layer in plain.layers:
        paths = [change(path, path=StorePath(f"{path.path}{evil}")) for path in layer.paths]
        layers.append(change(layer, why=evil, target=evil, paths=tuple(paths)))
    file = tmp_path / "hostile.html"
    file.write_bytes(layer_page(change(plain, name=evil, layers=tuple(layers))))
    chromium.console()
    chromium.requested()
    show(chromium, file)
    chromium.press("Tab", "Tab", "Enter")
    assert chromium.run(f"return document.getElementById('name').textContent === {text}")
    assert evil in chromium.run("return document.activeElement.getAttribute('aria-label')")
    assert chromium.run("return document.querySelectorAll('img, b, script').length") == 2
    assert chromium.console() == []
    assert chromium.requested() == [file.resolve().as_uri()]


def change(value: Any, **fields: Any) -> Any:
    """Returns a frozen dataclass with other fields."""
    return type(value)(**{**vars(value), **fields})
