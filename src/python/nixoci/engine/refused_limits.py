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
_NAMED = re.compile(r"rlimit type (?P<number>[0-9]+)|RLIMIT_(?P<name>[A-Z]+)", re.IGNORECASE)

#: Those that engines set unasked, by the names that they have for them.
_DEFAULTS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


def way_out_of_refused_limits(engine: str, output: str) -> Optional[str]:
    """Returns what the user can do if an engine's output says that a limit was refused; else None.

    :param engine: `podman` or `docker`.
    :param output: the end of what it wrote to standard error.
    """
    refusal = _REFUSED.search(output)
    if refusal is None:
        return None
    named = _NAMED.search(refusal[0])
    wanted = dict(_DEFAULTS)
    if named is not None and named["name"]:
        name = named["name"].lower()
        wanted.setdefault(name, getattr(resource, f"RLIMIT_{named['name'].upper()}", None))
    entries = []
    for name, number in wanted.items():
        hard = resource.getrlimit(number)[1] if number is not None else resource.RLIM_INFINITY
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
