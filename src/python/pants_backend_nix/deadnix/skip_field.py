"""The field `skip_deadnix`."""

from __future__ import annotations

from pants_backend_nix.lint.files import SkipField, skip_field_rules


class SkipDeadnixField(SkipField):
    alias = "skip_deadnix"
    help = "If true, don't run deadnix on this target's files."


def rules():
    return skip_field_rules(SkipDeadnixField)
