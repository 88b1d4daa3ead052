"""The one module that knows which version of Pants it runs under.

Rules of this plugin are written in the call-by-name style of current Pants:

    digest = await digest_layer(LayerRequest(...), **implicitly())

Three bands of versions differ in what that means. Before 2.20 rules are requested with `Get`; from
2.20 the plugin's own rules are called by name, while those of Pants are requested with `Get`; from
2.30 on (`Get` is removed in 2.32) everything is called by name. What a rule module needs of Pants'
own rules is a coroutine here, with the same name and meaning in each band.

What follows from it for rule modules: an own rule takes one request of a type that no other rule
takes, as its first parameter; calls end in an empty `**implicitly()`; helpers are `async def` above
their callers.
"""

from __future__ import annotations

from typing import Iterable

from pants.backend.python.goals.package_pex_binary import (
    PexBinaryFieldSet,
    PexFromTargetsRequestForBuiltPackage,
)
from pants.backend.python.util_rules.pex import Pex, PexRequest
from pants.backend.python.util_rules.pex_cli import PexCliProcess
from pants.backend.python.util_rules.pex_from_targets import PexFromTargetsRequest
from pants.backend.python.util_rules.python_sources import (
    PythonSourceFiles,
    PythonSourceFilesRequest,
    StrippedPythonSourceFiles,
)
from pants.base.specs import RawSpecsWithoutFileOwners
from pants.core.goals.package import (
    BuiltPackage,
    EnvironmentAwarePackageRequest,
    PackageFieldSet,
)
from pants.core.util_rules.source_files import SourceFiles, SourceFilesRequest
from pants.engine import rules as _rules
from pants.engine.addresses import Addresses, UnparsedAddressInputs
from pants.engine.env_vars import EnvironmentVars, EnvironmentVarsRequest
from pants.engine.environment import LOCAL_ENVIRONMENT_MATCHER, EnvironmentName
from pants.engine.fs import (
    AddPrefix,
    CreateDigest,
    Digest,
    DigestContents,
    DigestEntries,
    DigestSubset,
    MergeDigests,
    PathGlobs,
    RemovePrefix,
    Snapshot,
)
from pants.engine.process import FallibleProcessResult, Process, ProcessExecutionEnvironment
from pants.engine.target import (
    AllUnexpandedTargets,
    DependenciesRequest,
    ExplicitlyProvidedDependencies,
    FieldSetsPerTarget,
    FieldSetsPerTargetRequest,
    HydratedSources,
    HydrateSourcesRequest,
    SourcesPaths,
    SourcesPathsRequest,
    Targets,
    TransitiveTargets,
    TransitiveTargetsRequest,
)
from pants.version import PANTS_SEMVER

if PANTS_SEMVER.release >= (2, 20):
    rule, implicitly = _rules.rule, _rules.implicitly
    if PANTS_SEMVER.release >= (2, 21):
        concurrently = _rules.concurrently
    else:
        concurrently = _rules.MultiGet
else:
    from pants.engine.internals.selectors import _MultiGet
    from pants.engine.rules import Get

    def implicitly() -> dict:
        """Stands for the parameters that the engine supplies; there is nothing to pass on."""
        return {}

    def rule(*args, **kwargs):
        """As `pants.engine.rules.rule`, for rules that are called by name."""

        def decorate(function):
            task = _rules.rule(**kwargs)(function).rule
            output, input_ = task.output_type, (task.input_selectors or (None,))[0]

            async def call_with_request(request, **_):
                return await Get(output, input_, request)

            async def call_without_request(**_):
                return await Get(output)

            call = call_with_request if task.input_selectors else call_without_request
            call.rule = task
            return call

        return decorate(*args) if args else decorate

    async def concurrently(calls):
        """Awaits coroutines in step: each round sends all that they ask for as one batch."""
        coroutines, results = list(calls), {}
        answers = dict.fromkeys(coroutines)
        while answers:
            asked = {}
            for coroutine, answer in answers.items():
                try:
                    asked[coroutine] = coroutine.send(answer)
                except StopIteration as stop:
                    results[coroutine] = stop.value
            batch = [get for a in asked.values() for get in (a if isinstance(a, tuple) else (a,))]
            got = iter(await _MultiGet(tuple(batch)) if batch else ())
            answers = {
                coroutine: tuple(next(got) for _ in a) if isinstance(a, tuple) else next(got)
                for coroutine, a in asked.items()
            }
        return tuple(results[coroutine] for coroutine in coroutines)


