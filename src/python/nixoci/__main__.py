"""Where the program begins, as `python -m nixoci`, as a zip file and as the command `nixoci`."""


def console() -> None:
    """Runs the command line, and ends the process: also when it is interrupted before it can do anything."""
    try:
        from nixoci.cli.main import console

        console()
    except KeyboardInterrupt:
        import sys

        print("nixoci: interrupted", file=sys.stderr)
        # `EXIT_INTERRUPTED`; what has it may be what is not there yet.
        sys.exit(130)


if __name__ == "__main__":
    console()
