{
  description = "An image in which Nix runs, of programs from nixpkgs";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { nixpkgs, ... }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      packages = system:
        let pkgs = nixpkgs.legacyPackages.${system};
        in import ./image.nix {
          inherit system;
          inherit (pkgs) nix bash coreutils;
          certificates = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
        };
    in { packages = nixpkgs.lib.genAttrs systems packages; };
}