if PANTS_SEMVER.release >= (2, 28):
    from pants.core.environments.rules import EnvironmentNameRequest
    from pants.core.environments.target_types import (
        EnvironmentField,
        EnvironmentTarget,
        RemoteEnvironmentTarget,
    )
else:
    from pants.core.util_rules.environments import (
        EnvironmentField,
        EnvironmentNameRequest,
        EnvironmentTarget,
        RemoteEnvironmentTarget,
    )

#: The environment of this machine.
THIS_MACHINE = EnvironmentNameRequest(
    LOCAL_ENVIRONMENT_MATCHER, description_of_origin="what runs on this machine"
)

if PANTS_SEMVER.release >= (2, 30):
    from pants.backend.python.goals.package_pex_binary import package_pex_binary
    from pants.backend.python.util_rules.pex import create_pex
    from pants.backend.python.util_rules.pex_cli import setup_pex_cli_process
    from pants.backend.python.util_rules.pex_from_targets import create_pex_from_targets
    from pants.backend.python.util_rules.python_sources import (
        prepare_python_sources,
        strip_python_sources,
    )
    from pants.core.environments.rules import (
        extract_process_config_from_environment,
        get_target_for_environment_name,
        resolve_environment_name,
    )
    from pants.core.goals.package import environment_aware_package
    from pants.core.util_rules.env_vars import environment_vars_subset
    from pants.core.util_rules.source_files import determine_source_files
    from pants.engine.internals.graph import (
        determine_explicitly_provided_dependencies,
        find_all_unexpanded_targets,
        find_valid_field_sets,
        hydrate_sources,
        resolve_dependencies,
        resolve_source_paths,
        resolve_targets,
        resolve_unparsed_address_inputs,
        transitive_targets,
    )
    from pants.engine.internals.specs_rules import addresses_from_raw_specs_without_file_owners
    from pants.engine.intrinsics import (
        add_prefix,
        create_digest,
        digest_subset_to_digest,
        digest_to_snapshot,
        execute_process,
        get_digest_contents,
        get_digest_entries,
        merge_digests,
        path_globs_to_digest,
        remove_prefix,
    )

    async def create(files: Iterable) -> Digest:
        """Stores files (`FileContent`, `FileEntry`, …) and returns their digest."""
        return await create_digest(CreateDigest(files))

    async def contents(digest: Digest) -> DigestContents:
        """Reads the files of a digest."""
        return await get_digest_contents(digest)

    async def entries(digest: Digest) -> DigestEntries:
        """Lists what is in a digest, without the contents."""
        return await get_digest_entries(digest)

    async def merge(digests: Iterable[Digest]) -> Digest:
        """Merges directory trees."""
        return await merge_digests(MergeDigests(digests))

    async def prefix(digest: Digest, directory: str) -> Digest:
        """Moves a tree below `directory`."""
        return await add_prefix(AddPrefix(digest, directory))

    async def subset(digest: Digest, files: Iterable[str]) -> Digest:
        """Returns those files of a tree."""
        return await digest_subset_to_digest(DigestSubset(digest, PathGlobs(files)))

    async def files_matching(globs: PathGlobs) -> Digest:
        """Returns those files of the repository."""
        return await path_globs_to_digest(globs)

    async def subtree(digest: Digest, directory: str) -> Digest:
        """Returns what is below a directory."""
        return await remove_prefix(RemovePrefix(await subset(digest, (f"{directory}/**",)), directory))

    async def snapshot_of(digest: Digest) -> Snapshot:
        """Returns a tree with the names of all that is in it."""
        return await digest_to_snapshot(digest)

    async def run_fallible(process: Process, environment: EnvironmentName) -> FallibleProcessResult:
        """Runs a process, or takes its result from a cache; any exit status is a result."""
        return await execute_process(process, **implicitly({environment: EnvironmentName}))

    async def environment_named(request: EnvironmentNameRequest) -> EnvironmentName:
        """Returns the environment that a target asks for, or the one that stands in for it."""
        return await resolve_environment_name(request, **implicitly())

    async def environment_target(environment: EnvironmentName) -> EnvironmentTarget:
        """Returns the target that defines an environment, if one does."""
        return await get_target_for_environment_name(environment, **implicitly())

    async def execution_in(environment: EnvironmentName) -> ProcessExecutionEnvironment:
        """Returns how processes run in an environment."""
        return await extract_process_config_from_environment(
            **implicitly({environment: EnvironmentName})
        )

    async def environment_variables(request: EnvironmentVarsRequest) -> EnvironmentVars:
        """Returns variables of the environment that Pants was started in."""
        environment = await resolve_environment_name(THIS_MACHINE, **implicitly())
        return await environment_vars_subset(
            request, **implicitly({environment: EnvironmentName})
        )

    async def addresses_of(request: UnparsedAddressInputs) -> Addresses:
        """Parses addresses as users write them."""
        return await resolve_unparsed_address_inputs(request, **implicitly())

    async def addresses_matching(specs: RawSpecsWithoutFileOwners) -> Addresses:
        """Returns what specs stand for: a parametrized target for all that it is."""
        return await addresses_from_raw_specs_without_file_owners(specs, **implicitly())

    async def targets_of(addresses: Addresses) -> Targets:
        """Returns targets, generators replaced by what they generate."""
        return await resolve_targets(**implicitly(addresses))

    async def all_targets() -> AllUnexpandedTargets:
        """Returns all targets of the repository, generators as they are written."""
        return await find_all_unexpanded_targets()

    async def explicit_dependencies_of(
        request: DependenciesRequest,
    ) -> ExplicitlyProvidedDependencies:
        """Returns what the field `dependencies` of a target says."""
        return await determine_explicitly_provided_dependencies(**implicitly(request))

    async def dependencies_of(request: DependenciesRequest) -> Addresses:
        """Returns the direct dependencies of a target, inferred ones included."""
        return await resolve_dependencies(request, **implicitly())

    async def transitive_targets_of(request: TransitiveTargetsRequest) -> TransitiveTargets:
        """Returns targets with all that they depend on."""
        return await transitive_targets(request, **implicitly())

    async def source_files_of(request: SourceFilesRequest) -> SourceFiles:
        """Returns the files of source fields, at their places in the repository."""
        return await determine_source_files(request)

    async def source_paths_of(request: SourcesPathsRequest) -> SourcesPaths:
        """Returns the names of the files of one source field."""
        return await resolve_source_paths(request, **implicitly())

    async def hydrated_sources_of(request: HydrateSourcesRequest) -> HydratedSources:
        """Returns the files of one source field, generated ones too."""
        return await hydrate_sources(request, **implicitly())

    async def package_field_sets_of(request: FieldSetsPerTargetRequest) -> FieldSetsPerTarget:
        """Returns how targets are packaged, those that can be."""
        return await find_valid_field_sets(request, **implicitly())

    async def package_of(field_set: PackageFieldSet) -> BuiltPackage:
        """Packages a target, in its own environment."""
        return await environment_aware_package(EnvironmentAwarePackageRequest(field_set))

    async def pex_request_of(
        field_set: PexBinaryFieldSet, environment: EnvironmentName
    ) -> PexRequest:
        """Returns how the PEX file of a `pex_binary` is built."""
        found = await package_pex_binary(field_set, **implicitly({environment: EnvironmentName}))
        return await create_pex_from_targets(
            **implicitly(
                {found.request: PexFromTargetsRequest, environment: EnvironmentName}
            )
        )

    async def built_pex(request: PexRequest, environment: EnvironmentName) -> Pex:
        """Builds a PEX file."""
        return await create_pex(request, **implicitly({environment: EnvironmentName}))

    async def pex_process(request: PexCliProcess, environment: EnvironmentName) -> Process:
        """Returns the process that runs pex."""
        return await setup_pex_cli_process(
            request, **implicitly({environment: EnvironmentName})
        )

    async def python_sources_of(request: PythonSourceFilesRequest) -> Digest:
        """Returns sources of Python and resources, without their source roots."""
        sources = await prepare_python_sources(request, **implicitly())
        stripped = await strip_python_sources(sources)
        return stripped.stripped_source_files.snapshot.digest

