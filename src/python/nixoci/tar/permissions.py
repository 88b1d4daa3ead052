"""Headers with the owner and the permissions of a recipe."""

from __future__ import annotations

from nixoci.recipe.layer import ROOT, Owner
from nixoci.tar.capabilities import CAPABILITY_KEYWORD, capability_value
from nixoci.tar.header import REGULAR, SYMLINK, owner_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.layer import Permission
    from nixoci.tar.dialect import Dialect


class Headers:
    """Makes the headers of one layer.

    :param owner: of `/nix` and all that is below it; the rest belongs to root.
    :ivar fields: of `owner`, see `tar_header.owner_fields`.
    :raises InvalidInputError: an owner that ustar has no room for.
    """

    def __init__(
        self, dialect: Dialect, owner: Owner, permissions: tuple[Permission, ...]
    ) -> None:
        self.fields = owner_fields(owner)
        self._encode_header = dialect.encode_header
        self._links_have_modes = dialect.links_have_modes
        self._owner = owner
        self._permissions = [(p.matcher(), p) for p in permissions]

    def may_change(self, destination: str) -> bool:
        """Whether `destination` or anything below it may have another header than from the store.

        What is copied to the root may be below `/nix` or not.
        """
        if destination == ROOT and self._owner != Owner():
            return True
        return any(permission.may_match(destination) for _, permission in self._permissions)

    def encode_plain(self, name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
        """As `tar_header.encode_header`, for what no permission matches."""
        return self._encode_header(name, kind, mode, size, link, self.fields)

    def encode(self, name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
        """As `tar_header.encode_header`, with what the permissions say."""
        destination = destination_of(name)
        in_nix = destination == "/nix" or destination.startswith("/nix/")
        owner = self._owner if in_nix else Owner()
        capabilities: tuple[str, ...] = ()
        for matches, permission in self._permissions:
            if matches(destination):
                if permission.mode is not None and (kind != SYMLINK or self._links_have_modes):
                    mode = permission.mode
                owner = permission.change(owner)
                capabilities = permission.capabilities or capabilities
        fields = owner_fields(owner)
        if kind != REGULAR or not capabilities:
            return self._encode_header(name, kind, mode, size, link, fields)
        attributes = ((CAPABILITY_KEYWORD, capability_value(capabilities)),)
        return self._encode_header(name, kind, mode, size, link, fields, attributes=attributes)


def destination_of(name: bytes) -> str:
    """The absolute path in the image of a name in the tar, whatever its dialect."""
    return "/" + name.strip(b"/").decode("utf-8", "surrogateescape")
