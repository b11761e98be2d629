"""DC-SAM's parts: attention by its definition, options, losses, tubes, adapters, checkpoints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_recipe import deepen
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from baselines.common.features import Seen, on_grid, prior_mask
from baselines.common.generator_file import GeneratorFile, read_generator, write_generator
from dcsam.checkpoint import official_name, read_official
from dcsam.config import DcSamConfig, preset
from dcsam.cycle_attention import CycleAttention, cycle_bias
from dcsam.lora import add_lora, merged
from dcsam.losses import segmentation_loss
from dcsam.mask_tube import FRAMES, mask_tube, still_tube
from dcsam.model import DcSam
from icvos.errors import DataError, UserInputError
from icvos.models.sam2 import build_sam2
from icvos.models.token_decoding import Sam2Tokens


def slow_bias(affinity: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Equations 17 to 19 for one head, key by key."""
    bias = np.zeros(affinity.shape[1])
    for j in range(affinity.shape[1]):
        i = max(range(affinity.shape[0]), key=lambda i: affinity[i, j])
        back = max(range(affinity.shape[1]), key=lambda k: affinity[i, k])
        bias[j] = 0 if mask[j] == mask[back] else -np.inf
    return bias


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_cycle_bias_is_the_equations(seed: int, queries: int, keys: int) -> None:
    rng = np.random.default_rng(seed)
    affinity, mask = rng.normal(size=(2, 3, queries, keys)), rng.random((2, 1, keys)) < 0.5
    found = cycle_bias(torch.from_numpy(affinity), torch.from_numpy(mask))[:, :, 0].numpy()
    for image in range(2):
        for head in range(3):
            expected = slow_bias(affinity[image, head], mask[image, 0])
            np.testing.assert_array_equal(found[image, head], expected if np.isfinite(expected).any() else np.zeros(keys))


def test_a_head_without_a_consistent_key_looks_at_all() -> None:
    """One query that is nearest to key 0 alone: if it is that query that every key returns to, only key 0's side is consistent;
    key 0 always is, so nothing can be inconsistent throughout unless scores are no numbers."""
    affinity = torch.full((1, 1, 1, 3), torch.nan)
    bias = cycle_bias(affinity, torch.tensor([[[True, False, False]]]))
    assert torch.isfinite(bias).any()
    layer = CycleAttention(8, 2)
    with torch.no_grad():
        out = layer(torch.zeros(1, 2, 8), torch.zeros(1, 4, 8), torch.zeros(1, 4, 8), torch.tensor([[True, False, False, False]]))
    assert torch.isfinite(out).all()


def test_without_cycles_it_is_torchs_attention() -> None:
    torch.manual_seed(0)
    layer, reference = CycleAttention(16, 4, cyclic=False), nn.MultiheadAttention(16, 4, batch_first=True)
    reference.load_state_dict(layer.state_dict())
    query, key = torch.randn(2, 5, 16), torch.randn(2, 9, 16)
    torch.testing.assert_close(layer(query, key, key, torch.zeros(2, 9, dtype=torch.bool)), reference(query, key, key)[0])


def test_every_preset_and_switch_runs_and_learns(nano: Sam2Tokens) -> None:
    """Each option moves tokens to where the decoder's mask fits better."""
    torch.manual_seed(0)
    for name in ("default", "paper", "release"):
        for changes in ({}, {"branches": "positive"}, {"sam_fusion": False}, {"cyclic": False}, {"backbone_fusion": False}, {"queries": 2}):
            config = preset(name, width=128, **changes)
            model = DcSam(config, 12).eval()
            query, supports = seen(1), seen(2)
            masks = torch.zeros(1, 2, 32, 32)
            masks[..., 8:20, 8:20] = 1
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            losses = []
            for _ in range(6):
                out = model(query, supports, masks, deepen, nano)
                loss = segmentation_loss(out.enlarged((32, 32)), masks[:, 0], config.dice).total
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            branches = 1 if config.branches == "positive" else 2
            assert out.tokens.shape == (1, branches * config.queries, 128)
            assert min(losses[1:]) < losses[0], (name, changes)  # not every step is better: the coarse mask jumps


