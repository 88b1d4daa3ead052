"""`pants tailor --nix-tailor-packages`: a `nix_package` for each package of a flake or `default.nix`."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass

from nixoci.errors import printable_lines
from nixoci.store.locks.names import FLAKE
from pants.core.goals.tailor import PutativeTarget, PutativeTargets, PutativeTargetsRequest
from pants.engine.rules import collect_rules
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from pants_backend_nix.engine import (
    all_targets,
    concurrently,
    entries,
    files_matching,
    implicitly,
    rule,
)
from pants_backend_nix.errors import evaluation_hint
from pants_backend_nix.goals.tailor import SOURCES_NAME
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.flow.package_names import PackageNamesRequest, list_package_names
from pants_backend_nix.rules.inference.references import DEFAULT_NIX
from pants_backend_nix.targets.package import (
    NixAttrField,
    NixPackageSourceField,
    NixPackageTarget,
)

logger = logging.getLogger(__name__)

#: Names that the field `attr` can have without quotes of its own.
_PLAIN = re.compile(r"[A-Za-z0-9_+'-]+")

#: What the names of targets cannot have, or are better off without.
_ODD = re.compile("[^A-Za-z0-9_.-]+")

#: What the default package of a flake is called; other targets name it by no attribute at all.
_DEFAULT = "default"


@dataclass(frozen=True)
class PutativeNixPackagesRequest(PutativeTargetsRequest):
    pass


def _known(source: str, attr: str, system: str) -> tuple[str, str]:
    """Returns a package so that two ways to write it are the same: its file, and its name there."""
    if os.path.basename(source) != FLAKE:
        return source, attr
    for output in ("packages", "legacyPackages"):
        attr = attr[len(f"{output}.{system}.") :] if attr.startswith(f"{output}.{system}.") else attr
    return source, attr or _DEFAULT


def _putative_target(path: str, name: str) -> PutativeTarget:
    directory, file = os.path.split(path)
    called = _ODD.sub("-", name).strip("-.")
    if called in ("", SOURCES_NAME):
        # Other backends call their targets as the directory is called.
        called = f"{called}-package".lstrip("-")
    # It owns no source: `nix_sources` does, and each file has as many packages as it likes.
    return PutativeTarget(
        directory,
        called,
        NixPackageTarget.alias,
        (),
        (),
        kwargs={"source": file, **({"attr": name} if name else {})},
    )


@rule(desc="Determine candidate Nix packages to create", level=LogLevel.DEBUG)
async def find_putative_nix_packages(
    request: PutativeNixPackagesRequest, nix: NixSubsystem
) -> PutativeTargets:
    if not nix.tailor_packages:
        return PutativeTargets()
    found = await entries(await files_matching(request.path_globs(FLAKE, DEFAULT_NIX)))
    paths = {entry.path for entry in found}
    # Beside a flake it is the same packages for those who have no flakes.
    files = [
        path
        for path in sorted(paths)
        if os.path.basename(path) == FLAKE
        or os.path.join(os.path.dirname(path), FLAKE) not in paths
    ]
    listed = await concurrently(
        [list_package_names(PackageNamesRequest(path), **implicitly()) for path in files]
    )
    existing = {
        _known(source, target[NixAttrField].value or "", nix.default_system)
        for target in await all_targets()
        if target.has_field(NixPackageSourceField)
        for source in [target[NixPackageSourceField].file_path]
        if source is not None
    }
    putative = []
    for path, packages in zip(files, listed):
        if packages.error or packages.stderr:
            message = str(packages.error.get("message") or packages.stderr).rstrip()
            at = f", at {packages.error.get('place')}" if packages.error.get("place") else ""
            logger.warning(
                f"No `nix_package` is made for the packages of {path}, since Nix could not evaluate it{at}. "
                f"{evaluation_hint(message)} Nix says:\n\n{printable_lines(message)}"
            )
        for name in packages.names:
            if name and not _PLAIN.fullmatch(name):
                logger.warning(
                    f"No `nix_package` is made for {name!r} of {path}: in `attr` the name needs quotes. Write the "
                    "target by hand."
                )
            elif _known(path, name, nix.default_system) not in existing:
                putative.append(_putative_target(path, name))
    return PutativeTargets(putative)


def rules():
    return [
        *collect_rules(),
        UnionRule(PutativeTargetsRequest, PutativeNixPackagesRequest),
    ]
