"""The field `skip_nixfmt`."""

from __future__ import annotations

from pants_backend_nix.lint.files import SkipField, skip_field_rules


class SkipNixfmtField(SkipField):
    alias = "skip_nixfmt"
    help = "If true, don't run nixfmt on this target's files."


def rules():
    return skip_field_rules(SkipNixfmtField)
