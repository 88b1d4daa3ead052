"""References: the names under which registries and engines know an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.image.authority import parse_authority

#: The grammar of the distribution specification and of Docker's reference package.
_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_MAX_REPOSITORY_LENGTH = 255

#: What Docker reads a reference without a registry as.
_DEFAULT_HOST = "docker.io"


@dataclass(frozen=True)
class Reference:
    """A repository, with or without its registry, and a tag: `ghcr.io/acme/api:1.2`.

    :raises InvalidInputError: one of the two is not valid.
    """

    repository: str
    tag: str = "latest"

    def __post_init__(self) -> None:
        host, path = self._split()
        if host is not None and not (_HOST.fullmatch(host) and parse_authority(host)):
            raise InvalidInputError(
                "registry", host, "expected a host name and perhaps a port (1 to 65535)"
            )
        if not all(_PART.fullmatch(part) for part in path.split("/")):
            raise InvalidInputError(
                "repository",
                self.repository,
                "expected lower-case letters and digits, with single . _ or - between them,"
                " in parts that a slash separates",
            )
        if len(self.repository) > _MAX_REPOSITORY_LENGTH or _IMAGE_ID.fullmatch(self.repository):
            raise InvalidInputError(
                "repository",
                self.repository,
                f"it is longer than {_MAX_REPOSITORY_LENGTH} characters or an image ID",
            )
        if not _TAG.fullmatch(self.tag):
            raise InvalidInputError(
                "tag", self.tag, "expected 1 to 128 letters, digits, _ . or -, no . or - first"
            )

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parses `repository` or `repository:tag`; the tag is `latest` if there is none.

        :raises InvalidInputError: not such a text. Digests (`…@sha256:…`) are none.
        """
        directory, slash, last = text.rpartition("/")
        name, colon, tag = last.partition(":")
        repository = f"{directory}{slash}{name}"
        return cls(repository, tag) if colon else cls(repository)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def full_name(self) -> str:
        """The reference with its registry, as containerd names images."""
        host, path = self._split()
        if host is None:
            host, path = _DEFAULT_HOST, path if "/" in path else f"library/{path}"
        return f"{host}/{path}:{self.tag}"

    @property
    def path(self) -> str:
        """The repository without its registry."""
        return self._split()[1]

    def _split(self) -> tuple[Optional[str], str]:
        """The registry, if the first part can be one, and the rest."""
        first, slash, rest = self.repository.partition("/")
        if slash and (first == "localhost" or first != first.lower() or re.search("[.:]", first)):
            return first, rest
        return None, self.repository
