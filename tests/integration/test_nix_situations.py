"""Nix as it is found on machines: with daemon and without, root or not, with no configuration."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Mapping, Sequence

import pytest
from nixoci.recipe.layer import RECIPE_VERSION
from pants.engine.addresses import Address

from pants_backend_nix.errors import explain_package_error
from pants_backend_nix.rules.core.zipapp import zipapp_bytes
from tests.integration.support.interpreters import interpreter
from tests.integration.support.nix import Nix
from tests.integration.support.process import daemon
from tests.integration.support.tools import tool

_EXPRESSION = """\
derivation {
  name = "situation";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [ "-c" "echo %s > $out" ];
  allowSubstitutes = false;
}
"""

#: Somebody who is not root. May read everything, since the interpreter may be in root's home.
_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)

_OFFLINE = "substituters =\nsandbox = false\n"


class Situation:
    """A machine without any configuration of Nix, and the commands of the core on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "nixoci.pyz"
        self.program.write_bytes(zipapp_bytes())
        self.derivation = directory / "derivation.json"
        sources = directory / "sources"
        sources.mkdir()
        # An output that no other run of the test has built.
        (sources / "x.nix").write_text(_EXPRESSION % directory)
        for path in (directory, sources, *sources.iterdir()):
            os.chown(path, 65534, 65534)
            path.chmod(0o777)
        self.environment = {
            "HOME": str(directory),
            "PATH": f"{os.path.dirname(tool('nix'))}:/usr/bin:/bin:/usr/sbin:/sbin",
            "NIX_CONF_DIR": str(directory / "no configuration"),
            "NIX_USER_CONF_FILES": "",
        }

    def nixoci(
        self, *arguments: str, prefix: Sequence[str] = (), environment: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, interpreter("3.11"), "-I", "-S", self.program, "--json-errors", *arguments],
            env={**self.environment, **environment},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )

    def build(self, prefix: Sequence[str] = (), environment: Mapping[str, str] = {}) -> str:
        """Evaluates, builds and queries the package; returns its path."""
        commands = (
            ("evaluate", "--root=sources", "--source=x.nix", f"--output={self.derivation}"),
            ("realise", f"--derivation={self.derivation}"),
        )
        for command in commands:
            result = self.nixoci(*command, prefix=prefix, environment=environment)
            assert result.returncode == 0, result.stdout + result.stderr
        path = result.stdout.strip()
        closure = self.nixoci("closure", path, prefix=prefix, environment=environment)
        assert list(json.loads(closure.stdout)) == [path]
        return path


@pytest.fixture()
def situation(tmp_path: Path) -> Situation:
    # The temporary directories of pytest are closed to others.
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    return Situation(tmp_path)


def _with_groups(directory: Path, groups: str) -> tuple[str, ...]:
    """Returns words before a command that finds these lines in /etc/group."""
    file = directory / "group"
    file.write_text(groups)
    script = 'mount --bind "$1" /etc/group && shift && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh", str(file))


def test_root_without_configuration_and_build_users(situation: Situation, tmp_path: Path) -> None:
    """No nix.conf and no group `nixbld`, whatever this machine has: root builds as root."""
    lines = Path("/etc/group").read_text().splitlines(keepends=True)
    groups = "".join(line for line in lines if not line.startswith("nixbld:"))
    path = situation.build(_with_groups(tmp_path, groups), {"NIX_CONFIG": _OFFLINE})
    assert Path(path).read_text() == f"{situation.directory}\n"


def test_not_root_without_daemon(situation: Situation) -> None:
    """A user who may not write to the store is told so, and what to do."""
    result = situation.nixoci(
        "evaluate",
        "--root=sources",
        "--source=x.nix",
        prefix=_NOBODY,
        environment={"NIX_CONFIG": _OFFLINE},
    )
    assert result.returncode == 1
    told = explain_package_error(
        json.loads(result.stdout), result.stderr, Address("app", target_name="p"), "x.nix", ""
    )
    assert "This user cannot write to the Nix store: start the Nix daemon" in str(told)


def test_not_root_with_daemon(situation: Situation, tmp_path: Path) -> None:
    """With a daemon, somebody who is not root evaluates and builds."""
    socket = {"NIX_DAEMON_SOCKET_PATH": str(tmp_path / "socket")}
    server = {
        **situation.environment,
        **socket,
        "NIX_CONFIG": f"{_OFFLINE}build-users-group =\n",
    }
    with daemon([tool("nix-daemon")], tmp_path / "log", env=server):
        while not os.path.exists(socket["NIX_DAEMON_SOCKET_PATH"]):
            os.sched_yield()
        path = situation.build(prefix=_NOBODY, environment={**socket, "NIX_REMOTE": "daemon"})
    assert Path(path).read_text() == f"{situation.directory}\n"


def test_chroot_store_on_a_machine_without_nix_directory(
    situation: Situation, tmp_path: Path
) -> None:
    """There is no /nix; the store is a directory of the user's."""
    places = [p for p in Path("/").iterdir() if p.name not in ("nix", "tmp") and p.exists()]
    words = [word for place in places for word in ("--dev-bind", str(place), str(place))]
    prefix = [tool("bwrap"), *words, "--bind", "/tmp", "/tmp", "--chdir", str(tmp_path), "--"]
    inside = subprocess.run([*prefix, "/bin/sh", "-c", "test ! -e /nix"], check=False)
    assert inside.returncode == 0
    shell = tool("busybox")
    configuration = f"build-users-group =\nsubstituters =\nsandbox-paths = /bin/sh={shell}\n"
    path = situation.build(
        prefix=prefix,
        environment={"NIX_CONFIG": configuration, "NIX_REMOTE": f"local?root={tmp_path}/store"},
    )
    assert (tmp_path / f"store{path}").read_text() == f"{situation.directory}\n"
    here = {"NIX_REMOTE": f"local?root={tmp_path}/store"}
    closure = json.loads(situation.nixoci("closure", path, prefix=prefix, environment=here).stdout)
    recipe = {
        "version": RECIPE_VERSION,
        "entries": [{"path": path, "narHash": closure[path]["narHash"]}],
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    digest = situation.nixoci("digest", "recipe.json", prefix=prefix, environment=here)
    assert json.loads(digest.stdout)["digest"].startswith("sha256:")


def test_not_root_on_a_machine_without_nix_directory(
    situation: Situation, newer_nix: Nix, tmp_path: Path
) -> None:
    """Nix 2.10 and later then have a store below the home directory, without being told."""
    places = [p for p in Path("/").iterdir() if p.name not in ("nix", "tmp") and p.exists()]
    words = [word for place in places for word in ("--dev-bind", str(place), str(place))]
    # Where a search, which capabilities do not help, finds it.
    programs = tmp_path / "programs"
    programs.mkdir()
    words += ["--bind", "/tmp", "/tmp", "--ro-bind", str(newer_nix.bin_directory), str(programs)]
    prefix = [tool("bwrap"), *words, "--chdir", str(tmp_path), "--", *_NOBODY]
    path = f"{programs}:{situation.environment['PATH']}"
    shell = tool("busybox")
    environment = {"PATH": path, "NIX_CONFIG": f"substituters =\nsandbox-paths = /bin/sh={shell}\n"}
    built = situation.build(prefix=prefix, environment=environment)
    root = tmp_path / ".local/share/nix/root"
    assert Path(f"{root}{built}").read_text() == f"{tmp_path}\n"
    printed = situation.nixoci("read-file", built, prefix=prefix, environment=environment)
    assert printed.stdout.strip() == str(tmp_path)
