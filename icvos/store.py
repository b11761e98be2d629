"""Predictions on disk: one zip of 1-bit PNGs an episode, whole or not there, under the key of the run that made them.

    <run>/run.json                                    the run's key
    <run>/predictions/<source>/<clip>/<class>#s0.zip  <frame>.png, one a frame
    <run>/timing/<source>/<clip>/<class>#s0.json      how long it took (never part of a result's bytes)

A plain folder of masks, `<source>/<clip>/<class>#s0/<frame>.png`, is read in the same way.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from icvos.errors import DataError, UserInputError
from icvos.files import atomic_file, read_json, to_json, write_text
from icvos.results import Timing

RUN = "run.json"
PREDICTIONS = "predictions"
TIMING = "timing"
MAX_MASK_BYTES = 1 << 26  # a mask file past 64 MB is no mask
# All that the standard library raises at damaged or hostile zips; ValueError includes undecodable names.
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class RunKey:
    """What makes two predictions comparable: all of it must agree before a run is continued."""

    release: str  # name@version
    digest: str
    method: str
    method_version: str
    code: str  # where the method's code comes from: a package and its version, or the sha256 of its file
    weights: str = "none"  # the card's
    precision: str = "none"


class Prediction:
    """The mask files of one episode, in a zip or in a folder; read one at a time, never unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        try:
            if path.is_dir():
                names = [entry.name for entry in path.iterdir()]
            else:
                self._zip = zipfile.ZipFile(path)
                names = self._zip.namelist()
        except _BROKEN as error:
            raise DataError(
                "cannot read the prediction", path, str(error), "a whole zip of PNGs", "remove the file and run again"
            ) from error
        self._files = {name[:-4]: name for name in names if name.endswith(".png") and "/" not in name}
        twice = [f"{name} (a second one)" for name, count in Counter(names).items() if count > 1]
        self.frame_ids = frozenset(self._files)  # the frames that have a mask
        self.strangers = sorted({*names} - {*self._files.values()}) + sorted(twice)

    def read(self, frame_id: str) -> bytes:
        """The PNG of one frame.

        Raises:
            ValueError: it cannot be read (the message says why).
        """
        name = self._files[frame_id]
        try:
            if self._zip is None:
                file = self.path / name
                if file.stat().st_size > MAX_MASK_BYTES:
                    raise ValueError("a file past 64 MB")
                return file.read_bytes()
            entry = self._zip.getinfo(name)
            if entry.file_size > MAX_MASK_BYTES:
                raise ValueError("a file past 64 MB")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may ask for any amount of memory
                raise ValueError("packed neither by store nor by deflate")
            return self._zip.read(name)
        except _BROKEN as error:
            raise ValueError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._zip is not None:
            self._zip.close()


