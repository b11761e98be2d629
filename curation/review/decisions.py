"""What reviewers decided: one line a decision, appended and synced at once, so that a crash loses nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from getpass import getuser
from json import dumps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from pydantic import TypeAdapter, ValidationError

from icvos.categories import BY_ID, BY_NAME
from icvos.errors import DataError, Finding, UserInputError, did_you_mean
from icvos.files import AnyPath, make_folder, output_file

if TYPE_CHECKING:
    from curation.candidates import CandidateSet

DECISIONS = "decisions.jsonl"
_LONGEST_NAME = 60
Verdict: TypeAlias = Literal["accept", "reject", "unsure", "undo"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of `decisions.jsonl`. The last of a reviewer about a tube counts; ``undo`` takes the one before back."""

    candidates: str  # sha256 of the candidates.json that was looked at
    tube: str  # source/clip/class
    content: str  # of the candidate: what its clip was when it was looked at
    verdict: Verdict
    reviewer: str
    when: str  # ISO 8601, UTC
    reason: str = ""  # of a reject
    class_name: str = ""  # with accept: the objects are of this class instead
    settles: bool = False  # taken to end a conflict between reviewers: it stands above their own answers


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """All whole lines of a file, and what was told of a last one that is not."""

    decisions: tuple[Decision, ...]
    findings: tuple[Finding, ...] = ()


def decide(
    candidates: CandidateSet, tube: str, verdict: str, reviewer: str, *, reason: str = "", class_name: str = "", settles: bool = False
) -> Decision:
    """A decision about a tube of a set, taken now.

    Raises:
        UserInputError: there is no such tube, verdict, reviewer or class, or a reject without a reason.
    """
    known = {candidate.id: candidate for candidate in candidates.tubes}
    if tube not in known:
        raise UserInputError("no such tube among the candidates", tube, fix=did_you_mean(tube, known))
    if verdict not in get_args(Verdict):
        raise UserInputError("no such verdict", tube, verdict or "nothing", fix=did_you_mean(verdict, get_args(Verdict)))
    reason, class_name = " ".join(reason.split()), " ".join(class_name.split())
    if verdict == "reject" and not reason:
        raise UserInputError("a reject without a reason", tube, fix="say why")
    if class_name and verdict != "accept":
        raise UserInputError("another class without an accept", tube, verdict, fix="accept the tube as the other class")
    if class_name and class_name not in BY_NAME:
        raise UserInputError("unknown class", tube, class_name, "a COCO class", did_you_mean(class_name, BY_NAME))
    if class_name == BY_ID[known[tube].class_id].name:
        class_name = ""  # it is of this class anyway
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    about = candidates.digest, tube, known[tube].content
    return Decision(*about, cast(Verdict, verdict), reviewer, now, reason if verdict == "reject" else "", class_name, settles)


def reviewer_name(name: str | None) -> str:
    """The name under which somebody decides: the one given, or else that of whoever is logged in.

    Raises:
        UserInputError: it is empty, too long or cannot be printed; or nobody is logged in.
    """
    if name is None:
        try:
            name = getuser()
        except (OSError, KeyError) as error:  # a container without users
            raise UserInputError("nobody said who decides", fix="say --reviewer NAME") from error
    plain = " ".join(name.split())
    if not plain or len(plain) > _LONGEST_NAME or not plain.isprintable():
        raise UserInputError("no name for a reviewer", "--reviewer", repr(name), f"1 to {_LONGEST_NAME} letters", "choose another")
    return plain


