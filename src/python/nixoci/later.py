"""Modules of the standard library that are imported by others, and hardly ever used."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
else:
    # Without importing what has no other use here.
    ModuleType = type(sys)


def import_later(name: str) -> None:
    """Has a module load when something of it is used first; to be called before anybody imports it.

    `dataclasses` imports `inspect` for classes without a docstring, and that is a tenth of the start of a step.
    (`importlib.util.LazyLoader` does the same, and takes half as long to be imported itself.)
    """
    if name not in sys.modules:
        sys.modules[name] = _Later(name)


class _Later(ModuleType):
    """Stands for a module; what it is asked for comes from the module itself."""

    def __getattr__(self, attribute: str) -> object:
        name: str = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return getattr(import_module(name), attribute)
