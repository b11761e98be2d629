"""Results of others made one's own: the masks that lie beside a result are scored again, and the result is written anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from icvos.badges import Badge
from icvos.errors import DataError, UserInputError
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.results import ImageResult, masks_were_missing
from icvos.files import AnyPath, read_json
from icvos.handed_in.masks import Leniency
from icvos.protocol import protocol_named
from icvos.results import IMAGE_FORMAT, Result
from icvos.scored import Release, score_store
from icvos.store import PREDICTIONS, PredictionStore

Opener: TypeAlias = Callable[[PredictionStore, str], Release]  # of the masks, and the digest that the result names


@dataclass(frozen=True, slots=True)
class Rescored:
    """What came of a result that was scored again: the score that ranks, in [0, 1], now, and as the file had it (None: no number)."""

    path: Path
    name: str  # J&F or mIoU
    now: float
    before: float | None

    @property
    def line(self) -> str:
        """The same for people."""
        changed = self.before is None or abs(self.before - self.now) > 5e-5
        was = "no score" if self.before is None else f"{100 * self.before:.2f}"
        return f"rescored: {self.path}: {self.name} {100 * self.now:.2f}" + (f", where its file said {was}" if changed else "")


def masks_beside(result: AnyPath) -> PredictionStore | None:
    """The run in whose ``results/`` a result's file lies, with or without a `run.json`; None where there are no ``predictions/``."""
    result = Path(result)
    root = result.resolve().parent.parent
    if not (root / PREDICTIONS).is_dir():
        return None
    store = PredictionStore.behind(result) or PredictionStore(root, None)
    return store if store.episode_ids() else None


def rescore(path: AnyPath, open_release: Opener, *, workers: int | None = None) -> Rescored:
    """Score the masks beside the result at `path` again, under its protocol and with the leniency that it names, and write it anew.

    Raises:
        UserInputError: no masks lie beside it, its release is not here, or it has another name than its protocol.
        SubmissionError: the masks have faults.
        DataError: the file is no result, or the truth on disk is not the release's.
    """
    path = Path(path)
    said = read_json(path)
    kind: type[Result] | type[ImageResult] = ImageResult if isinstance(said, dict) and said.get("format") == IMAGE_FORMAT else Result
    result = _believed(kind, path)
    store = masks_beside(path)
    if store is None:
        raise UserInputError("no masks lie beside it", path.parent.parent, fix="score its masks with `icvos score` or `icvos submit score`")
    card = None if store.key else (result or kind.load(path)).method
    protocol, digest, notes = _about(said, path)
    release = open_release(store, digest)
    if release.digest != digest:
        fix = "give its own with --benchmark DIR"
        raise UserInputError("the result is of another release", path, digest[:12], release.label, fix)
    if store.key and store.key.digest != digest:
        found, fix = store.key.digest[:12], "score the run itself with `icvos score`"
        raise UserInputError("the run was made on another release", store.root, found, release.label, fix)
    images = isinstance(release, ImageRelease)
    leniency = Leniency(masks_were_missing(notes), Leniency.of(notes).resize) if images else Leniency.of(notes)
    badge: Badge = "rerun" if result and result.badge_here == "rerun" else "rescored"
    chosen = None if images else protocol_named(protocol)
    scored = score_store(store, release, protocol=chosen, leniency=leniency, workers=workers, card=card, badge=badge)
    if scored.result.protocol != path.stem:
        raise UserInputError("not named by its protocol", path, path.name, f"{scored.result.protocol}.json", "give the file its name")
    scored.save(path.parent)
    name = "mIoU" if images else "J&F"
    return Rescored(path, name, scored.numbers[name], _before(said, images))


def _believed(kind: type[Result] | type[ImageResult], path: Path) -> Result | ImageResult | None:
    try:
        return kind.load(path)
    except DataError:  # what the file says is not needed: its masks are at hand
        return None


def _about(said: Any, path: Path) -> tuple[str, str, tuple[str, ...]]:
    """Protocol, digest of the release and notes of what a file says."""
    data: Mapping[str, Any] = said if isinstance(said, dict) else {}
    benchmark, notes = data.get("benchmark"), data.get("notes")
    digest = benchmark.get("digest") if isinstance(benchmark, dict) else data.get("digest")
    protocol = data.get("protocol")
    if not isinstance(protocol, str) or not isinstance(digest, str) or not isinstance(notes, list):
        raise DataError("not a result file", path, expected="a protocol, the digest of a release and notes", fix="score the run again")
    return protocol, digest, tuple(map(str, notes))


def _before(said: Any, images: bool) -> float | None:
    overall = said if images else said.get("overall")
    found = overall.get("mIoU" if images else "J&F") if isinstance(overall, dict) else None
    return found if isinstance(found, float) else None
