"""Image target → the names of the image: registries, repositories, tags."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.image.reference import Reference
from pants.engine.addresses import Address, Addresses
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.value_interpolation import InterpolationContext, InterpolationError

from pants_backend_nix.engine import environment_variables, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.delivery.registries import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.fields.publish import (
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
)
from pants_backend_nix.targets.registries import Registry


@dataclass(frozen=True)
class ReferencesRequest:
    """Asks what an image is called.

    :param address: of a `nix_image`.
    :param digest: of its manifest, which `{pants.hash}` is made of.
    """

    address: Address
    digest: str


@dataclass(frozen=True)
class RepositoryReferences:
    """The names of an image in one repository.

    :param registry: None if no registry is in the names.
    """

    registry: Optional[Registry]
    references: tuple[Reference, ...]

    @property
    def repository(self) -> str:
        """With the registry."""
        return self.references[0].repository


@dataclass(frozen=True)
class ImageReferences:
    repositories: tuple[RepositoryReferences, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(reference for r in self.repositories for reference in r.references)


@rule(desc="Name image")
async def name_image(request: ReferencesRequest, options: NixImageSubsystem) -> ImageReferences:
    target = (await targets_of(Addresses([request.address]))).expect_single()
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    build_args = await environment_variables(EnvironmentVarsRequest(options.build_args))
    context = InterpolationContext.from_dict(
        {
            "build_args": dict(build_args),
            "pants": {"hash": request.digest.partition(":")[2]},
        }
    )
    try:
        registries = tuple(known.named(target[NixRegistriesField].value or ()))
    except NixImageError as error:
        raise NixImageError(f"The field `registries` of {target.address}: {error}") from None
    return ImageReferences(
        tuple(
            _repository(target, options, context, registry) for registry in registries or (None,)
        )
    )


def _repository(
    target: Target,
    options: NixImageSubsystem,
    context: InterpolationContext,
    registry: Optional[Registry],
) -> RepositoryReferences:
    """Returns the names in one registry.

    :raises NixImageError: an unknown placeholder, a name that is none, no tag.
    """
    tags_field = target[NixImageTagsField]
    repository = _repository_name(target, options, context, registry)
    if registry is not None:
        repository = f"{registry.address}/{repository}"
    tags = [_format(target, context, tags_field.alias, tag) for tag in tags_field.value or ()]
    if registry is not None:
        tags += [
            _format(target, context, f"extra_image_tags of {registry.address}", tag)
            for tag in registry.extra_image_tags
        ]
    if not tags:
        raise NixImageError(
            f"{target.address} has no tags. Give it some in the field `{tags_field.alias}`, such as "
            f"{list(tags_field.default)}."
        )
    try:
        return RepositoryReferences(
            registry, tuple(Reference(repository, tag) for tag in dict.fromkeys(tags))
        )
    except InvalidInputError as error:
        raise NixImageError(
            f"{target.address}: {error} Correct the field `{NixRepositoryField.alias}` or "
            f"`{tags_field.alias}`, or the options of the registry."
        ) from None


def _repository_name(
    target: Target,
    options: NixImageSubsystem,
    context: InterpolationContext,
    registry: Optional[Registry],
) -> str:
    """Returns the name without registry, chosen as `docker_image` does."""
    field = target[NixRepositoryField]
    directory = target.address.spec_path
    context = context.merge(
        {
            "name": target.address.target_name,
            "directory": os.path.basename(directory),
            "parent_directory": os.path.basename(os.path.dirname(directory)),
            "default_repository": options.default_repository,
            "target_repository": field.value or options.default_repository,
        }
    )
    text = (registry and registry.repository) or field.value or options.default_repository
    return _format(target, context, field.alias, text).lower()


def _format(target: Target, context: InterpolationContext, field: str, text: str) -> str:
    source = InterpolationContext.TextSource(
        address=target.address, target_alias=target.alias, field_alias=field
    )
    try:
        return context.format(text, source=source)
    except InterpolationError as error:
        hint = " Give it a value in the option `[nix-images].build_args`."
        raise NixImageError(f"{error}{hint if 'build_args' in text else ''}") from None
    except (ValueError, IndexError, AttributeError) as error:
        # What `str.format` says of braces that do not fit.
        raise NixImageError(f"Invalid value for the {source}: {text!r}. {error}.") from None


def rules():
    return collect_rules()
