"""One pass of a SAM 2 over clips with gradients: every frame encoded once, every object prompted on frame 0 and followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from icvos.propagate.objects import handed_in

LONG = 1000  # frames that the model believes the clip to have: its pointers' positions are scaled as in any long clip


Points = dict[str, Tensor]  # point_coords (B, N, 2) x, y in pixels; point_labels (B, N)


class Answer(NamedTuple):
    """What the mask decoder says of the objects on one frame."""

    logits: Tensor  # (B, M, h, w) of M candidates
    claimed: Tensor  # (B, M) IoU in [0, 1]
    score: Tensor  # (B, 1) logit that the object is there
    chosen: Tensor  # (B, 1, h, w), the candidate that goes into memory


class Clips:
    """The features of clips (B, T), computed once; objects are told by the index of their clip."""

    def __init__(self, model: SAM2Base, images: Tensor) -> None:
        """Encode images (B, T, 3, S, S), normalised."""
        self.model, self.shape = model, images.shape[:2]
        encoded = model.forward_image(images.flatten(0, 1))
        self.maps = [level.unflatten(0, self.shape) for level in encoded["backbone_fpn"]]
        self.positions = [level[:1] for level in encoded["vision_pos_enc"]]

    def frame(self, number: int, clips: Tensor) -> tuple[list[Tensor], list[Tensor], list[Any]]:
        """Features, positions and sizes of one frame for objects of these clips, as SAM 2 wants them."""
        maps = [level[clips, number] for level in self.maps]
        positions = [level.expand(len(clips), -1, -1, -1) for level in self.positions]
        _, features, encodings, sizes = self.model._prepare_backbone_features({"backbone_fpn": maps, "vision_pos_enc": positions})
        return features, encodings, sizes


def still(clips: Clips, which: Tensor, number: Tensor, points: Points, before: Tensor | None = None) -> Answer:
    """All four candidates of the decoder for objects prompted on a frame each, as in a picture: without any memory.

    Args:
        clips: the features.
        which: (B,) the clip of each object.
        number: (B,) the frame.
        points: as SAM takes them.
        before: (B, 1, S/4, S/4) logits of an earlier answer that the points correct.
    """
    model = clips.model
    maps = [level[which, number] for level in clips.maps]
    sparse, dense = model.sam_prompt_encoder(points=(points["point_coords"], points["point_labels"]), boxes=None, masks=before)
    logits, claimed, _, score = model.sam_mask_decoder.predict_masks(
        image_embeddings=maps[-1] + model.no_mem_embed.view(1, -1, 1, 1),
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=maps[:-1],
    )
    return Answer(logits, claimed, score, logits[:, :1])


def prompted(clips: Clips, which: Tensor, *, masks: Tensor | None = None, points: Points | None = None) -> dict[str, Any]:
    """The memory of frame 0 of objects, prompted with true masks (B, 1, S, S) or points."""
    return _step(clips, 0, 0, which, {}, masks, points)[1]


def prompted_by_tokens(clips: Clips, which: Tensor, tokens: Tensor) -> tuple[Answer, dict[str, Any]]:
    """The answer on frame 0 of objects that are prompted with decoder tokens (B, N, C), and its memory."""
    with handed_in(clips.model, tokens):
        return _step(clips, 0, 0, which, {}, None, None)


def followed(clips: Clips, which: Tensor, memory: dict[str, Any], times: Sequence[int]) -> Iterator[Answer]:
    """The further frames of objects whose frame 0 is in memory; `times` are the frames' own numbers, the first 0."""
    seen: dict[str, dict[int, Any]] = {"cond_frame_outputs": {0: memory}, "non_cond_frame_outputs": {}}
    for number, time in enumerate(times[1:], start=1):
        answer, seen["non_cond_frame_outputs"][time] = _step(clips, number, time, which, seen, None, None)
        yield answer


def together(memories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One memory of several groups of objects."""
    return {
        "maskmem_features": torch.cat([memory["maskmem_features"] for memory in memories]),
        "maskmem_pos_enc": [torch.cat(levels) for levels in zip(*(memory["maskmem_pos_enc"] for memory in memories), strict=True)],
        "obj_ptr": torch.cat([memory["obj_ptr"] for memory in memories]),
    }


def _step(
    clips: Clips,
    number: int,
    time: int,
    which: Tensor,
    seen: dict[str, Any],
    masks: Tensor | None,
    points: Points | None,
) -> tuple[Answer, dict[str, Any]]:
    """The two halves of SAM2Base.track_step, which keeps the candidates and their claimed IoU to itself."""
    model = clips.model
    features, positions, sizes = clips.frame(number, which)
    out, heads, _, _ = model._track_step(
        frame_idx=time,
        is_init_cond_frame=time == 0,
        current_vision_feats=features,
        current_vision_pos_embeds=positions,
        feat_sizes=sizes,
        point_inputs=points,
        mask_inputs=masks,
        output_dict=seen,
        num_frames=LONG,
        track_in_reverse=False,
        prev_sam_mask_logits=None,
    )
    _, candidates, claimed, _, chosen, pointer, score = heads
    model._encode_memory_in_output(features, sizes, points, True, chosen, score, out)
    return Answer(candidates, claimed, score, chosen), cast(dict[str, Any], {**out, "obj_ptr": pointer})
