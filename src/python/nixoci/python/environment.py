"""A virtual environment at its place in an image: where everything goes, and the few files that make it one.

`docs.python.org/3/library/venv.html`: a directory with `pyvenv.cfg` beside or above the interpreter is
what `sys.prefix` names, and its `lib/pythonX.Y/site-packages` is where modules are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Optional, Sequence

#: Names that wheels give to directories of files that belong to no module; pip puts them into the
#: environment itself, and pex beside the modules.
DATA_DIRECTORIES = frozenset({"bin", "etc", "include", "man", "share"})

#: Where headers of a wheel are, by the version of the Python that laid it out.
_HEADERS = re.compile("^include/site/python[^/]*/")

#: The program that starts an application, as in the environments that pex makes.
PROGRAM = "pex"


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    :param place: its directory in the image, absolute.
    :param version: of the language, such as `3.11`.
    :param interpreter: absolute path of its interpreter in the image.
    """

    place: str
    version: str
    interpreter: str

    @property
    def site_packages(self) -> str:
        """Where modules are, relative to the environment."""
        return f"lib/python{self.version}/site-packages"

    @property
    def modules(self) -> str:
        """Where modules are in the image."""
        return f"{self.place.rstrip('/')}/{self.site_packages}"

    @property
    def python(self) -> str:
        """What starts the interpreter in this environment."""
        return f"{self.place.rstrip('/')}/bin/python3"

    @property
    def shebang(self) -> str:
        """The first line of its scripts: neither the user's own modules nor `PYTHONPATH` count."""
        return f"#!{self.python} -sE\n"

    @property
    def configuration(self) -> str:
        """Text of `pyvenv.cfg`."""
        home = self.interpreter.rpartition("/")[0] or "/"
        return (
            f"home = {home}\ninclude-system-site-packages = false\nversion = {self.version}\n"
        )

    @property
    def links(self) -> Mapping[str, str]:
        """Symbolic links of the environment, by path relative to it."""
        return {
            "bin/python": "python3",
            "bin/python3": self.interpreter,
            f"bin/python{self.version}": "python3",
        }

    def relative_place(self, path: str, data: Iterable[str] = ()) -> str:
        """Returns where a file of a flat tree goes, relative to the environment.

        :param data: directories at the top of the tree that are no modules.
        """
        if path.split("/", 1)[0] in data:
            return _HEADERS.sub(f"include/site/python{self.version}/", path)
        return f"{self.site_packages}/{path}"


@dataclass(frozen=True)
class EntryPoint:
    """What an application starts: a module, a function of one, or a script.

    :param module: name of a module; without `function` it is run as `__main__`.
    :param function: a path in the module, such as `main` or `Application.run`.
    :param script: path of a script in the image; then there is no module.
    :param is_python: whether that script is to be run by the interpreter.
    """

    module: str = ""
    function: str = ""
    script: str = ""
    is_python: bool = True


def program(
    environment: Environment,
    entry: Optional[EntryPoint],
    arguments: Sequence[str] = (),
    variables: Mapping[str, str] = {},
) -> str:
    """Returns the text of the program that starts an application, as its PEX file would.

    Processes that `multiprocessing` starts load it too, and must not start the application once more.

    :param entry: None for an interactive interpreter.
    :param arguments: that come before those of the command line.
    :param variables: of the environment, where they are not set.
    """
    lines = []
    if entry is not None:
        # The directory of this file, which is none of modules.
        lines.append("del sys.path[0]")
    for name, value in sorted(variables.items()):
        lines.append(f"os.environ.setdefault({name!a}, {value!a})")
    if arguments:
        lines.append(f"sys.argv[1:1] = [{', '.join(map(ascii, arguments))}]")
    if entry is None:
        # Arguments are those of an interpreter, which a PEX file without an entry point is.
        python = ascii(environment.python)
        lines.append(f"os.execv({python}, [{python}, '-sE'] + sys.argv[1:])")
    elif entry.script and not entry.is_python:
        lines.append(f"os.execv({entry.script!a}, [{entry.script!a}] + sys.argv[1:])")
    elif entry.script:
        lines += ["import runpy", f"sys.argv[0] = {entry.script!a}"]
        lines.append(f"runpy.run_path({entry.script!a}, run_name='__main__')")
    elif entry.function:
        lines += ["import functools", "import importlib"]
        lines.append(f"module = importlib.import_module({entry.module!a})")
        names = ", ".join(map(ascii, entry.function.split(".")))
        lines.append(f"sys.exit(functools.reduce(getattr, [{names}], module)())")
    else:
        lines.append("import runpy")
        lines.append(f"runpy.run_module({entry.module!a}, run_name='__main__', alter_sys=True)")
    beginning = ["import os", "import sys", "", "if __name__ == '__main__':"]
    body = [f"    {line}" for line in lines]
    return environment.shebang + "\n".join([*beginning, *body]) + "\n"
