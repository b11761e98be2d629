"""Does a bundle keep Codabench's rules? Every fault, not the first; a bundle is a zip, or the folder that it was packed from."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from icvos.codabench.rules import COMPETITION, METADATA, Competition, Phase
from icvos.errors import DataError, Finding
from icvos.files import AnyPath

YAML = "https://docs.codabench.org/latest/Organizers/Benchmark_Creation/Yaml-Structure/"
STRUCTURE = "https://docs.codabench.org/latest/Organizers/Benchmark_Creation/Competition-Bundle-Structure/"
Folder = Path | zipfile.Path
_PROGRAM = "/app/program/"  # where a worker puts a scoring program, and runs it


def check(bundle: AnyPath, scores: Collection[str] = ()) -> list[Finding]:
    """Every fault of the bundle at `bundle`, a zip or a folder; none means that Codabench takes it.

    Args:
        bundle: the zip, or a folder with `competition.yaml` in it.
        scores: the keys that the scoring program writes to `scores.json`, where they are known; the columns must be among them.
    """
    bundle = Path(bundle)
    with _opened(bundle) as root:
        if root is None:
            return [_finding("unreadable", bundle.name, "neither, or nothing in it", "a zip or a folder", "write it again")]
        return _findings(root, scores)


def _findings(root: Folder, scores: Collection[str]) -> list[Finding]:
    file = root / COMPETITION
    if not file.is_file():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:3])
        return [_finding("no-competition", COMPETITION, found, "this file at the top of the bundle", f"see {STRUCTURE}")]
    try:
        competition = Competition.model_validate(read_yaml(file.read_bytes(), COMPETITION))
    except ValidationError as error:
        return [_schema_finding(fault) for fault in error.errors(include_url=False)]
    except DataError as error:
        return [_finding("unreadable", error.where, error.found, error.expected, error.fix)]
    return [*_numbering(competition), *_phases(competition.phases), *_columns(competition, scores), *_files(competition, root)]


def read_yaml(data: bytes, name: str) -> Any:
    """What a YAML file holds. What icvos writes is JSON, a part of YAML; anything else needs PyYAML.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(data)
    except ValueError as fault:
        try:
            import yaml
        except ModuleNotFoundError:
            raise DataError("not JSON", name, str(fault), "JSON, or PyYAML installed", "run: pip install pyyaml") from fault
        try:
            return yaml.safe_load(data)
        except yaml.YAMLError as error:
            raise DataError("not YAML", name, " ".join(str(error).split()), "a YAML file", f"see {YAML}") from error


def _finding(code: str, where: str, found: object, expected: str, fix: str) -> Finding:
    return Finding(code, where, str(found), expected, fix)


def _schema_finding(fault: Any) -> Finding:
    where = ".".join(str(part) for part in fault["loc"])
    found = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:80]
    return _finding(
        fault["type"], f"{COMPETITION}: {where or 'the whole'}", found, fault["msg"].removeprefix("Value error, "), f"see {YAML}"
    )


def _numbering(competition: Competition) -> Iterator[Finding]:
    """Indices and keys that must be unique, and those that must lead somewhere."""
    unique: list[tuple[str, Iterable[object]]] = [
        ("tasks: index", (task.index for task in competition.tasks)),
        ("solutions: index", (solution.index for solution in competition.solutions)),
        ("phases: index", (phase.index for phase in competition.phases if phase.index is not None)),
        ("leaderboards: key", (board.key for board in competition.leaderboards)),
    ]
    for number, board in enumerate(competition.leaderboards):
        unique.append((f"leaderboards.{number}.columns: index", (column.index for column in board.columns)))
        unique.append((f"leaderboards.{number}.columns: key", (column.key for column in board.columns)))
    for where, values in unique:
        for value in (value for value, count in Counter(values).items() if count > 1):
            yield _finding("duplicate", f"{COMPETITION}: {where}", value, "each once", "number them anew")
    tasks = {task.index for task in competition.tasks}
    asked = {"phases": [phase.tasks for phase in competition.phases], "solutions": [one.tasks for one in competition.solutions]}
    for kind, parts in asked.items():
        for number, part in enumerate(parts):
            for index in sorted(set(part) - tasks):
                yield _finding("unknown-task", f"{COMPETITION}: {kind}.{number}.tasks", index, "the index of a task", "name one of tasks")


