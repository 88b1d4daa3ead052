"""Image archives: an image as one tar file, for OCI tools and for `docker load`.

Here a tar goes around complete blobs; `nixoci.tar.pack` makes the tar that a layer is.
"""

from __future__ import annotations

import tarfile
from typing import Mapping, Sequence

from nixoci.atomic import replace_file
from nixoci.image.image import Image
from nixoci.image.layout import Blob, Write, WriteLayer, blob_path, image_blobs, layout_files
from nixoci.image.reference import Reference
from nixoci.image.uncompressed import uncompressed
from nixoci.json_output import canonical_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.image.index.image_index import AnyImage
    from nixoci.recipe.recipe import Recipe

_END = bytes(2 * tarfile.BLOCKSIZE)


def write_oci_archive(
    path: str,
    image: AnyImage,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> int:
    """Writes an image, or an index with its images, as an OCI archive: a tar of an OCI image layout, whole or not at
    all.

    :param recipes: one for each layer, in the same order; of an index, image after image.
    :param references: names of the image; none is possible.
    :returns: the inode of the archive.
    :raises OutputError: the operating system refused.
    :raises InvalidInputError: the recipes are not those of the image, or its manifest is of Docker's
        format. What `write_layer` raises passes through.
    """
    return _write_archive(
        path, layout_files(image, references), image_blobs(image, recipes, write_layer)
    )


def write_docker_archive(
    path: str,
    image: Image,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> int:
    """Writes an image as a Docker archive, for `docker load` and `podman load`, whole or not at all.

    Its layers are uncompressed, which every version of Docker reads. It has no manifest, so the format of
    the image's does not matter. Parameters, result and errors are those of `write_oci_archive`.
    """
    files, blobs = _docker_archive(image, recipes, write_layer, references)
    return _write_archive(path, files, blobs)


def stream_docker_archive(
    write: Write,
    image: Image,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> None:
    """Streams what `write_docker_archive` writes, for example into `docker load`.

    :param write: takes the archive piece by piece. What it raises passes through.
    :raises InvalidInputError: as `write_oci_archive`.
    """
    _stream_archive(write, *_docker_archive(image, recipes, write_layer, references))


def _docker_archive(
    image: Image,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference],
) -> tuple[dict[str, bytes], tuple[Blob, ...]]:
    """Returns the small files of a Docker archive, by name, and its blobs: config and layers.

    `manifest.json` may name any paths of the archive; these are the ones that `docker save` has chosen
    since 25. Unlike there, no OCI image layout is around them: podman would read the image from it, and drop
    the healthcheck.
    """
    image = uncompressed(image)
    description = {
        "Config": blob_path(image.config_digest),
        "RepoTags": [str(reference) for reference in references],
        "Layers": [blob_path(item.layer.digest) for item in image.layers],
    }
    files = {"manifest.json": canonical_json("manifest.json", [description])}
    blobs = image_blobs(image, recipes, write_layer)
    return files, tuple(blob for blob in blobs if blob.digest != image.digest)


def _write_archive(path: str, files: Mapping[str, bytes], blobs: Sequence[Blob]) -> int:
    with replace_file(path) as output:
        _stream_archive(output.write, files, blobs)
        return output.inode


def _stream_archive(write: Write, files: Mapping[str, bytes], blobs: Sequence[Blob]) -> None:
    """Streams small files first, so that a reader of the stream knows early what comes."""
    for name, content in sorted(files.items()):
        write(_header(name, size=len(content)))
        write(content)
        _pad(write, len(content))
    for directory in ("blobs", "blobs/sha256"):
        write(_header(directory, is_directory=True))
    for blob in blobs:
        write(_header(blob.path, size=blob.size))
        blob.stream(write)
        _pad(write, blob.size)
    write(_END)


def _header(name: str, *, size: int = 0, is_directory: bool = False) -> bytes:
    """The header of a tar entry that is the same on every machine."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o755 if is_directory else 0o644
    info.type = tarfile.DIRTYPE if is_directory else tarfile.REGTYPE
    # As for all files of a Nix store.
    info.mtime = 1
    # Only this format has sizes of 8 GiB and more in a way that every reader knows.
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _pad(write: Write, size: int) -> None:
    write(bytes(-size % tarfile.BLOCKSIZE))
