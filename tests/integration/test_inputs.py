"""Inputs that real projects have, fetched by the real Pants: npins, niv, hashes, flakes, private ones."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support import inputs
from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import CONFIGURATION, Nix, configuration_directory
from tests.integration.support.registry import make_certificate

#: In the structure of what npins writes: a function of the file of pins, whose result can be called again.
_NPINS = """\
# Written by a tool.
let
  override = name: path:
    let given = builtins.getEnv "NPINS_OVERRIDE_${name}";
    in if given == "" then path
    else builtins.trace "overridden" (if builtins.substring 0 1 given == "/" then /. + given else /. + builtins.getEnv "PWD" + "/${given}");
  sourceOf = name: spec: assert spec ? type;
    let
      path = {
        Git = git spec;
        GitRelease = git spec;
        PyPi = file spec;
        Channel = tarball spec;
        Tarball = tarball spec;
      }.${spec.type} or (throw "unknown type");
    in spec // { outPath = override name path; };
  git = { repository, revision, url ? null, submodules ? false, branch ? "HEAD", hash, ... }: assert repository ? type;
    if url != null && !submodules then builtins.fetchTarball { inherit url; sha256 = hash; }
    else builtins.fetchGit { inherit (repository) url; rev = revision; ref = branch; inherit submodules; };
  file = { url, hash, ... }: builtins.fetchurl { inherit url; sha256 = hash; };
  tarball = { url, hash, ... }: builtins.fetchTarball { inherit url; sha256 = hash; };
  read = input:
    if builtins.isPath input then builtins.fromJSON (builtins.readFile input)
    else if builtins.isAttrs input then input
    else throw "unsupported";
  load = { input ? ./sources.json }:
    let data = read input;
    in if data.version == 5 then builtins.mapAttrs sourceOf data.pins else throw "unsupported version";
