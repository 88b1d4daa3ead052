"""Where the program begins, as `python -m nixoci`, as a zip file and as the command `nixoci`.

A zip file that is started with `--unpack DIRECTORY` before anything else goes on from there, see `nixoci.unpacked`.
"""


def console() -> None:
    """Runs the command line, and ends the process: also when it is interrupted before it can do anything."""
    import sys

    try:
        if sys.argv[1:2] == ["--unpack"]:
            _run_from(sys.argv[2])
            del sys.argv[1:3]
        from nixoci.later import import_later

        import_later("inspect")
        from nixoci.cli.main import console

        console()
    except KeyboardInterrupt:
        print("nixoci: interrupted", file=sys.stderr)
        # `EXIT_INTERRUPTED`; what has it may be what is not there yet.
        sys.exit(130)


def _run_from(directory: str) -> None:
    """Has Python import all that follows from a directory, if the program can be there."""
    import sys

    from nixoci.unpacked import unpack

    if unpack(sys.path[0], directory):
        sys.path[0] = directory
        for name in [name for name in sys.modules if name.partition(".")[0] == "nixoci"]:
            del sys.modules[name]


if __name__ == "__main__":
    console()
