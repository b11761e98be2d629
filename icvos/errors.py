"""Errors name the party at fault, and every message says what, where, found, expected and what to do.

Exit codes of the command line: 2 the user's input, 3 the data on disk, 4 a submission, 5 a method (plug-in), 130 Ctrl-C, and 1 where
the machine itself ended a process of ours (killed from outside, or for memory).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches

_MOST_NAMES = 100  # in one message: all classes of COCO, and not all clips of a data set


def _sentence(head: str, found: str, expected: str, fix: str) -> str:
    """What and where, then as much of the rest as is known."""
    clauses = ", ".join(f"{word} {said}" for word, said in (("found", found), ("expected", expected)) if said)
    return "; ".join(filter(None, [": ".join(filter(None, [head, clauses])), fix]))


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault found on disk or in a submission; a report lists all of them."""

    code: str  # short and stable, for machines: "missing-frame"
    where: str  # the path, or the episode and frame
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return _sentence(f"{self.code}: {self.where}", self.found, self.expected, self.fix)

    def as_dict(self) -> dict[str, str]:
        """The same as plain data, for ``--json``."""
        return asdict(self)


class IcvosError(Exception):
    """Base of every error that icvos raises on purpose.

    Args:
        what: what went wrong, a few words.
        where: the path, option or episode.
        found: what was there.
        expected: what should have been there.
        fix: what to do, an imperative.
        findings: all the faults, where one error stands for many.
    """

    exit_code = 1

    def __init__(
        self, what: str, where: object = "", found: object = "", expected: object = "", fix: str = "", findings: Iterable[Finding] = ()
    ) -> None:
        super().__init__(what, where, found, expected, fix, tuple(findings))
        self.what, self.where, self.found, self.expected, self.fix = what, str(where), str(found), str(expected), fix
        self.findings = tuple(findings)

    def __str__(self) -> str:
        head = f"{self.what}: {self.where}" if self.where else self.what
        sentence = _sentence(head, self.found, self.expected, self.fix)
        return sentence if sentence.endswith("?") else f"{sentence}."

    def as_dict(self) -> dict[str, object]:
        """The error as plain data, for ``--json``."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "message": str(self),
            "findings": [finding.as_dict() for finding in self.findings],
        }


class UserInputError(IcvosError):
    """An option, a path or a name that cannot be used as given."""

    exit_code = 2


class DataError(IcvosError):
    """A data set or a release on disk that is not what it should be."""

    exit_code = 3


class SubmissionError(IcvosError):
    """Predictions that cannot be scored."""

    exit_code = 4


class PluginError(IcvosError):
    """A method that broke its contract."""

    exit_code = 5


def missing_package(what: str, error: ModuleNotFoundError, extra: str) -> UserInputError:
    """What to say where `what` cannot be had without an extra of this package."""
    return UserInputError(f"{what} needs more packages", error.name or extra, "not installed", fix=f"run: pip install 'icvos[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """An imperative for an unknown name: the closest known ones, or the known ones, all of them where they are not many."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5) or [
        longer
        for longer in names
        if get_close_matches(name, [longer[: len(name)]])  # "orcale" for "oracle-first-frame"
    ]
    if close:
        return "did you mean " + " or ".join(close) + "?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "known: " + (", ".join(names[:_MOST_NAMES]) or "none") + more
