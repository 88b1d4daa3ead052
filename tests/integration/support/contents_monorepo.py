"""A monorepo with images of all kinds of files, and how three tools see what is in them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Mapping

from tests.integration.support.busybox_image import write_busybox_image
from tests.integration.support.monorepo import Monorepo

EXAMPLES = Path(__file__).parents[3] / "examples"

_GO_BUILD = """\
go_mod(name="mod")
go_package()
go_binary(name="hello")
nix_image(name="image", contents={":hello": "/hello"}, entrypoint=["/hello"], output_format="oci-layout")
"""

_GO = """\
package main

import "os"

func main() {
\tos.Stdout.WriteString("hello from Go\\n")
}
"""

_BUILD = """\
files(name="static", sources=["static/**"])
relocated_files(name="moved", files_targets=[":static"], src="app/static", dest="www")
archive(name="bundle", format="tar", files=[":static"])
shell_command(
    name="generated",
    command="echo generated > version.txt; echo '#!/bin/sh' > start; chmod +x start",
    tools=["chmod"],
    output_files=["start", "version.txt"],
    workdir=".",
)

nix_image(
    name="kinds",
    contents=[
        nix_contents(":bundle", to="/srv/bundle.tar"),
        nix_contents(":bundle", to="/srv/dist/"),
        nix_contents(":static", to="/srv/files/"),
        nix_contents(":static", to="/srv/stripped/", strip_prefix="app/static", mode="0640"),
        nix_contents(":moved", to="/srv/relocated/"),
        nix_contents(":generated", to="/srv/generated/"),
    ],
    output_format="oci-layout",
)

shell_command(
    name="copied",
    execution_dependencies=[":fields", ":base"],
    tools=["cp"],
    command="cp app/fields.image.json copied.json; cp app/base.layer.json layer.json",
    workdir="/",
    output_files=["copied.json", "layer.json"],
)
archive(name="told", format="tar", packages=[":fields"], files=[":copied"])

nix_layer(
    name="base",
    packages=["busybox:busybox"],
    directories=[
        {"path": "/tmp", "mode": "1777"},
        {"path": "/data", "uid": 1000, "gid": 1000},
    ],
    users=[{"name": "app", "uid": 1000, "home": "/home/app"}],
    symlinks={"/bin/sh": "{busybox}/sh"},
)

nix_image(
    name="fields",
    layers=[":base"],
    contents=[
        nix_contents(":bundle", to="/app/bundle.tar"),
        nix_contents(":moved", to="/", mode="0444"),
        nix_contents(":generated", to="/home/app/", owner="app", strip_prefix="app"),
    ],
    groups=[{"name": "staff", "gid": 50}],
    users=[{"name": "helper", "uid": 1001, "gid": 50, "shell": "/bin/sh"}],
    symlinks={"/app/sh": "{busybox}/sh", "/app/relative": "../data"},
    user="app",
    entrypoint=["/bin/sh", "-euc"],
    output_format="oci-layout",
)
"""

#: Three layer targets that have directories in common, each with a tree of its own.
_FLOORS_BUILD = """\
[nix_package(name=name, source="default.nix", attr=name) for name in ("low", "middle", "top", "extra")]

nix_layer(
    name="lower",
    packages=["busybox:busybox"],
    copy_to_root=[":low"],
    permissions=[
        {"path": "/tmp", "mode": "1777"},
        {"path": "/home/app", "mode": "0700", "uid": 1000, "gid": 1000},
        {"path": "/nix/store", "mode": "1775", "gid": 30000},
    ],
    users=[{"name": "app", "uid": 1000}],
)
nix_layer(
    name="upper",
    layers=[":lower"],
    packages=[":extra"],
    copy_to_root=[":middle"],
    shadows=["/etc/motd"],
    contents=[nix_contents("app:generated", to="/home/app/bin/", owner="app", strip_prefix="app")],
)
nix_image(
    name="image",
    layers=[":upper"],
    copy_to_root=[":top"],
    contents=[nix_contents("app:static", to="/tmp/static/", strip_prefix="app/static")],
    directories=[{"path": "/data", "uid": 1000, "gid": 1000}],
    symlinks={"/bin/sh": "{busybox}/sh", "/tmp/link": "static"},
    nix_database=True,
    permissions=[{"path": "/nix/var/nix/profiles", "mode": "1777"}, {"path": "/data/.*", "mode": "0700"}],
    user="app",
    entrypoint=["/bin/sh", "-euc"],
    output_format="oci-layout",
)
"""

_FLOORS_NIX = """\
let
  make = name: script: derivation {
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-e" "-c" script ];
  };
in
{
  low = make "low" "/bin/mkdir -p $out/tmp $out/home/app $out/etc; echo low > $out/etc/motd";
  middle = make "middle" ''
    /bin/mkdir -p $out/tmp/sub $out/home/app/conf $out/etc
    echo middle > $out/etc/motd
    echo conf > $out/home/app/conf/conf
  '';
  top = make "top" "/bin/mkdir -p $out/tmp/sub/top $out/data/top $out/nix/var/log; echo > $out/tmp/sub/top/file";
  extra = make "extra" "echo extra > $out";
}
"""

#: The files of `static`, with the bit that makes one of them a program.
STATIC = {
    "index.html": b"<p>hello</p>\n",
    "css/site.css": b"p { color: black }\n",
    "tool": b"#!/bin/sh\n",
}


def write_contents_monorepo(repository: Monorepo) -> None:
    """Writes the images `app:kinds`, `app:fields`, `floors:image`, `app/go:image` and `examples/files:image`."""
    repository.write("app/BUILD", _BUILD)
    repository.write("floors/BUILD", _FLOORS_BUILD)
    repository.write("floors/default.nix", _FLOORS_NIX)
    for name, content in STATIC.items():
        repository.write(f"app/static/{name}", content.decode())
    (repository.root / "app/static/tool").chmod(0o755)
    write_busybox_image(repository, "busybox")
    repository.write("app/go/BUILD", _GO_BUILD)
    repository.write("app/go/go.mod", "module example.com/hello\n\ngo 1.19\n")
    repository.write("app/go/main.go", _GO)
    for name in ("files", "hello"):
        shutil.copytree(EXAMPLES / name, repository.root / "examples" / name)


#: Prints a tree as `tree` returns it, in a container.
LIST = r"""
for top in app bin data etc home nix root srv tmp www; do
    if [ -e "/$top" ]; then find "/$top"; fi
done | while read -r path; do
    what=
    if [ -L "$path" ]; then what=$(readlink "$path")
    elif [ -f "$path" ]; then what=$(sha256sum < "$path")
    fi
    echo "$path $(stat -c '%A %u:%g' "$path") ${what%  -}"
done
"""

#: What engines put into every container.
_ENGINES = {"/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"}


def listed(output: str) -> Mapping[str, str]:
    """Returns what `LIST` printed: by path, its mode, its owner, and its target or hash."""
    pairs = (line.rstrip().split(" ", 1) for line in output.splitlines())
    return {path: rest for path, rest in pairs if path not in _ENGINES}


def tree(root: Path) -> Mapping[str, str]:
    """Returns the same of an unpacked root file system."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        words = [stat.filemode(status.st_mode), f"{status.st_uid}:{status.st_gid}"]
        if stat.S_ISLNK(status.st_mode):
            words.append(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            words.append(hashlib.sha256(path.read_bytes()).hexdigest())
        found[f"/{path.relative_to(root)}"] = " ".join(words)
    return found
