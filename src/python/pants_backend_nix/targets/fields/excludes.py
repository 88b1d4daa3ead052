"""The field `excludes`: files of packages that stay out of an image."""

from __future__ import annotations

from typing import Iterable, Optional

from nixoci.errors import InvalidInputError
from nixoci.recipe.globs import check_glob
from pants.engine.addresses import Address
from pants.engine.target import InvalidFieldException, StringSequenceField
from pants.util.strutil import help_text


class NixExcludesField(StringSequenceField):
    alias = "excludes"
    help = help_text(
        """
        What stays out of the image of all packages that this target itself brings, and of what they
        reference: patterns of paths relative to each store path (also of those in `copy_to_root`).

            excludes=["share/man/**", "lib/python3.11/test", "**/*.a"]

        `*` stands for any characters of a name, `?` for one, and `**`, between slashes, for any number
        of directories; at the end, for all that is in the directory. Everything else stands for itself.
        A directory that a pattern matches stays out with all that is in it; one of which only the
        contents do is there, and empty. What layers below hold is not affected.

        Nix in a container would find store paths that differ from what it knows of them, so an image
        with `nix_database=True` cannot have any of these in its store.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[str]], address: Address
    ) -> Optional[tuple[str, ...]]:
        value = super().compute_value(raw_value, address)
        for pattern in value or ():
            try:
                check_glob("The pattern", pattern)
            except InvalidInputError as error:
                raise InvalidFieldException(
                    f"The field `{cls.alias}` of {address} has a pattern that matches nothing. {error} "
                    "Patterns are relative to each store path, such as `share/man/**`; to leave whole "
                    "packages out, name them in the field `ignore`."
                ) from None
        return value
