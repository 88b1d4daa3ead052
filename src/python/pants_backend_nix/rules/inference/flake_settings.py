"""Settings of Nix in a flake, which are not used → a word about that."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pants.engine.addresses import Address
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import rule
from pants_backend_nix.options.infer import NixInferSubsystem
from pants_backend_nix.rules.inference.nix_file import parsed_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlakeSettingsRequest:
    """Asks to say so, once for each state of a file, if it has settings of Nix.

    :param path: of the `flake.nix`, from the root of the repository.
    :param address: of a package that is in it.
    """

    path: str
    address: Address = field(compare=False)


@dataclass(frozen=True)
class FlakeSettingsSeen:
    """Says that it is done."""


@rule
async def see_flake_settings(
    request: FlakeSettingsRequest, infer: NixInferSubsystem
) -> FlakeSettingsSeen:
    if infer.paths:
        settings = (await parsed_file(request.path)).settings
        if settings:
            logger.warning(
                f"{request.address}: the field `nixConfig` of {request.path} is not used ({', '.join(settings)}). "
                "Which settings Nix has is for who runs it to say: set them in nix.conf, or in the options `[nix]` "
                "(`substituters`, `extra_experimental_features`, `extra_options`)."
            )
    return FlakeSettingsSeen()


def rules():
    return collect_rules()
