"""The command line of the core: `nixoci COMMAND`, one command for each step of the flow.

Pants runs these commands in sandboxes; they work as well outside of Pants. Exit status 0 is success,
`EXIT_NOT_VALID`, `EXIT_NO_IMAGE` and `EXIT_NO_NIX` are conditions that a caller can fix, `EXIT_UNTOLD` is a
success that could not be written down, 1 is any other error and 2 wrong usage.
"""

from __future__ import annotations

import gc
import os
import sys

from nixoci.atomic import OutputError, unwinding_signals
from nixoci.cli.commands.files import print_error, print_line
from nixoci.cli.exit_status import (
    EXIT_INTERRUPTED,
    EXIT_NO_IMAGE,
    EXIT_NO_NIX,
    EXIT_NOT_VALID,
    EXIT_UNTOLD,
)
from nixoci.cli.parser import make_parser
from nixoci.errors import NixOciError

# Every command is a process of its own, and a digest takes little longer than its imports. So no
# module on its way imports `typing`, which only annotations need.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command and returns its exit status."""
    as_json = False
    try:
        words: Sequence[str] = sys.argv[1:] if arguments is None else arguments
        words, after = _split_arguments(words)
        options = make_parser(_command(words)).parse_args(words)
        options.arguments = after
        as_json = options.json_errors
        with unwinding_signals():
            status: Optional[int] = options.run(options)
    except NixOciError as error:
        return _report(error, as_json=as_json)
    except OSError as error:
        # One that nobody has seen coming, of the disk or of standard error.
        return _report(NixOciError(f"{error}."), as_json=as_json)
    # Only a command that runs another program has a status of its own.
    return status or 0


def console() -> None:
    """Runs the command of the command line, and ends the process."""
    _replace_closed_streams()
    try:
        status = main()
    except KeyboardInterrupt:
        print_error("nixoci: interrupted")
        status = EXIT_INTERRUPTED
    # The process ends here, so what is left in memory need not be looked through for cycles.
    gc.freeze()
    sys.exit(status)


def _replace_closed_streams() -> None:
    """Puts something in the place of standard streams that are closed.

    Else, files that are opened later take their numbers, and get what is printed. What is written to
    standard output, or read from standard input, fails as before.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


def _command(words: Sequence[str]) -> str:
    """Returns the word that should be a command; empty if there is none, or help on all is asked for before it."""
    # Before it, nixoci takes no other word without a dash than the value of --tools.
    for previous, word in zip(["", *words], words):
        if word in ("-h", "--help"):
            break
        if not word.startswith("-") and previous != "--tools":
            return word
    return ""


def _split_arguments(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Splits off what follows `--` where it belongs to a container and not to us.

    `argparse` cannot: an option between two positional arguments ends the first group of them.
    """
    if "--" not in words or _command(words) != "run":
        return words, ()
    position = list(words).index("--")
    return words[:position], words[position + 1 :]


def _report(error: NixOciError, *, as_json: bool) -> int:
    """Tells the user (or, as JSON on standard output, a program) and returns the exit status."""
    if as_json:
        import json

        try:
            print_line(json.dumps(error.to_document(), sort_keys=True))
        except OutputError:
            print_error(f"nixoci: {error}")
    else:
        print_error(f"nixoci: {error}")
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"InvalidPathError", "StorePathMissingError"}:
        return EXIT_NOT_VALID
    if "NixNotFoundError" in names:
        return EXIT_NO_NIX
    if "ImageUnknownError" in names:
        return EXIT_NO_IMAGE
    return EXIT_UNTOLD if "UntoldResultError" in names else 1
