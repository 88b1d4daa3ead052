"""The targets: `nix_source(s)`, `nix_package`, `nix_layer` and `nix_image`.

Field names are those of `docker_image`, of Nix and of the OCI image spec.
"""

from __future__ import annotations

from typing import Optional

from nixoci.layering.split import MAX_LAYERS
from pants.core.goals.package import OutputPathField
from pants.engine.addresses import Address
from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    Dependencies,
    DictStringToStringField,
    IntField,
    InvalidFieldException,
    MultipleSourcesField,
    OptionalSingleSourceField,
    SingleSourceField,
    StringField,
    StringSequenceField,
    Target,
    TargetFilesGenerator,
    generate_multiple_sources_field_help_message,
)
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

from pants_backend_nix.targets.compression_fields import (
    NixCompressionField,
    NixCompressionLevelField,
)
from pants_backend_nix.targets.database_fields import (
    NixDatabaseField,
    NixDatabaseSignaturesField,
    NixGidField,
    NixUidField,
)
from pants_backend_nix.targets.environment_fields import NixEnvironmentField
from pants_backend_nix.targets.layering_fields import (
    NixChangeRatesField,
    NixLayerGroupsField,
    NixLayeringField,
    NixPreviousField,
)
from pants_backend_nix.targets.permissions_field import PermissionsField
from pants_backend_nix.targets.plan_fields import NixLayerPlanField, NixLayerPlanTarget
from pants_backend_nix.targets.publish_fields import (
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
    NixSkipPushField,
)
from pants_backend_nix.targets.reproducible_field import NixReproducibleField

_INTERPOLATION = (
    "`{name}` stands for the store path of the `nix_package` of that name among the packages of "
    "this target and of its layers, `{name^output}` for another output; the package becomes part of "
    "the image. Write `{{` and `}}` for braces."
)


# --- nix_source, nix_sources ---------------------------------------------------------------------


class NixSourceField(SingleSourceField):
    help = help_text(
        """
        The file: a Nix expression, a `flake.lock`, or anything else that an evaluation reads.
        """
    )


class NixSourceDependenciesField(Dependencies):
    pass


class NixSourceTarget(Target):
    alias = "nix_source"
    core_fields = (*COMMON_TARGET_FIELDS, NixSourceField, NixSourceDependenciesField)
    help = help_text(
        """
        A file that takes part in evaluating Nix expressions.

        Name it in the `dependencies` of the `nix_package` that needs it: evaluation sees the files
        of its dependencies and no others.
        """
    )


class NixSourcesField(MultipleSourcesField):
    default = ("*.nix", "flake.lock")
    uses_source_roots = False
    help = generate_multiple_sources_field_help_message(
        'Example: `sources=["*.nix", "flake.lock", "patches/**"]`'
    )


class NixSourcesTarget(TargetFilesGenerator):
    alias = "nix_sources"
    core_fields = (*COMMON_TARGET_FIELDS, NixSourcesField)
    generated_target_cls = NixSourceTarget
    copied_fields = COMMON_TARGET_FIELDS
    moved_fields = (NixSourceDependenciesField,)
    help = "Generate a `nix_source` target for each file in the `sources` field."


# --- nix_package ---------------------------------------------------------------------------------


class NixPackageSourceField(OptionalSingleSourceField):
    expected_file_extensions = (".nix",)
    uses_source_roots = False
    help = help_text(
        """
        The Nix file that defines the package: a `flake.nix`, or any other file with a derivation, a
        set of them, or a function whose arguments all have defaults (`system` is passed to it).

        A flake is evaluated in pure mode and sees the files in its own directory and below. Any
        other file is evaluated in restricted mode and sees every file of its dependencies, at its
        place in the repository. Neither sees files that are not declared, the environment, or the
        machine.
        """
    )


class NixAttrField(StringField):
    alias = "attr"
    help = help_text(
        """
        The attribute of `source` that is the package, such as `python3` or `pkgs.hello`.

        Of a flake it is looked for as `nix build .#attr` does: in `packages.SYSTEM`,
        `legacyPackages.SYSTEM` and at the top. By default: what the file itself evaluates to, of a
        flake its default package.
        """
    )


class NixStorePathField(StringField):
    alias = "store_path"
    help = help_text(
        """
        A store path instead of `source`: `/nix/store/…-name`. Nix must have it, or be able to get it
        from a substituter, whenever its contents are needed.
        """
    )


class NixOutputsField(StringSequenceField):
    alias = "outputs"
    help = help_text(
        """
        The outputs to take, such as `["out", "lib"]`. The first one is what `{name}` interpolates.
        By default the one output that `"${package}"` means in Nix.
        """
    )


class NixSystemField(StringField):
    alias = "system"
    help = help_text(
        """
        The Nix system to build for, such as `x86_64-linux` or `aarch64-linux`. By default what the
        option `[nix].system` says.
        """
    )


