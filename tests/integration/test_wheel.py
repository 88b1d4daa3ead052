"""The wheel has all that the plugin needs, in a monorepo that knows nothing of this repository."""

from __future__ import annotations

import glob
import re
import zipfile
from pathlib import Path

import nixoci
from nixoci.compression.formats import FORMATS

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix


def _wheel() -> Path:
    """Returns the wheel: Pants puts it into the sandbox, see the BUILD file."""
    root = Path(__file__).parents[2]
    (name,) = glob.glob(str(root / "pants_backend_nix-*.whl")) or glob.glob(
        str(root / "dist" / "pants_backend_nix-*.whl")
    )
    return Path(name)


def test_the_wheel_packages_an_image(tmp_path: Path, machine_nix: Nix) -> None:
    """Unpacked, as pip would, it is a plugin; its core has the bytes that the sources have."""
    site = tmp_path / "site"
    with zipfile.ZipFile(_wheel()) as wheel:
        wheel.extractall(site)
    (metadata,) = site.glob("*.dist-info/METADATA")
    required = re.findall(r"^Requires-Dist: (\S+)$", metadata.read_text(), re.MULTILINE)
    compressors = (known.compressor.split()[:2] for known in FORMATS.values())
    expected = [*("==".join(words) for words in compressors), "pyelftools==0.32"]
    assert sorted(required) == sorted(expected)
    repository = Monorepo.create(tmp_path, machine_nix, pythonpath=[site])
    materialize_tiny_closure(repository.root / "app")
    repository.write(
        "app/BUILD",
        'nix_package(name="a", source="tiny.nix", attr="a")\n'
        'nix_image(name="image", packages=[":a"], layering="size_first", entrypoint=["{a}"])\n',
    )
    repository.pants("package", "app:image")
    assert len(repository.descriptor("app/image.image.json")["layers"]) == 3
    here = Path(nixoci.__file__).parent
    files = [*here.rglob("*.py"), *here.glob("page/*")]
    sources = {str(path.relative_to(here)): path.read_bytes() for path in files}
    packed = {name: (site / "nixoci" / name).read_bytes() for name in sources}
    assert packed == sources
