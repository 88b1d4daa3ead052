"""Nix files of which much is wrong."""

from __future__ import annotations

_ALONE = """
let text = name: attributes: script: derivation (attributes // {
  inherit name; system = attributes.system or "x86_64-linux"; builder = "/bin/sh";
  args = [ "-e" "-c" script ];
}); in rec {
  good = text "good" { } "echo good > $out";
  user = text "user" { inherit good; } "echo $good > $out";
  arm = good // { stdenv.hostPlatform.system = "aarch64-linux"; };

  one-tree = text "one-tree" { } "/bin/mkdir -p $out/etc; echo 1 > $out/etc/passwd";
  other-tree = text "other-tree" { } "/bin/mkdir -p $out/etc; echo 2 > $out/etc/passwd";
  deleting = text "deleting" { } "/bin/mkdir -p $out/etc; echo > $out/etc/.wh.passwd";
  large = text "large" { } "/usr/bin/head -c 200000 /dev/zero > $out";
  foreign = text "foreign" { system = "aarch64-linux"; } "echo foreign > $out";
  needs-foreign = import (text "file.nix" { system = "aarch64-linux"; } "echo 1 > $out");
  throws = throw "this is Nix's own message";
  fails = text "fails" { } "echo the last words of the build; exit 3";
  hidden = import ./hidden.nix;
  unseen = import ./unseen.nix; # pants: no-infer-dep
  listed = builtins.readDir ./data; # pants: no-infer-dep
  host = import /etc/nothing.nix;
  number = 1;
  fetched = import (builtins.fetchTarball "https://example.invalid/branch.tar.gz") { };
  bad-config = text "config" { } "echo '{\\"config\\": {\\"Env\\": 7}}' > $out";
}
"""


_FLOATING = """
let
  make = name: attributes: derivation (attributes // {
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo $dep > $out" ];
  });
  hash = { outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in rec {
  floating = make "floating" ({ __contentAddressed = true; } // hash);
  impure = make "impure" ({ __impure = true; } // hash);
  user = make "user" { dep = floating; };
  other = make "other" { dep = impure; };
}
"""


SOURCES = {
    "default.nix": _ALONE,
    "hidden.nix": "{ }",
    "floating.nix": _FLOATING,
    "unseen.nix": "{ }",
    "data/1": "",
    "data/2": "",
    "sub/flake.nix": "{ outputs = _: { p = import ../hidden.nix; }; }",
}


def image_of(package: str, image: str = "") -> str:
    """A BUILD file with an image of one package."""
    return f'nix_package(name="p", {package})\nnix_image(name="image", packages=[":p"], {image})\n'
