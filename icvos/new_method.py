"""A package with a working method in it, for an author to begin with: `templates/method`, under a name of its own."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from icvos.errors import UserInputError
from icvos.files import AnyPath, atomic_folder, write_text
from icvos.registry import method_names

LONGEST = 60  # characters of a name
RESERVED = frozenset({"all-embedded"})  # what `icvos run --method` takes for something else
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class NewMethod:
    """What was written: the package's folder, its files below it, and the module that holds the method."""

    folder: Path
    files: tuple[str, ...]
    module: str


def module_name(name: str) -> str:
    """The module of a package called so: ``my-method`` -> ``my_method``."""
    return re.sub(r"[-.]+", "_", name).lower()


def check_name(name: str, taken: Iterable[str]) -> str:
    """The name, if a package, a module and a method may all be called so.

    Raises:
        UserInputError: it is no name of a package (PEP 508), its module's is none or another module's, or a method has it.
    """
    module = module_name(name)
    if not _PLAIN.fullmatch(name) or len(name) > LONGEST or not module.isidentifier() or keyword.iskeyword(module):
        expected = f"at most {LONGEST} letters, digits, dots, - and _, from a letter on to a letter or digit; no word of Python's"
        raise UserInputError("not a name for a method", repr(name), expected=expected, fix=_instead(name))
    same = [other for other in (*taken, *RESERVED) if module_name(other) == module]
    if same:
        raise UserInputError("the name is taken", name, same[0], "a name of its own", f"did you mean my-{name}?")
    found = None if module in sys.stdlib_module_names else find_spec(module)
    if module in sys.stdlib_module_names or (found and found.origin):
        where = found.origin if found else "Python's own"
        raise UserInputError("the name is another package's", module, where, "a module of its own", f"did you mean my-{name}?")
    return name


def _instead(name: str) -> str:
    """What may have been meant by a name that cannot be used."""
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:LONGEST].strip("-_")
    if not plain:
        return "choose another, as colour-likelihood"
    return f"did you mean {plain}?" if plain[0].isalpha() and not keyword.iskeyword(plain) else f"did you mean method-{plain}?"


def write_method(name: str, folder: AnyPath | None = None) -> NewMethod:
    """Write the package of a method called `name` into a new folder, by default one of its name here; whole or not at all.

    Raises:
        UserInputError: the name cannot be used, the folder is there already, or it cannot be written.
    """
    folder = None if folder is None else Path(folder)
    check_name(name, method_names())
    target, module = folder or Path(name), module_name(name)
    _refuse_existing(target)
    texts = _rendered(name, module)
    with atomic_folder(target) as folder_to_be:
        for file, text in texts.items():
            write_text(folder_to_be / file, text)
        _refuse_existing(target)  # somebody else may have made it in the meantime
    return NewMethod(target, tuple(sorted(texts)), module)


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise UserInputError("the folder is there already", target, expected="a new one", fix="choose another by --out, or another name")


def _rendered(name: str, module: str) -> dict[str, str]:
    """The package's files: path below its folder -> text."""
    templates = Environment(
        loader=PackageLoader("icvos", "templates/method"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": "module.py",
        f"tests/test_{module}.py": "test_module.py",
    }
    return {file: templates.get_template(f"{template}.j2").render(name=name, module=module) for file, template in files.items()}
