"""SAM 2 over a stream of frames: one mask a prompt and frame, in memory that does not grow with the clip.

The arithmetic is that of the official video predictor (Ravi et al., "SAM 2", 2024; package `sam2`), step by step on
`SAM2Base.track_step`; what differs is what is kept. The predictor holds all frames and all outputs of a clip and takes
its objects one after the other; here frames come and go, a frame is encoded once for all objects, objects go through
memory attention and mask decoder together, and of the past only what the next frame looks at stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby, islice
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor
from torch.nn import functional

from icvos.errors import DataError, Finding, PluginError, UserInputError
from icvos.masks import size_text
from icvos.parallel import ahead
from icvos.propagate.base import no_frames
from icvos.propagate.objects import Features, Group, Shown, normalised
from icvos.propagate.prompts import as_given, empty_prompt, fingerprint, says_nothing
from icvos.types import BoxPrompt, Image, Mask, MaskPrompt, Prompt, Size

HOLE = 8  # pixels of the mask decoder's map: the official predictor's
PREPARED = 3  # frames resized ahead
ENDLESS = 1 << 30  # frames of a clip that is longer than the pointers' window: SAM 2 asks for no more than that


class Sam2Propagator:
    """Follows prompts of frame 0 through a clip."""

    def __init__(self, model: SAM2Base, *, largest_hole: int = HOLE, objects_at_once: int = 16, compiled: bool = False) -> None:
        """Wrap a model that `icvos.models.build_sam2` made.

        Args:
            model: in evaluation mode; its ``compute_dtype``, if it has one, is the type to compute in.
            largest_hole: background of at most so many pixels (of the decoder's map, a quarter of the model's side)
                inside a mask is filled; 0 for none.
            objects_at_once: how many share a pass; more are followed in turns. Lower it where memory is short.
            compiled: compile the model's parts by torch.compile; the first frames of each shape then take long.
        """
        self.model = model
        self.device = next(model.parameters()).device
        self.dtype: torch.dtype = getattr(model, "compute_dtype", torch.float32)
        self.largest_hole = largest_hole
        self.objects_at_once = objects_at_once
        self._findings: list[tuple[int, Finding]] = []
        if compiled:
            for part in (model.image_encoder, model.memory_attention, model.memory_encoder, model.sam_mask_decoder):
                part.compile()

    def propagate(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[tuple[Mask, ...]]:
        """For each frame, in order, one mask a prompt, each (H, W) bool of the frame's size.

        A mask prompt without a pixel (at the model's own size) tracks nothing: its masks are empty, and a finding says so.

        Args:
            frames: (H, W, 3) RGB uint8, all of one size; taken one by one, a few ahead.
            prompts: about the first of them.

        Raises:
            DataError: there is no frame, or one has another size than the first.
            PluginError: a prompt does not fit its frame.
            UserInputError: the GPU's memory does not suffice.
        """
        yield from self._masks(frames, [((None, prompt),) for prompt in prompts])

    def logits(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[NDArray[np.float32]]:
        """As `propagate`, before the threshold at 0: (N, H, W) float32 for N prompts."""
        for logits, order in self._logits(frames, [((None, prompt),) for prompt in prompts]):
            yield logits.cpu().numpy()[order]

    def propagate_from(self, frames: Iterable[Image], examples: Sequence[Sequence[tuple[Image, Mask]]]) -> Iterator[tuple[Mask, ...]]:
        """As `propagate`, for objects that are shown on other images, of whatever size.

        An object's examples, one or more, stand before the clip as if they were its prompted first frames.
        """
        if not all(examples):
            raise PluginError(
                "an object without an example", "propagate_from", expected="at least one image and mask", fix="mend the method"
            )
        yield from self._masks(frames, [[(image, MaskPrompt(mask)) for image, mask in shots] for shots in examples])

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What was noticed since the last call: the index of the prompt and the finding."""
        taken, self._findings = self._findings, []
        return taken

    def warm_up(self) -> float:
        """Follow one object through a few blank frames; the seconds that took (compilation, the GPU's first kernels)."""
        started = perf_counter()
        side = self.model.image_size
        blank = np.zeros((side, side, 3), np.uint8)
        for _ in self.propagate([blank] * 3, [BoxPrompt(np.array([0, 0, side, side], np.float32))]):
            pass
        return perf_counter() - started

    def _masks(self, frames: Iterable[Image], asked: Sequence[_Asked]) -> Iterator[tuple[Mask, ...]]:
        for logits, order in self._logits(frames, asked):
            masks = list((logits > 0).cpu().numpy())
            yield tuple(masks[place] for place in order)  # what was asked twice is one array twice

    def _logits(self, frames: Iterable[Image], asked: Sequence[_Asked]) -> Iterator[tuple[Tensor, list[int]]]:
        """(U, H, W) logits a frame, where the model computes, of what was asked, each once; and the place of each that asks."""
        window = self.model.max_obj_ptrs_in_encoder
        with closing(ahead(_Prepare(self.model.image_size), enumerate(frames), PREPARED, threads=1)) as prepared:
            head = deque(islice(prepared, window))
            if not head:
                raise no_frames()
            # SAM 2 scales the positions of its pointers by the length of the clip, if that is below their window.
            with self._memory_guard():
                tracks = self._tracks(asked, head[0].size, len(head) if len(head) < window else ENDLESS)
            for number, frame in enumerate(chain(_drained(head), prepared)):
                yield self._step(tracks, frame, number), tracks.order

    def _tracks(self, asked: Sequence[_Asked], size: Size, length: int) -> _Tracks:
        """The groups that share a pass; what is asked twice is followed once."""
        said: dict[Any, list[Shown]] = {}
        keys = [tuple(_key(image, prompt) for image, prompt in shots) for shots in asked]
        for number, (key, shots) in enumerate(zip(keys, asked, strict=True)):
            if key not in said:
                said[key] = [self._shown(image, prompt, size) for image, prompt in shots]
            reasons = [says_nothing(prompt, shown.given) for (_, prompt), shown in zip(shots, said[key], strict=True)]
            if all(reasons):
                self._findings.append((number, empty_prompt(number, reasons[0])))
        objects = {key: [shown for shown in shots if not shown.given.is_empty] for key, shots in said.items()}
        spoken = sorted((key for key in objects if objects[key]), key=lambda key: len(objects[key]))
        order = [spoken.index(key) if key in spoken else len(spoken) for key in keys]  # past the last: empty everywhere
        groups = [
            Group(self.model, [objects[key] for key in part], self.largest_hole, length)
            for _, alike in groupby(spoken, key=lambda key: len(objects[key]))
            for part in _parts(list(alike), self.objects_at_once)
        ]
        return _Tracks(groups, order, nobody=len(spoken) in order)

    def _shown(self, image: Image | None, prompt: Prompt, size: Size) -> Shown:
        side = self.model.image_size
        pixels = None if image is None else _squared(image, side)
        about = size if image is None else (image.shape[0], image.shape[1])
        return Shown(pixels, as_given(prompt, about, side, self.model.hidden_dim, self.device))

    @torch.inference_mode()
    def _step(self, tracks: _Tracks, frame: _Prepared, number: int) -> Tensor:
        """Logits (U, H, W) on one frame of all objects; if anybody asks for nothing, they come last."""
        side = self.model.image_size // 4
        with self._memory_guard(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            features = Features(self.model, normalised(frame.pixels, self.device)) if tracks.groups else None
            low = [group.step(features, number) for group in tracks.groups if features]
            low += [torch.full((1, 1, side, side), NO_OBJ_SCORE, device=self.device)] if tracks.nobody else []
            if not low:
                return torch.empty((0, *frame.size), device=self.device)
            return functional.interpolate(torch.cat(low).float(), size=frame.size, mode="bilinear", align_corners=False)[:, 0]

    @contextmanager
    def _memory_guard(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            fix = "lower --objects-at-once, choose --precision bf16, or a smaller --sam"
            raise UserInputError("out of GPU memory", self.device, f"up to {self.objects_at_once} objects at once", fix=fix) from error


_Asked: TypeAlias = Sequence[tuple[Image | None, Prompt]]  # what is said of one object, and of which image (None: frame 0)


class _Prepared(NamedTuple):
    pixels: NDArray[np.uint8]  # (S, S, 3)
    size: Size  # before


class _Prepare:
    """Resizes frames as the official loader does, and sees that they stay of one size."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.seen: tuple[int, Size] | None = None

    def __call__(self, numbered: tuple[int, Image]) -> _Prepared:
        number, frame = numbered
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            found = f"{size_text(np.shape(frame))} {getattr(frame, 'dtype', type(frame).__name__)}"
            raise DataError("not a frame", f"frame {number}", found, "height x width x 3 uint8, RGB", "convert it")
        size = (frame.shape[0], frame.shape[1])
        self.seen = self.seen or (number, size)
        if size != self.seen[1]:
            before = f"{size_text(self.seen[1])} as before"
            raise DataError("the clip changes its size", f"frame {number}", size_text(size), before, "split the clip there")
        return _Prepared(_squared(frame, self.side), size)


@dataclass(frozen=True, slots=True)
class _Tracks:
    groups: Sequence[Group]
    order: list[int]  # which object answers which prompt; one past the last is nobody
    nobody: bool  # whether any prompt is answered by nobody


def _squared(image: Image, side: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (side, side, 3), as the official loader resizes."""
    return np.array(PilImage.fromarray(image).resize((side, side)))  # a copy: torch wants to own what it reads


def _key(image: Image | None, prompt: Prompt) -> Any:
    """Equal where the same is said of the same image."""
    return (image is not None and (image.shape, image.tobytes()), fingerprint(prompt))


def _parts(items: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _drained(items: deque[_Prepared]) -> Iterator[_Prepared]:
    """The items, each let go of when it is taken."""
    while items:
        yield items.popleft()
