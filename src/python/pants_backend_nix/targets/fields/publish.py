"""The fields that say what an image is called and where it is published."""

from __future__ import annotations

from pants.engine.target import BoolField, StringField, StringSequenceField
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

#: Stands in `registries` for those that the options mark as default.
ALL_DEFAULT_REGISTRIES = "<all default registries>"

_PLACEHOLDERS = (
    "Placeholders: `{build_args.NAME}` (see the option `[nix-images].build_args`) and `{pants.hash}`, "
    "a value that is the same exactly if the image is"
)


class NixRepositoryField(StringField):
    alias = "repository"
    help = help_text(
        f"""
        The repository name of the image, such as `acme/api`, without a registry. By default that of
        the option `[nix-images].default_repository`. A registry can have its own in `registries`.

        {_PLACEHOLDERS}; `{{name}}`, `{{directory}}` and `{{parent_directory}}` of the target, and
        `{{default_repository}}`. Upper-case letters become lower-case.
        """
    )


class NixImageTagsField(StringSequenceField):
    alias = "image_tags"
    default = ("latest",)
    help = help_text(
        f"""
        The tags of the image. {_PLACEHOLDERS}: `["{{build_args.VERSION}}", "latest"]`.

        Changing them changes nothing in the image, and several cost one upload.
        """
    )


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
