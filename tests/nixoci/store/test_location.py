"""Tests of `nixoci.store.location`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nixoci.store.location import StoreNotHereError, root_of, store_directory


@pytest.mark.parametrize(
    "url, directory",
    [
        ("", "/nix/store"),
        ("auto", "/nix/store"),
        ("daemon", "/nix/store"),
        ("local", "/nix/store"),
        ("unix://", "/nix/store"),
        ("unix:///run/nix/socket", "/nix/store"),
        ("local?state=/x", "/nix/store"),
        ("auto?root=/x", "/x/nix/store"),
        ("daemon?root=/x", "/x/nix/store"),
        ("unix:///run/nix/socket?root=/x", "/x/nix/store"),
        ("/x", "/x/nix/store"),
        ("/x/", "/x/nix/store"),
        ("/x y%20", "/x y%20/nix/store"),
        ("/x?state=/y", "/x/nix/store"),
        ("local?root=/x", "/x/nix/store"),
        ("local?root=/x/&state=/y", "/x/nix/store"),
        ("local?state=/y&root=/x%20y", "/x y/nix/store"),
        ("local?root=/x+y", "/x+y/nix/store"),
        ("local?root=/", "/nix/store"),
        ("local?root=", "/nix/store"),
        ("local?real=/y", "/y"),
        ("local?real=/y/../z/", "/z"),
        ("local?root=/x&real=/y/nix/store", "/y/nix/store"),
        ("local?store=/nix/store&root=/x", "/x/nix/store"),
        # How Nix 2.34 repeats these.
        ("local://", "/nix/store"),
        ("local://?root=/x%2By", "/x+y/nix/store"),
        ("local:///x%20y", "/x y/nix/store"),
        ("local:///x?state=/y", "/x/nix/store"),
        ("local:///x?root=/y", "/y/nix/store"),
        ("local-overlay://?root=/x&lower-store=/y", "/x/nix/store"),
    ],
)
def test_a_store_on_this_machine(url: str, directory: str) -> None:
    """Every form in which a store with files is named."""
    assert directory == store_directory(url, {})


@pytest.mark.parametrize(
    "url",
    [
        "ssh-ng://host",
        "ssh://user@host?remote-store=/x",
        "mounted-ssh-ng://host",
        "https://cache.example",
        "http://cache.example",
        "s3://bucket?region=x",
        "file:///x",
        "dummy:",
        "dummy://",
        "nosuch",
        "relative/x",
        "./x",
        "local?root=x",
        "local?real=x",
        "local?store=/other/store",
    ],
)
def test_a_store_that_is_not_here_is_refused(url: str) -> None:
    """It has no files on this machine, or has them elsewhere in each process."""
    with pytest.raises(StoreNotHereError) as caught:
        store_directory(url, {})
    assert url == caught.value.url
    assert f"`{url}`" in str(caught.value) and "`[nix].store`" in str(caught.value)


def test_the_root_of_a_usual_directory_is_in_its_name() -> None:
    """Nothing has to be made."""
    assert ("", "/x") == (root_of("/nix/store"), root_of("/x/nix/store"))


def test_the_root_of_another_directory_leads_there(tmp_path: Path) -> None:
    """A path of the store is read through it."""
    (tmp_path / "file").write_text("text")
    root = root_of(str(tmp_path))
    assert "text" == Path(f"{root}/nix/store/file").read_text()


def test_the_link_goes_with_the_process(tmp_path: Path) -> None:
    """Nothing is left in the directory of temporary files."""
    script = f"from nixoci.store.location import root_of; print(root_of({str(tmp_path / 's')!r}))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, stdout=subprocess.PIPE
    )
    assert output.stdout.decode().startswith(str(tmp_path)) and [] == os.listdir(tmp_path)
