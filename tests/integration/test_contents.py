"""Files in images: what Pants builds, and the small things of a file system, as real tools see them."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Mapping

import pytest

from tests.integration.support import engines
from tests.integration.support.contents_monorepo import (
    LIST,
    STATIC,
    listed,
    tree,
    write_contents_monorepo,
)
from tests.integration.support.go import go_options
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

#: Where the images are, in dist/.
_KINDS, _FIELDS, _GO, _EXAMPLE = "app/kinds", "app/fields", "app.go/image", "examples.files/image"
_FLOORS = "floors/image"

#: What the user of the image can do.
_USER = """\
id -u; id -g; id -un; id -gn; echo "$HOME"
echo home > ~/new; cat ~/new
echo data > /data/new; cat /data/new
echo tmp > /tmp/new; cat /tmp/new
(echo app > /app/new) 2> /dev/null || echo "not /app"
(echo www > /www/index.html) 2> /dev/null || echo "not /www/index.html"
cat /etc/shadow 2> /dev/null || echo "not /etc/shadow"
ls ~; ~/start; /app/sh -c 'echo linked'; cat /app/relative/new
"""

_USER_SAYS = """\
1000
1000
app
app
/home/app
home
data
tmp
not /app
not /www/index.html
not /etc/shadow
new
start
version.txt
linked
data
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Monorepo:
    """A monorepo whose images are packaged as OCI layouts."""
    made = Monorepo.create(tmp_path_factory.mktemp("contents"), machine_nix)
    write_contents_monorepo(made)
    made.pants(
        *go_options(),
        "--backend-packages=+['pants.backend.shell']",
        "package",
        "app:kinds",
        "app:fields",
        "app:told",
        "floors:image",
        "app/go:image",
        "examples/files:image",
    )
    return made


def _layout(repository: Monorepo, name: str) -> Path:
    return repository.root / "dist" / name


def _unpacked(repository: Monorepo, name: str, directory: Path) -> Path:
    return engines.umoci_unpack(_layout(repository, name), "latest", directory / "image")


def _files(root: Path) -> Mapping[str, tuple[int, bytes]]:
    """Returns mode and contents of all regular files below a directory."""
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def test_files_of_every_kind(repository: Monorepo, tmp_path: Path) -> None:
    """Paths, modes and contents: of an archive, of files that are copied, moved and generated."""
    root = _unpacked(repository, _KINDS, tmp_path)
    found = dict(_files(root))
    modes = {name: 0o555 if name == "tool" else 0o444 for name in STATIC}
    expected = {
        **{f"srv/files/app/static/{name}": (modes[name], data) for name, data in STATIC.items()},
        **{f"srv/stripped/{name}": (0o640, data) for name, data in STATIC.items()},
        **{f"srv/relocated/www/{name}": (modes[name], data) for name, data in STATIC.items()},
        "srv/generated/app/version.txt": (0o444, b"generated\n"),
        "srv/generated/app/start": (0o555, b"#!/bin/sh\n"),
    }
    bundle = found.pop("srv/bundle.tar")
    assert found.pop("srv/dist/app/bundle.tar") == bundle
    assert found == expected
    assert bundle[0] == 0o444
    with tarfile.open(fileobj=io.BytesIO(bundle[1])) as archive:
        assert {f"app/static/{name}" for name in STATIC} <= set(archive.getnames())
    assert {path.name for path in root.iterdir()} == {"srv"}


def test_what_other_targets_get_is_the_descriptor(repository: Monorepo) -> None:
    """Also of an image that is written as a layout; of a layer target it is its file."""
    with tarfile.open(_layout(repository, "app/told.tar")) as archive:
        told = {name: archive.extractfile(name) for name in archive.getnames()}
        files = {name: file.read() for name, file in told.items() if file is not None}
    descriptor = _layout(repository, f"{_FIELDS}.image.json").read_bytes()
    assert files.pop("app/fields.image.json") == files.pop("copied.json") == descriptor
    layers = json.loads(descriptor)["layers"]
    (base,) = json.loads(files.pop("layer.json"))["layers"][:1]
    assert base["digest"] == layers[0]["digest"]
    assert files == {}


