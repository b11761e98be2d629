"""From frame scores to a result: frames, then draws, then tubes; intervals over clips; groups; the files on disk."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from icvos import __version__
from icvos.badges import Badge, masks_hash, write_record
from icvos.benchmark import Benchmark
from icvos.errors import Finding
from icvos.files import AnyPath, to_json, write_text
from icvos.metrics import decay, recall
from icvos.protocol import ScoringProtocol
from icvos.results import Result
from icvos.scores import Coverage, Scores, TubeScores
from icvos.scoring import STRICT, FrameScores, Leniency, TubeTable, score_frames
from icvos.store import PredictionStore
from icvos.totals import bootstrap_intervals, mean_scores, totals_of
from icvos.types import MethodCard

RESULTS = "results"


def summarise_frames(frames: FrameScores) -> Scores:
    """The scores of one episode from its frames, of which there is at least one."""
    j, f = float(np.mean(frames.J)), float(np.mean(frames.F))
    return Scores(j, f, (j + f) / 2, recall(frames.J), recall(frames.F), decay(frames.J), decay(frames.F), frames.J[0], frames.F[0])


def summarise(
    tables: Sequence[TubeTable],
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol,
    card: Mapping[str, Any],
    leniency: Leniency = STRICT,
    badge: Badge = "rescored",
) -> Result:
    """The result of frame scores: mean over frames, then over a tube's draws, then over tubes."""
    tubes = tuple(_tube_scores(table, benchmark) for table in tables if table.expected)
    unscored = len(tables) - len(tubes)
    totals = totals_of(tubes, card, bootstrap_intervals)
    return Result(
        method=dict(card),
        benchmark={"name": benchmark.manifest.name, "version": benchmark.manifest.version, "digest": benchmark.digest},
        protocol=protocol.id,
        environment={"icvos": __version__, "numpy": version("numpy"), "scipy": version("scipy")},
        coverage=Coverage(totals.expected, sum(table.present for table in tables)),
        overall=totals.overall,
        intervals=totals.intervals,
        support_spread=totals.support_spread,
        groups=totals.groups,
        tubes=tubes,
        notes=leniency.notes + ((f"{unscored} tubes without a frame to score left out",) if unscored else ()),
        badge=badge,
    )


def score(
    store: PredictionStore,
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    card: Mapping[str, Any] | None = None,
    badge: Badge = "rescored",
    findings: Sequence[Finding] = (),
    on_event: Callable[[TubeTable], None] = lambda table: None,
) -> tuple[Result, list[TubeTable]]:
    """Score a run (or a folder of masks) on a release: the result, and the frame scores behind it.

    `card` describes the method where the store does not (by default: the folder's name); `badge` is ``rerun`` where whoever
    scores has run the method, too; `findings` are faults that are known already. The same inputs give the same result,
    to the byte, for any number of `workers`.

    Raises:
        SubmissionError: the predictions have faults; all are listed.
        DataError: the truth on disk is not the release's.
    """
    tables = score_frames(store, benchmark, protocol=protocol, leniency=leniency, workers=workers, findings=findings, on_event=on_event)
    known = card_of(store, card)
    result = summarise(tables, benchmark, protocol=protocol, card=known, leniency=leniency, badge=badge)
    return replace(result, scored_here=True), tables


def card_of(store: PredictionStore, card: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """What is known of whoever made these predictions: what is said here, else what the store says, else its folder's name."""
    return card or store.about.get("card") or method_card(store.root.resolve().name)


def method_card(name: str) -> dict[str, Any]:
    """The least that must be said of a method whose masks alone were handed in."""
    return asdict(MethodCard(name, summary="masks handed in"))


def save(result: Result, tables: Sequence[TubeTable], store: PredictionStore, folder: AnyPath) -> Path:
    """Write the result, its frame scores, the run's timing and the record of what was scored into `folder`; returns the result's path.

    The result is written last: where it is, the others are.
    """
    folder = Path(folder)
    timings = list(store.timings())
    if timings:
        totals = {
            "frames": sum(timing.frames for timing in timings),
            "seconds": sum(timing.seconds for timing in timings),
            "peak_rss_bytes": max(timing.peak_rss_bytes for timing in timings),
        }
        write_text(folder / f"{result.protocol}.timing.json", to_json(totals))
    write_text(folder / f"{result.protocol}.frames.csv", frames_csv(tables))
    path, content = folder / f"{result.protocol}.json", result.as_text()
    masks = masks_hash((draw.episode, draw.masks) for table in tables for draw in table.draws)
    write_record(path, content, masks=masks, release=result.benchmark["digest"], badge=result.badge_here)
    write_text(path, content)
    return path


def frames_csv(tables: Iterable[TubeTable]) -> str:
    """Every frame's J and F as one table: episode, frame, J, F; floats that read back exactly."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["episode", "frame", "J", "F"])
    for table in tables:
        for draw in table.draws:
            rows.writerows(zip([draw.episode] * len(draw.frames), draw.frames, map(repr, draw.J), map(repr, draw.F), strict=True))
    return text.getvalue()


def _tube_scores(table: TubeTable, benchmark: Benchmark) -> TubeScores:
    tube = benchmark.tubes[table.tube]
    draws = {draw.episode.rpartition("#")[2]: summarise_frames(draw) for draw in table.draws}
    frames = len(table.draws[0].frames)
    return TubeScores(tube.id, tube.clip.source, tube.clip.name, tube.category.name, frames, mean_scores(draws.values()), draws)
