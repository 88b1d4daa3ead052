"""`pants check`: evaluates Nix packages and builds nothing."""

from __future__ import annotations

from dataclasses import dataclass

from pants.core.goals.check import CheckRequest, CheckResult, CheckResults
from pants.engine.rules import collect_rules
from pants.engine.target import FieldSet
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from pants_backend_nix.engine import concurrently, implicitly, rule
from pants_backend_nix.options.nix import NixSubsystem
from pants_backend_nix.rules.flow.evaluate import NixPackageCheckRequest, check_package
from pants_backend_nix.targets.fields.environment import NixEnvironmentField
from pants_backend_nix.targets.package import NixPackageSourceField


@dataclass(frozen=True)
class NixPackageCheckFieldSet(FieldSet):
    required_fields = (NixPackageSourceField,)

    source: NixPackageSourceField
    environment: NixEnvironmentField


class NixCheckRequest(CheckRequest):
    field_set_type = NixPackageCheckFieldSet
    tool_name = NixSubsystem.options_scope


@rule(desc="Evaluate Nix packages", level=LogLevel.DEBUG)
async def check_nix_packages(request: NixCheckRequest, nix: NixSubsystem) -> CheckResults:
    """Each package that fails is a result of its own, and all others are one."""
    if nix.skip:
        return CheckResults([], checker_name=request.tool_name)
    addresses = sorted(field_set.address for field_set in request.field_sets)
    checked = await concurrently(
        check_package(NixPackageCheckRequest(address), **implicitly()) for address in addresses
    )
    failed = {address: one.error for address, one in zip(addresses, checked) if one.error}
    results = [
        CheckResult(1, "", f"{error}\n", partition_description=address.spec)
        for address, error in failed.items()
    ]
    good = len(addresses) - len(failed)
    if good:
        what = "1 package" if good == 1 else f"{good} packages"
        results.append(CheckResult(0, "", "", partition_description=what))
    return CheckResults(results, checker_name=request.tool_name)


def rules():
    return [
        *collect_rules(),
        UnionRule(CheckRequest, NixCheckRequest),
    ]
