"""OCI image layouts: an image as a directory (OCI image spec, image-layout.md)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence, Union

from nixoci.atomic import OutputError, OutputFile, output_errors, replace_directory, sync_directory
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX, OCI
from nixoci.image.reference import Reference
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import canonical_json
from nixoci.layer.layer import Layer
from nixoci.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.image.index.image_index import AnyImage
    from nixoci.recipe.recipe import Recipe

#: Takes the next bytes of an output.
Write = Callable[[Union[bytes, memoryview]], object]

#: Streams the blob of a layer and raises if it is not the layer: `nixoci.layer.write.write_layer`.
WriteLayer = Callable[["Recipe", Layer, Callable[[memoryview], object]], object]

_LAYOUT_NAMES = {"oci-layout", "index.json", "blobs"}
_BUFFER_SIZE = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A file of a layout that is named by its digest.

    :param size: bytes.
    :param stream: hands all of the contents over, piece by piece.
    """

    digest: str
    size: int
    stream: Callable[[Write], None]

    @property
    def path(self) -> str:
        """Where it is in a layout: `blobs/sha256/<hex>`."""
        return blob_path(self.digest)


def blob_path(digest: str) -> str:
    """Returns where the blob of `digest` (`sha256:<hex>`) is in a layout."""
    return f"blobs/{digest.replace(':', '/')}"


def write_oci_layout(
    directory: str,
    image: AnyImage,
    recipes: Sequence[Recipe],
    write_layer: WriteLayer,
    references: Sequence[Reference] = (),
) -> int:
    """Writes an image, or an index with its images, as the OCI image layout `directory`, whole or not at all.

    A layout that is there is replaced, together with all images in it. Its layers are taken over
    where they are needed again, after their bytes were verified: they need no store then.

    :param recipes: one for each layer, in the same order; of an index, image after image.
    :param references: names of the image; none is possible.
    :returns: the inode of the directory.
    :raises OutputError: something else is at `directory`, or the operating system refused.
    :raises InvalidInputError: the recipes are not those of the image, or its manifest is of Docker's
        format. What `write_layer` raises passes through.
    """
    blobs = image_blobs(image, recipes, write_layer)
    files = layout_files(image, references)
    _require_replaceable(directory)
    with replace_directory(directory) as partial:
        blob_directory = os.path.join(partial, "blobs", "sha256")
        with output_errors(directory):
            os.makedirs(blob_directory)
        for name, content in files.items():
            with _new_file(os.path.join(partial, name), directory) as file:
                file.write(content)
        for blob in blobs:
            path = os.path.join(partial, blob.path)
            if not _take_over(os.path.join(directory, blob.path), path, blob):
                with _new_file(path, directory) as file:
                    blob.stream(file.write)
        with output_errors(directory):
            sync_directory(blob_directory)
            sync_directory(os.path.dirname(blob_directory))
            return os.stat(partial).st_ino


