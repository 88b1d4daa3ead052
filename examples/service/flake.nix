{
  description = "What a web service with wheels from PyPI runs on";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { nixpkgs, ... }:
    let systems = [ "x86_64-linux" "aarch64-linux" ];
    in {
      packages = nixpkgs.lib.genAttrs systems (system:
        let pkgs = nixpkgs.legacyPackages.${system};
        in {
          python = pkgs.python312;
          # Wheels expect the libraries of their compilers in the system.
          stdcxx = pkgs.stdenv.cc.cc.lib;
        });
    };
}
