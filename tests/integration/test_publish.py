"""`pants publish`: from the store to a real registry, counted by the registry's access log."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Iterator, Mapping
from urllib.request import Request, urlopen

import pytest

from tests.integration.support import engines
from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.process import run as run_program
from tests.integration.support.registry import PASSWORD, USER, Registry, registry

#: What a proxy asks for, in the address of one that nothing is sent to.
_PROXY_SECRET = "proxy-user:swordfish"

#: Twenty packages that nothing but `all` references; a layer for each, and one for `all`.
_PACKAGES = 20

_NIX = """\
{ system }:
let
  make = name: text: derivation {
    inherit name system text;
    builder = "/bin/sh";
    args = [ "-c" "echo \\"$text\\" > $out" ];
    allowSubstitutes = false;
  };
  words = import ./words.nix;
  parts = builtins.mapAttrs make words;
in
parts // { all = make "all" (toString (builtins.attrValues parts)); }
"""

_BUILD = """\
nix_sources(name="nix", sources=["*.nix"])
nix_package(name="all", source="default.nix", attr="all", dependencies=[":nix"])
nix_package(name="one", source="default.nix", attr="part01", dependencies=[":nix"])
nix_layer(name="layer", packages=[":all"], max_layers=20, layering="popularity")
nix_image(
    name="image",
    layers=[":layer"],
    repository="acme/image",
    image_tags={tags},
    labels={{"label": "{label}"}},
)
nix_image(name="sibling", layers=[":layer"], repository="acme/sibling", cmd=["sibling"])
nix_image(name="kept", layers=[":layer"], skip_push=True)
"""


def write(
    repository: Monorepo, *, changed: str = "", tags: tuple[str, ...] = ("latest",), label: str = ""
) -> None:
    names = [f"part{number:02}" for number in range(1, _PACKAGES)]
    words = "".join(f'{name} = "{name}{changed if name == "part07" else ""}"; ' for name in names)
    repository.write("app/words.nix", f"{{ {words}}}\n")
    repository.write("app/default.nix", _NIX)
    repository.write("app/BUILD", _BUILD.format(tags=list(tags), label=label))


def publish(
    repository: Monorepo,
    host: str,
    *targets: str,
    check: bool = True,
    environment: Mapping[str, str] = {},
    **entry: Any,
) -> PantsRun:
    """Publishes to the registry at `host`, which is the default one of the options.

    :param targets: and options; by default one image.
    :param entry: more of its keys in `[nix-images].registries`.
    """
    registries = {"test": {"address": host, "default": True, **entry}}
    return repository.pants(
        f"--nix-images-registries={registries}",
        "--publish-output=published.json",
        "package",
        "publish",
        *(targets or ("app:image",)),
        check=check,
        environment=environment,
    )


def published(repository: Monorepo) -> list[dict[str, Any]]:
    return json.loads((repository.root / "published.json").read_text())


def uploads(of: Registry) -> int:
    """Blobs that were uploaded, layers and configs."""
    return len([r for r in of.requests("PUT", "/blobs/uploads/") if r.status == 201])


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """That of most tests, with pantsd."""
    made = Monorepo.create(tmp_path_factory.mktemp("publish"), machine_nix)
    with made.with_daemon() as running:
        yield running


@pytest.fixture
def repository(monorepo: Monorepo) -> Monorepo:
    """The images of `app`, and nothing else."""
    monorepo.clear()
    write(monorepo)
    return monorepo


def test_only_what_the_registry_lacks_is_uploaded(
    repository: Monorepo, plain_registry: Registry
) -> None:
    """Twenty layers once; then nothing; then what a change touched; tags and siblings for free."""
    host = plain_registry.host
    first = publish(repository, host)
    assert uploads(plain_registry) == 21
    (data,) = published(repository)
    descriptor = repository.descriptor("app/image.image.json")
    assert data["digest"] == descriptor["digest"]
    assert (data["repository"], data["tags"]) == (f"{host}/acme/image", ["latest"])
    assert data["names"] == descriptor["references"] == [f"{host}/acme/image:latest"]
    assert data["published"] is True
    assert f"{host}/acme/image:latest published." in first.stderr
    assert f"{host}/acme/image:latest@{data['digest']}" in first.stdout

    before = len(plain_registry.requests())
    again = publish(repository, host)
    assert [(r.method, r.status) for r in plain_registry.requests()[before:]] == [("HEAD", 200)]
    assert f"skipped (app:image: the registry has it already, {data['digest']})" in again.stderr

    write(repository, changed="!")
    publish(repository, host)
    # The part, `all` that references it, and the config.
    assert uploads(plain_registry) == 21 + 3

    write(repository, changed="!", label="other", tags=("1", "2", "latest"))
    publish(repository, host)
    assert uploads(plain_registry) == 21 + 3 + 1
    assert len(published(repository)) == 1

    publish(repository, host, "app:sibling", "--nix-images-mount-from=['%s/acme/image']" % host)
    mounts = plain_registry.requests("POST", "/acme/sibling/.*mount=")
    # The config is another one, and is uploaded to where the registry then says.
    assert sorted(request.status for request in mounts) == [201] * 20 + [202]
    assert uploads(plain_registry) == 21 + 3 + 1 + 1


def test_only_layers_that_the_registry_lacks_are_realised(
    tmp_path: Path, machine_nix: Nix
) -> None:
    """With an empty store and a warm cache: nothing, then the paths of the one layer that is gone."""
    with registry(tmp_path / "registry") as running:
        builder = Monorepo.create(tmp_path, machine_nix.with_fresh_root(tmp_path / "a"))
        write(builder)
        publish(builder, running.host)
        nix = machine_nix.with_fresh_root(tmp_path / "b")
        worker = dataclasses.replace(builder, nix=nix)
        write(worker, label="other")
        publish(worker, running.host)
        assert uploads(running) == 21 + 1
        assert not list((tmp_path / "b").rglob("*-part*"))
        assert not list((tmp_path / "b").rglob("*-all"))

        descriptor = worker.descriptor("app/image.image.json")
        (layer,) = [
            layer
            for layer in descriptor["layers"]
            if any("-part07" in entry["path"] for entry in layer["recipe"]["entries"])
        ]
        delete_blob(running, "acme/image", layer["digest"])
        write(worker, label="another")
        publish(worker, running.host)
        assert uploads(running) == 21 + 1 + 2
        store = tmp_path / "b" / "store"
        realised = [p.name[33:] for p in store.iterdir() if p.suffix == "" and "-" in p.name]
        assert "part07" in realised
        assert not {"all", "part08"} & set(realised)
        run = worker.nix.run("nix-store", "--check-validity", layer["recipe"]["entries"][0]["path"])
        assert run == ""


def delete_blob(of: Registry, repository: str, digest: str) -> None:
    """Makes a registry forget a blob of a repository."""
    request = Request(f"http://{of.host}/v2/{repository}/blobs/{digest}", method="DELETE")
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def test_tags_of_branches_and_short_hashes(
    repository: Monorepo, plain_registry: Registry
) -> None:
    """A branch's slug is its tag, by default that of the field; the image is the same for all of them."""
    write(repository, tags=("{build_args.BRANCH:slug}", "{pants.hash:12}"))
    build = repository.root / "app/BUILD"
    defaults = 'extra_build_args=["BRANCH=main", "BRANCH"]'
    build.write_text(build.read_text().replace("image_tags", f"{defaults},\n    image_tags"))
    for branch, tag in ((None, "main"), ("feature/ABC_1", "feature-abc-1"), ("x" * 200, "x" * 128)):
        environment = {} if branch is None else {"BRANCH": branch}
        publish(repository, plain_registry.host, environment=environment)
        (data,) = published(repository)
        assert data["tags"] == [tag, data["digest"].partition(":")[2][:12]]
    assert uploads(plain_registry) == 21


