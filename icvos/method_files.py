"""Methods from files. A file and the modules beside it make a package of their own, which nobody else sees.

Modules beside the file are imported as they are under ``python FILE.py`` (``import utils``), relatively (``from . import
utils``) or by name (``importlib.import_module``), also later, while the method runs. Two files that each have a ``utils.py``
beside them have each their own. A method's code is the file and all modules beside it that it or they may import.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module, invalidate_caches
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    BuiltinImporter,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import module_from_spec
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "icvos_method_"
_OURS = ("curation", "baselines", "dcsam")
_IMPORTERS = ("import_module", "__import__")
_plain_names: set[str] = set()  # as Python's own table of modules, there is one of it
_SUFFIXES = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)


def load_file(path: Path) -> tuple[ModuleType, str]:
    """The module that the file at `path` is, executed anew, and what its code is: a sha256, or two where modules beside it belong to it.

    Raises:
        OSError: it cannot be read.
        Exception: whatever the file or a module beside it raises.
    """
    path = path.resolve()
    invalidate_caches()  # a module may have come since the folder was last listed
    files = dict(_closure(path))
    name = PREFIX + sha256(repr((str(path), sorted(files.items()))).encode()).hexdigest()[:12]
    for old in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[old]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    room = sys.modules[name] = _Room(name, path.parent, files)
    stem = path.stem.replace(".", "_")
    loader = _Source(f"{name}.{stem}", str(path))
    spec = ModuleSpec(loader.name, loader, origin=str(path))
    spec.has_location = True
    module = sys.modules[loader.name] = module_from_spec(spec)
    loader.exec_module(module)
    setattr(room, stem, module)
    room.sealed = True
    return module, _code(path, room.files)


def forget_plain_names() -> None:
    """Let go of the names by which modules of a room were imported as if they were everybody's."""
    while _plain_names:
        sys.modules.pop(_plain_names.pop(), None)


def _code(path: Path, files: Mapping[str, str]) -> str:
    own, beside = files[path.name], {name: digest for name, digest in files.items() if name != path.name}
    if not beside:
        return f"sha256 {own}"
    listed = "".join(f"{name} {digest}\n" for name, digest in sorted(beside.items()))
    return f"sha256 {own}, beside it {len(beside)} of sha256 {sha256(listed.encode()).hexdigest()}"


def _closure(path: Path) -> Iterator[tuple[str, str]]:
    """The file and all beside it that its imports lead to, wherever they stand in it: path below its folder, and sha256."""
    folder, todo, seen = path.parent, [path], {path}
    while todo:
        file = todo.pop()
        data = file.read_bytes()
        yield file.relative_to(folder).as_posix(), sha256(data).hexdigest()
        if file.suffix not in SOURCE_SUFFIXES:
            continue
        depth = len(file.relative_to(folder).parts)
        found = [one for name in sorted(_imported(data, depth)) if _is_beside(folder, name) for one in _files_of(folder, name)]
        todo += [one for one in found if one not in seen]
        seen |= set(found)


