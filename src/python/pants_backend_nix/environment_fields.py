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
        Whether the workers of this environment have Nix, all with one store: whatever is built on one of
        them is valid on each of the others (one worker, or workers that share `/nix` or a Nix daemon).
        Evaluating and building `nix_package` targets, and reading the Nix store, is done there then.
        Otherwise these are done on the machine that runs Pants, and only what needs no store is done on
        the workers.

        Nix and Python (3.9 or later) are looked for in the `PATH` of a worker's processes and in the
        usual places. The workers' own `nix.conf` configures Nix; the options of `[nix]` that are about
        the store and its configuration are for this machine.
        """
    )


def rules():
    return (RemoteEnvironmentTarget.register_plugin_field(HasNixField),)
