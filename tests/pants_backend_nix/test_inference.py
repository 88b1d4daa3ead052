"""Dependencies that Pants finds in Nix files: through its rules, without Nix."""

from __future__ import annotations

import sys
import textwrap
from typing import Iterable, Mapping

import pytest
from pants.backend.python.target_types import PythonSourcesGeneratorTarget
from pants.core import target_types
from pants.core.goals.package import OutputPathField
from pants.core.target_types import (
    FilesGeneratorTarget,
    FileTarget,
    GenericTarget,
    ResourcesGeneratorTarget,
)
from pants.engine.addresses import Address, Addresses
from pants.engine.internals.parametrize import Parametrize
from pants.engine.internals.scheduler import ExecutionError
from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    Dependencies,
    DependenciesRequest,
    SingleSourceField,
    Target,
    TransitiveTargets,
    TransitiveTargetsRequest,
)
from pants.testutil.rule_runner import QueryRule, RuleRunner
from pants_backend_nix import register
from pants_backend_nix.rules.inference import grammar


class Recipe(Target):
    """As `docker_image`: its file says how something is built, of what it depends on."""

    alias = "recipe"
    core_fields = (*COMMON_TARGET_FIELDS, SingleSourceField, Dependencies, OutputPathField)
    help = "A target that is something else than its file."


class Repository:
    """A Pants with the plugin and a repository of one test, on a machine whose `PATH` is empty."""

    def __init__(self) -> None:
        self.runner = RuleRunner(
            rules=[
                *register.rules(),
                *target_types.rules(),
                QueryRule(Addresses, [DependenciesRequest]),
                QueryRule(TransitiveTargets, [TransitiveTargetsRequest]),
            ],
            target_types=[
                *register.target_types(),
                Recipe,
                FileTarget,
                FilesGeneratorTarget,
                GenericTarget,
                PythonSourcesGeneratorTarget,
                ResourcesGeneratorTarget,
            ],
            objects={**register.build_file_aliases().objects, "parametrize": Parametrize},
            preserve_tmpdirs=False,
        )
        self.options(())

    def options(self, options: Iterable[str]) -> None:
        # Python files are parsed in this process: there is no Python to run in a sandbox.
        rust = "--python-infer-use-rust-parser"
        self.runner.set_options([rust, *options], env={"PATH": ""})

    def write(self, files: Mapping[str, str]) -> None:
        self.runner.write_files({path: textwrap.dedent(text) for path, text in files.items()})

    def dependencies(self, address: Address) -> set[str]:
        target = self.runner.get_target(address)
        found = self.runner.request(Addresses, [DependenciesRequest(target.get(Dependencies))])
        return {one.spec for one in found}

    def files_of(self, address: Address) -> set[str]:
        """Returns the addresses of all that a target depends on."""
        found = self.runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])
        return {target.address.spec for target in found.dependencies}


@pytest.fixture()
def repository() -> Repository:
    return Repository()


def test_a_package_depends_on_what_its_file_imports(repository: Repository) -> None:
    repository.write(
        {
            "a/BUILD": 'nix_sources(name="nix")\nnix_package(name="p", source="default.nix")\n',
            "a/default.nix": "import ./x.nix { y = ../b/y; }",
            "a/x.nix": "import ./dir",
            "a/idle.nix": "{}",
            "a/dir/BUILD": 'nix_sources(name="nix")\n',
            "a/dir/default.nix": "builtins.readFile ../../b/text",
            "a/dir/other.nix": "{}",
            "b/BUILD": 'files(name="files", sources=["**/*"])\n',
            "b/text": "",
            "b/y/1": "",
            "b/y/z/2": "",
            # What is wrong elsewhere concerns nobody here.
            "broken/BUILD": "nix_package(name=1, no_such_field=2)",
        }
    )
    package = Address("a", target_name="p")
    texts = {"b/y/1:../files", "b/y/z/2:../../files"}
    assert repository.dependencies(package) == {"a/x.nix:nix", *texts}
    assert repository.files_of(package) == {
        *("a/x.nix:nix", "a/dir/default.nix:nix", "b/text:files", *texts)
    }


