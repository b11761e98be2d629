"""Badges: who vouches for a number. A result file may say anything; a badge is what the party who makes the board knows of it.

Whoever scores masks leaves a record beside the result: the sha256 of the result's file, one hash over all masks that were scored, and
a seal made with a key that never leaves the user's own folder. A board believes a record where the seal is right and the file is the
one that was sealed; every other result is shown as reported by its author. A record that somebody else wrote, or that was edited, has
no right seal here. Whether masks that lie beside a result are still those of the record is not looked at (that means reading all of
them): `icvos leaderboard --rescore` scores them again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, TypeAlias

from icvos import __version__
from icvos.cache import key_file
from icvos.download import alone
from icvos.errors import DataError, UserInputError
from icvos.files import parse_json, temporary_beside, to_json, write_text

FORMAT = "icvos-record/1"
REPORTED = "reported by their author"
Badge: TypeAlias = Literal["rescored", "rerun"]
_KEY_BYTES = 32
_OPEN_TO_OTHERS = 0o077  # bits of a file's mode


@dataclass(frozen=True, slots=True)
class ScoringRecord:
    """What was scored here, and what came out; hashes are sha256 as lower-case hex."""

    result: str  # of the result's file
    masks: str  # of all masks that were scored: see `masks_hash`
    release: str  # the digest of the release
    badge: str
    icvos: str  # version
    seal: str | None = None  # HMAC-SHA256 of the other fields; None where no key could be had


class EpisodeHash:
    """One hash over the masks of an episode as they are stored, frame by frame in the order of the clip."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, frame_id: str, png: bytes | None) -> None:
        """Add the stored mask of the next frame, or that there is none."""
        said = "none" if png is None else hashlib.sha256(png).hexdigest()
        self._hash.update(f"{json.dumps(frame_id)} {said}\n".encode())

    def hexdigest(self) -> str:
        """The hash of what was added so far."""
        return self._hash.hexdigest()


def masks_hash(episodes: Iterable[tuple[str, str]]) -> str:
    """One hash over all masks: of the episodes' ids and hashes (`EpisodeHash`), in the order of the ids."""
    return hashlib.sha256("".join(f"{json.dumps(name)} {found}\n" for name, found in sorted(episodes)).encode()).hexdigest()


def record_path(result: Path) -> Path:
    """Where the record of a result's file lies: ``native@1.record.json`` beside ``native@1.json``."""
    return result.with_name(f"{result.stem}.record.json")


def write_record(path: Path, content: str, *, masks: str, release: str, badge: str) -> None:
    """Leave a record beside the result at `path`, whose file has this content; without a seal where no key can be had, and none at all
    of what was not scored here (its badge says that its author reports it).
    """
    if badge == REPORTED:
        return
    record = ScoringRecord(hashlib.sha256(content.encode()).hexdigest(), masks, release, badge, __version__)
    with suppress(UserInputError):
        record = replace(record, seal=_seal(record, sealing_key(make=True)))
    write_text(record_path(path), to_json({"format": FORMAT, **asdict(record)}))


def why_unsealed(path: Path) -> str:
    """Why the record beside the result at `path` has no seal, in one line; empty where it has one, or there is no record."""
    record = _read_record(path)
    if record is None or record.seal is not None:
        return ""
    try:
        sealing_key(make=True)
    except UserInputError as error:
        return f"the record of this score has no seal, so boards show it as {REPORTED}: {error}"
    return f"the record of this score has no seal, so boards show it as {REPORTED}; score it again"


def badge_of(path: Path, content: bytes, *, release: str) -> str:
    """The badge of what lies at `path`, a result's file with this content of a release with this digest: that of the record beside it
    where it was sealed with the key of whoever uses this machine, else that its author reports it.
    """
    record = _read_record(path)
    if record is None or record.seal is None or record.release != release or record.result != hashlib.sha256(content).hexdigest():
        return REPORTED
    try:
        right = hmac.compare_digest(_seal(record, sealing_key(make=False)), record.seal)
    except UserInputError:
        return REPORTED
    return record.badge if right else REPORTED


def sealing_key(*, make: bool) -> bytes:
    """The key that seals records, out of the user's own folder; made where it is not there, if it may be.

    Raises:
        UserInputError: there is none and none can be written, or others can read it.
    """
    path, fix = key_file(), "set ICVOS_CACHE to a folder of your own that can be written"
    if not path.is_absolute():  # "~/.cache": nobody knows where this user's home is
        raise UserInputError("no key to seal records with", path, "no home folder", "a file of your own", fix)
    try:
        if make and not path.exists():
            _make_key(path)
        with path.open("rb") as stream:
            status, key = os.fstat(stream.fileno()), stream.read(_KEY_BYTES + 1)
    except OSError as error:
        raise UserInputError("no key to seal records with", path, error.strerror or str(error), "a file of your own", fix) from error
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & _OPEN_TO_OTHERS):
        found = "another user's" if status.st_uid != os.geteuid() else f"mode {status.st_mode & 0o777:o}"
        fix = "remove the file, so that a new key is made; results must then be scored again"
        raise UserInputError("a key that is not yours alone", path, found, "your own file, mode 600", fix)
    if len(key) != _KEY_BYTES:
        raise UserInputError("not a key", path, "another length", f"{_KEY_BYTES} bytes", "remove the file, and a new key is made")
    return key


def _make_key(path: Path) -> None:
    """Write a new key that nobody else can read; whoever comes second finds it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        with temporary_beside(path, _write_key) as part:
            part.replace(path)


def _write_key(path: Path) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(secrets.token_bytes(_KEY_BYTES))


def _seal(record: ScoringRecord, key: bytes) -> str:
    said = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "seal"}
    return hmac.new(key, json.dumps({"format": FORMAT, **said}, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _read_record(result: Path) -> ScoringRecord | None:
    """The record beside a result's file, or None where there is none of this format."""
    path = record_path(result)
    try:
        data = parse_json(path.read_bytes(), path)
    except (OSError, DataError):
        return None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        return None
    try:
        record = ScoringRecord(**data)
    except TypeError:
        return None
    texts = [record.result, record.masks, record.release, record.badge, record.icvos, *([] if record.seal is None else [record.seal])]
    return record if all(isinstance(text, str) and text.isascii() for text in texts) else None
