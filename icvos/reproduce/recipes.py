"""Recipes: a paper's tables as printed, and for each row the jobs that measure it again. All of it is data in `data/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.files import read_json

FORMAT = "icvos-recipe/1"
DATA = Path(__file__).parent / "data"
SCALES = ("full", "sample")
FORMS = ("percent", "count", "millions", "giga", "text")
FOLDS = ("0", "1", "2", "3")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `mean_of` and `ratio_of` name the columns that it follows from, in print as in what is measured."""

    name: str
    form: str = "percent"  # how a measured number is shown: one of FORMS
    digits: int = 2
    mean_of: tuple[str, ...] = ()
    ratio_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """One job, and which columns its readings fill."""

    job: str  # of jobs.json
    values: Mapping[str, str]  # of the job's placeholders
    fills: Mapping[str, str]  # column -> name of a reading


@dataclass(frozen=True, slots=True)
class RecipeRow:
    """One printed line: its cells as they stand in the paper, empty where it has none."""

    label: str
    paper: tuple[str, ...]
    uses: Mapping[str, tuple[Use, ...]]  # scale -> what measures it
    group: str = ""  # the heading above it: a backbone, a data set
    why: str = ""  # why nothing measures it
    flag: str = ""  # what is wrong with it in print, where arithmetic on its own cells cannot tell
    editions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a later edition -> its cells, where the paper has several


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table or figure."""

    name: str  # "table4"
    title: str
    source: str  # "DC-SAM, Table 4"
    columns: tuple[Column, ...]
    rows: tuple[RecipeRow, ...]
    notes: tuple[str, ...] = ()  # what a reader of the full scale must know
    sample: str = ""  # what the sample scale is
    edition: str = "paper"  # whose cells `RecipeRow.paper` are


def recipe_names(folder: Path = DATA) -> tuple[str, ...]:
    """table1 to table14, then the figures."""
    found = [path.stem for path in folder.glob("*.json") if path.stem.startswith(("table", "fig"))]
    return tuple(sorted(found, key=lambda name: (name.startswith("fig"), len(name), name)))


def load_recipe(name: str, folder: Path = DATA) -> Recipe:
    """The recipe of a table or figure.

    Raises:
        UserInputError: there is none of this name.
        DataError: its file is not a recipe.
    """
    known = recipe_names(folder)
    if name not in known:
        raise UserInputError("no recipe of this name", name, fix=did_you_mean(name, known))
    path = folder / f"{name}.json"
    data = read_json(path)
    found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
    if found != FORMAT:
        raise DataError("not a recipe", path, found=found, expected=FORMAT, fix="install icvos again")
    try:
        return _recipe(name, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("incomplete recipe", path, found=f"{type(error).__name__} {error}", fix="complete it") from error


def _recipe(name: str, data: Mapping[str, Any]) -> Recipe:
    columns = tuple(_column(entry) for entry in data["columns"])
    rows = tuple(_row(entry, columns, data.get("fills", {})) for entry in data["rows"])
    return Recipe(
        name,
        data["title"],
        data["source"],
        columns,
        rows,
        tuple(data.get("notes", ())),
        data.get("sample", ""),
        data.get("edition", "paper"),
    )


def _column(entry: Mapping[str, Any]) -> Column:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    column = Column(**values)
    if column.form not in FORMS:
        raise ValueError(f"the form {column.form!r}")
    return column


def _row(entry: Mapping[str, Any], columns: tuple[Column, ...], fills: Mapping[str, str]) -> RecipeRow:
    editions = {name: tuple(cells) for name, cells in entry.get("editions", {}).items()}
    for cells in (entry["paper"], *editions.values()):
        if len(cells) != len(columns):
            raise ValueError(f"{len(cells)} cells in {entry['label']!r} for {len(columns)} columns")
    uses = {scale: tuple(use for given in entry.get(scale, ()) for use in _uses(given, fills)) for scale in SCALES}
    names = {column.name for column in columns}
    if strange := [name for given in uses.values() for use in given for name in use.fills if name not in names]:
        raise ValueError(f"no column {strange[0]!r}")
    said = {key: entry[key] for key in ("group", "why", "flag") if key in entry}
    return RecipeRow(entry["label"], tuple(entry["paper"]), uses, editions=editions, **said)


def _uses(given: Mapping[str, Any], fills: Mapping[str, str]) -> list[Use]:
    """A use as it stands, or one for each of the four folds."""
    values, columns = dict(given.get("with", {})), dict(given.get("fills", fills))
    if not given.get("folds"):
        return [Use(given["job"], values, columns)]
    return [
        Use(given["job"], values | {"fold": fold}, {name.replace("{fold}", fold): key for name, key in columns.items()}) for fold in FOLDS
    ]
