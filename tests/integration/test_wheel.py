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
    found = re.findall(r"^Requires-Dist: (.*)$", metadata.read_text(), re.MULTILINE)
    # Versions of setuptools write brackets, blanks and quotes in different places.
    required = {re.sub("[ ()]", "", line).replace("'", '"') for line in found}
    compressors = (known.compressor.split()[:2] for known in FORMATS.values())
    assert required == {
        "tree-sitter<0.27,>=0.23.2",
        *("==".join(words) for words in compressors),
        "pyelftools==0.32",
        'tree-sitter-nix==0.1.0;python_version>="3.10"',
        'tree-sitter-language-pack==0.9.1;python_version<"3.10"',
    }
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
