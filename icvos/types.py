"""The records that everything else passes around: frozen, without behaviour beyond reading their own files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from icvos.errors import Finding

Mask: TypeAlias = NDArray[np.bool_]  # (H, W)
Image: TypeAlias = NDArray[np.uint8]  # (H, W, 3) RGB
Size: TypeAlias = tuple[int, int]  # height, width in pixels

# How an annotation file's values are to be read. "ids": value k is object k, 255 is void and belongs to no object
# (DAVIS 2017, MOSE, LVOS). "binary": one object, 1 or 255 (DAVIS 2016, the official IC-VOS tree).
Encoding: TypeAlias = Literal["ids", "binary"]


@dataclass(frozen=True, slots=True)
class Category:
    """A COCO class: its official id (1..90, with gaps) and name."""

    id: int
    name: str

    @property
    def slug(self) -> str:
        """The name without spaces, as it stands in tube and episode ids."""
        return self.name.replace(" ", "-")


class RLE(NamedTuple):
    """A COCO run-length mask: its size and the compressed counts as text."""

    size: Size
    counts: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `id` is the source's own file stem (numbers may skip); `mask` is None where it is not annotated.

    A frame of a release carries the sha256 of its files, so that nothing else is ever read in their place.
    """

    id: str
    image: Path
    mask: Path | None
    image_sha256: str = ""
    mask_sha256: str = ""

    def read_image(self) -> Image:
        """The picture, (H, W, 3) RGB uint8.

        Raises:
            DataError: it cannot be read, or is not the file that the release names.
        """
        from icvos.masks import read_image

        return read_image(self.image, self.image_sha256)


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of one video, in order, all of one size."""

    source: str
    name: str
    size: Size
    frames: tuple[Frame, ...]
    encoding: Encoding = "ids"

    @property
    def key(self) -> str:
        """``source/name``: what identifies the clip, whichever of its tubes is meant."""
        return f"{self.source}/{self.name}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One annotated object of a clip; `label` is the source's own word for it, or None where nobody named it."""

    id: int
    label: str | None


@dataclass(frozen=True, slots=True)
class Tube:
    """One class's binary masks through a clip: the union of its `instances` on every annotated frame."""

    clip: Clip
    category: Category
    instances: tuple[int, ...]

    @property
    def id(self) -> str:
        """``source/clip/class``, unique in a release."""
        return f"{self.clip.key}/{self.category.slug}"

    def masks(self) -> Iterator[Mask | None]:
        """The tube's mask on each frame, (H, W) bool; None where the frame is not annotated.

        Raises:
            DataError: a mask cannot be read or has another size than the clip.
        """
        from icvos.masks import read_tube_mask

        return (read_tube_mask(self, frame) for frame in self.clip.frames)


@dataclass(frozen=True, slots=True)
class Support:
    """One image with the mask that says what is meant: the union of the class's instances in it."""

    image: Path
    annotation: RLE
    category: Category
    image_id: str
    image_sha256: str = ""

    def read_image(self) -> Image:
        """The picture, (H, W, 3) RGB uint8."""
        from icvos.masks import read_image

        return read_image(self.image, self.image_sha256)

    def read_mask(self) -> Mask:
        """The mask, (H, W) bool, of the picture's size."""
        from icvos.masks import decode_rle

        return decode_rle(self.annotation)


@dataclass(frozen=True, slots=True)
class Episode:
    """Supports and a tube to find: one question, frozen in the release. Its id is the tube's and the draw: ``…/dog#s0``."""

    id: str
    tube: Tube
    supports: tuple[Support, ...]

    @property
    def draw(self) -> str:
        """The support draw, ``s0`` to ``s4``."""
        return self.id.rpartition("#")[2]


@dataclass(frozen=True, slots=True)
class MaskPrompt:
    """What a method says about frame 0: this mask, (H, W) bool, of the frame's size."""

    mask: Mask


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """What a method says about frame 0: clicks, (N, 2) x and y in pixels of the frame, with labels (N,) 1 object, 0 background."""

    points: NDArray[np.floating]
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """What a method says about frame 0: a box, (4,) left, top, right, bottom in pixels of the frame, and clicks if it has any."""

    box: NDArray[np.floating]
    clicks: PointPrompt | None = None


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """What a method says about frame 0: (N, C) tokens for SAM 2's mask decoder, their label embeddings already added.

    They stand alone: neither the prompt encoder's padding token nor a mask goes with them.
    """

    tokens: NDArray[np.float32]


Prompt: TypeAlias = MaskPrompt | PointPrompt | BoxPrompt | TokenPrompt

