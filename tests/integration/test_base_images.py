"""Images on top of others: of a registry, which is asked for two documents, and of this repository."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest
from nixoci.base.image import parse_base
from nixoci.base.inherit import inherit
from nixoci.image.config import ImageConfig
from nixoci.image.healthcheck import Healthcheck
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.reading.reader import RepositoryReader, reading_connections

from tests.integration.support import engines
from tests.integration.support.base_images import put_image
from tests.integration.support.engines import skopeo
from tests.integration.support.images import static_busybox, write_hello_layout
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.process import run as run_program
from tests.integration.support.registry import Registry, registry
from tests.integration.support.run_image import environment_of, options_of

_NIX = """\
{ system }:
let
  make = name: text: derivation {
    inherit name system text;
    builder = "/bin/sh";
    args = [ "-c" "echo \\"$text\\" > $out" ];
    allowSubstitutes = false;
  };
in
rec { one = make "one" "the first"; two = make "two" "on top of ${one}"; }
"""

_BUILD = """\
nix_sources(name="nix", sources=["*.nix"])
nix_package(name="one", source="default.nix", attr="one", dependencies=[":nix"])
nix_package(name="two", source="default.nix", attr="two", dependencies=[":nix"])
"""


@pytest.fixture(scope="module")
def monorepo(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    made = Monorepo.create(tmp_path_factory.mktemp("base"), machine_nix)
    with made.with_daemon() as running:
        yield running


class Base:
    """A registry with an image of two layers, compressed with gzip, and with zstd."""

    def __init__(self, running: Registry, directory: Path) -> None:
        self.registry = running
        self.host = running.host
        layout = write_hello_layout(directory / "layout", layers=2)
        self.name = f"{running.host}/acme/hello"
        # Only what is not compressed is compressed in another way.
        plain = directory / "plain"
        skopeo("copy", "--dest-decompress", f"oci:{layout}", f"dir:{plain}")
        for tag in ("gzip", "zstd"):
            skopeo(
                *("copy", "--dest-tls-verify=false", "--format=oci", f"--dest-compress-format={tag}"),
                *(f"dir:{plain}", f"docker://{self.name}:{tag}"),
            )

    def digest(self, tag: str) -> str:
        text = skopeo("inspect", "--tls-verify=false", f"docker://{self.name}:{tag}").stdout
        digest: str = json.loads(text)["Digest"]
        return digest


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    directory = tmp_path_factory.mktemp("base-registry")
    with registry(directory / "registry") as running:
        yield Base(running, directory)


@pytest.fixture()
def repository(monorepo: Monorepo, base: Base) -> Monorepo:
    """An image on each of the bases, and two archives of one of them."""
    monorepo.clear()
    monorepo.write("app/default.nix", _NIX)
    build = _BUILD
    for kind in ("gzip", "zstd"):
        build += f'''
oci_base_image(name="hello-{kind}", image="{base.name}:{kind}", digest="{base.digest(kind)}")
nix_image(
    name="{kind}",
    base=":hello-{kind}",
    packages=[":one"],
    cmd=["cat {{one}} /layers/1"],
    env={{"KIND": "{kind}"}},
    repository="acme/{kind}",
)
'''
    for format in ("oci-archive", "docker-archive"):
        build += f'nix_image(name="{format}", base=":hello-gzip", packages=[":one"], output_format="{format}")\n'
    monorepo.write("app/BUILD", build)
    return monorepo


def publish(repository: Monorepo, host: str, *words: str, check: bool = True) -> PantsRun:
    registries = {"test": {"address": host, "default": True}}
    return repository.pants(f"--nix-images-registries={registries}", *words, check=check)


def blobs(running: Registry, method: str, words: str = "", since: int = 0) -> int:
    """Returns how many requests for blobs were answered with success."""
    return sum(
        r.method == method and "/blobs/" in r.path and words in r.path and r.status < 300
        for r in running.requests()[since:]
    )


def test_bases_in_a_registry(repository: Monorepo, base: Base, plain_registry: Registry) -> None:
    """`package` asks for a manifest and a config each; to the same registry our layer is uploaded, to another one all
    are; engines find the files of the base and ours."""
    before = len(base.registry.requests())
    repository.pants("package", "app:gzip", "app:zstd")
    asked = base.registry.requests()[before:]
    assert sorted((r.method, r.path.split("/")[4]) for r in asked) == [
        *[("GET", "blobs")] * 2,
        *[("GET", "manifests")] * 2,
    ]
    descriptor = repository.descriptor("app/gzip.image.json")
    assert ["blob" in layer["recipe"] for layer in descriptor["layers"]] == [True, True, False]
    # Without what pantsd remembers.
    repository.pants("package", "app:gzip", "app:zstd", daemon=False)
    assert len(base.registry.requests()) == before + 4, "a cache has it"

    before = len(base.registry.requests())
    publish(repository, base.host, "publish", "app:gzip", "app:zstd")
    assert blobs(base.registry, "PUT", since=before) == 3, "our layer, and two configs"
    assert blobs(base.registry, "POST", "mount=", since=before) == 5
    assert blobs(base.registry, "GET", since=before) == 0

    publish(repository, plain_registry.host, "publish", "app:gzip", "app:zstd")
    for kind in ("gzip", "zstd"):
        reference = f"{plain_registry.host}/acme/{kind}:latest"
        running = engines.podman_run(f"docker://{reference}", options=["--tls-verify=false"])
        assert running.stdout == "the first\n1\n"
    assert "copied, a layer of" in repository.pants("nix-layers", "app:gzip").stdout
    # What the registry of the base lost is an error that names it, and no tag is written.
    (layer,) = {one["digest"] for one in repository.descriptor("app/zstd.image.json")["layers"][:1]}
    delete_blob(base, layer)
    with registry(repository.root.parent / f"third-{layer[7:15]}") as third:
        failed = publish(repository, third.host, "publish", "app:zstd", check=False)
        assert f"The layer {layer} cannot be copied. {base.name}: The registry" in failed.stderr
        assert not third.requests("PUT", "/manifests/")


def delete_blob(base: Base, digest: str) -> None:
    """Deletes a blob as a registry does that collects its garbage."""
    storage = base.registry.log.parent / "storage/docker/registry/v2"
    hexadecimal = digest.partition(":")[2]
    (storage / "repositories/acme/hello/_layers/sha256" / hexadecimal / "link").unlink()


def test_engines_and_archives_stream_the_base(repository: Monorepo, base: Base) -> None:
    skopeo(
        *("copy", "--src-tls-verify=false", f"docker://{base.name}:gzip"),
        f"oci-archive:{repository.root}/app/base.tar",
    )
    with (repository.root / "app/BUILD").open("a") as build:
        build.write(
            'file(name="tar", source="base.tar")\noci_base_image(name="local", archive=":tar")\n'
            'nix_image(name="from-archive", base=":local", packages=[":one"], output_format="oci-archive")\n'
            'nix_image(name="local-image", base=":local", packages=[":one"], cmd=["cat {one}"])\n'
        )
    repository.pants("package", "app:oci-archive", "app:docker-archive", "app:from-archive")
    assert (
        repository.descriptor("app/from-archive.image.json")["digest"]
        == repository.descriptor("app/oci-archive.image.json")["digest"]
    )
    for format in ("oci-archive", "docker-archive"):
        path = repository.root / f"dist/app/{format}.tar"
        config = json.loads(skopeo("inspect", "--config", f"{format}:{path}").stdout)
        digests = [one["diffId"] for one in repository.descriptor(f"app/{format}.image.json")["layers"]]
        assert config["rootfs"]["diff_ids"] == digests
    with engines.podman() as podman, engines.dockerd() as docker:
        for engine, name, printed in (
            (podman, "gzip", "the first\n1\n"),
            (docker, "gzip", "the first\n1\n"),
            (docker, "local-image", "the first\n"),
        ):
            # In the namespace of what podman makes there is no pantsd.
            options = (*options_of(engine), "run", f"app:{name}")
            ran = run_program(
                engine.command(*repository.command(*options, daemon=engine is docker)),
                env=repository.environment(environment_of(engine)),
                cwd=repository.root,
            )
            assert ran.stdout == printed
        name = docker.load(repository.root / "dist/app/docker-archive.tar")
        assert docker.run_image(name, "cat /layers/1").stdout == "1\n"


def test_promotion_builds_nothing(
    repository: Monorepo, plain_registry: Registry, tmp_path: Path, machine_nix: Nix
) -> None:
    """What the store has no more is taken from the registry that has it; an archive builds what it needs only."""
    repository.write(
        "app/BUILD",
        _BUILD
        + 'nix_image(name="image", packages=[":two"], max_layers=2, layering="popularity", repository="acme/two")\n'
        + 'nix_image(name="layout", packages=[":two"], max_layers=2, layering="popularity", '
        'output_format="oci-layout", cmd=["x"])\n',
    )
    publish(repository, plain_registry.host, "publish", "app:image")
    repository.pants("package", "app:image", "app:layout")
    descriptor = repository.descriptor("app/image.image.json")
    recipes = [layer["recipe"] for layer in descriptor["layers"]]
    paths = [entry["path"] for recipe in recipes for entry in recipe["entries"]]
    options = ("--option", "gc-keep-derivations", "false", "--option", "gc-keep-outputs", "false")
    assert len(paths) == 2

    def collect() -> None:
        machine_nix.run("nix-store", *options, "--delete", *paths)

    collect()
    with registry(tmp_path / "production") as production:
        source = f"--nix-images-copy-from={plain_registry.host}/{{repository}}"
        ran = publish(repository, production.host, source, "publish", "app:image")
        assert not any(Path(path).exists() for path in paths), "nothing was built"
        assert not ran.processes("Build")
        assert blobs(production, "PUT") == 3
        text = skopeo("inspect", "--tls-verify=false", f"docker://{production.host}/acme/two").stdout
        assert json.loads(text)["Digest"] == descriptor["digest"]
        refused = publish(
            repository, production.host, "--nix-images-copy-from=X/Y", "publish", "app:image", check=False
        )
        assert "skipped" in refused.stderr, "nothing is copied for an image that is there"
    # One blob of the layout is there no more; the other one is taken over, and its path is not built.
    upper = [e["path"] for e in recipes[1]["entries"]]
    lower = [e["path"] for e in recipes[0]["entries"]]
    (repository.root / "dist/app/layout" / _blob(descriptor["layers"][0]["digest"])).unlink()
    repository.pants("package", "app:layout")
    assert all(Path(path).exists() for path in lower)
    assert not any(Path(path).exists() for path in upper), "only what it must have"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def test_changed_since_names_the_images_whose_lock_changed(
    repository: Monorepo, base: Base
) -> None:
    repository.write("locks/BUILD", "".join(
        f'oci_base_image(name="{name}", image="{base.name}:gzip"{more})\n'
        f'nix_image(name="on-{name}", base=":{name}")\n'
        for name, more in (("one", ""), ("two", ', lock="other.json"'), ("three", ', digest="sha256:' + "0" * 64 + '"'))
    ))
    for name in ("one.lock.json", "other.json"):
        repository.write(f"locks/{name}", "{}\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "--quiet"], ["add", "app", "locks", "pants.toml"], ["commit", "--quiet", "--message=x"]):
        run_program([*git, *words], cwd=repository.root)
    for file, name in (("one.lock.json", "one"), ("other.json", "two")):
        repository.write(f"locks/{file}", '{"changed": true}\n')
        found = repository.pants("--changed-since=HEAD", "--changed-dependents=transitive", "list")
        assert set(found.stdout.split()) == {f"locks:{name}", f"locks:on-{name}"}
        repository.write(f"locks/{file}", "{}\n")
    # The goal writes the files, and what is locked is used.
    locked = repository.pants("nix-lock", "locks:one", "locks:three").stdout
    assert f"locks/one.lock.json:\n  linux/amd64: {base.digest('gzip')}" in locked and " MB\n" in locked
    assert "three" not in locked
    assert "nothing moved" in repository.pants("nix-lock", "locks:one").stdout
    repository.pants("package", "locks:on-one")


#: Instructions of a Dockerfile, and what says the same of an image here.
_SAME: tuple[tuple[str, ImageConfig], ...] = (
    ("", ImageConfig()),
    ('ENTRYPOINT ["/other"]', ImageConfig(entrypoint=("/other",))),
    ('CMD ["a", "b"]', ImageConfig(cmd=("a", "b"))),
    ("ENTRYPOINT []", ImageConfig(entrypoint=())),
    ('ENTRYPOINT ["/e"]\nCMD ["c"]', ImageConfig(entrypoint=("/e",), cmd=("c",))),
    (
        "ENV A=2 B=3\nLABEL b=9 c=3\nEXPOSE 90/udp\nVOLUME /more\nUSER 9:9\nWORKDIR /new\nSTOPSIGNAL SIGHUP\n"
        'HEALTHCHECK --interval=5s CMD ["/other"]',
        ImageConfig(
            env=("A=2", "B=3"),
            labels=(("b", "9"), ("c", "3")),
            exposed_ports=("90/udp",),
            volumes=("/more",),
            user="9:9",
            working_dir="/new",
            stop_signal="SIGHUP",
            healthcheck=Healthcheck(("CMD", "/other"), interval=5_000_000_000),
        ),
    ),
    ("HEALTHCHECK NONE\nENV PATH=/x", ImageConfig(healthcheck=Healthcheck(("NONE",)), env=("PATH=/x",))),
)


def _saved(docker: engines.Docker, name: str, directory: Path) -> dict[str, Any]:
    """Returns the config of an image of a dockerd."""
    archive = directory / "saved.tar"
    docker.run("save", "--output", archive, name)
    with tarfile.open(archive) as opened:
        (entry,) = json.load(opened.extractfile("manifest.json"))  # type: ignore[arg-type]
        found: dict[str, Any] = json.load(opened.extractfile(entry["Config"]))  # type: ignore[arg-type]
        return found


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a config says, without what is empty and without the image that docker made it from."""
    return {name: value for name, value in config.items() if value and name != "Image"}


