"""Failures of the core, told in the words of targets and fields."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from nixoci.errors import printable_lines
from nixoci.store.messages.machine import missing_machine
from pants.engine.addresses import Address
from pants.util.docutil import bin_name


class NixImageError(ValueError):
    """A failure that the user can fix; its message is all that is to be said.

    Whatever the message quotes, nothing in it is left that a terminal acts upon.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable_lines(message))


def explain_package_error(
    error: Mapping[str, Any],
    stderr: str,
    address: Address,
    source: str,
    attr: str,
    log: str = "",
    hint: str = "",
) -> NixImageError:
    """Says what went wrong with a `nix_package`, and what to do.

    :param error: what the core reported (see `nixoci.cli.main`).
    :param source: the Nix file, or the store path; `attr`: the attribute path in it.
    :param log: the file that has all of what a build said.
    :param hint: what to do about a file that evaluation lacks.
    """
    kind = error.get("error")
    message = str(error.get("message") or stderr).rstrip()
    attr = attr or "(none)"
    at = f", at {error.get('place')}" if error.get("place") else ""
    if kind == "NoSuchAttributeError":
        return NixImageError(
            f"{address}: {source} has no package at the attribute path that the field `attr` "
            f"names: {attr}. Correct `attr`. Nix says:\n\n{message}"
        )
    if kind == "UndeclaredSourceError":
        read = f" It is read at {error.get('place')}." if error.get("place") else ""
        if str(error.get("path")).startswith("/"):
            hint = (
                "It is none of the sources, and differs from machine to machine: write it into the repository, or "
                "let it be fetched by its hash. "
            )
        hint = hint or (
            "If it is a file of this repository, add the target that owns it (a `nix_source`, "
            "`nix_sources` or `files` target) to the field `dependencies` of this target. "
        )
        return NixImageError(
            f"{address}: evaluating {source} reads {error.get('path')}, which evaluation cannot see. {hint}"
            f"A flake sees only what is in its own directory and below.{read} Nix says:\n\n{message}"
        )
    if kind == "OutdatedLockError":
        lock, missing = error.get("lock"), ", ".join(error.get("missing", ()))
        way_out = (
            f"Run `{bin_name()} nix-lock --nix-lock-keep {address}`, which locks what is missing and keeps the rest."
        )
        return NixImageError(
            f"{address}: {source} has inputs that {lock} does not lock{f' ({missing})' if missing else ''}, so they "
            f"could be something else tomorrow. {f'Evaluation does not see {lock}. {hint}' if hint else way_out}"
            f" Nix says:\n\n{message}"
        )
    if kind == "UnpinnedFetchError":
        of = f" of {error.get('url')}" if error.get("url") else ""
        return NixImageError(
            f"{address}: evaluating {source} (field `attr`: {attr}) fetches without a hash: "
            f"`builtins.{error.get('function')}`{of}{at.lstrip(',')}. What is fetched can be something else tomorrow, "
            f"and the image with it. {error.get('pin')} Nix says:\n\n{message}"
        )
    if kind == "UnknownOutputPathError":
        return NixImageError(
            f"{address}: {source} (field `attr`: {attr}) has no output path before {_causes(error)} is built, "
            "and the layers of an image are made of output paths. Make it a derivation whose output path is "
            "known at evaluation: an input-addressed one (without `__contentAddressed` and `__impure`; in "
            "nixpkgs, without `config.contentAddressedByDefault`) or a fixed-output one (with `outputHash`)."
        )
    if kind == "ImportFromDerivationError":
        return NixImageError(
            f"{address}: evaluating {source} (field `attr`: {attr}) has to build something to go on (import "
            f"from derivation{at}). Set `allow_import_from_derivation=True` if that is meant, or put what is built "
            f"into the repository. Nix says:\n\n{message}"
        )
    if kind == "EvaluationError" and "nixoci: the file takes no argument" in message:
        return NixImageError(
            f"{address}: {source} is called with an argument that it does not take. Correct the field "
            f"`arguments`, or let the function in {source} take it. Nix says:\n\n{message}"
        )
    if kind == "EvaluationError":
        return NixImageError(
            f"{address}: Nix could not evaluate {source} (field `attr`: {attr}){at}. "
            f"{_store_hint(message) or _machine_hint(message) or evaluation_hint(message)} Nix says:\n\n{message}"
        )
    if kind == "NoMachineError":
        return NixImageError(
            f"{address}: Nix could not build {source} (field `attr`: {attr}): {error.get('why')}. "
            f"{error.get('way_out')} Nix says:\n\n{error.get('log')}"
        )
    if kind == "BuildFailedError":
        end = str(error.get("log"))
        return NixImageError(
            f"{address}: Nix could not build {source} (field `attr`: {attr}){first_failure(end)}. "
            f"{_build_hint(end)} The end of the log:\n\n{end}\n\n{_log_hint(log, _drv(error))}"
        )
    if kind == "NotBuildableError":
        return NixImageError(
            f"{address}: {', '.join(error.get('paths', ()))} (field `store_path`) is not in the Nix "
            "store of this machine, and no substituter has it. Build or copy it there (`nix copy "
            "--from …`), add a substituter that has it to nix.conf, or give `source` and `attr` "
            f"instead of `store_path`. Nix says:\n\n{error.get('log')}"
        )
    return NixImageError(f"{address}: {message}{_store_hint(message)}")