Kind: TypeAlias = Literal["method", "floor", "ceiling"]


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What a reader of the board must know of a method.

    `kind` keeps floors (look at nothing) and ceilings (are told the truth) apart from methods on the board.
    `hand_over` says what goes from frame 0 to the propagator. `parallel` allows several copies at once in one machine's
    processes: right for methods that need no accelerator. `training_classes` are the COCO classes that training showed with
    masks, `training_clips` the videos (``source/clip``, or ``source/*``): a board tells seen from unseen by them.
    `validation_clips` are the videos that were looked at while settings were chosen: scores on them are optimistic, and a board says so.
    """

    name: str
    kind: Kind = "method"
    summary: str = ""
    version: str = "1"
    paper: str = ""
    licence: str = ""
    weights: str = "none"  # their name and sha256, or "none"
    precision: str = "none"  # fp32, bf16, or "none"
    hand_over: str = "none"
    training_data: tuple[str, ...] = field(default=())
    training_classes: tuple[str, ...] = field(default=())
    training_clips: tuple[str, ...] = field(default=())
    validation_clips: tuple[str, ...] = field(default=())
    parallel: bool = False
    variant_of: str = ""  # the method that differs from this one in what it hands over, or otherwise a little


@dataclass(frozen=True, slots=True)
class Compute:
    """How the person who runs a method wants it computed; a method's class is handed this if it asks for `compute`."""

    sam: str = "sam2_nano"  # a name of `SAM2_NAMES` or `SAM_NAMES` in `icvos.models`, or a configuration file
    weights: str | None = None  # a file in the place of the registry's
    device: str = "auto"  # cpu, cuda, cuda:1, mps; auto: cuda where there is one
    precision: str = "fp32"  # or bf16
    objects_at_once: int = 16
    compiled: bool = False
    offline: bool = False


class Source(Protocol):
    """A video data set on disk."""

    name: str
    root: Path

    def verify(self) -> list[Finding]:
        """Every fault of the tree."""
        ...

    def clips(self) -> Iterator[Clip]:
        """The clips, sorted by name."""
        ...

    def instances(self, clip: Clip) -> tuple[Instance, ...]:
        """The annotated objects of a clip, sorted by id."""
        ...


class Prompter(Protocol):
    """The half of a method that looks at the supports and at frame 0."""

    @property
    def card(self) -> MethodCard:
        """What the method says of itself."""
        ...

    def prompt(self, frame: Image, supports: Sequence[Support]) -> Prompt:
        """What to follow from frame 0 on."""
        ...


class Propagator(Protocol):
    """The half of a method that follows prompts through a clip, several at once, each frame read once."""

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """For each frame, in order, one mask a prompt, each (H, W) bool of the frame's size."""
        ...


class Segmenter(Protocol):
    """All that the runner knows of a method."""

    @property
    def card(self) -> MethodCard:
        """What the method says of itself."""
        ...

    def segment(self, frames: Iterable[Image], supports: Sequence[Support]) -> Iterator[Mask]:
        """One mask a frame, in order, (H, W) bool of the frame's size."""
        ...


@runtime_checkable
class SegmentsTogether(Protocol):
    """A segmenter that answers several episodes of one clip in one pass, so that each frame is decoded once."""

    def segment_together(self, frames: Iterable[Image], supports: Sequence[Sequence[Support]]) -> Iterator[tuple[Mask, ...]]:
        """For each frame, in order, one mask an episode."""
        ...


@runtime_checkable
class SegmentsFiles(Protocol):
    """A segmenter that is handed the files of frames and supports instead of pixels, for it works in another program."""

    peak_bytes: int  # the most memory that the program held; 0 where nobody knows

    def segment_files(self, clip: Clip, episodes: Mapping[str, Sequence[Support]]) -> Iterator[tuple[Mask, ...]]:
        """For each frame of a clip without annotations, one mask an episode (its id -> its supports)."""
        ...


@runtime_checkable
class Notices(Protocol):
    """A segmenter, or a half of one, that tells what it noticed, as a prompt that named no pixel."""

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What was noticed since the last call: the index of the episode in its pass, and the finding."""
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """A segmenter, or a half of one, whose first frames take longer than all others."""

    def warm_up(self) -> float:
        """Get that behind, before any frame is timed; the seconds it took."""
        ...


@runtime_checkable
class NeedsTruth(Protocol):
    """A ceiling: it is told the true mask of frame 0, which no other method ever sees."""

    def segment_from_truth(self, frames: Iterable[Image], first_masks: Sequence[Mask]) -> Iterator[tuple[Mask, ...]]:
        """For each frame, in order, one mask a true first mask."""
        ...
