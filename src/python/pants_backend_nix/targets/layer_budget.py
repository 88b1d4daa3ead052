"""How `max_layers` of a target is shared out among store paths and files."""

from __future__ import annotations

from pants.engine.target import Target

from pants_backend_nix.targets.fields.closures import NixMaxLayersField
from pants_backend_nix.targets.fields.contents import NixContentsField
from pants_backend_nix.targets.fields.file_system import FILE_SYSTEM_FIELDS


def _file_system_layer_count(target: Target) -> int:
    """Returns 1 if a field brings small things of a file system, which share a layer."""
    return any(target[field].value for field in FILE_SYSTEM_FIELDS)


def contents_layer_count(target: Target) -> int:
    """Returns how many OCI layers the field `contents` may take: all that it has use for, if there is room."""
    contents = target[NixContentsField].value or ()
    others = 1 + _file_system_layer_count(target)
    wanted = sum(item.layer_count for item in contents)
    return min(wanted, max(1, target[NixMaxLayersField].value - others))


def store_layer_count(target: Target) -> int:
    """Returns how many of `max_layers` are left for store paths. There is always one."""
    others = contents_layer_count(target) + _file_system_layer_count(target)
    return max(1, target[NixMaxLayersField].value - others)
