"""What the tests of tar streams share: trees as data, on disk, and as strategies."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from types import FrameType
from typing import Callable, Dict, Iterator, Mapping, Optional, TypeVar, Union

from hypothesis import strategies as st
from nixoci.recipe.layer import DIALECTS, ROOT, LayerRecipe, RecipeEntry
from nixoci.store.case_hack import without_case_hack
from nixoci.store.path import StorePath
from nixoci.tar.pack import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.store.case_hack import HasCaseHack


@dataclass(frozen=True)
class File:
    """A regular file with its permission bits."""

    content: bytes = b""
    mode: int = 0o444


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: bytes


Node = Union[File, Link, Mapping[bytes, "Node"]]
#: What is found on disk: by path, the kind (`stat.S_IFMT`), the permission bits, and the content
#: of a file or the target of a link.
Snapshot = Dict[bytes, "tuple[int, int, bytes]"]

DIRECTORY_MODE = 0o555


def store_path(name: str, digit: str = "1") -> StorePath:
    return StorePath.parse(f"/nix/store/{digit * 32}-{name}")


def recipe_of(*paths: StorePath, dialect: str = DIALECTS[0]) -> LayerRecipe:
    """The recipe of store paths that keep their places."""
    entries = tuple(RecipeEntry(path, "sha256-unknown", path) for path in paths)
    return LayerRecipe(entries, dialect=dialect)


def to_root(*paths: StorePath, dialect: str = DIALECTS[0]) -> LayerRecipe:
    """The recipe of store paths that are copied to the root."""
    entries = tuple(RecipeEntry(path, "sha256-unknown", ROOT) for path in paths)
    return LayerRecipe(entries, dialect=dialect)


def both(one: LayerRecipe, other: LayerRecipe) -> LayerRecipe:
    """The recipe of the entries of two."""
    return LayerRecipe(one.entries + other.entries, dialect=one.dialect)


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """A directory whose read-only contents can be removed by anybody."""
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        # Not recursively: the trees are deeper than their names are long.
        for directory, _, _ in os.walk(os.fsencode(path)):
            os.chmod(directory, 0o700)
        shutil.rmtree(os.fsencode(path))


def write_tree(path: bytes, node: Node) -> None:
    """Puts `node` on disk."""
    if isinstance(node, File):
        with open(path, "wb") as file:
            file.write(node.content)
        os.chmod(path, node.mode)
    elif isinstance(node, Link):
        os.symlink(node.target, path)
    else:
        os.mkdir(path)
        for name, child in node.items():
            write_tree(path + b"/" + name, child)
        os.chmod(path, DIRECTORY_MODE)


#: Of so many directories of a deep tree, one has files.
LEVELS_OF_FILES = 25


def write_deep_tree(path: str, levels: int, content: bytes = b"x") -> None:
    """Puts directories in one another on disk, some with a file and a link after the next one.

    Those beyond the longest path that the system takes are there as well.
    """
    os.mkdir(path)
    parent = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(levels):
        if level % LEVELS_OF_FILES == 0:
            with open(os.open("z", os.O_WRONLY | os.O_CREAT, dir_fd=parent), "wb") as file:
                file.write(content)
            os.chmod("z", 0o444, dir_fd=parent)
            os.symlink(f"{level}", "y", dir_fd=parent)
        os.mkdir("d", dir_fd=parent)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
        os.close(parent)
        parent = inner
    os.close(parent)


def names_of_deep_tree(top: str, levels: int) -> list[str]:
    """What a tar has of it, in order, as `tarfile` names it."""
    directories = [top + "/d" * level for level in range(levels + 1)]
    with_files = directories[:-1][::LEVELS_OF_FILES][::-1]
    return directories + [f"{directory}/{name}" for directory in with_files for name in "yz"]


@contextlib.contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """Lets the process open so many files more; what it has open now must be the same afterwards."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = set(map(int, os.listdir("/dev/fd")))
    # The limit is one of numbers, of which some are taken.
    most = next(n for n in range(limits[0]) if n - len([d for d in before if d < n]) == count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/dev/fd")) == len(before)


Result = TypeVar("Result")


def far_down(function: Callable[[], Result], left: int = 120) -> Result:
    """Calls a function with so many calls left of those that Python allows in one another."""
    frame: Optional[FrameType] = sys._getframe()
    used = 0
    while frame is not None:
        used += 1
        frame = frame.f_back

    def call(more: int) -> Result:
        return call(more - 1) if more else function()

    return call(sys.getrecursionlimit() - used - left)


def as_in_nar(node: Node) -> Node:
    """`node` with the modes that Nix gives to what comes out of a NAR."""
    if isinstance(node, File):
        return File(node.content, 0o555 if node.mode & stat.S_IXUSR else 0o444)
    if isinstance(node, Link):
        return node
    return {name: as_in_nar(child) for name, child in node.items()}


def write_store(root: str, trees: Mapping[StorePath, Node]) -> None:
    """Puts store paths into a store whose root is `root`."""
    os.makedirs(f"{root}/nix/store", exist_ok=True)
    for path, node in trees.items():
        write_tree(os.fsencode(root + path), node)


def snapshot(path: bytes) -> Snapshot:
    """Reads what is at and below `path`; keys are relative to it, and it itself is `b""`."""
    found: Snapshot = {}
    waiting = [b""]
    while waiting:
        relative = waiting.pop()
        place = path + relative
        mode = os.lstat(place).st_mode
        content = b""
        if stat.S_ISDIR(mode):
            waiting.extend(relative + b"/" + name for name in os.listdir(place))
        elif stat.S_ISLNK(mode):
            content = os.readlink(place)
        else:
            with open(place, "rb") as file:
                content = file.read()
        found[relative] = (stat.S_IFMT(mode), stat.S_IMODE(mode), content)
    return found


def tar_bytes(
    recipe: LayerRecipe, store_root: str, has_case_hack: HasCaseHack = without_case_hack
) -> bytes:
    """The whole stream."""
    stream = io.BytesIO()
    size = write_tar(
        recipe, stream.write, store_root=store_root, has_case_hack=has_case_hack
    )
    assert size == len(stream.getvalue())
    return stream.getvalue()


#: Names that broke one packer or another (NIX.md of the design lists where they were met).
ODD_NAMES = [
    b"a" * 99,
    b"b" * 100,
    b"c" * 101,
    b"d" * 155,
    b"e" * 156,
    b"f" * 255,
    "ünïcödé-名前-🦊".encode(),
    "é".encode() * 127,
    b"latin-\xe9",
    b"\xff" * 255,
    b"new\nline",
    b"tab\tquote'double\"back\\slash",
    b"\\134 \\n",
    b"-leading-dash",
    b"--checkpoint-action=exec=false",
    b"@at",
    b" ",
    b"...",
    b"a=b",
    b"PaxHeaders",
    b"\x01\x7f",
]


def _is_name(name: bytes) -> bool:
    # `nix` may hide the store of an image, and is tried by itself; Hypothesis makes names out of constants of the sources.
    return name not in (b".", b"..", b"nix") and not set(name) & set(b"/\0")


_names = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.sampled_from([b"bin", b"lib", b"share", b"a", b"B", b"a.b", b"a-b"]),
    st.binary(min_size=1, max_size=12).filter(_is_name),
    st.text(min_size=1, max_size=20).map(lambda t: t.encode("utf-8", "replace")).filter(_is_name),
)
_targets = st.one_of(
    st.sampled_from(
        [
            b"..",
            b"/nix/store/x",
            b"t" * 99,
            b"t" * 100,
            b"t" * 101,
            b"d/" * 150 + "é".encode(),
            b"\xfe" * 240,
            b"short-\xfe",
            b"new\nline",
        ]
    ),
    st.binary(min_size=1, max_size=150).filter(lambda target: b"\0" not in target),
)
_sizes = st.sampled_from(
    [
        0,
        1,
        511,
        512,
        513,
        1024,
        *(256 * 1024 + extra for extra in (-1536, -1025, -1024, -513, -512, -511, -1, 0, 1)),
        600_000,
    ]
)
_contents = st.one_of(
    st.binary(max_size=40),
    _sizes.map(lambda size: (b"0123456789abcde\n" * (size // 16 + 1))[:size]),
)
_modes = st.sampled_from([0o444, 0o555, 0o644, 0o755, 0o600, 0o4555, 0o2755, 0o6755, 0o1777])
_leaves = st.one_of(st.builds(File, _contents, _modes), st.builds(Link, _targets))


def _directories(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.dictionaries(_names, children, max_size=5)


def _deep(levels: int, name: bytes, node: Node) -> Node:
    for _ in range(levels):
        node = {name: node, b"sibling": File(b"x")}
    return node


#: Trees with odd names and edge sizes, some of them nested beyond what ustar can name.
directories: st.SearchStrategy[Node] = st.one_of(
    st.recursive(_leaves, _directories, max_leaves=12).filter(lambda node: isinstance(node, dict)),
    _directories(_leaves),
    st.builds(
        _deep,
        st.integers(1, 8),
        st.sampled_from([b"n" * 40, b"deep", "é".encode() * 20, b"x" * 101]),
        _directories(_leaves),
    ),
)
nodes = st.one_of(directories, directories, _leaves)
