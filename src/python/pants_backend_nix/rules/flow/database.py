"""Contents of all layers of an image → the recipe of its Nix database."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import Owner
from nixoci.store.closure import ClosureGraph
from nixoci.store.registration import registrations_of
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule


@dataclass(frozen=True)
class RegisterRequest:
    """Asks for a database of exactly the paths in `graph`.

    Nothing else of the image is in it, so that another config, tag or label leaves the database
    alone.

    :param graph: all store paths that are in the store of the image. It must be closed.
    :param owner: the user that runs Nix inside.
    """

    graph: ClosureGraph
    owner: Owner


@dataclass(frozen=True)
class NixDatabase:
    """:param recipe: its layer is digested by the same rule as every other one."""

    recipe: DatabaseRecipe


@rule(desc="Register store paths")
async def register_paths(request: RegisterRequest) -> NixDatabase:
    return NixDatabase(DatabaseRecipe(registrations_of(request.graph), request.owner))


def rules():
    return collect_rules()
