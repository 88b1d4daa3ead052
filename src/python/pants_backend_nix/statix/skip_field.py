"""The field `skip_statix`."""

from __future__ import annotations

from pants_backend_nix.lint.files import SkipField, skip_field_rules


class SkipStatixField(SkipField):
    alias = "skip_statix"
    help = "If true, don't run statix on this target's files."


def rules():
    return skip_field_rules(SkipStatixField)
