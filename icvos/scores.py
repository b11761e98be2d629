"""What is said of a tube, and how much was predicted: the records that totals are made of. Scores lie in [0, 1], decay in [-1, 1]."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite

MISSING_ALLOWED = "missing masks allowed, counted 0"  # the note of a result where masks that are not there were let pass
RESIZED = "masks of other sizes resampled"


@dataclass(frozen=True, slots=True)
class Scores:
    """What is said of a tube, a group of tubes, or a whole run.

    J is region similarity, F contour accuracy, JF their mean; recall is the part of frames above 0.5; decay the mean of
    the first quarter of a clip less that of the last; first the value on the first frame.
    """

    J: float
    F: float
    JF: float
    J_recall: float
    F_recall: float
    J_decay: float
    F_decay: float
    J_first: float
    F_first: float

    def as_dict(self) -> dict[str, float]:
        """The same under the names of the field: ``J&F`` for JF."""
        return {"J&F" if name == "JF" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> Scores:
        """The reverse of `as_dict`.

        Raises:
            TypeError, ValueError: a score is missing, unknown, or no finite number.
        """
        scores = cls(**{("JF" if name == "J&F" else name): value for name, value in values.items()})
        if wrong := [name for name, value in values.items() if isinstance(value, str | bool) or not isfinite(value)]:
            raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}")
        return scores


def score_field(name: str) -> str:
    """The attribute of `Scores` that a score's name stands for: JF for ``J&F``."""
    return "JF" if name == "J&F" else name


@dataclass(frozen=True, slots=True)
class TubeScores:
    """The scores of one tube: its mean over the support draws, and each draw."""

    id: str
    source: str
    clip: str
    category: str
    frames: int  # frames scored
    mean: Scores
    draws: dict[str, Scores]  # "s0" -> ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the release was predicted: masks expected and present (absent ones count 0, never left out)."""

    expected: int
    present: int

    @property
    def part(self) -> float:
        """Present over expected, in [0, 1]."""
        return self.present / self.expected if self.expected else 0.0
