"""Every error that a user can cause names the target, the field or file, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pants.engine.addresses import Address
from pants_backend_nix.errors import (
    NixImageError,
    explain_lock_error,
    explain_package_error,
    first_failure,
)

from tests.integration.support.nix import machine_nix
from tests.integration.support.process import run
from tests.nixoci.store.nix_support import unique_word
from tests.pants_backend_nix.errors_support import SOURCES, image_of
from tests.pants_backend_nix.packager_support import Packager


@pytest.fixture(scope="module")
def errors() -> Packager:
    """With sources that nobody has evaluated: what Pants' cache has needs no Nix, and so can lack none."""
    default = f"{SOURCES['default.nix']}# {unique_word()}\n"
    return Packager(machine_nix(), {**SOURCES, "default.nix": default})


def test_nothing_that_a_terminal_acts_upon() -> None:
    """Names and answers may have what they like; paragraphs and lines of Nix stay."""
    hostile = "\x1b]0;title\x07\x9b31m\u202e"
    error = NixImageError(f"a {hostile}\n\nNix says:\n\x1b[31mred\x1b[0m\tend")
    shown = "\\x1b]0;title\\x07\\x9b31m\\u202e"
    assert str(error) == f"a {shown}\n\nNix says:\nred\tend"
    for kind in ("UndeclaredSourceError", "UnpinnedFetchError", "NotBuildableError", "Other"):
        facts = {"error": kind, "path": hostile, "url": hostile, "paths": [hostile], "message": hostile}
        error = explain_package_error(facts, "", Address("a"), hostile, hostile)
        assert shown in str(error) and str(error).replace("\n", "").isprintable()


def test_no_nix(errors: Packager) -> None:
    """Without Nix the error says where it was looked for and how to get it."""
    text = errors.error(
        image_of('source="default.nix", attr="good"'),
        environment={"PATH": "/usr/local/nothing"},
        options=("--nix-search-path=['<PATH>', '/usr/local/nowhere']",),
    )
    # Python is never missing: the one that runs Pants is there.
    assert "No `nix`" in text
    assert "/usr/local/nothing" in text and "`[nix].search_path`" in text


def test_no_nix_beside_python(errors: Packager, tmp_path: Path) -> None:
    """With Python and without Nix the error says how to install Nix."""
    (tmp_path / "python3").symlink_to(sys.executable)
    text = errors.error(
        image_of('source="default.nix", attr="good"'),
        environment={"PATH": str(tmp_path)},
        options=("--nix-search-path=['<PATH>']",),
    )
    assert "No `nix` in" in text and "Install Nix" in text


