"""From predictions to a result: every frame of every tube against the truth, all faults in one list, on all cores.

A clip's tubes are scored in one pass: a truth file is read, checked against the release's hash and inflated once for all
of them, a contour is prepared once for all support draws. Nothing is kept but two numbers a frame and draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

from icvos.benchmark import Benchmark, by_clip, tube_id
from icvos.errors import Finding, SubmissionError
from icvos.files import read_data
from icvos.handed_in.asked import Wanted
from icvos.handed_in.layout import Layout, laid_out
from icvos.handed_in.masks import STRICT, EpisodeMasks, Leniency, Rules, resampled
from icvos.handed_in.nodes import Node
from icvos.kernels import Packed, Prepared, compile_apart, kernel_named
from icvos.masks import foreground_values, unreadable_mask, wrong_size
from icvos.parallel import core_count, in_processes
from icvos.png import PngError, Scanlines, read_scanlines
from icvos.protocol import ScoringProtocol
from icvos.store import PredictionStore
from icvos.types import Frame, Size, Tube

__all__ = ["STRICT", "FrameScores", "Leniency", "TubeTable", "refuse", "score_frames"]

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
    masks: str = field(default="", compare=False)  # one hash over the masks that were read


@dataclass(frozen=True, slots=True)
class TubeTable:
    """All that scoring one tube gives: the frame scores of its draws, what was there, and every fault."""

    tube: str
    draws: tuple[FrameScores, ...]
    expected: int
    present: int
    findings: tuple[Finding, ...]


def score_frames(
    store: PredictionStore,
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    findings: Sequence[Finding] = (),
    on_event: Callable[[TubeTable], None] = lambda table: None,
) -> list[TubeTable]:
    """Score every episode of the release, frame by frame; one table a tube, in the order of the release.

    Args:
        store: the run, a plain folder of masks, or a zip of either.
        benchmark: the release.
        protocol: how masks become numbers.
        leniency: which faults are let pass.
        workers: processes; by default all cores where there is enough to do. The same tables come out for any number.
        findings: faults that are known already, to be listed with the others.
        on_event: called with each table as it is done.

    Raises:
        SubmissionError: a mask is missing, extra, truncated, of another size or with other values; lists all of them.
        DataError: a truth file is not the one that the release names.
    """
    with closing(store.tree()) as root:
        layout = laid_out(root, benchmark.asked(protocol))
    findings = (*findings, *layout.findings)
    if layout.lost:
        refuse(store.root, findings)
    jobs, pixels = jobs_of(benchmark.episode_ids, lambda episode_id: _pixels(benchmark.tubes[tube_id(episode_id)], protocol))
    workers = workers or useful_workers(pixels)
    kernel = "auto" if pixels >= FEW_FOR_NUMBA else "numpy"
    if kernel == "auto":
        compile_apart()
    tables = {}
    scores = _Scores(benchmark, store, layout, protocol, leniency, kernel)
    for table in chain.from_iterable(in_processes(scores, jobs, workers)):
        on_event(table)
        tables[table.tube] = table
    ordered = [tables[name] for name in benchmark.tubes if name in tables]
    refuse(store.root, [*findings, *(finding for table in ordered for finding in table.findings)])
    if not any(table.present for table in ordered):
        fix = "run a method first, or check the folder: <source>/<clip>/<class>#s0/<frame>.png"
        raise SubmissionError("no predictions", store.root, "no mask of this release", f"masks of {benchmark.label}", fix)
    return ordered


def scored_frames(benchmark: Benchmark, tube: Tube, protocol: ScoringProtocol) -> tuple[Frame, ...]:
    """The frames of a tube that count under a protocol, in order: annotated, among the first it takes, and not left out by it."""
    faulty = benchmark.faulty_frames(tube) if protocol.clean else frozenset[str]()
    return tuple(frame for frame in tube.clip.frames[: protocol.max_frames] if frame.mask and frame.id not in faulty)


def jobs_of(episode_ids: Iterable[str], pixels_of: Callable[[str], int]) -> tuple[list[tuple[str, ...]], int]:
    """The episodes clip by clip, the longest first, so that no core is left with one long clip at the end; and all pixels."""
    clips = {key: tuple(ids) for key, ids in by_clip(episode_ids).items()}
    pixels = {key: sum(map(pixels_of, ids)) for key, ids in clips.items()}
    return [clips[key] for key in sorted(clips, key=lambda key: -pixels[key])], sum(pixels.values())


def useful_workers(pixels: int) -> int:
    """How many processes are worth it for masks of so many pixels in all."""
    return core_count() if pixels >= FEW_FOR_PROCESSES else 1


def refuse(where: Path, findings: Sequence[Finding]) -> None:
    """Refuse predictions for their faults, if they have any.

    Raises:
        SubmissionError: they have; all are listed.
    """
    if findings:
        lenient = {"missing": "--allow-missing", "size": "--resize"}
        options = [option for code, option in lenient.items() if any(finding.code.startswith(code) for finding in findings)]
        more = f", or see {' and '.join(options)}" if options else ""
        fix = f"first: {findings[0]}; mend all of them (--json lists them for machines){more}"
        raise SubmissionError("the predictions have faults", where, f"{len(findings)}", "none", fix, findings)


def _pixels(tube: Tube, protocol: ScoringProtocol) -> int:
    height, width = protocol.size(tube.clip.size)
    return len(tube.clip.frames[: protocol.max_frames]) * height * width


@dataclass(frozen=True, slots=True)
class _Scores:
    """Gives, once a process, the function that scores one clip's episodes."""

    benchmark: Benchmark
    store: PredictionStore
    layout: Layout
    protocol: ScoringProtocol
    leniency: Leniency
    kernel: str

    def __call__(self) -> Callable[[Sequence[str]], list[TubeTable]]:
        tubes, root = self.benchmark.tubes, self.store.tree(self.layout.limits)
        rules = Rules(self.protocol, self.leniency, kernel_named(self.kernel))

        def tables(episode_ids: Sequence[str]) -> list[TubeTable]:
            draws: dict[str, list[str]] = {}
            for episode_id in episode_ids:
                draws.setdefault(tube_id(episode_id), []).append(episode_id)
            with ExitStack() as stack:
                scorers = [_TubeScorer(self, tubes[name], ids, root, rules, stack) for name, ids in draws.items()]
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
            raise wrong_size(frame, self.last[1].size, size)
        return self.last[1]


