"""The plugin for Pants: targets, rules and goals around the core, and no algorithm.

Rooms, from the ground up: `options`, `targets`, `rules` (`core`, `flow`, `assembly`, `delivery`), `goals` and
`lint`. Beside them: `engine`, which knows versions of Pants, `errors`, and `register`; and above it the backends `nixfmt`,
`statix` and `deadnix`.
"""


def __getattr__(name: str) -> str:
    # Found out when it is asked for: nothing that Pants runs does.
    if name == "__version__":
        from nixoci.version import version

        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
