"""Image target → the names of the image: registries, repositories, tags."""

from __future__ import annotations

import logging
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
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.build_args import (
    BUILD_ARGS_OPTION,
    bare_names,
    build_args_values,
    parse_build_args,
)
from pants_backend_nix.targets.fields.publish import (
    NixExtraBuildArgsField,
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
)
from pants_backend_nix.targets.placeholders import (
    HashPlaceholder,
    Placeholder,
    TemplatePlaceholder,
)
from pants_backend_nix.targets.registries import Registry

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class RepositoriesRequest:
    """Asks which repositories an image may be in.

    :param address: of a `nix_image`.
    """

    address: Address


@dataclass(frozen=True)
class Repositories:
    """:param names: with their registry; those that cannot be told without the image are not among them."""

    names: tuple[str, ...]


@rule
async def name_repositories(
    request: RepositoriesRequest, options: NixImageSubsystem
) -> Repositories:
    target = (await targets_of(Addresses([request.address]))).expect_single()
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    found = []
    try:
        build_args = parse_build_args(options.build_args, f"the option `{BUILD_ARGS_OPTION}`")
        given = tuple(arg for arg in build_args if arg.value is not None)
        context = InterpolationContext.from_dict(
            {"build_args": build_args_values(given, {}, set())}
        )
        for registry in tuple(known.named(target[NixRegistriesField].value or ())) or (None,):
            name = _repository_name(target, options, context, registry)
            found.append(f"{registry.address}/{name}" if registry else name)
            Reference(found[-1])
    except (NixImageError, InvalidInputError):
        # Whoever publishes that image is told.
        return Repositories(())
    return Repositories(tuple(found))


@rule(desc="Name image")
async def name_image(request: ReferencesRequest, options: NixImageSubsystem) -> ImageReferences:
    target = (await targets_of(Addresses([request.address]))).expect_single()
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    field = target[NixExtraBuildArgsField]
    own_args = parse_build_args(
        field.value or (), f"the field `{field.alias}` of {target.address}"
    )
    build_args = (
        *parse_build_args(options.build_args, f"the option `{BUILD_ARGS_OPTION}`"),
        *own_args,
    )
    environment = await environment_variables(
        EnvironmentVarsRequest(tuple(dict.fromkeys(bare_names(build_args))))
    )
    used: set[str] = set()
    context = InterpolationContext.from_dict(
        {
            "build_args": build_args_values(build_args, environment, used),
            "pants": {"hash": HashPlaceholder(request.digest.partition(":")[2])},
        }
    )
    try:
        registries = tuple(known.named(target[NixRegistriesField].value or ()))
    except NixImageError as error:
        raise NixImageError(f"The field `registries` of {target.address}: {error}") from None
    references = ImageReferences(
        tuple(
            _repository(target, options, context, registry) for registry in registries or (None,)
        )
    )
    idle = [name for name in dict.fromkeys(arg.name for arg in own_args) if name not in used]
    if idle:
        logger.warning(
            f"{target.address}: these entries of `{field.alias}` have no effect, as no name of the image has a "
            "placeholder such as `{build_args." + idle[0] + "}`: " + ", ".join(idle)
        )
    return references


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
    source = _source(target, tags_field.alias)
    tags = [_format(target, context, source, tag) for tag in tags_field.value or ()]
    if registry is not None:
        source = _source(target, f"extra_image_tags of {registry.address}")
        tags += [_format(target, context, source, tag) for tag in registry.extra_image_tags]
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
            f"`{tags_field.alias}`, or the options of the registry. For a value with other characters, such as the "
            "name of a branch, there is `{build_args.NAME:slug}`."
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
            "name": Placeholder(target.address.target_name),
            "directory": Placeholder(os.path.basename(directory)),
            "parent_directory": Placeholder(os.path.basename(os.path.dirname(directory))),
            "default_repository": TemplatePlaceholder(options.default_repository),
            "target_repository": TemplatePlaceholder(field.value or options.default_repository),
        }
    )
    if registry is not None and registry.repository:
        source = _source(target, f"repository of {registry.address}")
        text = registry.repository
    elif field.value:
        source, text = _source(target, field.alias), field.value
    else:
        option = f"[{options.options_scope}].default_repository"
        source = InterpolationContext.TextSource(options_scope=option)
        text = options.default_repository
    return _format(target, context, source, text).lower()


def _source(target: Target, field: str) -> InterpolationContext.TextSource:
    return InterpolationContext.TextSource(
        address=target.address, target_alias=target.alias, field_alias=field
    )


def _format(
    target: Target,
    context: InterpolationContext,
    source: InterpolationContext.TextSource,
    text: str,
) -> str:
    # An option does not say of which image it is read.
    of = f"{target.address}: " if source.options_scope else ""
    try:
        return context.format(text, source=source)
    except InterpolationError as error:
        raise NixImageError(f"{of}{error}") from None
    except (ValueError, IndexError, AttributeError) as error:
        # What `str.format` says of braces that do not fit.
        raise NixImageError(f"{of}Invalid value for the {source}: {text!r}. {error}.") from None



def rules():
    return collect_rules()
