"""Commands of the core that the user watches: they have the terminal, and no cache knows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from nixoci.image.index.descriptor import any_descriptor_json
from nixoci.image.reference import Reference
from nixoci.store.tools import PACKAGES_PYTHON_LINK, PYTHON_LINK, TOOLS_FILE
from pants.engine.fs import EMPTY_DIGEST, Digest, FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import create, implicitly, merge, prefix, rule
from pants_backend_nix.rules.core.contents import contents_arguments, contents_inputs
from pants_backend_nix.rules.core.start import PROGRAMS, TOOLS_CACHE
from pants_backend_nix.rules.core.tools import (
    SetUpTools,
    ToolsRequest,
    describe_tools,
    set_up_tools,
)
from pants_backend_nix.rules.core.zipapp import ZIPAPP, pack_whole_zipapp
from pants_backend_nix.rules.delivery.index import Built
from pants_backend_nix.rules.delivery.origins import ORIGINS_FILE, OriginsRequest, collect_origins

#: `{chroot}`, which Pants replaces, says where the sandbox is: the command runs elsewhere.
_START = f"""\
sandbox=$1
shift
python=$sandbox/{TOOLS_CACHE}/{{link}}
program=$sandbox/{PROGRAMS}/{{program}}
set -- --tools "$sandbox/{TOOLS_CACHE}/{TOOLS_FILE}" "$@"
[ -e "$program" ] && exec "$python" -I -S "$program" "$@"
exec "$python" -I -S "$sandbox/{ZIPAPP}" --unpack "$program" "$@"
"""

_DESCRIPTOR = "image.json"
_KEPT = "kept"


@dataclass(frozen=True)
class ForegroundRequest:
    """A command of the core that gets an image or an index.

    :param command: the name of the command.
    :param session: in which it runs. Nix is found before; as in `RealiseRequest`, a later session must not find it
        once more only because it looks at what an earlier one asked for.
    :param arguments: that follow the descriptor and its origins.
    :param compresses: it makes layers as registries get them.
    :param files: to put into the sandbox; `{chroot}` stands for it in `arguments`.
    :param contents: of files in layers, those that the command may have to read.
    """

    command: str
    session: int
    image: Built
    references: tuple[Reference, ...]
    arguments: tuple[str, ...] = ()
    files: tuple[FileContent, ...] = ()
    contents: Digest = EMPTY_DIGEST
    compresses: bool = False


@dataclass(frozen=True)
class Foreground:
    """What an interactive process is made of."""

    argv: tuple[str, ...]
    digest: Digest
    append_only_caches: Mapping[str, str]
    immutable_input_digests: Mapping[str, Digest]


@rule(desc="Prepare command")
async def prepare_foreground(request: ForegroundRequest) -> Foreground:
    image = request.image
    zipapp = await pack_whole_zipapp(**implicitly())
    tools = await describe_tools(ToolsRequest(), **implicitly())
    # Nobody could look for them while the command runs.
    await set_up_tools(SetUpTools(tools, request.session, image.has_store_paths), **implicitly())
    origins = await collect_origins(OriginsRequest(image.packages), **implicitly())
    descriptor = any_descriptor_json(image.image, image.recipes, references=request.references)
    kept = await prefix(image.kept, _KEPT)
    compresses = request.compresses and image.image.is_compressed
    start = _START.format(
        link=PACKAGES_PYTHON_LINK if compresses else PYTHON_LINK, program=zipapp.digest.fingerprint
    )
    files = await create([FileContent(_DESCRIPTOR, descriptor), *request.files])
    return Foreground(
        (
            *("/bin/sh", "-c", start, "nixoci", "{chroot}"),
            request.command,
            f"{{chroot}}/{_DESCRIPTOR}",
            f"--origins={{chroot}}/{ORIGINS_FILE}",
            f"--kept-layers={{chroot}}/{_KEPT}",
            *contents_arguments(request.contents, "{chroot}/"),
            *request.arguments,
        ),
        await merge((zipapp.digest, origins.digest, kept, files)),
        {tools.cache: TOOLS_CACHE},
        contents_inputs(request.contents),
    )


def rules():
    return collect_rules()
