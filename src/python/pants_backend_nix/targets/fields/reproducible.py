"""The field that says whether a build always has the same result."""

from __future__ import annotations

from pants.engine.target import BoolField
from pants.util.strutil import help_text


class NixReproducibleField(BoolField):
    alias = "reproducible"
    default = True
    help = help_text(
        """
        Whether building again gives the same bytes. Most packages do; one that writes the time of the
        build into its output does not.

        Set it to False for those that do not, on a `nix_package` (for its own outputs) or a `nix_layer`
        (for all that is in it). Their layers are then kept in Pants' caches, compressed, so that all
        machines that share a cache ship the same ones. Of all other layers only digests are kept.

        Where it is True and a machine finds that its own build differs from the recorded one, it says so
        and makes the layer of what it has itself.
        """
    )