class DecisionReader:
    """Reads a file that grows: each time only the lines that are new."""

    def __init__(self, path: AnyPath) -> None:
        path = Path(path)
        self.path = path
        self._start_over()

    def _start_over(self) -> None:
        self._decisions: list[Decision] = []
        self._lines = self._bytes = 0

    def read(self) -> DecisionLog:
        """All decisions up to now, in the order in which they were taken; none where there is no file.

        A last line that was only half written is left out, and told as a finding.

        Raises:
            DataError: the file cannot be read, or a whole line of it is no decision.
        """
        *lines, rest = self._new_bytes().split(b"\n")
        for line in lines:
            if line.strip():
                self._decisions.append(_parse(line, self.path, self._lines + 1))
            self._lines += 1
            self._bytes += len(line) + 1
        if not rest:
            return DecisionLog(tuple(self._decisions))
        found = f"a line that breaks off after {len(rest)} bytes"
        fix = "what stands before it is kept; the next decision takes its place"
        half = Finding("half-written", f"{self.path}, line {self._lines + 1}", found, "whole lines", fix)
        return DecisionLog(tuple(self._decisions), (half,))

    def _new_bytes(self) -> bytes:
        try:
            with self.path.open("rb") as stream:
                if os.fstat(stream.fileno()).st_size < self._bytes:  # somebody put another file in its place
                    self._start_over()
                stream.seek(self._bytes)
                return stream.read()
        except FileNotFoundError:
            self._start_over()
            return b""
        except OSError as error:
            raise DataError("cannot read", self.path, error.strerror, fix="check the file and its permissions") from error


def read_decisions(path: AnyPath) -> DecisionLog:
    """The decisions in the file at `path`, read once (`DecisionReader.read`)."""
    path = Path(path)
    return DecisionReader(path).read()


def append_decisions(path: AnyPath, decisions: Sequence[Decision]) -> None:
    """Add decisions to the file at `path`, all of them or none, and return when they are on the disk.

    Writers take turns by a lock on the file, so that two pages or two servers lose nothing. A half-written last line, which
    nobody was told to be kept, is cut off first.

    Raises:
        UserInputError: the file cannot be written; it is as it was before.
    """
    path = Path(path)
    data = b"".join(dumps(asdict(decision), ensure_ascii=False).encode() + b"\n" for decision in decisions)
    make_folder(output_file(path).parent)
    try:
        is_new = not path.exists()
        with path.open("ab+", buffering=0) as stream, _locked(stream):
            end = _cut_to_whole_lines(stream)
            try:
                _write_all(stream, data)
                os.fsync(stream.fileno())
            except OSError:
                with suppress(OSError):
                    stream.truncate(end)
                raise
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        fix = "free some space or mend its permissions, then decide again"
        raise UserInputError("the decision could not be kept", path, error.strerror or str(error), fix=fix) from error


def _write_all(stream: IO[bytes], data: bytes) -> None:
    while data:  # a disk that is nearly full takes a part
        data = data[stream.write(data) :]


def _cut_to_whole_lines(stream: IO[bytes]) -> int:
    """Cut off what follows the last line break; gives the length of what stays."""
    end = stream.seek(0, os.SEEK_END)
    block, start, last = b"", end, -1
    while start and last < 0:
        start = max(0, start - 4096)
        stream.seek(start)
        block = stream.read(min(4096, end - start))
        last = block.rfind(b"\n")
    whole = start + last + 1
    if whole < end:
        stream.truncate(whole)
    stream.seek(whole)
    return whole


@contextmanager
def _locked(stream: IO[bytes]) -> Iterator[None]:
    """Nobody else writes to the file inside the block; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: the first byte stands for the file
        yield from _locked_byte(stream)
        return
    fcntl.flock(stream, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(stream, fcntl.LOCK_UN)


def _locked_byte(stream: IO[bytes]) -> Iterator[None]:
    import msvcrt

    lock: Any = msvcrt  # its names are typed on Windows alone
    stream.seek(0)
    lock.locking(stream.fileno(), lock.LK_LOCK, 1)
    try:
        yield
    finally:
        stream.seek(0)
        lock.locking(stream.fileno(), lock.LK_UNLCK, 1)


def _sync_folder(folder: Path) -> None:
    """Make the file's name as durable as its bytes, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@cache
def _adapter() -> TypeAdapter[Decision]:
    return TypeAdapter(Decision)


def _parse(line: bytes, path: Path, number: int) -> Decision:
    where, expected, fix = f"{path}, line {number}", "a decision", "mend or remove the line"
    try:
        decision = _adapter().validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        found = ".".join(map(str, fault["loc"]))
        raise DataError("not a decision", where, f"{found}: {fault['msg']}" if found else fault["msg"], expected, fix) from error
    if decision.class_name and decision.class_name not in BY_NAME:
        raise DataError("unknown class", where, decision.class_name, "a COCO class", did_you_mean(decision.class_name, BY_NAME))
    return decision
