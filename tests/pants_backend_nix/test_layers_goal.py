"""`pants nix-layers`: what it refuses, and where it writes; tests/integration has real images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pants.core import target_types
from pants.core.goals import package
from pants.core.target_types import FileTarget
from pants.core.util_rules import distdir
from pants.engine.internals.scheduler import ExecutionError
from pants.testutil.rule_runner import GoalRuleResult, RuleRunner

from pants_backend_nix import register
from pants_backend_nix.goals.layers import NixLayers
from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.nix import machine_nix

_BUILD = """\
nix_source(name="nix", source="tiny.nix")
nix_package(name="a", source="tiny.nix", attr="a")
nix_layer(name="layer", packages=[":a"])
nix_image(name="image", layers=[":layer"], output_path="somewhere/else.json")
nix_image(name="other", packages=[":a"])
"""

#: Beside the others, as `app::` stands for all of those.
_FILES_BUILD = """\
file(name="text", source="text.txt")
nix_layer(name="layer", contents={":text": "/srv/below"})
nix_image(
    name="image",
    layers=[":layer"],
    contents={":text": "/srv/text"},
    directories=[{"path": "/tmp", "mode": "1777"}],
)
"""


@pytest.fixture(scope="module")
def runner() -> RuleRunner:
    made = RuleRunner(
        rules=[*register.rules(), *distdir.rules(), *package.rules(), *target_types.rules()],
        target_types=[*register.target_types(), FileTarget],
    )
    made.write_files({"files/BUILD": _FILES_BUILD, "files/text.txt": "old"})
    directory = Path(made.build_root) / "app"
    materialize_tiny_closure(directory)
    (directory / "BUILD").write_text(_BUILD)
    return made


def show(runner: RuleRunner, *arguments: str) -> GoalRuleResult:
    environment: dict[str, Any] = {**machine_nix().environment(), "HOME": os.environ["HOME"]}
    return runner.run_goal_rule(NixLayers, args=arguments, env=environment)


@pytest.mark.parametrize(
    "arguments,words",
    (
        (("app:nix",), ("none is among what you named", "--filter-target-type=nix_image list ::")),
        (("--diff=old.json", "app:image", "app:other"), ("app:image, app:other", "Name one image")),
        (("--diff=old.json", "app:layer"), ("compares one `nix_image`", "app:layer")),
        (("--diff=no.json", "app:image"), ("no.json cannot be read: No such file", "package`")),
        (("--diff=app/BUILD", "app:image"), ("app/BUILD is no descriptor", "NAME.image.json")),
        (
            ("--output=html", "--output-file=a.html", "app:image", "app:other"),
            ("the page of one target", "app:image, app:other"),
        ),
        (("--output-file=app", "app:image"), ("app cannot be written", "--nix-layers-output-file")),
    ),
)
def test_errors_say_what_to_do(
    runner: RuleRunner, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(ExecutionError) as caught:
        show(runner, *arguments)
    (error,) = caught.value.wrapped_exceptions
    for word in words:
        assert word in " ".join(str(error).split())


def test_a_document_goes_to_the_terminal(runner: RuleRunner) -> None:
    """Images and layers in the order of their addresses."""
    result = show(runner, "--output=json", "app::")
    images = json.loads(result.stdout)["images"]
    assert [image["name"] for image in images] == ["app:image", "app:layer", "app:other"]
    assert images[0]["layers"][0]["target"] == "app:layer"
    assert images[1]["digest"] is None and images[1]["layers"][0]["target"] is None


def test_pages_go_to_dist(runner: RuleRunner) -> None:
    """Each target has one, and none is where its descriptor belongs."""
    result = show(runner, "--output=html", "app::")
    assert result.stdout == ""
    dist = Path(runner.build_root) / "dist"
    written = sorted(str(path.relative_to(dist)) for path in dist.rglob("*") if path.is_file())
    assert written == [f"app/{name}.layers.html" for name in ("image", "layer", "other")]
    assert (dist / written[0]).read_bytes().startswith(b"<!doctype html>")


def test_layers_of_files(runner: RuleRunner) -> None:
    """Those of fields, of a layer target and of the image, as a table and as a document."""
    _, _, fields, below, own, *_ = show(runner, "files:image").stdout.splitlines()[1:]
    assert "/tmp" in fields and fields.endswith("made of fields")
    assert "/srv/below" in below
    assert below.endswith("the layer target files:layer: 1 file that Pants has")
    assert "/srv/text" in own and own.endswith("  1 file that Pants has")
    (image,) = json.loads(show(runner, "--output=json", "files:image").stdout)["images"]
    assert [layer["target"] for layer in image["layers"]] == [None, "files:layer", None]
    assert [[file["path"] for file in layer["files"]] for layer in image["layers"]] == [
        ["/tmp"],
        ["/srv", "/srv/below"],
        ["/srv", "/srv/text"],
    ]


def test_a_page_of_files(runner: RuleRunner) -> None:
    """It has what the document has."""
    show(runner, "--output=html", "files:image")
    page = (Path(runner.build_root) / "dist/files/image.layers.html").read_text()
    assert "/srv/below" in page


def test_a_push_of_files(runner: RuleRunner) -> None:
    """With the descriptor from before it says which file changed."""
    environment: dict[str, Any] = {**machine_nix().environment(), "HOME": os.environ["HOME"]}
    runner.run_goal_rule(package.Package, args=["files:image"], env=environment)
    old = "--diff=dist/files/image.image.json"
    assert "Nothing to push" in show(runner, old, "files:image").stdout
    runner.write_files({"files/text.txt": "new"})
    text = show(runner, old, "files:image").stdout
    assert "2 layers with" in text and "1 are there already, 2 of the old ones are gone" in text
    assert "1 of 2 changed: /srv/text" in text and "1 of 2 changed: /srv/below" in text
