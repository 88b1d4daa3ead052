# What an image in which Nix runs is made of, apart from its programs. These come as arguments, so
# that the image may have those of nixpkgs (flake.nix) or any others.
#
# certificates: path of a file with the certificate authorities that downloads trust.
{ system, nix, bash, coreutils, certificates }:
let
  # Runs a script with the image's own shell and tools. So whatever is made here can be made in a
  # container of the image as well, where nothing else is. No binary cache has it.
  run = name: script: attributes: derivation ({
    inherit name system;
    builder = "${bash}/bin/bash";
    # Nix kills a builder that has closed its output, as other programs do just before they end. So
    # the shell must not let one of them take its place at the end of the script.
    args = [ "-euc" "${script}\nexit" ];
    PATH = "${coreutils}/bin";
    allowSubstitutes = false;
    preferLocalBuild = true;
  } // attributes);
in
rec {
  inherit nix bash coreutils;

  # Copied to the root of the image, and so in no store path of it. BUILD sets modes and owners.
  root = run "root" ''
    mkdir -p "$out"/{bin,etc/nix,etc/ssl/certs,home/user,root,tmp,usr/bin}
    printf %s "$nixConf" > "$out/etc/nix/nix.conf"
    printf %s "$passwd" > "$out/etc/passwd"
    printf %s "$group" > "$out/etc/group"
    ln -s "$certificates" "$out/etc/ssl/certs/ca-bundle.crt"
    ln -s ${bash}/bin/bash "$out/bin/sh"
    ln -s ${coreutils}/bin/env "$out/usr/bin/env"
  '' {
    inherit certificates;
    # Without build users everything is built by whoever runs Nix: there is one user in a container.
    # Nix's sandbox needs namespaces, which engines deny to containers that are not privileged.
    # Binary caches are those that Nix knows by itself.
    nixConf = ''
      build-users-group =
      sandbox = false
      experimental-features = nix-command flakes
    '';
    passwd = ''
      root:x:0:0:root:/root:/bin/sh
      user:x:1000:1000:user:/home/user:/bin/sh
      nobody:x:65534:65534:nobody:/:/bin/sh
    '';
    group = ''
      root:x:0:
      user:x:1000:
      nogroup:x:65534:
    '';
  };

  # The image config. It becomes part of the image's config and not of its store.
  config = run "config.json" ''printf %s "$json" > "$out"'' {
    json = builtins.toJSON {
      Cmd = [ "${bash}/bin/bash" ];
      Env = [
        "PATH=${nix}/bin:${bash}/bin:${coreutils}/bin"
        "NIX_SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt"
        # There is no `less`.
        "NIX_PAGER=cat"
      ];
    };
  };

  # Two things to build in a container. The second needs `config`, which is not in the image.
  greeting = run "greeting" ''echo "Hello from a build in a container." > "$out"'' { };
  report = run "report" ''{ echo "The image's config:"; cat "$config"; } > "$out"'' {
    inherit config;
  };
}
