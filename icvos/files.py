"""Files that are whole or not there: written to a temporary name, then renamed; read with errors that say the line."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from icvos.errors import DataError, UserInputError
from icvos.names import accents_note

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path`, whole, when the block ends without an error; otherwise nothing is left.

    Raises:
        UserInputError: the disk is full or the folder cannot be written.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # the block itself failed at some other file
            raise
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        UserInputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserInputError:
    return UserInputError(
        "cannot write",
        path,
        found=error.strerror or str(error),
        fix="free some space or choose another folder, then run the same command again",
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def to_json(value: object) -> str:
    """JSON as icvos writes it: keys in the given order, floats that read back exactly, no NaN."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """What the JSON file at `path` holds.

    Raises:
        DataError: there is no such file, it cannot be read, or it is not JSON (the message says the line).
    """
    return parse_json(read_data(path), path)


def parse_json(data: bytes, path: Path) -> Any:
    """What these bytes of the JSON file at `path` hold.

    Raises:
        DataError: they are not JSON (the message says the line).
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        where = f"{path}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise DataError(
            "corrupt JSON", where, found=json_fault(error), expected="one whole JSON document", fix="fetch or write the file again"
        ) from error


def json_fault(error: Exception) -> str:
    """What a parser of JSON stumbled over, in a few words."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not UTF-8"
    return "lists within lists without end" if isinstance(error, RecursionError) else str(error)


def read_data(path: Path, sha256: str = "") -> bytes:
    """The bytes of the file at `path`, which must have this sha256 where one is given.

    Raises:
        DataError: there is no such file, it cannot be read, or it is another file than the release names.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except OSError as error:
        raise DataError("cannot read", path, found=error.strerror, fix="check the file and its permissions") from error
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise DataError(
            "not the file that the release names",
            path,
            f"sha256 {found[:12]}…",
            f"{sha256[:12]}…",
            "run `icvos verify`, then fetch the source again",
        )
    return data


def no_such_file(path: Path) -> DataError:
    """The error for a file of a data set that is not there; it tells where one is of a name that only looks the same."""
    note = accents_note(path)
    fix = "rename one of them as the other is called" if note else "check that the data set is complete"
    return DataError("no such file", path, note, fix=fix)


_KINDS = (  # how files begin
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"PK\x03\x04", "a zip"),
    (b"\x1f\x8b", "a gzip"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\0\x05\x16\x07", "a macOS resource file"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
)


def kind_of(data: bytes) -> str:
    """What a file is by its first bytes, with its article: "a JPEG", "a PNG", "an HTML page"; empty where that is not known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    return next((kind for start, kind in _KINDS if data.startswith(start) or data[: len(start)].lower() == start), "")


def beginning(path: Path) -> bytes:
    """The first bytes of a file, as many as `kind_of` looks at; none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return b""


def map_files(work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """`work` done on each item, in order, on all cores: reading, inflating and sha256 let go of the interpreter's lock.

    An interruption waits only for the items in hand.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def sha256_file(path: Path) -> str:
    """The sha256 of a file as lower-case hex, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of UTF-8 text as lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()
