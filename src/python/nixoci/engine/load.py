"""Loading: an engine gets an image from the store, and takes only the layers that it lacks.

The engine pulls from a registry that exists for this moment, on the loopback interface. An engine
in a virtual machine or on another host cannot reach it. It shows by not asking anything, and then
gets the whole image as a stream on the standard input of `docker load` or `podman load`.

Layers are given uncompressed, whatever registries get: the image's ID is the same, the bytes go
nowhere, and an engine that does not know zstd takes them too.
"""

from __future__ import annotations

import secrets
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Callable, Iterator, Optional, Sequence, Union

from nixoci.atomic import unwinding_signals
from nixoci.engine.client import Engine, quote_output
from nixoci.engine.errors import EngineFailedError
from nixoci.errors import NixOciError
from nixoci.image.archive import stream_docker_archive
from nixoci.image.descriptor import Descriptor
from nixoci.image.image import Image
from nixoci.image.layout import WriteLayer
from nixoci.image.manifest_format import OCI
from nixoci.image.reference import Reference
from nixoci.image.uncompressed import uncompressed
from nixoci.registry.server.served_images import local_references, serve_images
from nixoci.registry.server.server import ReadOnlyRegistry


def load_image(
    engine: Engine,
    descriptor: Descriptor,
    write_layer: WriteLayer,
    *,
    references: Sequence[Reference] = (),
    log: Callable[[str], object] = lambda line: None,
) -> str:
    """Makes sure that the engine has an image, under its names, and returns the engine's ID of it.

    An engine that has it is asked for nothing but the names. Whatever happens, no other name of the
    image is left.

    :param references: names for the image, see `local_references`.
    :param log: as of `ReadOnlyRegistry`.
    :raises EngineFailedError: the engine did not take the image.
    :raises NixOciError: what `write_layer` raised, since that says more than the engine can.
    """
    # An engine that pulled the image may know it by the manifest with compressed layers.
    known_as = (descriptor.image.config_digest, descriptor.image.digest)
    descriptor = replace(descriptor, image=uncompressed(descriptor.image))
    with unwinding_signals():
        digests = tuple(dict.fromkeys((*known_as, descriptor.image.digest)))
        identifier = engine.image_id(digests, needed_manifest_type(descriptor.image))
        if identifier is not None:
            _name(engine, identifier, local_references(descriptor, references))
            return identifier
        with _pulled(engine, descriptor, write_layer, log) as reached:
            if not reached:
                log(f"{engine.name} does not reach this machine's loopback: it gets an archive")
                _load_archive(engine, descriptor, write_layer)
            identifier = engine.image_id(digests)
            if identifier is None:
                raise EngineFailedError(
                    engine.program, "to take the image", f"it has no image {digests[0]} now"
                )
            # Before the name of the pull goes, since docker removes an image with its last name.
            _name(engine, identifier, local_references(descriptor, references))
            return identifier


def needed_manifest_type(image: Image) -> Optional[str]:
    """Returns the media type of the manifest with which an engine must have an image; None for any.

    Podman does not see the healthcheck of an image that it got with an OCI manifest, whatever its ID.
    """
    return image.media_type if image.format != OCI and image.has_healthcheck else None


@contextmanager
def _pulled(
    engine: Engine, descriptor: Descriptor, write_layer: WriteLayer, log: Callable[[str], object]
) -> Iterator[bool]:
    """Lets the engine pull from us; the name that it pulled by exists while the body runs.

    :returns: whether the engine reaches us; if it does not, nothing was pulled.
    """
    # Another load may run at the same time, and after a crash the port may be somebody else's.
    name = Reference(f"nixoci-{secrets.token_hex(8)}")
    errors: list[NixOciError] = []
    failed = threading.Event()

    def fail(error: NixOciError) -> None:
        errors.append(error)
        failed.set()

    repositories = serve_images([(descriptor, [name])], write_layer)
    with ReadOnlyRegistry(repositories, log=log, failed=fail) as server:
        pull_name = f"{server.address}/{name}"
        options = ["--tls-verify=false"] if engine.name == "podman" else []
        try:
            output = _run_until(
                [engine.program, "pull", "--quiet", *options, pull_name], failed
            )
            if errors:
                raise errors[0]
            if output is not None and server.was_asked:
                raise EngineFailedError(engine.program, "to pull the image", output)
            yield output is None
        finally:
            _forget(engine, pull_name)


def _run_until(words: Sequence[str], failed: threading.Event) -> Optional[str]:
    """Runs a program to its end, or until `failed` is set: it would only try again.

    :returns: None if it succeeded, else the end of what it printed.
    """
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        ended = threading.Event()

        def end_early() -> None:
            failed.wait()
            if not ended.is_set():
                process.terminate()

        threading.Thread(target=end_early, daemon=True).start()
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
        finally:
            ended.set()
            # Lets the thread end.
            failed.set()
    return quote_output(output) if process.returncode else None


def _load_archive(engine: Engine, descriptor: Descriptor, write_layer: WriteLayer) -> None:
    with subprocess.Popen(
        [engine.program, "load", "--quiet"],
        # Nothing is kept back that would have to be written after a failure.
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        archive: IO[bytes] = process.stdin
        printed: IO[bytes] = process.stdout
        output: list[bytes] = []
        reader = threading.Thread(target=lambda: output.append(printed.read()))
        reader.start()

        def write(data: Union[bytes, memoryview]) -> None:
            view = memoryview(data)
            while view:
                view = view[archive.write(view) :]

        try:
            try:
                stream_docker_archive(write, descriptor.image, descriptor.recipes, write_layer)
                archive.close()
            except BrokenPipeError:
                # It says why when it ends.
                pass
            process.wait()
        except BaseException:
            # Before its input ends, since an archive that is cut may look complete to it.
            process.kill()
            raise
        finally:
            reader.join()
    if process.returncode:
        raise EngineFailedError(
            engine.program, "to load the image", quote_output(b"".join(output))
        )


def _name(engine: Engine, identifier: str, references: Sequence[Reference]) -> None:
    for reference in references:
        engine.ask(f"to name the image {reference}", "tag", identifier, str(reference))


def _forget(engine: Engine, name: str) -> None:
    """Takes the name of a pull away, if the pull has made it."""
    words = ["untag", name, name] if engine.name == "podman" else ["rmi", "--no-prune", name]
    subprocess.run(
        [engine.program, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
