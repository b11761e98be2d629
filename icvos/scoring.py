"""From predictions to a result: every frame of every tube against the truth, all faults in one list, on all cores.

A clip's tubes are scored in one pass: a truth file is read, checked against the release's hash and inflated once for all
of them, a contour is prepared once for all support draws. Nothing is kept but two numbers a frame and draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from icvos.benchmark import Benchmark, by_clip, tube_id
from icvos.errors import DataError, Finding, SubmissionError
from icvos.files import read_data
from icvos.kernels import Kernel, Packed, Prepared, compile_apart, kernel_named
from icvos.masks import foreground_values, resize_nearest, size_text, unreadable_mask, wrong_size
from icvos.parallel import core_count, in_processes
from icvos.png import PngError, Scanlines, ValuesError, read_scanlines
from icvos.protocol import ScoringProtocol
from icvos.store import Prediction, PredictionStore
from icvos.types import Frame, Size, Tube

# In pixels of all masks to score; 410,000 make a mask at 480p. Below them one process is done before a second one has
# started, and numpy before numba is imported.
FEW_FOR_PROCESSES = 8 * 10**8
FEW_FOR_NUMBA = 2 * 10**8


@dataclass(frozen=True, slots=True)
class FrameScores:
    """J and F of one episode on each scored frame, in order."""

    episode: str
    frames: tuple[str, ...]
    J: tuple[float, ...]
    F: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TubeTable:
    """All that scoring one tube gives: the frame scores of its draws, what was there, and every fault."""

    tube: str
    draws: tuple[FrameScores, ...]
    expected: int
    present: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Leniency:
    """What a user explicitly lets pass; a result says so in its notes."""

    allow_missing: bool = False  # a mask that is not there counts 0
    resize: bool = False  # a mask of another size is resampled to the clip's, nearest neighbour

    @property
    def notes(self) -> tuple[str, ...]:
        """The leniencies in words."""
        return (("missing masks allowed, counted 0",) if self.allow_missing else ()) + (
            ("masks of other sizes resampled",) if self.resize else ()
        )


STRICT = Leniency()


def score_frames(
    store: PredictionStore,
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    on_event: Callable[[TubeTable], None] = lambda table: None,
) -> list[TubeTable]:
    """Score every episode of the release, frame by frame; one table a tube, in the order of the release.

    Args:
        store: the run, or a plain folder of masks.
        benchmark: the release.
        protocol: how masks become numbers.
        leniency: which faults are let pass.
        workers: processes; by default all cores where there is enough to do. The same tables come out for any number.
        on_event: called with each table as it is done.

    Raises:
        SubmissionError: a mask is missing, extra, truncated, of another size or with other values; lists all of them.
        DataError: a truth file is not the one that the release names.
    """
    clips = by_clip(benchmark.episode_ids)
    pixels = {key: sum(_pixels(benchmark.tubes[tube_id(name)], protocol) for name in ids) for key, ids in clips.items()}
    # The longest first, so that no core is left with one long clip at the end.
    jobs = [tuple(clips[key]) for key in sorted(clips, key=lambda key: -pixels[key])]
    all_pixels = sum(pixels.values())
    workers = workers or (core_count() if all_pixels >= FEW_FOR_PROCESSES else 1)
    kernel = "auto" if all_pixels >= FEW_FOR_NUMBA else "numpy"
    if kernel == "auto":
        compile_apart()
    tables = {}
    scores = _Scores(benchmark, store, protocol, leniency, kernel)
    for table in chain.from_iterable(in_processes(scores, jobs, workers)):
        on_event(table)
        tables[table.tube] = table
    ordered = [tables[name] for name in benchmark.tubes if name in tables]
    _refuse_faults(store, benchmark, ordered)
    return ordered


def scored_frames(benchmark: Benchmark, tube: Tube, protocol: ScoringProtocol) -> tuple[Frame, ...]:
    """The frames of a tube that count under a protocol, in order: annotated, among the first it takes, and not left out by it."""
    faulty = benchmark.faulty_frames(tube) if protocol.clean else frozenset[str]()
    return tuple(frame for frame in tube.clip.frames[: protocol.max_frames] if frame.mask and frame.id not in faulty)


def _pixels(tube: Tube, protocol: ScoringProtocol) -> int:
    height, width = protocol.size(tube.clip.size)
    return len(tube.clip.frames[: protocol.max_frames]) * height * width


def _refuse_faults(store: PredictionStore, benchmark: Benchmark, tables: Iterable[TubeTable]) -> None:
    strangers = sorted(store.episode_ids() - set(benchmark.episode_ids))
    findings = [
        Finding("extra-episode", str(store.folder / name), name, f"an episode of {benchmark.label}", "remove it") for name in strangers
    ]
    findings.extend(finding for table in tables for finding in table.findings)
    if findings:
        fix = f"first: {findings[0]}; mend all of them (--json lists them for machines), or see --allow-missing and --resize"
        raise SubmissionError("the predictions have faults", store.root, f"{len(findings)}", "none", fix, findings)
    if not any(table.present for table in tables):
        fix = "run a method first, or check the folder: <source>/<clip>/<class>#s0/<frame>.png"
        raise SubmissionError("no predictions", store.root, "no mask of this release", f"masks of {benchmark.label}", fix)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Gives, once a process, the function that scores one clip's episodes."""

    benchmark: Benchmark
    store: PredictionStore
    protocol: ScoringProtocol
    leniency: Leniency
    kernel: str

    def __call__(self) -> Callable[[Sequence[str]], list[TubeTable]]:
        kernel, tubes = kernel_named(self.kernel), self.benchmark.tubes

        def tables(episode_ids: Sequence[str]) -> list[TubeTable]:
            draws: dict[str, list[str]] = {}
            for episode_id in episode_ids:
                draws.setdefault(tube_id(episode_id), []).append(episode_id)
            with ExitStack() as stack:
                scorers = [_TubeScorer(self, tubes[name], ids, kernel, stack) for name, ids in draws.items()]
                truths = _Truths()
                for frames in zip_longest(*(scorer.frames for scorer in scorers)):
                    for scorer, frame in zip(scorers, frames, strict=True):
                        if frame is not None:
                            scorer.score(frame, truths.read(frame, scorer.tube.clip.size))
                return [scorer.table() for scorer in scorers]

        return tables


