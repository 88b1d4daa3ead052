"""Image → where its layers may be copied from, and how to get in there."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import Iterator, Mapping, Sequence

from nixoci.errors import InvalidInputError
from nixoci.image.reference import Reference
from nixoci.json_output import canonical_json

from pants_backend_nix.errors import NixImageError

#: What stands for the repository name of an image in the option `copy_from`.
_PLACEHOLDER = "{repository}"


def copy_sources(copy_from: Sequence[str], references: Sequence[Reference]) -> tuple[str, ...]:
    """Returns the options of `nixoci` that say where layers may be copied from.

    :param copy_from: the option of that name.
    :param references: the names of the image.
    :raises NixImageError: an entry is no name of a repository.
    """
    names = dict.fromkeys(reference.path for reference in references)
    found: dict[str, None] = {}
    for entry in copy_from:
        for name in names if _PLACEHOLDER in entry else ("",):
            repository = entry.replace(_PLACEHOLDER, name)
            try:
                Reference(repository)
            except InvalidInputError as error:
                raise NixImageError(
                    f"The option `[nix-images].copy_from` has {entry!r}, which is no repository. {error} It may have "
                    f"the placeholder `{_PLACEHOLDER}`."
                ) from None
            found[repository] = None
    return tuple(f"--copy-from={repository}" for repository in found)


@contextmanager
def environment_file(directory: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Writes a file with the environment for registries, which may have secrets, and removes it at the end.

    A process that Pants runs in a sandbox would have its environment in what Pants stores.

    :param directory: in which it is made; only its owner can read it.
    """
    os.makedirs(directory, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=directory, suffix=".json")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(canonical_json("environment", {str(k): str(v) for k, v in environment.items()}))
        yield path
    finally:
        os.unlink(path)
