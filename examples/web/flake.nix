{
  description = "The Python that a web service runs on";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { nixpkgs, ... }:
    let systems = [ "x86_64-linux" "aarch64-linux" ];
    in {
      packages = nixpkgs.lib.genAttrs systems (system: {
        python = nixpkgs.legacyPackages.${system}.python3;
      });
    };
}
