"""What is said when the bytes of a layer are no longer the recorded ones."""

from __future__ import annotations

from nixoci.errors import NixOciError
from nixoci.store.path import StorePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

    from nixoci.layer.layer import Layer


class LayerMismatchError(NixOciError):
    """The bytes that the store gives now are not those that the layer was digested from.

    :param layer: what was recorded.
    :param digest: `sha256:<hex>` of the bytes now; None if they were too many, so not all were
        made.
    :param changed: what is not as the recipe says, in its order: store paths by their NAR hash, files by
        their SHA-256 and named by their paths in the image.
    """

    def __init__(
        self, layer: Layer, digest: Optional[str], changed: Sequence[str]
    ) -> None:
        self.layer = layer
        self.digest = digest
        self.changed = changed
        now = digest if digest else f"more than {layer.size} bytes"
        if changed and not isinstance(changed[0], StorePath):
            names = ", ".join(changed)
            why = f"The contents of these files are not those that it was made of: {names}"
            way_out = "; package the image again."
        elif changed:
            names = ", ".join(changed)
            why = f"The contents of these store paths are not those that Nix registered: {names}"
            way_out = "; `nix-store --repair-path` restores them."
        else:
            why = (
                "All store paths are as the recipe says, "
                "so another version made the recorded bytes"
            )
            way_out = "; digest the layer again."
        super().__init__(f"Layer {layer.digest} has now become {now}. {why}{way_out}")


class BlobDiffersError(NixOciError):
    """What came is not the blob. Nobody got all of it; what has begun to be written must be given up.

    :param digest: `sha256:<hex>` that it should have.
    :param source: where it came from.
    """

    def __init__(self, digest: str, source: str) -> None:
        self.digest = digest
        self.source = source
        super().__init__(
            f"What {source} has as the layer {digest} are other bytes; delete it there, or take the layer "
            "from somewhere else."
        )
