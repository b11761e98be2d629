"""Objects on their way through SAM 2: prompted on a frame, followed on the next, remembered for as long as it matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional

from icvos.models.nano import DEVIATION, MEAN
from icvos.propagate.holes import fill_holes
from icvos.propagate.prompts import Given
from icvos.types import Size

State = dict[str, dict[int, dict[str, Any]]]  # what SAM 2 calls the output dict


class Shown(NamedTuple):
    """A prompt and the image that it speaks of."""

    pixels: NDArray[np.uint8] | None  # (S, S, 3); None: the clip's first frame
    given: Given


class Features:
    """One frame's features, computed once and lent to any number of objects."""

    def __init__(self, model: SAM2Base, image: Tensor) -> None:
        self.model, self.device = model, image.device
        self.encoded = model.forward_image(image)

    def of(self, count: int) -> tuple[list[Tensor], list[Tensor], list[Size]]:
        """Features, positions and sizes for a batch of objects."""
        lent = {name: [level.expand(count, -1, -1, -1) for level in self.encoded[name]] for name in ("backbone_fpn", "vision_pos_enc")}
        _, features, positions, sizes = self.model._prepare_backbone_features(lent)
        return features, positions, sizes


class Group:
    """Objects that go through the model together, with what the model remembers of them."""

    def __init__(self, model: SAM2Base, objects: Sequence[Sequence[Shown]], largest_hole: int, length: int) -> None:
        """Objects with equally many examples; `length` is the clip's, in frames."""
        self.model, self.objects, self.largest_hole = model, objects, largest_hole
        self.count = len(objects)
        self.state: State = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        self.before = 0 if objects[0][0].pixels is None else len(objects[0])  # frames that stand before the clip
        self.length = length + self.before

    def step(self, features: Features, number: int) -> Tensor:
        """The decoder's logits (B, 1, h, w) on a frame of the clip; frames come in order, from 0."""
        if number == 0:
            begun = [self._begin(features, time) for time in range(max(1, self.before))]
            if not self.before:
                return begun[0]
        time = number + self.before
        out = self._track(features, self.count, time)
        self.state["non_cond_frame_outputs"][time] = _remembered(out)
        self._forget(time)
        return fill_holes(out["pred_masks"], self.largest_hole)

    def _begin(self, first: Features, time: int) -> Tensor:
        """A prompted frame, object by object, as their prompts differ in length and their images may differ."""
        answers = [self._begin_one(first, shots[time]) for shots in self.objects]
        self.state["cond_frame_outputs"][time] = {
            "maskmem_features": torch.cat([memory["maskmem_features"] for _, memory in answers]),
            "maskmem_pos_enc": [level.expand(self.count, -1, -1, -1) for level in answers[0][1]["maskmem_pos_enc"]],
            "obj_ptr": torch.cat([memory["obj_ptr"] for _, memory in answers]),
        }
        return torch.cat([low for low, _ in answers])

    def _begin_one(self, first: Features, shown: Shown) -> tuple[Tensor, dict[str, Any]]:
        features = first if shown.pixels is None else Features(self.model, normalised(shown.pixels, first.device))
        out = self._track(features, 1, 0, shown.given)
        low = fill_holes(out["pred_masks"], self.largest_hole)
        side = self.model.image_size
        # The predictor encodes a prompted frame from the decoder's map once prompting is over, not from the prompt itself.
        high = functional.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)
        maps, _, sizes = features.of(1)
        memory, encoding = self.model._encode_new_memory(
            current_vision_feats=maps,
            feat_sizes=sizes,
            pred_masks_high_res=high,
            object_score_logits=out["object_score_logits"],
            is_mask_from_pts=True,
        )
        return low, _remembered({"maskmem_features": memory, "maskmem_pos_enc": encoding, "obj_ptr": out["obj_ptr"]})

    def _track(self, features: Features, count: int, time: int, given: Given | None = None) -> dict[str, Any]:
        """SAM 2's step for so many objects: with a prompt the beginning, whose memory is encoded afterwards, else the next frame."""
        maps, positions, sizes = features.of(count)
        said = given or Given()
        with handed_in(self.model, said.tokens):
            out: dict[str, Any] = self.model.track_step(
                frame_idx=time,
                is_init_cond_frame=given is not None,
                current_vision_feats=maps,
                current_vision_pos_embeds=positions,
                feat_sizes=sizes,
                point_inputs=said.points,
                mask_inputs=said.mask,
                output_dict=self.state,
                num_frames=self.length,
                run_mem_encoder=given is None,
            )
        return out

    def _forget(self, time: int) -> None:
        """Drop what the next frame does not look at: memories past their window, then whole outputs past that of the pointers."""
        past, model = self.state["non_cond_frame_outputs"], self.model
        memories = (model.num_maskmem - 2) * model.memory_temporal_stride_for_eval  # how far back of this frame, at most
        pointers = max(memories, model.max_obj_ptrs_in_encoder - 2)
        for then in [then for then in past if time - then > memories]:
            past[then] = {"obj_ptr": past[then]["obj_ptr"]}
        for then in [then for then in past if time - then > pointers]:
            del past[then]


def _remembered(out: dict[str, Any]) -> dict[str, Any]:
    """What later frames need of one: the memory in bfloat16, as the predictor keeps it, and its encoding, alike for all."""
    encoding = [level[:1].expand(len(level), -1, -1, -1) for level in out["maskmem_pos_enc"]]
    return {"maskmem_features": out["maskmem_features"].to(torch.bfloat16), "maskmem_pos_enc": encoding, "obj_ptr": out["obj_ptr"]}


def normalised(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(S, S, 3) uint8 -> (1, 3, S, S), as SAM 2 is given its frames."""
    image = torch.from_numpy(pixels).to(device).permute(2, 0, 1).contiguous().float().div_(255)
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))
    return ((image - mean) / deviation)[None]


@contextmanager
def handed_in(model: SAM2Base, tokens: Tensor | None) -> Iterator[None]:
    """While it lasts, the model's decoder is handed these tokens (B or 1, N, C) where it would be handed an encoded prompt."""
    if tokens is None:
        yield
        return
    encoder, several = model.sam_prompt_encoder, model.multimask_output_in_sam
    model.sam_prompt_encoder, model.multimask_output_in_sam = _HandedIn(encoder, tokens), False  # to SAM 2 they are no points, hence vague
    try:
        yield
    finally:
        model.sam_prompt_encoder, model.multimask_output_in_sam = encoder, several


class _HandedIn(nn.Module):
    """In the prompt encoder's place: the given tokens, and the encoder's own word for "no mask"."""

    def __init__(self, encoder: Any, tokens: Tensor) -> None:
        super().__init__()
        self.encoder, self.tokens = encoder, tokens
        self.mask_input_size = encoder.mask_input_size

    def get_dense_pe(self) -> Tensor:
        """The position encoding of the image's map."""
        return cast(Tensor, self.encoder.get_dense_pe())

    def forward(self, points: object, boxes: object, masks: object) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, C) and the dense embedding (1, C, h, w)."""
        _, dense = self.encoder(points=None, boxes=None, masks=None)
        return self.tokens, dense
