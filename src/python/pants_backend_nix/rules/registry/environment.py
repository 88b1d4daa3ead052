"""The environment that everything gets that talks to registries."""

from __future__ import annotations

from typing import Iterable

from nixoci.store.nix import ENVIRONMENT_NAMES
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import environment_variables

#: Where credentials, proxies and certificates are; what credential helpers need to be found and run.
_NAMES = (
    *ENVIRONMENT_NAMES,
    "ALL_PROXY",
    "DOCKER_CONFIG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "REGISTRY_AUTH_FILE",
    "SSL_CERT_DIR",
    "TERM",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


class _NotPrinted(str):
    """A value that is not in Pants' log, which at the level debug has each process that is run."""

    def __repr__(self) -> str:
        return "'…'"


async def registry_environment(more: Iterable[str]) -> FrozenDict[str, str]:
    """Returns the variables for registries, with those that the option `env_vars` names.

    The address of a proxy has a password at times, and so has what a credential helper needs.
    """
    variables = await environment_variables(EnvironmentVarsRequest(sorted({*_NAMES, *more})))
    return FrozenDict({name: _NotPrinted(value) for name, value in variables.items()})
