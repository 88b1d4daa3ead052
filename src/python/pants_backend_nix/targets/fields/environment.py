"""The fields that say on which machines processes run."""

from __future__ import annotations

from pants.engine.target import BoolField
from pants.util.strutil import help_text

from pants_backend_nix.engine import EnvironmentField, RemoteEnvironmentTarget


class NixEnvironmentField(EnvironmentField):
    help = help_text(
        """
        The name of the environment, as in `[environments-preview].names`, in which the processes of this
        target run: those that evaluate a `nix_package` and query its closure, those that digest the
        layers of a `nix_layer` or `nix_image`.

        In a `remote_environment`, what needs Nix runs on the workers if the field `has_nix` of that
        target says so, and on this machine otherwise. Publishing, running and writing archives are done
        on this machine in any case.
        """
    )


class HasNixField(BoolField):
    alias = "has_nix"
    default = False
    help = help_text(
        """
        Whether the workers of this environment have Nix, all with one store: what is built on one of them
        is valid on each of them (there is one worker, or they share `/nix` or a Nix daemon). Then
        `nix_package` targets of this environment are evaluated and built there, and layers digested.

        By default all that needs Nix is done on the machine that runs Pants, and only what needs no store
        (the layer of a Nix database) on the workers.

        Python (3.9 or later) and Nix are looked for in the `PATH` of a worker's processes and in the
        usual places. Nix is configured by the workers' own `nix.conf`, not by the options of `[nix]`.
        """
    )


def rules():
    return (RemoteEnvironmentTarget.register_plugin_field(HasNixField),)