def test_what_is_skipped_says_why(repository: Monorepo, plain_registry: Registry) -> None:
    """By the field of the image, and by the option of a registry; nothing is asked or sent."""
    host = plain_registry.host
    run = publish(repository, host, "app:image", "app:kept", skip_push=True)
    assert f"{host}/acme/image:latest skipped (by `skip_push` on registry @test)." in run.stderr
    assert f"{host}/kept:latest skipped (by `skip_push` on app:kept)." in run.stderr
    assert plain_registry.requests() == []
    assert [data["published"] for data in published(repository)] == [False, False]


def test_what_was_pushed_runs(
    monorepo: Monorepo, plain_registry: Registry, docker: engines.Docker, tmp_path: Path
) -> None:
    """skopeo, podman and docker get the image of the digest in dist/ and in what publish wrote."""
    monorepo.clear()
    write_busybox_image(monorepo, "app")
    publish(monorepo, plain_registry.host)
    (data,) = published(monorepo)
    digest = data["digest"]
    assert digest == monorepo.descriptor("app/image.image.json")["digest"]
    (name,) = data["names"]
    found = engines.skopeo("inspect", "--tls-verify=false", f"docker://{name}").stdout
    assert json.loads(found)["Digest"] == digest
    copy = tmp_path / "copy"
    engines.skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{copy}")
    manifest = (copy / "manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest

    pulled = f"docker://{data['repository']}@{digest}"
    run = engines.podman_run(pulled, ["echo from podman"], options=["--tls-verify=false"])
    assert run.stdout == "from podman\n"
    docker.run("pull", "--quiet", name)
    assert docker.run_image(name, "echo from docker").stdout == "from docker\n"
    digests = docker.run("image", "inspect", "--format", "{{json .RepoDigests}}", name).stdout
    assert json.loads(digests) == [f"{data['repository']}@{digest}"]


def test_credentials_are_used_and_never_written(
    machine_nix: Nix, secure_registry: Registry, tmp_path: Path
) -> None:
    """A registry with TLS and a password, which docker's configuration or a helper knows; another
    password in the address of a proxy. Neither they nor their encoding are in any log, cache, dist
    or file of pantsd."""
    repository = Monorepo.create(tmp_path, machine_nix)
    write(repository)
    login = {"DOCKER_CONFIG": str(secure_registry.write_docker_config(tmp_path / "docker").parent)}
    trust = {"ca_file": str(secure_registry.certificate)}
    proxy = {"HTTPS_PROXY": f"http://{_PROXY_SECRET}@192.0.2.1:1", "NO_PROXY": "127.0.0.1"}
    helper = {**proxy, **credential_helper(tmp_path)}
    host = secure_registry.host
    command = ("app:image", "-ldebug")
    runs = []
    with repository.with_daemon() as running:
        for environment, entry, expected in (
            ({}, trust, "docker login"),
            (login, {}, "certificate"),
        ):
            run = publish(running, host, *command, check=False, environment=environment, **entry)
            assert expected in run.stderr
            assert run.result.returncode
            runs.append(run)
        assert uploads(secure_registry) == 0
        for environment, options in (
            (helper, ("--nix-images-env-vars=['HELPER_SECRET']",)),
            ({**proxy, **login}, ()),
        ):
            runs.append(
                publish(running, host, *command, *options, environment=environment, **trust)
            )
    assert uploads(secure_registry) == 21
    logs = "".join(run.stdout + run.stderr for run in runs)
    # What would print a secret was there, and is in the log of pantsd as well.
    assert "Execute InteractiveProcess" in logs
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, encoded, _PROXY_SECRET):
        assert secret not in logs
        for directory in (repository.root, repository.cache, repository.home):
            found = run_program(["grep", "-rlaF", "--", secret, directory], check=False)
            assert (found.returncode, found.stdout) == (1, "")


def credential_helper(directory: Path) -> dict[str, str]:
    """Makes a credential helper, which gets the password from a variable of its own.

    Returns the environment in which it is used.
    """
    program = directory / "helper" / "docker-credential-tests"
    program.parent.mkdir()
    answer = f'{{"ServerURL": "", "Username": "{USER}", "Secret": "%s"}}'
    program.write_text(f"#!/bin/sh\ncat > /dev/null\nprintf '{answer}' \"$HELPER_SECRET\"\n")
    program.chmod(0o755)
    (program.parent / "config.json").write_text('{"credsStore": "tests"}')
    return {
        "DOCKER_CONFIG": str(program.parent),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HELPER_SECRET": PASSWORD,
    }
