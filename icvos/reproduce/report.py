"""A recipe beside what is at hand: paper, ours, difference, and exactly what is missing to fill each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from icvos.reproduce.costs import Estimate, estimate
from icvos.reproduce.jobs import Here, Job, all_jobs, jobs_of
from icvos.reproduce.needs import Need, needs_of
from icvos.reproduce.printed import changes, flags, number
from icvos.reproduce.readers import OtherWeights, Reading, Value, read
from icvos.reproduce.recipes import Column, Recipe, RecipeRow

FILLED, PARTLY, READY, MISSING, PRINTED = "filled", "partly filled", "can run", "something missing", "printed only"
STATES = (FILLED, PARTLY, READY, MISSING, PRINTED)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line: what was printed, what was measured, and why a cell is empty."""

    label: str
    group: str
    paper: tuple[str, ...]
    ours: tuple[Value | None, ...]
    flags: tuple[str, ...]  # of the printed cells
    state: str  # one of STATES
    missing: tuple[str, ...]  # what must be done first; why nothing measures it; what failed
    said_by: tuple[str, ...] = ()  # where the measured cells come from
    editions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a later edition of the paper -> its cells

    def difference(self, place: int, column: Column, edition: str = "") -> float | None:
        """Ours less the paper's (or a later edition's), in the unit in which the column is printed."""
        cells = self.editions[edition] if edition else self.paper
        printed, ours = number(cells[place]), self.ours[place]
        if printed is None or ours is None or isinstance(ours.value, str):
            return None
        return shown(ours.value, column) - printed


@dataclass(frozen=True, slots=True)
class Report:
    """The whole table."""

    recipe: Recipe
    scale: str
    rows: tuple[ReportRow, ...]
    jobs: tuple[Job, ...]  # that are not done
    needs: tuple[Need, ...]
    cost: Estimate
    sizes: tuple[str, ...] = field(default=())  # how much was measured, each size once

    def count(self, state: str) -> int:
        """How many rows are in a state."""
        return sum(row.state == state for row in self.rows)


def shown(value: float, column: Column) -> float:
    """A measured number in the unit in which the column is printed."""
    return value * {"percent": 100.0, "millions": 1e-6}.get(column.form, 1.0)


def build_report(recipe: Recipe, here: Here, failed: Mapping[str, str] | None = None) -> Report:
    """How a recipe stands.

    Args:
        recipe: which.
        here: what is at hand.
        failed: name of a job -> what its command said.

    Raises:
        UserInputError: a run is of another release.
        DataError: a file is broken.
    """
    readings: dict[str, Reading] = {}
    rows = tuple(_row(row, recipe, here, failed or {}, readings) for row in recipe.rows)
    jobs = all_jobs(recipe, here)
    needs = needs_of(jobs, here)
    sizes = tuple(dict.fromkeys(reading.size for reading in readings.values() if reading.size))
    return Report(recipe, here.scale, rows, jobs, needs, estimate(jobs, needs), sizes)


def _row(row: RecipeRow, recipe: Recipe, here: Here, failed: Mapping[str, str], readings: dict[str, Reading]) -> ReportRow:
    cells: dict[str, Value] = {}
    missing: list[str] = [row.why] if row.why else []
    said: list[str] = []
    uses = jobs_of(row, here)
    for use, job in uses:
        try:
            reading = readings.get(job.name) or read(job, here)
        except OtherWeights as error:
            missing.append(str(error))
            continue
        if reading is None:
            missing += _missing(job, here, failed)
            continue
        readings[job.name] = reading
        said.append(reading.said_by)
        cells |= {column: reading.values[key] for column, key in use.fills.items() if key in reading.values}
    cells |= _means(recipe.columns, cells)
    if not (uses or missing):
        missing = [f"not measured at the {here.scale} scale"]
    ours = tuple(cells.get(column.name) for column in recipe.columns)
    state = _state(bool(uses), bool(cells), missing)
    found, reasons, sources = tuple(_flags(row, recipe)), tuple(dict.fromkeys(missing)), tuple(dict.fromkeys(said))
    return ReportRow(row.label, row.group, row.paper, ours, found, state, reasons, sources, row.editions)


def _flags(row: RecipeRow, recipe: Recipe) -> Iterator[str]:
    """What is inconsistent in print: within an edition, and between editions."""
    yield from flags(recipe.columns, row.paper)
    if row.flag:
        yield row.flag
    for edition, cells in row.editions.items():
        yield from (f"{edition}: {flag}" for flag in flags(recipe.columns, cells))
        yield from (f"{edition}: {change} since {recipe.edition}" for change in changes(recipe.columns, row.paper, cells))


def _state(measurable: bool, any_cell: bool, missing: Sequence[str]) -> str:
    if not measurable:
        return PRINTED
    waiting = [line for line in missing if line != NOT_RUN]
    if any_cell:
        return PARTLY if missing else FILLED
    return MISSING if waiting else READY


NOT_RUN = "all it needs is there; not run yet"


def _missing(job: Job, here: Here, failed: Mapping[str, str]) -> Iterator[str]:
    """What stands between a job and its file."""
    undone = list(job.undone())
    broken = [f"{one.name} failed: {failed[one.name]}" for one in undone if one.name in failed]
    lacking = [f"{need.what}: {need.fix}" for need in needs_of(undone, here) if need.missing]
    yield from broken or lacking or [NOT_RUN]


def _means(columns: Sequence[Column], cells: Mapping[str, Value]) -> dict[str, Value]:
    """Means of columns that are all there, where nothing was measured for the mean itself."""
    found = {}
    for column in columns:
        parts = [cells[name].value for name in column.mean_of if name in cells]
        if column.mean_of and column.name not in cells and len(parts) == len(column.mean_of):
            found[column.name] = Value(fmean(float(part) for part in parts))
    return found


def ready(recipe: Recipe, here: Here, failed: Mapping[str, str]) -> Job | None:
    """The next job that can be done: all it needs is there, and nothing before it is undone or failed."""
    for job in all_jobs(recipe, here):
        before = list(job.undone())
        if before == [job] and job.commands and job.name not in failed and not any(need.missing for need in needs_of(before, here)):
            return job
    return None
