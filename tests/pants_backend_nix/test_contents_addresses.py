"""Which targets an entry of `contents` may name, and what other goals of Pants see of it."""

from __future__ import annotations

import json
import os
import tarfile
from typing import Any

import pytest
from pants.backend.project_info import register as project_info
from pants.backend.project_info.dependencies import Dependencies
from pants.backend.project_info.dependents import DependentsGoal
from pants.backend.project_info.peek import Peek
from pants.backend.shell import register as shell
from pants.core import register as core
from pants.core.goals.package import Package
from pants.engine.internals.scheduler import ExecutionError
from pants.testutil.rule_runner import RuleRunner

from pants_backend_nix import register

_BUILD = """
file(name="a", source="a.txt")
files(name="texts", sources=["*.txt"])
file(name="either", source=parametrize("a.txt", "b.txt"))
archive(name="archive", files=[":a"], format="tar")
shell_command(name="made", command="echo 1 > made.txt", output_files=["made.txt"])
"""


@pytest.fixture(scope="module")
def runner() -> RuleRunner:
    return RuleRunner(
        rules=[
            *register.rules(),
            *core.rules(),
            *shell.rules(),
            *project_info.rules(),
        ],
        target_types=[*register.target_types(), *core.target_types(), *shell.target_types()],
        objects={**core.build_file_aliases().objects, **register.build_file_aliases().objects},
    )


def run(runner: RuleRunner, goal: Any, build: str, *arguments: str) -> str:
    """Runs a goal on the directory `app` and returns what it prints."""
    files = {"BUILD": _BUILD + build, "a.txt": "a", "b.txt": "b"}
    runner.write_files({f"app/{name}": text for name, text in files.items()})
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    return runner.run_goal_rule(goal, args=arguments, env=environment).stdout


def leaves(runner: RuleRunner, build: str, name: str = "image") -> list[list[str]]:
    """Packages an image and returns the paths of the files in each layer."""
    run(runner, Package, build, f"app:{name}")
    place = os.path.join(runner.build_root, "dist/app", f"{name}.image.json")
    with open(place) as file:
        layers = json.load(file)["layers"]
    return [[e["path"] for e in layer["recipe"]["files"] if "sha256" in e] for layer in layers]


@pytest.mark.parametrize(
    "address, paths",
    [
        (":a", ["/x/a.txt"]),
        ("app:a", ["/x/a.txt"]),
        ("//app:a", ["/x/a.txt"]),
        (":texts", ["/x/a.txt", "/x/b.txt"]),
        ("app/b.txt:texts", ["/x/b.txt"]),
        ("//app/b.txt:texts", ["/x/b.txt"]),
        (":either@source=b.txt", ["/x/b.txt"]),
        (":made", ["/x/made.txt"]),
    ],
)
def test_addresses(runner: RuleRunner, address: str, paths: list[str]) -> None:
    """As in all fields of Pants: relative or whole, one file of a generator, one of the parametrized."""
    entry = f'nix_contents("{address}", to="/x/", strip_prefix="app")'
    build = f'nix_image(name="image", contents=[{entry}])'
    assert leaves(runner, build) == [paths]


def test_a_parametrized_target_without_a_parameter(runner: RuleRunner) -> None:
    """The error names the field, and the addresses to choose from."""
    with pytest.raises(ExecutionError) as caught:
        leaves(runner, 'nix_image(name="image", contents={":either": "/x/"})')
    (error,) = caught.value.wrapped_exceptions
    assert "The field `contents` of app:image names ':either'" in str(error)
    assert "app:either@source=b.txt" in str(error)


def test_a_parametrized_image(runner: RuleRunner) -> None:
    """Each has the contents of its own."""
    build = 'nix_image(name="image", contents=parametrize(one={":a": "/x"}, two={":archive": "/y"}))'
    assert leaves(runner, build, "image@contents=one") == [["/x"]]
    assert leaves(runner, build, "image@contents=two") == [["/y"]]


@pytest.mark.parametrize("output_format, warns", [("docker-archive", True), ("descriptor", False)])
def test_an_archive_of_an_image(
    runner: RuleRunner, caplog: pytest.LogCaptureFixture, output_format: str, warns: bool
) -> None:
    """It gets the descriptor alone, whatever else `package` writes."""
    build = f"""
nix_image(name="image", contents={{":a": "/x"}}, output_format="{output_format}")
archive(name="bundle", packages=[":image"], format="tar", output_path="bundle.tar")
archive(name="other", files=[":a"], format="tar")
"""
    run(runner, Package, build, "app:bundle")
    with tarfile.open(os.path.join(runner.build_root, "dist/bundle.tar")) as archive:
        assert archive.getnames() == ["app/image.image.json"]
    words = "app:bundle: the field `packages` names app:image, of which only the descriptor gets into"
    assert (words in caplog.text) == warns


_NAMED = """
nix_layer(name="layer", contents={":archive": "/a.tar"})
nix_image(
    name="image",
    contents=[nix_contents(":texts", to="/x/", owner="7", mode="0640"), nix_contents(":made", to="/y")],
    layers=[":layer"],
)
"""


def test_dependencies_and_dependents(runner: RuleRunner) -> None:
    """What is named is a dependency, files that a generator makes each."""
    assert run(runner, Dependencies, _NAMED, "app:image").splitlines() == [
        "app/a.txt:texts",
        "app/b.txt:texts",
        "app:layer",
        "app:made",
    ]
    found = run(runner, DependentsGoal, _NAMED, "--transitive", "app:a").splitlines()
    assert {"app:archive", "app:layer", "app:image"} <= set(found)
    assert {"app:image"} <= set(
        run(runner, DependentsGoal, _NAMED, "--transitive", "app/a.txt:texts").splitlines()
    )


