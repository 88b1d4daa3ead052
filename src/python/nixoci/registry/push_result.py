"""What a push did, for scripts and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.json_output import readable_json

#: What happened to a blob.
UPLOADED = "uploaded"
MOUNTED = "mounted"
PRESENT = "present"

#: What happened to a tag.
WRITTEN = "written"
UNCHANGED = "unchanged"
PENDING = "pending"


@dataclass(frozen=True)
class PushedBlob:
    """A layer or the config, in one repository.

    :param repository: with its registry.
    :param size: bytes.
    :param outcome: `uploaded`, `mounted` (taken over from `source`) or `present` (it was there).
    :param source: the repository it was mounted from, with its registry.
    """

    repository: str
    digest: str
    size: int
    outcome: str
    source: Optional[str] = None


@dataclass(frozen=True)
class PushedTag:
    """A tag of a repository.

    :param reference: as it was asked for, `repository:tag`.
    :param repository: with its registry.
    :param outcome: `written`; `unchanged` where the registry had this very image there already; `pending`
        if somebody else is to write it, now that the repository has the image.
    :param reason: why, in words.
    """

    reference: str
    repository: str
    tag: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class PushResult:
    """A push that succeeded.

    :param digest: of the manifest, `sha256:<hex>`.
    :param tags: in the order in which they were asked for.
    :param blobs: of the repositories that anything had to be written to.
    :param homes: registry, digest and name of a repository for each blob that is known to be there now.
    """

    digest: str
    tags: tuple[PushedTag, ...]
    blobs: tuple[PushedBlob, ...]
    homes: tuple[tuple[str, str, str], ...] = ()

    def to_json(self) -> bytes:
        """Returns the result as JSON, with the names of the attributes."""
        document = {
            "digest": self.digest,
            "tags": [{**vars(tag), "digest": self.digest} for tag in self.tags],
            "blobs": [vars(blob) for blob in self.blobs],
        }
        return readable_json("push result", document)

    def summary(self, label: str = "") -> str:
        """Returns one line for each tag: name, digest, what happened and why.

        :param label: what each line begins with.
        """
        start = f"{label}: " if label else ""
        return "\n".join(
            f"{start}{tag.repository}:{tag.tag}@{self.digest} {tag.outcome}: {tag.reason}"
            for tag in self.tags
        )