def layout_files(image: AnyImage, references: Sequence[Reference]) -> dict[str, bytes]:
    """Returns the files of a layout that are no blobs, by name.

    A reference's tag is the layout's name for the image (`org.opencontainers.image.ref.name`, by
    which skopeo, podman and umoci find it), since the spec means it to be short. Where two
    references have the same tag, the later one gets its full name. What containerd and
    Docker call the image is beside it (`io.containerd.image.name`).

    :raises InvalidInputError: the manifest of the image is of Docker's format.
    """
    for one in image.images:
        if one.format != OCI:
            raise InvalidInputError(
                "manifest format",
                one.format.name,
                "an OCI image layout has OCI manifests; write a docker-archive, or take the format "
                '"oci"',
            )
    manifests = []
    names: set[str] = set()
    for reference in references:
        name = str(reference) if reference.tag in names else reference.tag
        names.add(name)
        annotations = {
            "org.opencontainers.image.ref.name": name,
            "io.containerd.image.name": reference.full_name,
        }
        manifests.append({**image.descriptor(), "annotations": annotations})
    index = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE_INDEX,
        "manifests": manifests or [image.descriptor()],
    }
    return {
        "oci-layout": canonical_json("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        "index.json": canonical_json("index.json", index),
    }


def image_blobs(
    image: AnyImage, recipes: Sequence[Recipe], write_layer: WriteLayer
) -> tuple[Blob, ...]:
    """Returns the blobs of an image, each once: config, manifest, layers from the lowest.

    Of an index: configs, manifests and index, then the layers of all images.

    :param recipes: one for each layer; of an index, image after image.
    :raises InvalidInputError: there are not as many recipes as layers.
    """
    if len(recipes) != len(image.layers):
        raise InvalidInputError(
            "layer recipes", len(recipes), f"the image has {len(image.layers)} layers"
        )
    contents = {one.config_digest: one.config for one in image.images}
    contents.update((manifest.digest, manifest.content) for manifest in image.manifests)
    blobs = {digest: _blob_of_content(digest, content) for digest, content in contents.items()}
    for recipe, item in zip(recipes, image.layers):
        blobs.setdefault(item.layer.digest, _blob_of_layer(recipe, item.layer, write_layer))
    return tuple(blobs.values())


def _blob_of_content(digest: str, content: bytes) -> Blob:
    def stream(write: Write) -> None:
        write(content)

    return Blob(digest, len(content), stream)


def _blob_of_layer(recipe: Recipe, layer: Layer, write_layer: WriteLayer) -> Blob:
    def stream(write: Write) -> None:
        written = 0

        def count_and_write(data: memoryview) -> None:
            nonlocal written
            written += len(data)
            write(data)

        write_layer(recipe, layer, count_and_write)
        # A tar around the layer has its size already, so bytes that are missing or too many would
        # spoil whatever follows.
        if written != layer.size:
            raise InvalidInputError(
                "layer", layer.digest, f"it has {written} bytes and not {layer.size}"
            )

    return Blob(layer.digest, layer.size, stream)


class _new_file:
    """Context of a new file in an output; it is on the disk when its body ends."""

    def __init__(self, path: str, output: str) -> None:
        self._path = path
        self._output = output

    def __enter__(self) -> OutputFile:
        with output_errors(self._output):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o666)
        self._file = OutputFile(self._descriptor, self._output)
        return self._file

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self._file.sync()
        finally:
            os.close(self._descriptor)


def _take_over(old: str, new: str, blob: Blob) -> bool:
    """Links a blob of the old layout into the new one if it is what it should be.

    The link is made first and its bytes are read after that, so that what was verified is what
    is in the new layout.
    """
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        return False
    if _is_blob(new, blob):
        return True
    os.unlink(new)
    return False


def _is_blob(path: str, blob: Blob) -> bool:
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != blob.size:
            return False
        content_hash = sha256()
        buffer = memoryview(bytearray(_BUFFER_SIZE))
        with open(path, "rb", buffering=0) as file:
            while True:
                count = file.readinto(buffer)
                if not count:
                    return f"sha256:{content_hash.hexdigest()}" == blob.digest
                content_hash.update(buffer[:count])
    except OSError:
        return False


def _require_replaceable(directory: str) -> None:
    """Refuses to delete what is no layout: the user may have mistyped the path."""
    with output_errors(directory):
        try:
            status = os.lstat(directory)
        except FileNotFoundError:
            return
        names = set(os.listdir(directory)) if stat.S_ISDIR(status.st_mode) else None
        if names == set():
            return
        if names is not None and names <= _LAYOUT_NAMES:
            if _layout_version(os.path.join(directory, "oci-layout")) is not None:
                return
    raise OutputError(
        directory, "it exists and is no OCI image layout, so delete it or take another path"
    )


def _layout_version(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            document = parse_object("oci-layout", file.read(_BUFFER_SIZE))
        version: str = get_field(document, "imageLayoutVersion", str)
        return version
    except (OSError, NixOciError):
        return None
