"""The shell scripts that find a Python in a sandbox and start the core with it."""

from __future__ import annotations

from nixoci.cli.exit_status import EXIT_NO_NIX
from nixoci.store.tools import TOOLS_FILE

from pants_backend_nix.options.nix import USUAL_PLACES
from pants_backend_nix.rules.core.zipapp import ZIPAPP

#: Where the append-only cache is in the sandbox.
TOOLS_CACHE = ".nixoci"

#: Exit status of the scripts that look for Python when there is no suitable one.
EXIT_NO_PYTHON = 77

#: The directory in the cache that has programs as `nixoci.unpacked` leaves them, each named by its digest.
PROGRAMS = f"{TOOLS_CACHE}/programs"

#: A format for the name of the link to Python, and the digest of the program.
START = f"""\
python={TOOLS_CACHE}/{{link}}
[ -x "$python" ] || exit {EXIT_NO_NIX}
program={PROGRAMS}/{{program}}
set -- --tools {TOOLS_CACHE}/{TOOLS_FILE} --json-errors "$@"
[ -e "$program" ] && exec "$python" -I -S "$program" "$@"
exec "$python" -I -S {ZIPAPP} --unpack "$program" "$@"
"""


def _with_python(command: str, last: str = "") -> str:
    """Returns a script that looks for a Python and then becomes it, with `command`.

    :param last: a space and a word of the script: the program that is tried after those in `PATH`.
    """
    return f"""\
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9{last}; do
  python=$(command -v "$name") || continue
  "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || continue
  exec "$python" -I -S {ZIPAPP} --json-errors {command}
done
exit {EXIT_NO_PYTHON}
"""


#: The first argument is the Python that runs Pants: the last one that is tried, as a machine may have no other.
FIND_PYTHON = f"""\
own=$1
shift
{_with_python(f'tools "$@" {TOOLS_CACHE}', ' "$own"')}"""

#: A worker's processes may have no environment at all. Nix wants a user, and keeps caches below `HOME`.
START_ELSEWHERE = f"""\
: "${{USER:=nixoci}}" "${{HOME:=$PWD/{TOOLS_CACHE}}}" "${{PATH:=/usr/local/bin:/usr/bin:/bin}}"
PATH=$PATH:{":".join(place.replace("~", "$HOME", 1) for place in USUAL_PLACES)}
export HOME PATH USER
{_with_python('"$@"')}"""
