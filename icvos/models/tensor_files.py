"""Files of tensors: what a file is, its first bytes say, not its name; nothing but data is ever unpickled, and no code runs."""

from __future__ import annotations

import argparse
import io
import pickletools
import types
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath

LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file, as its own reader has it
HEAD = 512  # bytes that a file is told by
PICKLES = 4  # in a row, of a PyTorch file older than 1.6: the last one names the tensors
AGAIN = "fetch the file again"
ALONE = "where its code is, save the tensors alone: torch.save(model.state_dict(), FILE)"

# What checkpoints keep beside their tensors and what holds data alone: values of numpy, options of a command line, paths.
# The second of a pair is the name in the file, which older and newer versions of numpy and Python write differently.
_NUMPY = (np._core.multiarray.scalar, np._core.multiarray._reconstruct)  # type: ignore[attr-defined]
PLAIN_DATA: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    np.dtype,
    np.ndarray,
    *{type(np.dtype(code)) for code in np.typecodes["All"]},
    *((function, f"numpy.{core}.multiarray.{function.__name__}") for function in _NUMPY for core in ("core", "_core")),
    *((PurePosixPath, f"{module}.{kind}") for module in ("pathlib", "pathlib._local") for kind in ("PosixPath", "PurePosixPath")),
    *((PureWindowsPath, f"{module}.{kind}") for module in ("pathlib", "pathlib._local") for kind in ("WindowsPath", "PureWindowsPath")),
]

ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
}
OTHERS = {
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUMPY": "a NumPy array",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}


class Stored(NamedTuple):
    """What a file holds: tensors by name or whatever was saved, and the metadata of a safetensors file."""

    content: Any
    metadata: Mapping[str, str]


class _Fault(NamedTuple):
    """What a file is in place of tensors, and what to do."""

    found: str
    fix: str


def read_stored(path: AnyPath) -> Stored:
    """What a safetensors or PyTorch file holds, tensors on the CPU; its suffix does not matter.

    Raises:
        UserInputError: there is no such file.
        DataError: it is another kind of file, damaged, or holds objects that only code could make.
    """
    path = Path(path)
    _check_there(path)
    head = _head(path)
    if _is_safetensors(head, path.stat().st_size):
        return _safetensors(path)
    if fault := _other_file(path, head):
        raise _unreadable(path, fault)
    try:
        with torch.serialization.safe_globals(PLAIN_DATA), warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")  # of the pickle's version
            return Stored(torch.load(stream, map_location="cpu", weights_only=True), {})
    except Exception as error:  # files of others make the reader raise nearly anything
        raise _unreadable(path, _pickled_fault(path)) from error


def metadata_of(path: AnyPath) -> Mapping[str, str]:
    """The metadata of a safetensors file, of which nothing else is read; empty for any other file.

    Raises:
        UserInputError: there is no such file.
        DataError: it is a damaged safetensors file.
    """
    path = Path(path)
    _check_there(path)
    if not _is_safetensors(_head(path), path.stat().st_size):
        return {}
    try:
        with safe_open(path, "pt") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, _cut_off("safetensors")) from error


def _check_there(path: Path) -> None:
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in {".safetensors", ".pt", ".pth", ".bin", ".ckpt"})
        fix = f"name the file inside: {path / inside[0]}" if inside else "name a file"
        raise UserInputError("no such file of weights", path, "a folder", "a file", fix)
    if not path.is_file():
        raise UserInputError("no such file of weights", path, fix="check the path")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD)
    except OSError as error:
        raise DataError("cannot read the weights", path, error.strerror or str(error), fix="check the file and its permissions") from error


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= LARGEST_HEADER and not head.startswith((b"{", b"[")) and size > 8