else:
    from pants.engine.rules import Get

    async def create(files: Iterable) -> Digest:
        return await Get(Digest, CreateDigest(files))

    async def contents(digest: Digest) -> DigestContents:
        return await Get(DigestContents, Digest, digest)

    async def entries(digest: Digest) -> DigestEntries:
        return await Get(DigestEntries, Digest, digest)

    async def merge(digests: Iterable[Digest]) -> Digest:
        return await Get(Digest, MergeDigests(digests))

    async def prefix(digest: Digest, directory: str) -> Digest:
        return await Get(Digest, AddPrefix(digest, directory))

    async def subset(digest: Digest, files: Iterable[str]) -> Digest:
        return await Get(Digest, DigestSubset(digest, PathGlobs(files)))

    async def files_matching(globs: PathGlobs) -> Digest:
        return await Get(Digest, PathGlobs, globs)

    async def subtree(digest: Digest, directory: str) -> Digest:
        below = await subset(digest, (f"{directory}/**",))
        return await Get(Digest, RemovePrefix(below, directory))

    async def snapshot_of(digest: Digest) -> Snapshot:
        return await Get(Snapshot, Digest, digest)

    async def run_fallible(process: Process, environment: EnvironmentName) -> FallibleProcessResult:
        return await Get(
            FallibleProcessResult, {process: Process, environment: EnvironmentName}
        )

    async def environment_named(request: EnvironmentNameRequest) -> EnvironmentName:
        return await Get(EnvironmentName, EnvironmentNameRequest, request)

    async def environment_target(environment: EnvironmentName) -> EnvironmentTarget:
        return await Get(EnvironmentTarget, EnvironmentName, environment)

    async def execution_in(environment: EnvironmentName) -> ProcessExecutionEnvironment:
        return await Get(ProcessExecutionEnvironment, EnvironmentName, environment)

    async def environment_variables(request: EnvironmentVarsRequest) -> EnvironmentVars:
        environment = await Get(EnvironmentName, EnvironmentNameRequest, THIS_MACHINE)
        return await Get(
            EnvironmentVars, {request: EnvironmentVarsRequest, environment: EnvironmentName}
        )

    async def addresses_of(request: UnparsedAddressInputs) -> Addresses:
        return await Get(Addresses, UnparsedAddressInputs, request)

    async def addresses_matching(specs: RawSpecsWithoutFileOwners) -> Addresses:
        return await Get(Addresses, RawSpecsWithoutFileOwners, specs)

    async def targets_of(addresses: Addresses) -> Targets:
        return await Get(Targets, Addresses, addresses)

    async def all_targets() -> AllUnexpandedTargets:
        return await Get(AllUnexpandedTargets)

    async def explicit_dependencies_of(
        request: DependenciesRequest,
    ) -> ExplicitlyProvidedDependencies:
        return await Get(ExplicitlyProvidedDependencies, DependenciesRequest, request)

    async def dependencies_of(request: DependenciesRequest) -> Addresses:
        return await Get(Addresses, DependenciesRequest, request)

    async def transitive_targets_of(request: TransitiveTargetsRequest) -> TransitiveTargets:
        return await Get(TransitiveTargets, TransitiveTargetsRequest, request)

    async def source_files_of(request: SourceFilesRequest) -> SourceFiles:
        return await Get(SourceFiles, SourceFilesRequest, request)

    async def source_paths_of(request: SourcesPathsRequest) -> SourcesPaths:
        return await Get(SourcesPaths, SourcesPathsRequest, request)

    async def hydrated_sources_of(request: HydrateSourcesRequest) -> HydratedSources:
        return await Get(HydratedSources, HydrateSourcesRequest, request)

    async def package_field_sets_of(request: FieldSetsPerTargetRequest) -> FieldSetsPerTarget:
        return await Get(FieldSetsPerTarget, FieldSetsPerTargetRequest, request)

    async def package_of(field_set: PackageFieldSet) -> BuiltPackage:
        return await Get(BuiltPackage, EnvironmentAwarePackageRequest(field_set))

    async def pex_request_of(
        field_set: PexBinaryFieldSet, environment: EnvironmentName
    ) -> PexRequest:
        found = await Get(
            PexFromTargetsRequestForBuiltPackage,
            {field_set: PexBinaryFieldSet, environment: EnvironmentName},
        )
        return await Get(
            PexRequest, {found.request: PexFromTargetsRequest, environment: EnvironmentName}
        )

    async def built_pex(request: PexRequest, environment: EnvironmentName) -> Pex:
        return await Get(Pex, {request: PexRequest, environment: EnvironmentName})

    async def pex_process(request: PexCliProcess, environment: EnvironmentName) -> Process:
        return await Get(Process, {request: PexCliProcess, environment: EnvironmentName})

    async def python_sources_of(request: PythonSourceFilesRequest) -> Digest:
        sources = await Get(PythonSourceFiles, PythonSourceFilesRequest, request)
        stripped = await Get(StrippedPythonSourceFiles, PythonSourceFiles, sources)
        return stripped.stripped_source_files.snapshot.digest