def explain_lock_error(
    error: Mapping[str, Any], stderr: str, address: Address, source: str
) -> NixImageError:
    """Says why the inputs of a flake could not be locked, and what to do.

    :param error: what the core reported.
    :param address: of a target that has the flake `source`.
    """
    message = str(error.get("message") or stderr).rstrip()
    if error.get("error") == "InvalidInputError" and error.get("what") == "input":
        return NixImageError(f"{address}: `--nix-lock-inputs` cannot be followed. {message}")
    if error.get("error") != "LockFailedError":
        return NixImageError(f"{address}: the inputs of {source} cannot be locked. {message}")
    what = f"the input {error.get('input')}" if error.get("input") else "the inputs"
    return NixImageError(
        f"{address}: Nix could not lock {what} of {source}. {_lock_hint(message)} Nix says:\n\n{message}"
    )


def _lock_hint(message: str) -> str:
    """Returns what to do about an input that cannot be locked."""
    if "in the flake registries" in message:
        return (
            "Give the input a URL in the flake, or name it in a registry (`nix registry add`, or `flake-registry` "
            "in nix.conf)."
        )
    if re.search("is dirty|unlocked input|mutable input", message):
        return (
            "A working tree with changes that are not committed cannot be locked. Commit them there, or let the "
            "input be a directory (`path:`)."
        )
    if re.search("-source/[^\n]*(does not exist|No such file)", message):
        return (
            "A relative path is that of a directory of the flake with files of targets: name the targets in the "
            "field `dependencies` of this one, if they are there."
        )
    if re.search("not valid JSON|syntax error while parsing|lock file .* version|parse error", message):
        return (
            "If its `flake.lock` is broken, take that from version control again, or make all of it anew by "
            f"`{bin_name()} nix-lock` without further options."
        )
    return (
        _store_hint(message)
        or "Correct the input in the flake, or see to it that it can be fetched: nix.conf (`access-tokens`, "
        "`netrc-file`) and the variables that `[nix].env_vars` names hold for it."
    )


def explain_step_error(
    error: Mapping[str, Any],
    stderr: str,
    what: str,
    addresses: Sequence[Address],
    elsewhere: str = "",
) -> NixImageError:
    """Says what went wrong with a step that works on the contents of several packages.

    :param what: the step, as in "Digesting a layer".
    :param elsewhere: who did it if that was not this machine.
    """
    packages = ", ".join(sorted({address.spec for address in addresses}))
    message = str(error.get("message") or stderr).rstrip()
    if error.get("error") == "InvalidPathError":
        hint = ""
        if elsewhere:
            hint = (
                f" It was done by {elsewhere}: all of its workers must have one Nix store, or else its "
                "field `has_nix` must not be set."
            )
        return NixImageError(
            f"{what} needs store paths that are still not valid after {packages} were built: "
            f"{', '.join(error.get('paths', ()))}.{hint} If the store is being garbage-collected at the "
            f"same time, run `{bin_name()}` again."
        )
    if error.get("error") == "DuplicateDestinationError":
        return NixImageError(
            f"{what}: {message} Two packages in `copy_to_root` (of {packages}) differ in the same "
            "file; take one of them away, or make a package that merges them."
        )
    if error.get("error") == "CompressorError":
        return NixImageError(
            f"{what} failed: {message} For Pants, write that extra or the compressor into "
            "`[GLOBAL].plugins`. Without it, only what a cache has can be compressed: set `compression` (of "
            'the target or of `[nix-images]`) to "none".'
        )
    if error.get("error") == "ElfReaderError":
        return NixImageError(
            f"{what} failed: {message} The plugin's wheel requires it; where the plugin comes without "
            "its wheel, add it to `[GLOBAL].plugins`."
        )
    return NixImageError(f"{what} ({packages}) failed: {message}")