def test_a_layer_for_each_entry(repository: Monorepo) -> None:
    """Store paths, then the fields of the file system, then files, and what Pants packaged on top."""
    layers = repository.descriptor(f"{_FIELDS}.image.json")["layers"]
    recipes = [layer["recipe"] for layer in layers]
    assert ["entries" in recipe for recipe in recipes] == [True, False, False, False, False]
    new: list[set[str]] = []
    for recipe in recipes[1:]:
        paths = {file["path"] for file in recipe["files"]}
        new.append(paths.difference(*new))
    system, moved, generated, bundle = new
    assert {"/app/sh", "/bin/sh", "/data", "/etc/passwd", "/home/app", "/tmp"} <= system
    assert moved == {"/www", "/www/css", *(f"/www/{name}" for name in STATIC)}
    assert generated == {"/home/app/start", "/home/app/version.txt"}
    assert bundle == {"/app/bundle.tar"}


def test_a_static_program_alone(repository: Monorepo, tmp_path: Path) -> None:
    """A Go binary is all that the image has, and runs; no Nix package is in it."""
    root = _unpacked(repository, _GO, tmp_path)
    assert {name: mode for name, (mode, _) in _files(root).items()} == {"hello": 0o555}
    assert [path.name for path in root.iterdir()] == ["hello"]
    result = engines.podman_run(f"oci:{_layout(repository, _GO)}:latest")
    assert result.stdout == "hello from Go\n"


def test_the_example_of_files(repository: Monorepo, tmp_path: Path) -> None:
    """`examples/files` runs as its user, and has what its BUILD file says."""
    layout = _layout(repository, _EXAMPLE)
    assert engines.podman_run(f"oci:{layout}:latest").stdout.startswith("Hello from a Nix store path")
    found = tree(_unpacked(repository, _EXAMPLE, tmp_path))
    assert found["/etc/web.conf"].startswith("-rw-r----- 0:1000 ")
    assert found["/home/web"] == "drwx------ 1000:1000"
    assert found["/bin/hello"].startswith("lrwxrwxrwx 0:0 /nix/store/")
    assert found["/srv/css/site.css"].startswith("-r--r--r-- 0:0 ")


def test_three_tools_see_one_tree(
    repository: Monorepo, docker: engines.Docker, tmp_path: Path
) -> None:
    """podman, docker and umoci agree on all paths, modes, owners, links and contents; and the image's
    user may do the same in both engines."""
    layout = _layout(repository, _FIELDS)
    source = f"oci:{layout}:latest"
    engines.skopeo("copy", source, f"docker-archive:{tmp_path / 'tar'}:fields:latest")
    image = docker.load(tmp_path / "tar")
    unpacked = tree(_unpacked(repository, _FIELDS, tmp_path))
    in_podman = listed(engines.podman_run(source, [LIST], options=["--user=0"]).stdout)
    in_docker = listed(docker.run("run", "--network=none", "--user=0", image, LIST).stdout)
    assert in_podman == unpacked
    assert in_docker == unpacked

    expected = {
        "/app": "drwxr-xr-x 0:0",
        "/app/relative": "lrwxrwxrwx 0:0 ../data",
        "/data": "drwxr-xr-x 1000:1000",
        "/home": "drwxr-xr-x 0:0",
        "/home/app": "drwx------ 1000:1000",
        "/root": "drwx------ 0:0",
        "/tmp": "drwxrwxrwt 0:0",
    }
    assert {path: unpacked[path] for path in expected} == expected
    modes = {
        "/etc/group": "-rw-r--r-- 0:0",
        "/etc/nsswitch.conf": "-rw-r--r-- 0:0",
        "/etc/passwd": "-rw-r--r-- 0:0",
        "/etc/shadow": "-rw------- 0:0",
        "/home/app/start": "-r-xr-xr-x 1000:1000",
        "/home/app/version.txt": "-r--r--r-- 1000:1000",
        "/www/tool": "-r--r--r-- 0:0",
    }
    assert {path: unpacked[path].rpartition(" ")[0] for path in modes} == modes
    shell = unpacked["/bin/sh"].split()[2]
    assert shell.endswith("-busybox/sh")
    assert unpacked["/app/sh"].split()[2] == shell
    assert unpacked[shell].startswith("-r-xr-xr-x 0:0 ")

    assert engines.podman_run(source, [_USER]).stdout == _USER_SAYS
    assert docker.run("run", "--network=none", image, _USER).stdout == _USER_SAYS


