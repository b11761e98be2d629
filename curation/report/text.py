"""Statistics on the terminal: plain tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curation.published import Published
from curation.report import words
from curation.statistics import Statistics
from icvos.render.text import NOTHING, one_line


def render_text(statistics: Statistics, paper: Published) -> str:
    """Table 1's row, sources and classes, with the paper's figures beside them, and how many tubes have which attribute."""
    return "\n\n".join(_parts(statistics, paper)) + "\n"


def _parts(statistics: Statistics, paper: Published) -> Iterator[str]:
    yield f"{one_line(statistics.name)}@{one_line(statistics.version)}#{statistics.digest[:12]}: {words.totals(statistics)}"
    own, printed = words.cells(statistics.row), words.cells(paper.benchmark)
    yield _table(words.HEADINGS, [own, (f"{printed[0]} (paper)", *printed[1:])], "lrrrrl")
    yield _table(
        ("source", "clips", "share", "paper", "frames"),
        [
            (line.name, *_counts(line), words.part(line.paper), words.number(line.count.frames) if line.count else NOTHING)
            for line in words.sources(statistics, paper)
        ],
        "lrrrr",
    )
    yield _table(("class", "clips", "frames", "masks", "objects"), [words.class_cells(count) for count in statistics.classes], "lrrrr")
    groups = [
        (kind, words.group_label(kind, name), words.number(tubes))
        for kind, counts in statistics.groups.items()
        for name, tubes in counts.items()
    ]
    yield _table(("attribute", "group", "tubes"), groups, "llr")
    if note := words.not_measured(statistics.unmeasured):
        yield note


def _counts(line: words.SourceLine) -> tuple[str, str]:
    return (words.number(line.count.clips), words.part(line.share)) if line.count else (NOTHING, NOTHING)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Columns two spaces apart; `align` says l or r for each."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if side == "l" else cell.rjust(width) for cell, width, side in zip(line, widths, align, strict=True)
        ).rstrip()
        for line in lines
    )