def _imported(source: bytes, depth: int) -> set[str]:
    """The first names of what a module imports, absolutely or from the folder `depth` levels up; none where it cannot be parsed."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):  # told when it is executed
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level in (0, depth):
            names |= {node.module} if node.module else {alias.name for alias in node.names}
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _IMPORTERS:
            names |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {name.lstrip(".").partition(".")[0] for name in names}


def _is_beside(folder: Path, name: str) -> bool:
    """Whether ``import name`` in a file of this folder, run by itself, would find a module or package of the folder."""
    if name in ("", "icvos", "__main__") or BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name):
        return False
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None:
        return False
    other = _origin_elsewhere(name) if name in _OURS or spec.origin is None else None
    # A method beside this package itself has it only once, and a folder without __init__.py gives way to any package.
    return other is None if spec.origin is None else other != spec.origin


def _origin_elsewhere(name: str) -> str | None:
    """The file of a package that is installed, if one is."""
    specs = (finder.find_spec(name, None) for finder in sys.meta_path if not isinstance(finder, _Finder))
    return next((spec.origin for spec in specs if spec), None)


def _files_of(folder: Path, name: str) -> list[Path]:
    """The file of a module, or all of a package: which of them it imports by names that it makes up cannot be known."""
    spec = PathFinder.find_spec(name, [str(folder)])
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin else []
    found = []
    for place, folders, files in os.walk(folder / name):
        folders[:] = sorted(one for one in folders if one.isidentifier() and one != "__pycache__")
        found += [Path(place, file) for file in sorted(files) if file.endswith(_SUFFIXES)]
    return found


class _Room(ModuleType):
    """The package around a method's file. It holds modules by their plain names; its `__import__` looks there first."""

    def __init__(self, name: str, folder: Path, files: dict[str, str]) -> None:
        super().__init__(name)
        self.__path__ = [str(folder)]
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.folder, self.files = folder, files
        self.sealed = False  # its code is known, and runs are kept under it
        self.known: dict[str, bool] = {}
        self.builtins = {**vars(builtins), "__import__": self.imported}

    def has(self, name: str) -> bool:
        """Whether a module or package of this name lies in the folder."""
        if name not in self.known:
            self.known[name] = _is_beside(self.folder, name)
        return self.known[name]

    def imported(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """``__import__`` of the modules in here."""
        top = name.partition(".")[0]
        if level or not self.has(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = f"{self.__name__}.{name}"
        if fromlist:
            return builtins.__import__(full, globals, locals, fromlist, 0)
        import_module(full)
        return sys.modules[f"{self.__name__}.{top}"]

    def add(self, path: Path, source: bytes) -> None:
        """Note what is executed.

        Raises:
            ImportError: the method's code is settled already, and this is other code.
        """
        name, digest = path.relative_to(self.folder).as_posix(), sha256(source).hexdigest()
        if self.sealed and self.files.get(name) != digest:
            why = "has changed since the method was loaded" if name in self.files else "is not known to be the method's"
            raise ImportError(f"{path} {why}, and a run is kept by its code: import it by a statement, or at the top of the file")
        self.files[name] = digest


class _Source(SourceFileLoader):
    """Compiles a module of a room from its source each time: a cached one may be older than it says."""

    def get_code(self, fullname: str) -> Any:
        """The compiled module."""
        source, room = self.get_data(self.path), _room_of(fullname)
        if room:
            room.add(Path(self.path), source)
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Execute it with the room's `__import__`."""
        if room := _room_of(module.__name__):
            vars(module)["__builtins__"] = room.builtins
        super().exec_module(module)


class _Alias(Loader):
    """Gives a module of a room under its plain name."""

    def __init__(self, full: str) -> None:
        self.full = full
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of the room."""
        module = import_module(self.full)
        self.spec = module.__spec__
        _plain_names.add(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it was executed in its room. What was written over since is put back."""
        module.__spec__ = self.spec


class _Finder(MetaPathFinder):
    """Finds modules of rooms, and those that a method asks for by their plain names without a statement."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname.startswith(PREFIX):
            spec = PathFinder.find_spec(fullname, path)
            if spec and isinstance(spec.loader, SourceFileLoader):
                spec.loader = _Source(fullname, spec.loader.path)
            return spec
        top = fullname.partition(".")[0]
        room, directly = _asking()
        if room is None or not room.has(top):
            return None
        if not directly and top not in sys.modules and PathFinder.find_spec(top):
            return None  # a library, called by the method, asks for another
        return ModuleSpec(fullname, _Alias(f"{room.__name__}.{fullname}"))


def _asking() -> tuple[_Room | None, bool]:
    """The room whose code runs at this moment, if any does, and whether it is what imports."""
    frame, names = sys._getframe(2), []
    while frame is not None:
        names.append(str(frame.f_globals.get("__name__", "")))
        frame = frame.f_back  # type: ignore[assignment]
    between = list(takewhile(lambda name: not name.startswith(PREFIX), names))
    if len(between) == len(names):
        return None, False
    return _room_of(names[len(between)]), all(name.partition(".")[0] == "importlib" for name in between)


def _room_of(name: str) -> _Room | None:
    room = sys.modules.get(name.partition(".")[0]) if name.startswith(PREFIX) else None
    return room if isinstance(room, _Room) else None