def test_a_file_that_is_used_through_three_imports_belongs_to_its_packages(
    repository: Repository,
) -> None:
    repository.write(
        {
            "BUILD": """\
                nix_sources(name="nix", sources=["**/*.nix"])
                nix_package(name="p", source="p.nix")
                nix_package(name="q", source="q.nix")
                nix_package(name="r", source="r.nix")
                """,
            "p.nix": "import lib/1.nix",
            "q.nix": "import ./lib {}",
            "r.nix": "import ./lib/other.nix",
            "lib/default.nix": "import ./1.nix",
            "lib/1.nix": "(import ./2.nix).x",
            "lib/2.nix": "{ x = import ../deep/3.nix; }",
            "lib/other.nix": "{}",
            "deep/3.nix": "{}",
            "deep/idle.nix": "{}",
        }
    )
    deep = "//deep/3.nix:../nix"
    of = {name: repository.files_of(Address("", target_name=name)) for name in "pqr"}
    assert {name for name in of if deep in of[name]} == {"p", "q"}
    assert of["r"] == {"//lib/other.nix:../nix"}
    assert not any("//deep/idle.nix:../nix" in files for files in of.values())


DIRECTORY = {
    "a/BUILD": """\
        nix_source(name="default", source="default.nix")
        nix_source(name="lib", source="lib.nix")
        nix_package(name="p", source="default.nix", dependencies=DEPENDENCIES)
        nix_package(name="q", source="q.nix")
        file(name="one", source="one.txt")
        files(name="several", sources=["several/*"])
        resources(name="resources", sources=["r/*"])
        python_sources(name="py", sources=["*.py"])
        recipe(name="recipe", source="Recipe", dependencies=[":image"])
        nix_image(name="image", packages=[":p"])
        """,
    "a/default.nix": "mkDerivation { src = ./.; }",
    **{f"a/{name}": "" for name in ("lib.nix", "one.txt", "several/1", "several/2", "r/x", "b.py")},
    "a/q.nix": "{ src = ./.; }",
    "a/Recipe": "",
    "a/README.md": "",
    "above.txt": "",
    "BUILD": 'file(name="above", source="above.txt")',
}
BELOW = {"a:default", "a:lib", "a:one", "a/several/1:../several", "a/several/2:../several"} | {
    *("a/r/x:../resources", "a/b.py:py")
}


@pytest.mark.parametrize(
    "dependencies, missing",
    [
        ((), set()),
        (("!:one",), {"a:one"}),
        (("!./several/1:several",), {"a/several/1:../several"}),
        (("!:several",), {"a/several/1:../several", "a/several/2:../several"}),
        (("!:resources", "!:py"), {"a/r/x:../resources", "a/b.py:py"}),
    ],
)
def test_a_directory_is_all_files_of_targets_below_it(
    repository: Repository, dependencies: tuple[str, ...], missing: set[str]
) -> None:
    """Less what is ignored, and what is a target for something else than its file. No circle comes of it."""
    files = {name: text.replace("DEPENDENCIES", repr(list(dependencies))) for name, text in DIRECTORY.items()}
    files["a/BUILD"] = files["a/BUILD"].replace("./several/1:several", "a/several/1:../several")
    repository.write(files)
    package = Address("a", target_name="p")
    # The file of the package is its own.
    assert repository.dependencies(package) == BELOW - missing - {"a:default"}
    assert repository.dependencies(Address("a", target_name="default")) == BELOW - {"a:default"}
    assert "a:lib" in repository.files_of(Address("a", target_name="recipe"))


def test_files_that_import_each_other(repository: Repository) -> None:
    repository.write(
        {
            "BUILD": 'nix_sources(name="nix")\nnix_package(name="p", source="default.nix")\n',
            "default.nix": "{ shell = import ./shell.nix; src = ./.; }",
            "shell.nix": "(import ./default.nix).x",
        }
    )
    files = {"//default.nix:nix", "//shell.nix:nix"}
    assert repository.files_of(Address("", target_name="p")) == files


