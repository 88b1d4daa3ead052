"""A monorepo with `pex_binary` targets of all kinds, wheels that are made for it, and images of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Mapping

from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.interpreters import interpreter
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.pex import pex_options
from tests.integration.support.process import run
from tests.integration.support.tools import tool
from tests.integration.support.wheels import wheel_options, write_wheel

SITE = "/app/lib/python3.11/site-packages"

_BUILD = """\
nix_sources(name="nix", sources=["*.nix", "debian/**"])
nix_package(name="python", source="default.nix", attr="python", dependencies=[":nix"])
nix_package(name="glibc", source="default.nix", attr="glibc", dependencies=[":nix"])
nix_package(name="stdcxx", source="default.nix", attr="stdcxx", dependencies=[":nix"])

python_requirement(
    name="dists", requirements=["one", "two", "tool"], modules=["shared", "space", "tool"]
)
python_requirement(name="native", requirements=["native"])
python_requirement(name="stable", requirements=["stable"])
python_requirement(name="needy", requirements=["needy"])
python_requirement(name="gone", requirements=["one"], modules=["gone"])

resources(name="words", sources=["*.txt"])
python_sources(name="lib", dependencies=[":words", ":dists", "space:lib"])

pex_binary(name="module", entry_point="main.py")
pex_binary(
    name="function",
    entry_point="main.py:Program.run",
    args=["--quoted", "it's \\"\\u00e9\\"", "two\\nlines"],
    env={{"GREETING": "hello", "SET": "by the PEX"}},
)
pex_binary(name="script", script="tool", dependencies=[":dists"], args=["first"])
pex_binary(name="sources", entry_point="plain.py", include_requirements=False)
pex_binary(name="requirements", dependencies=[":dists"], include_sources=False)
pex_binary(name="library", entry_point="main.py", execution_mode="venv", layout="packed")

files(name="platforms", sources=["*.json"])
pex_binary(name="stable_abi", dependencies=[":stable"])
pex_binary(name="for_mac", dependencies=[":native"], complete_platforms=["app/mac.json:platforms"])
pex_binary(name="for_musl", dependencies=[":native"], complete_platforms=["app/musl.json:platforms"])
pex_binary(
    name="for_several",
    dependencies=[":native"],
    complete_platforms=["app/mac.json:platforms", "app/linux.json:platforms"],
)
pex_binary(name="inherits", entry_point="plain.py", inherit_path="prefer")
pex_binary(name="no_script", script="nothing", dependencies=[":dists"])
pex_binary(name="needs_library", dependencies=[":needy"])
pex_binary(name="own", dependencies=[":stable", "//:own"])
pex_binary(name="foreign", entry_point="plain.py", complete_platforms=["app/linux.json:platforms"])

{images}

nix_image(
    name="image-has_library",
    packages=[":python", ":stdcxx", ":glibc"],
    contents=[
        nix_contents(
            ":needs_library",
            to="/app",
            split="dependencies",
            interpreter="{{python}}/bin/python3",
        ),
    ],
    env={{"LD_LIBRARY_PATH": "{{stdcxx}}/lib:{{glibc}}/lib"}},
)
nix_image(
    name="image-ignores_library",
    packages=[":python"],
    contents=[
        nix_contents(
            ":needs_library",
            to="/app",
            split="dependencies",
            interpreter="{{python}}/bin/python3",
        ),
    ],
    ignore_missing_libraries=["libstdc++.so.*", "libc.so.6"],
)

# A program that was built for a system as distributions are.
file(name="true", source="true")
nix_image(name="image-no_loader", contents={{":true": "/bin/true"}})
nix_image(
    name="image-has_loader",
    packages=[":glibc"],
    contents={{":true": "/bin/true"}},
    symlinks={{"/lib64/ld-linux-x86-64.so.2": "{{glibc}}/lib/ld-linux-x86-64.so.2"}},
    env={{"LD_LIBRARY_PATH": "{{glibc}}/lib"}},
    output_format="oci-layout",
)

# Interpreters that are at plain paths.
nix_image(
    name="image-copied",
    copy_to_root=[":python"],
    contents=[
        nix_contents(":sources", to="/app", split="dependencies", interpreter="/bin/python3"),
    ],
)
nix_image(
    name="image-linked",
    symlinks={{"/usr/bin/python3": "python3.11", "/usr/bin/python3.11": "{{python}}/bin/python3"}},
    packages=[":python"],
    contents=[
        nix_contents(":sources", to="/app", split="dependencies", interpreter="/usr/bin/python3"),
    ],
    output_format="oci-layout",
)
nix_image(
    name="image-foreign",
    contents=[
        nix_contents(":foreign", to="/app", split="dependencies", interpreter="/usr/bin/python3"),
    ],
)
nix_image(
    name="image-unknown",
    contents=[
        nix_contents(":sources", to="/app", split="dependencies", interpreter="/usr/bin/python3"),
    ],
)
"""

_IMAGE = """\
nix_image(
    name="image-{name}",
    packages=[":python"],
    contents=[
        nix_contents(
            ":{name}", to="/app", split="dependencies", interpreter="{interpreter}"{more}
        ),
    ],
    directories=[{{"path": "/tmp", "mode": "1777"}}],
    entrypoint=["/app/pex"],
    output_format={format},
)
"""

_MAIN = """\
import json, os, pkgutil, sys

import shared
import space.one, space.own, space.two


