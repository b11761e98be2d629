"""A comparison for a terminal, for a README or an issue, and for programs. Percent appears here and nowhere below."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from icvos.files import to_json
from icvos.render import text
from icvos.render.markdown import code, escape, pipe_table
from icvos.render.text import one_line, percent
from icvos.results import release_label

if TYPE_CHECKING:
    from icvos.comparison import Comparison, Standing
    from icvos.comparison.losses import Loss
    from icvos.comparison.pairs import Difference, Pair, TubeGap, Variance
    from icvos.fewshot.comparison import ImageComparison
    from icvos.fewshot.pairs import ImagePair

FORMAT = "icvos-comparison/1"
FORMATS = ("text", "markdown", "json")
_MOST = 5  # tubes shown in each direction
_WIDTH = 140  # where the output is no terminal
_LOST = "Lost on the first frame, and afterwards"
_LOST_ORACLE = "Propagation error is the oracle's for both; first-frame error"


@dataclass(frozen=True, slots=True)
class Table:
    """One table and the sentence that says how to read it; the first `words` columns hold text, the others numbers."""

    title: str
    says: str
    lines: tuple[tuple[str, ...], ...]  # the first is the heading
    words: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison shows, in order; foreign text is not escaped yet."""

    headline: str
    method: str  # how p and intervals were made
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    sources: tuple[tuple[str, tuple[str, ...]], ...]  # label, signatures


def render_comparison(comparison: Comparison, form: str = "text", width: int = _WIDTH) -> str:
    """The comparison as ``text`` for a terminal of so many columns, ``markdown``, or ``json`` with every tube and all digits."""
    if form == "json":
        return _json(comparison)
    sources = tuple((row.label, (row.result.signature,)) for row in comparison.standings)
    method = method_of_test(comparison, "sign flips", comparison.clips, "clips")
    return render_report(Report(headline(comparison), method, tuple(tables(comparison)), comparison.notes, sources), form, width)


def render_report(report: Report, form: str, width: int = _WIDTH) -> str:
    """The report as ``text`` or ``markdown``."""
    return _markdown(report) if form == "markdown" else _text(report, width)


def tables(comparison: Comparison) -> Iterator[Table]:
    """What there is to see, in order; foreign text is not escaped yet."""
    if len(comparison.pairs) == 1:
        yield _differences(comparison, comparison.pairs[0])
        yield from _gaps(comparison, comparison.pairs[0])
    else:
        yield _ranks(comparison)
        yield neighbours(comparison.pairs, comparison.by, "tubes")
    yield _losses(comparison)
    yield _variances(comparison)


def headline(comparison: Comparison) -> str:
    """What is compared, on how much."""
    release = release_label(comparison.benchmark)
    what = rivals([row.label for row in comparison.standings])
    much = f"{text.many(comparison.clips, 'clip')}, {text.many(comparison.tubes, 'tube')}"
    return one_line(f"{what} in {comparison.by}, {release} under {comparison.protocol}: {much}")


def rivals(labels: Sequence[str]) -> str:
    """The first less the second, or how many they are."""
    return f"{labels[0]} less {labels[1]}" if len(labels) == 2 else f"{len(labels)} methods"


def method_of_test(comparison: Comparison | ImageComparison, how: str, number: int, unit: str) -> str:
    """How p and intervals were made: `how` says what changes hands, of so many clips or pictures, the `unit`."""
    flips = f"all {2**number:,}" if comparison.exact else f"{comparison.resamples:,} drawn"
    return (
        f"In percent. p: paired, two-sided, by {how} of whole {unit} ({flips}; the smallest possible is {comparison.smallest_p:.4g}). "
        f"In brackets: 95 % intervals, by {comparison.resamples:,} bootstrap draws of {unit}."
    )


def _differences(comparison: Comparison, pair: Pair) -> Table:
    heading = ("score", pair.first, pair.second, "difference", "p")
    lines = [(by, percent(row.first), percent(row.second), signed_interval(row), p_of(row.p)) for by, row in pair.differences.items()]
    return Table("Difference", f"{outcome(pair, 'tube')} in {comparison.by}.", (heading, *lines))


