"""Image targets are targets as any other: help, peek, dependencies, changed-since."""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.tools import tool

_BUILD = """\
nix_sources(name="nix", sources=["lib.nix"])
nix_package(name="a", source="tiny.nix", attr="a", dependencies=[":nix"])
nix_package(name="c", source="tiny.nix", attr="c")
nix_package(name="config", source="tiny.nix", attr="several")
nix_layer(name="layer", packages=[":a"], ignore=[":c"])
nix_image(name="image", layers=[":layer"], copy_to_root=[":c"], config=":config")
nix_image(name="other", packages=[":c"])
"""

_PLAN = """\
nix_layer_plan(name="plan", images=[":one", ":two"])
nix_image(name="one", packages=["app:a"], layer_plan=":plan")
nix_image(name="two", packages=["app:c"], layer_plan=":plan")
"""

#: A file that two of three packages use, through three imports.
_INFERRED = {
    "BUILD": """\
nix_sources(name="nix")
nix_package(name="p", source="p.nix")
nix_package(name="q", source="q.nix")
nix_package(name="r", source="r.nix")
nix_image(name="image", packages=[":q"], entrypoint=["{p}/bin/p"])
nix_image(name="other", packages=[":r"])
""",
    "p.nix": "import ./one.nix",
    "q.nix": "import ./two.nix { }",
    "r.nix": "import ./idle.nix",
    "one.nix": "import ./two.nix",
    "two.nix": "args: (import ./three.nix).x",
    "three.nix": "{ x = 1; }",
    "idle.nix": "{ }",
    "unused.nix": "{ }",
}

#: Where a field has a parametrized target, and it is not said which one of its variants is meant.
_VAGUE = """\
SYSTEMS = ("x86_64-linux", "aarch64-linux")
nix_package(name="package", source="package.nix", system=parametrize(*SYSTEMS))
nix_layer(name="layer", packages=[":package"], system=parametrize(*SYSTEMS))
nix_image(name="for-arm", packages=[":package"], layers=[":layer"], system="aarch64-linux")
nix_image(name="for-each", packages=[":package"], layers=[":layer"], system=parametrize(*SYSTEMS))
nix_image(name="vague", packages=[":package"], copy_to_root=[":package"], layers=[":layer"])
nix_image(name="other", ignore=[":package"], config=":package", ca_certificates=[":package"])
nix_layer(name="contents", contents={":package": "/srv/"})
nix_layer_plan(name="plan", images=[":planned", ":for-each"], system=parametrize(*SYSTEMS))
nix_image(name="planned", packages=[":package"], layer_plan=":plan")
"""

