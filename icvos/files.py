"""Files that are whole or not there: written to a temporary name, then renamed; read with errors that say the line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from icvos.errors import DataError, UserInputError
from icvos.names import accents_note

try:
    import fcntl
except ImportError:  # Windows: what was left behind is known by its age alone
    fcntl = None  # type: ignore[assignment]

AnyPath: TypeAlias = str | os.PathLike[str]  # what public functions take for a path
Item = TypeVar("Item")
Answer = TypeVar("Answer")
_PARTIAL = ".partial"
_OURS = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-[0-9a-f]{16}\.partial", re.DOTALL)
_OLD = 86_400.0  # seconds after which nobody is still writing one file
_MOST_LINKS = 40  # one after the other, as Linux follows them
_NO_FILES: dict[Callable[[int], bool], str] = {
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


@contextmanager
def atomic_file(path: AnyPath) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path`, whole, when the block ends without an error; otherwise nothing is left.

    A link stays a link: what it leads to is replaced. A file that was there hands its permissions on.

    Raises:
        UserInputError: it cannot be a file (`output_file`), the disk is full or the folder cannot be written.
    """
    path = Path(path)
    target = output_file(path)
    make_folder(target.parent)
    temporary: Path | None = None
    try:
        with temporary_beside(target, lambda place: place.open("xb").close()) as temporary:
            with temporary.open("r+b") as stream:
                _take_permissions(stream.fileno(), target)
                yield stream
            temporary.replace(target)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # the block itself failed at some other file
            raise
        raise _cannot_write(path, error) from error


@contextmanager
def atomic_folder(path: Path, *, replacing: bool = False) -> Iterator[Path]:
    """An empty folder that gets the name `path` when the block ends without an error; otherwise nothing is left.

    Args:
        path: the folder; where it is a link, what it leads to.
        replacing: a folder that is there gives way; without it, one with something inside stops the new one.

    Raises:
        UserInputError: it cannot be written, or there is something in the way.
    """
    target = output(path)
    make_folder(target.parent)
    room: Path | None = None
    try:
        with temporary_beside(target, Path.mkdir) as room:
            (room / "new").mkdir()
            yield room / "new"
            if replacing and target.is_dir():
                target.rename(room / "old")
            try:
                (room / "new").rename(target)
            except OSError:
                if (room / "old").is_dir():
                    (room / "old").rename(target)
                raise
    except OSError as error:
        if room and error.filename not in (None, str(room), str(room / "new"), str(target)):
            raise
        raise _cannot_write(path, error) from error


def output_file(path: Path) -> Path:
    """The file that an output called `path` is written to: itself, or where it leads as a link.

    Raises:
        UserInputError: there is a folder, a device, a pipe or a socket, or the links go round in circles or lead to no folder.
    """
    target = output(path)
    if target.is_dir():
        raise UserInputError("cannot write", path, os.strerror(errno.EISDIR), "a file", "name a file in it, or choose another")
    return target


def output(path: Path) -> Path:
    """The file or folder that an output called `path` is: itself, or where it leads as a link; it need not be there.

    Raises:
        UserInputError: there is a device, a pipe or a socket, or the links go round in circles or lead to no folder.
    """
    target = _followed(path)
    try:
        mode = target.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):  # making its folder will say more
            return target
        raise _cannot_write(path, error) from error
    for of_kind, kind in _NO_FILES.items():
        if of_kind(mode):
            raise _no_file(path, kind)
    return target


def _followed(path: Path) -> Path:
    """Where `path` leads, link by link, as an absolute path; nothing need be there."""
    place = path.absolute()
    for _ in range(_MOST_LINKS):
        place = Path(os.path.realpath(place.parent), place.name)  # `name` is empty or ".." only where a folder is named
        if place.is_relative_to("/proc") or (place.is_relative_to("/dev") and not place.is_relative_to("/dev/shm")):
            # as /dev/stdout, whatever that is at the moment
            raise _no_file(path, "a device" if place.is_char_device() or place.is_block_device() else "a place of the system's own")
        try:
            is_link = place.is_symlink()
        except OSError as error:
            raise _cannot_write(path, error) from error
        if not is_link:
            break
        place = place.parent / place.readlink()
        if not place.parent.is_dir():
            fix = "make the folder, or choose another place"
            raise UserInputError("cannot write", path, f"a link to {place}, whose folder is not there", "a link into a folder", fix)
    else:
        raise UserInputError("cannot write", path, os.strerror(errno.ELOOP), "a file", "mend the link, or choose another place")
    return place