def test_a_file_that_only_a_package_owns(repository: Repository) -> None:
    """Its package brings it, with what it needs."""
    repository.write(
        {
            "a/BUILD": 'nix_package(name="a", source="default.nix")\n',
            "a/default.nix": "import ../b",
            "b/BUILD": 'nix_package(name="b", source="default.nix")\nfile(name="t", source="t")\n',
            "b/default.nix": "./t",
            "b/t": "",
        }
    )
    assert repository.files_of(Address("a", target_name="a")) == {"b:b", "b:t"}


AMBIGUOUS = {
    "BUILD": 'nix_package(name="p", source="p.nix", dependencies=DEPENDENCIES)\n'
    'file(name="one", source="x.txt")\nfile(name="two", source="x.txt")\n'
    'file(name="rest", source="y.txt")\n',
    "p.nix": "builtins.readFile PATH",
    "x.txt": "",
    "y.txt": "",
}


@pytest.mark.parametrize("path", ["./x.txt", "./."])
@pytest.mark.parametrize(
    "dependencies, expected, warned",
    [
        ((), set(), True),
        (("!:one",), {"//:two"}, False),
        (("!:one", "!:two"), set(), False),
        ((":one",), {"//:one"}, False),
    ],
)
def test_a_file_with_two_owners(
    repository: Repository,
    caplog: pytest.LogCaptureFixture,
    path: str,
    dependencies: tuple[str, ...],
    expected: set[str],
    warned: bool,
) -> None:
    repository.write(
        {
            name: text.replace("DEPENDENCIES", repr(list(dependencies))).replace("PATH", path)
            for name, text in AMBIGUOUS.items()
        }
    )
    rest = {"//:rest"} if path == "./." else set()
    assert repository.dependencies(Address("", target_name="p")) == expected | rest
    assert ("because more than one target owns this file" in caplog.text) == warned
    if warned:
        assert "`x.txt` (p.nix, line 1)" in caplog.text and "['//:one', '//:two']" in caplog.text


@pytest.mark.parametrize(
    "build, expected",
    [
        # What says that a file is one of Nix comes before other files, and these before packages.
        ('nix_source(name="n", source="x.nix")\nfile(name="f", source="x.nix")\n', {"//:n"}),
        ('file(name="f", source="x.nix")\nnix_package(name="q", source="x.nix")\n', {"//:f"}),
        ('nix_sources(name="n")\nfiles(name="f", sources=["*.nix"])\n', {"//x.nix:n"}),
        # Variants of one target are no ambiguity.
        (
            'file(name="f", source="x.nix", tags=parametrize(a=["a"], b=["b"]))\n',
            {"//:f@tags=a"},
        ),
        (
            'nix_sources(name="f", sources=["x.*"], dependencies=parametrize(a=[], b=[":p"]))\n',
            {"//x.nix:f@dependencies=a"},
        ),
    ],
)
def test_which_owner_is_taken(
    repository: Repository, caplog: pytest.LogCaptureFixture, build: str, expected: set[str]
) -> None:
    package = 'nix_package(name="p", source="p.nix")\n'
    repository.write({"BUILD": package + build, "p.nix": "import ./x.nix", "x.nix": "1"})
    assert repository.dependencies(Address("", target_name="p")) == expected
    assert "ambiguous" not in caplog.text


def test_variants_of_a_package_take_their_own(repository: Repository) -> None:
    repository.write(
        {
            "BUILD": """\
                SYSTEMS = parametrize("x86_64-linux", "aarch64-linux")
                nix_package(name="p", source="p.nix", system=SYSTEMS)
                nix_package(name="q", source="q.nix", system=SYSTEMS)
                """,
            "p.nix": "import ./q.nix",
            "q.nix": "1",
        }
    )
    for system in ("x86_64-linux", "aarch64-linux"):
        package = Address("", target_name="p", parameters={"system": system})
        assert repository.dependencies(package) == {f"//:q@system={system}"}


