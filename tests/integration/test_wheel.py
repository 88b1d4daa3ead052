"""The wheel has all that the plugin needs, in a monorepo that knows nothing of this repository."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from nixoci.compression.formats import FORMATS

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.pex import pex_options
from tests.integration.support.plugin_wheel import (
    SOURCES,
    build_plugin_wheel,
    builder_wheels,
    copy_plugin_sources,
    required_wheels,
)
from tests.integration.support.process import run
from tests.integration.support.wheels import wheel_options

#: As `build-support/version` makes them.
VERSION = "0.2.0.dev3+g0123456789ab"

#: Appended to the plugin, which says then which one runs: at its import, to the log.
_SAYS_WHICH = """
import logging as _logging
import pants_backend_nix as _plugin
_logging.getLogger(__name__).warning("WORD " + _plugin.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without Pants."""
    directory = tmp_path_factory.mktemp("wheel")
    copy_plugin_sources(directory / "python")
    return build_plugin_wheel(directory / "python", directory, VERSION)


def test_what_is_in_it_and_what_it_requires(wheel: Path, tmp_path: Path) -> None:
    """It has the bytes that the sources have; compressors are an extra, with their exact versions."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    required = re.findall(r"^Requires-Dist: (.*)$", metadata.read_text(), re.MULTILINE)
    compressors = ("==".join(known.compressor.split()[:2]) for known in FORMATS.values())
    assert set(required) == {
        "pyelftools<0.34,>=0.29",
        "tree-sitter<0.27,>=0.23.2",
        'tree-sitter-nix<0.2,>=0.1.0; python_version >= "3.10"',
        'tree-sitter-language-pack<0.10,>=0.7.0; python_version < "3.10"',
        *(f'{compressor}; extra == "compression"' for compressor in compressors),
    }
    for name in ("nixoci", "pants_backend_nix"):
        here = SOURCES / name
        files = [*here.rglob("*.py"), *here.glob("report/page_parts/*")]
        sources = {path.relative_to(SOURCES): path.read_bytes() for path in files}
        packed = {path: (tmp_path / path).read_bytes() for path in sources}
        assert packed == sources
    assert (tmp_path / "nixoci/report/page_parts").is_dir()


def test_pants_builds_the_same_bytes(wheel: Path, tmp_path: Path, machine_nix: Nix) -> None:
    """Another build tool, another Python, later, by a user who keeps files to themselves."""
    repository = Monorepo.create(tmp_path, machine_nix)
    copy_plugin_sources(repository.root / "src" / "python")
    for place in (".", "nixoci", "pants_backend_nix"):
        shutil.copy(SOURCES / place / "BUILD", repository.root / "src" / "python" / place)
    lock = Path(__file__).parents[2] / "3rdparty" / "python" / "wheel-builder.lock"
    shutil.copy(lock, repository.root)
    command = repository.command(
        *pex_options(),
        *wheel_options(builder_wheels()),
        "--source-root-patterns=['/src/python', '/']",
        "--python-enable-resolves",
        "--python-resolves={'python-default': 'none.lock', 'wheel-builder': 'wheel-builder.lock'}",
        "--no-python-resolves-generate-lockfiles",
        "--setuptools-install-from-resolve=wheel-builder",
        *("package", "src/python:dist"),
    )
    environment = repository.environment({"PLUGIN_VERSION": VERSION})
    under = ("/bin/sh", "-c", 'umask 077 && exec "$@"', "sh")
    run([*under, *command], env=environment, cwd=repository.root, timeout=600)
    assert (repository.root / "dist" / wheel.name).read_bytes() == wheel.read_bytes()


@dataclasses.dataclass(frozen=True)
class Built:
    """A wheel that says that it runs."""

    file: Path
    word: str

    @property
    def requirement(self) -> str:
        """What a user pins it with."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return f"pants-backend-nix[compression] @ {self.file.as_uri()}#sha256={digest}"


def _build(directory: Path, version: str, word: str) -> Built:
    sources = directory / word
    copy_plugin_sources(sources)
    with (sources / "pants_backend_nix" / "register.py").open("a") as file:
        file.write(_SAYS_WHICH.replace("WORD", word))
    return Built(build_plugin_wheel(sources, directory, version), f"{word} {version}")


def test_a_monorepo_takes_the_wheel_that_it_names(tmp_path: Path, machine_nix: Nix) -> None:
    """By URL and from a directory; rebuilt with the same name and another hash, and with a newer version."""
    repository = Monorepo.create(tmp_path, machine_nix)
    wheels = tmp_path / "wheels"
    # The plugin is nowhere else.
    toml = repository.root / "pants.toml"
    toml.write_text(re.sub("(?m)^pythonpath = .*$", "", toml.read_text()))
    materialize_tiny_closure(repository.root / "app")
    repository.write(
        "app/BUILD",
        'nix_package(name="a", source="tiny.nix", attr="a")\n'
        'nix_image(name="image", packages=[":a"], layering="size_first", compression="zstd")\n',
    )
    options = (*pex_options(), *wheel_options(required_wheels(), wheels))

    def pants(plugin: str, *goal: str) -> PantsRun:
        return repository.pants(*options, f"--plugins=['{plugin}']", *goal)

    first = _build(wheels, VERSION, "wheel-1")
    assert first.word in pants(first.requirement, "package", "app:image").stderr
    layers = repository.descriptor("app/image.image.json")["layers"]
    assert len(layers) == 3 and layers[0]["mediaType"].endswith("zstd")

    # The same version, and so the same name, as after a local change.
    second = _build(wheels, VERSION, "wheel-2")
    assert second.file == first.file
    result = pants(second.requirement, "list", "app:")
    assert second.word in result.stderr and first.word not in result.stderr

    newer = _build(wheels, VERSION.replace("dev3", "dev4"), "wheel-3")
    version = newer.word.split()[1]
    assert newer.word in pants(f"pants-backend-nix=={version}", "list", "app:").stderr
