"""What a program needs to read in order to run at all: the system, its interpreter with all packages, and its own folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/sys"),
    *("/nix/store", "/gnu/store", "/snap", "/run/opengl-driver", "/home/linuxbrew/.linuxbrew"),  # where else systems keep programs
)
_PARTS_OF_PREFIX = ("bin", "lib", "lib32", "lib64", "libexec", "include")  # beside `bin`, where others may keep their own things as well
_WEIGHTS = {".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".onnx", ".npz", ".npy", ".engine", ".pkl", ".h5", ".gguf", ".tflite"}
_MOST_LINKS = 40


def needed(command: str, files: Sequence[Path | None]) -> tuple[Path, ...]:
    """The files and folders, sorted, of which those that lie in others are left out.

    Args:
        command: the first word of the command line, found on PATH if it is no path.
        files: what file or folder each word names, the first word's first.
    """
    found = {Path(name) for name in _SYSTEM} | set(_of_etc())
    started = files[0] or shutil.which(command)
    if started:
        found |= set(_of_executable(Path(started)))
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if Path(folder).is_absolute() and Path(folder).name in {"bin", "shims"}:
            found |= set(_of_prefix(Path(folder)))
    for path in filter(None, files):
        found |= set(_of_word(path))
    there = {path for path in found if path.exists()}
    return tuple(sorted(path for path in there if not any(parent in there for parent in path.parents)))


def _of_etc() -> Iterator[Path]:
    """The settings of the system that everybody may read: root would read its secrets as well."""
    if os.geteuid():
        yield Path("/etc")
        return
    with suppress(OSError):
        yield from (Path(entry.path) for entry in os.scandir("/etc") if entry.is_symlink() or entry.stat().st_mode & 0o004)


def _of_executable(path: Path, depth: int = 0) -> Iterator[Path]:
    """An executable, whatever links lead to it, and the interpreter that its first line names."""
    for link in _hops(path):
        yield link
        if link.parent.name == "bin":
            yield from _of_prefix(link.parent)
    interpreter = _interpreter_of(path)
    if interpreter and depth < 3:
        yield from _of_executable(interpreter, depth + 1)


def _hops(path: Path) -> Iterator[Path]:
    """A path, and those that it leads to link by link."""
    for _ in range(_MOST_LINKS):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / path.readlink()))
    yield path.resolve()


def _interpreter_of(path: Path) -> Path | None:
    """The program that the first line of a script names."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(1024)
    except OSError:
        return None
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [found for word in words[1:] if not word.startswith("-") and "=" not in word and (found := shutil.which(word))]
    return Path(words[0]) if words else None


def _of_prefix(bin_folder: Path) -> Iterator[Path]:
    """An environment, by the folder of its executables; with it that which it was made of, and packages that stay where they are."""
    prefix = bin_folder.parent
    whole = (prefix / "pyvenv.cfg").is_file() or (prefix / "conda-meta").is_dir() or bin_folder.name == "shims"
    if whole and not _wide(prefix):
        yield prefix
    yield bin_folder
    if not _is_system(prefix):
        yield from (prefix / name for name in _PARTS_OF_PREFIX)
    with suppress(OSError):
        for line in (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home" and Path(value.strip()) != bin_folder:
                yield from _of_prefix(Path(value.strip()))
    for packages in prefix.glob("lib/python3*/site-packages"):
        yield from (path for path in _left_in_place(packages) if not _wide(path))


def _left_in_place(packages: Path) -> Iterator[Path]:
    """The folders of packages that were installed for editing, and others that path files name."""
    for file in packages.glob("*.pth"):
        with suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from (packages / line.strip() for line in lines if line.strip() and not line.startswith(("#", "import ", "import\t")))
    for file in packages.glob("*.dist-info/direct_url.json"):
        with suppress(OSError, ValueError):
            said = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(said, dict) and "dir_info" in said and str(said.get("url", "")).startswith("file://"):
                yield Path(unquote(urlsplit(said["url"]).path))


def _of_word(path: Path) -> Iterator[Path]:
    """What a word of the command names; of code and settings the whole folder, for they name others beside them."""
    for place in {path, path.resolve()}:
        yield place
        if not place.is_file() or place.suffix.lower() in _WEIGHTS or place.parent.name == "bin":
            continue
        if not _wide(place.parent):
            yield place.parent
        elif place.suffix:
            yield from place.parent.glob(f"*{place.suffix}")


def _is_system(prefix: Path) -> bool:
    return any(prefix.resolve().is_relative_to(root) for root in ("/usr", "/opt")) or prefix == Path("/")


def _wide(folder: Path) -> bool:
    """Whether a folder has too much else in it: the home, the temporary folder, and what is above them."""
    real = folder.resolve()
    wide = [Path(tempfile.gettempdir()).resolve(), Path("/tmp")]
    with suppress(RuntimeError):  # a user without a home
        wide.append(Path.home().resolve())
    return any(place.is_relative_to(real) for place in wide)
