"""The fields that say what an image is called and where it is published."""

from __future__ import annotations

from typing import Iterable, Optional

from pants.engine.addresses import Address
from pants.engine.target import (
    BoolField,
    InvalidFieldException,
    StringField,
    StringSequenceField,
)
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.build_args import (
    BUILD_ARGS_FIELD,
    BUILD_ARGS_OPTION,
    parse_build_args,
)

#: Stands in `registries` for those that the options mark as default.
ALL_DEFAULT_REGISTRIES = "<all default registries>"

_PLACEHOLDERS = (
    f"Placeholders: `{{build_args.NAME}}` (see the field `{BUILD_ARGS_FIELD}` and the option "
    f"`{BUILD_ARGS_OPTION}`) and `{{pants.hash}}`, a value that is the same exactly if the image is. "
    "`{pants.hash:12}` is the first 12 characters of a value, `{build_args.BRANCH:slug}` what a tag can be of a "
    "branch name (`feature/ABC_1` → `feature-abc-1`), and `:slug:40` that of at most 40 characters"
)


class NixRepositoryField(StringField):
    alias = "repository"
    help = help_text(
        f"""
        The repository name of the image, such as `acme/api`, without a registry. By default that of
        the option `[nix-images].default_repository`. A registry can have its own in `registries`.

        {_PLACEHOLDERS}. Also `{{name}}`, `{{directory}}` and `{{parent_directory}}` of the target, and
        `{{default_repository}}`. Upper-case letters become lower-case.
        """
    )


class NixImageTagsField(StringSequenceField):
    alias = "image_tags"
    default = ("latest",)
    help = help_text(
        f"""
        The tags of the image, such as `["{{build_args.VERSION}}", "latest"]`.

        {_PLACEHOLDERS}.

        Changing them changes nothing in the image, and several cost one upload.
        """
    )


class NixExtraBuildArgsField(StringSequenceField):
    alias = BUILD_ARGS_FIELD
    default = ()
    help = help_text(
        f"""
        Values for `{{build_args.NAME}}` in the names of this image (fields `repository` and `image_tags`,
        and what registries add): `NAME=value`, or `NAME` alone for the value that it has in the
        environment. The last entry that has a value counts, after those of the option
        `{BUILD_ARGS_OPTION}`: `["BRANCH=main", "BRANCH"]` is `main` if the environment has no `BRANCH`.

        They change names and nothing else of the image.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[str]], address: Address
    ) -> Optional[tuple[str, ...]]:
        value = super().compute_value(raw_value, address)
        try:
            parse_build_args(value or (), f"the field `{cls.alias}` of {address}")
        except NixImageError as error:
            raise InvalidFieldException(str(error)) from None
        return value


class NixRegistriesField(StringSequenceField):
    alias = "registries"
    default = (ALL_DEFAULT_REGISTRIES,)
    help = help_text(
        """
        The registries that the image belongs to: addresses (`ghcr.io`, `localhost:5000`), or aliases
        from the options `[nix-images].registries` and `[docker].registries` with an `@` before them
        (`@internal`). By default those that the options mark as default; if there are none, the image
        has no registry in its name, which stands for Docker Hub.
        """
    )


class NixSkipPushField(BoolField):
    alias = "skip_push"
    default = False
    help = f"Do not push this image to registries when running `{bin_name()} publish`."
