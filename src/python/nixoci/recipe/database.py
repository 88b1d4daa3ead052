"""The recipe of the layer that holds the Nix database of an image.

It is the other kind of layer recipe: what it is made of is known before any store is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import canonical_json
from nixoci.recipe.layer import (
    RECIPE_VERSION,
    Owner,
    Permission,
    permissions_document,
    permissions_of,
)
from nixoci.store.path import StorePath
from nixoci.store.registration import Registrations, from_json, to_json

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class DatabaseRecipe:
    """All that decides the bytes of a database layer, see `nixoci.tar.database`.

    :param registrations: of all store paths of the image.
    :param owner: of all that is in the layer: the user that runs Nix inside.
    :param permissions: as of a `LayerRecipe`. What lower layers say of directories that are in both comes
        first.
    """

    registrations: Registrations
    owner: Owner = Owner()
    permissions: tuple[Permission, ...] = ()

    @property
    def paths(self) -> tuple[StorePath, ...]:
        """The store paths that have to be read for this layer: none."""
        return ()

    @property
    def summary(self) -> str:
        """What the layer holds, for people."""
        return f"the Nix database of {len(self.registrations)} store paths"

    def to_json(self) -> bytes:
        """The one JSON form of this recipe: sorted keys, no spaces, defaults left out."""
        document: dict[str, Any] = {
            "version": RECIPE_VERSION,
            "registrations": json.loads(to_json(self.registrations)),
        }
        if self.owner != Owner():
            document["owner"] = vars(self.owner)
        if self.permissions:
            document["permissions"] = permissions_document(self.permissions)
        return canonical_json("database recipe", document)

    @classmethod
    def from_json(cls, data: bytes) -> DatabaseRecipe:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document, or of another version.
        :raises NotClosedError: a reference is not registered.
        """
        document = parse_object("database recipe", data)
        if document.get("version") != RECIPE_VERSION:
            raise InvalidInputError(
                "database recipe version", document.get("version"), f"expected {RECIPE_VERSION}"
            )
        registrations = get_field(document, "registrations", dict)
        return cls(
            from_json(canonical_json("registrations", registrations)),
            Owner.from_document(get_field(document, "owner", dict, default={})),
            permissions_of(document),
        )
