"""A reproduced table as text: paper, ours and difference below one another, then what is missing, flagged and needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeAlias

from icvos.files import to_json
from icvos.render import latex, markdown
from icvos.render.text import NOTHING, many, one_line

if TYPE_CHECKING:
    from icvos.reproduce.readers import Value
    from icvos.reproduce.recipes import Column
    from icvos.reproduce.report import Report, ReportRow

_NUMBERS = re.compile(r"[-+0-9.,M\[\] ]*")
FORMATS = ("markdown", "latex", "html")
FULL = "Full scale. Ours are measured on what is at hand here, which is not the paper's own data wherever a note says so."
Cells: TypeAlias = tuple[str, str, tuple[str, ...]]  # label, "paper" or "ours" or "difference", cells
_MOST_LACKING = 4  # named in the overview; a table's plan names all


def render_report(report: Report, form: str) -> str:
    """The table in one of `FORMATS`, or ``json``."""
    renderers: Mapping[str, Callable[[Report], str]] = {
        "markdown": report_markdown,
        "latex": report_latex,
        "html": report_html,
        "json": report_json,
    }
    return renderers[form](report).encode("utf-8", "replace").decode()


def label_of(report: Report) -> str:
    """What the numbers are, said before any of them."""
    if report.scale == "full":
        return FULL
    counted = any(row.said_by for row in report.rows)  # sizes of networks, which are of no number of clips or pictures
    size = f" {one_line('; '.join(report.sizes))};" if report.sizes else "" if counted else " nothing measured yet;"
    what = f" {report.recipe.sample}" if report.recipe.sample else ""
    return f"Sample scale: embedded models,{size} not comparable with the paper.{what}"


def lines_of(report: Report) -> Iterator[Cells]:
    """Each row: what was printed, then, where something was measured, ours and the difference."""
    columns = report.recipe.columns
    for row in report.rows:
        name = one_line(f"{row.group}: {row.label}" if row.group else row.label)
        yield name, report.recipe.edition, tuple(one_line(cell) or NOTHING for cell in row.paper)
        for edition, printed in row.editions.items():
            yield "", edition, tuple(one_line(cell) or NOTHING for cell in printed)
        if not any(row.ours):
            continue
        yield "", "ours", tuple(ours(value, column) for value, column in zip(row.ours, columns, strict=True))
        for edition in ("", *row.editions):
            differences = tuple(difference(row, place, column, edition) for place, column in enumerate(columns))
            if any(cell != NOTHING for cell in differences):
                yield "", f"less {edition or report.recipe.edition}" if row.editions else "difference", differences


def ours(value: Value | None, column: Column) -> str:
    """A measured cell with its interval: ``71.52 [68.10, 74.33]``."""
    if value is None:
        return NOTHING
    if isinstance(value.value, str):
        return one_line(value.value)
    interval = f" [{_number(value.interval[0], column)}, {_number(value.interval[1], column)}]" if value.interval else ""
    return f"{_number(value.value, column)}{interval}"


def _number(value: float, column: Column) -> str:
    from icvos.reproduce.report import shown

    unit = {"millions": "M"}.get(column.form, "")
    digits = 0 if column.form == "count" else column.digits
    return f"{round(shown(value, column), digits) + 0.0:,.{digits}f}{unit}"


def difference(row: ReportRow, place: int, column: Column, edition: str = "") -> str:
    """Ours less the paper's (or a later edition's), with its sign."""
    found = row.difference(place, column, edition)
    digits = 0 if column.form == "count" else column.digits
    return NOTHING if found is None else f"{round(found, digits) + 0.0:+,.{digits}f}"


def missing_of(report: Report) -> dict[str, list[str]]:
    """What stands between rows and their numbers -> the rows, so that one data set is not asked for twenty times."""
    found: dict[str, list[str]] = {}
    for row in report.rows:
        for line in row.missing:
            found.setdefault(one_line(line), []).append(one_line(f"{row.label} ({row.group})" if row.group else row.label))
    return found


def flags_of(report: Report) -> list[tuple[str, str]]:
    """Rows that are inconsistent in print."""
    return [(one_line(row.label), one_line(flag)) for row in report.rows for flag in row.flags]


def sources_of(report: Report) -> list[tuple[str, str]]:
    """Where measured rows come from."""
    return [(one_line(row.label), one_line(said)) for row in report.rows for said in row.said_by]


def cost_of(report: Report) -> str:
    """What is still to be done, and what it would cost."""
    cost, waiting = report.cost, len(report.jobs)
    if not waiting:
        return "Nothing is left to do."
    time = f"{cost.gpu_hours:,.0f} GPU hours" if report.scale == "full" else f"{cost.minutes:.0f} minutes of two cores"
    disk = f"{cost.bytes / 1e9:.1f} GB" if cost.bytes >= 1e8 else f"{cost.bytes / 1e6:.0f} MB"
    return f"To do: {many(waiting, 'job')}, about {time} and {disk} of disk."


def state_of(report: Report) -> str:
    """How many rows are in each state."""
    from icvos.reproduce.report import STATES

    return ", ".join(f"{report.count(state)} {state}" for state in STATES if report.count(state))


def report_markdown(report: Report) -> str:
    """GitHub-flavoured markdown."""
    escape = markdown.escape
    head = ["", "", *(escape(column.name) for column in report.recipe.columns)]
    lines = [head, *([escape(name), what, *map(_cell, cells)] for name, what, cells in lines_of(report))]
    parts = [f"# {escape(report.recipe.source)}: {escape(report.recipe.title)}", f"**{escape(label_of(report))}**"]
    parts += [*map(escape, map(one_line, report.recipe.notes)), markdown.pipe_table(lines, "ll" + "r" * len(report.recipe.columns))]
    parts.append(escape(f"Rows: {state_of(report)}. {cost_of(report)}"))
    for title, items in _lists(report):
        parts += [f"## {title}", "\n".join(f"- {escape(said)}" for said in items)]
    return "\n\n".join(parts) + "\n"


def _cell(cell: str) -> str:
    """A cell as markdown: numbers with intervals are ours and stay as they are."""
    return cell if _NUMBERS.fullmatch(cell) else markdown.escape(cell)


def report_latex(report: Report) -> str:
    """A booktabs table and lists below it."""
    columns = [column.name for column in report.recipe.columns]
    lines = [["", "", *columns], *([name, what, *cells] for name, what, cells in lines_of(report))]
    caption = latex.escape(f"{report.recipe.source}: {report.recipe.title}. {label_of(report)}")
    parts = ["% needs \\usepackage{booktabs}", *(latex.escape(one_line(note)) for note in report.recipe.notes)]
    parts.append(latex.table(caption, lines, "ll" + "r" * len(columns)))
    parts.append(latex.escape(f"Rows: {state_of(report)}. {cost_of(report)}"))
    for title, items in _lists(report):
        parts += [f"\\paragraph{{{title}}}", latex.listed("itemize", [latex.escape(said) for said in items])]
    return "\n\n".join(parts) + "\n"


def report_html(report: Report) -> str:
    """One page that opens from disk and fetches nothing."""
    from icvos.render.page import page_environment

    template = page_environment().get_template("reproduction.html.j2")
    lines = list(lines_of(report))
    return template.render(
        report=report, label=label_of(report), lines=lines, lists=list(_lists(report)), state=state_of(report), cost=cost_of(report)
    )


def _lists(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """Title -> lines, those that have any."""
    missing = [f"{why.rstrip('.')}. Rows: {', '.join(dict.fromkeys(rows))}" for why, rows in missing_of(report).items()]
    flagged = [f"{label}: {flag}" for label, flag in flags_of(report)]
    said = [f"{label}: {source}" for label, source in sources_of(report)]
    for title, items in (
        ("What is missing", missing),
        ("Inconsistent in print", flagged),
        ("Where our numbers come from", said),
        ("Needed by what is left to do", _needs(report)),
    ):
        if items:
            yield title, items


def _needs(report: Report) -> list[str]:
    """Every need of the jobs that are not done, and whether it is there."""
    states = [(need, "there" if need.present else "fetched when it runs" if need.fetched else "missing") for need in report.needs]
    return [one_line(f"{need.what}: {state}{f' ({need.fix})' if state == 'missing' else ''}") for need, state in states]


def report_json(report: Report) -> str:
    """Everything, scores in [0, 1] with all their digits."""
    return to_json(report_data(report))


def report_data(report: Report) -> dict[str, Any]:
    """The same as plain data."""
    columns = report.recipe.columns
    return {
        "format": "icvos-reproduction/1",
        "recipe": report.recipe.name,
        "source": report.recipe.source,
        "title": report.recipe.title,
        "scale": report.scale,
        "label": label_of(report),
        "rows": [_row_data(row, columns) for row in report.rows],
        "jobs": [{"name": job.name, "commands": [["icvos", *words] for words in job.commands]} for job in report.jobs],
        "needs": [{"need": need.name, "what": need.what, "present": need.present, "fix": need.fix} for need in report.needs],
        "cost": {"gpu_hours": report.cost.gpu_hours, "minutes": report.cost.minutes, "bytes": report.cost.bytes},
    }


def _row_data(row: ReportRow, columns: Sequence[Column]) -> dict[str, Any]:
    cells = {}
    for place, (column, printed, value) in enumerate(zip(columns, row.paper, row.ours, strict=True)):
        cells[column.name] = {
            "paper": printed,
            "ours": None if value is None else value.value,
            "interval": None if value is None or value.interval is None else list(value.interval),
            "difference": row.difference(place, column),
            "editions": {
                name: {"paper": cells[place], "difference": row.difference(place, column, name)} for name, cells in row.editions.items()
            },
        }
    said = {"flags": list(row.flags), "missing": list(row.missing), "said_by": list(row.said_by)}
    return {"label": row.label, "group": row.group, "state": row.state, "cells": cells} | said


def plan_text(report: Report) -> str:
    """What would be done, in order: needs, costs and commands."""
    from shlex import join

    from icvos.reproduce.costs import RECKONED

    parts = [f"{report.recipe.source}: {report.recipe.title}", label_of(report), f"Rows: {state_of(report)}."]
    parts += [f"  {line}" for line in _needs(report)]
    parts += [cost_of(report), *([f"({RECKONED})"] if report.jobs and report.scale == "full" else [])]
    for job in report.jobs:
        parts += [f"{one_line(job.name)}:", *(f"  icvos {one_line(join(words))}" for words in job.commands)]
    return "\n".join(parts) + "\n"


def overview_text(reports: Sequence[Report], columns: int = 100) -> str:
    """A few lines a table, of at most so many columns: how its rows stand, and the first of what is missing."""
    width = max(len(report.recipe.name) for report in reports)
    lines = [f"State at the {reports[0].scale} scale; `icvos reproduce NAME --dry-run` says more."]
    for report in reports:
        lines.append(f"{report.recipe.name:{width}}  {one_line(report.recipe.title)}")
        lines.append(f"{'':{width}}  {state_of(report)}. {cost_of(report)}")
        lacking = dict.fromkeys(one_line(need.what) for need in report.needs if need.missing)
        few = [*list(lacking)[:_MOST_LACKING], *([f"and {len(lacking) - _MOST_LACKING} more"] if len(lacking) > _MOST_LACKING else [])]
        lines += [f"{'':{width}}  missing: {'; '.join(few)}"] if lacking else []
    indent = " " * (width + 4)
    wrapped = (wrap(line, columns, subsequent_indent=indent, break_on_hyphens=False) for line in lines)
    return "".join(f"{part}\n" for parts in wrapped for part in parts)
