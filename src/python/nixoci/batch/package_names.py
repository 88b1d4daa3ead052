"""Nix file → the attributes of it that are packages. None is evaluated further than to tell what it is."""

from __future__ import annotations

import os
from contextlib import ExitStack

from nixoci.errors import InvalidInputError
from nixoci.json_input import parse_json
from nixoci.store.evaluate import (
    Attribute,
    add_path_inputs,
    evaluate_value,
    prepare,
    pure_flake,
    pure_value,
    surroundings,
)
from nixoci.store.expression import quoted
from nixoci.store.locks.names import FLAKE
from nixoci.store.messages.evaluation import NoSuchAttributeError
from nixoci.store.nix import Nix

#: A set with more attributes is a whole collection, such as nixpkgs, and not what a repository makes.
_MOST_ATTRIBUTES = 1000

#: Of a file that is a derivation, the empty name; of one that is a set, those that are derivations. A function that
#: wants more than the system is for others to call.
_NAMES = """
let
  file = import %(file)s;
  wanted = builtins.functionArgs file;
  isOurs = builtins.all (name: wanted.${name} || name == "system") (builtins.attrNames wanted);
  value = if !(builtins.isFunction file) then file
    else if wanted == { } || !isOurs then null
    else file (builtins.intersectAttrs wanted { system = %(system)s; });
  isPackage = one: (builtins.tryEval (builtins.isAttrs one && one.type or null == "derivation")).value;
  names = builtins.attrNames value;
in
if !(builtins.isAttrs value) then [ ]
else if value.type or null == "derivation" then [ "" ]
else if builtins.length names > %(most)s then throw "nixoci: it has ${toString (builtins.length names)} attributes"
else builtins.filter (name: isPackage value.${name}) names
"""


def package_names(nix: Nix, file: Attribute) -> tuple[str, ...]:
    """Returns names of packages, sorted; that of a file which is a package itself is empty.

    Of a flake, they are all names in `packages.SYSTEM`, of which none is looked at.

    :param file: its attribute path makes no difference.
    :raises EvaluationError: or one of its children.
    """
    root, directory = prepare(file.root, file.source, "", file.root_is_copy)
    is_flake = os.path.basename(file.source) == FLAKE
    with ExitStack() as stack:
        where = [*surroundings(nix, file.system, file.features, file.import_from_derivation)]
        if is_flake:
            add_path_inputs(nix, directory)
            where += [f"path:.#packages.{file.system}", "--apply", "builtins.attrNames"]
        else:
            expression = _NAMES % {
                "file": quoted(os.path.join(root, file.source)),
                "system": quoted(file.system),
                "most": _MOST_ATTRIBUTES,
            }
            where += pure_value(expression, root)
            directory = stack.enter_context(pure_flake())
        try:
            output = evaluate_value(nix, where, directory, root, file.source, "")
        except NoSuchAttributeError:
            return ()
    names = parse_json("names of packages", output)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError("names of packages", names, "they are not all strings")
    return tuple(sorted(names))