class _TubeScorer:
    """One tube and all its draws, fed frame by frame."""

    def __init__(self, how: _Scores, tube: Tube, episode_ids: Sequence[str], root: Node, rules: Rules, stack: ExitStack) -> None:
        self.tube, self.episode_ids, self.kernel, self.protocol = tube, episode_ids, rules.kernel, how.protocol
        self.foreground = foreground_values(tube.instances, tube.clip.encoding)
        self.tolerance = self.protocol.tolerance(tube.clip.size)
        self.frames = scored_frames(how.benchmark, tube, self.protocol)
        wanted = Wanted(tube.clip.size, tuple(frame.id for frame in tube.clip.frames), tuple(frame.id for frame in self.frames))
        self.rows: list[list[tuple[float, float] | None]] = [[] for _ in episode_ids]
        self.masks = [stack.enter_context(closing(EpisodeMasks(name, root, how.layout, wanted, rules))) for name in episode_ids]

    def score(self, frame: Frame, scanlines: Scanlines) -> None:
        """Compare every draw's mask of the next frame with the truth in `scanlines`."""
        truth = self.kernel.prepare(self._truth(frame, scanlines), self.tolerance)
        for row, value in zip(self.rows, self._compared(frame, truth), strict=True):
            row.append(value)

    def table(self) -> TubeTable:
        """What was found."""
        draws = tuple(self._draw(*draw) for draw in zip(self.episode_ids, self.rows, self.masks, strict=True))
        present = sum(value is not None for row in self.rows for value in row)
        findings = tuple(finding for masks in self.masks for finding in masks.findings)
        return TubeTable(self.tube.id, draws, len(self.frames) * len(draws), present, findings)

    def _draw(self, episode_id: str, row: Sequence[tuple[float, float] | None], masks: EpisodeMasks) -> FrameScores:
        values, frames = [value or (0.0, 0.0) for value in row], tuple(frame.id for frame in self.frames)
        return FrameScores(episode_id, frames, tuple(j for j, _ in values), tuple(f for _, f in values), masks.sha256)

    def _compared(self, frame: Frame, truth: Prepared) -> Iterator[tuple[float, float] | None]:
        seen: dict[bytes, tuple[float, float]] = {}  # draws often agree, and then so do the bytes
        for masks in self.masks:
            data = masks.read(frame.id)
            if data is None:
                yield None
                continue
            if data not in seen:
                packed = masks.decode(data, frame.id)
                if packed is None:  # a fault of this draw; the next one with the same bytes has it too
                    yield None
                    continue
                seen[data] = self.kernel.compare(packed, truth)
            yield seen[data]

    def _truth(self, frame: Frame, scanlines: Scanlines) -> Packed:
        try:
            truth = self.kernel.pick(scanlines, self.foreground)
        except PngError as error:
            raise unreadable_mask(frame.mask, error) from error
        return resampled(truth, self.protocol.size(self.tube.clip.size), self.kernel)
