"""A monorepo with an image of Debian programs as store paths: glibc, bash, coreutils, Python."""

from __future__ import annotations

from pathlib import Path

from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

FORMATS = ("descriptor", "oci-layout", "oci-archive", "docker-archive")

_PACKAGES = """\
files(name="debs", sources=["debs/*.deb"])
nix_sources(name="nix", sources=["*.nix", "*.sh"])
nix_package(
    name="python", source="default.nix", attr="python", dependencies=[":debs", ":nix"]
)
nix_package(name="app", source="default.nix", attr="app", dependencies=[":debs", ":nix"])
nix_layer(name="runtime", packages=[":python"], max_layers=3)
"""

_IMAGE = """\
nix_image(
    name="{name}",
    layers=[":runtime"],
    packages=[":app"],
    entrypoint=["{{python}}/bin/python3", "-c"],
    cmd=["print('default')"],
    env={{"GREETING": "good day"}},
    labels={{"app": "{{app}}"}},
    working_dir="/nix",
    repository="acme/{name}",
    image_tags=["1.0", "latest"],
    output_format="{output_format}",
)
"""


def write_debian_images(repository: Monorepo, directory: str = "app") -> Path:
    """Writes `nix_image` targets, one for each of `FORMATS` and named so, into `directory`."""
    target = repository.root / directory
    materialize_debian_closure(target)
    images = (_IMAGE.format(name=name, output_format=name) for name in FORMATS)
    repository.write(f"{directory}/BUILD", _PACKAGES + "".join(images))
    return target


def package_in_new_clone(directory: Path, nix: Nix, name: str, *options: str) -> bytes:
    """Packages in a new clone with empty caches and an own home; returns the descriptor."""
    repository = Monorepo.create(directory, nix, name=name)
    write_debian_images(repository)
    run = repository.pants(*options, "package", "app:descriptor")
    # Nothing came from somebody else's cache, so the bytes were really made.
    assert len(run.processes("Digest")) > 5
    assert "local_cache_requests_cached" not in run.counters
    return (repository.root / "dist/app/descriptor.image.json").read_bytes()
