"""Nix file → the packages that it has, by name, also where no target has the file yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nixoci.json_input import get_list, parse_object
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import implicitly, rule
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.flow.evaluate import visible_tree
from pants_backend_nix.rules.inference.sources import WrittenSourcesRequest, find_written_sources
from pants_backend_nix.targets.evaluated import Evaluation

_OUTPUT = "names.json"


@dataclass(frozen=True)
class PackageNamesRequest:
    """Asks for the packages of a `flake.nix`, for the system of this machine, or of a `default.nix`.

    :param path: of the file, from the root of the repository.
    """

    path: str


@dataclass(frozen=True)
class PackageNames:
    """The packages of a Nix file.

    :param names: of attributes; an empty one where the file is a package itself. None if it has none.
    :param error: what the core reports if the file could not be evaluated.
    """

    names: tuple[str, ...]
    error: FrozenDict[str, Any] = FrozenDict()
    stderr: str = ""


@rule(desc="List packages of Nix file")
async def list_package_names(request: PackageNamesRequest, nix: NixSubsystem) -> PackageNames:
    sources = await find_written_sources(WrittenSourcesRequest(request.path), **implicitly())
    evaluation = Evaluation(
        await visible_tree(sources.digest),
        request.path,
        "",
        nix.default_system,
        tuple(sorted(set(nix.extra_experimental_features))),
    )
    result = await run_core(
        CoreRun(
            ("package-names", *evaluation.options, f"--output={_OUTPUT}"),
            description=f"List packages of {request.path}",
            input_digest=evaluation.sources,
            output=_OUTPUT,
        ),
        **implicitly(),
    )
    if result.output is None:
        return PackageNames((), result.error, result.stderr)
    names = get_list(parse_object("names of packages", result.output), "names", str)
    return PackageNames(tuple(names))


def rules():
    return collect_rules()
