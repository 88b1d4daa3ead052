"""A Nix file of the repository → the paths that it refers to, once for each state of it."""

from __future__ import annotations

from dataclasses import dataclass

from pants.engine.fs import Digest, PathGlobs
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import contents, files_matching, implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.infer import NO_INFERENCE
from pants_backend_nix.rules.inference.grammar import NixParserError
from pants_backend_nix.rules.inference.paths import references_of, settings_of_flake
from pants_backend_nix.rules.inference.references import PathReference


@dataclass(frozen=True)
class ParseNixFileRequest:
    """:param path: of the file, from the root of the repository.
    :param digest: a tree with the file at that path: what is found is kept for it.
    """

    path: str
    digest: Digest


@dataclass(frozen=True)
class ParsedNixFile:
    """:param references: in the order of their lines, without those that a comment leaves out.
    :param settings: names of the settings of Nix that a flake has.
    """

    references: tuple[PathReference, ...]
    settings: tuple[str, ...] = ()


@rule(desc="Parse Nix file")
async def parse_nix_file(request: ParseNixFileRequest) -> ParsedNixFile:
    texts = [
        file.content for file in await contents(request.digest) if file.path == request.path
    ]
    if not texts:
        return ParsedNixFile(())
    try:
        return ParsedNixFile(
            references_of(texts[0], request.path, NO_INFERENCE.encode()),
            settings_of_flake(texts[0], request.path),
        )
    except NixParserError as error:
        raise NixImageError(
            f"Pants cannot infer the dependencies of {request.path}. {error} The plugin's wheel requires it; where "
            "the plugin comes without its wheel, add it to `[GLOBAL].plugins`, or set `[nix-infer].paths` to false "
            "and list dependencies by hand."
        ) from None


async def parsed_file(path: str) -> ParsedNixFile:
    """Returns what a file of the repository refers to; nothing if there is no such file."""
    digest = await files_matching(PathGlobs([path]))
    return await parse_nix_file(ParseNixFileRequest(path, digest), **implicitly())


def rules():
    return collect_rules()
