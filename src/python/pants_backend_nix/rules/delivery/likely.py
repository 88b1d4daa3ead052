"""Image → where registries may have its layers already: in the repositories of images that share layer targets."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.addresses import Address
from pants.engine.rules import collect_rules
from pants.engine.target import Target
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import all_targets, concurrently, implicitly, rule
from pants_backend_nix.rules.delivery.index import Built, BuiltIndex
from pants_backend_nix.rules.delivery.references import RepositoriesRequest, name_repositories
from pants_backend_nix.targets.addresses import possible_addresses
from pants_backend_nix.targets.fields.closures import NixLayersField
from pants_backend_nix.targets.fields.publish import NixRepositoryField


@dataclass(frozen=True)
class LayerUsersRequest:
    """Asks which images have which layer targets."""


@dataclass(frozen=True)
class LayerUsers:
    """:param images: by the address of a layer target."""

    images: FrozenDict[Address, tuple[Address, ...]]


async def _direct(target: Target) -> tuple[Address, ...]:
    field = target[NixLayersField]
    return tuple(await possible_addresses(target, field.alias, field.value or ()))


@rule(desc="Look for images that share layers")
async def find_layer_users(_: LayerUsersRequest) -> LayerUsers:
    targets = [
        target
        for target in await all_targets()
        if target.has_field(NixLayersField) and target[NixLayersField].value
    ]
    direct = dict(
        zip(
            (target.address for target in targets),
            await concurrently(_direct(target) for target in targets),
        )
    )
    images: dict[Address, list[Address]] = {}
    for target in targets:
        if not target.has_field(NixRepositoryField):
            continue
        waiting, below = list(direct[target.address]), set()
        while waiting:
            address = waiting.pop()
            if address not in below:
                below.add(address)
                waiting.extend(direct.get(address, ()))
        for address in below:
            images.setdefault(address, []).append(target.address)
    return LayerUsers(
        FrozenDict({address: tuple(sorted(users)) for address, users in images.items()})
    )


@dataclass(frozen=True)
class LikelyRepositoriesRequest:
    """:param address: of the image, or of the index."""

    address: Address
    image: Built


@dataclass(frozen=True)
class LikelyRepositories:
    """:param of_layers: with their registry, by the digest of a layer."""

    of_layers: FrozenDict[str, tuple[str, ...]]


@rule
async def guess_repositories(request: LikelyRepositoriesRequest) -> LikelyRepositories:
    shared = {
        item.layer.digest: planned.target
        for item, planned in zip(request.image.image.layers, request.image.plan.layers)
        if planned.target not in (None, request.address)
    }
    if not shared:
        return LikelyRepositories(FrozenDict())
    users = await find_layer_users(LayerUsersRequest(), **implicitly())
    # Images of an index may be in repositories of their own.
    own = request.image.images if isinstance(request.image, BuiltIndex) else ()
    published = frozenset(image for image, _ in own)
    images = {
        target: tuple(
            one
            for one in (*users.images.get(target, ()), *({target} & published))
            if one != request.address
        )
        for target in dict.fromkeys(shared.values())
        if target is not None
    }
    every = tuple(dict.fromkeys(image for some in images.values() for image in some))
    named = await concurrently(
        name_repositories(RepositoriesRequest(image), **implicitly()) for image in every
    )
    names = {image: found.names for image, found in zip(every, named)}
    return LikelyRepositories(
        FrozenDict(
            {
                digest: tuple(
                    dict.fromkeys(name for image in images[target] for name in names[image])
                )
                for digest, target in shared.items()
                if target is not None
            }
        )
    )


def rules():
    return collect_rules()