def test_nix_too_old(errors: Packager, tmp_path: Path) -> None:
    """An old Nix is named, with its version and the one that is needed."""
    old = tmp_path / "nix"
    old.write_text('#!/bin/sh\necho "nix (Nix) 2.3.16"\n')
    old.chmod(0o755)
    text = errors.error(
        image_of('source="default.nix", attr="good"'),
        environment={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        options=("--nix-search-path=['<PATH>']",),
    )
    assert f"{old} is Nix 2.3.16; at least 2.8 is needed. Upgrade Nix." in text


def test_no_such_attribute(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="god"'))
    assert "DIR:p: DIR/default.nix has no package" in text
    assert "field `attr` names: god" in text and "'god' in selection path" in text


def test_attribute_that_is_no_derivation(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="number"'))
    assert "DIR:p:" in text and "number is not a derivation" in text


def test_evaluation_error(errors: Packager) -> None:
    """Nix's own message is shown."""
    text = errors.error(image_of('source="default.nix", attr="throws"'))
    assert "DIR:p: Nix could not evaluate DIR/default.nix (field `attr`: throws)" in text
    assert "this is Nix's own message" in text


def test_build_failure(errors: Packager) -> None:
    """The end of the log is shown, and how to see all of it."""
    text = errors.error(image_of('source="default.nix", attr="fails"'))
    assert "DIR:p: Nix could not build DIR/default.nix (field `attr`: fails)" in text
    assert "`nix log /nix/store/" in text and "the last words of the build" in text


def test_a_package_for_another_system(errors: Packager) -> None:
    """Nix has nothing here that can build it. The error says for which system it is, and what Nix needs."""
    text = errors.error(image_of('source="default.nix", attr="foreign"'))
    assert "DIR:p: Nix could not build DIR/default.nix (field `attr`: foreign): it is for aarch64-linux" in text
    assert "this machine is x86_64-linux. Nix needs a remote builder for aarch64-linux" in text
    assert "`extra-platforms = aarch64-linux` in nix.conf" in text and "a substituter" in text
    assert "Fix the derivation" not in text
    text = errors.error(
        image_of('source="default.nix", attr="needs-foreign", allow_import_from_derivation=True')
    )
    assert "DIR:p: Nix could not evaluate" in text and "Fix the expression" not in text
    assert "-file.nix.drv is for aarch64-linux, and this machine is x86_64-linux. Nix needs" in text


def test_a_builder_that_does_not_run_here() -> None:
    """Nix was told that this machine runs programs of another one, and it does not."""
    log = "error: executing '/nix/store/z-bash/bin/bash': Exec format error\nerror: builder for 'a' failed"
    facts = {"error": "BuildFailedError", "log": log, "wanted": ["/nix/store/z-a.drv!out"]}
    text = str(explain_package_error(facts, "", Address("a"), "default.nix", "a"))
    assert "A program for another system was started" in text and "binfmt_misc" in text
    assert "`extra-platforms`" in text and "Fix the derivation" not in text


def test_undeclared_source(errors: Packager) -> None:
    """A file that exists, but is no dependency, is not visible; the error says how to declare it."""
    text = errors.error(image_of('source="default.nix", attr="hidden"'))
    assert "DIR:p: evaluating DIR/default.nix reads DIR/hidden.nix" in text
    assert "No target owns it." in text and "field `dependencies`" in text
    assert 'to DIR/BUILD: nix_source(name="hidden-nix", source="hidden.nix")' in text


@pytest.mark.parametrize(
    "attr, path, more, owner",
    [
        ("unseen", "unseen.nix", 'nix_source(name="h", source="unseen.nix")\n', "DIR:h"),
        ("unseen", "unseen.nix", 'nix_sources(name="n", sources=["u*"])\n', "DIR/unseen.nix:n"),
        ("listed", "data", 'files(name="f", sources=["data/*"])\n', "DIR:f"),
        ("listed", "data", 'file(name="one", source="data/1")\n', "DIR:one"),
    ],
)
def test_undeclared_source_that_a_target_owns(
    errors: Packager, attr: str, path: str, more: str, owner: str
) -> None:
    """The error names it, and the line to add; with that line there is no such error."""
    build = more + image_of(f'source="default.nix", attr="{attr}"')
    text = errors.error(build)
    assert f"reads DIR/{path}, which evaluation cannot see. The target {owner} owns it" in text
    line = f'dependencies=["{owner}"],'
    assert f"Add it to the field `dependencies` of DIR:p: {line}" in text
    text = errors.error(build.replace('attr="', f'{line} attr="'))
    assert "evaluation cannot see" not in text and "is not a derivation" in text


def test_undeclared_source_of_a_file_with_many_packages(errors: Packager) -> None:
    """What the `nix_source` of the file depends on, each of them sees."""
    more = (
        'file(name="h", source="unseen.nix")\nnix_source(name="n", source="default.nix"{})\n'
        + image_of('source="default.nix", attr="unseen"')
    )
    text = errors.error(more.format(""))
    assert "(or of DIR:n, for all packages of that file): dependencies=[\"DIR:h\"]," in text
    text = errors.error(more.format(', dependencies=[":h"]'))
    assert "is not a derivation" in text


def test_undeclared_source_that_a_flake_cannot_see(errors: Packager) -> None:
    """It is a dependency already, and adding it again would not help."""
    text = errors.error(
        'file(name="h", source="hidden.nix")\n' + image_of('source="sub/flake.nix", attr="p"')
    )
    assert "A flake sees only what is in its own directory and below" in text
    assert "The target DIR:h" not in text and "No target" not in text
    assert "reads DIR/hidden.nix" in text
    assert "It is above the directory of the flake, DIR/sub. Move the flake" in text


def test_source_outside_of_the_repository(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="host"'))
    assert "DIR:p:" in text and "reads /etc/nothing.nix" in text


def test_fetch_without_a_hash(errors: Packager) -> None:
    """The call is named, where it is, and what pins it."""
    text = errors.error(image_of('source="default.nix", attr="fetched"'))
    assert "DIR:p: evaluating DIR/default.nix (field `attr`: fetched) fetches without a hash" in text
    assert "`builtins.fetchTarball` of https://example.invalid/branch.tar.gz at DIR/default.nix:" in text
    assert "`nix-prefetch-url --unpack URL`" in text


def test_invalid_store_path(errors: Packager) -> None:
    text = errors.error(image_of('store_path="/nix/store/short-name"'))
    assert "DIR:p: the field `store_path` is not a store path" in text
    assert "expected 32 base-32 digits" in text


def test_store_path_that_nobody_has(errors: Packager) -> None:
    text = errors.error(image_of(f'store_path="/nix/store/{"0" * 32}-nothing"'))
    assert f"DIR:p: /nix/store/{'0' * 32}-nothing (field `store_path`)" in text
    assert "no substituter has it" in text and "nix copy" in text


def test_source_and_store_path(errors: Packager) -> None:
    text = errors.error(image_of(f'source="default.nix", store_path="/nix/store/{"0" * 32}-x"'))
    assert "DIR:p needs either `source`" in text and "not both" in text


def test_unknown_output(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="good", outputs=["dev"]'))
    assert "DIR:p: the field `outputs` names 'dev'" in text and "outputs are out" in text


def test_ignored_path_that_is_referenced(errors: Packager) -> None:
    """The error says which path, and which one references it."""
    text = errors.error(
        """
        nix_package(name="good", source="default.nix", attr="good")
        nix_package(name="user", source="default.nix", attr="user")
        nix_image(name="image", packages=[":user"], ignore=[":good"])
        """
    )
    assert "DIR:image: the field `ignore`" in text
    assert text.count("-good") >= 2 and "-user in the image references it" in text


def test_duplicate_destination(errors: Packager) -> None:
    """Two packages with the same file cannot both be copied to the root."""
    text = errors.error(
        """
        nix_package(name="one", source="default.nix", attr="one-tree")
        nix_package(name="other", source="default.nix", attr="other-tree")
        nix_image(name="image", copy_to_root=[":one", ":other"])
        """
    )
    assert "/etc/passwd" in text and "-one-tree" in text and "-other-tree" in text
    assert "`copy_to_root`" in text and "DIR:one" in text and "DIR:other" in text


@pytest.mark.parametrize("field", ["packages", "copy_to_root"])
def test_file_that_would_delete_another(errors: Packager, field: str) -> None:
    """The error names the file and the package, and says how to do without it."""
    package = 'nix_package(name="p", source="default.nix", attr="deleting")\n'
    text = errors.error(f'{package}nix_image(name="image", {field}=[":p"])')
    assert "-deleting/etc/.wh.passwd would delete files in the image" in text
    assert "DIR:p" in text and "`excludes`" in text
    errors.descriptor(f'{package}nix_image(name="image", {field}=[":p"], excludes=["**/.wh.*"])')


def test_full_disk(errors: Packager) -> None:
    """An archive that does not fit is an error that names it, and leaves nothing behind."""
    dist = Path(errors.runner.build_root) / "full"
    dist.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", dist])
    try:
        text = errors.error(
            image_of('source="default.nix", attr="large"', 'output_format="oci-archive"'),
            options=("--pants-distdir=full",),
        )
        assert "DIR:image" in text
        assert "image.tar cannot be written: No space left on device" in text
        assert [path for path in dist.rglob("*") if path.is_file()] == []
    finally:
        run(["umount", dist])


@pytest.mark.parametrize(
    "attr, expected",
    [
        ("floating", "before it, a derivation that is floating content-addressed, is built"),
        ("impure", "before it, a derivation that is impure, is built"),
        ("user", "-floating.drv (a derivation that is floating content-addressed), is built"),
        ("other", "-impure.drv (a derivation that is impure), is built"),
    ],
)
@pytest.mark.parametrize("field", ["packages", "copy_to_root", "ignore"])
def test_output_paths_that_are_not_known(
    errors: Packager, field: str, attr: str, expected: str
) -> None:
    """They are known only when the package, or what it depends on, is built."""
    text = errors.error(
        image_of(f'source="floating.nix", attr="{attr}"').replace("packages=", f"{field}="),
        options=("--nix-extra-experimental-features=['ca-derivations', 'impure-derivations']",),
    )
    assert f"DIR:p: DIR/floating.nix (field `attr`: {attr}) has no output path before" in text
    assert expected in text
    assert "Make it a derivation whose output path is known at evaluation" in text


@pytest.mark.parametrize(
    "message, way_out",
    [
        ("error: cannot find flake 'flake:x' in the flake registries", "Give the input a URL"),
        ("error: Git tree '/x' is dirty", "Commit them there"),
        ("error: path '/nix/store/0-source/x/flake.nix' does not exist", "field `dependencies`"),
        ("error: parse error at line 1, column 1", "is broken"),
        ("error: opening lock file '/nix/var/x': Permission denied", "start the Nix daemon"),
        ("error: unable to download 'https://example.invalid'", "`[nix].env_vars`"),
    ],
)
def test_inputs_that_cannot_be_locked(message: str, way_out: str) -> None:
    facts = {"error": "LockFailedError", "message": message, "input": "x"}
    error = str(explain_lock_error(facts, "", Address("a"), "a/flake.nix"))
    assert error.startswith("a:a: Nix could not lock the input x of a/flake.nix. ")
    assert way_out in error and message in error


def test_a_lock_file_that_lacks_inputs() -> None:
    """The way out is a command; but where evaluation does not see the file, that would not help."""
    facts = {"error": "OutdatedLockError", "lock": "a/flake.lock", "missing": ("x",), "message": "m"}
    error = str(explain_package_error(facts, "", Address("a"), "a/flake.nix", ""))
    assert "a:a: a/flake.nix has inputs that a/flake.lock does not lock (x)" in error
    assert "nix-lock --nix-lock-keep a:a`" in error
    hidden = explain_package_error(facts, "", Address("a"), "a/flake.nix", "", hint="Add a target. ")
    assert "Evaluation does not see a/flake.lock. Add a target." in str(hidden)
    assert "nix-lock" not in str(hidden)


_FUNCTION = """
{ system, word ? "default", deep ? { } }: {
  p = derivation {
    name = "p-${word}-${deep.er or "none"}"; inherit system; builder = "/bin/sh";
    args = [ "-c" "echo ${word} > $out" ];
  };
  imported = import (derivation {
    name = "made"; inherit system; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ];
  });
}
"""


@pytest.fixture(scope="module")
def function() -> Packager:
    return Packager(machine_nix(), {"function.nix": _FUNCTION, "flake.nix": "{ outputs = _: { }; }"})


def _names(descriptor: dict[str, Any]) -> list[str]:
    entries = [e for layer in descriptor["layers"] for e in layer["recipe"]["entries"]]
    return sorted(entry["path"].partition("-")[2] for entry in entries)


def test_arguments_of_a_package(function: Packager) -> None:
    """Also parametrized: each set of arguments is a package of its own."""
    build = """
        nix_package(
            name="p", source="function.nix", attr="p",
            arguments=parametrize(one={"word": "one"}, two={"word": "two", "deep": {"er": "d"}}, none=None),
        )
        nix_image(name="image", packages=[":p@arguments=one", ":p@arguments=two", ":p@arguments=none"])
    """
    assert _names(function.descriptor(build)) == ["p-default-none", "p-one-none", "p-two-d"]


@pytest.mark.parametrize(
    "package, words",
    (
        ('source="function.nix", attr="p", arguments={"typo": 1}', ("`arguments`", "'typo'")),
        ('source="flake.nix", arguments={"word": "a"}', ("a flake takes no arguments",)),
        ('store_path="/nix/store/" + "0" * 32 + "-x", arguments={"word": "a"}', ("not with `store_path`",)),
        ('source="function.nix", attr="p", arguments={"word": 1}', ("Nix says", "cannot coerce an integer")),
        ('source="function.nix", attr="imported"', ("allow_import_from_derivation=True", "DIR:p")),
    ),
)
def test_arguments_that_are_wrong(function: Packager, package: str, words: tuple[str, ...]) -> None:
    error = function.error(image_of(package))
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "arguments, words",
    (
        ('{"system": "x"}', "Set the field `system` instead"),
        ("{1: 2}", "a dictionary such as"),
        ('["a"]', "a dictionary such as"),
        ('{"a": float("nan")}', "not valid"),
    ),
)
def test_values_that_are_no_arguments(function: Packager, arguments: str, words: str) -> None:
    build = f'nix_package(name="p", source="function.nix", attr="p", arguments={arguments})\n'
    with pytest.raises(Exception, match=words):
        function.descriptor(build + 'nix_image(name="image", packages=[":p"])\n')


@pytest.mark.parametrize(
    "log, expected",
    [
        (
            "building '/nix/store/@-x.drv'...\nerror: builder for '/nix/store/@-x-1.0.drv' failed with exit code 3;\n"
            "       last 1 log lines:\n       > no\nerror: 1 dependencies of derivation '/nix/store/@-y.drv' failed",
            ": x-1.0 failed with exit code 3",
        ),
        (
            "error: Cannot build '/nix/store/@-x.drv'.\n       Reason: builder failed with exit code 1.\n"
            "       Output paths:\n         /nix/store/@-x\nerror: Cannot build '/nix/store/@-y.drv'.\n"
            "       Reason: 1 dependency failed.",
            ": x: builder failed with exit code 1",
        ),
        (
            "warning: unable to download\nerror: hash mismatch in fixed-output derivation '/nix/store/@-s.drv':\n"
            "         specified: sha256-A\n            got:    sha256-B",
            f": hash mismatch in fixed-output derivation '/nix/store/{'0' * 32}-s.drv'",
        ),
        ("nothing of it", ""),
        ("", ""),
    ],
    ids=["2.8", "2.30", "another error", "no error", "nothing"],
)
def test_what_failed_first(log: str, expected: str) -> None:
    """Nix's own words are many; the cause comes first."""
    assert first_failure(log.replace("@", "0" * 32)) == expected


def test_no_substituters(errors: Packager) -> None:
    """An empty list is none, and not those of nix.conf."""
    build = 'nix_package(name="p", store_path="PATH")\nnix_image(name="image", packages=[":p"])'.replace(
        "PATH", f"/nix/store/{'1' * 32}-nowhere"
    )
    environment = {"NIX_CONFIG": "substituters = http://127.0.0.1:1\ndownload-attempts = 1\n"}
    options = ("--nix-env-vars=['NIX_CONFIG']",)
    asked = errors.error(build, environment=environment, options=options)
    assert "127.0.0.1:1" in asked
    none = errors.error(build, environment=environment, options=(*options, "--nix-substituters=[]"))
    assert "is not in the Nix store of this machine" in none and "127.0.0.1" not in none
