"""Packages and files with certificates → the bundle that programs in the image trust."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.json_input import get_field, parse_object
from nixoci.recipe.certificates import certificate_files
from nixoci.recipe.files import FileEntry as Entry
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from pants.engine.fs import Digest, FileContent, FileEntry
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import (
    EnvironmentNameRequest,
    concurrently,
    create,
    implicitly,
    merge,
    rule,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.core.answers import KeepRequest, keep_answers
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.flow.closure import ClosureRequest, query_closure, unkept_answers
from pants_backend_nix.rules.flow.files import TargetFile
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class CertificatesRequest:
    """:param packages: that have a bundle.
    :param files: with certificates, which come after these.
    :param origin: the fields that name them, for an error.
    :param environment: in which a store is read.
    """

    packages: tuple[NixPackage, ...]
    files: tuple[TargetFile, ...]
    origin: str
    environment: EnvironmentNameRequest


@dataclass(frozen=True)
class CertificateBundle:
    """:param entries: the bundle and its other names, in the image."""

    entries: tuple[Entry, ...]


async def _recipe(packages: tuple[NixPackage, ...]) -> LayerRecipe:
    """Returns the store paths to read, with the hashes of their contents."""
    closures = await concurrently(
        query_closure(ClosureRequest(package), **implicitly()) for package in packages
    )
    await keep_answers(KeepRequest(unkept_answers(packages, closures)), **implicitly())
    return LayerRecipe(
        tuple(
            RecipeEntry(path, closure.graph[path].nar_hash, path)
            for package, closure in zip(packages, closures)
            for path in [package.path()]
        )
    )


async def _inputs(recipe: LayerRecipe, files: tuple[TargetFile, ...]) -> Digest:
    contents = [
        FileEntry(f"files/{number}", file.content)
        for number, file in enumerate(files)
        if file.content is not None
    ]
    return await merge(
        (await create([FileContent("recipe.json", recipe.to_json())]), await create(contents))
    )


@rule(desc="Bundle certificates")
async def bundle_certificates(request: CertificatesRequest) -> CertificateBundle:
    recipe = await _recipe(request.packages)
    step = await run_store_step(
        StoreStep(
            CoreRun(
                (
                    "certificates",
                    *(("--recipe=recipe.json",) if request.packages else ()),
                    "--bundle=bundle.pem",
                    "--output=bundle.json",
                    *(f"files/{number}" for number in range(len(request.files))),
                ),
                f"Bundle certificates of {request.origin}",
                await _inputs(recipe, request.files),
                output="bundle.json",
                kept="bundle.pem",
                environment=request.environment,
                needs_nix=bool(request.packages),
            ),
            request.packages,
            expected_errors=("InvalidInputError",),
        ),
        **implicitly(),
    )
    if step.error:
        message = step.error
        for number, file in enumerate(request.files):
            message = message.replace(f"'files/{number}'", repr(file.path))
        raise NixImageError(
            f"The field `ca_certificates` of {request.origin}: {message} Name packages like `cacert` of "
            "nixpkgs, and targets whose files have certificates."
        )
    facts = parse_object("bundle", step.output)
    return CertificateBundle(
        certificate_files(get_field(facts, "sha256", str), get_field(facts, "size", int))
    )


def rules():
    return collect_rules()
