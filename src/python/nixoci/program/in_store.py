"""How a program in the Nix store is started, whichever store that is."""

from __future__ import annotations

from nixoci.store.path import StorePath

# As in `nixoci.store.nix`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Sequence

    from nixoci.store.nix import Nix


def store_path_of(file: str) -> StorePath:
    """Returns the store path that a file is in.

    :raises InvalidInputError: it is in none.
    """
    return StorePath.parse("/".join(file.split("/")[:4]))


def words_of(
    nix: Nix, program: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Returns the words that start a program, and its environment.

    Programs of a chroot store find their libraries in `/nix/store`, so Nix puts that store there for them.

    :param program: a file in a valid store path.
    :param environment: what it finds in it.
    """
    words: Sequence[str] = (program, *arguments)
    if not nix.store_root:
        return words, environment
    features = ("--extra-experimental-features", "nix-command flakes")
    shell = ("nix", "shell", *features, store_path_of(program))
    return (*nix.words(shell), "--command", *words), {**nix.environment, **environment}
