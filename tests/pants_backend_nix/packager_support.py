"""Packages targets in a Pants that runs inside of the test, with this machine's real Nix."""

from __future__ import annotations

import json
import os
import textwrap
from typing import Any, Mapping, Optional, Sequence

import pytest
from pants.backend.shell import register as shell
from pants.core import target_types
from pants.core.goals import package
from pants.core.goals.package import BuiltPackage
from pants.core.target_types import (
    ArchiveTarget,
    FilesGeneratorTarget,
    FileTarget,
    GenericTarget,
    RelocatedFiles,
)
from pants.core.util_rules import archive, distdir, system_binaries
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import Digest, DigestContents
from pants.engine.internals.parametrize import Parametrize
from pants.engine.internals.scheduler import ExecutionError
from pants.engine.target import Dependencies, DependenciesRequest
from pants.testutil.rule_runner import QueryRule, RuleRunner

from pants_backend_nix import register
from pants_backend_nix.goals.package import NixImagePackageFieldSet, NixIndexPackageFieldSet
from tests.integration.support.nix import Nix


class Packager:
    """A Pants with the plugin, the targets of its core that have files, and the shell backend.

    :param nix: None for images without a Nix package.
    :param files: written beside each BUILD file, by name. Those that begin with `#!` are executable.
    :param queries: what else a test asks for.
    """

    def __init__(
        self, nix: Optional[Nix], files: Mapping[str, str], queries: Sequence[QueryRule] = ()
    ) -> None:
        self.nix = nix
        self.files = dict(files)
        self.runner = RuleRunner(
            rules=[
                *register.rules(),
                *package.rules(),
                *distdir.rules(),
                *archive.rules(),
                *system_binaries.rules(),
                *target_types.rules(),
                *shell.rules(),
                QueryRule(BuiltPackage, [NixImagePackageFieldSet]),
                QueryRule(BuiltPackage, [NixIndexPackageFieldSet]),
                QueryRule(DigestContents, [Digest]),
                QueryRule(Addresses, [DependenciesRequest]),
                *queries,
            ],
            target_types=[
                *register.target_types(),
                *shell.target_types(),
                ArchiveTarget,
                FileTarget,
                FilesGeneratorTarget,
                GenericTarget,
                RelocatedFiles,
            ],
            objects={**register.build_file_aliases().objects, "parametrize": Parametrize},
            preserve_tmpdirs=False,
        )
        self.number = 0

    def _start(
        self, build: str, environment: Mapping[str, Optional[str]], options: tuple[str, ...]
    ) -> None:
        """Writes a directory with a BUILD file, in which the target `image` is looked for.

        :param environment: changes of it; what is None is not set.
        """
        of_nix = os.environ if self.nix is None else self.nix.environment()
        chosen = {**of_nix, "HOME": os.environ["HOME"], **environment}
        variables = {name: value for name, value in chosen.items() if value is not None}
        self.runner.set_options(options, env=variables)
        # Each case has an own directory: what another case did is not looked at again.
        self.number += 1
        files = {"BUILD": textwrap.dedent(build).replace("DIR", self.directory), **self.files}
        self.runner.write_files({f"{self.directory}/{name}": text for name, text in files.items()})
        for name, text in files.items():
            if text.startswith("#!"):
                os.chmod(os.path.join(self.runner.build_root, self.directory, name), 0o755)

    @property
    def directory(self) -> str:
        """Where the BUILD file of the last case is."""
        return f"case{self.number}"

    def _built(
        self,
        build: str,
        environment: Mapping[str, Optional[str]],
        options: tuple[str, ...],
        parameters: Mapping[str, str],
    ) -> BuiltPackage:
        self._start(build, environment, options)
        target = self.runner.get_target(
            Address(self.directory, target_name="image", parameters=parameters)
        )
        is_index = NixIndexPackageFieldSet.is_applicable(target)
        field_set = NixIndexPackageFieldSet if is_index else NixImagePackageFieldSet
        return self.runner.request(BuiltPackage, [field_set.create(target)])

    def dependencies(
        self, build: str, name: str = "image", parameters: Mapping[str, str] = {}
    ) -> set[str]:
        """Returns what a target depends on, as `:name`."""
        self._start(build, {}, ())
        target = self.runner.get_target(
            Address(self.directory, target_name=name, parameters=parameters)
        )
        found = self.runner.request(Addresses, [DependenciesRequest(target.get(Dependencies))])
        return {address.spec.replace(self.directory, "") for address in found}

    def descriptor(
        self,
        build: str,
        *,
        environment: Mapping[str, Optional[str]] = {},
        options: tuple[str, ...] = (),
        parameters: Mapping[str, str] = {},
    ) -> dict[str, Any]:
        """Packages the target `image` of a BUILD file and returns its descriptor.

        :param build: in which `DIR` is the directory of the file.
        :param parameters: of the target, if it is parametrized.
        """
        built = self._built(build, environment, options, parameters)
        (file,) = self.runner.request(DigestContents, [built.digest])
        return json.loads(file.content)

    def error(
        self,
        build: str,
        *,
        environment: Mapping[str, Optional[str]] = {},
        options: tuple[str, ...] = (),
        parameters: Mapping[str, str] = {},
    ) -> str:
        """Packages the target `image` and returns the error on one line; its directory is `DIR`."""
        with pytest.raises(ExecutionError) as caught:
            self._built(build, environment, options, parameters)
        (error,) = caught.value.wrapped_exceptions
        text = " ".join(str(error).split())
        # What Pants prints is the message: a traceback of Nix's or the core's must not be in it.
        assert "Traceback" not in text
        return text.replace(self.directory, "DIR")