def seen(count: int) -> Seen:
    from icvos.models.token_decoding import SamFeatures

    generator = torch.Generator().manual_seed(count)
    fine = (torch.randn(count, 16, 64, 64, generator=generator), torch.randn(count, 32, 32, 32, generator=generator))
    sam = SamFeatures(torch.randn(count, 128, 16, 16, generator=generator), fine)
    return Seen(torch.rand(count, 4, 16, 16, generator=generator), torch.rand(count, 8, 8, 8, generator=generator), sam)


@pytest.fixture(scope="module")
def nano() -> Sam2Tokens:
    return Sam2Tokens(build_sam2("sam2_nano", device="cpu"))


def test_supports_in_any_order_give_the_same_prompts(nano: Sam2Tokens) -> None:
    """With all shots attended to; the release's way depends on which comes last."""
    query, supports = seen(1), seen(2)
    masks = (torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(3)) > 0.7).float()
    for shots, same in (("all", True), ("last", False)):
        torch.manual_seed(0)
        model = DcSam(preset(width=128, shots=shots), 12).eval()
        with torch.no_grad():
            there = model(query, supports, masks, deepen, nano).mediate[0]
            back = model(query, supports.picked(torch.tensor([1, 0])), masks.flip(1), deepen, nano).mediate[0]
        assert torch.allclose(there, back, atol=1e-5) == same


def test_parameter_counts() -> None:
    """Those of the fact sheet: Table 14's 1.9 M is the variant without backbone features."""
    counts = {
        2_394_624: DcSam(preset(sam="sam"), 1536),
        2_468_800: DcSam(preset(), 1536),
        2_198_016: DcSam(preset(sam="sam"), 768),
        2_272_192: DcSam(preset(), 768),
        1_870_336: DcSam(preset(sam="sam", backbone_fusion=False), 1536),
    }
    for count, model in counts.items():
        assert sum(value.numel() for value in model.parameters()) == count


def test_presets() -> None:
    assert preset("release").negative_keys == "support"
    assert preset("release", sam="sam").labels_carried
    assert not preset("paper", sam="sam").labels_carried
    assert preset("default", queries=3).queries == 3
    with pytest.raises(UserInputError, match=r"relase.*did you mean release"):
        preset("relase")


def test_equation_22_by_hand() -> None:
    logits, truth = torch.tensor([[[0.0, 2.0], [-2.0, 0.0]]]), torch.tensor([[[0, 1], [0, 1]]])
    p, y = logits.sigmoid().numpy().ravel(), truth.numpy().ravel()
    squared = 1 - 2 * (p * y).sum() / ((p**2).sum() + (y**2).sum())
    linear = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    for kind, dice in (("squared", squared), ("linear", linear)):
        loss = segmentation_loss(logits, truth, kind)
        assert loss.dice.item() == pytest.approx(dice, abs=1e-6)
        assert loss.total.item() == pytest.approx(dice + entropy, abs=1e-6)
    empty = segmentation_loss(torch.full((1, 2, 2), -99.0), torch.zeros(1, 2, 2), "squared")
    assert torch.isfinite(empty.total)


def test_a_small_object_is_not_lost_on_the_grid() -> None:
    mask = torch.zeros(3, 64, 64)
    mask[0, 33, 33] = 1  # between the pixels that nearest takes
    mask[1, 10:50, 10:50] = 1
    grid = on_grid(mask, torch.zeros(3, 1, 8, 8))
    assert grid[0].sum() == 1
    assert grid[0, 0, 4, 4] == 1
    torch.testing.assert_close(grid[1:], nn.functional.interpolate(mask[1:, None], size=(8, 8), mode="nearest"))
    assert grid[2].sum() == 0