def _safetensors(path: Path) -> Stored:
    try:
        with safe_open(path, "pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  # it is no dictionary
            return Stored(tensors, dict(stream.metadata() or {}))
    except Exception as error:  # its reader raises nearly anything, too
        raise _unreadable(path, _cut_off("safetensors")) from error


def _unreadable(path: Path, fault: _Fault) -> DataError:
    return DataError("cannot read the weights", path, fault.found, "named tensors", fault.fix)


def _cut_off(kind: str) -> _Fault:
    return _Fault(f"a {kind} file that was cut off or damaged", AGAIN)


def _other_file(path: Path, head: bytes) -> _Fault | None:
    """What a file is that holds no pickle, or None."""
    if not head:
        return _Fault("an empty file", AGAIN)
    for table, fix in ((ARCHIVES, "unpack it, and pass the file of weights inside"), (OTHERS, "pass a file of weights")):
        for start, what in table.items():
            if head.startswith(start):
                return _Fault(what, fix)
    if head[257:262] == b"ustar":
        return _Fault("a tar archive", "unpack it, and pass the file of weights inside")
    if head.startswith(b"PK"):
        return _zip_fault(path)
    return _text_fault(head)


def _text_fault(head: bytes) -> _Fault | None:
    try:
        text = head.decode("utf-8-sig", "strict" if len(head) < HEAD else "ignore").strip()
    except UnicodeDecodeError:
        return None
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    if text.startswith("version https://git-lfs"):
        return _Fault("a Git LFS pointer, which stands for the file", "run `git lfs pull` where it comes from, or fetch the file itself")
    start = text[:HEAD].lower()
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return _Fault(
            "an HTML page", "a page came in the file's place: fetch the file by its download link, logged in where that is needed"
        )
    if start.startswith("<"):
        return _Fault("an XML page", "a page came in the file's place: fetch the file by its download link")
    return _Fault(f'text that begins "{text.splitlines()[0][:60]}"', "pass a file of weights")


def _zip_fault(path: Path) -> _Fault | None:
    """What a zip is that is not PyTorch's, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return _cut_off("PyTorch or zip")
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return _Fault(
            "a TorchScript archive", "save its tensors: torch.save(torch.jit.load(FILE).state_dict(), OTHER), and pass the other file"
        )
    if any(name.endswith("data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return _Fault("a NumPy archive (.npz)", "save its arrays as tensors: torch.save, or safetensors.numpy.save_file")
    inside = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return _Fault(f"a zip that PyTorch did not write ({inside or 'empty'})", "unpack it, and pass the file of weights inside")


def _pickled_fault(path: Path) -> _Fault:
    """Why torch would not read a file, from the names in its pickle; nothing of it is run."""
    names = list(dict.fromkeys(_names(path)))
    strange = [name for name in names if name not in _known()]
    modules = [name for name in strange if name.startswith("torch.nn.modules.")]
    if modules:
        whole = next((name for name in strange if not name.startswith("torch.")), modules[0])
        return _Fault(f"a whole network ({whole}), which only its own code can read", ALONE)
    if strange:
        listed = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        return _Fault(f"objects that only code can make ({listed})", ALONE)
    return _Fault("no PyTorch file, or one that was cut off or damaged", AGAIN)


def _known() -> set[str]:
    """What may stand in a pickle, by name."""
    given = {name for entry in PLAIN_DATA if isinstance(entry, tuple) for name in entry[1:]}
    given |= {f"{entry.__module__}.{entry.__qualname__}" for entry in PLAIN_DATA if not isinstance(entry, tuple)}
    kinds = {f"torch.{name}" for name in dir(torch) if name.endswith("Storage")}
    rebuilt = {f"torch._utils.{name}" for name in dir(torch._utils) if name.startswith("_rebuild")}
    others = {"collections.OrderedDict", "collections.Counter", "_codecs.encode", "torch.Size", "torch.device", "torch.Tensor"}
    return given | kinds | rebuilt | others | {"torch.nn.parameter.Parameter", "__builtin__.set", "builtins.set"}


def _names(path: Path) -> Iterator[str]:
    """The names of classes and functions in a pickle, as far as it can be gone through."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                stream: IO[bytes] = io.BytesIO(archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl"))))
        else:
            stream = path.open("rb")
        with stream:
            for _ in range(PICKLES):
                yield from _names_of_one(stream)
    except Exception:  # damaged files make these readers raise nearly anything; what was found until then counts
        return


def _names_of_one(stream: IO[bytes]) -> Iterator[str]:
    strings: list[str] = []
    for code, argument, _ in pickletools.genops(stream):
        if isinstance(argument, str) and "GLOBAL" not in code.name:
            strings.append(argument)
        if code.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
