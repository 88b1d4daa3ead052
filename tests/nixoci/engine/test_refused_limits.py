"""Tests of `nixoci.engine.refused_limits`, with what real engines print."""

from __future__ import annotations

import resource

import pytest
from nixoci.engine.refused_limits import way_out_of_refused_limits

_RUNC = (
    "Error: runc: runc create failed: unable to start container process: error during container init: "
    "error setting rlimits for ready process: error setting rlimit type 6: operation not permitted: "
    "OCI permission denied"
)
_CRUN = (
    "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"
)
_DOCKER = (
    "docker: Error response from daemon: failed to create task for container: failed to create shim task: "
    "OCI runtime create failed: runc create failed: unable to start container process: error during "
    "container init: error setting rlimits for ready process: error setting rlimit type 7: operation not "
    "permitted\n\nRun 'docker run --help' for more information"
)


@pytest.mark.parametrize(
    "engine,output,named,place",
    (
        ("podman", _RUNC, "(rlimit type 6)", "`[containers]` in ~/.config/containers/containers.conf"),
        ("podman", _CRUN, "(RLIMIT_NOFILE)", "`default_ulimits = ["),
        ("podman", _CRUN.replace("NOFILE", "NOSUCH"), "(RLIMIT_NOSUCH)", "`default_ulimits = ["),
        ("docker", _DOCKER, "(rlimit type 7)", "`default-ulimits` in the configuration of its daemon"),
    ),
)
def test_refusals(engine: str, output: str, named: str, place: str) -> None:
    """The limits that would do are those of this process."""
    advice = way_out_of_refused_limits(engine, f"something before\n{output}\n")
    assert advice is not None and advice.isprintable()
    assert named in advice and place in advice and "[nix-images].run_args" in advice
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        assert f"nofile={hard}:{hard}" in advice


@pytest.mark.parametrize(
    "output",
    (
        _DOCKER.replace("type 7", f"type {resource.RLIMIT_CORE}"),
        _CRUN.replace("NOFILE", "CORE"),
    ),
)
def test_other_limits(output: str) -> None:
    """One that is not among the usual two."""
    advice = way_out_of_refused_limits("podman", output)
    assert advice is not None
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert (f"core={hard}:{hard}" in advice) == (hard != resource.RLIM_INFINITY)


@pytest.mark.parametrize(
    "output",
    (
        "",
        "Error: crun: executable file `nothing` not found in $PATH: No such file or directory",
        "mount: operation not permitted",
        "setrlimit is the matter\nsomething else: operation not permitted",
    ),
)
def test_other_failures(output: str) -> None:
    assert way_out_of_refused_limits("podman", output) is None
