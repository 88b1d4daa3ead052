"""Packages targets in a Pants that runs inside of the test, with this machine's real Nix."""

from __future__ import annotations

import json
import os
import textwrap
from typing import Any, Mapping

import pytest
from pants.core.goals import package
from pants.core.goals.package import BuiltPackage
from pants.core.util_rules import distdir
from pants.engine.addresses import Address
from pants.engine.fs import Digest, DigestContents
from pants.engine.internals.scheduler import ExecutionError
from pants.testutil.rule_runner import QueryRule, RuleRunner

from pants_backend_nix import register
from pants_backend_nix.goals.package import NixImagePackageFieldSet
from tests.integration.support.nix import Nix


class Packager:
    """A Pants with the plugin.

    :param files: written beside each BUILD file, by name.
    """

    def __init__(self, nix: Nix, files: Mapping[str, str]) -> None:
        self.nix = nix
        self.files = dict(files)
        self.runner = RuleRunner(
            rules=[
                *register.rules(),
                *package.rules(),
                *distdir.rules(),
                QueryRule(BuiltPackage, [NixImagePackageFieldSet]),
                QueryRule(DigestContents, [Digest]),
            ],
            target_types=register.target_types(),
            preserve_tmpdirs=False,
        )
        self.number = 0

    def _built(
        self, build: str, environment: Mapping[str, str], options: tuple[str, ...]
    ) -> BuiltPackage:
        variables = {**self.nix.environment(), "HOME": os.environ["HOME"], **environment}
        self.runner.set_options(options, env=variables)
        # Each case has an own directory: what another case did is not looked at again.
        self.number += 1
        directory = f"case{self.number}"
        files = {"BUILD": textwrap.dedent(build), **self.files}
        self.runner.write_files({f"{directory}/{name}": text for name, text in files.items()})
        target = self.runner.get_target(Address(directory, target_name="image"))
        return self.runner.request(BuiltPackage, [NixImagePackageFieldSet.create(target)])

    def descriptor(self, build: str, *, options: tuple[str, ...] = ()) -> dict[str, Any]:
        """Packages the target `image` of a BUILD file and returns its descriptor."""
        built = self._built(build, {}, options)
        (file,) = self.runner.request(DigestContents, [built.digest])
        return json.loads(file.content)

    def error(
        self, build: str, *, environment: Mapping[str, str] = {}, options: tuple[str, ...] = ()
    ) -> str:
        """Packages the target `image` and returns the error on one line; its directory is `DIR`."""
        with pytest.raises(ExecutionError) as caught:
            self._built(build, environment, options)
        (error,) = caught.value.wrapped_exceptions
        text = " ".join(str(error).split())
        # What Pants prints is the message: a traceback of Nix's or the core's must not be in it.
        assert "Traceback" not in text
        return text.replace(f"case{self.number}", "DIR")
