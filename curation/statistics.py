"""The statistics of a release, as in the paper's Section 3.3: Table 1's row, sources, classes, and attributes of every tube.

What the manifest says is counted from it alone; what only masks say is measured where their source is on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from curation.attributes import Attributes, measure
from curation.published import DatasetRow
from icvos.benchmark import Benchmark, ClipRecord, TubeRecord
from icvos.categories import BY_ID
from icvos.errors import DataError
from icvos.parallel import core_count, in_processes
from icvos.totals import length_group

# Pixels of all frames with masks, about 10,000 at 480p: below them one process is done before a second one is worth its start.
FEW_FOR_PROCESSES = 4 * 10**9
STAYS = ("always there", "leaves and comes back", "leaves for good", "comes late", "never there")
SIZES = ("small", "medium", "large")
OBJECTS = ("1 object", "2 or 3 objects", "4 or more objects", "merged objects")

OnClip: TypeAlias = Callable[[int], None]  # told the number of frames that were measured


@dataclass(frozen=True, slots=True)
class SourceCount:
    """How much of the release one source gives; `share` is its part of the videos, in [0, 1]."""

    name: str
    title: str
    clips: int
    share: float
    frames: int


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often a class is asked about: clips, their frames, annotated masks and named objects."""

    name: str
    clips: int
    frames: int
    masks: int
    objects: int | None  # None where a source stores them merged


@dataclass(frozen=True, slots=True)
class TubeCount:
    """One tube. `attributes` is None where its source is not on disk."""

    id: str
    source: str
    clip: str
    category: str
    frames: int
    masks: int  # annotated frames
    objects: int | None
    length: str  # the group by which boards break scores down
    attributes: Attributes | None

    @property
    def object_group(self) -> str:
        """One of `OBJECTS`."""
        if self.objects is None:
            return OBJECTS[3]
        return OBJECTS[0 if self.objects == 1 else 1 if self.objects <= 3 else 2]


@dataclass(frozen=True, slots=True)
class Statistics:
    """All of it, in the order of the release; classes by their frames, the most first."""

    name: str
    version: str
    digest: str
    row: DatasetRow  # as in the paper's Table 1
    masks: int
    episodes: int
    supports: int  # different images
    sources: tuple[SourceCount, ...]
    classes: tuple[ClassCount, ...]
    tubes: tuple[TubeCount, ...]
    unmeasured: tuple[str, ...]  # sources that are not on disk

    @property
    def groups(self) -> dict[str, dict[str, int]]:
        """Attribute -> group -> number of tubes; groups in order, those without a tube left out.

        Length and number of objects are of all tubes, size and stay of those that were measured.
        """
        measured = [tube.attributes for tube in self.tubes if tube.attributes]
        found = {
            "length": _counted((tube.length for tube in sorted(self.tubes, key=lambda tube: tube.frames)), ()),
            "objects": _counted((tube.object_group for tube in self.tubes), OBJECTS),
            "size": _counted((found.size for found in measured), SIZES),
            "stay": _counted((found.stay for found in measured), STAYS),
        }
        return {name: counts for name, counts in found.items() if counts}


def statistics(benchmark: Benchmark, *, workers: int | None = None, on_clip: OnClip = lambda frames: None) -> Statistics:
    """Count and measure a release.

    Args:
        benchmark: the release; sources whose folder is not there are counted, not measured.
        workers: processes; by default all cores where there is enough to do. The same statistics come out for any number.
        on_clip: called when a clip is measured, with the number of its frames.

    Raises:
        DataError: the release has no tube; or a mask of a source that is there is missing, damaged, or not the one that the
            release names.
    """
    manifest = benchmark.manifest
    if not any(clip.tubes for clip in manifest.clips):
        raise DataError("a release without a tube", benchmark.path, fix="build it again, from sources with classes of COCO")
    clips = manifest.clips
    found = _measured(benchmark, workers, on_clip)
    tubes = tuple(
        _tube_count(clip, tube, attributes)
        for place, clip in enumerate(clips)
        for tube, attributes in zip(clip.tubes, found.get(place, [None] * len(clip.tubes)), strict=True)
    )
    frames = sum(len(clip.frames) for clip in clips)
    classes = _class_counts(tubes)
    sources = dict.fromkeys(clip.source for clip in clips)
    return Statistics(
        name=manifest.name,
        version=manifest.version,
        digest=benchmark.digest,
        row=DatasetRow(benchmark.label, len(clips), frames / len(clips), frames, len(classes), "mask"),
        masks=sum(tube.masks for tube in tubes),
        episodes=len(benchmark.records),
        supports=len({support.image_id for record in benchmark.records for support in record.supports}),
        sources=tuple(_source_count(benchmark, name) for name in sources),
        classes=classes,
        tubes=tubes,
        unmeasured=tuple(name for name in sources if not on_disk(benchmark, name)),
    )


