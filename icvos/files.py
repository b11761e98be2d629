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
from typing import IO, Any, TypeAlias, TypeVar

from icvos.errors import DataError, UserInputError

AnyPath: TypeAlias = str | os.PathLike[str]  # what public functions take for a path
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@contextmanager
def atomic_file(path: AnyPath) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path`, whole, when the block ends without an error; otherwise nothing is left.

    Raises:
        UserInputError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
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


def make_folder(path: AnyPath) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        UserInputError: it cannot be made.
    """
    path = Path(path)
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


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    path = Path(path)
    with atomic_file(path) as stream:
        stream.write(data)


def write_text(path: AnyPath, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    path = Path(path)
    write_bytes(path, text.encode())


def to_json(value: object) -> str:
    """JSON as icvos writes it: keys in the given order, floats that read back exactly, no NaN."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: AnyPath) -> Any:
    """What the JSON file at `path` holds.

    Raises:
        DataError: there is no such file, it cannot be read, or it is not JSON (the message says the line).
    """
    path = Path(path)
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


def read_data(path: AnyPath, sha256: str = "") -> bytes:
    """The bytes of the file at `path`, which must have this sha256 where one is given.

    Raises:
        DataError: there is no such file, it cannot be read, or it is another file than the release names.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError("no such file", path, fix="check that the data set is complete") from error
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


def map_files(work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """`work` done on each item, in order, on all cores: reading, inflating and sha256 let go of the interpreter's lock.

    An interruption waits only for the items in hand.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def sha256_file(path: AnyPath) -> str:
    """The sha256 of a file as lower-case hex, read in blocks."""
    path = Path(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of UTF-8 text as lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()
