"""A comparison on images as text, markdown or JSON, in the manner of that on clips. Percent appears here and nowhere below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from icvos.files import to_json
from icvos.render.comparison import (
    Report,
    Table,
    method_of_test,
    neighbours,
    outcome,
    p_of,
    ranked,
    render_report,
    rivals,
    signed,
    signed_interval,
)
from icvos.render.text import many, one_line, percent

if TYPE_CHECKING:
    from icvos.comparison.pairs import Difference
    from icvos.fewshot.comparison import ImageComparison
    from icvos.fewshot.pairs import ImagePair

FORMAT = "icvos-image-comparison/1"
_NOISE_GROUPS = (
    "A method is in the noise group of the one above it unless a paired test (exchanges of whole pictures, Holm's correction over "
    "neighbours) tells the two apart at 0.05."
)


def render_images_compared(comparison: ImageComparison, form: str = "text", width: int = 140) -> str:
    """The comparison as ``text`` for a terminal of so many columns, ``markdown``, or ``json`` with all digits."""
    if form == "json":
        return _json(comparison)
    sources = tuple((row.label, row.signatures) for row in comparison.standings)
    method = method_of_test(comparison, "exchanging the two methods' counts", comparison.pictures, "pictures")
    return render_report(Report(_headline(comparison), method, tuple(_tables(comparison)), comparison.notes, sources), form, width)


def _headline(comparison: ImageComparison) -> str:
    what = rivals([row.label for row in comparison.standings])
    where = f"fold {', '.join(map(str, comparison.folds))}, seed {', '.join(map(str, comparison.seeds))}"
    much = f"{many(comparison.pictures, 'picture')}, {many(comparison.episodes, 'episode')}"
    return one_line(f"{what} in {comparison.by} under {comparison.protocol}, {where}: {much}")


def _tables(comparison: ImageComparison) -> Iterator[Table]:
    if len(comparison.pairs) == 1:
        yield _differences(comparison.pairs[0])
        yield from _gaps(comparison.pairs[0])
    else:
        yield _ranks(comparison)
        yield neighbours(comparison.pairs, comparison.by, "episodes")


def _differences(pair: ImagePair) -> Table:
    """Of each fold, and of their mean where they are several."""
    parts = {"mean": pair.differences} if len(pair.folds) > 1 else {}
    parts |= {f"fold {fold}": found for fold, found in pair.folds.items()}
    lines = [
        (where, by, percent(row.first), percent(row.second), signed_interval(row), p_of(row.p))
        for where, found in parts.items()
        for by, row in found.items()
    ]
    heading = ("", "score", pair.first, pair.second, "difference", "p")
    return Table("Difference", f"{outcome(pair, 'episode')}, each by its IoU.", (heading, *lines), words=2)


def _gaps(pair: ImagePair) -> Iterator[Table]:
    for name, gaps in ((pair.first, pair.ahead), (pair.second, pair.behind)):
        if gaps:
            heading = ("episode", "fold", "seed", pair.first, pair.second, "difference")
            lines = [
                (gap.episode, str(gap.fold), str(gap.seed), percent(gap.first), percent(gap.second), signed(gap.value)) for gap in gaps
            ]
            yield Table(f"Largest gains of {name}", "By the episode's IoU.", (heading, *lines))


def _ranks(comparison: ImageComparison) -> Table:
    by = comparison.by
    heading = ("method", "rank", "noise group", "mIoU", "FB-IoU", *(f"{by}, fold {fold}" for fold in comparison.folds))
    lines = []
    for row in comparison.standings:
        numbers = [row.scores["mIoU"], row.scores["FB-IoU"], *(scores[by] for scores in row.folds.values())]
        lines.append((row.label, ranked(row.rank, row.rank_interval), str(row.noise_group), *map(percent, numbers)))
    return Table("Ranks", f"Ranked by {by}, the mean over folds and seeds. {_NOISE_GROUPS}", (heading, *lines))


def _json(comparison: ImageComparison) -> str:
    """Format ``icvos-image-comparison/1``; scores in [0, 1], what is not known null."""
    test = {"exact": comparison.exact, "resamples": comparison.resamples, "smallest_p": comparison.smallest_p}
    data = {"format": FORMAT, **asdict(comparison), "test": test, "pairs": [_pair(pair) for pair in comparison.pairs]}
    del data["resamples"]
    return to_json(data)


def _pair(pair: ImagePair) -> dict[str, Any]:
    return {
        **asdict(pair),
        "differences": _valued(pair.differences),
        "folds": {fold: _valued(found) for fold, found in pair.folds.items()},
        **{side: [{"difference": gap.value, **asdict(gap)} for gap in getattr(pair, side)] for side in ("ahead", "behind")},
    }


def _valued(differences: dict[str, Difference]) -> dict[str, Any]:
    return {by: {"value": row.value, **asdict(row)} for by, row in differences.items()}
