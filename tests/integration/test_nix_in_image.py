"""Nix in containers of `examples/nix-in-image`: it builds, also the image that it runs in.

The containers have no network. Sources of the image are mounted at /src.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from nixoci.database.nix_database import write_database
from nixoci.store.closure import parse_nix_path_info
from nixoci.store.registration import registrations_of

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.nix_in_image import write_nix_in_image

#: Says what is registered, lets Nix compare it with the store, and says again. Nix deletes entries
#: of paths that it does not find, so only the two of them together show that nothing is missing.
_VERIFY = """\
nix-store --dump-db | sort
echo ---
nix-store --verify --check-contents
nix-store --dump-db | sort
"""

#: What is issue 94 of nix2container: `report` needs `config`, which is not in the image.
_BUILD_REPORT = "nix build --file /src --out-link /tmp/report report && cat /tmp/report"


#: One more package, in an image on top of that of the example.
_SMALL = """\
{ system }:
derivation {
  name = "small";
  inherit system;
  builder = "/bin/sh";
  args = [ "-c" "echo small > $out" ];
}
"""
_ON_TOP = """
nix_package(name="small", source="small.nix")
nix_image(
    name="on-top",
    base=":image",
    packages=[":small"],
    image_tags=["on-top"],
    output_format="oci-layout",
)
"""


@dataclass(frozen=True)
class Example:
    """The example, packaged.

    :param sources: what is mounted at /src.
    """

    repository: Monorepo
    sources: Path

    def layout(self, name: str) -> Path:
        return self.repository.root / "dist/nix-in-image" / name

    def run(
        self, image: str, script: str, *options: str, check: bool = True
    ) -> CompletedProcess[str]:
        """Runs a script in a container of an image (what podman takes) with podman."""
        configuration = "\n".join(
            [
                # Nobody answers.
                "substituters =",
                # Debian's Nix has the path where Debian has it.
                f"build-hook = {self.path('nix')}/libexec/nix/build-remote",
            ]
        )
        return engines.podman_run(
            image,
            ["/bin/sh", "-euc", script],
            options=[
                f"--volume={self.sources}:/src:ro",
                f"--env=NIX_CONFIG={configuration}",
                *options,
            ],
            check=check,
        )

    def path(self, *attributes: str) -> str:
        """The store path of an attribute of the sources, on this machine."""
        (path,) = self.repository.nix.build(self.sources, *attributes)
        return path

    def registered(self) -> set[str]:
        """What has to be in the image by the definition of the example, as the machine's Nix says:
        the closure of all that is named, less what is kept out."""
        named = [self.path(name) for name in ("nix", "bash", "coreutils", "root", "config")]
        return set(self.repository.nix.path_info(*named, recursive=True)) - set(named[3:])


@pytest.fixture(scope="module")
def example(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """See `Example`."""
    repository = Monorepo.create(tmp_path_factory.mktemp("nix-in-image"), machine_nix)
    sources = write_nix_in_image(repository)
    (sources / "small.nix").write_text(_SMALL)
    with (sources / "BUILD").open("a") as build:
        build.write(_ON_TOP)
    repository.pants("package", "nix-in-image::")
    return Example(repository, sources)


@pytest.fixture(params=["image", "unprivileged"])
def image(request: pytest.FixtureRequest, example: Example) -> str:
    """Both images, as podman takes them."""
    tag = {"image": "latest", "unprivileged": "unprivileged"}[request.param]
    return f"oci:{example.layout(request.param)}:{tag}"


def _root_file_system(example: Example, directory: Path) -> Path:
    """Unpacks the image that is for root."""
    return engines.umoci_unpack(example.layout("image"), "latest", directory)


def _building(result: CompletedProcess[str]) -> list[str]:
    """Names of the derivations that were built, sorted."""
    built = re.findall(r"^building '/nix/store/[a-z0-9]{32}-(.*)\.drv'", result.stderr, re.M)
    return sorted(built)


def test_verify_finds_what_is_there(example: Example, image: str) -> None:
    """Registered are the paths of the image and no others, and Nix has no complaint."""
    result = example.run(image, _VERIFY + "echo ---; ls /nix/store")
    before, after, there = result.stdout.split("---\n")
    assert before == after
    assert result.stderr.splitlines() == [
        "reading the Nix store...",
        "checking path existence...",
        "checking link hashes...",
        "checking store hashes...",
    ]
    expected = example.registered()
    assert {f"/nix/store/{name}" for name in there.split()} == expected
    assert {line for line in before.split() if line.startswith("/nix/store/")} == expected


def test_an_image_on_top_has_the_complete_database(example: Example) -> None:
    """What its base has and what it adds: Nix compares all of it with the store."""
    result = example.run(f"oci:{example.layout('on-top')}:on-top", _VERIFY)
    before, after = result.stdout.split("---\n")
    assert before == after
    registered = {line for line in before.split() if line.startswith("/nix/store/")}
    (added,) = registered - example.registered()
    assert added.endswith("-small") and registered > example.registered()


def test_a_small_expression_is_built(example: Example, image: str) -> None:
    """By the user that the container runs as, who also has a home and a directory for files."""
    script = """\
