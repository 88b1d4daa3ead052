"""Names that a layer has for something else than files."""

from __future__ import annotations

#: What layers have to say that something of a lower layer is gone begins so (OCI image spec, layer.md,
#: "Whiteouts").
WHITEOUT = ".wh."