def outcome(pair: Pair | ImagePair, what: str) -> str:
    """Wins, ties and losses, of tubes or what is counted instead."""
    return f"{pair.first} wins on {pair.wins}, ties on {pair.ties}, loses on {text.many(pair.losses, what)}"


def _gaps(comparison: Comparison, pair: Pair) -> Iterator[Table]:
    """The tubes on which either is furthest ahead."""
    ahead = [gap for gap in pair.gaps if gap.outcome > 0][:_MOST]
    behind = [gap for gap in reversed(pair.gaps) if gap.outcome < 0][:_MOST]
    for name, gaps in ((pair.first, ahead), (pair.second, behind)):
        if gaps:
            says = f"By {comparison.by}. {_LOST_ORACLE if comparison.oracle else _LOST}: of the first / of the second."
            yield Table(f"Largest gains of {name}", says, (_gap_heading(comparison, pair), *(_gap_line(comparison, gap) for gap in gaps)))


def _gap_heading(comparison: Comparison, pair: Pair) -> tuple[str, ...]:
    lost = ("first-frame error", "propagation error") if comparison.oracle else ("on first frame", "afterwards")
    return ("tube", pair.first, pair.second, "difference", *lost)


def _gap_line(comparison: Comparison, gap: TubeGap) -> tuple[str, ...]:
    losses = [standing.losses[gap.tube] for standing in comparison.standings]
    if comparison.oracle:
        lost = (" / ".join(percent(loss.first_frame) for loss in losses), percent(losses[0].propagation))
    else:
        lost = (" / ".join(percent(loss.on_first) for loss in losses), " / ".join(percent(loss.afterwards) for loss in losses))
    return (gap.tube, percent(gap.first), percent(gap.second), signed(gap.value), *lost)


def _ranks(comparison: Comparison) -> Table:
    heading = ("method", "rank", "noise group", "J&F", "J", "F")
    lines = [
        (row.label, ranked(row.rank, row.rank_interval), str(row.noise_group), *(percent(row.scores[by]) for by in ("J&F", "J", "F")))
        for row in comparison.standings
    ]
    return Table("Ranks", f"Ranked by {comparison.by}. {text.NOISE_GROUPS}", (heading, *lines))


def neighbours(pairs: Sequence[Pair] | Sequence[ImagePair], by: str, what: str) -> Table:
    """Each pair in one score; wins, ties and losses are of `what`."""
    heading = ("first", "second", f"difference in {by}", "p", "corrected p", "wins", "ties", "losses")
    lines = [
        (pair.first, pair.second, signed_interval(row), p_of(row.p), p_of(row.corrected), *map(str, (pair.wins, pair.ties, pair.losses)))
        for pair in pairs
        for row in [pair.differences[by]]
    ]
    says = f"Each method less the one below it. Wins, ties and losses are of {what}. Name two results alone to see the {what} behind them."
    return Table("Neighbours", says, (heading, *lines), words=2)


def _losses(comparison: Comparison) -> Table:
    """Where the scores fall short of 100, one line a method."""
    by_oracle = ("first-frame error", "propagation error") if comparison.oracle else ()
    lines = [
        (row.label, percent(1 - row.scores[comparison.by]), *(percent(part) for part in _parts(row.loss, bool(comparison.oracle))))
        for row in comparison.standings
    ]
    says = (
        f"100 less {comparison.by} = lost on the first frame (100 less its score) + lost afterwards (its score less the mean's)"
        + (f"; = first-frame error ({comparison.oracle}'s score less the method's) + propagation error (100 less it)" if by_oracle else "")
        + "."
    )
    return Table("Where it is lost", says, (("method", "lost", "on first frame", "afterwards", *by_oracle), *lines))


def _parts(loss: Loss, by_oracle: bool) -> tuple[float | None, ...]:
    return (loss.on_first, loss.afterwards, *((loss.first_frame, loss.propagation) if by_oracle else ()))


