"""Answers that batches leave get into the caches of Pants, whichever goal they were worked out for."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_BUILD = """\
nix_package(name="one", source="app.nix", attr="one")
nix_package(name="two", source="app.nix", attr="two")
nix_package(name="certificates", source="app.nix", attr="certificates")
nix_package(name="checked", source="app.nix", attr="checked")
nix_package(name="planned", source="app.nix", attr="planned")
nix_image(
    name="image", packages=[":one", ":two"], ca_certificates=[":certificates"], layer_plan=":plan"
)
nix_image(name="other", packages=[":planned"], layer_plan=":plan")
nix_layer_plan(name="plan", images=[":image", ":other"])
"""

_APP = """\
{ system }:
let
  run = name: script: derivation {
    inherit name system; builder = "/bin/sh"; args = [ "-e" "-c" script ]; word = "WORD";
  };
in {
  one = run "one" "echo $word 1 > $out";
  two = run "two" "echo $word 2 > $out";
  planned = run "planned" "echo $word 3 > $out";
  checked = run "checked" "exit 1";
  certificates = run "certificates"
    "printf '%s\\n' '-----BEGIN CERTIFICATE-----' MAEA '-----END CERTIFICATE-----' > $out; : $word";
}
"""


def test_nothing_is_asked_twice(machine_nix: Nix, tmp_path: Path) -> None:
    """What is told at once to who asks is kept all the same: also an evaluation that only `check` needs, and
    what a plan needs of an image that is not packaged."""
    monorepo = Monorepo.create(tmp_path, machine_nix)
    monorepo.write("app/app.nix", _APP.replace("WORD", uuid.uuid4().hex))
    monorepo.write("app/BUILD", _BUILD)
    command = ("check", "package", "app:checked", "app:image")
    first = monorepo.pants("-ldebug", *command)
    assert len(first.processes("Build app:")) == 4
    digest = monorepo.descriptor("app/image.image.json")["digest"]
    # One question for each answer finds none, and one keeps it.
    asked = [step for step in first.stderr.splitlines() if " Starting: Look up " in step]
    assert len([step for step in asked if "the evaluation of app:" in step]) == 2 * 5
    assert len([step for step in asked if "the closure of app:" in step]) == 2 * 4

    # As on another machine with the same remote cache.
    shutil.rmtree(monorepo.cache / "named")
    again = monorepo.pants(*command)
    assert again.started == () and "local_execution_requests" not in again.counters
    assert monorepo.descriptor("app/image.image.json")["digest"] == digest