@pytest.mark.parametrize("arguments", [(), ("--exclude-defaults",)])
def test_peek(runner: RuleRunner, arguments: tuple[str, ...]) -> None:
    """The entries are objects with the names of the arguments; a dictionary is shown so as well."""
    (image,) = json.loads(run(runner, Peek, _NAMED, *arguments, "app:image"))
    texts, made = image["contents"]
    assert texts.items() >= {"address": ":texts", "to": "/x/", "owner": "7", "mode": "0640"}.items()
    assert (made["address"], made["to"], made["owner"]) == (":made", "/y", None)
    assert "app:made" in image["dependencies"]
    (layer,) = json.loads(run(runner, Peek, _NAMED, *arguments, "app:layer"))
    assert layer["contents"][0]["address"] == ":archive"


def test_peek_of_the_other_fields(runner: RuleRunner) -> None:
    """As they are written."""
    build = (
        'nix_image(name="image", users=[{"name": "app", "uid": 1}], groups=[{"name": "g", "gid": 2}], '
        'directories=[{"path": "/d", "mode": "0700"}], symlinks={"/l": "x"})'
    )
    (image,) = json.loads(run(runner, Peek, build, "app:image"))
    assert image["users"] == [{"name": "app", "uid": 1}]
    assert image["groups"] == [{"name": "g", "gid": 2}]
    assert image["directories"] == [{"path": "/d", "mode": "0700"}]
    assert image["symlinks"] == {"/l": "x"}


_CONTENTS = 'contents={":a": "/a", ":texts": "/texts/", ":archive": "/a.tar", ":made": "/made/"}'


def test_what_is_not_there_does_not_count(runner: RuleRunner) -> None:
    """An image without store paths is one without their layer, and `max_layers` holds what is left."""
    assert leaves(runner, f'nix_image(name="image", {_CONTENTS}, max_layers=5)') == [
        ["/a"],
        ["/made/app/made.txt"],
        ["/texts/app/a.txt", "/texts/app/b.txt"],
        ["/a.tar"],
    ]


@pytest.mark.parametrize("turn", [list, reversed], ids=["one-way", "the-other"])
def test_a_dictionary_has_no_order(runner: RuleRunner, turn: Any) -> None:
    """Pants takes two dictionaries of other order for equal, so layers go by the places."""
    entries = ['":archive": "/a.tar"', '":a": "/z"', '":made": "/made/"']
    build = f'nix_image(name="image", contents={{{", ".join(turn(entries))}}}, max_layers=9)'
    assert leaves(runner, build) == [["/made/app/made.txt"], ["/z"], ["/a.tar"]]


@pytest.mark.parametrize("turn", [list, reversed], ids=["one-way", "the-other"])
def test_a_list_has_an_order(runner: RuleRunner, turn: Any) -> None:
    """Among what is copied; what Pants builds is above it in any order."""
    entries = ['(":archive", "/a.tar")', '(":a", "/z")', '(":made", "/made/")']
    calls = ", ".join(f"nix_contents{entry}" for entry in turn(entries))
    build = f'nix_image(name="image", contents=[{calls}], max_layers=9)'
    copied = list(turn([["/z"], ["/made/app/made.txt"]]))
    assert leaves(runner, build) == [*copied, ["/a.tar"]]


def test_a_layer_of_files_is_packaged_by_itself(runner: RuleRunner) -> None:
    """Its file has digests, and what is in it."""
    run(runner, Package, _NAMED, "app:layer")
    with open(os.path.join(runner.build_root, "dist/app/layer.layer.json")) as file:
        (layer,) = json.load(file)["layers"]
    assert layer["storePaths"] == []
    assert [entry["path"] for entry in layer["files"]] == ["/a.tar"]
    run(runner, Package, _NAMED, "app:image")
    with open(os.path.join(runner.build_root, "dist/app/image.image.json")) as file:
        assert layer["digest"] in [one["digest"] for one in json.load(file)["layers"]]


@pytest.mark.parametrize(
    "prefix, words",
    [
        ("app/a.txt", ["strip_prefix='app/a.txt'", "app/a.txt is not below"]),
        ("ap", ["strip_prefix='ap'", "app/a.txt is not below"]),
        ("../app", ["strip_prefix='../app'"]),
    ],
)
def test_a_prefix_is_a_whole_directory(runner: RuleRunner, prefix: str, words: list[str]) -> None:
    """Neither the beginning of a name nor a file: nothing would be left of that."""
    entry = f'nix_contents(":a", to="/x/", strip_prefix="{prefix}")'
    with pytest.raises(ExecutionError) as caught:
        leaves(runner, f'nix_image(name="image", contents=[{entry}])')
    (error,) = caught.value.wrapped_exceptions
    assert "The entry for ':a' in the field `contents` of app:image" in str(error)
    for word in [*words, "Correct or shorten it"]:
        assert word in str(error)


def test_an_empty_directory_is_contents(runner: RuleRunner) -> None:
    """It may be all that a command makes; it is 0755, and its owner is that of the entry."""
    build = """
shell_command(name="empty", command="mkdir out", tools=["mkdir"], output_directories=["out"])
nix_image(name="image", contents=[nix_contents(":empty", to="/x/", owner="7", strip_prefix="app")])
"""
    run(runner, Package, build, "app:image")
    with open(os.path.join(runner.build_root, "dist/app/image.image.json")) as file:
        (layer,) = json.load(file)["layers"]
    found = {e["path"]: (e["mode"], e.get("owner", {}).get("uid")) for e in layer["recipe"]["files"]}
    assert found == {"/x": ("0755", None), "/x/out": ("0755", 7)}
