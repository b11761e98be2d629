"""`labels.csv`: which COCO class an object is, as people or programs say it; several of them make one book of labels.

Columns: source, clip, object, class (a COCO class, or ``none`` of them), who, when (ISO 8601, or empty where nobody knows), how.
Of one person's rows about an object the latest counts. Where people do not agree nobody's word is taken: the object has no
label, and so its class is out, until they do.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from curation.labels import coco_category
from icvos.benchmark import plain_name
from icvos.categories import BY_NAME
from icvos.errors import DataError, Finding, did_you_mean
from icvos.files import AnyPath, read_data, sha256_text

HEADER = ("source", "clip", "object", "class", "who", "when", "how")
NONE = "none"  # of COCO's classes
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One row."""

    source: str
    clip: str
    object: int
    class_name: str  # a COCO class, or `NONE`
    who: str
    when: str = ""
    how: str = ""
    where: str = field(default="", compare=False)  # file and line, for messages

    @property
    def key(self) -> str:
        """``source/clip object 3``: what is labelled, for people."""
        return f"{self.source}/{self.clip} object {self.object}"


@dataclass(frozen=True, slots=True)
class LabelBook:
    """What several files say together."""

    rows: tuple[Label, ...] = ()  # sorted; of each person the latest about an object

    def of_clip(self, source: str, clip: str) -> dict[int, tuple[Label, ...]]:
        """The rows about each object of a clip; more than one where several people spoke."""
        return self.by_clip().get((source, clip), {})

    def only(self, source: str, clip: str) -> LabelBook:
        """The rows about one clip."""
        return LabelBook(tuple(row for row in self.rows if (row.source, row.clip) == (source, clip)))

    def by_clip(self) -> dict[tuple[str, str], dict[int, tuple[Label, ...]]]:
        """The rows about each object of each clip."""
        grouped: dict[tuple[str, str], dict[int, tuple[Label, ...]]] = {}
        for row in self.rows:
            objects = grouped.setdefault((row.source, row.clip), {})
            objects[row.object] = (*objects.get(row.object, ()), row)
        return grouped

    def disagreements(self) -> list[tuple[Label, ...]]:
        """The rows about each object on which people do not agree, in order."""
        return [rows for objects in self.by_clip().values() for rows in objects.values() if not agreed(rows)]

    @property
    def digest(self) -> str:
        """sha256 of the merged file: the same for the same rows, however they are spread over files."""
        return sha256_text(to_csv(self.rows))


def agreed(rows: Sequence[Label]) -> bool:
    """Whether all who labelled an object say the same class."""
    return len({row.class_name for row in rows}) == 1


def in_words(rows: Sequence[Label]) -> str:
    """``cat (ann), dog (bob)``: who says what."""
    return ", ".join(f"{row.class_name} ({row.who})" for row in rows)


def read_labels(paths: Iterable[AnyPath]) -> LabelBook:
    """Several files as one book; the order of the files decides nothing.

    Raises:
        DataError: a file cannot be read, or has faults; the error lists every fault of every file.
    """
    findings: list[Finding] = []
    rows = [row for path in sorted(set(map(Path, paths))) for row in _rows_of(path, findings)]
    if findings:
        raise DataError("faults in the labels", findings[0].where, f"{len(findings)}", "none", f"first: {findings[0]}", findings)
    return merged(rows)


def merged(rows: Iterable[Label]) -> LabelBook:
    """One book of rows: each once, of each person the latest about an object (all of them, where their times are one)."""
    spoken: dict[tuple[str, str, int, str], list[Label]] = {}
    for row in set(rows):
        spoken.setdefault((row.source, row.clip, row.object, row.who), []).append(row)
    latest = {key: max(_time(row.when) for row in theirs) for key, theirs in spoken.items()}
    return LabelBook(tuple(sorted(row for key, theirs in spoken.items() for row in theirs if _time(row.when) == latest[key])))


def to_csv(rows: Iterable[Label]) -> str:
    """The rows as a file, in the given order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((row.source, row.clip, row.object, row.class_name, row.who, row.when, row.how) for row in rows)
    return text.getvalue()


def _rows_of(path: Path, findings: list[Finding]) -> Iterator[Label]:
    try:
        text = read_data(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("not a file of labels", path, "bytes that are not UTF-8", ",".join(HEADER), "save it as UTF-8") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        if tuple(header) != HEADER:
            found = ",".join(header) or "an empty file"
            raise DataError("not a file of labels", f"{path}, line 1", found, ",".join(HEADER), "write this header first")
        for fields in lines:
            if fields:
                where = f"{path}, line {lines.line_num}"
                faults = list(_faults(fields))
                findings.extend(Finding(code, where, found, expected, fix) for code, found, expected, fix in faults)
                if not faults:
                    source, clip, number, class_name, who, when, how = fields
                    yield Label(source, clip, int(number), class_name, who, when, how, where)
    except csv.Error as error:
        findings.append(Finding("malformed-line", f"{path}, line {lines.line_num}", str(error), "comma-separated values", "mend the line"))


def _faults(fields: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """What is wrong with one line: code, found, expected and what to do."""
    if len(fields) != len(HEADER):
        yield "malformed-line", f"{len(fields)} fields", f"{len(HEADER)}: {','.join(HEADER)}", "mend the line"
        return
    source, clip, number, class_name, who, when, _ = fields
    for name, value in (("source", source), ("clip", clip)):
        if not _is_plain(value):
            yield "malformed-name", f"{name} {value!r}", "a plain name", "write the name as the source has it"
    if not (number.isascii() and number.isdecimal() and 0 < int(number[:9]) < 255):
        yield "malformed-object", f"object {number!r}", "a number from 1 to 254", "write the value that the masks have"
    if class_name != NONE and class_name not in BY_NAME:
        meant = coco_category(class_name)
        fix = f"did you mean {meant.name}?" if meant else did_you_mean(class_name, [*BY_NAME, NONE])
        yield "unknown-class", f"class {class_name!r}", f"a COCO class, or {NONE}", fix
    if not who.strip():
        yield "nobody", "nobody", "who says so", "write a name"
    if when and _time(when) == _LONG_AGO:
        yield "malformed-time", f"when {when!r}", "a time as in 2025-03-01T12:00:00+00:00", "write it so, or leave it empty"


def _is_plain(name: str) -> bool:
    try:
        return plain_name(name) == name
    except ValueError:
        return False


def _time(when: str) -> datetime:
    """When, with a zone: UTC where none is said; long ago where nothing is."""
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return _LONG_AGO
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def unknown_labels(book: LabelBook, objects: Mapping[tuple[str, str], Iterable[int]], sources: Iterable[str]) -> list[Finding]:
    """The rows about clips and objects that are not there, for the `sources` that were read.

    Args:
        book: the labels.
        objects: (source, clip) -> the ids of its objects, of every clip of these sources.
        sources: the names of the sources; rows about others are passed over, since a file may serve several builds.
    """
    findings = []
    read = set(sources)
    for row in book.rows:
        if row.source not in read:
            continue
        there = objects.get((row.source, row.clip))
        if there is None:
            names = [clip for source, clip in objects if source == row.source]
            findings.append(Finding("unknown-clip", row.where, row.clip, f"a clip of {row.source}", did_you_mean(row.clip, names)))
        elif row.object not in (known := sorted(there)):
            expected = f"one of {', '.join(map(str, known))}" if known else "no object at all"
            findings.append(Finding("unknown-object", row.where, row.key, expected, "take the row out, or mend its number"))
    return findings
