"""Image archives: an image as one tar file, for OCI tools and for `docker load`.

Here a tar goes around complete blobs; `nixoci.tar` makes the tar that a layer is.
"""

from __future__ import annotations

import tarfile
from typing import Mapping, Sequence

from nixoci.atomic import OutputFile, replace_file
from nixoci.image import Image
from nixoci.json_output import canonical_json
from nixoci.layout import Blob, WriteLayer, blob_path, image_blobs, layout_files
from nixoci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.layer import Recipe

_END = bytes(2 * tarfile.BLOCKSIZE)


def write_oci_archive(
    path: str,
    image: Image,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> None:
    """Writes an image as an OCI archive, a tar of an OCI image layout, whole or not at all.

    :param recipes: one for each layer of the image, in the same order.
    :param references: names of the image; none is possible.
    :raises OutputError: the operating system refused.
    :raises InvalidInputError: the recipes are not those of the image. What `write_layer` raises
        passes through.
    """
    _write_archive(
        path, layout_files(image, references), image_blobs(image, recipes, write_layer)
    )


def write_docker_archive(
    path: str,
    image: Image,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> None:
    """As `write_oci_archive`, for `docker load` of every version too.

    Docker before 25 reads `manifest.json`, whose paths may be any in the archive. So it names the
    same blobs as the OCI image layout around it, as `docker save` does since 25.
    """
    description = {
        "Config": blob_path(image.config_digest),
        "RepoTags": [str(reference) for reference in references],
        "Layers": [blob_path(item.layer.digest) for item in image.layers],
    }
    files = {
        **layout_files(image, references),
        "manifest.json": canonical_json("manifest.json", [description]),
    }
    _write_archive(path, files, image_blobs(image, recipes, write_layer))


def _write_archive(path: str, files: Mapping[str, bytes], blobs: Sequence[Blob]) -> None:
    """Writes small files first, so that a reader of the stream knows early what comes."""
    with replace_file(path) as output:
        for name, content in sorted(files.items()):
            output.write(_header(name, size=len(content)))
            output.write(content)
            _pad(output, len(content))
        for directory in ("blobs", "blobs/sha256"):
            output.write(_header(directory, is_directory=True))
        for blob in blobs:
            output.write(_header(blob.path, size=blob.size))
            blob.stream(output.write)
            _pad(output, blob.size)
        output.write(_END)


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


def _pad(output: OutputFile, size: int) -> None:
    output.write(bytes(-size % tarfile.BLOCKSIZE))
