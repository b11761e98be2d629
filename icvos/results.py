"""The result of one run under one protocol: scores with all that is needed to trust them, one JSON file.

Scores lie in [0, 1]; percent appears only where a board is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from icvos.badges import REPORTED, Badge, badge_of
from icvos.cards import card_faults, seen_clips, validation_clips
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath, parse_json, read_data, read_json, to_json, write_text
from icvos.names import lies_in_junk
from icvos.scores import Coverage, Scores, TubeScores, score_field
from icvos.totals import Disagreement, disagreements

__all__ = [
    "Coverage",
    "Result",
    "Scores",
    "Timing",
    "TubeScores",
    "abridged",
    "find_results",
    "is_image_result",
    "release_label",
    "score_field",
    "signature_of",
]

FORMAT = "icvos-result/1"
IMAGE_FORMAT = "icvos-image-result/1"  # of `icvos.fewshot.results`
_SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_COMPANIONS = (".timing.json", ".record.json")  # ends of names of what lies beside a result
_LONGEST = 80  # characters of a card's field in a signature


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a run took: frames answered, seconds, and the most memory that its process held."""

    frames: int
    seconds: float
    peak_rss_bytes: int

    @property
    def frames_per_second(self) -> float | None:
        """Frames answered in a second; None where no time was counted."""
        return self.frames / self.seconds if self.seconds else None

    @classmethod
    def load(cls, file: AnyPath) -> Timing:
        """The timing stored at `file`.

        Raises:
            DataError: it is no timing.
        """
        file = Path(file)
        data = read_json(file)
        try:
            timing = cls(int(data["frames"]), float(data["seconds"]), int(data["peak_rss_bytes"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError("not a timing file", file, found=f"{type(error).__name__} {error}", fix="delete it or run again") from error
        if not (isfinite(timing.seconds) and timing.seconds >= 0 and timing.frames >= 0 and timing.peak_rss_bytes >= 0):
            raise DataError("not a timing file", file, found=str(data), expected="numbers from 0 on", fix="delete it or run again")
        return timing

    @classmethod
    def beside(cls, path: AnyPath) -> Timing | None:
        """The timing stored beside the result file `path` (``native@1.timing.json`` for ``native@1.json``), if any.

        Raises:
            DataError: the file is there and is no timing.
        """
        path = Path(path)
        file = path.with_name(f"{path.stem}.timing.json")
        return cls.load(file) if file.exists() else None


@dataclass(frozen=True, slots=True)
class Result:
    """One run scored under one protocol.

    `intervals` holds 95 % intervals of J, F and J&F from a bootstrap over clips (None with fewer than two clips);
    `groups` the means by ``class``, ``source``, ``length`` and ``support``; `support_spread` the standard deviation of
    J&F over the draws, averaged over tubes. `badge` is what whoever scored says: ``rescored``, masks were scored; ``rerun``,
    by whoever ran the method from its code. `scored_here` is no part of the file: whether that was done on this machine
    (`icvos.badges`). Numbers that a paper printed are ``reported`` and are no results.
    """

    method: dict[str, Any]  # the method's card as plain data
    benchmark: dict[str, str]  # name, version, digest
    protocol: str
    environment: dict[str, str]  # versions of what moves a number
    coverage: Coverage
    overall: Scores
    intervals: dict[str, tuple[float, float] | None]
    support_spread: float
    groups: dict[str, dict[str, Scores]]
    tubes: tuple[TubeScores, ...]
    notes: tuple[str, ...] = field(default=())  # "resized predictions", "missing masks allowed"
    badge: Badge = "rescored"
    scored_here: bool = field(default=False, compare=False)

    @property
    def badge_here(self) -> str:
        """The badge that a board made here may show: the result's own where it was scored here, else that its author reports it."""
        return self.badge if self.scored_here else REPORTED

    @property
    def signature(self) -> str:
        """One line that tells two numbers apart that must not be compared."""
        bench = self.benchmark
        return signature_of(self.environment, f"{bench['name']}@{bench['version']}", bench["digest"], self.protocol, self.method)

    @property
    def clips(self) -> tuple[str, ...]:
        """The videos that were scored, ``source/clip``, sorted."""
        return tuple(sorted({f"{tube.source}/{tube.clip}" for tube in self.tubes}))

    @property
    def seen_clips(self) -> tuple[str, ...]:
        """Those of `clips` that the method's card names as seen in training: contamination."""
        return seen_clips(self.method, self.clips)

    @property
    def validation_clips(self) -> tuple[str, ...]:
        """Those of `clips` that the method's card names as looked at while its settings were chosen."""
        return validation_clips(self.method, self.clips)

    def save(self, path: AnyPath) -> None:
        """Write the result to `path`, whole or not at all."""
        write_text(Path(path), self.as_text())

    def as_text(self) -> str:
        """What its file holds."""
        return to_json(_plain(self))

    @classmethod
    def load(cls, path: AnyPath) -> Result:
        """The result stored at `path`, every total of which is derived again from its tubes.

        Raises:
            DataError: it is not a result file of this format, or holds a number that does not follow from its tubes.
        """
        path = Path(path)
        content = read_data(path)
        data = parse_json(content, path)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format", "no format") if isinstance(data, dict) else type(data).__name__
            raise DataError("not a result file", path, found=found, expected=FORMAT, fix="score the run again")
        try:
            result = cls(
                method=data["method"],
                benchmark=data["benchmark"],
                protocol=data["protocol"],
                environment=data["environment"],
                coverage=Coverage(data["coverage"]["expected"], data["coverage"]["present"]),
                overall=Scores.from_dict(data["overall"]),
                intervals={name: None if pair is None else (pair[0], pair[1]) for name, pair in data["intervals"].items()},
                support_spread=data["support_spread"],
                groups={group: {k: Scores.from_dict(v) for k, v in rows.items()} for group, rows in data["groups"].items()},
                tubes=tuple(_tube_from_dict(tube) for tube in data["tubes"]),
                notes=tuple(data["notes"]),
                badge=data["badge"],
            )
            if result.badge not in get_args(Badge):
                raise ValueError(f"the badge {result.badge!r}")
            for fault in card_faults(result.method):
                raise ValueError(f"a card whose {fault.field} is {fault.found}")
            if data["signature"] != result.signature:
                raise ValueError("a signature that is not its own")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise DataError("incomplete result file", path, found=f"{type(error).__name__} {error}", fix="score the run again") from error
        _refuse_disagreements(path, result, data["coverage"])
        return replace(result, scored_here=badge_of(path, content, release=result.benchmark["digest"]) == result.badge)


def _refuse_disagreements(path: Path, result: Result, coverage: Mapping[str, Any]) -> None:
    """Refuse a file whose numbers do not follow from its tubes, and name the field."""
    wrong = next(disagreements(result), None)
    if wrong is None and coverage.get("part") != result.coverage.part:
        wrong = Disagreement("coverage.part", repr(coverage.get("part")), f"{result.coverage.part!r}, present over expected")
    if wrong is not None:
        where = f"{path}, {wrong.field}"
        raise DataError("a result that does not follow from its own tubes", where, wrong.found, wrong.expected, "score the run again")


def find_results(roots: Iterable[AnyPath]) -> Iterator[Path]:
    """Every result file ``NAME@VERSION.json`` below `roots` (a result file of any name may be given), sorted, each once.

    Raises:
        UserInputError: a root does not exist.
    """
    seen: set[Path] = set()
    for root in map(Path, roots):
        if not root.exists():
            raise UserInputError("no such folder", root, expected="scored runs", fix="run `icvos score` first or check the path")
        for path in [root] if root.is_file() else sorted(found for found in root.rglob("*@*.json") if not lies_in_junk(found, root)):
            if path.resolve() not in seen and not path.name.endswith(_COMPANIONS):
                seen.add(path.resolve())
                yield path


def is_image_result(path: AnyPath) -> bool:
    """Whether a result file is about images and not about clips, so that the two never stand side by side."""
    path = Path(path)
    data = read_json(path)
    return isinstance(data, dict) and data.get("format") == IMAGE_FORMAT


def _plain(result: Result) -> dict[str, Any]:
    data: dict[str, Any] = {"format": FORMAT, "signature": result.signature}
    for entry in fields(result):
        if entry.name != "scored_here":
            data[entry.name] = getattr(result, entry.name)
    data["coverage"] = {**asdict(result.coverage), "part": result.coverage.part}
    data["overall"] = result.overall.as_dict()
    data["groups"] = {group: {k: v.as_dict() for k, v in rows.items()} for group, rows in result.groups.items()}
    data["tubes"] = [
        {
            "id": tube.id,
            "source": tube.source,
            "clip": tube.clip,
            "class": tube.category,
            "frames": tube.frames,
            "mean": tube.mean.as_dict(),
            "draws": {draw: scores.as_dict() for draw, scores in tube.draws.items()},
        }
        for tube in result.tubes
    ]
    return data


def _tube_from_dict(data: dict[str, Any]) -> TubeScores:
    return TubeScores(
        id=data["id"],
        source=data["source"],
        clip=data["clip"],
        category=data["class"],
        frames=data["frames"],
        mean=Scores.from_dict(data["mean"]),
        draws={draw: Scores.from_dict(scores) for draw, scores in data["draws"].items()},
    )


def signature_of(environment: Mapping[str, str], release: str, digest: str, protocol: str, card: Mapping[str, Any]) -> str:
    """One line of what made a number; `release` is its name and version."""
    parts = {
        "icvos": environment.get("icvos", "unknown"),
        "release": f"{release}#{digest[:12]}",
        "protocol": protocol,
        "method": f"{card['name']}@{card.get('version', '1')}",
        "weights": abridged(card.get("weights", "none")),
        "precision": abridged(card.get("precision", "none")),
    }
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def release_label(benchmark: Mapping[str, str]) -> str:
    """``name@version#digest`` of the release that a result names, the digest cut to 12 digits."""
    return f"{benchmark['name']}@{benchmark['version']}#{benchmark['digest'][:12]}"


def abridged(said: object) -> str:
    """A field of a card as signatures and labels have it: hashes cut to 12 digits, the names beside them whole."""
    return " ".join(_SHA256.sub(r"\1", str(said)).split())[:_LONGEST]
