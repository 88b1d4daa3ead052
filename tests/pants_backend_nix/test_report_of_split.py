"""`nix-layers` says of each layer what its split was made with: own sources, and all `change_rates`."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from pants.core import target_types
from pants.core.goals import package
from pants.core.target_types import FileTarget
from pants.core.util_rules import distdir
from pants.testutil.rule_runner import RuleRunner

from pants_backend_nix import register
from pants_backend_nix.goals.layers import NixLayers
from tests.integration.support.nix import machine_nix

_NIX = """
let make = name: attributes: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh";
  args = [ "-c" "echo ${name} $one $two $source > $out" ];
}); in rec {
  base = make "base" { };
  extra = make "extra" { };
  mid-a = make "mid-a" { one = base; two = extra; };
  mid-b = make "mid-b" { one = base; };
  own = make "own" { one = mid-a; two = mid-b; source = ./source.txt; };
  tool = make "tool" { one = base; };
}
"""

_NAMES = ("base", "extra", "mid-a", "mid-b", "own", "tool")

#: `own` is built from a file that is no Nix file; the others are not.
_BUILD = (
    'file(name="source", source="source.txt")\n'
    + "".join(
        f'nix_package(name="{name}", source="{file}", attr="{name}", dependencies=[{needed}])\n'
        for name in _NAMES
        for file, needed in [
            ("default.nix", '":source"') if name == "own" else ("others.nix", "")
        ]
    )
)

_GROUPS = 'layer_groups=[["mid-*"]], max_layers=6'


class Monorepo:
    def __init__(self) -> None:
        self.runner = RuleRunner(
            rules=[*register.rules(), *distdir.rules(), *package.rules(), *target_types.rules()],
            target_types=[*register.target_types(), FileTarget],
        )
        self.number = 0

    def report(self, build: str, *options: str, name: str = "it") -> dict[str, Any]:
        """Returns what is said of a target of a BUILD file."""
        self.number += 1
        directory = f"case{self.number}"
        others = _NIX.replace("source = ./source.txt;", "")
        files = {"BUILD": _BUILD + build, "default.nix": _NIX, "others.nix": others}
        files["source.txt"] = "source"
        self.runner.write_files({f"{directory}/{name}": text for name, text in files.items()})
        environment: dict[str, Any] = {**machine_nix().environment(), "HOME": os.environ["HOME"]}
        result = self.runner.run_goal_rule(
            NixLayers,
            global_args=options,
            args=("--output=json", f"{directory}:{name}"),
            env=environment,
        )
        (image,) = json.loads(result.stdout)["images"]
        return image


@pytest.fixture(scope="module")
def monorepo() -> Monorepo:
    return Monorepo()


def _shares(image: dict[str, Any]) -> dict[str, float]:
    """Returns by name of the store path in which part of all events it changes."""
    return {
        path["path"][44:]: path["share"] for layer in image["layers"] for path in layer["paths"]
    }


def _why(image: dict[str, Any]) -> str:
    """Returns why the paths of the group `mid-*` share a layer."""
    (layer,) = (
        layer
        for layer in image["layers"]
        if any(path["path"][44:] == "mid-a" for path in layer["paths"])
    )
    return layer["why"]


@pytest.mark.parametrize("kind", ["nix_image", "nix_layer"])
def test_first_party(monorepo: Monorepo, kind: str) -> None:
    """What is built of own sources has half of all events; `tool` has as many as anything else."""
    image = monorepo.report(f'{kind}(name="it", packages=[":own", ":tool"], {_GROUPS})')
    # Six others, with the source, at 1 and `own` at that of all seven.
    assert _shares(image)["tool"] == pytest.approx(2 / 13, abs=0.001)
    assert _shares(image)["own"] == pytest.approx(12 / 13, abs=0.001)


@pytest.mark.parametrize("kind", ["nix_image", "nix_layer"])
@pytest.mark.parametrize("where", ["field", "option", "both"])
def test_change_rates(monorepo: Monorepo, kind: str, where: str) -> None:
    """Shares and words are those of the rates; the first pattern that matches counts, fields first."""
    field = 'change_rates={"base": 9}, ' if where != "option" else ""
    option = {
        "field": (),
        "option": ("--nix-images-change-rates={'base': 9}",),
        "both": ("--nix-images-change-rates={'base': 1, 'extra': 1}",),
    }[where]
    text = f'{kind}(name="it", packages=[":mid-a", ":mid-b", ":own"], {field}{_GROUPS})'
    image = monorepo.report(text, *option)
    # `base` at 9, `extra`, `mid-*` and the source at 1, `own` at all of them with itself at 1.
    assert _shares(image)["base"] == pytest.approx(9 / 27, abs=0.001)
    assert _shares(image)["extra"] == pytest.approx(1 / 27, abs=0.001)
    assert _why(image) == "all change with base"


def test_words_without_rates(monorepo: Monorepo) -> None:
    """For comparison."""
    image = monorepo.report(f'nix_image(name="it", packages=[":own"], {_GROUPS})')
    assert _why(image) == "all change with base, and some with extra"


def test_rates_of_a_layer_below(monorepo: Monorepo) -> None:
    """Of a path those count with which its own target was split, and those of no other."""
    layer = f'nix_layer(name="layer", packages=[":mid-a", ":mid-b"], %s {_GROUPS})\n'
    text = 'nix_image(name="it", packages=[":own", ":tool"], layers=[":layer"], %s max_layers=5)\n'
    image = monorepo.report(layer % 'change_rates={"base": 9},' + text % 'change_rates={"tool": 4},')
    # `base` 9, `extra`, `mid-a`, `mid-b` and the source 1, `tool` 4, `own` 17 + 1.
    assert _shares(image)["base"] == pytest.approx(9 / 35, abs=0.001)
    assert _shares(image)["tool"] == pytest.approx(13 / 35, abs=0.001)
    assert _why(image).endswith("all change with base")
    # A pattern of the image says nothing of what is in the layer, and the other way round.
    image = monorepo.report(
        layer % 'change_rates={"base": 9, "tool": 50},'
        + text % 'change_rates={"base": 50, "*": 4},',
        "--nix-images-change-rates={'extra': 2}",
    )
    # `base` 9, `extra` 2, `mid-a` and `mid-b` 1, `own`, its source and `tool` 4.
    shares = _shares(image)
    assert shares["base"] == pytest.approx(9 / 25, abs=0.001)
    assert shares["extra"] == pytest.approx(2 / 25, abs=0.001)
    assert shares["mid-b"] == pytest.approx(10 / 25, abs=0.001)
    assert shares["tool"] == pytest.approx(13 / 25, abs=0.001)


def test_first_party_in_a_layer_below(monorepo: Monorepo) -> None:
    """It is known of the layer, also if the image names no such package."""
    image = monorepo.report(
        'nix_layer(name="layer", packages=[":own"])\n'
        'nix_image(name="it", packages=[":tool"], layers=[":layer"])'
    )
    assert _shares(image)["tool"] == pytest.approx(2 / 13, abs=0.001)


def test_a_layer_plan(monorepo: Monorepo) -> None:
    """Its rates count, and all own packages that its images have."""
    plan = (
        'nix_layer_plan(name="plan", images=[":it", ":other"], change_rates={"base": 9})\n'
        'nix_image(name="other", layer_plan=":plan", packages=[":own"])\n'
        'nix_image(name="it", layer_plan=":plan", packages=[":own", ":tool"], %s max_layers=4)\n'
    )
    image = monorepo.report(plan % "")
    # `base` 9, `extra`, `mid-a`, `mid-b`, `tool` and the source 1, `own` 14 + 1.
    assert _shares(image)["base"] == pytest.approx(9 / 29, abs=0.001)
    assert _shares(image)["tool"] == pytest.approx(10 / 29, abs=0.001)
    # Those of the image were not used.
    assert _shares(monorepo.report(plan % 'change_rates={"tool": 50},')) == _shares(image)
    image = monorepo.report(plan % "", "--nix-images-change-rates={'base': 1, 'extra': 3}")
    # `base` 9, `extra` 3, others 1, `own` 16 + 1.
    assert _shares(image)["extra"] == pytest.approx(3 / 33, abs=0.001)