def _variances(comparison: Comparison) -> Table:
    heading = ("", "between clips", "between draws", "error from clips", "error from draws")
    rows = [(row.label, row.variance) for row in comparison.standings]
    rows += [(f"{pair.first} less {pair.second}", pair.variance) for pair in comparison.pairs]
    says = (
        f"Standard deviations of {comparison.by}: between clips (support draws averaged out), and between the support draws of one tube; "
        "then what each of them adds to the standard error of the mean."
    )
    return Table("What varies", says, (heading, *((name, *_deviations(variance)) for name, variance in rows)))


def _deviations(variance: Variance) -> tuple[str, ...]:
    return tuple(percent(part) for part in (variance.clips, variance.draws, variance.error_of_clips, variance.error_of_draws))


def signed(value: float) -> str:
    """A difference in percent."""
    return f"{round(100 * value, 2) + 0.0:+.2f}"


def signed_interval(row: Difference) -> str:
    """The same with its interval."""
    return signed(row.value) + (f" [{signed(row.interval[0])}, {signed(row.interval[1])}]" if row.interval else "")


def ranked(rank: int, interval: tuple[int, int] | None) -> str:
    """A rank with its interval."""
    return f"{rank} [{interval[0]}, {interval[1]}]" if interval else str(rank)


def p_of(value: float) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def _markdown(report: Report) -> str:
    parts = [f"# {escape(report.headline)}", escape(report.method)]
    for table in report.tables:
        lines = [[escape(one_line(cell)) for cell in line] for line in table.lines]
        align = "l" * table.words + "r" * (len(table.lines[0]) - table.words)
        parts += [f"## {escape(one_line(table.title))}", escape(one_line(table.says)), pipe_table(lines, align)]
    parts += ["\n".join(f"- {escape(one_line(note))}" for note in report.notes)] if report.notes else []
    sources = [f"- **{escape(one_line(label))}**: {', '.join(map(code, signatures))}" for label, signatures in report.sources]
    return "\n\n".join([*parts, "## Where the numbers come from", "\n".join(sources)]) + "\n"


def _text(report: Report, width: int) -> str:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    for line in (report.headline, report.method):
        console.print(Text(line))
    for table in report.tables:
        console.print(Text(f"\n{one_line(table.title)}"), Text(one_line(table.says)), sep="\n")
        shown = RichTable()
        for place, name in enumerate(table.lines[0]):
            shown.add_column(Text(one_line(name)), justify="left" if place < table.words else "right", overflow="fold")
        for cells in table.lines[1:]:
            shown.add_row(*(Text(one_line(cell)) for cell in cells))
        console.print(shown)
    for place, note in enumerate(report.notes):
        console.print(Text("\n" * (not place) + f"- {one_line(note)}"))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _json(comparison: Comparison) -> str:
    """Format ``icvos-comparison/1``; scores in [0, 1], what is not known null."""
    return to_json(
        {
            "format": FORMAT,
            "benchmark": {key: comparison.benchmark[key] for key in ("name", "version", "digest")},
            "protocol": comparison.protocol,
            "by": comparison.by,
            "clips": comparison.clips,
            "tubes": comparison.tubes,
            "test": {"exact": comparison.exact, "resamples": comparison.resamples, "smallest_p": comparison.smallest_p},
            "oracle": comparison.oracle,
            "standings": [_standing(row) for row in comparison.standings],
            "pairs": [_pair(pair) for pair in comparison.pairs],
            "notes": list(comparison.notes),
        }
    )


def _standing(row: Standing) -> dict[str, Any]:
    return {
        "method": row.label,
        "signature": row.result.signature,
        "scores": row.scores,
        "rank": row.rank,
        "rank_interval": row.rank_interval,
        "noise_group": row.noise_group,
        "variance": asdict(row.variance),
        "loss": asdict(row.loss),
        "losses": {tube: asdict(loss) for tube, loss in row.losses.items()},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "differences": {by: {"value": row.value, **asdict(row)} for by, row in pair.differences.items()},
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "variance": asdict(pair.variance),
        "tubes": [{"difference": gap.value, **asdict(gap)} for gap in pair.gaps],
    }