cd ~
nix build --verbose --file /src greeting
cat result
echo 'derivation { name = "mine"; builder = "/bin/sh"; args = [ "-c" "echo mine > $out" ]; \
system = builtins.currentSystem; }' > /tmp/mine.nix
cat "$(nix-build /tmp/mine.nix)"
id -u
"""
    result = example.run(image, script)
    user = "1000" if "unprivileged" in image else "0"
    assert result.stdout.split("\n") == ["Hello from a build in a container.", "mine", user, ""]
    assert _building(result) == ["greeting", "mine"]


def test_the_image_builds_itself(example: Example, image: str) -> None:
    """The sources of the image evaluate to its own store paths. Those that are in it are not built
    again, those that are kept out are, and the results are those of this machine."""
    attributes = ("nix", "bash", "coreutils", "root", "config")
    script = f"""\
nix build --verbose --no-link --file /src {" ".join(attributes)}
for name in {" ".join(attributes)}; do
    path=$(nix eval --raw --file /src "$name.outPath")
    echo "$path $(nix-store --query --hash "$path")"
done
"""
    result = example.run(image, script)
    here = [example.path(name) for name in attributes]
    hashes = example.repository.nix.run("nix-store", "--query", "--hash", *here).split()
    assert result.stdout.splitlines() == [f"{path} {hash}" for path, hash in zip(here, hashes)]
    assert _building(result) == ["config.json", "root"]


def test_garbage_collection_keeps_the_image(example: Example, image: str) -> None:
    """What was built in the container goes, what came with the image stays and works."""
    script = """\
nix build --no-link --file /src greeting
nix-store --gc > /tmp/deleted
ls /nix/store
"""
    result = example.run(image, script)
    assert {f"/nix/store/{name}" for name in result.stdout.split()} == example.registered()


def test_what_is_kept_out_is_built_when_it_is_needed(example: Example, image: str) -> None:
    """The database does not say that the config is there, so Nix makes it."""
    result = example.run(image, _BUILD_REPORT)
    assert result.stdout.startswith("The image's config:\n{")
    assert _building(result) == ["config.json", "report"]


def test_a_database_with_what_is_kept_out_breaks_builds(
    example: Example, tmp_path: Path
) -> None:
    """The same image with a database of the whole closure, as is easily made, cannot build what
    needs the config: Nix believes that it is there (nix2container's issue 94).

    It is the control of the test above, which would pass with any database otherwise.
    """
    root = _root_file_system(example, tmp_path / "image")
    named = [example.path(name) for name in ("nix", "bash", "coreutils", "root", "config")]
    naive = example.repository.nix.run("nix", "path-info", "--json", "-r", *named)
    registrations = registrations_of(parse_nix_path_info(naive.encode()))
    write_database(registrations, str(root / "nix/var/nix/db/db.sqlite"))
    path = "--env=PATH=" + ":".join(f"{path}/bin" for path in named[:3])

    result = example.run(str(root), _BUILD_REPORT, "--rootfs", path, check=False)
    assert result.returncode != 0
    assert _building(result) == ["report"]
    assert re.search(f"{re.escape(named[4])}.*No such file or directory", result.stderr)

    verified = example.run(str(root), "nix-store --verify", "--rootfs", path)
    for missing in named[3:]:
        assert f"path '{missing}' disappeared, removing from database..." in verified.stderr
