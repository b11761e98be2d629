"""What sources on disk share: folders of frames with folders of masks, told clip by clip, so that trees of any size stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, TypeVar

from curation.labels import Labels
from curation.sources.catalogue import check_root
from curation.sources.faults import Listing, collisions, gaps, image_faults, list_clip, mask_faults, order_faults, unmatched
from curation.sources.scan import MaskScan, keeps_scans, scan, scan_masks, unreadable
from icvos.errors import DataError, Finding
from icvos.files import AnyPath
from icvos.masks import image_size
from icvos.parallel import core_count, in_processes
from icvos.plugins import plugin_items
from icvos.types import Clip, Encoding, Frame, Instance, Source

Answer = TypeVar("Answer")
OnProgress = Callable[[int, int], None]  # clips done, clips in all
_CLIPS_A_WORKER = 8  # with fewer, starting a process takes longer than its work


def _nobody(done: int, total: int) -> None:
    """Tells nobody."""


class Tree(ABC):
    """A data set whose clips are a folder of frames (*.jpg) and one of id masks (*.png) each, in natural order of their names.

    A data set's own class says which clips there are and where their folders lie; `every_frame` that each frame has a mask,
    `counted` that frame numbers have no gaps. It is handed to worker processes, so it holds nothing that is large.
    """

    name: ClassVar[str]
    every_frame: ClassVar[bool] = True
    counted: ClassVar[bool] = True

    def __init__(self, root: AnyPath) -> None:
        root = Path(root)
        check_root(self.name, root)
        self.root = root
        self.labels: Labels = {}

    @abstractmethod
    def sequences(self) -> list[str]:
        """The names of the clips, sorted."""

    @abstractmethod
    def folders(self, name: str) -> tuple[Path, Path]:
        """Where a clip's frames and its masks lie."""

    def clips(self) -> Iterator[Clip]:
        """The clips, sorted by name.

        Raises:
            DataError: frames and masks do not match, or the truth is hidden (the error lists every such fault), or a file cannot be read.
        """
        if findings := [finding for found in self.mismatched.values() for finding in found]:
            raise self._not_usable(findings)
        yield from map(self._clip, self.sequences())

    def whole_clips(self) -> Iterator[Clip]:
        """The clips without those that are `mismatched`, sorted by name.

        Raises:
            DataError: no clip is left (the error lists every fault), or a file cannot be read.
        """
        names = self.sequences()
        if len(self.mismatched) == len(names):
            yield from self.clips()
        yield from (self._clip(name) for name in names if name not in self.mismatched)

    @cached_property
    def mismatched(self) -> dict[str, list[Finding]]:
        """The clips whose frames and masks do not match, or whose truth is hidden, with all that is wrong with these."""
        found = {name: self._mismatch(name) for name in self.sequences()}
        return {name: findings for name, findings in found.items() if findings}

    def _mismatch(self, name: str) -> list[Finding]:
        listed = self.listing(name)
        findings = unmatched(listed, every_frame=self.every_frame)
        if listed.images and not findings:
            try:
                image_size(listed.images[0])  # of which a clip takes its size
            except DataError as error:
                findings = [unreadable(error)]
        return findings

    def instances(self, clip: Clip) -> tuple[Instance, ...]:
        """The objects that are there on any frame, and those of the label list, sorted by id."""
        named = self.labels.get(clip.name, {})
        if clip.encoding == "binary":  # one object that is the union: it has a name only if all parts share it
            words = set(named.values())
            return (Instance(1, words.pop() if len(words) == 1 else None),)
        return tuple(Instance(number, named.get(number)) for number in sorted({*scan(clip).objects, *named}))

    def verify(self, on_progress: OnProgress = _nobody, workers: int | None = None) -> list[Finding]:
        """Every fault of the tree, in order of the clips, on all cores: what `curation.sources.faults` knows, and the data set's own."""
        names = self.sequences()
        findings = [*self.tree_faults(), *collisions(self.folders(name)[0] for name in names)]
        for found in self._each(self.clip_faults, names, on_progress, workers):
            findings.extend(found)
        return findings

    def index(self, on_progress: OnProgress = _nobody, workers: int | None = None) -> None:
        """Scan the masks of all clips on all cores, so that whoever asks `curation.sources.scan` afterwards need not wait."""
        if keeps_scans():
            for _ in self._each(self._scan, self.sequences(), on_progress, workers):
                pass

    def listing(self, name: str) -> Listing:
        """The files of a clip."""
        return list_clip(name, *self.folders(name))

    def clip_faults(self, name: str) -> list[Finding]:
        """Every fault of one clip."""
        clip = self.listing(name)
        scans = scan_masks(clip.masks)
        size, findings = image_faults(clip.images)
        return [
            *unmatched(clip, every_frame=self.every_frame),
            *(gaps(clip) if self.counted else ()),
            *order_faults(clip.image_folder, [path.stem for path in clip.images]),
            *collisions((*clip.images, *clip.masks)),
            *findings,
            *mask_faults(clip, scans, size, self.encoding(clip.masks), self.listed(name)),
            *self.own_faults(clip, scans),
        ]

    def listed(self, name: str) -> Mapping[int, str] | None:
        """The objects that a clip may show by the label list; None where no list decides that."""
        return self.labels.get(name)

    def tree_faults(self) -> list[Finding]:
        """The faults that are of no single clip and that only this data set can have."""
        return []

    def own_faults(self, clip: Listing, scans: Sequence[MaskScan | DataError]) -> list[Finding]:
        """The faults of a clip that only this data set can have."""
        return []

    def encoding(self, masks: Sequence[Path]) -> Encoding:
        """How a clip's masks are to be read."""
        return "ids"

    def _clip(self, name: str) -> Clip:
        listed = self.listing(name)
        masks = {path.stem: path for path in listed.masks}
        frames = tuple(Frame(image.stem, image, masks.get(image.stem)) for image in listed.images)
        return Clip(self.name, name, image_size(frames[0].image), frames, self.encoding(listed.masks))

    def _scan(self, name: str) -> None:
        scan_masks(self.listing(name).masks)

    def _each(self, work: Callable[[str], Answer], names: Sequence[str], on_progress: OnProgress, workers: int | None) -> Iterator[Answer]:
        """The answers of `work` for each name, in order of the names, from as many processes as are worth starting."""
        workers = workers or min(core_count(), max(1, len(names) // _CLIPS_A_WORKER))
        waiting: dict[int, Answer] = {}
        given = 0
        jobs = list(enumerate(names))
        for done, (place, answer) in enumerate(in_processes(partial(_numbered, work), jobs, workers), 1):
            on_progress(done, len(names))
            waiting[place] = answer
            while given in waiting:
                yield waiting.pop(given)
                given += 1

    def _not_usable(self, findings: Sequence[Finding]) -> DataError:
        if all(finding.code == "hidden-truth" for finding in findings):
            found, expected = f"masks of the first frame only in {len(findings)} clips", "masks on later frames too"
            fix = "clips without their truth cannot be scored: take them out of the tree"
            return DataError("the truth is hidden", self.root, found, expected, fix, findings)
        fix = f"fetch these sequences, and see `icvos verify --source {self.name} {self._option()}`"
        expected = "one mask a frame" if self.every_frame else "a frame for every mask"
        return DataError("frames and masks do not match", self.root, f"{len(findings)} faults", expected, fix, findings)

    def _option(self) -> str:
        return f"--root {self.name}=DIR"


def whole_clips(source: Source) -> Iterator[Clip]:
    """The clips of a source; of a tree on disk those alone whose frames and masks match.

    Raises:
        DataError: see `Tree.whole_clips`.
        PluginError: the code of a source fails.
    """
    clips = source.whole_clips if isinstance(source, Tree) else source.clips
    return plugin_items(clips, "the source failed", source.name, fix="mend the source")


def faulty_clips(source: Source) -> Mapping[str, Sequence[Finding]]:
    """What `whole_clips` leaves out: the names of clips, and what is wrong with each."""
    return source.mismatched if isinstance(source, Tree) else {}


def _numbered(work: Callable[[str], Answer]) -> Callable[[tuple[int, str]], tuple[int, Answer]]:
    return lambda job: (job[0], work(job[1]))