def facts():
    here = __name__.rpartition(".")[0] or __package__
    return {
        "arguments": sys.argv[1:],
        "greeting": os.environ.get("GREETING"),
        "set": os.environ.get("SET"),
        "resource": pkgutil.get_data("app", "words.txt").decode(),
        "shared": shared.NAME,
        "space": [space.one.NAME, space.own.NAME, space.two.NAME],
    }


class Program:
    @staticmethod
    def run():
        print(json.dumps(facts()))
        return 3


if __name__ == "__main__":
    print(json.dumps(facts()))
"""

_TOOL = """\
import sys


def main():
    print("tool", *sys.argv[1:])
"""

#: What pex needs to know of a platform.
_MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}

#: Tags of the platforms of which there is a wheel of `native`, by the name of its platform.
NATIVE = {
    "linux": "cp311-cp311-manylinux_2_17_x86_64",
    "mac": "cp311-cp311-macosx_11_0_arm64",
    "musl": "cp311-cp311-musllinux_1_1_x86_64",
}


def write_pex_monorepo(repository: Monorepo, wheels: Path) -> tuple[str, ...]:
    """Writes the images `app:image-…`; returns the options with which Pants packages them.

    :param wheels: a directory that gets the wheels, unless it has them.
    """
    materialize_debian_closure(repository.root / "app" / "debian")
    repository.write("app/default.nix", "import ./debian\n")
    repository.write("app/main.py", _MAIN)
    repository.write("app/__init__.py", "")
    repository.write("app/plain.py", "print('plain')\n")
    repository.write("app/words.txt", "of the repository\n")
    # It has the name of what a requirement has.
    repository.write("stable.py", "NAME = 'own'\n")
    repository.write("BUILD", "python_source(name='own', source='stable.py')\n")
    repository.write("space/own.py", "NAME = 'own'\n")
    repository.write("space/BUILD", "python_sources(name='lib')\n")
    for name, tag in NATIVE.items():
        markers = dict(_MARKERS)
        if name == "mac":
            markers.update(sys_platform="darwin", platform_system="Darwin")
        document = {"compatible_tags": [tag, "py3-none-any"], "marker_environment": markers}
        repository.write(f"app/{name}.json", json.dumps(document))
    repository.write("app/BUILD", _BUILD.format(images="\n".join(map(_image, _IMAGES))))
    shutil.copyfile(os.path.realpath("/bin/true"), repository.root / "app" / "true")
    (repository.root / "app" / "true").chmod(0o755)
    if not wheels.exists():
        _write_wheels(wheels)
    return (*pex_options(), *wheel_options(wheels))


#: Names of the `pex_binary` targets that have an image, and what else is said of them.
_IMAGES = (
    "module",
    "function",
    "script",
    "sources",
    "requirements",
    "library",
    "stable_abi",
    "for_mac",
    "for_musl",
    "for_several",
    "inherits",
    "no_script",
    "needs_library",
    "own",
)

#: Images that are written as OCI layouts, to be run.
RUN = ("module", "function", "script", "sources", "requirements", "library", "own")


def _image(name: str) -> str:
    return _IMAGE.format(
        name=name,
        interpreter="{python}/bin/python3",
        more=', libraries=["space:lib"]' if name == "library" else "",
        format='"oci-layout"' if name in RUN else "None",
    )


def _write_wheels(directory: Path) -> None:
    write_wheel(
        directory,
        "one",
        "1.0",
        {"space/one.py": "NAME = 'one'\n", "shared.py": "NAME = 'of one'\n"},
    )
    write_wheel(
        directory,
        "two",
        "1.0",
        {
            "space/two.py": "NAME = 'two'\n",
            "shared.py": "NAME = 'of two'\n",
            "{data}/data/share/two/data.txt": "data\n",
            "broken.py": "this is no Python\n",
        },
    )
    write_wheel(directory, "tool", "2.0", {"tool.py": _TOOL}, scripts={"tool": "tool:main"})
    stable = {"stable.py": "NAME = 'stable'\n"}
    write_wheel(directory, "stable", "1.0", stable, tag="cp39-abi3-manylinux_2_17_x86_64")
    needy = {"needy.so": _library_that_needs("libstdc++.so.6")}
    write_wheel(directory, "needy", "1.0", needy, tag=NATIVE["linux"])
    for name, tag in NATIVE.items():
        write_wheel(directory, "native", "1.0", {"native.py": f"NAME = {name!r}\n"}, tag=tag)


def _library_that_needs(name: str) -> bytes:
    """Returns a library of C that says that it needs one more."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory, "library.so")
        shutil.copyfile(os.path.realpath("/lib/x86_64-linux-gnu/libanl.so.1"), library)
        run([tool("patchelf"), "--add-needed", name, library])
        return library.read_bytes()


def paths_of(descriptor: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    """Returns all files of the layers of files, by their paths."""
    layers = descriptor["layers"]
    assert isinstance(layers, list)
    return {
        file["path"]: file for layer in layers for file in layer["recipe"].get("files", ())
    }


def older_python() -> tuple[str, Path]:
    """Returns a constraint that the Python of the image does not meet, and where one is that does."""
    say = "import platform, sys; print(platform.python_version()); print(sys.base_prefix)"
    version, place = run([interpreter("3.9"), "-I", "-c", say]).stdout.splitlines()
    return f"CPython=={version}", Path(place, "bin")
