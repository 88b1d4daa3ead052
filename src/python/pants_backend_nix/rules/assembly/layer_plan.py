"""Layer plan → one split for the images that share it."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.preferences import Preferences
from nixoci.layering.shared import ImagePaths, split_shared
from nixoci.layering.split import Split
from pants.engine.addresses import Address, Addresses
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import concurrently, implicitly, rule, targets_of
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.stack import Floor, StackRequest, stack_contents
from pants_backend_nix.rules.core.answers import KeepRequest, keep_answers
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.targets.addresses import field_addresses
from pants_backend_nix.targets.fields.layering import NixChangeRatesField
from pants_backend_nix.targets.layer_plan import NixLayerPlanField, NixPlannedImagesField


@dataclass(frozen=True)
class LayerPlanRequest:
    """:param address: of a `nix_layer_plan`."""

    address: Address
    view: StoreView = StoreView()


@dataclass(frozen=True)
class LayerPlan:
    """:param splits: of what each image itself holds, above its layer targets.
    :param preferences: that they were made with.
    """

    splits: FrozenDict[Address, Split]
    preferences: Preferences


@rule(desc="Split images into layers")
async def split_images(request: LayerPlanRequest, options: NixImageSubsystem) -> LayerPlan:
    (plan,) = await targets_of(Addresses([request.address]))
    field = plan[NixPlannedImagesField]
    images = await targets_of(await field_addresses(plan, field.alias, field.value or ()))
    for image in images:
        if not image.has_field(NixLayerPlanField):
            raise NixImageError(
                f"The field `{field.alias}` of {plan.address} names {image.address}, which is a "
                f"`{image.alias}`. Name `nix_image` targets."
            )
        named = image[NixLayerPlanField]
        if named.value is None or request.address not in await field_addresses(
            image, named.alias, (named.value,)
        ):
            raise NixImageError(
                f"The field `{field.alias}` of {plan.address} names {image.address}, whose field "
                f"`{named.alias}` does not name the plan. Set it to {plan.address.spec!r}, or take the "
                "image out of the plan."
            )
    stacks = await concurrently(
        stack_contents(StackRequest(image.address, request.view), **implicitly())
        for image in images
    )
    # Of some of them this command may digest no layer.
    unkept = dict.fromkeys(question for stack in stacks for question in stack.unkept)
    await keep_answers(KeepRequest(tuple(unkept)), **implicitly())
    floors: list[Floor] = [stack.floors[-1] for stack in stacks]
    parts = [floor.divisible for floor in floors]
    preferences = Preferences(
        rates=(*(plan[NixChangeRatesField].value or {}).items(), *options.rates.items()),
        first_party=frozenset().union(*(floor.first_party for floor in floors)),
    )
    splits = split_shared([ImagePaths(part.graph, part.max_layers) for part in parts], preferences)
    by_image = zip((image.address for image in images), splits)
    return LayerPlan(FrozenDict(by_image), preferences)


def rules():
    return collect_rules()