def on_disk(benchmark: Benchmark, source: str) -> bool:
    """Whether the folder of a source is known and there."""
    root = benchmark.roots.get(source)
    return root is not None and root.is_dir()


def frames_to_measure(benchmark: Benchmark) -> int:
    """The frames of all clips whose source is on disk: the total of what `on_clip` is told."""
    return sum(len(clip.frames) for clip in benchmark.manifest.clips if on_disk(benchmark, clip.source))


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a worker process does: measure the clip at a place of the manifest."""

    benchmark: Benchmark

    def __call__(self) -> Callable[[int], tuple[int, tuple[Attributes, ...]]]:
        clips = self.benchmark.manifest.clips
        return lambda place: (place, measure(self.benchmark.tubes_of(clips[place])))


def _measured(benchmark: Benchmark, workers: int | None, on_clip: OnClip) -> dict[int, tuple[Attributes, ...]]:
    """The attributes of each clip's tubes, by the clip's place, where its source is on disk."""
    clips = benchmark.manifest.clips
    pixels = {
        place: len(clip.frames) * clip.size[0] * clip.size[1]
        for place, clip in enumerate(clips)
        if clip.tubes and on_disk(benchmark, clip.source)
    }
    # The longest first, so that no core is left with one long clip at the end.
    jobs = sorted(pixels, key=lambda place: (-pixels[place], place))
    workers = workers or (core_count() if sum(pixels.values()) >= FEW_FOR_PROCESSES else 1)
    found = {}
    for place, attributes in in_processes(_Measure(benchmark), jobs, workers):
        on_clip(len(clips[place].frames))
        found[place] = attributes
    return found


def _tube_count(clip: ClipRecord, tube: TubeRecord, attributes: Attributes | None) -> TubeCount:
    return TubeCount(
        id=f"{clip.source}/{clip.name}/{BY_ID[tube.class_id].slug}",
        source=clip.source,
        clip=clip.name,
        category=tube.class_name,
        frames=len(clip.frames),
        masks=sum(sha256 is not None for sha256 in tube.mask_sha256),
        objects=None if tube.encoding == "binary" else len(tube.objects),
        length=length_group(len(clip.frames)),
        attributes=attributes,
    )


def _source_count(benchmark: Benchmark, name: str) -> SourceCount:
    clips = benchmark.manifest.clips
    own = [clip for clip in clips if clip.source == name]
    title = benchmark.manifest.sources[name].title
    return SourceCount(name, title, len(own), len(own) / len(clips), sum(len(clip.frames) for clip in own))


def _class_counts(tubes: Sequence[TubeCount]) -> tuple[ClassCount, ...]:
    of_class: dict[str, list[TubeCount]] = {}
    for tube in tubes:
        of_class.setdefault(tube.category, []).append(tube)
    counts = [_class_count(name, own) for name, own in of_class.items()]
    return tuple(sorted(counts, key=lambda count: (-count.frames, count.name)))


def _class_count(name: str, tubes: Sequence[TubeCount]) -> ClassCount:
    """A clip has at most one tube of a class, so that tubes are clips here."""
    objects = [tube.objects for tube in tubes]
    named = sum(number for number in objects if number is not None)
    return ClassCount(
        name, len(tubes), sum(tube.frames for tube in tubes), sum(tube.masks for tube in tubes), None if None in objects else named
    )


def _counted(names: Iterable[str], order: Sequence[str]) -> dict[str, int]:
    """How often each name stands there, in this order, or in the order in which they come."""
    counts = Counter(names)
    return {name: counts[name] for name in order or counts if counts[name]}