_PACKAGE = """\
{ system }:
derivation {
  name = "package-${system}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ];
} // { stdenv.hostPlatform.system = system; }
"""


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """A monorepo in git, everything committed, with pantsd."""
    repository = Monorepo.create(tmp_path_factory.mktemp("goals"), machine_nix)
    materialize_tiny_closure(repository.root / "app")
    repository.write("app/lib.nix", "{ }\n")
    repository.write("app/BUILD", _BUILD)
    repository.write("planned/BUILD", _PLAN)
    for name, text in _INFERRED.items():
        repository.write(f"inferred/{name}", text)
    repository.write("vague/BUILD", _VAGUE)
    repository.write("vague/package.nix", _PACKAGE)
    git = [tool("git"), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        run([*git, *command], cwd=repository.root)
    with repository.with_daemon() as running:
        yield running


@pytest.mark.parametrize(
    "topic,words",
    (
        (
            "nix_image",
            (
                *("An OCI image made of Nix store closures", "entrypoint", "copy_to_root"),
                *("docker load", "image_tags", "several cost one upload", "skip_push", "registries"),
            ),
        ),
        (
            "nix-images",
            (
                *("[nix-images]", "mount_from", "skip_tls_verify", "they are no option"),
                *("--nix-images-run-args", "The container is removed when it ends"),
            ),
        ),
        ("goals", ("publish", "run", "nix-layers")),
        (
            "nix-layers",
            (
                *("why these store paths share a layer", "an update is expected to push"),
                *("--nix-layers-diff", "opens in a browser", "NAME.layers.html"),
            ),
        ),
        ("nix-infer", ("[nix-infer]", "no-infer-dep", "unowned_dependency_behavior")),
        ("nix_package", ("flake.nix", "Nothing else is visible to it", "attr", "store_path")),
        ("nix_layer", ("max_layers", "1 to 125", "permissions", "layer_groups", "change_rates")),
        (
            "nix_image_index",
            ("under one name", "a remote builder, emulation", "sorted by platform", "oci-archive"),
        ),
        ("nix_layer_plan", ("One split into layers for several images", "images", "layer_plan")),
        ("nix", ("[nix]", "search_path", "system", "no cache key")),
    ),
)
def test_help_teaches(monorepo: Monorepo, topic: str, words: tuple[str, ...]) -> None:
    text = " ".join(monorepo.pants("help", topic).stdout.split())
    for word in words:
        assert word in text


def test_peek_shows_fields_and_all_dependencies(monorepo: Monorepo) -> None:
    """Packages, layers, copied packages and the config are dependencies."""
    (image,) = json.loads(monorepo.pants("peek", "app:image").stdout)
    assert image["target_type"] == "nix_image"
    assert image["layers"] == [":layer"]
    assert image["image_tags"] == ["latest"]
    assert image["registries"] == ["<all default registries>"]
    assert (image["repository"], image["skip_push"]) == (None, False)
    assert image["dependencies"] == ["app:c", "app:config", "app:layer"]


def test_transitive_dependencies(monorepo: Monorepo) -> None:
    found = monorepo.pants("dependencies", "--transitive", "app:image").stdout.split()
    assert sorted(found) == ["app/lib.nix:nix", "app:a", "app:c", "app:config", "app:layer"]


def test_a_plan_depends_on_what_its_images_depend_on(monorepo: Monorepo) -> None:
    """So a change that concerns one image concerns its siblings, whose layers may be others then."""
    found = monorepo.pants("dependencies", "planned:plan").stdout.split()
    assert found == ["app:a", "app:c"]
    found = monorepo.pants("dependencies", "planned:one").stdout.split()
    assert found == ["app:a", "planned:plan"]


def test_changed_since_lists_the_images_that_use_a_file(monorepo: Monorepo) -> None:
    """A changed Nix file that only evaluation of one package reads concerns the images that have the
    package, and by a plan those that share layers with them; `app:other` is not among them."""
    monorepo.write("app/lib.nix", "{ changed = true; }\n")
    run = monorepo.pants("--changed-since=HEAD", "--changed-dependents=transitive", "list")
    monorepo.write("app/lib.nix", "{ }\n")
    of_app = ["app/lib.nix:nix", "app:a", "app:image", "app:layer"]
    assert sorted(run.stdout.split()) == [*of_app, "planned:one", "planned:plan", "planned:two"]


@pytest.mark.parametrize(
    "file, concerned",
    [
        (
            "three.nix",
            {"one.nix:nix", "two.nix:nix", "p.nix:nix", "q.nix:nix", ":p", ":q", ":image"},
        ),
        ("idle.nix", {"r.nix:nix", ":r", ":other"}),
        ("unused.nix", set()),
    ],
)
def test_changed_since_goes_through_imports(
    monorepo: Monorepo, file: str, concerned: set[str]
) -> None:
    """Nothing is listed by hand; a file that nothing uses concerns nothing."""
    before = _INFERRED[file]
    monorepo.write(f"inferred/{file}", f"{before} # Changed.\n")
    run = monorepo.pants("--changed-since=HEAD", "--changed-dependents=transitive", "list")
    monorepo.write(f"inferred/{file}", before)
    expected = {f"{file}:nix", *concerned}
    assert set(run.stdout.split()) == {
        f"inferred{'' if one.startswith(':') else '/'}{one}" for one in expected
    }


def test_peek_shows_what_a_nix_file_needs(monorepo: Monorepo) -> None:
    peeked = json.loads(monorepo.pants("peek", "inferred:p", "inferred:image").stdout)
    dependencies = {target["address"]: target["dependencies"] for target in peeked}
    assert dependencies == {
        "inferred:p": ["inferred/one.nix:nix"],
        "inferred:image": ["inferred:p", "inferred:q"],
    }


_ARM, _PC = ("@system=aarch64-linux", "@system=x86_64-linux")


def test_goals_do_not_ask_which_variant_is_meant(monorepo: Monorepo) -> None:
    """They have all variants for dependencies where it is not said, and the one where it is."""
    listed = monorepo.pants("list", "::").stdout.split()
    assert {"vague:vague", f"vague:package{_ARM}", f"vague:for-each{_PC}"} <= set(listed)
    peeked = json.loads(monorepo.pants("peek", "::").stdout)
    dependencies = {target["address"]: target.get("dependencies") for target in peeked}
    assert dependencies["vague:for-arm"] == [f"vague:layer{_ARM}", f"vague:package{_ARM}"]
    assert dependencies[f"vague:for-each{_PC}"] == [f"vague:layer{_PC}", f"vague:package{_PC}"]
    both = [f"vague:package{_ARM}", f"vague:package{_PC}"]
    assert dependencies["vague:vague"] == [f"vague:layer{_ARM}", f"vague:layer{_PC}", *both]
    assert dependencies["vague:other"] == dependencies["vague:contents"] == both
    found = monorepo.pants("dependents", "--transitive", f"vague:package{_ARM}").stdout.split()
    assert sorted(found) == sorted(
        [
            *("vague:contents", "vague:for-arm", f"vague:for-each{_ARM}", f"vague:layer{_ARM}"),
            *("vague:other", f"vague:plan{_ARM}", f"vague:plan{_PC}", "vague:planned", "vague:vague"),
        ]
    )
    monorepo.pants("dependents", "::")
    monorepo.write("vague/package.nix", f"{_PACKAGE}# Changed.\n")
    run = monorepo.pants("--changed-since=HEAD", "--changed-dependents=transitive", "list")
    monorepo.write("vague/package.nix", _PACKAGE)
    assert {"vague:vague", "vague:for-arm", "vague:planned"} <= set(run.stdout.split())


def test_package_asks_which_variant_is_meant(monorepo: Monorepo) -> None:
    """The goal that needs to know it."""
    run = monorepo.pants("package", "vague:vague", check=False)
    assert "The field `layers` of vague:vague names ':layer', which is parametrized" in run.error
    assert f"* vague:layer{_ARM} * vague:layer{_PC}" in run.error
    monorepo.pants("package", "vague:for-arm", "vague:for-each")
    for name in ("for-arm", "for-each@system=aarch64-linux"):
        platform = monorepo.descriptor(f"vague/{name}.image.json")["platform"]
        assert platform["architecture"] == "arm64"
