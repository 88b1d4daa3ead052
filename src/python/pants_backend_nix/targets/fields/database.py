"""The fields of `nix_image` for images in which Nix runs."""

from __future__ import annotations

from typing import Optional

from nixoci.recipe.layer import Owner
from pants.engine.addresses import Address
from pants.engine.target import BoolField, IntField, InvalidFieldException, Target
from pants.util.strutil import help_text

#: What a number in a tar header can be.
_MAX_ID = 8**7 - 1


class NixDatabaseField(BoolField):
    alias = "nix_database"
    default = False
    help = help_text(
        """
        Adds a last layer with a Nix database, for images in which Nix runs. It lists exactly the
        store paths that are in the image: what `ignore`, `config` and `copy_to_root` keep out of
        `/nix/store` is not in it, so Nix in the container builds or fetches such a path when it needs
        it. Garbage collector roots keep the image's own paths from being deleted.

        The image has to have Nix itself among its packages, and an `/etc/nix/nix.conf`.
        """
    )


class NixDatabaseSignaturesField(BoolField):
    alias = "nix_database_signatures"
    default = False
    help = help_text(
        """
        Keeps in the Nix database who signed each store path. A path that was fetched from a binary
        cache has signatures and one that was built here has none, so the image is the same on all
        machines only if all of them get the path in the same way (or share a remote cache).
        """
    )


class _IdField(IntField):
    default = 0

    @classmethod
    def compute_value(cls, raw_value: Optional[int], address: Address) -> int:
        value = super().compute_value(raw_value, address)
        if value is None or not 0 <= value <= _MAX_ID:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is {value}. Set it to the number of a user or "
                f"group, from 0 to {_MAX_ID}."
            )
        return value


class NixUidField(_IdField):
    alias = "nix_uid"
    help = help_text(
        """
        The number of the user that owns `/nix` and all that is in it, in every layer of the image.
        Set it to the user that runs Nix in the container, if that is not root; the field `user` says
        which user that is.

        Layers with another owner are other layers: images that set it differently share none.
        """
    )


class NixGidField(_IdField):
    alias = "nix_gid"
    help = "The number of the group of what `nix_uid` owns."


def owner_of_nix(target: Target) -> Owner:
    """Returns who owns `/nix` in an image; root in a layer that is looked at by itself.

    A number other than root's goes without a name.
    """
    uid, gid = target.get(NixUidField).value or 0, target.get(NixGidField).value or 0
    return Owner(uid, gid, "" if uid else "root", "" if gid else "root")
