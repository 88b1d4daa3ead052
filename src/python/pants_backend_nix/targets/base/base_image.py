"""The target `oci_base_image`."""

from __future__ import annotations

from typing import Any, Optional

from nixoci.base.index import require_digest
from nixoci.errors import InvalidInputError
from nixoci.image.index.platforms import parse_platform
from nixoci.image.reference import Reference
from pants.engine.addresses import Address
from pants.engine.fs import PathGlobs
from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    BoolField,
    Dependencies,
    InvalidFieldException,
    OptionalSingleSourceField,
    StringField,
    Target,
)
from pants.util.docutil import bin_name
from pants.util.strutil import help_text


class BaseImageField(StringField):
    alias = "image"
    help = help_text(
        """
        The image, as `docker pull` names it, with its registry unless it is on Docker Hub:
        `registry.example/acme/base:1.4`, `debian:12-slim`. A digest goes into the field `digest`. The registry is
        spoken to as `[nix-images].registries` says, with the credentials of `docker login` or `podman login`.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[str], address: Address) -> Optional[str]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        try:
            Reference.parse(value)
        except InvalidInputError as error:
            digest = " A digest goes into the field `digest`." if "@" in value else ""
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is {value!r}, which is no name of an image. {error}{digest}"
            ) from None
        return value


class BaseArchiveField(StringField):
    alias = "archive"
    help = help_text(
        """
        In place of `image`: a target with the image in a file, such as `file`, `files` or what makes one. That is an OCI
        archive, what `docker save` writes, or the files of an OCI image layout. Layers are read out of it when they are
        needed, and nowhere else.
        """
    )


class BaseDigestField(StringField):
    alias = "digest"
    help = help_text(
        """
        The digest of the image (`sha256:…`), or of its index with an image for each platform. Without it, the field
        `lock` names the file that has it.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[str], address: Address) -> Optional[str]:
        value = super().compute_value(raw_value, address)
        try:
            return None if value is None else require_digest(value)
        except InvalidInputError as error:
            raise InvalidFieldException(f"The field `{cls.alias}` of {address}: {error}") from None


class BasePlatformField(StringField):
    alias = "platform"
    help = help_text(
        """
        The platform to take from an index, `linux/arm64` or `linux/arm/v7`. By default that of the image that is on
        top of it.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[str], address: Address) -> Optional[str]:
        value = super().compute_value(raw_value, address)
        try:
            if value is not None:
                parse_platform(value)
        except InvalidInputError as error:
            raise InvalidFieldException(f"The field `{cls.alias}` of {address}: {error}") from None
        return value


class BaseLockField(OptionalSingleSourceField):
    alias = "lock"
    help = help_text(
        f"""
        The lock file, which says what the tag of `image` was when `{bin_name()} nix-lock` looked. By default
        `NAME.lock.json`, where `NAME` is that of the target. It belongs into version control. With `digest` it is not
        used.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[str], address: Address) -> Optional[str]:
        if raw_value is None:
            raw_value = f"{address.target_name}.lock.json"
        return super().compute_value(raw_value, address)

    # Pants calls it final, and says "ignore" for files of a default that is the same for all targets only.
    def path_globs(self, _: Any) -> PathGlobs:  # type: ignore[misc]
        """A file that is not there (yet) is no error, and none is needed with `digest`."""
        return PathGlobs([self.file_path] if self.file_path else [])


class BaseNixStoreField(BoolField):
    alias = "nix_store"
    default = False
    help = help_text(
        """
        Says that the image has a Nix store with a database. An image on top of it cannot have a `nix_database` then,
        as the new one would lack what the base has registered. Bases that this plugin made say so by themselves.
        """
    )


class BaseDependenciesField(Dependencies):
    help = "Further dependencies. The target in `archive` is one already."


class OciBaseImageTarget(Target):
    alias = "oci_base_image"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        BaseImageField,
        BaseArchiveField,
        BaseDependenciesField,
        BaseDigestField,
        BasePlatformField,
        BaseLockField,
        BaseNixStoreField,
    )
    help = help_text(
        f"""
        An image in a registry that a `nix_image` can be on top of, by its field `base`.

            oci_base_image(name="debian", image="debian:12-slim", digest="sha256:…")
            nix_image(name="image", base=":debian", packages=[":app"], entrypoint=["{{app}}/bin/app"])

        Without `digest`, `{bin_name()} nix-lock` writes down which image the tag is. Layers are never downloaded for
        `{bin_name()} package`; `publish` mounts them, or streams them from registry to registry.
        """
    )
