"""The result of one run on one fold of images: scores with all that is needed to trust them, one JSON file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from icvos import __version__
from icvos.aggregate import card_of
from icvos.badges import REPORTED, badge_of, masks_hash, write_record
from icvos.cards import NOT_TOLD, card_faults, seen_classes
from icvos.errors import DataError, Finding
from icvos.fewshot.folds import FOLDS
from icvos.fewshot.freeze import protocol_id
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.scoring import Counts, EpisodeCounts, by_class, count_run, summarise_counts
from icvos.files import AnyPath, parse_json, read_data, to_json, write_text
from icvos.handed_in.masks import STRICT, Leniency
from icvos.render.text import many
from icvos.results import IMAGE_FORMAT, signature_of
from icvos.store import PredictionStore
from icvos.totals import REDRAWN, ROUNDING

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Interval = tuple[Score, Score] | None
_MISSING = "masks missing, counted as empty"  # how the note of it ends
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
    _badge: str = PrivateAttr(default=REPORTED)

    @property
    def badge_here(self) -> str:
        """The badge that a board made here may show: what the record beside it says if that was sealed here (`icvos.badges`)."""
        return self._badge

    def with_badge(self, badge: str) -> ImageResult:
        """The same with this badge, which is no part of the file."""
        changed = self.model_copy()
        changed._badge = badge
        return changed

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
        """The result stored at `path`, what follows from its classes, and from the counts of episodes beside it, derived again.

        Raises:
            DataError: it is not a result on images, or holds a number that does not follow from these.
        """
        path = Path(path)
        content = read_data(path)
        try:
            result = cls.model_validate(parse_json(content, path))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError("not a result on images", path, found, IMAGE_FORMAT, "score the run again") from error
        for fault in card_faults(result.method):
            raise DataError("a result with a wrong card", f"{path}, {fault.field}", fault.found, fault.expected, "score the run again")
        if result.signature != result.own_signature:
            raise DataError("a result whose signature is not its own", path, fix="score the run again")
        _refuse_disagreements(path, result)
        return result.with_badge(badge_of(path, content, release=result.digest))


def _refuse_disagreements(path: Path, result: ImageResult) -> None:
    """Refuse a file whose numbers do not follow from its classes, or from the counts of episodes beside it, and name the field."""
    classes = result.classes.values()
    own = {"episodes": sum(one.episodes for one in classes), "mIoU": sum(one.IoU for one in classes) / len(classes)}
    for field, expected in own.items():
        if abs(getattr(result, field) - expected) > ROUNDING:
            found, right = repr(getattr(result, field)), f"{expected!r}, by its classes"
            raise DataError("a result that does not follow from its own classes", f"{path}, {field}", found, right, "score the run again")
    if rows := read_counts(path):
        _refuse_other_counts(path, result, rows)


def _refuse_other_counts(path: Path, result: ImageResult, rows: Sequence[EpisodeCounts]) -> None:
    what, fix = "counts of episodes that are not the result's", "score the run again"
    ids = {row.id for row in rows}
    if len(rows) != result.episodes or len(ids) < len(rows):
        raise DataError(what, path, many(len(ids), "episode"), f"episodes: {result.episodes}, as the result has it", fix)
    alike = result.environment.get("numpy") == version("numpy")
    found, counted = _numbers(result), _numbers(result.model_copy(update=_measured(rows)))
    for field in sorted(found.keys() | counted.keys()):
        said, right = found.get(field), counted.get(field)
        wrong = said is not right
        room = ROUNDING + (0.0 if alike or not isinstance(right, tuple) else REDRAWN * (right[1] - right[0]))
        if said is not None and right is not None:
            wrong = bool(np.abs(np.subtract(said, right)).max() > room)
        if wrong:
            raise DataError(what, f"{path}, {field}", _shown(said), f"{_shown(right)}, by the counts", fix)


def _measured(rows: Sequence[EpisodeCounts]) -> dict[str, Any]:
    """The fields of a result that counts give."""
    scores, often = summarise_counts(rows), by_class(rows)
    return {
        "mIoU": scores.miou,
        "FB_IoU": scores.fb_iou,
        "mIoU_interval": scores.miou_interval,
        "FB_IoU_interval": scores.fb_interval,
        "classes": {name: ClassScore(IoU=scores.classes[name], episodes=often[name]) for name in often},
    }


def _numbers(result: ImageResult) -> dict[str, Any]:
    """The same fields as numbers, by their names in the file."""
    found = {name: getattr(result, name) for name in ("mIoU", "FB_IoU", "mIoU_interval", "FB_IoU_interval")}
    classes = {f"classes.{name}.{key}": value for name, one in result.classes.items() for key, value in one.model_dump().items()}
    return found | classes


def _shown(value: object) -> str:
    return "null" if value is None else repr(list(value) if isinstance(value, tuple) else value)


def summarise(rows: Sequence[EpisodeCounts], release: ImageRelease, card: Mapping[str, Any], notes: Sequence[str] = ()) -> ImageResult:
    """The result of counted episodes; `notes` are added to what the release itself leaves out and to what the method was trained on."""
    measured, manifest = _measured(rows), release.manifest
    unasked = [name for name in manifest.classes if name not in measured["classes"]]
    few = f"{many(len(manifest.left_out), 'class', 'classes')} with too few pictures left out: {', '.join(manifest.left_out)}"
    said = [few] if manifest.left_out else []
    said += [f"{many(manifest.absent, 'listed picture')} absent"] if manifest.absent else []
    said += [f"{many(manifest.unreadable, 'picture')} with annotations that cannot be read left out"] if manifest.unreadable else []
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
        **measured,
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
    notes += (f"{missing:,} of {len(rows):,} {_MISSING}",) if missing else ()
    return summarise(rows, release, card_of(store, card), notes).with_badge("rescored"), rows


def masks_were_missing(notes: Iterable[str]) -> bool:
    """Whether the notes of a result say that masks were let be missing."""
    return any(note.endswith(_MISSING) for note in notes)


def save(result: ImageResult, rows: Sequence[EpisodeCounts], folder: AnyPath) -> Path:
    """Write the result, what was counted in each episode and the record of it into `folder`; returns the result's path, written last."""
    folder = Path(folder)
    path = folder / f"{result.protocol}.json"
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["episode", "class", *Counts._fields])
    lines.writerows([row.id, row.category, *row.counts] for row in rows)
    write_text(_counts_beside(path), text.getvalue())
    content, masks = to_json(result.model_dump(mode="json")), masks_hash((row.id, row.mask) for row in rows)
    write_record(path, content, masks=masks, release=result.digest, badge=result.badge_here)
    write_text(path, content)
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
