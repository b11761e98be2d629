"""Running a method over a release: clip by clip, each frame decoded once for all episodes that ask about its clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from icvos.benchmark import by_clip, tube_id
from icvos.errors import Finding, PluginError
from icvos.files import AnyPath
from icvos.parallel import core_count, in_processes
from icvos.passes import Asked, ClipDone, OnWritten, Written, answer_clip
from icvos.propagate.base import warmed_up
from icvos.registry import LoadedMethod, load_method
from icvos.store import PredictionStore, RunKey
from icvos.types import Compute, Episode, SegmentsFiles, Tube

FEW_PIXELS = 10**8  # about 250 masks at 480p: a floor is done with them before a second process has started

Shard = tuple[int, int]  # this part (from 1) and the number of parts


class Named(Protocol):
    """A release's name and version."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...


class Questions(Protocol):
    """All that a run needs of a release, be it of clips (`Benchmark`) or of images (`icvos.fewshot.release.ImageRelease`)."""

    @property
    def path(self) -> Path:
        """Its folder."""
        ...

    @property
    def manifest(self) -> Named:
        """What it is called."""
        ...

    @property
    def digest(self) -> str:
        """The sha256 of its files."""
        ...

    @property
    def episode_ids(self) -> tuple[str, ...]:
        """The ids of its episodes, in order."""
        ...

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Its episodes, in order."""
        ...

    @property
    def tubes(self) -> Mapping[str, Tube]:
        """What they ask for, by id."""
        ...


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


def run_key(benchmark: Questions, method: LoadedMethod) -> RunKey:
    """The key under which this method's predictions on this release are kept."""
    manifest = benchmark.manifest
    card = method.card
    release = f"{manifest.name}@{manifest.version}"
    return RunKey(release, benchmark.digest, card.name, card.version, method.code, card.weights, card.precision)


def open_store(benchmark: Questions, method: LoadedMethod, root: AnyPath) -> PredictionStore:
    """The store at `root` for this method on this release, made if it is not there.

    Raises:
        UserInputError: the folder belongs to another run.
    """
    root = Path(root)
    return PredictionStore.create(root, run_key(benchmark, method), asdict(method.card), benchmark.path)


def planned(
    benchmark: Questions, store: PredictionStore | None, *, shard: Shard = (1, 1), limit: int | None = None
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
    benchmark: Questions,
    store: PredictionStore,
    *,
    shard: Shard = (1, 1),
    limit: int | None = None,
    workers: int | None = None,
    on_event: Callable[[ClipDone], None] = lambda event: None,
    on_written: OnWritten = lambda written: None,
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
        on_written: told of every frame's masks; where other processes make them, of each clip's when it is done.

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
    prepare = Answers(_again(method), benchmark, store)
    here = min(workers, len(groups)) <= 1
    warm_up = warmed_up(method.segmenter) if here and groups else 0.0
    events: list[ClipDone] = []
    try:
        with closing(in_processes((lambda: prepare.by(method, on_written)) if here else prepare, groups, workers)) as stream:
            for event in stream:
                events.append(event)
                if not here:
                    on_written(Written(event.clip, method.card.name, event.masks))
                on_event(event)
    except BaseException:  # a worker that was ended leaves what it was writing
        store.sweep(wanted)
        raise
    return _report(store, events, len(wanted), time.perf_counter() - started - warm_up, warm_up)


def run_together(
    runs: Sequence[tuple[LoadedMethod, PredictionStore]],
    benchmark: Questions,
    *,
    shard: Shard = (1, 1),
    limit: int | None = None,
    on_event: Callable[[ClipDone], None] = lambda event: None,
    on_written: OnWritten = lambda written: None,
) -> list[RunReport]:
    """As `run`, for several methods, in this process: each clip is passed over once for all, and methods on the same SAM 2 share it.

    Every method keeps its own store; no times are kept, since what is shared is nobody's.

    Raises:
        PluginError: a method fails or breaks its contract.
        DataError: a frame is not the one that the release names.
    """
    started = time.perf_counter()
    episodes = {episode.id: episode for episode in benchmark.episodes}
    asked: dict[str, list[Asked]] = {}
    for method, store in runs:
        for ids in planned(benchmark, store, shard=shard, limit=limit):
            one = Asked(method.segmenter, [episodes[name] for name in ids], store)
            asked.setdefault(one.clip.key, []).append(one)
    wanted = [episode_id for ids in planned(benchmark, None, shard=shard, limit=limit) for episode_id in ids]
    for _, store in runs:
        store.sweep(wanted)
    warm_up = sum(warmed_up(method.segmenter) for method, _ in runs) if asked else 0.0
    events: dict[Path, list[ClipDone]] = {store.root: [] for _, store in runs}
    for key in sorted(asked):
        for one, event in zip(asked[key], answer_clip(asked[key], on_written), strict=True):
            events[one.store.root].append(event)
            on_event(event)
    seconds = time.perf_counter() - started - warm_up
    return [_report(store, events[store.root], len(wanted), seconds, warm_up) for _, store in runs]


def _report(store: PredictionStore, events: Sequence[ClipDone], wanted: int, seconds: float, warm_up: float) -> RunReport:
    done, masks = sum(event.episodes for event in events), sum(event.masks for event in events)
    findings = tuple(finding for event in sorted(events, key=lambda event: event.clip) for finding in event.findings)
    return RunReport(store.root, done, wanted - done, masks, seconds, findings, warm_up)


def _useful_workers(method: LoadedMethod, benchmark: Questions, groups: Sequence[Sequence[str]]) -> int:
    if not method.card.parallel:
        return 1
    tubes = (benchmark.tubes[tube_id(episode_id)] for ids in groups for episode_id in ids)
    pixels = sum(len(tube.clip.frames) * tube.clip.size[0] * tube.clip.size[1] for tube in tubes)
    return core_count() if pixels >= FEW_PIXELS else 1


def _again(method: LoadedMethod) -> Callable[[], LoadedMethod]:
    """What gives another process the method: a foreign program travels as it is, all others are loaded anew."""
    return (
        partial(_itself, method)
        if isinstance(method.segmenter, SegmentsFiles)
        else partial(load_again, method.spec, method.compute, method.code)
    )


def load_again(spec: str, compute: Compute, code: str) -> LoadedMethod:
    """The method, loaded in another process.

    Raises:
        PluginError: its code is not what it was.
    """
    method = load_method(spec, compute)
    if method.code != code:
        fix = "run the same command again, into another --out where something is predicted already"
        raise PluginError("the method has changed since the run began", spec, method.code, code, fix)
    return method


def _itself(method: LoadedMethod) -> LoadedMethod:
    return method


@dataclass(frozen=True, slots=True)
class Answers:
    """Loads a method, once a process, and makes the function that answers one clip's episodes."""

    load: Callable[[], LoadedMethod]
    benchmark: Questions
    store: PredictionStore

    def __call__(self) -> Callable[[Sequence[str]], ClipDone]:
        """The function, with the method loaded anew."""
        return self.by(self.load())

    def by(self, method: LoadedMethod, on_written: OnWritten = lambda written: None) -> Callable[[Sequence[str]], ClipDone]:
        """The function: ids of episodes of one clip -> what was done by this method."""
        episodes = {episode.id: episode for episode in self.benchmark.episodes}
        return lambda ids: answer_clip([Asked(method.segmenter, [episodes[name] for name in ids], self.store)], on_written)[0]
