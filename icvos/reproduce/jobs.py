"""Jobs: the commands that make one file, what must be there first, and what they cost. The templates are data in `data/jobs.json`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from icvos.errors import DataError
from icvos.files import read_json
from icvos.reproduce.recipes import DATA, Recipe, RecipeRow, Use
from icvos.weights import REGISTRY

_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Here:
    """What is at hand: where data, release, runs and work lie, and what this installation can do."""

    scale: str  # "full" or "sample"
    roots: Mapping[str, Path]  # davis, mose, lvos2, coco, pascal, voc_small
    release: Path
    runs: tuple[Path, ...]  # looked into in this order; the last is where new ones go
    work: Path
    commands: frozenset[str]  # of the command line
    digest: str = ""  # of the release, where it is there
    sources: frozenset[str] = frozenset()  # of the release


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job costs, roughly: training steps by their arithmetic, masks to be predicted, minutes of two cores at sample scale."""

    steps: int = 0
    tflop: float = 0.0  # a step
    masks: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """What makes one file. `makes` are the places where it may lie, the last the one where it would be written."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    makes: tuple[Path, ...]
    reads: str  # how the file is read, see `readers`; empty for what is only a step
    needs: tuple[str, ...]
    after: tuple[Job, ...]
    cost: Cost
    captured: bool = False  # the file is what the last command says
    expects: Mapping[str, str] = field(default_factory=dict)  # what the file must say of itself: "weights"

    @property
    def file(self) -> Path | None:
        """The file, where it is there."""
        return next((found for path in self.makes for found in _found(path)), None)

    def undone(self) -> Iterator[Job]:
        """This job and those before it, as far as their files are not there, in the order in which they must be done."""
        if self.file is None and self.makes:
            for earlier in self.after:
                yield from earlier.undone()
            yield self


@cache
def templates() -> Mapping[str, Any]:
    """jobs.json: template -> scale -> its entries, and the values that stand unless a recipe says otherwise."""
    data: Mapping[str, Any] = read_json(DATA / "jobs.json")
    return data


def jobs_of(row: RecipeRow, here: Here) -> tuple[tuple[Use, Job], ...]:
    """The jobs of a row at the scale of `here`, with what they fill.

    Raises:
        DataError: a recipe names a job or a placeholder that there is none of.
    """
    return tuple((use, job(use.job, use.values, here)) for use in row.uses[here.scale])


def all_jobs(recipe: Recipe, here: Here) -> tuple[Job, ...]:
    """Every job that is not done, each once, in an order in which they can be done."""
    found: dict[str, Job] = {}
    for row in recipe.rows:
        for _, made in jobs_of(row, here):
            found |= {one.name: one for one in made.undone() if one.name not in found}
    return tuple(found.values())


def job(name: str, values: Mapping[str, str], here: Here) -> Job:
    """A template with its placeholders filled.

    Raises:
        DataError: there is no such template, or it has a placeholder without a value.
    """
    known = templates()
    try:
        template = known["jobs"][name][here.scale]
    except KeyError as error:
        raise DataError("no such job", f"{name}, {here.scale}", fix="mend the recipe") from error
    values = {**known["defaults"][here.scale], **template.get("with", {}), **values}
    places = {**values, "release": str(here.release), "work": str(here.work), "digest": here.digest[:12] or "unbuilt"}
    places["embedded"] = str(REGISTRY.parent)  # the folder of the weights that come along
    places |= {root: str(here.roots.get(root, f"<{root}>")) for root in known["roots"]}
    places |= {f"{key}_root": places[value] for key, value in values.items() if value in known["roots"]}
    own = {**places, "runs": str(here.runs[-1])}
    makes = template.get("makes", "")
    return Job(
        name=_filled(template["name"], own),
        commands=tuple(tuple(_words(command, own)) for command in template.get("commands", ())),
        makes=tuple(dict.fromkeys(Path(_filled(makes, {**places, "runs": str(runs)})) for runs in here.runs)) if makes else (),
        reads=template.get("reads", ""),
        needs=tuple(_filled(need, own) for need in template.get("needs", ())),
        after=tuple(job(_filled(other, own), values, here) for other in template.get("after", ())),
        cost=Cost(**{key: cost[values["data"]] if isinstance(cost, dict) else cost for key, cost in template.get("cost", {}).items()}),
        captured=template.get("captured", False),
        expects={key: _filled(value, own) for key, value in template.get("expects", {}).items()},
    )


def _found(path: Path) -> Iterator[Path]:
    """The file, or for a pattern the files."""
    if "*" not in str(path):
        yield from [path] if path.is_file() else []
        return
    stars = next(place for place, part in enumerate(path.parts) if "*" in part)
    found = sorted(Path(*path.parts[:stars]).glob("/".join(path.parts[stars:])))
    yield from (each for each in found if not each.name.endswith(".timing.json"))


def _words(command: str, places: Mapping[str, str]) -> Iterator[str]:
    """A command's words: a placeholder that stands alone may become several or none, one inside a word never splits it."""
    for word in shlex.split(command):
        whole = _PLACE.fullmatch(word)
        if whole and whole[1].startswith("more_"):
            yield from shlex.split(places[whole[1]])
        else:
            yield _filled(word, places)


def _filled(text: str, places: Mapping[str, str]) -> str:
    try:
        return _PLACE.sub(lambda place: places[place[1]], text)
    except KeyError as error:
        raise DataError("a placeholder without a value", text, error.args[0], fix="mend the recipe") from error
