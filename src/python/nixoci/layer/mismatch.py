"""What is said when the bytes of a layer are no longer the recorded ones."""

from __future__ import annotations

from nixoci.errors import NixOciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from nixoci.layer.layer import Layer
    from nixoci.store.path import StorePath


class LayerMismatchError(NixOciError):
    """The bytes that the store gives now are not those that the layer was digested from.

    :param layer: what was recorded.
    :param digest: `sha256:<hex>` of the bytes now; None if they were too many, so not all were
        made.
    :param changed: the store paths whose NAR hash is not the recipe's, in the order of the recipe.
    """

    def __init__(
        self, layer: Layer, digest: Optional[str], changed: tuple[StorePath, ...]
    ) -> None:
        self.layer = layer
        self.digest = digest
        self.changed = changed
        now = digest if digest else f"more than {layer.size} bytes"
        if changed:
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
