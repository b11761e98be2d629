"""Running a method over a release: clip by clip, each frame decoded once for all episodes that ask about its clip."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from icvos.benchmark import Benchmark, by_clip, tube_id
from icvos.errors import Finding, IcvosError, PluginError
from icvos.masks import read_tube_mask, size_text
from icvos.parallel import ahead, core_count, in_processes
from icvos.png import encode_png
from icvos.propagate.base import noticed, warmed_up
from icvos.registry import LoadedMethod, load_method
from icvos.results import Timing
from icvos.store import PredictionStore, RunKey
from icvos.types import Clip, Compute, Episode, Frame, Image, Mask, NeedsTruth, Segmenter, SegmentsTogether

PREFETCH = 4  # frames decoded ahead of the method
FEW_PIXELS = 10**8  # about 250 masks at 480p: a floor is done with them before a second process has started

Shard = tuple[int, int]  # this part (from 1) and the number of parts


@dataclass(frozen=True, slots=True)
class ClipDone:
    """One clip is answered: its key, its episodes, and the masks written."""

    clip: str
    episodes: int
    masks: int
    seconds: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a call of `run` did."""

    store: Path
    episodes_done: int
    episodes_kept: int  # there before
    masks: int
    seconds: float  # without the warm-up
    findings: tuple[Finding, ...] = ()  # what the method noticed, each where it did
    warm_up_seconds: float = 0.0  # of this process; further processes warm up by themselves, within `seconds`


def run_key(benchmark: Benchmark, method: LoadedMethod) -> RunKey:
    """The key under which this method's predictions on this release are kept."""
    manifest = benchmark.manifest
    card = method.card
    release = f"{manifest.name}@{manifest.version}"
    return RunKey(release, benchmark.digest, card.name, card.version, method.code, card.weights, card.precision)


def open_store(benchmark: Benchmark, method: LoadedMethod, root: Path) -> PredictionStore:
    """The store at `root` for this method on this release, made if it is not there.

    Raises:
        UserInputError: the folder belongs to another run.
    """
    return PredictionStore.create(root, run_key(benchmark, method), asdict(method.card), benchmark.path)


def planned(
    benchmark: Benchmark, store: PredictionStore | None, *, shard: Shard = (1, 1), limit: int | None = None
) -> list[tuple[str, ...]]:
    """The episodes that a run would answer, grouped by clip; shards take whole clips in turn."""
    wanted = benchmark.episode_ids[:limit]
    missing = set(store.missing(wanted) if store else wanted)
    part, parts = shard
    mine = [ids for number, ids in enumerate(by_clip(wanted).values()) if number % parts == part - 1]
    grouped = [tuple(episode_id for episode_id in ids if episode_id in missing) for ids in mine]
    return [ids for ids in grouped if ids]


def run(
    method: LoadedMethod,
    benchmark: Benchmark,
    store: PredictionStore,
    *,
    shard: Shard = (1, 1),
    limit: int | None = None,
    workers: int | None = None,
    on_event: Callable[[ClipDone], None] = lambda event: None,
) -> RunReport:
    """Let a method answer every episode that the store does not hold yet.

    Each prediction is written whole when its clip is done; what is there is kept, so the same call after any
    interruption goes on, and shards may write into one store at the same time.

    Args:
        method: what `load_method` gave; further processes load it again by its name.
        benchmark: the release.
        store: what `open_store` gave.
        shard: which part of the clips.
        limit: only the first so many episodes of the release.
        workers: processes; by default all cores where the card allows it and there is enough to do, else this one.
        on_event: called with each clip that is done.

    Raises:
        PluginError: the method fails or breaks its contract.
        DataError: a frame is not the one that the release names.
    """
    started = time.perf_counter()
    groups = planned(benchmark, store, shard=shard, limit=limit)
    wanted = [episode_id for ids in planned(benchmark, None, shard=shard, limit=limit) for episode_id in ids]
    store.sweep(wanted)
    workers = workers or _useful_workers(method, benchmark, groups)
    # A single process keeps the method that is loaded already: its weights need not fit into memory twice.
    prepare = Answers(method.spec, method.compute, benchmark, store)
    here = min(workers, len(groups)) <= 1
    warm_up = warmed_up(method.segmenter) if here and groups else 0.0
    events: list[ClipDone] = []
    try:
        with closing(in_processes((lambda: prepare.by(method)) if here else prepare, groups, workers)) as stream:
            for event in stream:
                events.append(event)
                on_event(event)
    except BaseException:  # a worker that was ended leaves what it was writing
        store.sweep(wanted)
        raise
    done, masks = sum(event.episodes for event in events), sum(event.masks for event in events)
    findings = tuple(finding for event in sorted(events, key=lambda event: event.clip) for finding in event.findings)
    seconds = time.perf_counter() - started - warm_up
    return RunReport(store.root, done, len(wanted) - done, masks, seconds, findings, warm_up)


def _useful_workers(method: LoadedMethod, benchmark: Benchmark, groups: Sequence[Sequence[str]]) -> int:
    if not method.card.parallel:
        return 1
    tubes = (benchmark.tubes[tube_id(episode_id)] for ids in groups for episode_id in ids)
    pixels = sum(len(tube.clip.frames) * tube.clip.size[0] * tube.clip.size[1] for tube in tubes)
    return core_count() if pixels >= FEW_PIXELS else 1


