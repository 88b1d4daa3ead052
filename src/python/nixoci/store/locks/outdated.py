"""Why a flake could not be evaluated: whether its lock file lacks something."""

from __future__ import annotations

from nixoci.errors import InvalidInputError
from nixoci.json_input import parse_json
from nixoci.store.expression import quoted
from nixoci.store.locks.lock_file import parse_lock

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection

#: The inputs that a flake declares, and those that it only names where its outputs take them.
_INPUTS = """
let flake = import %s;
in builtins.attrNames (flake.inputs or { } // (
  if builtins.isFunction flake.outputs then builtins.functionArgs flake.outputs else { }
))
"""

#: How Nix refuses to change a lock file; in all versions since 2.8.
_REFUSED = "requires lock file changes but they're not allowed"


def is_refused(message: str) -> bool:
    """Tells whether Nix says that the lock file would have to change."""
    return _REFUSED in message


def inputs_expression(flake: str) -> str:
    """Returns an expression of the names of a flake's inputs.

    :param flake: absolute path of the `flake.nix`.
    """
    return _INPUTS % quoted(flake)


def missing_inputs(names: bytes, lock: bytes) -> tuple[str, ...]:
    """Returns the inputs that a lock file lacks; none if that is not to be told.

    :param names: what `inputs_expression` came to, as JSON.
    :param lock: the lock file; empty if there is none.
    """
    try:
        declared = parse_json("names of inputs", names)
        locked: Collection[str] = parse_lock(lock) if lock else ()
    except InvalidInputError:
        # Nix has said what is wrong with it.
        return ()
    if not isinstance(declared, list):
        return ()
    return tuple(
        name
        for name in declared
        if isinstance(name, str) and name != "self" and name not in locked
    )
