"""Programs that extract a tar, each into a directory of its own."""

from __future__ import annotations

import io
import subprocess
import tarfile

from tests.integration.support.tools import tool


def extract_with_gnu_tar(stream: bytes, target: str) -> str:
    command = [tool("tar"), "--extract", "--preserve-permissions", f"--directory={target}"]
    result = subprocess.run(command, input=stream, check=True, stderr=subprocess.PIPE)
    # It says once that absolute names become relative ones.
    notice = f"{command[0]}: Removing leading `/' from member names\n"
    assert result.stderr.decode() in ("", notice)
    return target


def extract_with_tarfile(stream: bytes, target: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(stream), mode="r|") as archive:
        # The interpreter's default filter drops setuid bits, which are part of the comparison.
        archive.extraction_filter = lambda member, path: member
        archive.extractall(target, members=map(with_relative_name, archive))
    return target


def with_relative_name(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """tarfile would extract absolute names to where they say."""
    member.name = member.name.lstrip("/") or "."
    return member
