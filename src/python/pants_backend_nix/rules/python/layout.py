"""`pex_binary`, place and interpreter → the parts of its tree, one for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Union

from nixoci.layering.distributions import (
    Apart,
    DistributionSize,
    distributions_apart,
)
from nixoci.python.environment import PROGRAM, EntryPoint, Environment, program
from nixoci.recipe.files import FileEntry as Entry
from nixoci.recipe.layer import Owner
from pants.backend.python.target_types import ConsoleScript
from pants.engine.addresses import Address
from pants.engine.fs import Digest, FileEntry, SymlinkEntry
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    entries,
    implicitly,
    prefix,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.python.bytecode import BytecodeRequest, compile_modules
from pants_backend_nix.rules.python.interpreter import (
    Interpreter,
    InterpreterRequest,
    find_interpreter,
)
from pants_backend_nix.rules.python.parts import PexParts, PexPartsRequest, find_pex_parts
from pants_backend_nix.rules.python.requirements import (
    Requirements,
    RequirementsRequest,
    lay_out_requirements,
)
from pants_backend_nix.targets.evaluated import NixPackage

#: The directory of modules in sandboxes.
_SOURCES = "sources"


@dataclass(frozen=True)
class PexLayoutRequest:
    """:param owner: the target with the field `contents`.
    :param place: directory of the environment in the image.
    :param interpreter: path in the image.
    :param packages: that the image has; `copied`, those that are copied to its root.
    :param libraries: addresses, as they are written.
    :param rates: how often distributions change, as in `nixoci.layering.preferences`.
    :param room: how many distributions may have layers of their own.
    """

    address: Address
    owner: Address
    place: str
    interpreter: str
    packages: tuple[NixPackage, ...]
    copied: tuple[NixPackage, ...]
    libraries: tuple[str, ...]
    rates: tuple[tuple[str, float], ...]
    room: int
    file_owner: Owner
    origin: str
    environment: EnvironmentNameRequest


@dataclass(frozen=True)
class TreePart:
    """What one layer has of the tree.

    :param name: what it is, for people: `requirements`, a distribution, `libraries`, `sources`.
    :param distributions: in it.
    :param why: it is a layer of its own.
    """

    name: str
    files: tuple[Entry, ...]
    distributions: tuple[DistributionSize, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class PexLayout:
    """:param parts: bottom first. Those of own code come last, and may have files that those below have
        as well: what is imported is their own.
    """

    parts: tuple[TreePart, ...]
    requirement_parts: int


async def _modules(
    tree: Digest, interpreter: Interpreter, environment: Environment, owner: Owner
) -> dict[str, Entry]:
    """Returns the entries of modules and their bytecode, by their places in the image."""
    if not await entries(tree):
        return {}
    bytecode = await compile_modules(
        BytecodeRequest(
            await prefix(tree, _SOURCES), _SOURCES, interpreter, environment.modules
        ),
        **implicitly(),
    )
    files: dict[str, Union[FileEntry, SymlinkEntry]] = {
        entry.path: entry
        for entry in await entries(tree)
        if isinstance(entry, (FileEntry, SymlinkEntry))
    }
    return _placed({**files, **bytecode.files}, environment.modules, owner)


@rule(desc="Lay out PEX")
async def lay_out_pex(request: PexLayoutRequest) -> PexLayout:
    parts = await find_pex_parts(
        PexPartsRequest(request.address, request.libraries, request.owner, request.origin),
        **implicitly(),
    )
    platforms = parts.requirements.complete_platforms
    interpreter = await find_interpreter(
        InterpreterRequest(
            request.interpreter,
            request.packages,
            request.copied,
            platforms,
            request.origin,
            request.environment,
        ),
        **implicitly(),
    )
    environment = Environment(request.place, interpreter.language, interpreter.path)
    requirements = await lay_out_requirements(
        RequirementsRequest(parts, interpreter, request.place, request.origin), **implicitly()
    )
    owner = request.file_owner
    library = await _modules(parts.library, interpreter, environment, owner)
    sources = await _modules(parts.sources, interpreter, environment, owner)
    _require_own_bytecode({**library, **sources}, requirements, request)
    text = program(
        environment,
        _entry_point(parts, requirements, environment, request.origin),
        parts.arguments,
        parts.variables,
    )
    start = Entry(f"{request.place}/{PROGRAM}", 0o555, owner, text=text)
    below = _requirement_parts(requirements, environment, request)
    own = [
        TreePart("libraries", tuple(library.values())),
        TreePart(
            "sources",
            (start, *(entry for path, entry in sources.items() if path not in library)),
        ),
    ]
    return PexLayout((*below, *(part for part in own if part.files)), len(below))


def _requirement_parts(
    requirements: Requirements, environment: Environment, request: PexLayoutRequest
) -> tuple[TreePart, ...]:
    """Returns the requirements: those that are layers of their own, and above them all others."""
    owner = request.file_owner
    files = _placed(requirements.files, request.place, owner)
    places: dict[str, str] = {}
    for one in requirements.installed.distributions:
        for path in one.files:
            place = environment.relative_place(path, requirements.installed.data)
            places[f"{request.place}/{place}"] = one.name
    groups: dict[Optional[str], list[Entry]] = {}
    for path, entry in files.items():
        groups.setdefault(places.get(_module_of(path)), []).append(entry)
    sizes = {
        one.name: DistributionSize(
            one.name, one.version, sum(entry.size for entry in groups.get(one.name, ()))
        )
        for one in requirements.installed.distributions
    }
    apart = distributions_apart(list(sizes.values()), request.room, request.rates)
    alone = {one.name for one in apart}
    rest = [entry for name, group in groups.items() if name not in alone for entry in group]
    return (
        *(
            TreePart(one.name, tuple(groups[one.name]), (sizes[one.name],), _why(one))
            for one in sorted(apart, key=lambda one: one.name)
        ),
        TreePart(
            "requirements",
            (*_environment_files(environment, owner), *rest),
            tuple(size for name, size in sizes.items() if name not in alone),
        ),
    )


def _require_own_bytecode(
    own: Mapping[str, Entry], requirements: Requirements, request: PexLayoutRequest
) -> None:
    """Checks that bytecode of a requirement, which nothing compares with its source, is not taken for own code.

    :param own: modules and bytecode of own code, by their places in the image.
    :raises NixImageError: an own module is where a requirement has one, and could not be compiled.
    """
    for path in requirements.files:
        place = f"{request.place}/{path}"
        module = _module_of(place)
        if module != place and module in own and place not in own:
            raise NixImageError(
                f"{request.origin}: {module} takes the place of a requirement's module, and the Python of the "
                "image cannot compile it. Correct it, or give it another name."
            )


def _why(one: Apart) -> str:
    return f"alone, which is expected to save {one.saved / 1e6:.0f} MB with each changed requirement"


def _module_of(path: str) -> str:
    """Returns the place of the module that bytecode is of; other paths are their own."""
    directory, _, name = path.rpartition("/")
    parent, _, last = directory.rpartition("/")
    if last != "__pycache__":
        return path
    return f"{parent}/{name.split('.')[0]}.py"


def _environment_files(environment: Environment, owner: Owner) -> tuple[Entry, ...]:
    place = environment.place
    return (
        Entry(f"{place}/pyvenv.cfg", 0o444, owner, text=environment.configuration),
        *(
            Entry(f"{place}/{path}", 0o777, owner, target=target)
            for path, target in environment.links.items()
        ),
    )


def _placed(
    files: Mapping[str, Union[FileEntry, SymlinkEntry]], directory: str, owner: Owner
) -> dict[str, Entry]:
    """Returns entries of layers, by their places below a directory of the image."""
    found = {}
    for path, entry in files.items():
        place = f"{directory}/{path}"
        if isinstance(entry, FileEntry):
            digest = entry.file_digest
            found[place] = Entry(
                place,
                0o555 if entry.is_executable else 0o444,
                owner,
                sha256=digest.fingerprint,
                size=digest.serialized_bytes_length,
            )
        elif isinstance(entry, SymlinkEntry):
            found[place] = Entry(place, 0o777, owner, target=entry.target)
    return found


def _entry_point(
    parts: PexParts, requirements: Requirements, environment: Environment, origin: str
) -> Optional[EntryPoint]:
    """:raises NixImageError: the script is in none of the requirements."""
    if parts.entry is None:
        return None
    if not isinstance(parts.entry, ConsoleScript):
        return EntryPoint(parts.entry.module, parts.entry.function or "")
    name = parts.entry.name
    scripts = requirements.installed.scripts
    if name not in scripts:
        known = ", ".join(sorted(scripts)) or "(none)"
        raise NixImageError(
            f"{origin}: none of the requirements of the `pex_binary` has the script {name!r} that its field "
            f"`script` names. They have: {known}."
        )
    return EntryPoint(script=f"{environment.place}/bin/{name}", is_python=scripts[name])


def rules():
    return collect_rules()
