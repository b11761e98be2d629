"""What a release asks of whoever hands in masks, be it of clips or of images; neither truth nor pictures are needed to say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from icvos.handed_in.limits import Limits
from icvos.types import Size

if TYPE_CHECKING:
    from icvos.protocol import ScoringProtocol


class Sizes(Protocol):
    """Of a protocol, of clips or of images: the size at which masks are scored, in which they may come as well."""

    def size(self, own: Size, /) -> Size:
        """For frames of this size."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a clip asks of each of its episodes: masks of this size, of all these frames at most, of the scored ones at least."""

    size: Size
    frames: tuple[str, ...]
    scored: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Of all masks that are scored."""
        return len(self.scored) * self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that is asked for.

    `release`: its name@version. `shape`: how masks are laid out, in words. `protocol`: in what other size they may come. `tubes`:
    what each asks of its episodes, by its id.
    """

    release: str
    digest: str
    shape: str
    protocol: Sizes
    tubes: Mapping[str, Wanted]
    episode_ids: tuple[str, ...]

    @property
    def label(self) -> str:
        """``name@version#digest`` for messages."""
        return f"{self.release}#{self.digest[:12]}"

    def of(self, episode_id: str) -> Wanted:
        """What is asked of one episode."""
        return self.tubes[episode_id.rpartition("#")[0]]

    @property
    def limits(self) -> Limits:
        """How much a whole submission may hold."""
        each = [self.of(episode_id) for episode_id in self.episode_ids]
        return Limits.of(sum(len(one.frames) for one in each), sum(len(one.frames) * one.size[0] * one.size[1] for one in each))


class Asks(Protocol):
    """A release, of clips (`Benchmark`) or of images (`icvos.fewshot.release.ImageRelease`)."""

    def asked(self, protocol: ScoringProtocol | None = None) -> Asked:
        """What it asks for under a protocol, by default its usual one.

        Raises:
            UserInputError: it has a protocol of its own.
        """
        ...