@dataclass(frozen=True, slots=True)
class Answers:
    """Loads a method, once a process, and makes the function that answers one clip's episodes."""

    spec: str
    compute: Compute
    benchmark: Benchmark
    store: PredictionStore

    def __call__(self) -> Callable[[Sequence[str]], ClipDone]:
        """The function, with the method loaded anew."""
        return self.by(load_method(self.spec, self.compute))

    def by(self, method: LoadedMethod) -> Callable[[Sequence[str]], ClipDone]:
        """The function: ids of episodes of one clip -> what was done by this method."""
        episodes = {episode.id: episode for episode in self.benchmark.episodes}
        return lambda ids: answer_episodes(method.segmenter, [episodes[name] for name in ids], self.store)


def answer_episodes(segmenter: Segmenter, episodes: Sequence[Episode], store: PredictionStore) -> ClipDone:
    """Answer episodes of one clip in one pass where the method can, else in one pass each."""
    started = time.perf_counter()
    together = isinstance(segmenter, NeedsTruth | SegmentsTogether)
    findings: list[Finding] = []
    for batch in [episodes] if together else [[episode] for episode in episodes]:
        batch_started = time.perf_counter()
        _answer_batch(segmenter, batch, store)
        findings += [replace(finding, where=batch[number].id) for number, finding in noticed(segmenter)]
        seconds = (time.perf_counter() - batch_started) / len(batch)
        for episode in batch:
            store.write_timing(episode.id, Timing(len(episode.tube.clip.frames), seconds, peak_rss_bytes()))
    clip = episodes[0].tube.clip
    masks = len(clip.frames) * len(episodes)
    return ClipDone(clip.key, len(episodes), masks, time.perf_counter() - started, tuple(findings))


def _answer_batch(segmenter: Segmenter, episodes: Sequence[Episode], store: PredictionStore) -> None:
    clip = episodes[0].tube.clip
    with ExitStack() as stack:
        frames = stack.enter_context(closing(ahead(Frame.read_image, clip.frames, PREFETCH, threads=2)))
        answers = _guarded(segmenter.card.name, clip, lambda: _masks(segmenter, frames, episodes))
        writers = [stack.enter_context(store.writer(episode.id)) for episode in episodes]
        for frame in clip.frames:
            masks = next(answers, ())
            if not isinstance(masks, tuple | list) or len(masks) != len(episodes):
                raise _broken(segmenter, clip, frame.id, _how_many(masks), _how_many(episodes))
            packed: dict[int, bytes] = {}  # one array for several episodes is packed once
            for write, mask in zip(writers, masks, strict=True):
                if id(mask) not in packed:
                    _check(segmenter, clip, frame.id, mask)
                    packed[id(mask)] = encode_png(mask)
                write(frame.id, packed[id(mask)])
        if any(True for _ in answers):
            raise _broken(segmenter, clip, f"after the last, {clip.frames[-1].id}", "another mask", f"{len(clip.frames)} in all")


def _masks(segmenter: Segmenter, frames: Iterable[Image], episodes: Sequence[Episode]) -> Iterator[tuple[Mask, ...]]:
    if isinstance(segmenter, NeedsTruth):
        return segmenter.segment_from_truth(frames, [_first_truth(episode) for episode in episodes])
    supports = [episode.supports for episode in episodes]
    if isinstance(segmenter, SegmentsTogether):
        return segmenter.segment_together(frames, supports)
    return ((mask,) for mask in segmenter.segment(frames, supports[0]))


def _first_truth(episode: Episode) -> Mask:
    clip = episode.tube.clip
    mask = read_tube_mask(episode.tube, clip.frames[0])
    return np.zeros(clip.size, np.bool_) if mask is None else mask


def _guarded(name: str, clip: Clip, answer: Callable[[], Iterator[tuple[Mask, ...]]]) -> Iterator[tuple[Mask, ...]]:
    """What a method yields; what it raises, when it is called or later, becomes an error that names it."""
    try:
        yield from answer()
    except IcvosError:  # our own reading of frames and supports speaks for itself
        raise
    except (Exception, SystemExit) as error:  # a method that exits would end the run as if all were done
        message = f"{type(error).__name__}: {error}"
        raise PluginError(
            "the method failed", f"{name} on {clip.key}", message, fix="mend the method, then run the same command again"
        ) from error


def _how_many(masks: object) -> str:
    if not isinstance(masks, tuple | list):
        return type(masks).__name__
    return "no mask" if not masks else "1 mask" if len(masks) == 1 else f"{len(masks)} masks"


def _check(segmenter: Segmenter, clip: Clip, frame_id: str, mask: object) -> None:
    if not isinstance(mask, np.ndarray):
        raise _broken(segmenter, clip, frame_id, type(mask).__name__, "a numpy array")
    if mask.shape != clip.size:
        raise _broken(segmenter, clip, frame_id, f"a mask of {size_text(mask.shape)}", size_text(clip.size))
    if mask.dtype != np.bool_:
        raise _broken(segmenter, clip, frame_id, f"a mask of {mask.dtype}", "bool")


def _broken(segmenter: Segmenter, clip: Clip, frame_id: str, found: str, expected: str) -> PluginError:
    where = f"{segmenter.card.name} on {clip.key}, frame {frame_id}"
    return PluginError("the method broke its contract", where, found, expected, "one (H, W) bool mask a frame, in order; mend the method")


def peak_rss_bytes() -> int:
    """The largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage also counts the size that the parent had when this process was born
        peaks = [int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if peaks:
            return peaks[0]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
