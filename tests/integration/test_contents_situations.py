"""Images with files in special situations: beside what is copied to the root, without Nix, over TLS."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support import engines
from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry

_TREE = """\
{ system }:
derivation {
  name = "tree";
  inherit system;
  builder = "/bin/sh";
  args = [ "-ec" "/bin/mkdir -p $out/etc/sub && echo hello > $out/etc/motd" ];
}
"""

_BUILD = """\
file(name="file", source="file.txt")
nix_package(name="tree", source="tree.nix")
nix_image(
    name="fits",
    copy_to_root=[":tree"],
    permissions=[{"path": "/etc/sub", "mode": "0700", "uid": 7, "uname": "seven"}],
    contents={":file": "/etc/sub/file"},
)
nix_image(name="over-file", copy_to_root=[":tree"], contents={":file": "/etc/motd"})
nix_layer(name="layer", copy_to_root=[":tree"])
nix_image(name="over-layer", layers=[":layer"], symlinks={"/etc/motd": "/x"})
nix_image(
    name="plain",
    contents={":file": "/file"},
    directories=[{"path": "/tmp", "mode": "1777"}],
    registries=["REGISTRY"],
)
"""

_TLS = """\
files(name="debs", sources=["debs/*.deb"])
nix_sources(name="nix", sources=["*.nix", "*.sh"])
nix_package(name="python", source="default.nix", attr="python", dependencies=[":debs", ":nix"])
nix_package(name="bundle", source="bundle.nix", dependencies=[":bundle-file"])
file(name="bundle-file", source="bundle.pem")
file(name="team", source="team.pem")
[
    nix_image(
        name=name,
        packages=[":python"],
        ca_certificates=certificates,
        entrypoint=["{python}/bin/python3", "-c"],
        env={"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"},
        output_format="docker-archive",
    )
    for name, certificates in (("with-team", [":bundle", ":team"]), ("without", [":bundle"]))
]
"""

_BUNDLE = """\
{ system }:
derivation {
  name = "cacert";
  inherit system;
  bundle = ./bundle.pem;
  builder = "/bin/sh";
  args = [
    "-ec"
    "/bin/mkdir -p $out/etc/ssl/certs && /bin/cp $bundle $out/etc/ssl/certs/ca-bundle.crt"
  ];
}
"""

_ASK = """\
import ssl, urllib.error, urllib.request
try:
    urllib.request.urlopen("https://{host}/v2/")
except urllib.error.HTTPError as error:
    print("status", error.code)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Monorepo]:
    """A package with `/etc/motd` and `/etc/sub/`, and images that put files to such places; pantsd."""
    made = Monorepo.create(tmp_path_factory.mktemp("situations"), machine_nix)
    made.write("app/tree.nix", _TREE)
    made.write("app/file.txt", "text\n")
    made.write("app/BUILD", _BUILD)
    with made.with_daemon() as running:
        yield running


def test_files_beside_what_is_copied(repository: Monorepo) -> None:
    """A directory that both have is no collision, and keeps the mode and owner that it has below."""
    repository.pants("package", "app:fits")
    recipes = [layer["recipe"] for layer in repository.descriptor("app/fits.image.json")["layers"]]
    assert ["entries" in recipe for recipe in recipes] == [True, False]
    modes = {file["path"]: file["mode"] for file in recipes[1]["files"]}
    assert modes == {"/etc": "0755", "/etc/sub": "0700", "/etc/sub/file": "0444"}


@pytest.mark.parametrize(
    "name, path",
    [
        ("over-file", "/etc/motd"),
        ("over-layer", "/etc/motd"),
    ],
)
def test_files_over_what_is_copied(repository: Monorepo, name: str, path: str) -> None:
    """The error names the image, the place and the field; a layer below counts as well."""
    run = repository.pants("package", f"app:{name}", check=False)
    assert run.result.returncode
    assert f"app:{name}: {path} is brought by two, differently" in run.error
    assert "the field `copy_to_root`" in run.error and "another place" in run.error


def test_no_nix_is_needed_without_store_paths(
    repository: Monorepo, plain_registry: Registry, tmp_path: Path
) -> None:
    """Package and publish, on a machine that has no Python but that of Pants; a package then says what it lacks."""
    build = repository.root / "app" / "BUILD"
    build.write_text(_BUILD.replace("REGISTRY", plain_registry.host))
    options = (f"--nix-search-path=['{tmp_path}/nothing']",)
    repository.pants(*options, "publish", "app:plain")
    assert len(plain_registry.requests("PUT", "/manifests/latest")) == 1
    build.write_text(_BUILD.replace("hello", "good day"))
    repository.write("app/tree.nix", _TREE.replace("hello", "no nix"))
    run = repository.pants(*options, "package", "app:fits", check=False)
    repository.write("app/tree.nix", _TREE)
    assert run.result.returncode and "[nix].search_path" in run.error


def test_programs_trust_the_team(
    repository: Monorepo, secure_registry: Registry, docker: engines.Docker, tmp_path: Path
) -> None:
    """A server with the team's certificate is trusted with it, and not without, in two engines."""
    assert secure_registry.certificate is not None
    materialize_debian_closure(repository.root / "tls")
    repository.write("tls/bundle.nix", _BUNDLE)
    repository.write("tls/BUILD", _TLS)
    shutil.copyfile(secure_registry.certificate, repository.root / "tls" / "team.pem")
    # Another authority, which a package has.
    end = "-----END CERTIFICATE-----\n"
    public, _, _ = Path("/etc/ssl/certs/ca-certificates.crt").read_text().partition(end)
    repository.write("tls/bundle.pem", public + end)
    repository.pants("package", "tls:with-team", "tls:without")
    program = _ASK.format(host=secure_registry.host)
    with engines.podman() as podman:
        for name, expected in (("with-team", "status 401"), ("without", "SSLCertVerificationError")):
            archive = repository.root / "dist" / "tls" / f"{name}.tar"
            in_docker = docker.run("run", "--rm", "--network=host", docker.load(archive), program)
            assert in_docker.stdout.strip() == expected
            in_podman = podman.run(
                "run", "--rm", "--network=host", f"docker-archive:{archive}", program
            )
            assert in_podman.stdout.strip() == expected