def test_the_prior_is_one_where_the_object_itself_stands() -> None:
    maps = torch.rand(1, 6, 5, 5) + 0.1
    mask = torch.zeros(1, 1, 5, 5)
    mask[..., 2, 3] = 1
    prior = prior_mask(maps, maps, mask)
    assert prior.argmax() == 2 * 5 + 3
    assert prior.max() == pytest.approx(1, abs=1e-5)


def test_mask_tube() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 60, 3), np.uint8)
    mask = np.zeros((40, 60), np.bool_)
    mask[10:20, 15:40] = True
    tube = mask_tube(image, mask, np.random.default_rng(1))
    again = mask_tube(image, mask, np.random.default_rng(1))
    np.testing.assert_array_equal(tube.images, again.images)
    assert tube.images.shape == (FRAMES, 40, 60, 3)
    assert tube.masks.shape == (FRAMES, 40, 60)
    wanted = {image.tobytes(): mask, image[:, ::-1].tobytes(): mask[:, ::-1], image[::-1].tobytes(): mask[::-1]}
    found = {frame.tobytes(): truth for frame, truth in zip(tube.images, tube.masks, strict=True)}
    for pixels, truth in wanted.items():
        np.testing.assert_array_equal(found[pixels], truth)
    assert all(abs(int(truth.sum()) - mask.sum()) < 40 for truth in tube.masks)
    still = still_tube(image, mask)
    assert (still.images == image).all()
    assert (still.masks == mask).all()


def test_adapters_begin_as_nothing_and_are_as_many_as_the_paper_says() -> None:
    model = build_sam2("sam2.1_hiera_t", "untrained", "cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    add_lora(model)
    assert sum(value.numel() for value in model.parameters() if value.requires_grad) == 111_360  # Table 10: 0.11 M
    weights = merged(model)
    assert set(weights) <= set(before)
    for name, value in weights.items():
        torch.testing.assert_close(value, before[name])
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.fill_(0.01)
    assert all(not torch.equal(value, before[name]) for name, value in merged(model).items())


def test_a_released_checkpoint_loads_as_it_is(tmp_path: Path) -> None:
    """Names of the released code, with `module.` before them, backbone and SAM 2 in the same file."""
    torch.manual_seed(0)
    model = DcSam(preset("release"), 1536)
    state = {f"module.{official_name(name)}": value for name, value in model.state_dict().items()}
    backbone = {f"module.{name}": torch.zeros(3) for name in ("layer0.0.weight", "layer4.2.bn3.weight")}
    extra = {**backbone, "module.sam2.no_mem_embed": torch.ones(1, 1, 256)}
    torch.save({**state, **extra}, tmp_path / "best.pt")
    content = read_official(tmp_path / "best.pt")
    assert content.sam == "sam2_hiera_l"
    assert content.options["backbone"] == "resnet50_v2"
    assert list(content.sam_state) == ["no_mem_embed"]
    model.load_state_dict(dict(content.generator))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match="not a checkpoint of DC-SAM"):
        read_official(tmp_path / "other.pt")


def test_a_file_of_weights_comes_back_as_it_was(tmp_path: Path) -> None:
    model = DcSam(preset(width=128), 152)
    tuned = {"no_mem_embed": torch.ones(1, 1, 128)}
    content = GeneratorFile("dcsam", asdict(model.config), "sam2_nano", model.state_dict(), tuned, {"steps": 3})
    path = tmp_path / "generator.safetensors"
    write_generator(path, content)
    first = path.read_bytes()
    write_generator(path, content)
    assert path.read_bytes() == first
    back = read_generator(path, "dcsam")
    assert (back.sam, back.options, back.facts) == ("sam2_nano", asdict(DcSamConfig(width=128)), {"steps": 3})
    for name, value in content.generator.items():
        torch.testing.assert_close(back.generator[name], value, rtol=1e-3, atol=1e-4)
    with pytest.raises(UserInputError, match=r"weights of another method.*found dcsam"):
        read_generator(path, "vrp_sam")
    path.write_bytes(first[:1000])
    with pytest.raises(DataError, match="cannot read the weights"):
        read_generator(path, "dcsam")