def _phases(phases: Collection[Phase]) -> Iterator[Finding]:
    """Phases follow one another; only the last may be without an end."""
    ordered = sorted(phases, key=lambda phase: phase.index or 0)
    for phase in ordered:
        if phase.end and phase.end <= phase.start:
            yield _finding("order", f"{COMPETITION}: phase {phase.name}", phase.end, f"an end after {phase.start}", "move its end")
    for before, after in pairwise(ordered):
        if before.end is None or after.start <= before.end:
            expected = f"an end before {after.name} starts, {after.start}"
            yield _finding("order", f"{COMPETITION}: phase {before.name}", before.end or "no end", expected, "move its end")
    if ordered[0].auto_migrate_to_this_phase:
        where = f"{COMPETITION}: phase {ordered[0].name}"
        yield _finding("order", where, "auto_migrate_to_this_phase", "a phase before it", "leave it out of the first phase")


def _columns(competition: Competition, scores: Collection[str]) -> Iterator[Finding]:
    """Columns get what the scoring program writes; computed ones get what others have."""
    for number, board in enumerate(competition.leaderboards):
        where = f"{COMPETITION}: leaderboards.{number}.columns"
        known = {column.index for column in board.columns}
        for column in board.columns:
            for index in sorted(set(column.computation_indexes or ()) - known):
                yield _finding("unknown-column", f"{where}, {column.key}", index, "the index of a column", "name one of them")
            if scores and not column.computation and column.key not in scores:
                expected = f"a key of scores.json: {', '.join(scores)}"
                yield _finding("unscored-column", where, column.key, expected, "let the scoring program write it, or drop the column")


def _files(competition: Competition, root: Folder) -> Iterator[Finding]:
    """What is named must be there, and be what it is named for."""
    for where, name in [("terms", competition.terms), *((f"pages: {page.title}", page.file) for page in competition.pages)]:
        if fault := _fault_of_page(root / name):
            yield _finding("page", f"{COMPETITION}: {where}", f"{name}: {fault}", "a page with something on it", "write it")
    if fault := _fault_of_picture(root / competition.image):
        yield _finding("image", f"{COMPETITION}: image", f"{competition.image}: {fault}", "a picture", "add one")
    archives = [(f"phases: {phase.name}", name) for phase in competition.phases for name in (phase.starting_kit, phase.public_data)]
    archives += [(f"solutions.{solution.index}", solution.path) for solution in competition.solutions]
    for task in competition.tasks:
        if not task.key:
            archives += [(f"tasks.{task.index}", name) for name in (task.input_data, task.reference_data)]
            for program in filter(None, (task.scoring_program, task.ingestion_program)):
                yield from _program(root / program, program)
    for where, archive in archives:
        if archive and not _is_archive(root / archive):
            yield _finding("missing-file", f"{COMPETITION}: {where}", archive, "a zip or a folder with files in it", "add it to the bundle")


def _is_archive(path: Folder) -> bool:
    with _opened(path) as root:
        return root is not None


def _fault_of_page(file: Folder) -> str:
    if not file.is_file():
        return "no such file"
    try:
        return "" if file.read_bytes().decode().strip() else "empty"
    except UnicodeDecodeError:
        return "not UTF-8"


def _fault_of_picture(file: Folder) -> str:
    from icvos.masks import decode_image

    if not file.is_file():
        return "no such file"
    try:
        decode_image(file.read_bytes(), file)
    except DataError as error:
        return error.found
    return ""


@contextmanager
def _opened(path: Folder) -> Iterator[Folder | None]:
    """A folder, or what is in a zip as a folder; None where it is neither, or empty."""
    with ExitStack() as stack:
        try:
            root: Folder = (
                path if path.is_dir() else zipfile.Path(stack.enter_context(zipfile.ZipFile(stack.enter_context(path.open("rb")))))
            )
        except (OSError, KeyError, zipfile.BadZipFile):
            yield None
            return
        yield root if next(iter(root.iterdir()), None) is not None else None


def _program(path: Folder, name: str) -> Iterator[Finding]:
    """A program says how it is run, and what is run is in it."""
    with _opened(path) as root:
        if root is None:
            yield _finding("missing-file", name, "nothing", "a zip or a folder with a program in it", "add it to the bundle")
        elif not (root / METADATA).is_file():
            yield _finding("no-command", name, f"no {METADATA}", f"{METADATA} at its top", f"see {STRUCTURE}")
        else:
            yield from _command(root, name)


def _command(root: Folder, name: str) -> Iterator[Finding]:
    try:
        words = shlex.split(read_yaml((root / METADATA).read_bytes(), METADATA)["command"])
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield _finding("no-command", f"{name}: {METADATA}", error, "command: python3 /app/program/…", f"see {STRUCTURE}")
        return
    for word in words:
        if word.startswith(_PROGRAM) and not (root / word.removeprefix(_PROGRAM)).is_file():
            yield _finding("missing-file", f"{name}: {METADATA}", word, "a file of the program", "add it, or mend the command")
