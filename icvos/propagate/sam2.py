"""SAM 2 over a stream of frames: one mask a prompt and frame, in memory that does not grow with the clip.

The arithmetic is that of the official video predictor (Ravi et al., "SAM 2", 2024; package `sam2`), step by step on
`SAM2Base.track_step`; what differs is what is kept. The predictor holds all frames and all outputs of a clip and takes
its objects one after the other; here frames come and go, a frame is encoded once for all objects, objects go through
memory attention and mask decoder together, and of the past only what the next frame looks at stays.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor, nn
from torch.nn import functional

from icvos.errors import DataError, Finding, UserInputError
from icvos.masks import size_text
from icvos.parallel import ahead
from icvos.propagate.holes import fill_holes
from icvos.propagate.prompts import Given, as_given, fingerprint, says_nothing
from icvos.types import BoxPrompt, Image, Mask, Prompt, Size

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pixels in [0, 1] that every SAM 2 is given
HOLE = 8  # pixels of the mask decoder's map: the official predictor's
PREPARED = 3  # frames resized ahead
ENDLESS = 1 << 30  # frames of a clip that is longer than the pointers' window: SAM 2 asks for no more than that

State = dict[str, dict[int, dict[str, Any]]]  # what SAM 2 calls the output dict


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
        for logits in self._logits(frames, prompts):
            yield tuple((logits > 0).cpu().numpy())

    def logits(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[NDArray[np.float32]]:
        """As `propagate`, before the threshold at 0: (N, H, W) float32 for N prompts."""
        for logits in self._logits(frames, prompts):
            yield logits.cpu().numpy()

    def take_findings(self) -> list[tuple[int, Finding]]:
        """What was noticed since the last call: the index of the prompt and the finding."""
        taken, self._findings = self._findings, []
        return taken

    def warm_up(self) -> float:
        """Follow one object through a few blank frames; the seconds that took (compilation, the GPU's first kernels)."""
        started = time.perf_counter()
        side = self.model.image_size
        blank = np.zeros((side, side, 3), np.uint8)
        for _ in self.propagate([blank] * 3, [BoxPrompt(np.array([0, 0, side, side], np.float32))]):
            pass
        return time.perf_counter() - started

    def _logits(self, frames: Iterable[Image], prompts: Sequence[Prompt]) -> Iterator[Tensor]:
        """(N, H, W) logits a frame, where the model computes."""
        window = self.model.max_obj_ptrs_in_encoder
        with closing(ahead(_Prepare(self.model.image_size), enumerate(frames), PREPARED, threads=1)) as prepared:
            head = deque(islice(prepared, window))
            if not head:
                raise DataError("the clip has no frames", expected="at least one", fix="leave the clip out")
            size = head[0].size
            # SAM 2 scales the positions of its pointers by the length of the clip, if that is below their window.
            tracks = self._tracks(prompts, size, len(head) if len(head) < window else ENDLESS)
            for number, frame in enumerate(chain(_drained(head), prepared)):
                yield self._step(tracks, frame, number)

    def _tracks(self, prompts: Sequence[Prompt], size: Size, length: int) -> _Tracks:
        """The groups that share a pass; what several prompts say alike is followed once."""
        said: dict[Any, Given] = {}
        for number, prompt in enumerate(prompts):
            key = fingerprint(prompt)
            if key not in said:
                said[key] = as_given(prompt, size, self.model.image_size, self.model.hidden_dim, self.device)
            if reason := says_nothing(prompt, said[key]):
                found = Finding("empty-prompt", f"prompt {number}", reason, "at least one pixel", "nothing is tracked, every mask is empty")
                self._findings.append((number, found))
        spoken = [key for key, given in said.items() if not given.is_empty]
        places = {key: place for place, key in enumerate(spoken)}
        nowhere = len(spoken)  # one more, which is empty everywhere
        order = [places.get(fingerprint(prompt), nowhere) for prompt in prompts]
        parts = [spoken[start : start + self.objects_at_once] for start in range(0, len(spoken), self.objects_at_once)]
        groups = [_Group(self.model, [said[key] for key in part], self.largest_hole, length) for part in parts]
        return _Tracks(groups, torch.tensor(order, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def _step(self, tracks: _Tracks, frame: _Prepared, number: int) -> Tensor:
        """Logits (N, H, W) of all prompts on one frame."""
        side = self.model.image_size // 4
        try:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                features = _Features(self.model, _normalised(frame.pixels, self.device)) if tracks.groups else None
                low = [group.step(features, number) for group in tracks.groups if features]
            nobody = torch.full((1, 1, side, side), NO_OBJ_SCORE, device=self.device)
            chosen = torch.cat([*low, nobody]).float()[tracks.order]
            return functional.interpolate(chosen, size=frame.size, mode="bilinear", align_corners=False)[:, 0]
        except torch.OutOfMemoryError as error:
            at_once = max((group.count for group in tracks.groups), default=0)
            fix = "lower --objects-at-once, choose --precision bf16, or a smaller --sam"
            raise UserInputError("out of GPU memory", self.device, f"{at_once} objects at once", fix=fix) from error


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
        size = (frame.shape[0], frame.shape[1])
        self.seen = self.seen or (number, size)
        if size != self.seen[1]:
            before = f"{size_text(self.seen[1])} as before"
            raise DataError("the clip changes its size", f"frame {number}", size_text(size), before, "split the clip there")
        return _Prepared(np.asarray(PilImage.fromarray(frame).resize((self.side, self.side))), size)


@dataclass(frozen=True, slots=True)
class _Tracks:
    groups: Sequence[_Group]
    order: Tensor  # (N,) which object answers which prompt; one past the last is nobody


class _Features:
    """One frame's features, computed once and lent to any number of objects."""

    def __init__(self, model: SAM2Base, image: Tensor) -> None:
        self.model = model
        self.encoded = model.forward_image(image)

    def of(self, count: int) -> tuple[list[Tensor], list[Tensor], list[Size]]:
        """Features, positions and sizes for a batch of objects."""
        lent = {name: [level.expand(count, -1, -1, -1) for level in self.encoded[name]] for name in ("backbone_fpn", "vision_pos_enc")}
        _, features, positions, sizes = self.model._prepare_backbone_features(lent)
        return features, positions, sizes


class _Group:
    """Objects that go through the model together, with what the model remembers of them."""

    def __init__(self, model: SAM2Base, given: Sequence[Given], largest_hole: int, length: int) -> None:
        self.model, self.given, self.largest_hole, self.length = model, given, largest_hole, length
        self.count = len(given)
        self.state: State = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def step(self, features: _Features, number: int) -> Tensor:
        """The decoder's logits (B, 1, h, w) on a frame; frames come in order, from 0."""
        if number == 0:
            low, self.state["cond_frame_outputs"][0] = self._begin(features)
            return low
        maps, positions, sizes = features.of(self.count)
        out = self.model.track_step(
            frame_idx=number,
            is_init_cond_frame=False,
            current_vision_feats=maps,
            current_vision_pos_embeds=positions,
            feat_sizes=sizes,
            point_inputs=None,
            mask_inputs=None,
            output_dict=self.state,
            num_frames=self.length,
        )
        self.state["non_cond_frame_outputs"][number] = _remembered(out)
        self._forget(number)
        return fill_holes(out["pred_masks"], self.largest_hole)

    def _begin(self, features: _Features) -> tuple[Tensor, dict[str, Any]]:
        """Frame 0, object by object, as their prompts differ in length."""
        answers = [self._prompted(features, given) for given in self.given]
        low = torch.cat([fill_holes(out["pred_masks"], self.largest_hole) for out in answers])
        score = torch.cat([out["object_score_logits"] for out in answers])
        side = self.model.image_size
        # The predictor encodes frame 0 from the decoder's map once prompting is over, not from the prompt itself.
        high = functional.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)
        maps, _, sizes = features.of(self.count)
        memory, encoding = self.model._encode_new_memory(
            current_vision_feats=maps, feat_sizes=sizes, pred_masks_high_res=high, object_score_logits=score, is_mask_from_pts=True
        )
        pointers = torch.cat([out["obj_ptr"] for out in answers])
        return low, _remembered({"maskmem_features": memory, "maskmem_pos_enc": encoding, "obj_ptr": pointers})

    def _prompted(self, features: _Features, given: Given) -> dict[str, Any]:
        maps, positions, sizes = features.of(1)
        with _instead_of_prompts(self.model, given.tokens):
            out: dict[str, Any] = self.model.track_step(
                frame_idx=0,
                is_init_cond_frame=True,
                current_vision_feats=maps,
                current_vision_pos_embeds=positions,
                feat_sizes=sizes,
                point_inputs=given.points,
                mask_inputs=given.mask,
                output_dict=self.state,
                num_frames=self.length,
                run_mem_encoder=False,
            )
        return out

    def _forget(self, number: int) -> None:
        """Drop what no later frame looks at: memories past their window, then whole outputs past that of the pointers."""
        past, model = self.state["non_cond_frame_outputs"], self.model
        memories = model.num_maskmem * model.memory_temporal_stride_for_eval
        for then in [then for then in past if number - then >= memories]:
            past[then] = {"obj_ptr": past[then]["obj_ptr"]}
        for then in [then for then in past if number - then >= max(memories, model.max_obj_ptrs_in_encoder)]:
            del past[then]


def _remembered(out: dict[str, Any]) -> dict[str, Any]:
    """What later frames need of one: the memory in bfloat16, as the predictor keeps it, and its encoding, alike for all."""
    encoding = [level[:1].expand(len(level), -1, -1, -1) for level in out["maskmem_pos_enc"]]
    return {"maskmem_features": out["maskmem_features"].to(torch.bfloat16), "maskmem_pos_enc": encoding, "obj_ptr": out["obj_ptr"]}


def _normalised(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(S, S, 3) uint8 -> (1, 3, S, S), as SAM 2 is given its frames."""
    image = torch.from_numpy(pixels).to(device).permute(2, 0, 1).contiguous().float().div_(255)
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))
    return ((image - mean) / deviation)[None]


def _drained(items: deque[_Prepared]) -> Iterator[_Prepared]:
    """The items, each let go of when it is taken."""
    while items:
        yield items.popleft()


@contextmanager
def _instead_of_prompts(model: SAM2Base, tokens: Tensor | None) -> Iterator[None]:
    """While it lasts, the model's decoder is handed these tokens (1, N, C) where it would be handed an encoded prompt."""
    if tokens is None:
        yield
        return
    encoder = model.sam_prompt_encoder
    model.sam_prompt_encoder = _HandedIn(encoder, tokens)
    try:
        yield
    finally:
        model.sam_prompt_encoder = encoder


class _HandedIn(nn.Module):
    """In the prompt encoder's place: the given tokens, and the encoder's own word for "no mask"."""

    def __init__(self, encoder: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.encoder, self.tokens = encoder, tokens
        self.mask_input_size = encoder.mask_input_size

    def get_dense_pe(self) -> Tensor:
        """The position encoding of the image's map."""
        encoding: Tensor = self.encoder.get_dense_pe()
        return encoding

    def forward(self, points: object, boxes: object, masks: object) -> tuple[Tensor, Tensor]:
        """Tokens (1, N, C) and the dense embedding (1, C, h, w)."""
        _, dense = self.encoder(points=None, boxes=None, masks=None)
        return self.tokens, dense
