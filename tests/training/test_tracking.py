"""A SAM 2 with gradients answers as the same SAM 2 does when it is run."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")

import torch

from icvos.models.nano import DEVIATION, IMAGE_SIZE, MEAN, sam2_nano
from icvos.propagate.sam2 import Sam2Propagator
from icvos.training.losses import FrameLoss, frame_loss
from icvos.training.tracking import LONG, Answer, Clips, followed, prompted, still, together
from icvos.types import BoxPrompt, MaskPrompt


@pytest.fixture(scope="module")
def model() -> object:
    torch.manual_seed(3)
    return sam2_nano().eval()


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)


def normalised(images: np.ndarray) -> torch.Tensor:
    return ((torch.from_numpy(images).float() / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).movedim(-1, -3)


def judged(answer: Answer, truth: torch.Tensor) -> FrameLoss:
    return frame_loss(answer.logits, answer.claimed, answer.score, truth)


def test_followed_objects_get_the_propagators_masks(model: object, clip: np.ndarray) -> None:
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), bool)
    mask[60:180, 40:200] = True
    box = np.array([40, 60, 200, 180], np.float32)
    points = {"point_coords": torch.from_numpy(box.reshape(1, 2, 2)), "point_labels": torch.tensor([[2, 3]], dtype=torch.int32)}
    with torch.no_grad():
        clips = Clips(model, normalised(clip)[None])
        which = torch.zeros(1, dtype=torch.long)
        memories = [prompted(clips, which, masks=torch.from_numpy(mask)[None, None].float()), prompted(clips, which, points=points)]
        answers = list(followed(clips, which.repeat(2), together(memories), [0, 1, 2, 3]))
        alone = still(clips, which, which, points)
    # The clip is long for the model in training, so that it is here too: 16 frames and more.
    assert LONG >= 16
    padded = [*clip, *clip, *clip, *clip]
    expected = list(Sam2Propagator(model, largest_hole=0).logits(padded, [MaskPrompt(mask), BoxPrompt(box)]))[:4]
    assert alone.logits.shape == (1, 4, IMAGE_SIZE // 4, IMAGE_SIZE // 4) and alone.claimed.shape == (1, 4)
    for answer, logits in zip(answers, expected[1:], strict=True):
        # The propagator's memory of frame 0 comes from the decoder's map and is kept in bfloat16: close, not equal.
        assert np.corrcoef(answer.logits[:, 0].numpy().ravel(), logits.ravel())[0, 1] > 0.98


def test_every_part_that_others_rely_on_is_trained(model: object, clip: np.ndarray) -> None:
    training = sam2_nano()
    torch.nn.init.constant_(training.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3.0)  # believes in its objects
    training.train()
    training.image_encoder.trunk.eval()
    clips, which = Clips(training, normalised(clip)[None]), torch.zeros(1, dtype=torch.long)
    truth = torch.zeros(1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.bool)
    truth[:, 60:180, 40:200] = True
    points = {"point_coords": torch.tensor([[[100.0, 100.0]]]), "point_labels": torch.ones(1, 1, dtype=torch.int32)}
    memory = together([prompted(clips, which, masks=truth[:, None].float()), prompted(clips, which, points=points)])
    losses = [judged(answer, truth.repeat(2, 1, 1)) for answer in followed(clips, which.repeat(2), memory, [0, 1, 3, 4])]
    before = truth[:, None, ::4, ::4].float()
    losses += [judged(still(clips, which, which, points, *given), truth[:, ::4, ::4]) for given in ((), (before,))]
    sum(loss.mask + loss.quality + loss.presence for loss in losses).backward()
    taught = {name for name, value in training.named_parameters() if value.grad is not None and value.grad.any()}
    decoder = "sam_mask_decoder."
    for part in (
        "image_encoder.trunk",
        "image_encoder.neck",
        "mask_downsample",
        "memory_attention",
        "memory_encoder",
        "obj_ptr_proj",
        "obj_ptr_tpos_proj",
        "maskmem_tpos_enc",
        "no_mem_embed",
        "sam_prompt_encoder.mask_downscaling",
        "sam_prompt_encoder.point_embeddings.1",
        f"{decoder}iou_prediction_head",
        f"{decoder}pred_obj_score_head",
        f"{decoder}mask_tokens",
        f"{decoder}output_hypernetworks_mlps.0",
    ):
        assert any(name.startswith(part) for name in taught), part
    several = [number for number in (1, 2, 3) if any(f"output_hypernetworks_mlps.{number}" in name for name in taught)]
    assert len(several) >= 1  # of the three for ambiguous prompts, the best