class _Truths:
    """Truth files, inflated once where the tubes of a clip share them frame by frame."""

    def __init__(self) -> None:
        self.last: tuple[Path, Scanlines] | None = None

    def read(self, frame: Frame, size: Size) -> Scanlines:
        path = frame.mask or frame.image  # only annotated frames are scored, so there is a mask
        if self.last is None or self.last[0] != path:
            try:
                self.last = path, read_scanlines(read_data(path, frame.mask_sha256))
            except PngError as error:
                raise unreadable_mask(path, error) from error
        if self.last[1].size != size:
            raise wrong_size(path, self.last[1].size, size)
        return self.last[1]


class _TubeScorer:
    """One tube and all its draws, fed frame by frame."""

    def __init__(self, how: _Scores, tube: Tube, episode_ids: Sequence[str], kernel: Kernel, stack: ExitStack) -> None:
        self.tube, self.episode_ids, self.kernel = tube, episode_ids, kernel
        self.store, self.protocol, self.leniency = how.store, how.protocol, how.leniency
        self.foreground = foreground_values(tube.instances, tube.clip.encoding)
        self.tolerance = self.protocol.tolerance(tube.clip.size)
        self.frames = scored_frames(how.benchmark, tube, self.protocol)
        self.findings: list[Finding] = []
        self.rows: list[list[tuple[float, float] | None]] = [[] for _ in episode_ids]
        self.predictions = [self._open(episode_id, stack) for episode_id in episode_ids]

    def score(self, frame: Frame, scanlines: Scanlines) -> None:
        """Compare every draw's mask of the next frame with the truth in `scanlines`."""
        truth = self.kernel.prepare(self._at_scoring_size(self._truth(frame, scanlines)), self.tolerance)
        for row, value in zip(self.rows, self._compared(frame, truth), strict=True):
            row.append(value)

    def table(self) -> TubeTable:
        """What was found."""
        draws = tuple(self._draw(episode_id, row) for episode_id, row in zip(self.episode_ids, self.rows, strict=True))
        present = sum(value is not None for row in self.rows for value in row)
        return TubeTable(self.tube.id, draws, len(self.frames) * len(draws), present, tuple(self.findings))

    def _draw(self, episode_id: str, row: Sequence[tuple[float, float] | None]) -> FrameScores:
        values = [value or (0.0, 0.0) for value in row]
        return FrameScores(episode_id, tuple(frame.id for frame in self.frames), tuple(j for j, _ in values), tuple(f for _, f in values))

    def _open(self, episode_id: str, stack: ExitStack) -> Prediction | None:
        try:
            prediction = self.store.find(episode_id)
        except DataError as error:
            self._fault("unreadable", error.where, error.found, error.expected, error.fix)
            return None
        if prediction is None:
            if not self.leniency.allow_missing:
                where = f"{self.store.folder / episode_id} (.zip or folder)"
                self._fault("missing-episode", where, "nothing", f"{len(self.frames)} masks", "predict the episode")
            return None
        stack.enter_context(closing(prediction))
        known = {frame.id for frame in self.tube.clip.frames}
        for frame_id in sorted(prediction.frame_ids - known):
            self._fault("extra-mask", f"{prediction.path}: {frame_id}.png", "a mask", "no such frame in the clip", "remove it")
        for name in prediction.strangers:
            self._fault("extra-file", f"{prediction.path}: {name}", "a file", "<frame>.png and nothing else", "remove it")
        return prediction

    def _compared(self, frame: Frame, truth: Prepared) -> Iterator[tuple[float, float] | None]:
        seen: dict[bytes, tuple[float, float]] = {}  # draws often agree, and then so do the bytes
        for prediction in self.predictions:
            data = self._read(prediction, frame)
            if prediction is None or data is None:
                yield None
                continue
            if data not in seen:
                packed = self._decode(data, f"{prediction.path}: {frame.id}.png")
                if packed is None:  # a fault of this draw; the next one with the same bytes has it too
                    yield None
                    continue
                seen[data] = self.kernel.compare(packed, truth)
            yield seen[data]

    def _truth(self, frame: Frame, scanlines: Scanlines) -> Packed:
        try:
            return self.kernel.pick(scanlines, self.foreground)
        except PngError as error:
            raise unreadable_mask(frame.mask, error) from error

    def _read(self, prediction: Prediction | None, frame: Frame) -> bytes | None:
        if prediction is None:
            return None
        if frame.id not in prediction.frame_ids:
            if not self.leniency.allow_missing:
                self._fault("missing-mask", f"{prediction.path}: {frame.id}.png", "nothing", "a mask of this frame", "predict every frame")
            return None
        try:
            return prediction.read(frame.id)
        except ValueError as error:
            self._fault("unreadable", f"{prediction.path}: {frame.id}.png", str(error), "a whole PNG", "write it again")
            return None

    def _decode(self, data: bytes, where: str) -> Packed | None:
        try:
            packed = self.kernel.read_prediction(data)
        except PngError as error:
            code = "values" if isinstance(error, ValuesError) else "unreadable"
            self._fault(code, where, str(error), "a one-channel PNG of 0 and 1, or of 0 and 255", "write it again")
            return None
        size = self.tube.clip.size
        if packed.size not in {size, self.protocol.size(size)}:
            if not self.leniency.resize:
                self._fault("size", where, size_text(packed.size), size_text(size), "write masks at the clip's own size, or allow --resize")
                return None
            packed = self._resampled(packed, size)
        return self._at_scoring_size(packed)

    def _at_scoring_size(self, packed: Packed) -> Packed:
        size = self.protocol.size(self.tube.clip.size)
        return packed if packed.size == size else self._resampled(packed, size)

    def _resampled(self, packed: Packed, size: Size) -> Packed:
        return self.kernel.pack(resize_nearest(self.kernel.unpack(packed), size))

    def _fault(self, code: str, where: str, found: str, expected: str, fix: str) -> None:
        self.findings.append(Finding(code, where, found, expected, fix))