class PredictionStore:
    """The predictions of one run."""

    def __init__(self, root: Path, key: RunKey | None) -> None:
        self.root = root
        self.key = key  # None: somebody else's folder of masks
        self.folder = root / PREDICTIONS if (root / PREDICTIONS).is_dir() or key else root

    @classmethod
    def create(cls, root: Path, key: RunKey, card: dict[str, Any], benchmark: Path) -> PredictionStore:
        """The store at `root`, made if it is not there.

        Raises:
            UserInputError: the folder holds another run (the message says which field differs) or other files.
        """
        if store := cls.resume(root, key):
            return store
        write_text(root / RUN, to_json({"key": asdict(key), "card": card, "benchmark": str(benchmark.resolve())}))
        return cls(root, key)

    @classmethod
    def resume(cls, root: Path, key: RunKey) -> PredictionStore | None:
        """The store at `root`, or None where there is none yet; nothing is written.

        Raises:
            UserInputError: the folder holds another run (the message says which field differs) or other files.
        """
        if root.exists() and not root.is_dir():
            raise UserInputError("not a folder", root, expected="a folder for the run", fix="give another --out")
        # Another shard may be making the run at this moment: look at the folder first, at its key afterwards.
        strangers = sorted(entry.name for entry in root.iterdir() if not entry.name.endswith(".partial")) if root.is_dir() else []
        if (root / RUN).exists():
            if _read_key(root) != key and not any((root / PREDICTIONS).rglob("*.zip")):
                return None  # a run that never answered anything, as after a slip in an option: it gives way
            _refuse_other_run(root, key)
            return cls(root, key)
        if strangers:
            raise UserInputError("the folder holds no run", root, strangers[0], "an empty folder", "give another --out")
        return None

    @classmethod
    def open(cls, root: Path) -> PredictionStore:
        """The store at `root`: a run, or a plain folder of masks.

        Raises:
            UserInputError: there is no such folder.
        """
        if not root.is_dir():
            raise UserInputError("no such folder", root, expected="a run, or a folder of masks", fix="check the path")
        return cls(root, _read_key(root) if (root / RUN).exists() else None)

    @property
    def about(self) -> dict[str, Any]:
        """What `run.json` says: ``key``, ``card`` and the ``benchmark``'s folder; empty for a plain folder."""
        data = read_json(self.root / RUN) if self.key else {}
        return data if isinstance(data, dict) else {}

    def path(self, episode_id: str) -> Path:
        """Where an episode's prediction is or would be written."""
        return self.folder / f"{episode_id}.zip"

    def missing(self, episode_ids: Iterable[str]) -> list[str]:
        """The episodes that have no prediction yet, in order."""
        return [episode_id for episode_id in episode_ids if not self.path(episode_id).exists()]

    def sweep(self, episode_ids: Iterable[str]) -> None:
        """Remove what a killed run left of these episodes; nobody else may be writing them."""
        ours = {path for episode_id in episode_ids for path in (self.path(episode_id), self._timing_path(episode_id))}
        for leftover in self.root.rglob(".*.partial"):
            if leftover.with_name(leftover.name[1:].rsplit(".", 2)[0]) in ours:
                leftover.unlink(missing_ok=True)

    @contextmanager
    def writer(self, episode_id: str) -> Iterator[Callable[[str, bytes], None]]:
        """A function to hand each frame's id and mask, as PNG, in order; the prediction appears when the block ends well."""
        with atomic_file(self.path(episode_id)) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            yield lambda frame_id, png: archive.writestr(_entry(f"{frame_id}.png"), png)

    def write_timing(self, episode_id: str, timing: Timing) -> None:
        """Keep how long an episode took, beside its prediction."""
        write_text(self._timing_path(episode_id), json.dumps(asdict(timing)) + "\n")

    def _timing_path(self, episode_id: str) -> Path:
        return self.root / TIMING / f"{episode_id}.json"

    def timings(self) -> Iterator[Timing]:
        """What was kept of the episodes' times."""
        for path in sorted((self.root / TIMING).rglob("*.json")):
            yield Timing.load(path)

    def find(self, episode_id: str) -> Prediction | None:
        """An episode's prediction, or None where there is none.

        Raises:
            DataError: its zip is broken.
        """
        for path in (self.path(episode_id), self.folder / episode_id):
            if path.exists():
                return Prediction(path)
        return None

    def episode_ids(self) -> set[str]:
        """The ids of all predictions that are there."""
        found = self.folder.glob("*/*/*#*")
        return {path.relative_to(self.folder).as_posix().removesuffix(".zip") for path in found if not path.name.startswith(".")}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # dated 1980, so that the same masks give the same bytes
    entry.external_attr = 0o644 << 16
    return entry


def is_folder_name(name: str) -> bool:
    """Whether a method's name can be the folder of its runs: not hidden, without slashes, printable, not too long."""
    plain = bool(name) and not name.startswith(".") and name.isprintable() and not set(name) & set("/\\")
    return plain and len(name.encode(errors="replace")) <= 200


def _read_key(root: Path) -> RunKey:
    data = read_json(root / RUN)
    try:
        return RunKey(**data["key"])
    except (KeyError, TypeError) as error:
        raise DataError(
            "not a run of this version", root / RUN, f"{type(error).__name__} {error}", fix="run the method again into another folder"
        ) from error


def _refuse_other_run(root: Path, key: RunKey) -> None:
    old = _read_key(root)
    for field in fields(RunKey):
        before, after = getattr(old, field.name), getattr(key, field.name)
        if before != after:
            raise UserInputError(
                f"the folder belongs to another run, `{field.name}` differs",
                root,
                before,
                after,
                "give another --out, or remove the folder",
            )
