"""Predictions on disk: one zip of 1-bit PNGs an episode, whole or not there, under the key of the run that made them.

    <run>/run.json                                    the run's key
    <run>/predictions/<source>/<clip>/<class>#s0.zip  <frame>.png, one a frame
    <run>/timing/<source>/<clip>/<class>#s0.json      how long it took (never part of a result's bytes)

A plain folder of masks, `<source>/<clip>/<class>#s0/<frame>.png`, is read in the same way, and so is a zip of either.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from icvos.errors import DataError, Finding, UserInputError
from icvos.files import AnyPath, atomic_file, names_its_writer, read_json, sweep, temporary_for, to_json, write_text
from icvos.handed_in.limits import ANY, MOST_RUN_FILE_BYTES, Limits
from icvos.handed_in.limits import MOST_MASK_BYTES as MAX_MASK_BYTES
from icvos.handed_in.names import shown
from icvos.handed_in.nodes import Node, OnDisk, Refused
from icvos.handed_in.records import card_findings, key_findings, parsed
from icvos.names import NONE_LEFT, NotData, data_in, is_junk, lies_in_junk
from icvos.places import find_release
from icvos.results import Timing
from icvos.types import MethodCard

RUN = "run.json"
PREDICTIONS = "predictions"
TIMING = "timing"


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


@dataclass(frozen=True, slots=True)
class RunFile:
    """What `run.json` says, as far as it can be believed, and every fault of it."""

    key: RunKey | None
    card: dict[str, Any]
    benchmark: str  # where the release lay on the machine of the run; empty in what was packed
    where: str
    findings: tuple[Finding, ...] = ()

    @property
    def remembered(self) -> Path | None:
        """The release's folder, beside the run where both were moved together, or where it was, if it is still there.

        To be asked of a run's folder only, for a zip comes from somebody else.
        """
        return find_release(self.benchmark, Path(self.where).parent, self.key.digest) if self.benchmark and self.key else None


class Prediction:
    """The mask files of one episode, in a zip or in a folder; read one at a time, never unpacked."""

    def __init__(self, path: AnyPath | Node, root: Node | None = None) -> None:
        self._node = path if isinstance(path, Node) else OnDisk(Path(path))
        self._root = root  # the zip that it lies in, if it does
        self.path = self._node.where
        try:
            self._listing = self._node.listed()
        except Refused as refused:
            raise DataError(
                "cannot read the prediction", self.path, refused.found, refused.expected, "remove the file and run again"
            ) from refused
        names = self._listing.children
        self.frame_ids = frozenset(name[:-4] for name in names if name.endswith(".png"))  # the frames that have a mask
        self.strangers = sorted(name for name in names if not name.endswith(".png"))

    def read(self, frame_id: str) -> bytes:
        """The PNG of one frame.

        Raises:
            ValueError: it cannot be read (the message says why).
        """
        file = self._listing.children[f"{frame_id}.png"]
        if file.fault:
            raise file.fault
        return file.read(MAX_MASK_BYTES)

    def close(self) -> None:
        """Let go of the file."""
        self._node.close()
        if self._root is not None:
            self._root.close()


class PredictionStore:
    """The predictions of one run."""

    def __init__(self, root: AnyPath, key: RunKey | None) -> None:
        root = Path(root)
        self.root = root
        self.key = key  # None: somebody else's folder of masks
        self.folder = root / PREDICTIONS if (root / PREDICTIONS).is_dir() or key else root

    @classmethod
    def create(cls, root: AnyPath, key: RunKey, card: dict[str, Any], benchmark: AnyPath) -> PredictionStore:
        """The store at `root`, made if it is not there.

        Raises:
            UserInputError: the folder holds another run (the message says which field differs) or other files.
        """
        root = Path(root)
        benchmark = Path(benchmark)
        if store := cls.resume(root, key):
            return store
        write_text(root / RUN, to_json({"key": asdict(key), "card": card, "benchmark": str(benchmark.resolve())}))
        return cls(root, key)

    @classmethod
    def resume(cls, root: AnyPath, key: RunKey) -> PredictionStore | None:
        """The store at `root`, or None where there is none yet; nothing is written.

        Raises:
            UserInputError: the folder holds another run (the message says which field differs) or other files.
        """
        root = Path(root)
        if root.exists() and not root.is_dir():
            raise UserInputError("not a folder", root, expected="a folder for the run", fix="give another --out")
        # Another shard may be making the run at this moment: look at the folder first, at its key afterwards.
        strangers = sorted(path.name for path in data_in(root))
        if (root / RUN).exists():
            if _read_key(root) != key and not any((root / PREDICTIONS).rglob("*.zip")):
                return None  # a run that never answered anything, as after a slip in an option: it gives way
            _refuse_other_run(root, key)
            return cls(root, key)
        if strangers:
            raise UserInputError("the folder holds no run", root, strangers[0], "an empty folder", "give another --out")
        return None

    @classmethod
    def open(cls, root: AnyPath) -> PredictionStore:
        """The store at `root`: a run, a plain folder of masks, or a zip of either, which can only be read.

        Raises:
            UserInputError: there is no such folder or file.
            DataError: what `run.json` says has faults.
        """
        root = Path(root)
        if not root.exists():
            raise UserInputError("no such folder", root, expected="a run, a folder of masks or a zip of either", fix="check the path")
        run = read_run_file(root)
        if run and run.findings:
            first = run.findings[0]
            raise DataError(
                "not a run of this version",
                first.where,
                first.found,
                first.expected,
                "run the method again into another folder",
                run.findings,
            )
        return cls(root, run.key if run else None)

    @classmethod
    def behind(cls, result: AnyPath) -> PredictionStore | None:
        """The run that a result's file lies in, or None where it lies in none. Raises what `open` raises."""
        result = Path(result)
        root = result.resolve().parent.parent
        return cls.open(root) if (root / RUN).is_file() else None

    @property
    def remembered(self) -> Path | None:
        """The folder of the release that the run was made on, where it is still there. A zip comes from somebody else: not believed."""
        run = read_run_file(self.root) if self.key and self.root.is_dir() else None
        return run.remembered if run else None

    @property
    def about(self) -> dict[str, Any]:
        """What `run.json` says: ``key``, ``card`` and the ``benchmark``'s folder; empty where there is none."""
        run = read_run_file(self.root) if self.key else None
        return {"key": run.key and asdict(run.key), "card": run.card, "benchmark": run.benchmark} if run else {}

    def tree(self, limits: Limits = ANY) -> Node:
        """The folder, or the zip within these limits, as a node; close it."""
        return OnDisk(self.root, limits=limits)

    def not_data(self, limits: Limits = ANY) -> NotData:
        """What lies beside the masks and is no data; zips of episodes are opened, within these limits, where it is no run."""
        with closing(self.tree(limits)) as root:
            return _not_data(root, limits, zips=self.key is None)

    def path(self, episode_id: str) -> Path:
        """Where an episode's prediction is or would be written."""
        return self.folder / f"{episode_id}.zip"

    def missing(self, episode_ids: Iterable[str]) -> list[str]:
        """The episodes that have no prediction yet, in order."""
        return [episode_id for episode_id in episode_ids if not self.path(episode_id).exists()]

    def sweep(self, episode_ids: Iterable[str]) -> None:
        """Remove what killed runs left, of earlier versions only for these episodes: nobody else may be writing them."""
        ours = {path for episode_id in episode_ids for path in (self.path(episode_id), self._timing_path(episode_id))}
        sweep(left for left in self.root.rglob(".*.partial") if names_its_writer(left.name) or temporary_for(left) in ours)

    @contextmanager
    def writer(self, episode_id: str) -> Iterator[Callable[[str, bytes], None]]:
        """A function to hand each frame's id and mask, as PNG, in order; the prediction appears when the block ends well."""
        with atomic_file(self.path(episode_id)) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            yield lambda frame_id, png: archive.writestr(packed_entry(f"{frame_id}.png"), png)

    def write_timing(self, episode_id: str, timing: Timing) -> None:
        """Keep how long an episode took, beside its prediction."""
        write_text(self._timing_path(episode_id), json.dumps(asdict(timing)) + "\n")

    def _timing_path(self, episode_id: str) -> Path:
        return self.root / TIMING / f"{episode_id}.json"

    def timings(self) -> Iterator[Timing]:
        """What was kept of the episodes' times."""
        for path in sorted((self.root / TIMING).rglob("*.json")):
            if not lies_in_junk(path, self.root):
                yield Timing.load(path)

    def find(self, episode_id: str) -> Prediction | None:
        """An episode's prediction, or None where there is none.

        Raises:
            DataError: its zip is broken.
        """
        source, clip, name = episode_id.split("/")
        root = self.tree()
        for base in _bases(root):
            for last in (f"{name}.zip", name):
                if node := descend(base, (source, clip, last)):
                    return Prediction(node, root)
        root.close()
        return None

    def episode_ids(self) -> set[str]:
        """The ids of all predictions that are there."""
        found = self.folder.glob("*/*/*#*")
        return {path.relative_to(self.folder).as_posix().removesuffix(".zip") for path in found if not is_junk(path.name)}


