"""The result of one run on one fold of images: scores with all that is needed to trust them, one JSON file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icvos import __version__
from icvos.aggregate import card_of
from icvos.cards import NOT_TOLD, card_faults, seen_classes
from icvos.errors import DataError, Finding
from icvos.fewshot.folds import FOLDS
from icvos.fewshot.freeze import protocol_id
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.scoring import Counts, EpisodeCounts, by_class, count_run, summarise_counts
from icvos.files import AnyPath, read_data, read_json, to_json, write_text
from icvos.handed_in.masks import STRICT, Leniency
from icvos.render.text import many
from icvos.results import IMAGE_FORMAT, signature_of
from icvos.store import PredictionStore

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Interval = tuple[Score, Score] | None
_MOST_PIXELS = 1 << 30  # of a picture: sides of a release's masks are at most 2^15


class ClassScore(BaseModel):
    """One class: its IoU and how often it was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    IoU: Score
    episodes: Annotated[int, Field(gt=0)]


class ImageResult(BaseModel):
    """One run on one fold under one protocol. Intervals are of 95 %, by a bootstrap over pictures; scores lie in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["icvos-image-result/1"] = "icvos-image-result/1"
    signature: str = ""
    method: dict[str, Any]  # the card as plain data
    protocol: str
    release: str
    digest: str
    fold: Annotated[int, Field(ge=0, lt=FOLDS)]
    shots: Annotated[int, Field(gt=0)]
    seed: int
    episodes: Annotated[int, Field(gt=0)]
    environment: dict[str, str]
    mIoU: Score
    FB_IoU: Score
    mIoU_interval: Interval
    FB_IoU_interval: Interval
    classes: dict[str, ClassScore] = Field(min_length=1)
    notes: tuple[str, ...] = ()

    @property
    def own_signature(self) -> str:
        """One line that tells two numbers apart that must not be compared."""
        return signature_of(self.environment, self.release, self.digest, self.protocol, self.method)

    @property
    def seen_classes(self) -> tuple[str, ...]:
        """The classes asked for that the method's card names as seen in training: contamination."""
        return seen_classes(self.method, self.classes)

    @classmethod
    def load(cls, path: AnyPath) -> ImageResult:
        """The result stored at `path`.

        Raises:
            DataError: it is not a result on images.
        """
        path = Path(path)
        try:
            result = cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError("not a result on images", path, found, IMAGE_FORMAT, "score the run again") from error
        for fault in card_faults(result.method):
            raise DataError("a result with a wrong card", f"{path}, {fault.field}", fault.found, fault.expected, "score the run again")
        if result.signature != result.own_signature:
            raise DataError("a result whose signature is not its own", path, fix="score the run again")
        return result


def summarise(rows: Sequence[EpisodeCounts], release: ImageRelease, card: Mapping[str, Any], notes: Sequence[str] = ()) -> ImageResult:
    """The result of counted episodes; `notes` are added to what the release itself leaves out and to what the method was trained on."""
    scores, often, manifest = summarise_counts(rows), by_class(rows), release.manifest
    unasked = [name for name in manifest.classes if name not in often]
    few = f"{many(len(manifest.left_out), 'class', 'classes')} with too few pictures left out: {', '.join(manifest.left_out)}"
    said = [few] if manifest.left_out else []
    said += [f"{many(manifest.absent, 'listed picture')} absent"] if manifest.absent else []
    said += [f"classes that no episode asks for: {', '.join(unasked)}"] if unasked else []
    result = ImageResult(
        method=dict(card),
        protocol=protocol_id(manifest),
        release=f"{manifest.name}@{manifest.version}",
        digest=release.digest,
        fold=manifest.fold,
        shots=manifest.shots,
        seed=manifest.seed,
        episodes=len(rows),
        environment={"icvos": __version__, "numpy": version("numpy")},
        mIoU=scores.miou,
        FB_IoU=scores.fb_iou,
        mIoU_interval=scores.miou_interval,
        FB_IoU_interval=scores.fb_interval,
        classes={name: ClassScore(IoU=scores.classes[name], episodes=often[name]) for name in often},
        notes=(*said, *notes, *_of_training(card, manifest.classes)),
    )
    return result.model_copy(update={"signature": result.own_signature})


def _of_training(card: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """What must be known of a method's training by whoever reads its numbers on these classes."""
    if seen := seen_classes(card, classes):
        yield f"contaminated: trained on {len(seen)} of {len(classes)} classes asked for ({', '.join(seen)})"
    if NOT_TOLD in card.get("training_data", ()) and not card.get("training_classes"):
        yield "its weights do not tell what they were trained on: whether they have seen these classes is not known"


def score(
    store: PredictionStore,
    release: ImageRelease,
    *,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    card: Mapping[str, Any] | None = None,
    findings: Sequence[Finding] = (),
    on_event: Callable[[int], None] = lambda episodes: None,
) -> tuple[ImageResult, list[EpisodeCounts]]:
    """Score a run, a folder of masks or a zip of either: the result, and what was counted for it.

    `card` describes the method where the store does not; the others are those of `count_run`. The same inputs give the same
    result, to the byte, for any number of `workers`.

    Raises:
        SubmissionError: the predictions have faults; all are listed.
    """
    rows = count_run(store, release, leniency=leniency, workers=workers, findings=findings, on_event=on_event)
    missing = sum(not row.there for row in rows)
    notes = replace(leniency, allow_missing=False).notes
    notes += (f"{missing:,} of {len(rows):,} masks missing, counted as empty",) if missing else ()
    return summarise(rows, release, card_of(store, card), notes), rows


def save(result: ImageResult, rows: Sequence[EpisodeCounts], folder: AnyPath) -> Path:
    """Write the result and what was counted in each episode into `folder`; returns the result's path, written last."""
    folder = Path(folder)
    path = folder / f"{result.protocol}.json"
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["episode", "class", *Counts._fields])
    lines.writerows([row.id, row.category, *row.counts] for row in rows)
    write_text(_counts_beside(path), text.getvalue())
    write_text(path, to_json(result.model_dump(mode="json")))
    return path


def read_ious(path: AnyPath) -> dict[str, float]:
    """The IoU of each episode in [0, 1], out of what was counted beside the result at `path`; empty where nothing lies there.

    Raises:
        DataError: the counts cannot be read.
    """
    path = Path(path)
    return {row.id: row.counts.iou for row in read_counts(path)}


def read_counts(path: AnyPath) -> list[EpisodeCounts]:
    """What was counted in each episode, as `save` wrote it beside the result at `path`; empty where nothing lies there.

    Raises:
        DataError: the counts cannot be read.
    """
    path = Path(path)
    counts = _counts_beside(path)
    if not counts.is_file():
        return []
    try:
        return [_counted(line) for line in csv.DictReader(io.StringIO(read_data(counts).decode()), strict=True)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        expected, fix = "counts as `icvos fewshot` writes them", "score the run again"
        raise DataError("cannot read the counts of episodes", counts, str(error), expected, fix) from error


def _counted(line: Mapping[str, str]) -> EpisodeCounts:
    counts = Counts(*(int(line[name]) for name in Counts._fields))
    for both, either in (counts[:2], counts[2:]):
        if not 0 <= both <= either <= _MOST_PIXELS:
            raise ValueError(f"an intersection of {both} in a union of {either}")
    _, picture, _ = line["episode"].split("/")
    return EpisodeCounts(line["episode"], line["class"], picture, counts)


def _counts_beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.episodes.csv")
