"""Image targets are targets as any other: help, peek, dependencies, changed-since."""

from __future__ import annotations

import json

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


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Monorepo:
    """A monorepo in git, everything committed."""
    repository = Monorepo.create(tmp_path_factory.mktemp("goals"), machine_nix)
    materialize_tiny_closure(repository.root / "app")
    repository.write("app/lib.nix", "{ }\n")
    repository.write("app/BUILD", _BUILD)
    repository.write("planned/BUILD", _PLAN)
    git = [tool("git"), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        run([*git, *command], cwd=repository.root)
    return repository


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
        ("nix_package", ("flake.nix", "Nothing else is visible to it", "attr", "store_path")),
        ("nix_layer", ("max_layers", "1 to 125", "permissions", "layer_groups", "change_rates")),
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