in load { } // { __functor = _: load; }
"""

#: Likewise of niv.
_NIV = """\
# Written by a tool.
let
  byType = pkgs: name: spec:
    if !(builtins.hasAttr "type" spec) then abort "no type"
    else if spec.type == "file" then
      (if spec.builtin or true then builtins.fetchurl { inherit (spec) url sha256; } else pkgs.fetchurl { inherit (spec) url sha256; })
    else if spec.type == "tarball" then
      (if spec.builtin or true then builtins.fetchTarball { name = "${name}-src"; inherit (spec) url sha256; } else pkgs.fetchzip { inherit (spec) url sha256; })
    else if spec.type == "git" then builtins.fetchGit { url = spec.repo; inherit (spec) rev ref; }
    else if spec.type == "local" then spec.path
    else abort "unknown type";
  packages = sources:
    if builtins.hasAttr "nixpkgs" sources then import (builtins.fetchTarball { inherit (sources.nixpkgs) url sha256; }) { }
    else if builtins.any (x: x.prefix == "nixpkgs") builtins.nixPath && <nixpkgs> != ./. then import <nixpkgs> { }
    else abort "no nixpkgs";
  replaced = name: value:
    let given = builtins.getEnv "NIV_OVERRIDE_${name}"; in if given == "" then value else given;
  all = config: builtins.mapAttrs
    (name: spec: spec // { outPath = replaced name (byType config.pkgs name spec); })
    config.sources;
  configured =
    { sourcesFile ? ./sources.json
    , sources ? builtins.fromJSON (builtins.readFile sourcesFile)
    , pkgs ? packages sources
    }: { inherit sources pkgs; };
in all (configured { }) // { __functor = _: settings: all (configured settings); }
"""

#: A derivation that has a file of an input, or the input, as its contents.
_TEXT = """\
name: word: derivation {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo \\"$word\\" > $out" ];
  inherit word; preferLocalBuild = true; allowSubstitutes = false;
}
"""

_FLAKE = """\
{
  inputs.%(name)s = { %(input)s flake = false; };
  outputs = inputs: { packages.x86_64-linux.%(name)s = import ./text.nix "%(name)s" (builtins.readFile "${inputs.%(name)s}/text"); };
}
"""

#: Where GitLab has a branch of `somebody/project`.
_ARCHIVE = "api/v4/projects/somebody/project/repository/archive.tar.gz"

_USER, _PASSWORD, _TOKEN = "somebody", "hunter2-secret", "token-secret-1"


@dataclass(frozen=True)
class Inputs:
    """A monorepo, and the servers that its inputs are on.

    :param word: that is in all of them.
    :param repository: that is to be had by ssh, with the commit `private_commit`; `commit`: of others.
    :param environment: of commands that have all credentials.
    """

    monorepo: Monorepo
    word: str
    public: inputs.FileServer
    private: inputs.FileServer
    gitlab: inputs.FileServer
    ssh: inputs.SshServer
    repository: Path
    commit: str
    private_commit: str
    hashes: dict[str, str]
    environment: dict[str, str]

    def write_image(self, directory: str, attr: str, source: str) -> None:
        path = self.monorepo.root / directory / "BUILD"
        before = path.read_text() if path.exists() else 'nix_sources(name="nix")\n'
        self.monorepo.write(
            f"{directory}/BUILD",
            f'{before}nix_package(name="{attr}", source="{source}", attr="{attr}")\n'
            f'nix_image(name="{attr}-image", packages=[":{attr}"], labels={{"path": "{{{attr}}}"}})\n',
        )

    def text(self, directory: str, attr: str) -> str:
        """Returns the contents of a package that an image has."""
        config = self.monorepo.descriptor(f"{directory.replace('/', '.')}/{attr}-image.image.json")["config"]
        return Path(config["config"]["Labels"]["path"]).read_text()

    def package(self, *names: str, options: tuple[str, ...] = (), check: bool = True) -> PantsRun:
        return self.monorepo.pants(*options, "package", *names, environment=self.environment, check=check)


def _lock(original: dict[str, object], locked: dict[str, object], name: str) -> str:
    node = {"original": original, "locked": locked, "flake": False}
    return json.dumps({"nodes": {name: node, "root": {"inputs": {name: name}}}, "root": "root", "version": 7})


@pytest.fixture(scope="module")
def made(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    directory = tmp_path_factory.mktemp("inputs")
    word = uuid.uuid4().hex
    files = {"text": word, "default.nix": f'{{ word = "{word}"; }}'}
    served = directory / "served"
    inputs.write_tarball(served / "tree.tar.gz", files)
    (served / "file").write_text(word)
    commit = inputs.write_repository(served / "repository.git", files)
    # Of the same contents Nix would not fetch a second time.
    inputs.write_tarball(served / _ARCHIVE, {**files, "other": ""})
    private = inputs.write_repository(directory / "private.git", {**files, "private": ""})
    for tree, more in (("tree", ""), ("archive", "other"), ("private", "private")):
        for name, text in (*files.items(), (more or "text", "" if more else word)):
            (directory / tree).mkdir(exist_ok=True)
            (directory / tree / name).write_text(text)
    certificate = make_certificate(directory)
    hashes = {
        **{
            name: machine_nix.run("nix", "hash", "path", directory / name).strip()
            for name in ("tree", "archive", "private")
        },
        "file": machine_nix.run("nix", "hash", "file", served / "file").strip(),
        "file32": machine_nix.run("nix-hash", "--type", "sha256", "--flat", "--base32", served / "file").strip(),
        "tree32": machine_nix.run("nix-hash", "--type", "sha256", "--base32", directory / "tree").strip(),
    }
    with contextlib.ExitStack() as stack:
        public = stack.enter_context(inputs.file_server(served))
        guarded = stack.enter_context(inputs.file_server(served, inputs.basic(_USER, _PASSWORD)))
        gitlab = stack.enter_context(inputs.file_server(served, f"Bearer {_TOKEN}", certificate))
        ssh = stack.enter_context(inputs.ssh_server(directory / "ssh"))
        agent = stack.enter_context(inputs.ssh_agent(directory, ssh.key))
        (directory / "netrc").write_text(f"machine 127.0.0.1 login {_USER} password {_PASSWORD}\n")
        nix = replace(
            machine_nix,
            configuration_directory=configuration_directory(
                f"{CONFIGURATION}netrc-file = {directory}/netrc\ndownload-attempts = 1\ntarball-ttl = 0\n"
            ),
        )
        created = Monorepo.create(directory, nix)
        monorepo = stack.enter_context(created.with_daemon())
        environment = {
            "SSH_AUTH_SOCK": str(agent),
            "GIT_SSH_COMMAND": ssh.command,
            "NIX_CONFIG": f"access-tokens = {gitlab.host}=OAuth2:{_TOKEN}",
            "NIX_SSL_CERT_FILE": str(certificate),
        }
        yield Inputs(
            *(monorepo, word, public, guarded, gitlab, ssh, directory / "private.git"),
            *(commit, private, hashes, environment),
        )


def test_pins_of_npins_and_niv(made: Inputs) -> None:
    """Their files are found, those of pins too; no variable of the environment overrides a pin."""
    write, url = made.monorepo.write, made.public.url
    tree, file = made.hashes["tree"], made.hashes["file"]
    repository = {"type": "Git", "url": f"{url}/repository.git"}
    pin = {"revision": made.commit, "repository": repository, "branch": "main", "hash": tree}
    pins = {
        "archive": {**pin, "type": "Git", "url": f"{url}/tree.tar.gz"},
        "release": {**pin, "type": "GitRelease", "url": None, "submodules": False},
        "wheel": {"type": "PyPi", "url": f"{url}/file", "hash": file},
        "channel": {"type": "Channel", "url": f"{url}/tree.tar.gz", "hash": tree},
    }
    write("pins/npins/default.nix", _NPINS)
    write("pins/npins/sources.json", json.dumps({"pins": pins, "version": 5}))
    sources = {
        "tarball": {"type": "tarball", "url": f"{url}/tree.tar.gz", "sha256": made.hashes["tree32"]},
        "file": {"type": "file", "url": f"{url}/file", "sha256": made.hashes["file32"]},
        "git": {"type": "git", "repo": f"{url}/repository.git", "rev": made.commit, "ref": "main"},
    }
    write("pins/nix/sources.nix", _NIV)
    write("pins/nix/sources.json", json.dumps(sources))
    of_npins = [f'{name} = text "{name}" (builtins.readFile "${{pins.{name}}}{"" if name == "wheel" else "/text"}");' for name in pins]
    of_niv = [f'{name} = text "{name}" (builtins.readFile "${{sources.{name}}}{"" if name == "file" else "/text"}");' for name in sources]
    write("pins/text.nix", _TEXT)
    write(
        "pins/default.nix",
        "let\n  text = import ./text.nix;\n  pins = import ./npins;\n  sources = import ./nix/sources.nix { };\n"
        f"in {{\n{' '.join([*of_npins, *of_niv])}\n"
        '  imported = text "imported" (import pins.archive).word;\n}\n',
    )
    for name in ("pins/npins", "pins/nix"):
        write(f"{name}/BUILD", "nix_sources()\n")
    names = [*pins, *sources, "imported"]
    for name in names:
        made.write_image("pins", name, "default.nix")
    override = {name: "/nonexistent" for name in ("NPINS_OVERRIDE_archive", "NIV_OVERRIDE_tarball")}
    made.monorepo.pants(
        f"--nix-env-vars={json.dumps(sorted(override))}", "package", "pins::", environment=override
    )
    assert {made.text("pins", name).strip() for name in names} == {made.word}
    seen = made.monorepo.pants("dependencies", "--transitive", "pins:archive").stdout.split()
    assert {"pins/npins/default.nix", "pins/npins/sources.json", "pins/nix/sources.nix", "pins/nix/sources.json"} <= set(seen)


def test_flakes_with_registry_and_follows(made: Inputs, tmp_path: Path) -> None:
    """What is locked is fetched by the lock file, wherever the name of the input once led."""
    write, url = made.monorepo.write, made.public.url
    git = f"git+{url}/repository.git"
    locked = {"type": "git", "url": f"{url}/repository.git", "rev": made.commit, "ref": "main", "narHash": made.hashes["tree"]}
    tarball = {"type": "tarball", "url": f"{url}/tree.tar.gz", "narHash": made.hashes["tree"]}
    write("flakes/text.nix", _TEXT)
    write(
        "flakes/flake.nix",
        "{\n"
        '  nixConfig = { extra-substituters = [ "https://nothing.invalid" ]; };\n  nixConfig.bash-prompt = "x";\n'
        '  inputs.foo = { url = "flake:foo"; flake = false; };\n'
        f'  inputs.git = {{ url = "{git}?ref=main"; flake = false; }};\n'
        '  inputs.library = { url = "path:./library"; inputs.base.follows = "foo"; };\n'
        "  outputs = { self, foo, git, library }: let text = import ./text.nix; in { packages.x86_64-linux = {\n"
        '    foo = text "foo" (builtins.readFile "${foo}/text"); git = text "git" (builtins.readFile "${git}/text");\n'
        '    follows = text "follows" library.word;\n'
        "  }; };\n}\n",
    )
    write("flakes/library/flake.nix", '{ inputs.base.url = "flake:base"; outputs = { self, base }: { word = builtins.readFile "${base}/text"; }; }\n')
    write("flakes/library/BUILD", "nix_sources()\n")
    library = made.monorepo.nix.run("nix", "hash", "path", _only(tmp_path, made.monorepo.root / "flakes/library/flake.nix")).strip()
    nodes = {
        "foo": {"flake": False, "original": {"type": "indirect", "id": "foo"}, "locked": tarball},
        "git": {"flake": False, "original": {"type": "git", "url": f"{url}/repository.git", "ref": "main"}, "locked": locked},
        "library": {
            "inputs": {"base": ["foo"]},
            "original": {"type": "path", "path": "./library"},
            "locked": {"type": "path", "path": "./library", "narHash": library, "lastModified": 1},
        },
        "root": {"inputs": {"foo": "foo", "git": "git", "library": "library"}},
    }
    write("flakes/flake.lock", json.dumps({"nodes": nodes, "root": "root", "version": 7}))
    for name in ("foo", "git", "follows"):
        made.write_image("flakes", name, "flake.nix")
    run = made.package("flakes::")
    assert {made.text("flakes", name).strip() for name in ("foo", "git", "follows")} == {made.word}
    # Its own settings are not used, and somebody is told once.
    warnings = [line for line in run.stderr.splitlines() if "`nixConfig`" in line]
    assert len(warnings) == 1 and "flakes/flake.nix" in warnings[0] and "flakes:" in warnings[0]
    assert "bash-prompt, extra-substituters" in warnings[0] and "nix.conf" in warnings[0]


def _only(directory: Path, file: Path) -> Path:
    """Returns a directory that has nothing but a copy of the file."""
    (directory / "only").mkdir()
    (directory / "only" / file.name).write_text(file.read_text())
    return directory / "only"


def test_private_inputs(made: Inputs) -> None:
    """Over ssh with an agent, over HTTP with netrc, from GitLab with a token; no secret is where it can be seen."""
    write, user = made.monorepo.write, made.ssh.user
    ssh = f"ssh://{user}@127.0.0.1:{made.ssh.port}{made.repository}"
    flakes = {
        "ssh": (
            f'url = "git+{ssh}?ref=main";',
            {"type": "git", "url": ssh, "ref": "main"},
            {"type": "git", "url": ssh, "ref": "main", "rev": made.private_commit, "narHash": made.hashes["private"]},
        ),
        "token": (
            f'type = "gitlab"; owner = "somebody"; repo = "project"; host = "{made.gitlab.host}";',
            {"type": "gitlab", "owner": "somebody", "repo": "project", "host": made.gitlab.host},
            {
                **{"type": "gitlab", "owner": "somebody", "repo": "project", "host": made.gitlab.host},
                **{"rev": made.commit, "narHash": made.hashes["archive"], "lastModified": 1},
            },
        ),
    }
    for name, (reference, original, locked) in flakes.items():
        write(f"private/{name}/flake.nix", _FLAKE % {"name": name, "input": reference})
        write(f"private/{name}/flake.lock", _lock(original, locked, name))
        write(f"private/{name}/text.nix", _TEXT)
        made.write_image(f"private/{name}", name, "flake.nix")
    write("private/text.nix", _TEXT)
    write(
        "private/default.nix",
        "{\n  netrc = import ./text.nix \"netrc\" (builtins.readFile ((builtins.fetchTarball {\n"
        f'    url = "{made.private.url}/tree.tar.gz"; sha256 = "{made.hashes["tree"]}"; name = "private";\n'
        '  }) + "/text"));\n'
        f'  git = import ./text.nix "git" (builtins.readFile ((builtins.fetchGit {{ url = "{ssh}"; rev = "{made.private_commit}"; ref = "main"; }}) + "/text"));\n'
        "}\n",
    )
    made.write_image("private", "netrc", "default.nix")
    made.write_image("private", "git", "default.nix")
    variables = sorted(made.environment)
    run = made.package("private::", options=(f"--nix-env-vars={json.dumps(variables)}",))
    for directory, name in (("private/ssh", "ssh"), ("private/token", "token"), ("private", "netrc"), ("private", "git")):
        assert made.text(directory, name).strip() == made.word
    archive = f"/{_ARCHIVE.replace('somebody/', 'somebody%2F')}?sha={made.commit}"
    assert (archive, 200) in made.gitlab.requests
    assert ("/tree.tar.gz", 200) in made.private.requests
    assert "Accepted publickey" in made.ssh.log.read_text()
    for secret in (_PASSWORD, _TOKEN):
        assert secret not in run.stdout + run.stderr
        for file in [*(made.monorepo.root / "dist").rglob("*"), *(made.monorepo.root / ".pants.d").rglob("*.log")]:
            assert file.is_dir() or secret not in file.read_text(errors="replace")


def test_without_credentials(made: Inputs) -> None:
    """The error says what cannot be had, where it is asked for, and where credentials come from."""
    write = made.monorepo.write
    write("refused/text.nix", _TEXT)
    ssh = f"ssh://nobody@127.0.0.1:{made.ssh.port}{made.repository}"
    write(
        "refused/default.nix",
        '{\n  http = import ./text.nix "http" (builtins.readFile (builtins.fetchurl {\n'
        f'    url = "{made.private.url.replace("127.0.0.1", "localhost")}/file"; sha256 = "{"0" * 52}"; }}));\n'
        f'  git = import ./text.nix "git" (builtins.readFile ((builtins.fetchGit {{ url = "{ssh}"; rev = "{"1" * 40}"; }}) + "/text"));\n}}\n',
    )
    made.write_image("refused", "http", "default.nix")
    made.write_image("refused", "git", "default.nix")
    options = ('--nix-env-vars=["GIT_SSH_COMMAND"]',)
    http = made.package("refused:http-image", options=options, check=False).stderr
    assert "refused:http: Nix could not evaluate refused/default.nix (field `attr`: http), at refused/default.nix:" in http, http
    assert "401" in http and "netrc-file" in http and "[nix].env_vars" in http
    git = made.package("refused:git-image", options=options, check=False).stderr
    assert "refused:git: Nix could not evaluate" in git and "SSH_AUTH_SOCK" in git and "Permission denied" in git
