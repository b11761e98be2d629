"""Scoring protocols: everything that moves a number, under one name. Two protocols are never ranked together.

`native@1` scores at each clip's own size. `paper-512@1` does what the code released with DC-SAM does: truth and
prediction squashed to 512 x 512 by nearest neighbour, the first 512 frames only (docs/protocol.md says what that moves).
`native-clean@1` is `native@1` without the frames on which the release says that the source's truth has a known issue.
"""

from __future__ import annotations

from dataclasses import dataclass

from icvos.errors import UserInputError, did_you_mean
from icvos.metrics import boundary_tolerance
from icvos.types import Size


@dataclass(frozen=True, slots=True)
class ScoringProtocol:
    """How masks become numbers.

    `resize`: the size that truth and prediction are squashed to, or None for the clip's own.
    `max_frames`: score only the first so many frames of a clip, or None for all.
    `boundary`: the tolerance of F as a part of the image diagonal.
    `clean`: leave out the frames on which the truth has a known issue.
    An empty truth answered by an empty prediction counts 1, and the mean goes over frames, then draws, then tubes, in both.
    """

    name: str
    version: int
    resize: Size | None = None
    max_frames: int | None = None
    boundary: float = 0.008
    clean: bool = False

    @property
    def id(self) -> str:
        """``name@version``, as it stands beside every number."""
        return f"{self.name}@{self.version}"

    def size(self, clip_size: Size) -> Size:
        """The size at which a clip is scored."""
        return self.resize or clip_size

    def tolerance(self, clip_size: Size) -> int:
        """The tolerance of F in pixels for a clip: the part of the diagonal, rounded up (DAVIS)."""
        return boundary_tolerance(self.size(clip_size), self.boundary)


PROTOCOLS = {
    protocol.id: protocol
    for protocol in (
        ScoringProtocol("native", 1),
        ScoringProtocol("native-clean", 1, clean=True),
        ScoringProtocol("paper-512", 1, resize=(512, 512), max_frames=512),
    )
}


def protocol_named(name: str) -> ScoringProtocol:
    """The protocol called `name` (``native@1``).

    Raises:
        UserInputError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise UserInputError("unknown protocol", name, fix=did_you_mean(name, PROTOCOLS))
    return PROTOCOLS[name]