def descend(node: Node, names: Iterable[str]) -> Node | None:
    """What lies where these names lead from a node, if anything does that may be read."""
    found: Node | None = node
    for name in names:
        found = found.child(name) if found else None
    return found


def _bases(root: Node) -> list[Node]:
    """The folders that may hold the sources, or a run: the top, and the only folder in it, each before its ``predictions/``."""
    tops = [root, *only_folder(root)]
    return [node for top in tops for node in (top.child(PREDICTIONS), top) if node]


def _not_data(node: Node, limits: Limits, *, zips: bool) -> NotData:
    """What is no data in a folder or zip and below, in zips that lie in it too where that is asked."""
    try:
        listing = node.listed(limits)
    except Refused:  # told as a fault by whoever reads it
        return NONE_LEFT
    below = [child for child in listing.children.values() if child.is_folder or (zips and child.name.lower().endswith(".zip"))]
    found = listing.not_data
    for child in sorted((child for child in below if not child.fault), key=lambda child: child.name):
        with closing(child):
            found += _not_data(child, limits, zips=zips and child.is_folder)
    return found


def only_folder(root: Node) -> list[Node]:
    """The folder that lies around everything else, as programs that make zips add one; empty where there is none."""
    try:
        folders = [node for node in root.listed().children.values() if node.is_folder]
    except Refused:
        return []
    return folders if len(folders) == 1 else []