class NixPackageDependenciesField(Dependencies):
    help = help_text(
        """
        The files that evaluation may read besides `source`, as targets: `nix_source`, `files` or any
        other target with sources, with all that they depend on. Nothing else is visible to it.

        A flake with inputs needs its `flake.lock` here.
        """
    )


class NixPackageTarget(Target):
    alias = "nix_package"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        NixPackageSourceField,
        NixAttrField,
        NixStorePathField,
        NixOutputsField,
        NixSystemField,
        NixReproducibleField,
        NixPackageDependenciesField,
        NixEnvironmentField,
    )
    help = help_text(
        f"""
        A package that Nix builds, for use in `nix_layer` and `nix_image`.

            nix_sources(name="nix")
            nix_package(name="python", source="flake.nix", attr="python", dependencies=[":nix"])

        Nix evaluates it when its sources change, and builds it only when an image needs bytes of it
        that no cache has a digest of. Try it with `{bin_name()} package` on an image that holds it.
        """
    )


# --- What nix_layer and nix_image have in common -------------------------------------------------


class NixPackagesField(StringSequenceField):
    alias = "packages"
    help = help_text(
        """
        The `nix_package` targets whose outputs, with all that they reference, are put in
        `/nix/store`.
        """
    )


class NixCopyToRootField(StringSequenceField):
    alias = "copy_to_root"
    help = help_text(
        """
        The `nix_package` targets whose contents are copied to the root of the image: a package with
        `etc/passwd` makes `/etc/passwd`.

        What they reference is put in `/nix/store`; they themselves only if something in the image
        refers to them. Two packages may have directories in common, but no files.
        """
    )


class NixIgnoreField(StringSequenceField):
    alias = "ignore"
    help = help_text(
        """
        The `nix_package` targets that take part in computing the closure (so what they reference gets
        into the image) and are themselves kept out.

        It is an error to ignore a path that another path in the image references.
        """
    )


class NixLayersField(StringSequenceField):
    alias = "layers"
    help = help_text(
        """
        The `nix_layer` targets below, bottom first, with those that they have below themselves.
        Store paths that they hold are left out here.
        """
    )


