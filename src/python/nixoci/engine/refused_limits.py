"""What to set where an engine asks the kernel for more than a machine lets it have (`setrlimit`)."""

from __future__ import annotations

import re
import resource
from typing import Optional

#: With which podman and docker end if they did not start the container.
REFUSED_STATUSES = frozenset((125, 126, 127))

#: runc: "error setting rlimit type 7: operation not permitted", or "error setting rlimits for ready
#: process: …"; crun: "setrlimit `RLIMIT_NPROC`: Operation not permitted".
_REFUSED = re.compile(
    r"(?:setting rlimits?\b|setrlimit\b)[^\n]*operation not permitted", re.IGNORECASE
)
_NAMED = re.compile(r"rlimit type (?P<number>[0-9]{1,4})|RLIMIT_(?P<name>[A-Z]+)", re.IGNORECASE)

#: By the names that engines have for them, which are those of `setrlimit`.
_LIMITS = {
    name[len("RLIMIT_") :].lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}

#: Those that engines set unasked.
_DEFAULTS = tuple(name for name in ("nofile", "nproc") if name in _LIMITS)


def way_out_of_refused_limits(engine: str, output: str) -> Optional[str]:
    """Returns what the user can do if an engine's output says that a limit was refused; else None.

    :param engine: `podman` or `docker`.
    :param output: the end of what it wrote to standard error.
    """
    refusal = _REFUSED.search(output)
    if refusal is None:
        return None
    named = _NAMED.search(refusal[0])
    names = dict.fromkeys((*_DEFAULTS, *_names_of(named)))
    entries = []
    for name in names:
        hard = resource.getrlimit(_LIMITS[name])[1]
        if hard != resource.RLIM_INFINITY:
            entries.append(f'"{name}={hard}:{hard}"')
    limits = ", ".join(entries) or '"nofile=1024:1024"'
    which = f" ({named[0]})" if named is not None else ""
    start = f"{engine} did not start the container, as this machine does not let it set a limit{which}; "
    if engine == "podman":
        return (
            f"{start}write `default_ulimits = [{limits}]` below `[containers]` in "
            "~/.config/containers/containers.conf (or the file that CONTAINERS_CONF names), or give the "
            "container the limits of this process: `--ulimit=host` in `[nix-images].run_args`, "
            "`--engine-option=--ulimit=host` of `nixoci run`."
        )
    options = " ".join(f"--ulimit={entry}" for entry in entries).replace('"', "")
    return (
        f"{start}set `default-ulimits` in the configuration of its daemon "
        "(/etc/docker/daemon.json), or give the container limits that the daemon itself has, such as "
        f"`{options or '--ulimit=nofile=1024:1024'}`, in `[nix-images].run_args` or as "
        "`--engine-option` of `nixoci run`."
    )


def _names_of(named: Optional[re.Match[str]]) -> tuple[str, ...]:
    """The limit that an engine names, by its name or by its number on this machine."""
    if named is None:
        return ()
    if named["name"]:
        name = named["name"].lower()
        return (name,) if name in _LIMITS else ()
    number = int(named["number"])
    return tuple(name for name, its_number in _LIMITS.items() if its_number == number)[:1]
