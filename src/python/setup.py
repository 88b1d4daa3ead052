"""Builds the wheel, in Pants (`./pants package src/python:dist`) and outside (`pip wheel ./src/python`).

The same sources and version give the same bytes, whenever and by whomever the wheel is built.
"""

import os
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

# Modes of files get into the wheel, and times if nothing else is said. The time is the earliest of a zip file.
os.umask(0o022)
os.environ["SOURCE_DATE_EPOCH"] = "315532800"

HERE = Path(__file__).parent


class BuildPy(build_py):
    """Copies sources without the modes that they have here."""

    def copy_file(self, *arguments, **options):
        return super().copy_file(*arguments, **{**options, "preserve_mode": False})


setup(
    name="pants-backend-nix",
    # `./pants` says it, see build-support/version.
    version=os.environ.get("PLUGIN_VERSION") or (HERE / "VERSION").read_text().strip() + ".dev0",
    description="Pants targets for OCI images made of Nix store closures, without layer archives",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["nixoci", "nixoci.*", "pants_backend_nix", "pants_backend_nix.*"]),
    package_data={"nixoci.report": ["page_parts/*"]},
    entry_points={"console_scripts": ["nixoci = nixoci.__main__:console"]},
    cmdclass={"build_py": BuildPy},
    # What is compressed depends on the version of zlib.
    options={"bdist_wheel": {"compression": "stored"}},
    # Pants, which the plugin runs in, is none: newer versions are on no index. Both ends of each range were tested,
    # as far as wheels go.
    install_requires=[
        # Reads ELF files, see `nixoci.elf.facts`.
        "pyelftools>=0.29,<0.34",
        # Parses Nix files, see `pants_backend_nix.rules.inference.grammar`.
        "tree-sitter>=0.23.2,<0.27",
        'tree-sitter-nix>=0.1.0,<0.2; python_version >= "3.10"',
        'tree-sitter-language-pack>=0.7.0,<0.10; python_version < "3.10"',
    ],
    extras_require={
        # Exact, as their versions decide bytes of layers: the same as in `nixoci.compression.formats`.
        "compression": ["zstandard==0.25.0", "deflate==0.8.1"],
    },
)
