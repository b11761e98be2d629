"""What a bundle would hold: which masks are copied, how large they are, and what their owners allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from icvos.benchmark import Benchmark, tube_id
from icvos.codabench.scoring import TRUTH
from icvos.errors import DataError, UserInputError
from icvos.protocol import ScoringProtocol
from icvos.scoring import scored_frames
from icvos.types import Frame

NANOSECONDS_A_PIXEL = 7.0  # of scoring, by numpy alone (benchmarks/README.md: 2.9 ms at 480p)
LONGEST_TITLE = 256
SHORTEST_LIMIT = 600  # seconds: what Codabench gives by itself, and the most on the queue that all competitions share
# What a licence asks of whoever keeps a copy of masks. The first that a licence names counts.
_HOSTING = (
    ("CC BY-NC-SA", "a copy may be kept for non-commercial use, with its authors named, under the same licence"),
    ("CC BY-NC", "a copy may be kept for non-commercial use, with its authors named"),
    ("CC BY-SA", "a copy may be kept with its authors named, under the same licence"),
    ("CC BY", "a copy may be kept with its authors named"),
    ("CC0", "a copy may be kept"),
    ("BSD", "a copy may be kept with its notice"),
)
_ASK = "the release does not say that copies may be kept: ask the owners before you upload"


@dataclass(frozen=True, slots=True)
class Share:
    """What of one source goes into the bundle, all of it private, and under which terms it may be there."""

    source: str
    title: str
    page: str
    licence: str
    hosting: str
    masks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bundle would hold."""

    title: str
    protocol: ScoringProtocol
    docker_image: str
    allow_missing: bool
    truth: Mapping[str, Frame]  # path in the reference data -> the frame whose mask it is
    shares: tuple[Share, ...]
    clips: int
    tubes: int
    episodes: int
    masks: int  # that a submission holds
    seconds: int  # that scoring takes, about, on one core

    @property
    def time_limit(self) -> int:
        """Seconds that a submission may take."""
        return max(SHORTEST_LIMIT, 4 * self.seconds)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for ``--json``."""
        counts = ("clips", "tubes", "episodes", "masks")
        return {
            "title": self.title,
            "protocol": self.protocol.id,
            "docker_image": self.docker_image,
            "allow_missing": self.allow_missing,
            **{name: getattr(self, name) for name in counts},
            "seconds": self.seconds,
            "time_limit": self.time_limit,
            "truth": {"private": True, "files": len(self.truth), "bytes": sum(share.bytes for share in self.shares)},
            "sources": [asdict(share) for share in self.shares],
        }


def planned(benchmark: Benchmark, *, protocol: ScoringProtocol, title: str, docker_image: str, allow_missing: bool = False) -> Plan:
    """What the bundle of a release under a protocol would hold; reads no mask.

    Raises:
        UserInputError: it is not known where a source lies, or the title is none that Codabench takes.
        DataError: a mask is not there.
    """
    if not (title.isprintable() and 0 < len(title) <= LONGEST_TITLE):
        expected = f"1 to {LONGEST_TITLE} printable characters"
        raise UserInputError("not a title", repr(title[:60]), f"{len(title)} characters", expected, "give another --title")
    truth: dict[str, Frame] = {}
    masks = pixels = 0
    draws = benchmark.manifest.draws
    for tube in benchmark.tubes.values():
        root = benchmark.root(tube.clip.source)
        frames = scored_frames(benchmark, tube, protocol)
        height, width = protocol.size(tube.clip.size)
        masks += draws * len(frames)
        pixels += draws * len(frames) * height * width
        for frame in frames:
            if frame.mask:
                truth[f"{TRUTH}/{tube.clip.source}/{frame.mask.relative_to(root).as_posix()}"] = frame
    clips = {tube_id(name).rpartition("/")[0] for name in benchmark.episode_ids}
    return Plan(
        title,
        protocol,
        docker_image,
        allow_missing,
        truth=dict(sorted(truth.items())),
        shares=_shares(benchmark, truth),
        clips=len(clips),
        tubes=len(benchmark.tubes),
        episodes=len(benchmark.records),
        masks=masks,
        seconds=ceil(pixels * NANOSECONDS_A_PIXEL / 1e9),
    )


def hosting(licence: str) -> str:
    """What a licence, in the words of a release, asks of whoever keeps a copy of the masks."""
    return next((terms for name, terms in _HOSTING if name in licence), _ASK)


def _shares(benchmark: Benchmark, truth: Mapping[str, Frame]) -> tuple[Share, ...]:
    sizes: dict[str, list[int]] = {clip.source: [] for clip in benchmark.manifest.clips}
    for path, frame in truth.items():
        sizes[path.split("/")[1]].append(_size(frame))
    said = benchmark.manifest.sources
    return tuple(
        Share(name, said[name].title, said[name].page, said[name].licence, hosting(said[name].licence), len(sizes[name]), sum(sizes[name]))
        for name in sorted(sizes)
    )


def _size(frame: Frame) -> int:
    if frame.mask is None:
        return 0
    try:
        return frame.mask.stat().st_size
    except OSError as error:
        raise DataError("no such file", frame.mask, error.strerror or "", fix="check that the data set is complete") from error