def test_inheritance_is_that_of_docker_build(
    docker: engines.Docker, base: Base, tmp_path: Path
) -> None:
    """The same instructions on the same base make the same config; the history of the base stays."""
    name = f"{base.host}/acme/inherited"
    history = [
        {"created": "2024-02-29T12:00:00Z", "created_by": "ADD sh"},
        {"created": "2024-02-29T12:00:00Z", "created_by": "ENV", "empty_layer": True},
    ]
    digest = put_image(
        name,
        "1",
        [{"bin/sh": static_busybox().read_bytes()}],
        {
            "Entrypoint": ["/entry"],
            "Cmd": ["serve"],
            "Env": ["PATH=/usr/bin:/bin", "A=1", "Z=26"],
            "Labels": {"a": "1", "b": "1"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "User": "7",
            "WorkingDir": "/srv",
            "StopSignal": "SIGINT",
            # The classic builder adds what a healthcheck leaves out from that of the base; BuildKit does not.
            "Healthcheck": {"Test": ["CMD", "/check"]},
            "OnBuild": ["LABEL triggered=1"],
            "Shell": ["/bin/sh", "-ec"],
        },
        history=history,
    )
    connections = reading_connections({})
    reader = RepositoryReader(
        name, connections=connections, credentials=CredentialSearch.of_environment({})
    )
    manifest = reader.manifest(digest)
    wanted = json.loads(manifest)["config"]
    found = parse_base(manifest, reader.small_blob(wanted["digest"], wanted["size"]))
    connections.close()
    environment = {**docker.environment(), "DOCKER_BUILDKIT": "0"}
    for number, (instructions, own) in enumerate(_SAME):
        context = tmp_path / f"context{number}"
        context.mkdir()
        text = f"FROM {name}:1\n{instructions}\n"
        if not instructions:
            # Docker makes no other image of nothing.
            text += "LABEL a=1\n"
        (context / "Dockerfile").write_text(text)
        run_program(["docker", "build", "--quiet", "--tag=made", context], env=environment)
        made = _saved(docker, "made", tmp_path)
        platform = ImageConfig(architecture="amd64", os="linux")
        ours = inherit(found.config, inherit(platform, own)).to_document()
        expected = _said(made["config"])
        # A trigger adds to what follows FROM, where it is not meant for us.
        assert expected["Labels"].pop("triggered") == "1"
        assert _said(json.loads(json.dumps(ours["config"]))) == expected, instructions
        assert made["history"][:2] == history
