"""Entry point of the plugin for Pants: `backend_packages = ["pants_backend_nix"]`."""

from __future__ import annotations

from pants.core.util_rules import source_files

from pants_backend_nix.goals import layers as layers_goal
from pants_backend_nix.goals import package, publish
from pants_backend_nix.goals import run as run_goal
from pants_backend_nix.rules import (
    closure,
    compress,
    database,
    digest,
    digested,
    evaluate,
    foreground,
    image,
    image_fields,
    layer_plan,
    layer_targets,
    layering,
    layers,
    origins,
    place,
    references,
    registries,
    run,
    split,
    stack,
    step,
    subtract,
    verified,
    zipapp,
)
from pants_backend_nix.targets import dependencies, environment_fields
from pants_backend_nix.targets.target_types import target_types as _target_types


def target_types():
    return _target_types()


def rules():
    modules = (
        source_files,
        dependencies,
        environment_fields,
        zipapp,
        place,
        run,
        evaluate,
        step,
        closure,
        subtract,
        layer_targets,
        stack,
        split,
        image_fields,
        layer_plan,
        layering,
        database,
        digest,
        compress,
        layers,
        digested,
        image,
        verified,
        origins,
        registries,
        references,
        foreground,
        package,
        publish,
        run_goal,
        layers_goal,
    )
    return [rule for module in modules for rule in module.rules()]
