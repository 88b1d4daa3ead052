"""URL of a store → the directory on this machine that has the files of its store paths."""

from __future__ import annotations

import os
import sys

from nixoci.errors import NixOciError

# As in `nixoci.store.nix`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

#: What store paths begin with, wherever their files are.
STORE = "/nix/store"

#: Where this is missing, and there is no daemon either, anyone but root gets a store below the home directory
#: (since Nix 2.10; older ones fail).
_STATE = "/nix/var/nix"


class StoreNotHereError(NixOciError):
    """The store that Nix uses has no files that could be read here.

    :ivar url: of the store, as Nix has it; `origin`: what says so, empty if that is not known.
    """

    def __init__(self, url: str, why: str, origin: str = "") -> None:
        self.url = url
        self.why = why
        self.origin = origin
        chosen = f" ({origin})" if origin else ""
        super().__init__(
            f"Nix uses the store `{url}`{chosen}, but {why}. Layers are made of files of a store on this "
            "machine: choose one with the setting `store` of Nix, such as `auto`, `daemon` or "
            "`local?root=/somewhere`; under Pants, with the option `[nix].store`."
        )


def store_directory(url: str, environment: Mapping[str, str]) -> str:
    """Returns where the files of `/nix/store/…` are, as `/somewhere/nix/store` or another directory.

    :param url: the setting `store` as any Nix from 2.8 on has it: `auto`, `daemon`, `local`, a directory, or
        a URL, with parameters.
    :param environment: of Nix.
    :raises StoreNotHereError: they are not on this machine, or elsewhere in each process.
    """
    base, _, query = url.partition("?")
    parameters = _parameters(query)
    root = ""
    if base in ("", "auto"):
        if not parameters:
            root = root_below_home(environment)
    elif base.startswith(("local://", "local-overlay://")):
        root = _unquoted(base.partition("://")[2])
    elif base.startswith("/"):
        root = base
    elif "/" in base and "://" not in base:
        raise StoreNotHereError(url, "that is another directory wherever Nix runs")
    elif base not in ("local", "daemon") and not base.startswith("unix://"):
        raise StoreNotHereError(url, "its store paths have no files on this machine")
    if parameters.get("store", STORE) != STORE:
        raise StoreNotHereError(url, f"its store paths do not begin with {STORE}/")
    root = parameters.get("root", root).rstrip("/")
    directory = parameters.get("real", root + STORE)
    if not directory.startswith("/"):
        raise StoreNotHereError(url, "that is another directory wherever Nix runs")
    # Two slashes at the beginning stay two.
    return "/" + os.path.normpath(directory).lstrip("/")


def root_of(directory: str) -> str:
    """Returns what to write before `/nix/store/…` to read files of a store.

    Where the name of the store's directory does not end so, it is a directory with a link that does. It is made
    when it is needed first, and goes with this process.

    :param directory: see `store_directory`.
    :raises NixOciError: it cannot be made.
    """
    if directory.endswith(STORE):
        return directory[: -len(STORE)]
    import atexit
    import shutil
    import tempfile

    try:
        root = tempfile.mkdtemp(prefix="nixoci-")
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        os.mkdir(os.path.join(root, "nix"))
        os.symlink(directory, root + STORE)
    except OSError as error:
        raise NixOciError(
            f"The store in {directory} is read through a link in a temporary directory, which cannot be made: "
            f"{error.strerror or error}. Set TMPDIR to a directory that can be written to."
        ) from None
    return root


def root_below_home(environment: Mapping[str, str]) -> str:
    """Returns the root of the store that `auto` means; empty for the usual one."""
    if (
        os.path.exists(_STATE)
        or not sys.platform.startswith("linux")
        or os.geteuid() == 0
        or "NIX_STORE_DIR" in environment
        or "NIX_STATE_DIR" in environment
        or os.path.exists(
            environment.get("NIX_DAEMON_SOCKET_PATH", f"{_STATE}/daemon-socket/socket")
        )
    ):
        return ""
    data = environment.get("NIX_DATA_HOME")
    if data is None:
        home = environment.get("HOME", "")
        data = os.path.join(environment.get("XDG_DATA_HOME", f"{home}/.local/share"), "nix")
    return os.path.join(data, "root")


def _parameters(query: str) -> dict[str, str]:
    if not query:
        return {}
    from urllib.parse import parse_qsl

    # A plus is a plus to Nix, and a space in the queries of HTML forms.
    return dict(parse_qsl(query.replace("+", "%2B")))


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)
