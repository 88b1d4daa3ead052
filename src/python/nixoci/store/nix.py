"""Runs the Nix on this machine: which one, with which environment, and what its failures mean."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from nixoci.children import child
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.store.case_hack import CASE_HACK, true_names
from nixoci.store.location import root_of, store_directory
from nixoci.store.path import StorePath

# A digest asks Nix one question; what other questions need is imported where they are asked.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence

    from nixoci.store.closure import ClosureGraph

#: The oldest Nix that the project is tested with (Debian 12 has it).
MINIMUM_VERSION = (2, 8)

#: Environment variables that say which store and configuration Nix uses. None of them is a secret.
ENVIRONMENT_NAMES = (
    "HOME",
    "LOGNAME",
    "NIX_CONF_DIR",
    "NIX_DAEMON_SOCKET_PATH",
    "NIX_LOCALSTATE_DIR",
    "NIX_LOG_DIR",
    "NIX_REMOTE",
    "NIX_SSL_CERT_FILE",
    "NIX_STATE_DIR",
    "NIX_USER_CONF_FILES",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
)

#: Store paths given to one command; a path has at most 255 bytes and ARG_MAX is 1 MiB on macOS.
_PATHS_PER_COMMAND = 2000

#: As the kernel: more symbolic links than that go round in circles.
_MOST_LINKS = 40


#: Nix fails so where several processes make a new store at the same time (NixOS/nix#7998; 2.8 does
#: in all of these ways). Each is over in a moment.
_BUSY = re.compile(
    r"SQLite database '[^']*' is busy|/db/schema' is corrupt|/gcroots/profiles' to .*File exists"
)

#: Seconds to wait before a command that met a busy database runs again.
_PAUSES_WHILE_BUSY = (0.1, 0.3, 1.0, 3.0)


class NixNotFoundError(NixOciError):
    """There is no Nix in PATH."""

    def __init__(self, search_path: str) -> None:
        self.search_path = search_path
        super().__init__(
            f"No `nix` in {search_path or 'an empty PATH'}. Install Nix (https://nixos.org/download, "
            "or `apt-get install nix-bin` on Debian 12 and later)."
        )


class NixTooOldError(NixOciError):
    """The Nix in PATH is older than `MINIMUM_VERSION`."""

    def __init__(self, program: str, version: str) -> None:
        self.program = program
        self.version = version
        minimum = ".".join(map(str, MINIMUM_VERSION))
        super().__init__(f"{program} is Nix {version}; at least {minimum} is needed. Upgrade Nix.")


class NixFailedError(NixOciError):
    """A Nix command failed in a way that has no error of its own."""

    def __init__(self, command: Sequence[str], status: int, message: str) -> None:
        self.command = tuple(command)
        self.status = status
        self.message = message
        super().__init__(f"`{' '.join(command[:2])}` failed (exit status {status}):", message)


@dataclass(frozen=True)
class Nix:
    """A Nix installation.

    :param directory: absolute path of the directory that holds `nix` and `nix-store`.
    :param environment: everything that its commands find in their environment.
    :param settings: settings of `nix.conf` that its commands get besides, as names and values.
    :param known_store: URL of the store that it uses; None: it is asked when that is needed first.
    :param known_build_group: its setting `build-users-group`, likewise.
    """

    directory: str
    environment: Mapping[str, str]
    settings: tuple[tuple[str, str], ...] = ()
    known_store: Optional[str] = None
    known_build_group: Optional[str] = None

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Nix:
        """Finds Nix in `PATH` of `environ`.

        :raises NixNotFoundError: there is none.
        """
        from shutil import which

        search_path = environ.get("PATH", "")
        program = which("nix", path=search_path)
        if program is None:
            raise NixNotFoundError(search_path)
        return cls(os.path.dirname(os.path.abspath(program)), environ)

    def location(self, file: str) -> str:
        """Returns where a file in a store path is on this machine, through symbolic links.

        In a chroot store, links to other store paths do not lead there by themselves.

        :param file: `/nix/store/…/file`, with true names, see `nixoci.store.case_hack`.
        :raises InvalidInputError: not in a store path, or its links have no end.
        """
        for _ in range(_MOST_LINKS):
            file = os.path.normpath(file)
            if not file.startswith("/nix/store/"):
                break
            parts = file.split("/")
            location = f"{self.store_root}/nix/store/{parts[3]}"
            # The first part that is a link decides how to go on.
            for end in range(4, len(parts) + 1):
                if end > 4:
                    location = f"{location}/{self._on_disk(location, parts[end - 1])}"
                try:
                    target = os.readlink(location)
                except OSError:
                    continue
                file = os.path.join("/".join(parts[: end - 1]), target, *parts[end:])
                break
            else:
                return location
        raise InvalidInputError("file in a store path", file, "it is in no store path")

    @cached_property
    def store_root(self) -> str:
        """What precedes `/nix/store` where files of store paths are read; empty for the usual store.

        :raises StoreNotHereError: the store has no files on this machine.
        """
        return root_of(self.store_directory)

    @cached_property
    def store_directory(self) -> str:
        """The directory on this machine that store paths are in.

        :raises StoreNotHereError: there is none.
        """
        from nixoci.store.location import StoreNotHereError

        try:
            return store_directory(self.store, self.environment)
        except StoreNotHereError as error:
            from nixoci.store.configuration import origin_of_store

            origin = origin_of_store(
                self.configuration_files(), self.environment, dict(self.settings)
            )
            raise StoreNotHereError(error.url, error.why, origin) from None

    @property
    def store(self) -> str:
        """The URL of the store that it uses, as it says itself: `auto`, `local?root=/somewhere`, ….

        The setting `store` counts, which the options, `NIX_CONFIG` and the files that configure Nix have, in
        this order; without any of them `NIX_REMOTE`.
        """
        return self.setting("store") if self.known_store is None else self.known_store

    def setting(self, name: str) -> str:
        """Returns a setting of Nix, as text; empty if it has no such setting."""
        value = self._configuration.get(name, {}).get("value", "")
        return value if isinstance(value, str) else ""

    @property
    def build_group(self) -> str:
        """The group of the users that builds run as, if root runs Nix."""
        known = self.known_build_group
        return self.setting("build-users-group") if known is None else known

    @cached_property
    def _configuration(self) -> dict[str, Any]:
        from nixoci.json_input import parse_object

        try:
            output = self.command("show-config", "--json")
        except NixFailedError:
            # The name since 2.20, of which the older one is an alias for now.
            output = self.command("config", "show", "--json")
        return parse_object("settings of Nix", output)

    def configuration_files(self) -> tuple[str, ...]:
        """Returns the files that configure it, see `nixoci.store.configuration`."""
        from nixoci.store.configuration import configuration_files

        return configuration_files(self._about)

    @cached_property
    def _about(self) -> str:
        """What it says of itself: its name and version in the first line, then where things are."""
        output = replace(self, settings=()).run(("nix", "--version", "--verbose"))
        return output.decode(errors="replace")

    def _on_disk(self, directory: str, name: str) -> str:
        """Returns the name on the disk of what has a true name, if that is in the directory."""
        try:
            names = os.listdir(directory)
        except OSError:
            return name
        return dict(true_names(names, self.has_case_hack)).get(name, name)

    def has_case_hack(self) -> bool:
        """Whether names on the disk of its store may have the suffix of `nixoci.store.case_hack`.

        Nix is asked once, by a NAR that it makes, which has the same answer in every version.
        """
        return self._has_case_hack

    @cached_property
    def _has_case_hack(self) -> bool:
        from nixoci.temporary import temporary_directory

        name = f"a{CASE_HACK}1"
        try:
            with temporary_directory({name: ""}) as directory:
                return name.encode() not in self.run(("nix-store", "--dump", directory))
        except OSError as error:
            raise NixOciError(
                "Nix is asked for its setting `use-case-hack` with a temporary file, which cannot be made: "
                f"{error.strerror or error}. Set TMPDIR to a directory that can be written to."
            ) from None

    def words(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """Returns the words of a command: the program's path, its arguments, and the settings."""
        program = os.path.join(self.directory, arguments[0])
        settings = [word for name, value in self.settings for word in ("--option", name, value)]
        return (program, *arguments[1:], *settings)

    def run(
        self,
        arguments: Sequence[str],
        *,
        stderr: Optional[int] = subprocess.PIPE,
        directory: Optional[str] = None,
    ) -> bytes:
        """Runs `arguments[0]` (`nix`, `nix-store`, …) and returns its standard output.

        :param stderr: as for `subprocess`; None lets its progress through to the user.
        :param directory: where it runs; None: where this process does.
        :raises NixFailedError: it exits with another status than 0.
        :raises NixNotFoundError: the program is gone.
        """
        for pause in _PAUSES_WHILE_BUSY:
            try:
                return self._run_once(arguments, stderr, directory)
            except NixFailedError as error:
                if not _BUSY.search(error.message):
                    raise
            time.sleep(pause)
        return self._run_once(arguments, stderr, directory)

    def _run_once(
        self, arguments: Sequence[str], stderr: Optional[int], directory: Optional[str]
    ) -> bytes:
        with self._begun(arguments, stderr, directory) as output:
            return output()

    @contextmanager
    def _begun(
        self,
        arguments: Sequence[str],
        stderr: Optional[int] = subprocess.PIPE,
        directory: Optional[str] = None,
    ) -> Iterator[Callable[[], bytes]]:
        """As `run`, once, while the body does something else.

        :returns: what waits for the output; the body has to call it, unless it fails, or the program may wait for ever
            to write it.
        """
        with ExitStack() as stack:
            try:
                process = stack.enter_context(
                    child(
                        self.words(arguments),
                        env=dict(self.environment),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        cwd=directory,
                    )
                )
            except OSError:
                raise NixNotFoundError(self.directory) from None

            def output() -> bytes:
                out, errors = process.communicate()
                if process.returncode:
                    message = (errors or b"").decode(errors="replace").strip()
                    raise NixFailedError(arguments, process.returncode, message)
                return bytes(out)

            yield output

    def command(
        self,
        *arguments: str,
        stderr: Optional[int] = subprocess.PIPE,
        directory: Optional[str] = None,
    ) -> bytes:
        """Runs a command of the newer command line, `nix …`; see `run`."""
        features = ("--extra-experimental-features", "nix-command flakes")
        return self.run(("nix", *arguments, *features), stderr=stderr, directory=directory)

    def version(self) -> str:
        """Returns the version, e.g. `2.8.0`.

        :raises NixTooOldError: it is older than `MINIMUM_VERSION`.
        """
        output = self._about.strip().partition("\n")[0].strip()
        match = re.search(r"(\d+)\.(\d+)\S*$", output)
        version = match[0] if match else output
        if not match or (int(match[1]), int(match[2])) < MINIMUM_VERSION:
            raise NixTooOldError(os.path.join(self.directory, "nix"), version)
        return version

    def require_valid(self, paths: Iterable[StorePath]) -> None:
        """:raises InvalidPathError: with those of `paths` that are not valid in the store."""
        invalid = self.invalid(paths)
        if invalid:
            from nixoci.store.closure import InvalidPathError

            raise InvalidPathError(invalid)

    def invalid(self, paths: Iterable[StorePath]) -> tuple[StorePath, ...]:
        """Returns those of `paths` that are not valid in the store. Builds and fetches nothing."""
        found: list[StorePath] = []
        for batch in _batches(sorted(set(paths))):
            output = self.run(("nix-store", "--check-validity", "--print-invalid", *batch))
            found.extend(StorePath.parse(line) for line in output.decode().splitlines())
        return tuple(found)

    def nar_hashes(self, paths: Sequence[StorePath]) -> tuple[str, ...]:
        """Returns the NAR hashes of `paths` as the store has them registered, in SRI form.

        :raises InvalidPathError: with those of `paths` that are not valid in the store.
        """
        found = self.registered(paths)
        missing = [path for path in paths if path not in found]
        if missing:
            from nixoci.store.closure import InvalidPathError

            raise InvalidPathError(missing)
        return tuple(found[path] for path in paths)

    @contextmanager
    def nar_hashes_meanwhile(
        self, paths: Sequence[StorePath]
    ) -> Iterator[Callable[[], tuple[str, ...]]]:
        """As `nar_hashes`, while the body does something else.

        :returns: what waits for the hashes; the body has to call it, unless it fails. It must not read the paths before:
            one that is not valid may be just being written.
        """
        if not 0 < len(paths) <= _PATHS_PER_COMMAND:
            yield lambda: self.nar_hashes(paths)
            return
        with self._begun(_query_hashes(paths)) as output:

            def hashes() -> tuple[str, ...]:
                try:
                    found = _parsed_hashes(output())
                except NixFailedError:
                    found = ()
                # One of them is not valid, or the database was busy.
                return found if len(found) == len(paths) else self.nar_hashes(paths)

            yield hashes

    def registered(self, paths: Iterable[StorePath]) -> dict[StorePath, str]:
        """Returns those of `paths` that are valid in the store, with their NAR hashes in SRI form.

        If all are, Nix is started once (for each 2,000).
        """
        found: dict[StorePath, str] = {}
        for batch in _batches(sorted(set(paths))):
            try:
                found.update(self._hashes(batch))
            except NixFailedError:
                invalid = set(self.invalid(batch))
                # If none is, they were built in between; or the error is another one, and comes again.
                found.update(self._hashes([path for path in batch if path not in invalid]))
        return found

    def _hashes(self, paths: Sequence[StorePath]) -> dict[StorePath, str]:
        """As `registered`, for paths that are all valid.

        :raises NixFailedError: they are not.
        """
        if not paths:
            return {}
        return dict(zip(paths, _parsed_hashes(self.run(_query_hashes(paths)))))

    def closure(self, roots: Iterable[StorePath]) -> ClosureGraph:
        """Returns what the store knows of `roots` and of all that they reference.

        :raises InvalidPathError: with those of the roots that are not valid in the store.
        """
        from nixoci.store.closure import InvalidPathError

        roots = sorted(set(roots))
        try:
            return self._closure(roots)
        except (NixFailedError, InvalidPathError):
            # It names one of them at most. If all are valid, see `registered`.
            self.require_valid(roots)
            return self._closure(roots)

    def _closure(self, roots: Sequence[StorePath]) -> ClosureGraph:
        from nixoci.store.closure import ClosureGraph, parse_nix_path_info

        graph = ClosureGraph()
        for batch in _batches(roots):
            output = self.command("path-info", "--json", "--recursive", *batch)
            graph = graph.union(parse_nix_path_info(output))
        return graph.closure(roots)

    def absent(self, paths: Iterable[StorePath]) -> tuple[StorePath, ...]:
        """Returns those of `paths` that are not on the disk, without starting Nix.

        They are hardly valid. But that is a guess, good for what does no harm if it is wrong: a Nix whose store does not
        exist yet may make it elsewhere.
        """
        return tuple(path for path in paths if not os.path.lexists(self.store_root + path))


def _query_hashes(paths: Sequence[StorePath]) -> tuple[str, ...]:
    return ("nix-store", "--query", "--hash", *paths)


def _parsed_hashes(output: bytes) -> tuple[str, ...]:
    from nixoci.store.hashes import parse_sha256, to_sri

    return tuple(to_sri(parse_sha256(line)) for line in output.decode().splitlines())


def without_missing_build_group(nix: Nix) -> tuple[str, ...]:
    """Returns options for a Nix that root runs on a machine where Nix's build users do not exist.

    Debian's nix-bin and most container images come without the group `nixbld`; Nix, run by root,
    then refuses to build although it need not (the empty group means: build as root).
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or nix.store.startswith(("daemon", "unix:")):
        return ()
    import grp

    group = nix.build_group
    if not group:
        return ()
    try:
        grp.getgrnam(group)
    except KeyError:
        return ("--option", "build-users-group", "")
    return ()


def _batches(paths: Sequence[StorePath]) -> Iterable[Sequence[StorePath]]:
    for start in range(0, len(paths), _PATHS_PER_COMMAND):
        yield paths[start : start + _PATHS_PER_COMMAND]
