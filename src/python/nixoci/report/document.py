"""Layers and what a push costs as JSON, for scripts and for the page of `layer_page`."""

from __future__ import annotations

from typing import Any, Optional

from nixoci.report.diff import ImageDiff, PathChange
from nixoci.report.report import ImageReport, LayerReport

#: Grows when scripts that read the document would no longer understand it.
SCHEMA_VERSION = 1


def layer_document(report: ImageReport, diff: Optional[ImageDiff] = None) -> dict[str, Any]:
    """Returns what there is to know of an image's layers: sizes in bytes, shares from 0 to 1.

    Expected bytes are rounded to whole ones.
    """
    document: dict[str, Any] = {
        "name": report.name,
        "digest": report.digest or None,
        "size": report.size,
        "paths": report.path_count,
        "expectedBytes": round(report.expected),
        "idealBytes": round(report.ideal),
        "layers": [_layer(layer) for layer in report.layers],
    }
    if diff is not None:
        document["diff"] = _diff(diff)
    return document


def _layer(layer: LayerReport) -> dict[str, Any]:
    return {
        "number": layer.number,
        "digest": layer.layer.digest,
        "size": layer.layer.size,
        "target": layer.target or None,
        "share": layer.share,
        "expectedBytes": round(layer.expected),
        "contents": layer.contents,
        "why": layer.why,
        "paths": [
            {
                "path": path.path,
                "narSize": path.nar_size,
                "share": path.share,
                "atRoot": path.at_root,
            }
            for path in layer.paths
        ],
        "files": [entry.to_document() for entry in layer.files],
        "distributions": [
            {"name": one.name, "version": one.version, "size": one.size}
            for one in layer.distributions
        ],
    }


def _diff(diff: ImageDiff) -> dict[str, Any]:
    return {
        "oldDigest": diff.old_digest,
        "pushBytes": diff.push_bytes,
        "layerBytes": diff.layer_bytes,
        "changedBytes": round(diff.changed_bytes),
        "configBytes": diff.config_bytes,
        "manifestBytes": diff.manifest_bytes,
        "new": [
            {"number": c.number, "digest": c.layer.digest, "size": c.layer.size, "why": c.why}
            for c in diff.new
        ],
        "kept": [{"digest": layer.digest, "size": layer.size} for layer in diff.kept],
        "gone": [
            {
                "number": old.number,
                "digest": old.layer.digest,
                "size": old.layer.size,
                "contents": old.summary,
            }
            for old in diff.gone
        ],
        "changes": [_change(change) for change in diff.changes],
        "causes": [
            {"path": c.change.path or c.change.old, "followers": c.followers, "narBytes": c.bytes}
            for c in diff.causes
        ],
    }


def _change(change: PathChange) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "path": change.path,
        "old": change.old,
        "narSize": change.size,
        "causes": list(change.causes),
    }
