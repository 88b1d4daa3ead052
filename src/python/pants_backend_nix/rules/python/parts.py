"""`pex_binary` → what its PEX file would be made of, and what it would start."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Optional, Union

from pants.backend.python.goals.package_pex_binary import PexBinaryFieldSet
from pants.backend.python.target_types import ConsoleScript, EntryPoint, PexLayout
from pants.backend.python.util_rules.pex import PexRequest
from pants.backend.python.util_rules.python_sources import PythonSourceFilesRequest
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules
from pants.engine.target import Target, TransitiveTargetsRequest
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    environment_named,
    pex_request_of,
    python_sources_of,
    rule,
    targets_of,
    transitive_targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.fields.contents import NixContentsField

#: Fields of a `pex_binary` that say what is in its PEX file, or how that is found.
_HELD = frozenset(
    {
        "args",
        "check",
        "complete_platforms",
        "dependencies",
        "emit_warnings",
        "entry_point",
        "env",
        "environment",
        "extra_build_args",
        "ignore_errors",
        "include_requirements",
        "include_sources",
        "interpreter_constraints",
        "platforms",
        "resolve",
        "resolve_local_platforms",
        "script",
    }
)

#: Fields about the file that a PEX is and how it unpacks itself. There is no such file here.
_OF_THE_FILE = frozenset(
    {
        "execution_mode",
        "include_tools",
        "layout",
        "output_path",
        "sh_boot",
        "shebang",
        "strip_pex_env",
        "venv_site_packages_copies",
    }
)

#: Fields that targets of any kind have.
_OF_ANY_TARGET = frozenset({"description", "restartable", "tags"})


@dataclass(frozen=True)
class PexPartsRequest:
    """:param libraries: addresses of targets whose sources are wanted by themselves, as they are written.
    :param origin: the field and target that name it, for an error.
    """

    address: Address
    libraries: tuple[str, ...]
    owner: Address
    origin: str


@dataclass(frozen=True)
class PexParts:
    """:param requirements: how a PEX file with the requirements alone is built; None without any.
    :param sources: modules and resources, each at the path by which it is imported.
    :param library: those of these sources that were wanted by themselves.
    :param entry: what it starts, if anything.
    :param constraints: versions of Python, of which one must be met, such as `CPython>=3.9,<4`.
    :param environment: in which it is built.
    """

    requirements: PexRequest
    sources: Digest
    library: Digest
    entry: Optional[Union[EntryPoint, ConsoleScript]]
    arguments: tuple[str, ...]
    variables: FrozenDict[str, str]
    constraints: tuple[str, ...]
    environment: EnvironmentNameRequest


async def _library(request: PexPartsRequest) -> Digest:
    """Returns the sources of the targets that are wanted by themselves, with what they depend on."""
    if not request.libraries:
        return EMPTY_DIGEST
    (owner,) = await targets_of(Addresses([request.owner]))
    addresses = await field_addresses(owner, NixContentsField.alias, request.libraries)
    mine = await transitive_targets_of(TransitiveTargetsRequest([request.address]))
    theirs = await transitive_targets_of(TransitiveTargetsRequest(addresses))
    needed = {target.address for target in mine.closure}
    for target in await targets_of(addresses):
        if target.address not in needed and not any(
            address.maybe_convert_to_target_generator() == target.address for address in needed
        ):
            raise NixImageError(
                f"{request.origin} names {target.address} in `libraries`, and {request.address} does not "
                "depend on it. Take it out."
            )
    return await python_sources_of(PythonSourceFilesRequest(theirs.closure))


@rule(desc="Look at PEX")
async def find_pex_parts(request: PexPartsRequest) -> PexParts:
    targets = await targets_of(Addresses([request.address]))
    if len(targets) != 1 or not PexBinaryFieldSet.is_applicable(targets[0]):
        what = f"a `{targets[0].alias}`" if len(targets) == 1 else f"{len(targets)} targets"
        raise NixImageError(
            f"{request.origin} names {request.address}, which is {what}. `split` lays out a `pex_binary`: "
            "name one, or leave `split` out."
        )
    (target,) = targets
    _require_known_fields(target, request.origin)
    environment = EnvironmentNameRequest.from_target(target)
    pex = await pex_request_of(
        PexBinaryFieldSet.create(target), await environment_named(environment)
    )
    if pex.main is not None and not isinstance(pex.main, (EntryPoint, ConsoleScript)):
        raise _refused("executable", target, request.origin)
    platforms = getattr(pex, "platforms", ()) or pex.complete_platforms
    return PexParts(
        # Nothing of what is different for another target with the same requirements.
        dataclasses.replace(
            pex,
            output_filename="requirements.pex",
            layout=PexLayout.PACKED,
            sources=None,
            main=None,
            inject_args=(),
            inject_env=FrozenDict(),
            description=f"Resolve the requirements of {target.address}",
        ),
        pex.sources or EMPTY_DIGEST,
        await _library(request),
        pex.main,
        tuple(pex.inject_args),
        FrozenDict(pex.inject_env),
        () if platforms else tuple(map(str, pex.interpreter_constraints)),
        environment,
    )


def _require_known_fields(target: Target, origin: str) -> None:
    """Checks that all that is said of a PEX file is also said of the tree that it becomes here.

    :raises NixImageError: a field has no meaning there.
    """
    known = _HELD | _OF_THE_FILE | _OF_ANY_TARGET
    for field in target.field_values.values():
        if field.alias in known or field.alias.startswith("skip_"):
            continue
        value = getattr(field, "value", None)
        if value not in (None, field.default) and (field.alias, value) != ("inherit_path", "false"):
            raise _refused(field.alias, target, origin)


def _refused(field: str, target: Target, origin: str) -> NixImageError:
    return NixImageError(
        f"{origin} splits {target.address}, whose field `{field}` has no meaning for a PEX that is laid out "
        "as a directory. Take the field out, or `split`; or make another `pex_binary` for the image."
    )


def rules():
    return collect_rules()
