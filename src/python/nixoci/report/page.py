"""The layers of an image as one HTML page that needs nothing else: no network, no other file.

The parts are in `page/`: a frame, a style sheet and a script. The page's content security policy names
the hashes of these two, so a browser runs nothing else that may get into the page. All that comes from
an image (names of store paths, of targets) is in one block of JSON, in which no character can end it;
the script puts it into the page as text only.
"""

from __future__ import annotations

import pkgutil
from base64 import b64encode
from typing import Any, Optional

from nixoci.json_output import canonical_json
from nixoci.report.diff import ImageDiff
from nixoci.report.document import layer_document
from nixoci.report.report import ImageReport
from nixoci.sha256 import sha256

#: In HTML, `<` begins a tag and `&` a character reference; the two line ends are none in JSON and were
#: some in JavaScript.
_ESCAPES = {
    ord(character): f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")
}


def layer_page(report: ImageReport, diff: Optional[ImageDiff] = None) -> bytes:
    """Returns the page: UTF-8, the same for the same input.

    :raises InvalidInputError: a name is no text.
    """
    style, script = _part("layers.css"), _part("layers.js")
    values = {
        "policy": (
            f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        "style": style,
        "script": script,
        "data": embedded_json(page_data(report, diff)),
    }
    page = _part("layers.html")
    # In one pass: what is put in is not looked at again.
    head, *rest = page.split("{{")
    parts = [head]
    for piece in rest:
        name, _, text = piece.partition("}}")
        parts.extend((values[name], text))
    return "".join(parts).encode()


def page_data(report: ImageReport, diff: Optional[ImageDiff] = None) -> dict[str, Any]:
    """Returns the document of the layers, and `references`: for each path of each layer, in order,
    the places of the paths that it references.
    """
    places: dict[str, int] = {}
    paths = [path for layer in report.layers for path in layer.paths]
    for place, path in enumerate(paths):
        places.setdefault(path.path, place)
    return {
        **layer_document(report, diff),
        "references": [
            [places[reference] for reference in path.references if reference in places]
            for path in paths
        ],
    }


def embedded_json(value: Any) -> str:
    """Returns JSON that can be in a `script` element."""
    return canonical_json("layers", value).decode().translate(_ESCAPES)


def _part(name: str) -> str:
    data = pkgutil.get_data("nixoci", f"report/page_parts/{name}")
    assert data is not None, "the package has its files"
    return data.decode()


def _source(text: str) -> str:
    """Returns the hash of an inline script or style, as a content security policy names it."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
