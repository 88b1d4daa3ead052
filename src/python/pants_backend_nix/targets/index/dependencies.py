"""The images of an index are its dependencies."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.addresses import Addresses
from pants.engine.rules import collect_rules
from pants.engine.target import FieldSet, InferDependenciesRequest, InferredDependencies
from pants.engine.unions import UnionRule

from pants_backend_nix.engine import rule, targets_of
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.index.target import NixIndexedImagesField


@dataclass(frozen=True)
class IndexDependenciesFieldSet(FieldSet):
    required_fields = (NixIndexedImagesField,)

    images: NixIndexedImagesField


class InferIndexDependencies(InferDependenciesRequest):
    infer_from = IndexDependenciesFieldSet


@rule(desc="Infer dependencies of image indexes")
async def infer_index_dependencies(request: InferIndexDependencies) -> InferredDependencies:
    field = request.field_set.images
    (target,) = await targets_of(Addresses([request.field_set.address]))
    return InferredDependencies(await possible_addresses(target, field.alias, field.value or ()))


def rules():
    return (*collect_rules(), UnionRule(InferDependenciesRequest, InferIndexDependencies))
