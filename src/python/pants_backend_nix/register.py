"""Entry point of the plugin for Pants: `backend_packages = ["pants_backend_nix"]`."""

from __future__ import annotations

from functools import lru_cache

from pants.backend.python import target_types_rules
from pants.backend.python.goals import package_dists, package_pex_binary
from pants.backend.python.util_rules import local_dists, pex_cli, pex_from_targets
from pants.build_graph.build_file_aliases import BuildFileAliases
from pants.core.util_rules import source_files

from pants_backend_nix.goals import check, lock, package, publish, tailor, tailor_packages
from pants_backend_nix.goals import layers as layers_goal
from pants_backend_nix.goals import run as run_goal
from pants_backend_nix.rules.assembly import (
    digested,
    effects,
    file_layers,
    file_system,
    image,
    image_fields,
    layer_plan,
    layer_targets,
    layering,
    layers,
    libraries,
    root,
    stack,
)
from pants_backend_nix.rules.base import archive as base_archive
from pants_backend_nix.rules.base import documents, found, pinned
from pants_backend_nix.rules.core import answers, place, run, session, step, tools, zipapp
from pants_backend_nix.rules.delivery import (
    foreground,
    index,
    lacking,
    likely,
    loaded,
    origins,
    references,
    verified,
)
from pants_backend_nix.rules.flow import (
    certificates,
    closure,
    compress,
    copied_tree,
    database,
    derivation,
    digest,
    elf,
    evaluate,
    files,
    package_names,
    permissions,
    split,
    subtract,
)
from pants_backend_nix.rules.inference import dependencies as file_dependencies
from pants_backend_nix.rules.inference import flake_settings, nix_file, owners
from pants_backend_nix.rules.inference import sources as written_sources
from pants_backend_nix.rules.locks import bases, flakes
from pants_backend_nix.rules.python import (
    bytecode,
    interpreter,
    layout,
    parts,
    requirements,
)
from pants_backend_nix.rules.registry import options as registry_options
from pants_backend_nix.targets import dependencies, named_packages
from pants_backend_nix.targets.base.base_image import OciBaseImageTarget
from pants_backend_nix.targets.fields import environment
from pants_backend_nix.targets.fields.contents import nix_contents
from pants_backend_nix.targets.image import NixImageTarget
from pants_backend_nix.targets.index import dependencies as index_dependencies
from pants_backend_nix.targets.index.target import NixImageIndexTarget
from pants_backend_nix.targets.layer import NixLayerTarget
from pants_backend_nix.targets.layer_plan import NixLayerPlanTarget
from pants_backend_nix.targets.package import NixPackageTarget, NixSourcesTarget, NixSourceTarget


def build_file_aliases():
    return BuildFileAliases(objects={"nix_contents": nix_contents})


def target_types():
    return (
        NixSourceTarget,
        NixSourcesTarget,
        NixPackageTarget,
        NixLayerTarget,
        NixLayerPlanTarget,
        NixImageTarget,
        NixImageIndexTarget,
        OciBaseImageTarget,
    )


@lru_cache(maxsize=None)
def rules():
    # Pants asks in each command, also those of pantsd; to look through the modules again took 4 ms.
    modules = (
        source_files,
        # What `split` needs of the backend for Python, also where that is not enabled.
        target_types_rules,
        package_dists,
        package_pex_binary,
        local_dists,
        pex_cli,
        pex_from_targets,
        # What users write.
        dependencies,
        index_dependencies,
        named_packages,
        environment,
        # What Nix files refer to.
        flake_settings,
        written_sources,
        nix_file,
        owners,
        file_dependencies,
        # Running the core.
        zipapp,
        place,
        session,
        tools,
        run,
        answers,
        step,
        registry_options,
        # A station of the flow each.
        derivation,
        package_names,
        evaluate,
        closure,
        subtract,
        split,
        files,
        certificates,
        copied_tree,
        permissions,
        elf,
        digest,
        compress,
        database,
        # What pins inputs.
        flakes,
        bases,
        # A PEX as a tree.
        parts,
        interpreter,
        bytecode,
        requirements,
        layout,
        # Base images.
        documents,
        pinned,
        base_archive,
        found,
        # The flow for targets that name each other.
        layer_targets,
        stack,
        image_fields,
        layer_plan,
        layering,
        layers,
        file_system,
        file_layers,
        root,
        effects,
        digested,
        libraries,
        image,
        # Out of the house.
        verified,
        index,
        origins,
        references,
        lacking,
        likely,
        loaded,
        foreground,
        # Goals.
        package,
        publish,
        run_goal,
        layers_goal,
        tailor,
        tailor_packages,
        check,
        lock,
    )
    return tuple(rule for module in modules for rule in module.rules())
