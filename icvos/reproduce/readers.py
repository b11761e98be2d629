"""What was measured, read from the files that jobs leave: a number or a text, its interval, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from icvos.badges import REPORTED
from icvos.errors import DataError, UserInputError
from icvos.fewshot.results import ImageResult
from icvos.files import read_json
from icvos.reproduce.folds import shifted_folds
from icvos.reproduce.jobs import Here, Job
from icvos.results import Result
from icvos.stats import cluster_interval


@dataclass(frozen=True, slots=True)
class Value:
    """One measured cell: scores in [0, 1], counts as they are, or a text."""

    value: float | str
    interval: tuple[float, float] | None = None  # 95 %


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one file says, and what to call it."""

    values: Mapping[str, Value]
    said_by: str  # the signature of a result, or the file's name
    release: str = ""  # digest of the release that it is about
    size: str = ""  # how much was measured: clips, tubes, episodes


class OtherWeights(UserInputError):
    """A run that is there, but of other weights than the scale asks for."""


Reader: TypeAlias = Callable[[Path, Job], Reading]


def read(job: Job, here: Here) -> Reading | None:
    """What the job's file says, or None where it is not there.

    Raises:
        DataError: the file is broken.
        UserInputError: it is of another release.
        OtherWeights: it is of other weights than the recipe asks for.
    """
    if job.reads == "shifted-folds":
        return shifted()
    if job.file is None or not job.reads:
        return None
    reading = READERS[job.reads](job.file, job)
    if here.digest and reading.release and reading.release != here.digest:
        fix = "name its release with --benchmark, or other --runs"
        raise UserInputError("a run of another release", job.file, reading.release[:12], here.digest[:12], fix)
    return reading


def _result(path: Path, job: Job) -> Reading:
    result = Result.load(path)
    weights = str(result.method.get("weights", "none"))
    if (expected := job.expects.get("weights")) and expected not in weights.split():
        fix = "give runs of those weights, or ask for --scale sample"
        raise OtherWeights("a run with other weights than this scale asks for", path, weights[:80], expected, fix)
    values = {name: Value(value, result.intervals.get(name)) for name, value in result.overall.as_dict().items()}
    episodes = sum(len(tube.draws) for tube in result.tubes)
    size = f"{len(result.clips)} clips, {len(result.tubes)} tubes, {episodes} episodes"
    return Reading(values, _said_by(result), result.benchmark["digest"], size)


def _statistics(path: Path, job: Job) -> Reading:
    data = _json(path, "icvos-statistics/1")
    row, sources = data["row"], {source["name"]: source["share"] for source in data["sources"]}
    counts = {key: Value(float(row[key])) for key in ("videos", "mean_frames", "frames", "classes")}
    annotation = {"annotation": Value({"mask": "M", "box": "B"}.get(row["annotation"], str(row["annotation"])))}
    shares = {f"share:{name}": Value(sources.get(name, 0.0)) for name in ("davis", "mose", "lvos2")}
    most = {"most_clips": Value(_most(data["classes"], "clips")), "most_frames": Value(_most(data["classes"], "frames"))}
    return Reading(counts | annotation | shares | most, path.name, data["release"]["digest"], f"{row['videos']} clips")


def _most(classes: list[Mapping[str, Any]], by: str) -> str:
    """The three classes with the most of something."""
    return ", ".join(str(entry["name"]) for entry in sorted(classes, key=lambda entry: (-entry[by], entry["name"]))[:3])


def _validation(path: Path, job: Job) -> Reading:
    data = read_json(path)
    classes = {name: [float(value)] for name, value in data["classes"].items()}
    value = Value(float(data["miou"]), cluster_interval(classes))
    return Reading({"mIoU": value}, path.name, size=f"{data['episodes']} held-back episodes of {len(classes)} classes")


def _sizes(path: Path, job: Job) -> Reading:
    data = _json(path, "icvos-sizes/1")
    keys = ("parameters", "sam_parameters", "prompting_gflop", "backbone_gflop", "sam_gflop")
    return Reading(
        {key: Value(float(data[key])) for key in keys}, f"icvos sizes: {data['method']}, {data['sam'] or 'no SAM'}, {data['backbone']}"
    )


def _fewshot(path: Path, job: Job) -> Reading:
    result = ImageResult.load(path)
    said_by = "; ".join([_said_by(result), *result.notes])  # classes left out, and those seen in training
    return Reading({"mIoU": Value(result.mIoU, result.mIoU_interval)}, said_by, size=f"{result.episodes} episodes a fold")


def _said_by(result: Result | ImageResult) -> str:
    """A result's signature, and who vouches for it where that is not whoever uses this machine."""
    return result.signature if result.badge_here != REPORTED else f"{result.signature}; {REPORTED}"


def shifted() -> Reading:
    """The folds of Table 11: derived, not read."""
    return Reading(
        {f"fold{fold}": Value(", ".join(names)) for fold, names in enumerate(shifted_folds())}, "derived from both lists of classes"
    )


def _json(path: Path, form: str) -> Mapping[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != form:
        found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
        raise DataError("not what the recipe reads", path, found, form, "delete it and run again")
    return data


def _guarded(reader: Reader) -> Reader:
    def guarded(path: Path, job: Job) -> Reading:
        try:
            return reader(path, job)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError("incomplete file", path, f"{type(error).__name__} {error}", fix="delete it and run again") from error

    return guarded


READERS: Mapping[str, Reader] = {
    "result": _result,
    "statistics": _guarded(_statistics),
    "validation": _guarded(_validation),
    "sizes": _guarded(_sizes),
    "fewshot": _fewshot,
}
