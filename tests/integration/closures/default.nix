# Debian packages as Nix store paths with true references between them, made without nixpkgs and
# without network: the .deb files lie in ./debs, beside this file. Of what `packages` lists, those
# must be there that the attribute to be built needs.
let
  inherit (builtins) attrNames concatLists elemAt filter head map match path readDir replaceStrings;

  archives = attrNames (readDir ./debs);
  escaped = replaceStrings [ "." "+" ] [ "\\." "\\+" ];
  archiveOf = package:
    let found = filter (name: match "${escaped package}_.*\\.deb" name != null) archives;
    in if found == [ ] then throw "no archive of ${package} in ./debs" else head found;

  # Store path names allow fewer characters than Debian's versions and archive names have.
  versionOf = package:
    let version = elemAt (match "[^_]*_([^_]*)_.*" (archiveOf package)) 0;
    in replaceStrings [ "%3a" "~" ] [ "-" "-" ] version;
  archive = package: path {
    path = ./debs + "/${archiveOf package}";
    name = "${replaceStrings [ "+" ] [ "-" ] package}.deb";
  };

  # One store path made of `packages`, whose programs find their libraries in the path itself, in
  # `inputs` and in glibc. The first package gives the version.
  unpacked = name: { packages, inputs ? [ ], links ? [ ] }: derivation {
    name = "${name}-${versionOf (head packages)}";
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-e" ./unpack.sh ];
    archives = map archive packages;
    # glibc itself must stay as it is: a patched loader does not start.
    glibc = if name == "glibc" then "" else built.glibc;
    inherit inputs links;
  };

  specifications = with built; {
    glibc = { packages = [ "libc6" ]; };
    tinfo = { packages = [ "libtinfo6" ]; };
    attr = { packages = [ "libattr1" ]; };
    acl = { packages = [ "libacl1" ]; inputs = [ attr ]; };
    gmp = { packages = [ "libgmp10" ]; };
    pcre2 = { packages = [ "libpcre2-8-0" ]; };
    selinux = { packages = [ "libselinux1" ]; inputs = [ pcre2 ]; };
    gcc-lib = { packages = [ "libgcc-s1" ]; };
    # As in the `lib` of nixpkgs' gcc.
    stdcxx = { packages = [ "libstdc++6" "libgcc-s1" ]; };
    zlib = { packages = [ "zlib1g" ]; };
    expat = { packages = [ "libexpat1" ]; };
    openssl = { packages = [ "libssl3" ]; };
    bash = {
      packages = [ "bash" ];
      inputs = [ tinfo ];
      links = [ "bin/sh=bash" ];
    };
    coreutils = {
      packages = [ "coreutils" ];
      inputs = [ acl attr gmp selinux openssl ];
    };
    python = {
      packages = [ "python3.11-minimal" "libpython3.11-minimal" "libpython3.11-stdlib" ];
      inputs = [ zlib expat openssl gcc-lib ];
      links = [ "bin/python3=python3.11" ];
    };
    cacert = { packages = [ "ca-certificates" ]; };
    # Nix with all of its libraries in one path; glibc alone is a path of its own.
    nix = {
      packages = [
        "nix-bin" "libacl1" "libarchive13" "libboost-context1.74.0" "libbrotli1" "libbsd0"
        "libbz2-1.0" "libcom-err2" "libcpuid16" "libcurl3-gnutls" "libffi8" "libgc1" "libgcc-s1"
        "libgmp10" "libgnutls30" "libgssapi-krb5-2" "libhogweed6" "libicu72" "libidn2-0"
        "libk5crypto3" "libkeyutils1" "libkrb5-3" "libkrb5support0" "libldap-2.5-0" "liblz4-1"
        "liblzma5" "libmd0" "libnettle8" "libnghttp2-14" "libp11-kit0" "libpsl5" "libreadline8"
        "librtmp1" "libsasl2-2" "libseccomp2" "libsodium23" "libsqlite3-0" "libssh2-1" "libssl3"
        "libstdc++6" "libtasn1-6" "libtinfo6" "libunistring2" "libxml2" "libzstd1" "zlib1g"
      ];
    };
  };

  built = builtins.mapAttrs unpacked specifications;
in
built // {
  # Every Debian package that the attributes above are made of; needs no archive to be evaluated.
  packages = concatLists (map (name: specifications.${name}.packages) (attrNames specifications));

  # A program whose references come from its text alone.
  app = derivation {
    name = "app";
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-e" ./app.sh ];
    inherit (built) bash coreutils python;
  };
}
