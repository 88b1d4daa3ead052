"""The monorepo that is measured: images that share a runtime, with packages of their own on top.

All packages are made by /bin/sh in a moment, since what is measured is Pants and the plugin, and how
that grows with the number of images. A word in each Nix file makes it a package never seen before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from scratch import Scratch

#: Of these images, every so manieth has a second package of its own; likewise a Nix database.
_SECOND_PACKAGE = 2
_DATABASE = 4

_BASE = """\
# A chain of store paths with more references across it; all packages of images are built with it.
{ system ? builtins.currentSystem }:
let
  count = @PATHS@;
  run = name: references: derivation {
    inherit name references system;
    builder = "/bin/sh";
    args = [ "-euc" ''echo "$name @WORD@ $references" > "$out"'' ];
    allowSubstitutes = false;
    preferLocalBuild = true;
  };
  name = n: "base-${toString n}";
  add = paths: n: paths // {
    ${name n} = run (name n) (
      if n == 0 then [ ] else [ paths.${name (n - 1)} paths.${name (n / 2)} ]
    );
  };
  paths = builtins.foldl' add { } (builtins.genList (n: n) count);
in
{
  inherit run;
  base = paths.${name (count - 1)};
}
"""

_PACKAGE = """\
{ system ? builtins.currentSystem }:
let base = import @BASE@ { inherit system; };
in { @NAME@ = base.run "@NAME@-@WORD@" [ base.base ]; }
"""

_EVERYTHING = """\
{ system ? builtins.currentSystem }:
let base = import ../runtime/base.nix { inherit system; };
in {
@ATTRIBUTES@
}
"""

_RUNTIME_BUILD = """\
nix_source(name="sources", source="base.nix")
nix_package(name="base", source="base.nix", attr="base")
nix_package(name="tool", source="tool.nix", attr="tool", dependencies=[":sources"])
nix_layer(name="runtime", packages=[":base", ":tool"], max_layers=@LAYERS@)
"""

_PACKAGE_BUILD = """\
nix_package(
    name="@NAME@", source="@FILE@", attr="@NAME@", dependencies=["bench/runtime:sources"]
)
"""

_IMAGE_BUILD = """\
nix_image(
    name="image",
    layers=["bench/runtime:runtime"],
    packages=@PACKAGES@,
    entrypoint=["{@FIRST@}"],
    nix_database=@DATABASE@,
    output_path="@DIRECTORY@.json",
)
"""


@dataclass(frozen=True)
class GeneratedImages:
    """`count` images in `bench/image-*`, above the runtime in `bench/runtime`.

    :param one_file: all packages of the images are attributes of one Nix file. Otherwise each has a
        file, which is what Pants can tell apart.
    """

    scratch: Scratch
    count: int
    one_file: bool = False

    def write(self, *, paths: int, layers: int, word: str) -> None:
        """Writes all of it.

        :param paths: store paths of the runtime; `layers` are what they are split over.
        """
        self.write_base(paths, word)
        self.write_tool(word)
        self.scratch.write("bench/runtime/BUILD", _RUNTIME_BUILD, LAYERS=layers)
        packages = [name for number in range(self.count) for name in self._packages(number)]
        if self.one_file:
            self._write_everything(dict.fromkeys(packages, word))
            template = "".join(
                _PACKAGE_BUILD.replace("@NAME@", name).replace("@FILE@", "all.nix")
                for name in packages
            )
            self.scratch.write("bench/packages/BUILD", template)
        for number in range(self.count):
            self._write_image(number, word)

    def write_base(self, paths: int, word: str) -> None:
        """Changes what every package of every image is built with."""
        self.scratch.write("bench/runtime/base.nix", _BASE, PATHS=paths, WORD=word)

    def write_tool(self, word: str) -> None:
        """Changes a package of the runtime that no other one is built with."""
        values = {"BASE": "./base.nix", "NAME": "tool", "WORD": word}
        self.scratch.write("bench/runtime/tool.nix", _PACKAGE, **values)

    def write_leaf(self, word: str) -> None:
        """Changes a package that only the first image has."""
        first = self._packages(0)[0]
        if self.one_file:
            packages = [name for number in range(self.count) for name in self._packages(number)]
            self._write_everything({**dict.fromkeys(packages, "same"), first: word})
        else:
            self._write_package(0, first, word)

    def digests(self) -> dict[int, str]:
        """Reads the digest of each image from what `package` wrote."""
        dist = self.scratch.root / "dist"
        return {
            number: json.loads((dist / f"{_directory(number)}.json").read_text())["digest"]
            for number in range(self.count)
        }

    def _packages(self, number: int) -> list[str]:
        names = [f"app-{number:03}"]
        if number % _SECOND_PACKAGE == 0:
            names.append(f"data-{number:03}")
        return names

    def _write_image(self, number: int, word: str) -> None:
        directory = _directory(number)
        names = self._packages(number)
        build = ""
        if not self.one_file:
            for name in names:
                self._write_package(number, name, word)
                build += _PACKAGE_BUILD.replace("@NAME@", name).replace("@FILE@", f"{name}.nix")
        where = "bench/packages" if self.one_file else ""
        addresses = [f"{where}:{name}" for name in names]
        self.scratch.write(
            f"bench/{directory}/BUILD",
            build + _IMAGE_BUILD,
            PACKAGES=json.dumps(addresses),
            FIRST=addresses[0] if self.one_file else names[0],
            DATABASE=number % _DATABASE == 0,
            DIRECTORY=directory,
        )

    def _write_package(self, number: int, name: str, word: str) -> None:
        values = {"BASE": "../runtime/base.nix", "NAME": name, "WORD": word}
        self.scratch.write(f"bench/{_directory(number)}/{name}.nix", _PACKAGE, **values)

    def _write_everything(self, words: dict[str, str]) -> None:
        lines = [f'  {name} = base.run "{name}-{word}" [ base.base ];' for name, word in words.items()]
        self.scratch.write("bench/packages/all.nix", _EVERYTHING, ATTRIBUTES="\n".join(lines))


def _directory(number: int) -> str:
    return f"image-{number:03}"