class NixMaxLayersField(IntField):
    alias = "max_layers"
    value: int
    default = 1
    help = help_text(
        """
        The most OCI layers to split the packages over, 1 to 125, so that a changed package changes few
        layers; the field `layering` says how. What is copied to the root takes one of them when there
        are two or more.

        Container engines take about 125 layers in an image; stay at or below 100.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[int], address: Address) -> int:
        value = super().compute_value(raw_value, address)
        if value is None or not 1 <= value <= MAX_LAYERS:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is {value}. Set it to a number from 1 to "
                f"{MAX_LAYERS}, or leave it out for {cls.default}."
            )
        return value


class NixLayerDependenciesField(Dependencies):
    help = help_text(
        """
        Further dependencies. The targets in `packages`, `layers` and the like are dependencies
        already.
        """
    )


class NixCreatedByField(StringField):
    alias = "created_by"
    help = "What made the layer, for the history in the image config. By default what is in it."


class NixAuthorField(StringField):
    alias = "author"
    help = "Name and address of who is responsible, for the history in the image config."


class NixCommentField(StringField):
    alias = "comment"
    help = "A comment, for the history in the image config."


_CONTENTS_FIELDS = (
    NixPackagesField,
    NixCopyToRootField,
    NixIgnoreField,
    NixLayersField,
    NixLayeringField,
    NixLayerGroupsField,
    NixChangeRatesField,
    NixPreviousField,
    PermissionsField,
    NixCreatedByField,
    NixAuthorField,
    NixCommentField,
    NixEnvironmentField,
)


class NixLayerTarget(Target):
    alias = "nix_layer"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        *_CONTENTS_FIELDS,
        NixMaxLayersField,
        NixLayerDependenciesField,
        NixReproducibleField,
        OutputPathField,
    )
    help = help_text(
        f"""
        A layer (or up to `max_layers` of them) with Nix packages, for images to share.

            nix_layer(name="runtime", packages=[":python"], max_layers=40)

        What it holds does not depend on the image that uses it. `{bin_name()} package` writes a JSON
        file with digests and sizes.
        """
    )


# --- nix_image -----------------------------------------------------------------------------------


class NixImageDependenciesField(NixLayerDependenciesField):
    help = help_text(
        """
        Further dependencies, such as `nix_package` targets that are only named in strings. The
        targets in `packages`, `layers`, `config` and the like are dependencies already.
        """
    )


class NixImageMaxLayersField(NixMaxLayersField):
    default = 40
    help = NixMaxLayersField.help


class NixConfigField(StringField):
    alias = "config"
    help = help_text(
        """
        A `nix_package` target whose output is an image config in JSON: an OCI image configuration, or
        the object that belongs under its key `config`. What it references becomes part of the image;
        the file itself stays out. Fields of this target are merged over it.
        """
    )


class NixEntrypointField(StringSequenceField):
    alias = "entrypoint"
    help = help_text(
        """
        The command that the container runs: `["{python}/bin/python3", "-m", "app"]`.
        """
        + _INTERPOLATION
    )


class NixCmdField(StringSequenceField):
    alias = "cmd"
    help = "Default arguments of the entrypoint, or the command if there is none. " + _INTERPOLATION


class NixEnvField(DictStringToStringField):
    alias = "env"
    help = 'Environment variables: `{"PATH": "{coreutils}/bin"}`. ' + _INTERPOLATION


class NixWorkingDirField(StringField):
    alias = "working_dir"
    help = "The directory that the command starts in, absolute. " + _INTERPOLATION


class NixUserField(StringField):
    alias = "user"
    help = "The user that the command runs as: `user`, `uid`, `user:group` or `uid:gid`."


class NixExposedPortsField(StringSequenceField):
    alias = "exposed_ports"
    help = 'Ports that the command listens on: `["8080", "53/udp"]`.'


class NixVolumesField(StringSequenceField):
    alias = "volumes"
    help = 'Directories that hold data of the container: `["/var/lib/app"]`.'


class NixLabelsField(DictStringToStringField):
    alias = "labels"
    help = "Labels of the image config. " + _INTERPOLATION


class NixStopSignalField(StringField):
    alias = "stop_signal"
    help = "The signal that asks the command to end, such as `SIGINT`."


class NixAnnotationsField(DictStringToStringField):
    alias = "annotations"
    help = (
        'Annotations of the manifest: `{"org.opencontainers.image.source": "https://…"}`. '
        + _INTERPOLATION
    )


class NixCreatedField(StringField):
    alias = "created"
    help = help_text(
        """
        The time of creation, RFC 3339: `2026-01-31T12:00:00Z`. By default one second after the epoch,
        as files in the Nix store have, so that the same input makes the same image.
        """
    )


class NixArchitectureField(StringField):
    alias = "architecture"
    help = help_text(
        """
        The processor, in Go's words: `amd64`, `arm64`. By default that of the packages' `system`.
        """
    )


class NixOsField(StringField):
    alias = "os"
    help = "The operating system, in Go's words. By default `linux`."


class NixVariantField(StringField):
    alias = "variant"
    help = "The variant of the processor, such as `v8` for `arm64`."


class NixOutputFormatField(StringField):
    alias = "output_format"
    valid_choices = ("descriptor", "oci-layout", "oci-archive", "docker-archive")
    default = "descriptor"
    help = help_text(
        f"""
        What `{bin_name()} package` writes: `descriptor`, a JSON file with the digests of manifest,
        config and layers; besides that file, `oci-layout` writes a directory and `oci-archive` a tar
        file for podman and skopeo, `docker-archive` a tar file for `docker load`.

        With `descriptor` nothing needs to be built when nothing changed. The other formats hold the
        bytes of all layers and are streamed from the Nix store each time.
        """
    )


class NixImageTarget(Target):
    alias = "nix_image"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        *_CONTENTS_FIELDS,
        NixImageMaxLayersField,
        NixLayerPlanField,
        NixImageDependenciesField,
        NixConfigField,
        NixEntrypointField,
        NixCmdField,
        NixEnvField,
        NixWorkingDirField,
        NixUserField,
        NixExposedPortsField,
        NixVolumesField,
        NixLabelsField,
        NixStopSignalField,
        NixAnnotationsField,
        NixCreatedField,
        NixArchitectureField,
        NixOsField,
        NixVariantField,
        NixOutputFormatField,
        OutputPathField,
        NixRepositoryField,
        NixImageTagsField,
        NixRegistriesField,
        NixSkipPushField,
        NixDatabaseField,
        NixDatabaseSignaturesField,
        NixUidField,
        NixGidField,
        NixCompressionField,
        NixCompressionLevelField,
    )
    help = help_text(
        f"""
        An OCI image made of Nix store closures.

            nix_image(
                name="api",
                layers=[":runtime"],
                packages=[":app"],
                entrypoint=["{{app}}/bin/app"],
                image_tags=["latest"],
            )

        `{bin_name()} package` writes the image's digests into `dist/`. No layer archive is ever kept:
        layers are digested, and later sent, straight from the Nix store, and a digest that is in a
        cache is not computed again.
        """
    )


def target_types():
    return (
        NixSourceTarget,
        NixSourcesTarget,
        NixPackageTarget,
        NixLayerTarget,
        NixLayerPlanTarget,
        NixImageTarget,
    )