def test_three_tools_see_one_tree_of_three_layers(
    repository: Monorepo, docker: engines.Docker, tmp_path: Path
) -> None:
    """Directories that three layer targets, files and a Nix database have in common: modes and owners are
    those of the target that says some, wherever else they are written."""
    source = f"oci:{_layout(repository, _FLOORS)}:latest"
    engines.skopeo("copy", source, f"docker-archive:{tmp_path / 'tar'}:floors:latest")
    image = docker.load(tmp_path / "tar")
    unpacked = tree(_unpacked(repository, _FLOORS, tmp_path))
    in_podman = listed(engines.podman_run(source, [LIST], options=["--user=0"]).stdout)
    in_docker = listed(docker.run("run", "--network=none", "--user=0", image, LIST).stdout)
    assert in_podman == unpacked
    assert in_docker == unpacked
    expected = {
        "/tmp": "drwxrwxrwt 0:0",
        "/tmp/sub": "drwxr-xr-x 0:0",
        "/tmp/sub/top": "drwxr-xr-x 0:0",
        "/tmp/static/css": "drwxr-xr-x 0:0",
        "/tmp/link": "lrwxrwxrwx 0:0 static",
        "/home": "drwxr-xr-x 0:0",
        "/home/app": "drwx------ 1000:1000",
        "/home/app/conf": "drwxr-xr-x 0:0",
        "/home/app/bin": "drwxr-xr-x 0:0",
        "/data": "drwxr-xr-x 1000:1000",
        "/data/top": "drwx------ 0:0",
        "/nix": "drwxr-xr-x 0:0",
        "/nix/store": "drwxrwxr-t 0:30000",
        "/nix/var": "drwxr-xr-x 0:0",
        "/nix/var/log": "drwxr-xr-x 0:0",
        "/nix/var/nix/db": "drwxr-xr-x 0:0",
        "/nix/var/nix/profiles": "drwxrwxrwt 0:0",
    }
    assert {path: unpacked[path] for path in expected} == expected
    script = "cat /etc/motd; echo home > ~/new; echo tmp > /tmp/new; echo data > /data/new; ls ~/bin"
    say = "middle\nstart\nversion.txt\n"
    options = ["--env=HOME=/home/app"]
    assert engines.podman_run(source, [script], options=options).stdout == say
    in_docker_said = docker.run("run", "--network=none", *options, image, script).stdout
    assert in_docker_said == say


def test_accounts_have_names_and_numbers(
    repository: Monorepo, docker: engines.Docker, tmp_path: Path
) -> None:
    """Those of the layer and those of the image: one `/etc/passwd` and its like."""
    root = _unpacked(repository, _FIELDS, tmp_path)
    assert (root / "etc/passwd").read_text().splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "app:x:1000:1000:app:/home/app:/sbin/nologin",
        "helper:x:1001:50:helper:/:/bin/sh",
    ]
    assert set((root / "etc/group").read_text().splitlines()) == {
        "root:x:0:",
        "staff:x:50:",
        "app:x:1000:",
    }
    source = f"oci:{_layout(repository, _FIELDS)}:latest"
    script = "id -u; id -gn; echo $HOME"
    result = engines.podman_run(source, [script], options=["--user=helper"])
    assert result.stdout == "1001\nstaff\n/\n"
