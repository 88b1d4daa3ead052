"""The targets `nix_source`, `nix_sources` and `nix_package`."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from pants.engine.addresses import Address
from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    BoolField,
    Dependencies,
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
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
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.environment import NixEnvironmentField
from pants_backend_nix.targets.fields.reproducible import NixReproducibleField


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

        Evaluation sees the files that a `nix_package` depends on and no others. Pants finds them in the Nix file of
        the package, and in what that file imports; name what is computed in `dependencies`, here or there.
        """
    )


class NixSourcesField(MultipleSourcesField):
    # `sources.json` is where npins and niv keep what they have pinned.
    default = ("*.nix", "flake.lock", "sources.json")
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


class NixPackageSourceField(OptionalSingleSourceField):
    expected_file_extensions = (".nix",)
    uses_source_roots = False
    help = help_text(
        """
        The Nix file that defines the package: a `flake.nix`, or any other file with a derivation, a
        set of them, or a function of `system`, of `arguments`, and of what has a default.

        A flake is evaluated in pure mode and sees the files in its own directory and below. Any
        other file is evaluated in restricted mode and sees every file of its dependencies, at its
        place in the repository. Neither sees files that are not declared, the environment, or the
        machine, and both fetch by hash only: `builtins.fetchTarball` and others need a `sha256`, a `rev`
        or a `narHash`.
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
        option `[nix].system` says. With `parametrize("x86_64-linux", "aarch64-linux")` there is a package for
        each, and the field `system` of a `nix_image` or `nix_layer` chooses. To build for another system than that
        of this machine, Nix needs a remote builder, emulation (`extra-platforms`) or a substituter.

        What is cross-compiled is built on this system and is for another one, which Nix is asked for
        (`stdenv.hostPlatform.system`).
        """
    )


class NixArgumentsField(Field):
    alias = "arguments"
    value: Optional[FrozenDict[str, Any]]
    default = None
    help = help_text(
        """
        What `source` is called with, if it is a function and no flake:

            arguments={"debug": True, "workers": 4, "features": ["tls"]},

        Values are strings, booleans, numbers, lists and dictionaries. The function must take each
        name; so must, or may, functions further down that `attr` leads through. `system` is passed by itself.
        With `parametrize` there is a package for each set of arguments.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Mapping[str, Any]], address: Address
    ) -> Optional[FrozenDict[str, Any]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type='a dictionary such as `{"debug": True}`'
            )
        if "system" in value:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} has `system`. Set the field `system` instead."
            )
        try:
            canonical_json(cls.alias, _plain(value))
        except (InvalidInputError, TypeError) as error:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is not valid: {error} Values are strings, booleans, "
                "numbers, lists and dictionaries."
            )
        frozen = _frozen(value)
        assert isinstance(frozen, FrozenDict)
        return frozen

    @property
    def json(self) -> str:
        """The arguments as a JSON object; empty without any."""
        return canonical_json(self.alias, _plain(self.value)).decode() if self.value else ""


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({key: _frozen(item) for key, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Returns what `json` can write."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class NixImportFromDerivationField(BoolField):
    alias = "allow_import_from_derivation"
    default = False
    help = help_text(
        """
        Whether evaluation may build what it needs to go on (`import` or `readFile` of something that a
        derivation makes). Then a change of the sources builds before it is known what has changed, one
        thing after the other, also where all of the image is in a cache.
        """
    )


class NixPackageDependenciesField(Dependencies):
    help = help_text(
        """
        Further files that evaluation may read besides `source`, as targets: `nix_source`, `files` or any
        other target with sources, with all that they depend on. Nothing else is visible to it.

        Paths that are written in Nix files, and the `flake.lock` of a flake, are dependencies already if a target
        owns them; `!` takes one out. See the scope `[nix-infer]`.
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
        NixArgumentsField,
        NixImportFromDerivationField,
        NixReproducibleField,
        NixPackageDependenciesField,
        NixEnvironmentField,
    )
    help = help_text(
        f"""
        A package that Nix builds, for use in `nix_layer` and `nix_image`.

            nix_sources(name="nix")
            nix_package(name="python", source="flake.nix", attr="python")

        Nix evaluates it when its sources change, and builds it only when an image needs bytes of it
        that no cache has a digest of. Try it with `{bin_name()} package` on an image that holds it.
        """
    )
