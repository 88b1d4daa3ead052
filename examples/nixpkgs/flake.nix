{
  description = "A Python service that takes its runtime from nixpkgs";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { nixpkgs, ... }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      packages = system:
        let pkgs = nixpkgs.legacyPackages.${system};
        in {
          python = pkgs.python3.withPackages (packages: [ packages.flask ]);

          # The application, as a store path. Evaluation sees the file since a target owns it.
          app = pkgs.writeShellApplication {
            name = "app";
            runtimeInputs = [ pkgs.coreutils ];
            text = ''
              exec ${pkgs.python3}/bin/python3 ${./src/app.py} "$@"
            '';
          };

          # What programs expect at the root of a file system.
          root = pkgs.buildEnv {
            name = "root";
            paths = [ pkgs.dockerTools.caCertificates pkgs.dockerTools.fakeNss ];
            pathsToLink = [ "/etc" ];
          };
        };
    in { packages = nixpkgs.lib.genAttrs systems packages; };
}
