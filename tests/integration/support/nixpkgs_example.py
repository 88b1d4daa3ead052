"""`examples/nixpkgs` with a stand-in for nixpkgs: a flake of the same layout, made of Debian's programs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.monorepo import Monorepo

EXAMPLE = Path(__file__).parents[3] / "examples" / "nixpkgs"

#: Those functions of nixpkgs that the example calls, with the arguments that it calls them with.
_NIXPKGS = """\
{
  outputs = { self }:
    let
      debian = import ./debian;
      genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
      packages = system:
        let
          run = name: attributes: script: derivation ({
            inherit name system;
            builder = "${debian.bash}/bin/bash";
            # A shell becomes its last program. Programs of coreutils close their output before they end, and Nix kills
            # a builder that has closed it.
            args = [ "-euc" "${script}\nexit 0" ];
            PATH = "${debian.coreutils}/bin";
          } // attributes);
          python3 = debian.python // {
            withPackages = choose: run "python3-env"
              { inherit (debian) python; libraries = choose { flask = debian.expat; }; }
              "mkdir -p $out/bin; ln -s $python/bin/python3 $out/bin/python3";
          };
        in {
          inherit python3;
          inherit (debian) bash coreutils;
          writeShellApplication = { name, runtimeInputs ? [ ], text }: run name
            {
              inherit text;
              shell = "${debian.bash}/bin/bash";
              programs = builtins.concatStringsSep ":" (map (one: "${one}/bin") runtimeInputs);
            } ''
              mkdir -p $out/bin
              printf '#!%s\\nexport PATH=%s\\n%s' "$shell" "$programs" "$text" > $out/bin/''${name}
              chmod +x $out/bin/''${name}
            '';
          buildEnv = { name, paths, pathsToLink }: run name { inherit paths; } ''
            mkdir -p $out/etc
            for path in $paths; do cp -r $path/etc/. $out/etc; chmod -R u+w $out/etc; done
          '';
          dockerTools = {
            caCertificates = run "ca-certificates" { } "mkdir -p $out/etc/ssl/certs; echo certificates > $out/etc/ssl/certs/ca-bundle.crt";
            fakeNss = run "fake-nss" { } "mkdir -p $out/etc; echo 'nobody:x:65534:65534::/:/bin/false' > $out/etc/passwd";
          };
        };
    in { legacyPackages = genAttrs [ "x86_64-linux" "aarch64-linux" ] packages; lib = { inherit genAttrs; }; };
}
"""

_URL = "github:NixOS/nixpkgs/nixos-25.05"


def write_nixpkgs_example(repository: Monorepo, directory: str) -> None:
    """Writes the example without its BUILD file; in its place is that of the stand-in.

    :raises CommandFailedError: apt could not fetch the packages.
    """
    root = repository.root / directory
    shutil.copytree(EXAMPLE / "src", root / "src")
    flake = (EXAMPLE / "flake.nix").read_text()
    assert _URL in flake
    (root / "flake.nix").write_text(flake.replace(_URL, "path:./nixpkgs"))
    nixpkgs = root / "nixpkgs"
    materialize_debian_closure(nixpkgs / "debian")
    (nixpkgs / "flake.nix").write_text(_NIXPKGS)
    hash_ = repository.nix.run("nix", "hash", "path", nixpkgs).strip()
    path = {"type": "path", "path": "./nixpkgs"}
    node = {"original": path, "locked": {**path, "narHash": hash_, "lastModified": 1}, "parent": []}
    nodes = {"nixpkgs": node, "root": {"inputs": {"nixpkgs": "nixpkgs"}}}
    (root / "flake.lock").write_text(json.dumps({"nodes": nodes, "root": "root", "version": 7}))


def example_targets(without_packages: bool) -> str:
    """Returns the BUILD file of the example, for any command.

    :param without_packages: leaves out what `pants tailor` writes.
    """
    text = re.sub(r"__defaults__\(.*\n", "", (EXAMPLE / "BUILD").read_text())
    return re.sub(r"(nix_sources|nix_package)\(.*\)\n", "", text) if without_packages else text
