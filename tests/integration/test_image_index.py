"""`nix_image_index`: one name for two platforms, in dist, in a real registry, and in engines."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nixoci
import pytest
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST

from tests.integration.support import engines
from tests.integration.support.images import static_busybox
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import CONFIGURATION, Nix, configuration_directory
from tests.integration.support.process import CommandFailedError, run
from tests.integration.support.registry import Registry
from tests.integration.support.run_image import environment_of, options_of
from tests.integration.support.tools import tool

_NIX = """\
{ system }:
derivation {
  name = "shell-for-${system}";
  inherit system;
  program = builtins.path { path = ./busybox; name = "busybox-program"; };
  builder = "/bin/sh";
  args = [ "-ec" "/bin/mkdir $out && /bin/cp $program $out/sh && /bin/chmod +x $out/sh && echo ${system} > $out/system" ];
}
"""

_BUILD = """\
SYSTEMS = ("x86_64-linux", "aarch64-linux")
files(name="program", sources=["busybox"])
file(name="text", source="text.txt")
nix_package(
    name="shell",
    source="default.nix",
    system=parametrize(*SYSTEMS, riscv="riscv64-linux"),
    dependencies=[":program"],
)
nix_layer(name="shared", contents={":text": "/shared"})
nix_image(
    name="image",
    system=parametrize(*SYSTEMS),
    packages=[":shell"],
    layers=[":shared"],
    entrypoint=["{shell}/sh", "-c"],
    repository="acme/one-{name}",
    skip_push=%s,
)
nix_image(name="riscv", system="riscv64-linux", packages=[":shell"], layers=[":shared"])
nix_image_index(
    name="index",
    images=%s,
    repository="acme/{name}",
    image_tags=["{build_args.VERSION}", "{pants.hash:8}"],
    extra_build_args=["VERSION=1.0"],
    annotations={"org.opencontainers.image.version": "%s"},
    %s
)
nix_image_index(name="wide", images=[":image", ":riscv"], repository="acme/wide")
nix_image_index(name="elsewhere", images=[":riscv", ":image@system=aarch64-linux"])
"""


def _write(
    monorepo: Monorepo,
    images: str = '[":image"]',
    version: str = "1.0",
    fields: str = "",
    skip_push: bool = True,
) -> None:
    monorepo.write("app/default.nix", _NIX)
    monorepo.write("app/BUILD", _BUILD % (skip_push, images, version, fields))
    monorepo.write("app/text.txt", "shared by all platforms\n" * 1000)
    shutil.copyfile(static_busybox(), monorepo.root / "app" / "busybox")


@pytest.fixture(scope="module")
def emulating(machine_nix: Nix) -> Nix:
    """A Nix that takes this machine for one that runs programs for ARM as well."""
    text = f"{CONFIGURATION}extra-platforms = aarch64-linux\n"
    return dataclasses.replace(
        machine_nix, configuration_directory=configuration_directory(text)
    )


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, emulating: Nix) -> Iterator[Monorepo]:
    """That of all tests, in git, with pantsd."""
    made = Monorepo.create(tmp_path_factory.mktemp("index"), emulating)
    _write(made)
    git = [tool("git"), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        run([*git, *command], cwd=made.root)
    with made.with_daemon() as running:
        yield running


@pytest.fixture
def repository(monorepo: Monorepo) -> Monorepo:
    _write(monorepo)
    return monorepo


def _nixoci(*arguments: str | Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess:
    return run(
        [sys.executable, "-m", "nixoci", *arguments],
        env={**environment, "PYTHONPATH": str(Path(nixoci.__file__).parent.parent)},
        check=False,
    )


def _contents(repository: Monorepo) -> str:
    """Returns the option that says where the files of the images are."""
    directory = repository.root / "dist" / "contents"
    directory.mkdir(exist_ok=True)
    shutil.copyfile(repository.root / "app" / "text.txt", directory / "shared")
    return f"--contents={directory}"


def _publish(repository: Monorepo, host: str, *targets: str, together: bool = False) -> PantsRun:
    registries = {"test": {"address": host, "default": True}}
    return repository.pants(
        f"--nix-images-registries={registries}",
        f"--nix-images-tags-together={together}",
        "--publish-output=published.json",
        "publish",
        *(targets or ("app:index",)),
    )


def _published(repository: Monorepo) -> list[dict[str, Any]]:
    return json.loads((repository.root / "published.json").read_text())


def _get(host: str, path: str) -> bytes:
    """Returns what a registry has at an address; empty if there is nothing."""
    accept = f"{MEDIA_TYPE_INDEX}, {MEDIA_TYPE_MANIFEST}"
    try:
        with urlopen(Request(f"http://{host}/v2/{path}", headers={"Accept": accept}), timeout=10) as answer:
            return answer.read()
    except HTTPError as error:
        assert error.code == 404
        return b""


def _uploads(of: Registry) -> int:
    return len([r for r in of.requests("PUT", "/blobs/uploads/") if r.status == 201])


def test_package_and_other_goals(repository: Monorepo, tmp_path: Path) -> None:
    """A descriptor with the images in it, a line of result; skopeo and podman read the other formats."""
    packaged = repository.pants("package", "app:index", "app:image")
    document = repository.descriptor("app/index.index.json")
    expected = f"Digest {document['digest']}, 2 images: linux/amd64, linux/arm64"
    assert expected in packaged.stderr
    assert document["references"] == ["acme/index:1.0", f"acme/index:{document['digest'][7:15]}"]
    for system, image in zip(("x86_64-linux", "aarch64-linux"), document["images"]):
        alone = repository.descriptor(f"app/image@system={system}.image.json")
        assert {**alone, "references": []} == image
    (target,) = json.loads(repository.pants("peek", "app:index").stdout)
    assert target["target_type"] == "nix_image_index" and target["images"] == [":image"]
    assert target["dependencies"] == [
        *("app:image@system=aarch64-linux", "app:image@system=x86_64-linux"),
    ]
    shown = repository.pants("nix-layers", "--output=json", "app:index", "app:image").stdout
    names = [image["name"] for image in json.loads(shown)["images"]]
    assert sorted(names) == target["dependencies"]
    repository.write("app/text.txt", "changed")
    changed = repository.pants("--changed-since=HEAD", "--changed-dependents=transitive", "list")
    assert {"app:index", "app:wide"} <= set(changed.stdout.split())
    _write(repository, fields='output_format="oci-archive"')
    line = "Wrote dist/app/index.tar (oci-archive)"
    assert line in repository.pants("package", "app:index").stderr
    assert line not in repository.pants("package", "app:index").stderr
    archive = repository.root / "dist/app/index.tar"
    raw = engines.skopeo("inspect", "--raw", f"oci-archive:{archive}:1.0").stdout
    assert json.loads(raw) == document["index"]
    other = engines.skopeo(
        "inspect", "--override-arch=arm64", f"oci-archive:{archive}:1.0", "--format={{.Architecture}}"
    )
    assert other.stdout == "arm64\n"
    descriptor = repository.root / "dist/app/index.index.json"
    environment = repository.nix.environment()
    layout = tmp_path / "layout"
    written = _nixoci(
        *("write", descriptor, "--format=oci-layout", f"--output={layout}", _contents(repository)),
        environment=environment,
    )
    assert written.returncode == 0, written.stderr
    assert engines.podman_run(f"oci:{layout}:1.0", ["echo from a layout"]).stdout == "from a layout\n"
    refused = _nixoci("write", descriptor, "--format=docker-archive", "--output=x", environment=environment)
    assert refused.returncode == 1
    assert "one platform; take oci-archive, or the descriptor of one of the images" in refused.stderr
    assert _nixoci("verify", descriptor, environment=environment).returncode == 0


def test_publish(
    repository: Monorepo, plain_registry: Registry, docker: engines.Docker
) -> None:
    """What images share is sent once; images before the index, which alone has tags. Engines take their own."""
    host = plain_registry.host
    run = _publish(repository, host, "app:index", "app:image")
    # The layer that both have; a layer and a config for each.
    assert _uploads(plain_registry) == 5
    (data,) = [entry for entry in _published(repository) if entry["target"] == "app:index"]
    digests = [image["digest"] for image in data["images"]]
    assert [image["platform"] for image in data["images"]] == ["linux/amd64", "linux/arm64"]
    assert data["tags"] == ["1.0", data["digest"][7:15]]
    manifests = plain_registry.requests("PUT", "/manifests/")
    names = [*digests, "1.0", data["digest"][7:15]]
    assert [request.path for request in manifests] == [f"/v2/acme/index/manifests/{n}" for n in names]
    assert f"app:index: {host}/acme/index:1.0@{data['digest']} written: 5 blobs uploaded" in run.stdout
    assert f"✓ {host}/acme/index:1.0 published." in run.stderr
    assert f"{host}/acme/one-image:latest skipped (by `skip_push` on app:image@system=" in run.stderr
    assert sorted(json.loads(_get(host, "acme/index/tags/list"))["tags"]) == sorted(data["tags"])
    content = _get(host, "acme/index/manifests/1.0")
    assert json.loads(content)["annotations"] == {"org.opencontainers.image.version": "1.0"}

    before = len(plain_registry.requests())
    again = _publish(repository, host)
    assert {(r.method, r.status) for r in plain_registry.requests()[before:]} == {("HEAD", 200)}
    assert len(plain_registry.requests()) == before + 2
    assert f"skipped (app:index: the registry has it already, {data['digest']})" in again.stderr
    assert _published(repository)[0]["unchanged"] is True

    # Another index of the same images sends nothing but itself, and with others no tag before all are there.
    _write(repository, version="1.1")
    together = _publish(repository, host, together=True)
    assert _uploads(plain_registry) == 5
    (other,) = _published(repository)
    puts = [r.path.rpartition("/")[2] for r in plain_registry.requests("PUT", "/manifests/")[4:]]
    assert puts == [*digests, other["digest"], "1.0", other["digest"][7:15]]
    assert "pending: 0 blobs uploaded" in together.stdout and "written: all images" in together.stdout

    reference = f"{host}/acme/index"
    by_digest = f"{reference}@{data['digest']}"
    raw = engines.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{by_digest}").stdout
    assert raw.encode() == content
    with engines.podman() as podman:
        for engine in (podman, docker):
            options = ["--tls-verify=false"] if engine is podman else []
            for platform in ("linux/arm64", "linux/amd64"):
                engine.run("pull", "--quiet", *options, f"--platform={platform}", by_digest)
                found = engine.run("image", "inspect", "--format={{.Os}}/{{.Architecture}}", by_digest)
                assert found.stdout == f"{platform}\n"
                if platform == "linux/amd64":
                    ran = engine.run("run", "--rm", "--network=none", by_digest, "echo this machine")
                    assert ran.stdout == "this machine\n"
                # Docker has one image under a digest.
                engine.run("rmi", by_digest)
            missing = engine.run("pull", *options, "--platform=linux/s390x", by_digest, check=False)
            assert missing.returncode and "s390x" in missing.stderr + missing.stdout


def test_run_takes_the_image_for_this_machine(
    repository: Monorepo, docker: engines.Docker
) -> None:
    """And builds no other: for one of them there is no builder, and `package` says so."""
    environment = environment_of(docker)
    ran = repository.pants(
        *options_of(docker), "run", "app:wide", "--", "echo ran", environment=environment
    )
    assert ran.stdout == "ran\n"
    assert "acme/one-image:latest" in docker.run("images", "--format={{.Repository}}:{{.Tag}}").stdout
    failed = repository.pants("package", "app:wide", check=False)
    assert "app:shell@system=riscv: Nix could not build app/default.nix" in failed.error
    assert "it is for riscv64-linux, and this machine is x86_64-linux. Nix needs a remote builder" in failed.error
    missing = repository.pants(
        *options_of(docker), "run", "app:elsewhere", check=False, environment=environment
    )
    assert (
        "app:elsewhere has no image for this machine, linux/amd64; it has images for linux/arm64, linux/riscv64. Add one"
    ) in missing.error or "it has images for linux/riscv64, linux/arm64. Add one" in missing.error

    repository.pants("package", "app:index")
    descriptor = repository.root / "dist/app/index.index.json"
    environment = {**repository.nix.environment(), **environment}
    options = ("--engine=docker", "--platform=linux/arm64", _contents(repository))
    loaded = _nixoci("load", descriptor, *options, environment=environment)
    assert loaded.returncode == 0, loaded.stderr
    found = docker.run("image", "inspect", "--format={{.Architecture}}", "acme/index:1.0").stdout
    assert found == "arm64\n"
    refused = _nixoci("run", descriptor, "--platform=linux/s390x", environment=environment)
    assert refused.returncode == 1
    assert "no image for linux/s390x in the index, which has images for linux/amd64, linux/arm64." in refused.stderr


def test_the_core_alone(repository: Monorepo, plain_registry: Registry) -> None:
    """`nixoci index` makes of the descriptors of images what Pants makes; it is pushed and served."""
    repository.pants("package", "app:index", "app:image")
    dist = repository.root / "dist" / "app"
    environment = repository.nix.environment()
    images = sorted(dist.glob("image@*.image.json"))
    made = dist / "made.index.json"
    host = plain_registry.host
    result = _nixoci(
        "index",
        *images,
        "--annotation=org.opencontainers.image.version=1.0",
        f"--reference={host}/core/index:made",
        f"--output={made}",
        environment=environment,
    )
    assert result.returncode == 0, result.stderr
    document, own = json.loads(made.read_text()), repository.descriptor("app/index.index.json")
    assert document["references"] == [f"{host}/core/index:made"]
    assert {**document, "references": own["references"]} == own
    contents = _contents(repository)
    for outcome in ("written: 5 blobs uploaded", "unchanged: "):
        pushed = _nixoci("push", made, contents, environment=environment)
        assert pushed.returncode == 0, pushed.stderr
        assert f"{host}/core/index:made@{own['digest']} {outcome}" in pushed.stdout
    command = [sys.executable, "-m", "nixoci", "serve", str(made), contents]
    path = str(Path(nixoci.__file__).parent.parent)
    with subprocess.Popen(
        command, env={**environment, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            name, digest = server.stdout.readline().split()
            assert digest == own["digest"]
            engines.skopeo(
                *("copy", "--all", "--preserve-digests"),
                *("--src-tls-verify=false", "--dest-tls-verify=false"),
                *(f"docker://{name}", f"docker://{host}/copied/index:1"),
            )
        finally:
            server.terminate()
    assert _get(host, "copied/index/manifests/1") == _get(host, "core/index/manifests/made")


def test_another_machine_makes_the_same(
    repository: Monorepo,
    emulating: Nix,
    machine_nix: Nix,
    plain_registry: Registry,
    tmp_path: Path,
) -> None:
    """With nothing in common: an own store, caches, umask; and the images are named one by one, the other way round.

    A third one, with a warm cache and an empty store, cannot build for ARM, and need not: all layers are in the
    repository in which the images have names of their own, where they are taken over from.
    """
    _write(repository, skip_push=False)
    for system in ("x86_64-linux", "aarch64-linux"):
        _publish(repository, plain_registry.host, f"app:image@system={system}")
    assert _uploads(plain_registry) == 5
    repository.pants("package", "app:index")
    nix = emulating.with_fresh_root(tmp_path / "nix")
    other = Machine.create(tmp_path, nix, "other", umask="077")
    _write(other.monorepo, '[":image@system=aarch64-linux", ":image@system=x86_64-linux"]')
    other.pants("package", "app:index")
    document = json.loads(other.dist()["app/index.index.json"])
    assert document == repository.descriptor("app/index.index.json")

    third = dataclasses.replace(other.monorepo, nix=machine_nix.with_fresh_root(tmp_path / "third"))
    _write(third, version="2.0")
    _publish(third, plain_registry.host)
    assert json.loads(_get(plain_registry.host, "acme/index/manifests/1.0"))["annotations"] == {
        "org.opencontainers.image.version": "2.0"
    }
    mounts = plain_registry.requests("POST", "/acme/index/.*mount=.*from=acme/one-image")
    assert [request.status for request in mounts].count(201) == 3
    assert _uploads(plain_registry) == 5 + 2
    assert not list((tmp_path / "third").rglob("*-shell-for-*"))


def test_an_image_that_cannot_be_pushed_leaves_no_index(
    repository: Monorepo, plain_registry: Registry
) -> None:
    """A store path that was altered: no tag, no index, no manifest."""
    repository.pants("package", "app:index")
    descriptor = repository.descriptor("app/index.index.json")
    (path,) = [
        entry["path"]
        for layer in descriptor["images"][1]["layers"]
        for entry in layer["recipe"].get("entries", ())
    ]
    assert path.endswith("-shell-for-aarch64-linux")
    file = Path(path) / "system"
    before = file.read_text()
    try:
        file.chmod(0o644)
        file.write_text("something else")
        with pytest.raises(CommandFailedError, match="shell-for-aarch64-linux"):
            _publish(repository, plain_registry.host)
    finally:
        file.write_text(before)
        file.chmod(0o444)
    assert plain_registry.requests("PUT", "/manifests/") == []