def _no_file(path: Path, kind: str) -> UserInputError:
    return UserInputError("cannot write", path, kind, "a file, or a name for a new one", "choose another place")


def _take_permissions(descriptor: int, target: Path) -> None:
    """Give an open file the permissions, and where this is allowed the owner, of the one that it replaces."""
    with suppress(FileNotFoundError):
        before, now = target.stat(), os.fstat(descriptor)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            with suppress(OSError, AttributeError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
        with suppress(AttributeError):  # Windows has no such permissions
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


# Whatever is being written has a name that says for which output, by which machine: `.NAME.MACHINE-RANDOM.partial`. While its
# writer lives, the writer holds a lock on it, which the kernel takes away however the writer ends. So whoever comes next knows
# what was left behind. Where another machine's locks may not be seen, as in shared folders, only age tells.


@contextmanager
def temporary_beside(target: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A file or folder under a temporary name beside `target`, which is removed unless it was renamed when the block ends.

    What earlier writers into the same folder left behind when they were killed is removed first.

    Args:
        target: what it will be called.
        make: makes it; called with its path.

    Raises:
        OSError: it cannot be made.
    """
    _sweep_folder(target.parent, int(time.monotonic()))
    while True:
        temporary = target.with_name(f".{target.name}.{_machine()}-{uuid.uuid4().hex[:16]}.partial")
        make(temporary)
        with ExitStack() as stack:
            try:
                locked = stack.enter_context(_locked(temporary))
            except FileNotFoundError:
                locked = False
            if locked is False:  # somebody who sweeps came between making and locking: try again
                continue
            try:
                yield temporary
            finally:
                _remove(temporary)
            return


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is not finished: somebody is writing it, or was killed while doing so."""
    return name.startswith(".") and name.endswith(_PARTIAL)


def names_its_writer(name: str) -> bool:
    """Whether a temporary name is of this version, whose writers hold locks; earlier ones held none."""
    return _OURS.fullmatch(name) is not None


def temporary_for(path: Path) -> Path:
    """The output that a temporary file or folder would have become."""
    return path.with_name(path.name[1:].removesuffix(_PARTIAL).rpartition(".")[0])


def sweep(left: Iterable[Path]) -> None:
    """Remove those of these temporary files and folders that nobody is writing any more.

    What another machine made is kept for a day, since its writer's lock may not be seen from here.
    """
    for path in left:
        made = _OURS.fullmatch(path.name)
        with suppress(OSError), _locked(path) as locked:
            surely = locked and (made is None or made["machine"] == _machine())
            if surely or (locked is not False and time.time() - path.lstat().st_mtime > _OLD):
                _remove(path)


@lru_cache(maxsize=64)
def _sweep_folder(folder: Path, second: int) -> None:
    """Sweep a folder once a second: it may have thousands of files, and be written to as often."""
    with suppress(OSError), os.scandir(folder) as entries:
        sweep([folder / entry.name for entry in entries if names_its_writer(entry.name)])


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Whether this block has a file or folder to itself; None where system or disk know no such locks.

    Raises:
        OSError: it is not there or may not be opened.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield _lock(descriptor) and _is_at(descriptor, path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name: whoever held the lock before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Eight letters for this machine, by its name in the network."""
    return sha256_text(platform.node())[:8]


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


def sha256_file(path: AnyPath) -> str:
    """The sha256 of a file as lower-case hex, read in blocks."""
    path = Path(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of UTF-8 text as lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()
