"""Files → what ELF files among them need; store paths → what programs and directories of them have."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.elf.facts import ElfFacts, facts_from_json
from nixoci.elf.store_facts import StoreLibraries, StoreLibrariesRequest
from pants.engine.fs import Digest, FileContent
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import create, implicitly, rule
from pants_backend_nix.rules.core.contents import CONTENTS_DIRECTORY
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.targets.evaluated import NixPackage


@dataclass(frozen=True)
class ElfFactsRequest:
    """:param contents: a tree of files, each named by its SHA-256."""

    contents: Digest


@dataclass(frozen=True)
class ElfFactsOfFiles:
    """:param facts: of the ELF files, by SHA-256."""

    facts: FrozenDict[str, ElfFacts]


@rule(desc="Look at ELF files")
async def read_elf_facts(request: ElfFactsRequest) -> ElfFactsOfFiles:
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("elf-facts", CONTENTS_DIRECTORY, "--output=facts.json"),
                "Look for libraries that files need",
                contents=request.contents,
                output="facts.json",
                needs_packages=True,
                needs_nix=False,
            ),
            (),
        ),
        **implicitly(),
    )
    return ElfFactsOfFiles(FrozenDict(facts_from_json(step.output)))


@dataclass(frozen=True)
class LibrariesInStoreRequest:
    """:param request: what is asked of the store.
    :param packages: those that its store paths may come from.
    """

    request: StoreLibrariesRequest
    packages: tuple[NixPackage, ...]


@dataclass(frozen=True)
class LibrariesInStore:
    libraries: StoreLibraries


@rule(desc="Look at libraries in store")
async def list_libraries_in_store(request: LibrariesInStoreRequest) -> LibrariesInStore:
    asked = request.request
    what = (*asked.programs, *asked.directories)
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("store-libraries", "request.json", "--output=libraries.json"),
                f"Look for libraries in {what[0]}" + (f" and {len(what) - 1} more" if what[1:] else ""),
                await create([FileContent("request.json", asked.to_json())]),
                output="libraries.json",
                needs_packages=True,
            ),
            request.packages,
        ),
        **implicitly(),
    )
    return LibrariesInStore(StoreLibraries.from_json(step.output))


def rules():
    return collect_rules()
