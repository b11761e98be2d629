"""One setting and some methods, from pictures on disk to results: freeze, run, score; each step kept, so that all of it resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from icvos.aggregate import RESULTS
from icvos.cards import seen_classes
from icvos.errors import Finding, SubmissionError, UserInputError
from icvos.fewshot.release import ImageManifest, ImageRelease
from icvos.fewshot.results import ImageResult, save, score
from icvos.files import AnyPath
from icvos.passes import ClipDone
from icvos.registry import LoadedMethod
from icvos.runner import RunReport, Shard, open_store, planned, run, run_key, run_together
from icvos.store import PredictionStore
from icvos.types import NeedsTruth


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one method did: its run, and its result where all episodes are predicted."""

    report: RunReport
    result: ImageResult | None
    path: Path | None = None


def evaluate(
    release: ImageRelease,
    methods: Sequence[LoadedMethod],
    runs: AnyPath,
    *,
    shard: Shard = (1, 1),
    limit: int | None = None,
    force: bool = False,
    workers: int | None = None,
    on_event: Callable[[ClipDone], None] = lambda event: None,
) -> list[Evaluated]:
    """Run methods on a release of images and score those that have predicted all of it; what is there already is kept.

    Args:
        release: what `icvos.fewshot.freeze.frozen_images` gave.
        methods: what `load_method` gave; several share one pass over each picture.
        runs: each method's run lies at ``runs/<release's folder>/<method>``.
        shard: which part of the pictures; whoever ends last scores.
        limit: only the first so many episodes; then nothing is scored.
        force: also where a method was trained on classes of the fold; its result says so.
        workers: processes, of a single method.
        on_event: called with each picture that is done.

    Raises:
        UserInputError: a method is a ceiling, or was trained on the fold; or a folder belongs to another run.
        PluginError: a method fails or breaks its contract.
        DataError: a picture is not the one that the release names.
    """
    runs = Path(runs)
    check_methods(release.manifest, methods, force)
    check_folders(release, methods, runs)  # all of them, before anything is written
    stores = [open_store(release, one, run_folder(runs, release, one)) for one in methods]
    if len(methods) == 1:
        reports = [run(methods[0], release, stores[0], shard=shard, limit=limit, workers=workers, on_event=on_event)]
    else:
        reports = run_together(list(zip(methods, stores, strict=True)), release, shard=shard, limit=limit, on_event=on_event)
    return [_scored(release, *one, workers) for one in zip(methods, stores, reports, strict=True)]


def run_folder(runs: AnyPath, release: ImageRelease, method: LoadedMethod) -> Path:
    """Where a method's run on a release lies."""
    runs = Path(runs)
    return runs / release.path.name / method.card.name


def check_folders(release: ImageRelease, methods: Sequence[LoadedMethod], runs: AnyPath) -> None:
    """Refuse methods whose folders hold other runs.

    Raises:
        UserInputError: one does.
    """
    runs = Path(runs)
    for method in methods:
        PredictionStore.resume(run_folder(runs, release, method), run_key(release, method))


def check_methods(manifest: ImageManifest, methods: Sequence[LoadedMethod], force: bool = False) -> None:
    """Refuse what cannot be measured on a release of this manifest.

    Raises:
        UserInputError: a ceiling, which would be told the truth of the only frame; a method trained on the fold, unless `force`.
    """
    for method in methods:
        if isinstance(method.segmenter, NeedsTruth):
            found = "it is told the truth of the only frame"
            raise UserInputError("a ceiling has nothing to show on single images", method.card.name, found, "a method", "leave it out")
    seen = {method.card.name: classes for method in methods if (classes := trained_on(manifest, method))}
    if seen and not force:
        fix = "give --weights trained without the fold, or --force, and the result says so"
        expected = f"no class of fold {manifest.fold}"
        findings = [Finding("trained-on-fold", name, ", ".join(classes), expected, fix) for name, classes in seen.items()]
        most = max(len(classes) for classes in seen.values())
        found = f"{most} of {len(manifest.classes)} classes"
        raise UserInputError("trained on classes of the fold", ", ".join(seen), found, expected, fix, findings)


def trained_on(manifest: ImageManifest, method: LoadedMethod) -> tuple[str, ...]:
    """The classes asked for that the method's card names as seen in training."""
    return seen_classes(asdict(method.card), manifest.classes)


def left_to_do(release: ImageRelease, method: LoadedMethod, runs: AnyPath, shard: Shard = (1, 1), limit: int | None = None) -> int:
    """How many episodes a call of `evaluate` would predict.

    Raises:
        UserInputError: the run's folder belongs to another run.
    """
    runs = Path(runs)
    store = PredictionStore.resume(run_folder(runs, release, method), run_key(release, method))
    return sum(map(len, planned(release, store, shard=shard, limit=limit)))


def told_once(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings as lines, those that differ in their episode alone as one, with how often it was found."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.found, finding.expected, finding.fix), []).append(finding)
    for same in groups.values():
        yield f"{same[0]}" if len(same) == 1 else f"{same[0]} (and in {len(same) - 1} more episodes)"


def _scored(release: ImageRelease, method: LoadedMethod, store: PredictionStore, report: RunReport, workers: int | None) -> Evaluated:
    if store.missing(release.episode_ids):
        return Evaluated(report, None)
    try:
        result, rows = score(store, release, workers=workers, card=asdict(method.card))
    except SubmissionError as error:  # what lies there is one's own, and is made again
        fix = f"first: {error.findings[0]}; remove what is faulty, then run the same command again"
        raise SubmissionError(error.what, error.where, error.found, error.expected, fix, error.findings) from error
    return Evaluated(report, result, save(result, rows, store.root / RESULTS))
