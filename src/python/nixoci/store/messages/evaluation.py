"""The errors of evaluations, which say what to do. `nixoci.store.messages.failure` tells which one it is."""

from __future__ import annotations

from nixoci.errors import NixOciError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from nixoci.store.fetch import UnpinnedFetch


class EvaluationError(NixOciError):
    """Nix could not evaluate the sources. `message` is Nix's own, as `store.messages` has it.

    :ivar place: where in the sources, from their root: `file:line:column`; empty where Nix does not tell.
    """

    def __init__(
        self, source: str, attr: str, message: str, sentences: str = "", place: str = ""
    ) -> None:
        self.source = source
        self.attr = attr
        self.message = message
        self.place = place
        at = f", at {place}" if place else ""
        super().__init__(
            sentences or f"Nix could not evaluate {attr or 'the value'} of {source}{at}:", message
        )


class NoSuchAttributeError(EvaluationError):
    """The source has no such attribute, or it is no derivation."""


class UndeclaredSourceError(EvaluationError):
    """Evaluation reads a file that is not among the sources. `path` says which one."""

    def __init__(self, source: str, attr: str, message: str, path: str, place: str = "") -> None:
        super().__init__(source, attr, message, place=place)
        self.path = path


class UnpinnedFetchError(EvaluationError):
    """Evaluation fetches something of which no hash is known beforehand.

    :ivar function: of Nix that fetches; `url` is empty where Nix does not tell.
    """

    def __init__(self, source: str, attr: str, message: str, fetch: UnpinnedFetch) -> None:
        self.function = fetch.function
        self.url = fetch.url
        self.pin = fetch.pin
        super().__init__(
            source,
            attr,
            message,
            f"{attr or 'The value'} of {source} fetches without a hash: {fetch}. What is fetched can be "
            f"something else tomorrow. {fetch.pin} Nix says:",
            fetch.place,
        )


class OutdatedLockError(EvaluationError):
    """The lock file of the flake lacks inputs, or there is none.

    :ivar lock: the lock file, from the root; `missing`: the inputs that it lacks, where Nix can tell.
    """

    def __init__(
        self, source: str, attr: str, message: str, lock: str, missing: Sequence[str]
    ) -> None:
        self.lock = lock
        self.missing = tuple(missing)
        what = f" the inputs {', '.join(missing)}" if missing else " inputs as they are now"
        super().__init__(
            source,
            attr,
            message,
            f"{lock} does not lock{what}, which {source} has. Lock them (`nix flake lock`). Nix says:",
        )


class ImportFromDerivationError(EvaluationError):
    """Evaluation would have to build something to go on, and may not."""


class UnknownOutputPathError(EvaluationError):
    """The derivation's output paths depend on what it, or something that it needs, is built to.

    :ivar causes: the derivations that are the reason, where they can be told; `impure`: one of them is that, and
        not merely content-addressed.
    :ivar is_dependency: they are others than the derivation itself.
    """

    def __init__(
        self, source: str, attr: str, causes: Sequence[str], impure: bool, is_dependency: bool
    ) -> None:
        self.causes = tuple(causes)
        self.impure = impure
        self.is_dependency = is_dependency
        named = f" ({', '.join(causes)})" if causes else ""
        super().__init__(
            source,
            attr,
            "",
            f"{attr or 'The value'} of {source} has no output path before something is built: there is a "
            f"derivation that is content-addressed without a hash, impure or dynamic{named}. Make it an "
            "input-addressed or a fixed-output derivation.",
        )