UNOWNED = """\
[
  ./owned.nix
  ./typo.nix
  (import ./dir)
  (if builtins.pathExists ./local.nix then import ./local.nix else { })
  ./meant.nix # pants: no-infer-dep
  ./open-${x}.nix
]
"""


def test_paths_without_owner(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    repository.write(
        {
            "d/BUILD": 'nix_source(name="n", source="owned.nix")\nnix_package(name="p", source="p.nix")\n',
            "d/p.nix": UNOWNED,
            "d/owned.nix": "1",
            "d/dir/not-default.nix": "1",
        }
    )
    package = Address("d", target_name="p")
    assert repository.dependencies(package) == {"d:n"}
    assert "following paths in d/p.nix, a file of the target d:p" in caplog.text
    assert "* d/typo.nix (line 3)\n  * d/dir (line 4)\n\n" in caplog.text
    caplog.clear()
    repository.options(["--nix-infer-unowned-dependency-behavior=ignore"])
    assert repository.dependencies(package) == {"d:n"}
    assert "d/typo.nix" not in caplog.text
    repository.options(["--nix-infer-unowned-dependency-behavior=error"])
    with pytest.raises(ExecutionError, match=r"d/typo.nix \(line 3\)"):
        repository.dependencies(package)
    repository.options(["--no-nix-infer-paths"])
    assert repository.dependencies(package) == set()


def test_a_flake_has_its_lock_file_and_inputs(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    repository.write(
        {
            "f/BUILD": 'nix_sources(name="nix")\nnix_package(name="p", source="flake.nix", attr="p")\n'
            'files(name="src", sources=["src/*"])\n',
            "f/flake.nix": """\
                {
                  inputs.lib.url = "path:./lib";
                  outputs = { self, lib }: { p = mk { src = "${self}/src"; x = import ../up.nix; }; };
                }
                """,
            "f/flake.lock": "{}",
            "f/src/1": "",
            "f/lib/BUILD": 'nix_sources(name="nix")\n',
            "f/lib/flake.nix": "{ outputs = _: { }; }",
            "BUILD": 'nix_source(name="up", source="up.nix")',
            "up.nix": "1",
        }
    )
    package = Address("f", target_name="p")
    assert repository.dependencies(package) == {
        *("f/flake.lock:nix", "f/lib/flake.nix:nix", "f/src/1:../src", "//:up")
    }
    assert "cannot infer" not in caplog.text
    repository.write({"f/BUILD": 'nix_package(name="p", source="flake.nix")'})
    repository.dependencies(package)
    assert "f/flake.lock (line 1)" in caplog.text, "it has inputs, so evaluation needs it"
    # Before there is one, evaluation says how to make it.
    repository.write(
        {
            "g/BUILD": 'nix_package(name="p", source="flake.nix")',
            "g/flake.nix": '{ inputs.a.url = "github:a/b"; outputs = _: { }; }',
        }
    )
    repository.dependencies(Address("g", target_name="p"))
    assert "g/flake.lock" not in caplog.text


def test_what_a_source_says_holds_for_packages_of_its_file(repository: Repository) -> None:
    """A path that only evaluation knows is listed once, not for each of fifty packages."""
    repository.write(
        {
            "BUILD": """\
                nix_source(name="n", source="p.nix", dependencies=[":more", "!:less"])
                nix_package(name="p", source="p.nix")
                nix_package(name="q", source="p.nix")
                file(name="more", source="more")
                file(name="less", source="less")
                file(name="same", source="same")
                """,
            "p.nix": "[ ./less ./same ]",
            **dict.fromkeys(("more", "less", "same"), ""),
        }
    )
    for name in ("p", "q"):
        package = Address("", target_name=name)
        assert repository.dependencies(package) == {"//:same", "//:n"}
        assert repository.files_of(package) == {"//:same", "//:n", "//:more"}


def test_a_file_that_is_no_nix_is_no_error(repository: Repository) -> None:
    repository.write(
        {
            "BUILD": 'nix_sources(name="nix")\nnix_package(name="p", source="p.nix")\n',
            "p.nix": "{ a = import ./x.nix; b = ; ))) c = ./y.nix",
            "x.nix": "\0\0 <<<<",
            "y.nix": "",
        }
    )
    found = repository.dependencies(Address("", target_name="p"))
    assert found == {"//x.nix:nix", "//y.nix:nix"}


def test_a_change_of_a_file_changes_its_dependencies_alone(repository: Repository) -> None:
    files = {
        "BUILD": 'nix_sources(name="nix")\n',
        "p.nix": "./x.nix",
        "q.nix": "./y.nix",
        "x.nix": "1",
        "y.nix": "1",
    }
    repository.write(files)
    p, q = (Address("", target_name="nix", relative_file_path=f"{name}.nix") for name in "pq")
    assert repository.dependencies(p) == {"//x.nix:nix"}
    assert repository.dependencies(q) == {"//y.nix:nix"}
    repository.write({"p.nix": "[ ./y.nix ./z.nix ]", "z.nix": "1"})
    assert repository.dependencies(p) == {"//y.nix:nix", "//z.nix:nix"}
    assert repository.dependencies(q) == {"//y.nix:nix"}


def test_a_parser_that_is_not_installed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write(
        {"BUILD": 'nix_package(name="p", source="p.nix")', "p.nix": "1"},
    )
    grammar._language.cache_clear()
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    package = "tree-sitter-nix" if sys.version_info >= (3, 10) else "tree-sitter-language-pack"
    with pytest.raises(ExecutionError, match=f"{package}, which is not installed") as raised:
        repository.dependencies(Address("", target_name="p"))
    assert "`[GLOBAL].plugins`" in str(raised.value) and "[nix-infer].paths" in str(raised.value)
    repository.options(["--no-nix-infer-paths"])
    assert repository.dependencies(Address("", target_name="p")) == set()


NAMES = """\
    SYSTEMS = parametrize("x86_64-linux", "aarch64-linux")
    nix_package(name="sh", source="p.nix")
    nix_package(name="curl", source="p.nix", attr="curl", system=SYSTEMS)
    nix_package(name="base", source="p.nix", attr="base")
    nix_package(name="idle", source="p.nix", attr="idle")
    nix_layer(name="lowest", packages=["d:base"])
    nix_layer(name="layer", layers=[":lowest"])
    nix_image(
        name="image",
        layers=[":layer"],
        system="x86_64-linux",
        entrypoint=["{sh}/bin/sh", "-c", "{{idle}}"],
        env={"PATH": "{base}/bin:{d:tool^bin}/bin:{//:root}/bin:{unknown}"},
        healthcheck={"test": ["{curl}/bin/curl"]},
    )
    nix_image(name="named", dependencies=["d:curl"], cmd=["{curl}"])
    nix_image(name="wrong", cmd=["{sh"])
"""


def test_packages_that_strings_name(repository: Repository) -> None:
    """Of two with one name, the one counts that another field or a layer brings."""
    repository.write(
        {
            "a/BUILD": NAMES,
            "a/p.nix": "1",
            "BUILD": 'nix_package(name="root", source="r.nix")',
            "r.nix": "1",
            "d/BUILD": """\
                nix_package(name="base", source="b.nix")
                nix_package(name="curl", source="b.nix")
                nix_package(name="tool", source="b.nix")
                """,
            "d/b.nix": "1",
            "broken/BUILD": "nix_package(name=1, no_such_field=2)",
        }
    )
    assert repository.dependencies(Address("a", target_name="image")) == {
        *("a:layer", "a:sh", "a:curl@system=x86_64-linux", "d:tool", "//:root")
    }
    assert repository.dependencies(Address("a", target_name="named")) == {"d:curl"}
    assert repository.dependencies(Address("a", target_name="wrong")) == set()
