"""A closure as large and as entangled as real ones are, that is built in seconds.

Names, references and sizes are those of 257 Debian packages (node, ffmpeg, ImageMagick and an
application) in `benchmarks/layering`; contents are zeros, a tenth of the real size.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Mapping

_SCENARIO = Path(__file__).parents[3] / "benchmarks" / "layering" / "node.json.gz"

#: Attributes of the Nix file, and the packages that they are.
ATTRIBUTES = {"app": "app", "media": "ffmpeg-7-5.1.9-0+deb12u1"}

_NIX = """\
let
  known = builtins.fromJSON (builtins.readFile ./packages.json);
  make = key: package: derivation {
    inherit (package) name size word;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-e" "-c" "{ /usr/bin/head -c $size /dev/zero; echo $needed $word; } > $out" ];
    needed = map (other: packages.${other}) package.needed;
  };
  packages = builtins.mapAttrs make known.packages;
in
builtins.mapAttrs (_: key: packages.${key}) known.attributes
"""


def materialize_package_graph(
    directory: Path, *, words: Mapping[str, str] = {}, names: Mapping[str, str] = {}
) -> None:
    """Writes `default.nix` with the attributes `ATTRIBUTES`, and what it reads.

    :param words: something else in the contents of packages, by name.
    :param names: other names (a version, perhaps) of packages, by name.
    """
    revision = json.loads(gzip.decompress(_SCENARIO.read_bytes()))["revisions"][0]
    packages: dict[str, Any] = {}
    for entry in revision["graph"]:
        key = _name(entry["path"])
        packages[key] = {
            "name": names.get(key, key),
            "size": str(entry["narSize"] // 10),
            "word": words.get(key, ""),
            "needed": sorted(_name(r) for r in entry["references"] if r != entry["path"]),
        }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "default.nix").write_text(_NIX)
    (directory / "packages.json").write_text(
        json.dumps({"packages": packages, "attributes": ATTRIBUTES}, indent=1)
    )


def _name(path: str) -> str:
    """Returns what follows /nix/store/, 32 digits and a dash."""
    return path[len("/nix/store/") + 33 :]
