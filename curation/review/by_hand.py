"""The review without a page: a folder of GIFs with a table to fill in, and the filled-in table turned into decisions."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from curation.candidates import CandidateSet, CandidateTube
from curation.overlay import review_frames
from curation.review.agreement import NO_ANSWERS, answer_of, standing
from curation.review.decisions import Decision, append_decisions, decide, read_decisions
from curation.review.pictures import file_name
from curation.review.view import refuse_nothing
from curation.review_clips import encode_gif
from icvos.categories import BY_ID
from icvos.errors import DataError, Finding, UserInputError, did_you_mean
from icvos.files import AnyPath, make_folder, read_data, write_bytes, write_text
from icvos.parallel import core_count, in_processes

TABLE = "decisions.csv"
COLUMNS = ("tube", "class", "gif", "objects", "frames", "warnings", "verdict", "reason", "other_class", "candidates")
GIF_FRAMES = 40  # a tube's GIF then has two or three megabytes
_GIF_RATE = 10  # frames a second
_WORTH_A_PROCESS = 16  # GIFs: a process takes as long to start as a few of them to draw
_VERDICTS = ("accept", "reject", "unsure")  # a table has no line to take back


class Exported(NamedTuple):
    """What an export came to."""

    drawn: int  # GIFs that were not there yet
    table: Path
    table_kept: bool  # it was there already, perhaps filled in


def export_gifs(candidates: CandidateSet, folder: AnyPath, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Exported:
    """Lay out a GIF a tube and a table with a line a tube; what is there is kept, so that an interrupted call goes on.

    Raises:
        UserInputError: there is no tube, the folder holds the table of another set, or it cannot be written.
        DataError: a clip cannot be read.
    """
    folder = Path(folder)
    refuse_nothing(candidates)
    make_folder(folder)
    table = folder / TABLE
    kept = table.is_file()
    if kept and (strangers := {row["candidates"] for _, row in _rows(table)} - {candidates.digest}):
        found = ", ".join(sorted(f"{digest[:12]}…" for digest in strangers))
        raise UserInputError("the table of another set of candidates", table, found, f"{candidates.digest[:12]}…", "choose another folder")
    missing = [place for place, tube in enumerate(candidates.tubes) if not (folder / _gif_name(candidates, place)).is_file()]
    workers = min(core_count(), 1 + len(missing) // _WORTH_A_PROCESS)
    drawing = in_processes(partial(_drawer, candidates, folder), missing, workers)
    for done, _ in enumerate(drawing, 1):
        on_progress(done, len(missing))
    if not kept:
        write_text(table, _table(candidates))
    return Exported(len(missing), table, kept)


def _drawer(candidates: CandidateSet, folder: Path) -> Callable[[int], None]:
    def draw(place: int) -> None:
        tube = candidates.tubes[place]
        frames = review_frames(tube.tube(candidates.root(tube.source)), most=GIF_FRAMES)
        write_bytes(folder / _gif_name(candidates, place), encode_gif(frames, _GIF_RATE))

    return draw


def _gif_name(candidates: CandidateSet, place: int) -> str:
    """A name in the set's order, that changes with what the GIF shows."""
    tube = candidates.tubes[place]
    plain = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in tube.id)
    return f"{place + 1:05d}-{plain[:80]}-{file_name(tube, 'gif')[:8]}.gif"


def _table(candidates: CandidateSet) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for place, tube in enumerate(candidates.tubes):
        writer.writerow(_line(tube) | {"gif": _gif_name(candidates, place), "candidates": candidates.digest})
    return stream.getvalue()


def _line(tube: CandidateTube) -> dict[str, str]:
    return {
        "tube": tube.id,
        "class": BY_ID[tube.class_id].name,
        "objects": " ".join(map(str, tube.objects)),
        "frames": str(len(tube.frames)),
        "warnings": "; ".join(f"{warned.rule}: {warned.reason}" for warned in tube.warnings),
    }


class Imported(NamedTuple):
    """What an import came to."""

    taken: int
    known: int  # lines that say what the reviewer's standing answer says already
    empty: int  # lines without a verdict


def import_table(candidates: CandidateSet, decisions: AnyPath, table: AnyPath, reviewer: str) -> Imported:
    """Turn a filled-in table into decisions, all of its lines or none; lines without a verdict are passed over.

    Importing a table again, with more lines filled in or others changed, adds only what is new.

    Raises:
        DataError: it is no such table, or lines cannot be used; the error lists every fault.
        UserInputError: the decisions cannot be kept.
    """
    decisions = Path(decisions)
    table = Path(table)
    answers = standing(read_decisions(decisions).decisions, candidates)[0]
    taken: list[Decision] = []
    findings: list[Finding] = []
    seen: set[str] = set()
    known = empty = 0
    for number, row in _rows(table):
        where = f"{table}, line {number}"
        if not row["verdict"].strip():
            empty += 1
            continue
        try:
            decision = _decision(candidates, row, reviewer, seen)
        except UserInputError as error:
            findings.append(Finding("line", where, f"{error.what}: {error.where} {error.found}".strip(), error.expected, error.fix))
            continue
        before = answers.get(decision.tube, NO_ANSWERS).by_reviewer.get(reviewer)
        if before and (answer_of(before), before.reason) == (answer_of(decision), decision.reason):
            known += 1
        else:
            taken.append(decision)
    if findings:
        raise DataError("lines that cannot be used", table, str(len(findings)), "none", f"first: {findings[0]}", findings)
    if taken:
        append_decisions(decisions, taken)
    return Imported(len(taken), known, empty)


def _decision(candidates: CandidateSet, row: dict[str, str], reviewer: str, seen: set[str]) -> Decision:
    tube, verdict = row["tube"].strip(), row["verdict"].strip().lower()
    if row["candidates"] != candidates.digest:
        found, expected = f"{row['candidates'][:12]}…", f"{candidates.digest[:12]}…"
        raise UserInputError("a line about other candidates", tube, found, expected, "review the set that the table was made of")
    if tube in seen:
        raise UserInputError("a tube decided twice", tube, fix="leave one line of it")
    seen.add(tube)
    if verdict not in _VERDICTS:
        raise UserInputError("no such verdict", tube, verdict, fix=did_you_mean(verdict, _VERDICTS))
    return decide(candidates, tube, verdict, reviewer, reason=row["reason"] if verdict == "reject" else "", class_name=row["other_class"])


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The table's lines with their numbers; spreadsheets may have put a mark before it, or semicolons in."""
    try:
        text = read_data(table).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("not a table", table, "bytes that are not UTF-8", "CSV in UTF-8", "save it as CSV UTF-8") from error
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise DataError("not a table of decisions", table, f"no column {', '.join(missing)}", ", ".join(COLUMNS), "export it again")
    for row in reader:
        yield reader.line_num, {name: row[name] or "" for name in COLUMNS}