#: What Nix says of an evaluation that failed, and what to do.
_EVALUATION_HINTS = (
    (
        r"cannot look up '<([^'>]*)>'|file '([^']*)' was not found in the Nix search path",
        "Evaluation has no `NIX_PATH`, so that it is the same everywhere. Take `<{0}>` from something that is pinned: "
        "an input of a flake, npins, niv, or `builtins.fetchTarball` with a `sha256`.",
    ),
    (
        r"string '()' doesn't represent an absolute path",
        "It may be a variable that the expression reads: evaluation has no environment, so `builtins.getEnv` gives an "
        'empty string. Write the path into the repository, or pass what it needs in the field `arguments`.',
    ),
    (
        r"'builtins\.(\w+)' is not allowed in pure evaluation mode",
        "`builtins.{0}` depends on this machine. Take what it gives from the sources, or from a `nix_package`.",
    ),
    (
        r"called without required argument '([^'\n]*)'",
        "Pass `{0}` where the function is called. If it is the function that the file of the package is, set "
        "`arguments={{\"{0}\": …}}`; a function at the end of `attr` gets `system` and nothing else.",
    ),
    (
        r"unable to download '([^'\n]*)'",
        "Check that this machine gets {0}. Nix takes proxies from the variables in `[nix].env_vars`, and "
        "credentials from the file that `netrc-file` in nix.conf names, or from `access-tokens`.",
    ),
    (
        r"program 'git' failed|[Ff]ailed to fetch [Gg]it repository '([^'\n]*)'|Cannot find Git revision",
        "Check that this machine gets the git repository, and that it has the revision. Git takes what it needs "
        "(`SSH_AUTH_SOCK`, `GIT_SSH_COMMAND`, proxies) from the variables in `[nix].env_vars`.",
    ),
    (
        r"hash mismatch in",
        "What is fetched has another hash than the sources say: it has changed since, or the hash is that of something "
        "else. Look at what is there now, and pin it again.",
    ),
)


def evaluation_hint(message: str) -> str:
    """Returns what to do about an evaluation that failed, by what Nix says of it."""
    for pattern, hint in _EVALUATION_HINTS:
        found = re.search(pattern, message)
        if found is not None:
            return hint.format(next((group for group in found.groups() if group), ""))
    return "Fix the expression."


def _causes(error: Mapping[str, Any]) -> str:
    """Returns, in words, of which derivations the output paths are not known."""
    kind = "impure" if error.get("impure") else "floating content-addressed"
    if not error.get("is_dependency"):
        return f"it, a derivation that is {kind},"
    causes = ", ".join(error.get("causes", ()))
    if not causes:
        return "something that it depends on (a derivation that is content-addressed, impure or dynamic)"
    return f"what it depends on, {causes} (a derivation that is {kind}),"


#: How versions of Nix say which build failed, and why; the first one of several is the cause of the others.
_FAILURES = (
    re.compile(r"error: builder for '[^'\n]*/[0-9a-z]{32}-([^'\n]+)\.drv' (failed[^;\n]*)"),
    re.compile(r"error: Cannot build '[^'\n]*/[0-9a-z]{32}-([^'\n]+)\.drv'\.\s+Reason: ([^\n]*?)\.?\n"),
)

#: What else Nix reports, in one line.
_REPORTED = re.compile(r"^ *error: ([^\n]+)$", re.MULTILINE)

#: Characters of such a line that are repeated.
_LONGEST = 160


def first_failure(log: str) -> str:
    """Returns what failed first in a build, to follow a sentence without its full stop; empty if the log does not tell.

    :param log: the end of what Nix wrote.
    """
    found = min(
        (match for match in (pattern.search(log + "\n") for pattern in _FAILURES) if match),
        key=lambda match: match.start(),
        default=None,
    )
    if found is not None:
        return f": {found[1]} {found[2]}" if found[2].startswith("failed") else f": {found[1]}: {found[2]}"
    reported = _REPORTED.search(log)
    return "" if reported is None else f": {reported[1][:_LONGEST].rstrip('.:')}"


def _drv(error: Mapping[str, Any]) -> str:
    return str((error.get("wanted") or ("",))[0]).partition("!")[0]


def _log_hint(log: str, drv: str) -> str:
    """Returns where the whole log of a failed build is."""
    if not log:
        return f"It was built on a worker, where `nix log {drv}` shows the whole log."
    return f"The whole log is in {log}, and that of the package itself is shown by `nix log {drv}`."


def _build_hint(log: str) -> str:
    """Returns what to do about a failed build."""
    if "executing '/bin/sh': No such file" in log:
        return (
            "Nix's build sandbox has no shell: add `sandbox-paths = /bin/sh=/path/of/a/static/shell` "
            "to nix.conf."
        )
    if "Exec format error" in log:
        return (
            "A program for another system was started, and this machine does not run it: let it be emulated (QEMU by "
            "binfmt_misc), or take that system out of `extra-platforms` in nix.conf and give Nix a remote builder for "
            "it (`builders`)."
        )
    return "Fix the derivation."


def _machine_hint(message: str) -> str:
    """Returns what to do about something that evaluation would have to build, and no machine can; else nothing."""
    missing = missing_machine(message)
    return "" if missing is None else f"{missing.drv_path} {missing.why}. {missing.way_out}"


def _store_hint(message: str) -> str:
    """Returns what to do about a store that this user cannot use; empty if that is not the trouble."""
    if "/nix/" in message and re.search("Permission denied|Operation not permitted", message):
        return (
            "This user cannot write to the Nix store: start the Nix daemon, or set the option "
            "`[nix].store` to a directory of your own."
        )
    return ""
