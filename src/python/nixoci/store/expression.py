"""Nix expressions: what finds one value in a file, and what tells which derivation it is."""

from __future__ import annotations

from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

#: Finds the value. Functions on the way are called as `nix-build` would: one that names its arguments gets
#: the system if it wants that, and any other stays what it is. What a function's arguments look like is
#: to be seen in its XML.
_SELECT = """
let
  given = builtins.fromJSON %(arguments)s;
  all = { system = %(system)s; } // given;
  looksLike = pattern: function:
    builtins.length (builtins.split pattern (builtins.toXML function)) > 1;
  call = value:
    if builtins.isAttrs value && value ? __functor then call (value.__functor value)
    else if !(builtins.isFunction value && looksLike "<attrspat" value) then value
    else if looksLike "<attrspat ellipsis=" value then value all
    else value (builtins.intersectAttrs (builtins.functionArgs value) all);
  file = import %(file)s;
  # What the file does not take is a mistake of who gives it.
  takes = if !(builtins.isFunction file && looksLike "<attrspat" file) then { }
    else if looksLike "<attrspat ellipsis=" file then given
    else builtins.functionArgs file;
  surplus = builtins.attrNames (removeAttrs given (builtins.attrNames takes));
  # Called once, however many attributes are looked for.
  found = if surplus == [ ] then call file
    else throw "nixoci: the file takes no argument '${builtins.head surplus}'";
  find = path: names:
    if names == [ ] && given == { } then file else builtins.foldl' (select path) found names;
  select = path: found: name:
    let
      value = call found;
      digits = builtins.match "0*(0|[1-9][0-9]{0,8})" name;
      index = builtins.fromJSON (builtins.head digits);
      missing = throw "nixoci: attribute '${name}' in selection path '${path}' not found";
    in
    if builtins.isAttrs value then value.${name} or missing
    else if builtins.isList value && digits != null
    then if index < builtins.length value then builtins.elemAt value index else missing
    else throw "nixoci: attribute '${name}' in selection path '${path}' is asked of ${builtins.typeOf value}";
in
"""

#: Applied to the value that is found. A function is called as `nix-build` would, with the system if
#: it wants that. `outputName` is what `"${package}"` would interpolate. `system` is where the outputs run:
#: what is cross-compiled runs elsewhere than where it is built, which a derivation of nixpkgs tells.
DESCRIBE = """
found:
let
  wanted = builtins.intersectAttrs (builtins.functionArgs found);
  value = if builtins.isFunction found
    then found (wanted { system = builtins.currentSystem; })
    else found;
  host = builtins.tryEval (value.stdenv.hostPlatform.system or null);
in
if !(builtins.isAttrs value) || (value.type or null) != "derivation"
then throw "nixoci: not a derivation"
else {
  inherit (value) drvPath;
  default = value.outputName or "out";
  system = if builtins.isString host.value then host.value else value.system or null;
  outputs = builtins.listToAttrs (map
    (output: { name = output; value = value.${output}.outPath; })
    (value.outputs or [ "out" ]));
}
"""


#: Writes one value after the other, as JSON with its number, to standard error, so that those before one
#: that fails are known.
_EACH = """
let describe = %(describe)s;
in builtins.foldl'
  (_: item: builtins.trace (%(mark)s + builtins.toJSON item) null)
  null
  [ %(items)s ]
"""


def selected(file: str, attr: str, system: str, arguments: str = "{}") -> str:
    """Returns an expression of the value at an attribute path of a file.

    :param file: absolute path of the Nix file.
    :param attr: attribute path as `nix-build` has it: names with dots between them, in double quotes
        where a name has dots itself. Numbers are indices of lists. Empty, or `.`: the value of the file.
    :param system: that functions on the way are called with.
    :param arguments: that the file, which is a function, and functions on the way are called with besides: a JSON
        object.
    :raises InvalidInputError: `attr` is no attribute path.
    """
    return _find(file, system, arguments) + _found(attr)


def described(
    file: str, attrs: Sequence[str], system: str, mark: str, arguments: str = "{}"
) -> str:
    """Returns an expression that describes several values of a file.

    Evaluating it writes a line to standard error for each, in this order: `trace: `, `mark`, and
    `{"number": …, "value": …}`, the value as `DESCRIBE` has it. It ends at the first that fails.

    :param arguments: as for `selected`.
    :raises InvalidInputError: one of `attrs` is no attribute path.
    """
    items = [
        f"{{ number = {number}; value = describe ({_found(attr)}); }}"
        for number, attr in enumerate(attrs)
    ]
    return _find(file, system, arguments) + _EACH % {
        "describe": f"({DESCRIBE})",
        "mark": quoted(mark),
        "items": " ".join(items),
    }


def described_in(attrs: Sequence[str], mark: str) -> str:
    """Returns a function that describes several values in a set, as `described` does.

    What the set does not have has no `value`.

    :raises InvalidInputError: one of `attrs` is no attribute path.
    """
    items = []
    for number, attr in enumerate(attrs):
        path = ".".join(map(quoted, attribute_names(attr)))
        items.append(
            f"({{ number = {number}; }} // "
            f"(if set ? {path} then {{ value = describe set.{path}; }} else {{ }}))"
        )
    return "set: " + _EACH % {
        "describe": f"({DESCRIBE})",
        "mark": quoted(mark),
        "items": " ".join(items),
    }


def _find(file: str, system: str, arguments: str) -> str:
    return _SELECT % {
        "file": quoted(file),
        "system": quoted(system),
        "arguments": quoted(arguments),
    }


def _found(attr: str) -> str:
    names = " ".join(map(quoted, attribute_names(attr)))
    return f"find {quoted(attr)} [ {names} ]"


def attribute_names(attr: str) -> list[str]:
    """Returns the names in an attribute path, see `selected`."""
    if attr == ".":
        return []
    names, name, in_quotes = [], "", False
    for character in attr:
        if character == '"':
            in_quotes = not in_quotes
        elif character == "." and not in_quotes:
            names.append(name)
            name = ""
        else:
            name += character
    if in_quotes:
        raise InvalidInputError("attribute path", attr, "a quote is not closed")
    # As for Nix, a dot at the end is none.
    if name:
        names.append(name)
    if "" in names:
        raise InvalidInputError("attribute path", attr, "a name in it is empty")
    return names


def quoted(text: str) -> str:
    """Returns a string of Nix that is `text`."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{text}"'
