"""Scoring predictions on a release of either kind, clips or images, for whoever need not know which it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from icvos import aggregate
from icvos.badges import Badge
from icvos.benchmark import Benchmark
from icvos.errors import Finding, UserInputError
from icvos.fewshot import results as images
from icvos.fewshot.release import ImageRelease, is_image_release
from icvos.fewshot.results import ImageResult
from icvos.files import AnyPath
from icvos.handed_in.masks import STRICT, Leniency
from icvos.protocol import ScoringProtocol, protocol_named
from icvos.results import Result
from icvos.store import PredictionStore

Release: TypeAlias = Benchmark | ImageRelease


@dataclass(frozen=True, slots=True)
class Scored:
    """A result, and what writes it with all that belongs to it into a folder: `save` gives the result's path."""

    result: Result | ImageResult
    save: Callable[[Path], Path]

    @property
    def numbers(self) -> dict[str, Any]:
        """The scores over everything, by name."""
        one = self.result
        return one.overall.as_dict() if isinstance(one, Result) else {"mIoU": one.mIoU, "FB_IoU": one.FB_IoU}


def open_release(path: AnyPath) -> Release:
    """The release in a folder, whichever kind it is.

    Raises:
        UserInputError: there is none.
        DataError: it is corrupt.
    """
    path = Path(path)
    return ImageRelease.open(path) if is_image_release(path) else Benchmark.open(path)


def runs_below(runs: AnyPath, release: Release) -> Path:
    """Where the runs on a release lie: those on images below a folder for each release, for a method has as many as there are folds."""
    runs = Path(runs)
    return runs / release.path.name if isinstance(release, ImageRelease) else runs


def score_store(
    store: PredictionStore,
    release: Release,
    *,
    protocol: ScoringProtocol | None = None,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    card: Mapping[str, Any] | None = None,
    badge: Badge = "rescored",
    findings: Sequence[Finding] = (),
    on_event: Callable[[int], None] = lambda episodes: None,
) -> Scored:
    """Score a run or a folder of masks as `icvos.aggregate.score` does, or on images as `icvos.fewshot.results.score` does.

    `on_event` is called with the number of episodes that were scored. Clips are scored under native@1 where no protocol is given.

    Raises:
        UserInputError: a protocol or a badge is given for images.
        SubmissionError: the predictions have faults; all are listed.
        DataError: the truth on disk is not the release's.
    """
    given: dict[str, Any] = {"leniency": leniency, "workers": workers, "card": card, "findings": findings}
    if isinstance(release, Benchmark):
        chosen = protocol or protocol_named("native@1")
        result, tables = aggregate.score(
            store, release, protocol=chosen, badge=badge, on_event=lambda table: on_event(len(table.draws)), **given
        )
        return Scored(result, partial(aggregate.save, result, tables, store))
    release.asked(protocol)
    if badge != "rescored":
        raise UserInputError("results on images have no badge", store.root, badge, fix="leave --rerun out")
    found, rows = images.score(store, release, on_event=on_event, **given)
    return Scored(found, partial(images.save, found, rows))


def line_of(result: Result | ImageResult, path: Path) -> str:
    """A result for people: its numbers, its signature and where it was written."""
    if isinstance(result, ImageResult):
        return f"mIoU {100 * result.mIoU:.2f}  FB-IoU {100 * result.FB_IoU:.2f}  {result.signature}\n  {path}"
    scores = result.overall
    partly = "" if result.coverage.part == 1 else f", {100 * result.coverage.part:.1f} % of the masks there"
    return f"J&F {100 * scores.JF:.2f}  J {100 * scores.J:.2f}  F {100 * scores.F:.2f}  {result.signature}{partly}\n  {path}"