def read_run_file(root: AnyPath, limits: Limits = ANY) -> RunFile | None:
    """What the `run.json` of a run's folder, or of a zip of it, says; None where there is none."""
    root = Path(root)
    with closing(OnDisk(root, limits=limits)) as top:
        for node in (top, *only_folder(top)):
            if file := node.child(RUN):
                return _run_file(file)
    return None


def _run_file(file: Node) -> RunFile:
    try:
        data, findings = parsed(file.read(MOST_RUN_FILE_BYTES), file.where, "run")
    except Refused as refused:
        data, findings = {}, [refused.at(file.where)]
    if findings:
        return RunFile(None, {}, "", file.where, tuple(findings))
    key, card, benchmark = data.get("key"), data.get("card"), data.get("benchmark", "")
    findings = key_findings(RunKey, key, f"{file.where}: key") + card_findings(card, f"{file.where}: card")
    if not isinstance(benchmark, str):
        findings.append(Finding("run", f"{file.where}: benchmark", type(benchmark).__name__, "a path, or nothing", "leave it out"))
    if findings or not isinstance(key, dict) or not isinstance(card, dict):
        return RunFile(None, {}, "", file.where, tuple(findings))
    said = RunKey(**key)
    return RunFile(said, card, benchmark, file.where, tuple(_disagreements(said, card, file.where)))


def _disagreements(key: RunKey, card: dict[str, Any], where: str) -> list[Finding]:
    """Where a card says something else than the key: the one stands on the board, the other in the signature."""
    said = MethodCard(**card)
    pairs = {"name": (said.name, key.method), "version": (said.version, key.method_version)}
    pairs |= {"weights": (said.weights, key.weights), "precision": (said.precision, key.precision)}
    return [
        Finding("card", f"{where}: card.{name}", shown(found), f"{shown(expected)}, as the key says", "let both say the same")
        for name, (found, expected) in pairs.items()
        if found != expected
    ]


def packed_entry(name: str) -> zipfile.ZipInfo:
    """An entry of a zip that is the same on every machine and day."""
    entry = zipfile.ZipInfo(name)  # dated 1980, so that the same masks give the same bytes
    entry.external_attr = 0o644 << 16
    return entry


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
