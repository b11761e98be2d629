"""SAM 2 over a stream: the official video predictor's numbers, in bounded memory, and a sentence for whatever does not fit."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage
from skimage.data import astronaut

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from icvos.errors import DataError, Finding, PluginError, UserInputError
from icvos.masks import read_image
from icvos.models import build_sam2
from icvos.propagate.objects import Features, Group
from icvos.propagate.sam2 import Sam2Propagator
from icvos.types import BoxPrompt, Image, MaskPrompt, PointPrompt, Prompt, TokenPrompt
from icvos.weights import REGISTRY

EMBEDDED = REGISTRY.parent / "sam2_nano.safetensors"
SIZE = (120, 200)
REMEMBERING = ("memory_attention", "memory_encoder", "obj_ptr", "mask_downsample", "sam_mask_decoder")

SQUARE = np.zeros(SIZE, np.bool_)
SQUARE[30:85, 60:125] = True
CLICK = PointPrompt(np.array([[90.5, 50.25]], np.float32), np.array([1], np.int32))
CLICKS = PointPrompt(np.array([[90.5, 50.25], [20, 21.5]], np.float32), np.array([1, 0], np.int32))
BOX = np.array([60, 30.5, 124, 84], np.float32)
PROMPTS = {
    "mask": MaskPrompt(SQUARE),
    "point": CLICK,
    "points": CLICKS,
    "box": BoxPrompt(BOX),
    "box and clicks": BoxPrompt(BOX, CLICKS),
}
FIVE = (*PROMPTS.values(),)

Logits = NDArray[np.float32]


def seen(number: int) -> Image:
    """The astronaut, by a camera that moves a little a frame."""
    top, left = (number * 2) % 90, number % 110
    return np.ascontiguousarray(astronaut()[top : top + 360 : 3, left : left + 400 : 2])


def clip_folder(folder: Path, count: int) -> Path:
    """The clip as the official predictor reads it: numbered JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        PilImage.fromarray(seen(number)).save(folder / f"{number:05d}.jpg", quality=95)
    return folder


def frames_of(folder: Path) -> list[Image]:
    return [read_image(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """Sixty frames, as the runner reads them."""
    return frames_of(clip_folder(tmp_path_factory.mktemp("clip"), 60))


def built(name: str = "sam2_nano", seed: int = 3, *, louder: float = 1.5, **options: Any) -> SAM2Base:
    """An untrained predictor. As drawn, what it remembers moves a logit by a thousandth; made louder, nobody can overlook it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_sam2(name, "untrained", "cpu", cls=SAM2VideoPredictor, **options)
    for key, values in model.named_parameters():
        if values.dim() > 1 and key.startswith(REMEMBERING) and "pred_obj_score_head" not in key:
            values.mul_(louder)
    return model


@pytest.fixture(scope="module")
def nano() -> SAM2Base:
    return built()


@pytest.fixture
def propagator(nano: SAM2Base) -> Sam2Propagator:
    return Sam2Propagator(nano, largest_hole=0)


def official(model: Any, folder: Path, shown: Sequence[dict[int, Prompt]]) -> Logits:
    """(T, N, H, W) by the official predictor: for each object, what is said of which frame."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("sam2.sam2_video_predictor", "sam2.utils.misc"):
            patch.setattr(f"{module}.tqdm", lambda frames, **_: frames)
        state = model.init_state(str(folder))
        for number, said in enumerate(shown):
            for frame, prompt in said.items():
                if isinstance(prompt, MaskPrompt):
                    model.add_new_mask(state, frame, number, prompt.mask)
                    continue
                clicks = prompt if isinstance(prompt, PointPrompt) else prompt.clicks if isinstance(prompt, BoxPrompt) else None
                words: dict[str, Any] = {"points": clicks.points, "labels": clicks.labels} if clicks else {}
                words |= {"box": prompt.box} if isinstance(prompt, BoxPrompt) else {}
                model.add_new_points_or_box(state, frame, number, **words)
        return np.stack([logits[:, 0].numpy() for _, _, logits in model.propagate_in_video(state)])


def logits_of(propagator: Sam2Propagator, frames: Sequence[Image], prompts: Sequence[Prompt]) -> Logits:
    return np.stack(list(propagator.logits(frames, prompts)))


def masks_of(propagator: Sam2Propagator, frames: Sequence[Image], prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
    return np.stack([np.stack(masks) for masks in propagator.propagate(frames, prompts)])


def assert_the_same(found: Logits, expected: Logits) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert np.array_equal(found > 0, expected > 0)


def assert_worth_comparing(expected: Logits) -> None:
    """Masks with and without pixels in them, and prompts that are still told apart on the last frame."""
    share = (expected > 0).mean(axis=(2, 3))
    assert 0.01 < share.mean() < 0.99
    assert ((share > 0) & (share < 1)).mean() > 0.9
    assert all(np.abs(expected[-1, 0] - other).max() > 1e-3 for other in expected[-1, 1:])


# ---- the official predictor's numbers


class Followed(NamedTuple):
    """What the official predictor made of a clip."""

    model: SAM2Base
    frames: list[Image]
    prompts: list[Prompt]
    logits: Logits


FOLLOWED: dict[str, tuple[str, int, int, tuple[str, ...], dict[str, Any]]] = {
    "nano": ("sam2_nano", 3, 42, ("mask", "point", "box and clicks"), {}),
    "2.1, Hiera-T": ("sam2.1_hiera_t", 2, 42, ("mask", "point", "box"), {"image_size": 128}),
    "2.0, Hiera-S": ("sam2_hiera_s", 1, 20, ("mask", "points"), {"image_size": 128}),
}


@pytest.fixture(scope="module", params=FOLLOWED)
def followed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    name, seed, count, words, options = FOLLOWED[request.param]
    model = built(name, seed, louder=2, **options)
    folder = clip_folder(tmp_path_factory.mktemp("official"), count)
    prompts: list[Prompt] = [PROMPTS[word] for word in words]
    logits = official(model, folder, [{0: prompt} for prompt in prompts])
    assert_worth_comparing(logits)
    return Followed(model, frames_of(folder), prompts, logits)


def test_logits_are_those_of_the_official_predictor(followed: Followed) -> None:
    ours = Sam2Propagator(followed.model, largest_hole=0, objects_at_once=1)
    assert_the_same(logits_of(ours, followed.frames, followed.prompts), followed.logits)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, nano: SAM2Base) -> Followed:
    """A clip of fewer frames than the pointers reach back: SAM 2 then scales their positions by its length."""
    folder = clip_folder(tmp_path_factory.mktemp("short"), 9)
    logits = official(nano, folder, [{0: prompt} for prompt in FIVE])
    assert_worth_comparing(logits)
    return Followed(nano, frames_of(folder), list(FIVE), logits)


@pytest.mark.parametrize("word", PROMPTS)
def test_a_short_clip_is_followed_as_by_the_official_predictor(short: Followed, word: str) -> None:
    ours = logits_of(Sam2Propagator(short.model, largest_hole=0), short.frames, [PROMPTS[word]])
    assert_the_same(ours[:, 0], short.logits[:, list(PROMPTS).index(word)])


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17])
def test_clips_about_as_long_as_the_pointers_reach_are_followed_too(count: int, nano: SAM2Base, tmp_path: Path) -> None:
    folder = clip_folder(tmp_path, count)
    expected = official(nano, folder, [{0: PROMPTS["mask"]}])
    assert_the_same(logits_of(Sam2Propagator(nano, largest_hole=0), frames_of(folder), [PROMPTS["mask"]]), expected)


@pytest.mark.skipif(not EMBEDDED.is_file(), reason="the embedded weights are not there yet")
def test_trained_weights_are_followed_as_by_the_official_predictor(tmp_path: Path) -> None:
    model = build_sam2("sam2_nano", EMBEDDED, "cpu", cls=SAM2VideoPredictor)
    folder = clip_folder(tmp_path, 20)
    expected = official(model, folder, [{0: prompt} for prompt in FIVE])
    assert (expected > 0).any(axis=(2, 3)).any() and not (expected > 0).all(axis=(2, 3)).any()
    assert_the_same(logits_of(Sam2Propagator(model, largest_hole=0, objects_at_once=1), frames_of(folder), FIVE), expected)


def test_masks_are_the_logits_above_zero(propagator: Sam2Propagator, frames: list[Image]) -> None:
    assert np.array_equal(masks_of(propagator, frames[:4], FIVE), logits_of(propagator, frames[:4], FIVE) > 0)


def test_small_holes_are_filled_on_every_frame(nano: SAM2Base, frames: list[Image]) -> None:
    ring = SQUARE.copy()
    ring[55:62, 90:98] = False  # a few pixels of the decoder's map
    as_it_is, mended = (masks_of(Sam2Propagator(nano, largest_hole=hole), frames[:3], [MaskPrompt(ring)]) for hole in (0, 30))
    assert not as_it_is[0, 0, 58, 94] and mended[0, 0, 58, 94]
    assert (mended[0, 0] >= as_it_is[0, 0]).all()


# ---- objects on examples of their own


def test_an_example_stands_before_the_clip_as_its_first_frame(nano: SAM2Base, tmp_path: Path) -> None:
    folder = clip_folder(tmp_path, 10)
    pictures = frames_of(folder)
    expected = official(nano, folder, [{0: MaskPrompt(SQUARE)}])[1:] > 0
    ours = Sam2Propagator(nano, largest_hole=0).propagate_from(pictures[1:], [[(pictures[0], SQUARE)]])
    assert expected.any() and not expected.all()
    assert np.array_equal(np.stack(list(ours)), expected)


def test_several_examples_stand_before_the_clip_in_their_order(nano: SAM2Base, tmp_path: Path) -> None:
    folder = clip_folder(tmp_path, 20)
    pictures = frames_of(folder)
    other = np.roll(SQUARE, 30, axis=1)
    expected = official(nano, folder, [{0: MaskPrompt(SQUARE), 1: MaskPrompt(other)}])[2:] > 0
    ours = Sam2Propagator(nano, largest_hole=0).propagate_from(pictures[2:], [[(pictures[0], SQUARE), (pictures[1], other)]])
    assert np.array_equal(np.stack(list(ours)), expected)


def test_objects_with_more_and_fewer_examples_go_together(propagator: Sam2Propagator, frames: list[Image]) -> None:
    small = frames[40][::2, ::2]
    one, two = [(small, SQUARE[::2, ::2])], [(frames[40], SQUARE), (small, SQUARE[::2, ::2])]
    together = list(propagator.propagate_from(frames[:4], [two, one, two]))
    alone = [list(propagator.propagate_from(frames[:4], [shown])) for shown in (two, one)]
    for number, masks in enumerate(together):
        assert [mask.shape for mask in masks] == [SIZE] * 3
        for mask, expected in zip(masks, (alone[0], alone[1], alone[0]), strict=True):
            assert np.array_equal(mask, expected[number][0])


# ---- several prompts


def calls_of(module: Any, measure: Callable[[Any, dict[str, Any]], int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What `measure` says of each call of a part of a model, from now on."""
    calls: list[int] = []
    forward = module.forward

    def noted(*values: Any, **named: Any) -> Any:
        calls.append(measure(values, named))
        return forward(*values, **named)

    monkeypatch.setattr(module, "forward", noted)
    return calls


def batches(model: SAM2Base, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many objects go through memory attention, pass by pass."""
    return calls_of(model.memory_attention, lambda _, named: named["curr"][0].shape[1], monkeypatch)


def encodings(model: SAM2Base, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are encoded, call by call."""
    return calls_of(model.image_encoder, lambda values, _: len(values[0]), monkeypatch)


@pytest.mark.parametrize(("at_once", "expected"), [(16, [5]), (2, [2, 2, 1])])
def test_prompts_are_followed_together_as_each_alone(
    at_once: int, expected: list[int], short: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, passed = encodings(short.model, monkeypatch), batches(short.model, monkeypatch)
    ours = Sam2Propagator(short.model, largest_hole=0, objects_at_once=at_once)
    np.testing.assert_allclose(logits_of(ours, short.frames, FIVE), short.logits, rtol=0, atol=1e-4)
    assert encoded == [1] * 9  # a frame is encoded once, for however many objects
    assert passed == expected * 8


def test_equal_prompts_are_followed_once_and_answered_each(
    propagator: Sam2Propagator, frames: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = BoxPrompt(BOX.astype(np.float64), PointPrompt(CLICKS.points.copy(), CLICKS.labels.astype(np.int64)))
    prompts = [MaskPrompt(SQUARE), FIVE[4], MaskPrompt(SQUARE.copy()), again, BoxPrompt(BOX)]
    passed = batches(propagator.model, monkeypatch)
    logits = logits_of(propagator, frames[:3], prompts)
    assert passed == [3, 3]
    assert np.array_equal(logits[:, 0], logits[:, 2])
    assert np.array_equal(logits[:, 1], logits[:, 3])
    assert not np.array_equal(logits[:, 1], logits[:, 4])


def test_no_prompts_give_no_masks_a_frame(propagator: Sam2Propagator, frames: list[Image]) -> None:
    assert list(propagator.propagate(frames[:3], [])) == [(), (), ()]


# ---- tokens in the place of a prompt


def tokens_of_box(model: SAM2Base) -> TokenPrompt:
    """What the model's own prompt encoder makes of the box, its padding token with it."""
    corners = torch.from_numpy(BOX).reshape(1, 2, 2) / torch.tensor(SIZE[::-1]) * model.image_size
    labels = torch.tensor([[2, 3]], dtype=torch.int32)
    sparse, _ = model.sam_prompt_encoder(points=(corners, labels), boxes=None, masks=None)
    assert sparse.shape == (1, 3, model.hidden_dim)
    return TokenPrompt(sparse[0].numpy())


@pytest.mark.parametrize(("name", "seed", "options"), [("sam2_nano", 3, {}), ("sam2.1_hiera_t", 2, {"image_size": 128})])
def test_the_encoders_own_tokens_are_followed_as_the_prompt_itself(
    name: str, seed: int, options: dict[str, Any], frames: list[Image]
) -> None:
    model = built(name, seed, **options)
    logits = logits_of(Sam2Propagator(model, largest_hole=0, objects_at_once=1), frames[:3], [BoxPrompt(BOX), tokens_of_box(model)])
    assert (logits > 0).any() and (logits <= 0).any()
    for number, (box, tokens) in enumerate(logits):
        assert np.array_equal(box, tokens), f"frame {number}"


def test_tokens_leave_the_model_as_it_was(nano: SAM2Base, frames: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, names = nano.sam_prompt_encoder, list(nano.state_dict())
    prompt = tokens_of_box(nano)
    ours = Sam2Propagator(nano)
    assert len(masks_of(ours, frames[:2], [prompt, BoxPrompt(BOX)])) == 2
    assert nano.sam_prompt_encoder is encoder and list(nano.state_dict()) == names

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(nano.sam_mask_decoder, "forward", fail)
    with pytest.raises(RuntimeError, match="no more"):
        masks_of(ours, frames[:2], [prompt])
    assert nano.sam_prompt_encoder is encoder and list(nano.state_dict()) == names


# ---- memory and time


def test_what_is_remembered_stays_bounded(nano: SAM2Base, frames: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[dict[str, Any]]] = []
    sizes: list[int] = []

    class Watched(Group):
        def step(self, features: Features, number: int) -> Any:
            answer = super().step(features, number)
            prompted, followed = (list(self.state[part].values()) for part in ("cond_frame_outputs", "non_cond_frame_outputs"))
            assert len(prompted) == 1
            kept.append(followed)
            tensors = [
                value for out in prompted + followed for entry in out.values() for value in (entry if isinstance(entry, list) else [entry])
            ]
            sizes.append(sum({value.data_ptr(): value.untyped_storage().nbytes() for value in tensors}.values()))
            return answer

    monkeypatch.setattr("icvos.propagate.sam2.Group", Watched)
    assert sum(1 for _ in Sam2Propagator(nano).propagate(frames, [MaskPrompt(SQUARE)])) == len(kept) == 60
    assert max(len(outputs) for outputs in kept) <= nano.max_obj_ptrs_in_encoder
    assert 1 < max(sum("maskmem_features" in out for out in outputs) for outputs in kept) <= nano.num_maskmem
    assert sizes[30] == max(sizes) == sizes[-1]


def test_frames_are_drawn_a_few_ahead_and_let_go_of(propagator: Sam2Propagator) -> None:
    drawn: list[weakref.ref[Image]] = []

    def endless() -> Iterator[Image]:
        for number in range(100):
            frame = seen(number)
            drawn.append(weakref.ref(frame))
            yield frame

    threads = threading.active_count()
    stream = propagator.propagate(endless(), [MaskPrompt(SQUARE)])
    assert not drawn  # nothing before the first mask is asked for
    next(stream)
    assert len(drawn) <= 16 + 4
    for _ in range(5):
        next(stream)
    assert len(drawn) <= 21 + 4
    assert sum(frame() is not None for frame in drawn) <= 5  # what waits is resized already
    stream.close()
    assert len(drawn) <= 21 + 4
    assert threading.active_count() == threads
    with pytest.raises(StopIteration):
        next(stream)


def test_whoever_takes_the_masks_keeps_their_gradients(propagator: Sam2Propagator, frames: list[Image]) -> None:
    for _ in propagator.propagate(frames[:2], [MaskPrompt(SQUARE)]):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_masks_that_were_taken_do_not_change(propagator: Sam2Propagator, frames: list[Image]) -> None:
    taken = []
    for (mask,) in propagator.propagate(frames[:4], [MaskPrompt(SQUARE)]):
        assert mask.shape == SIZE and mask.dtype == np.bool_
        taken.append((mask, mask.copy()))
    assert all(np.array_equal(mask, before) for mask, before in taken)


def test_what_may_not_be_written_to_is_taken_without_a_word(propagator: Sam2Propagator, frames: list[Image]) -> None:
    frame, mask, tokens = frames[0].copy(), SQUARE.copy(), np.zeros((2, 128), np.float32)
    box, points, labels = BOX.copy(), CLICKS.points.copy(), CLICKS.labels.copy()
    for values in (frame, mask, tokens, box, points, labels):
        values.flags.writeable = False
    prompts = [MaskPrompt(mask), TokenPrompt(tokens), PointPrompt(points, labels), BoxPrompt(box, PointPrompt(points, labels))]
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else once a process, and somebody else may have had it
    try:
        assert masks_of(propagator, [frame], prompts).shape == (1, 4, *SIZE)  # warnings are errors here
    finally:
        torch.set_warn_always(before)


def test_warming_up_takes_time_and_leaves_nothing_behind(propagator: Sam2Propagator) -> None:
    assert propagator.warm_up() > 0
    assert propagator.take_findings() == []


def test_half_precision_agrees_with_single(frames: list[Image]) -> None:
    weights = EMBEDDED if EMBEDDED.is_file() else "untrained"
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = build_sam2("sam2_nano", weights, "cpu", dtype)
        found.append(logits_of(Sam2Propagator(model), frames[:8], [MaskPrompt(SQUARE), BoxPrompt(BOX)]))
        assert next(model.parameters()).dtype == torch.float32
    single, half = found
    assert half.dtype == np.float32 and np.isfinite(half).all()
    assert not np.array_equal(single, half)
    if weights == EMBEDDED:
        union = ((single > 0) | (half > 0)).sum(axis=(0, 2, 3))
        assert (((single > 0) & (half > 0)).sum(axis=(0, 2, 3)) > 0.9 * union).all()


# ---- prompts and clips that do not fit


def test_a_clip_without_frames_is_refused(propagator: Sam2Propagator) -> None:
    with pytest.raises(DataError, match="the clip has no frames: expected at least one; leave the clip out"):
        next(propagator.propagate([], [MaskPrompt(SQUARE)]))


def test_a_frame_of_another_size_is_named_once_it_is_reached(propagator: Sam2Propagator, frames: list[Image]) -> None:
    clip = [*frames[:20], frames[20][::2, ::2], *frames[21:25]]
    stream = propagator.propagate(clip, [MaskPrompt(SQUARE)])
    assert [next(stream)[0].shape for _ in range(20)] == [SIZE] * 20
    with pytest.raises(DataError) as caught:
        next(stream)
    assert str(caught.value) == ("the clip changes its size: frame 20: found 60 x 100, expected 120 x 200 as before; split the clip there.")


def test_a_frame_of_another_size_is_named_near_the_beginning_too(propagator: Sam2Propagator, frames: list[Image]) -> None:
    with pytest.raises(DataError, match="frame 1: found 60 x 100, expected 120 x 200 as before"):
        masks_of(propagator, [frames[0], frames[1][::2, ::2]], [MaskPrompt(SQUARE)])


def test_an_empty_mask_tracks_nothing_and_says_so(propagator: Sam2Propagator, frames: list[Image]) -> None:
    nothing = MaskPrompt(np.zeros(SIZE, np.bool_))
    masks = masks_of(propagator, frames[:3], [MaskPrompt(SQUARE), nothing, BoxPrompt(BOX)])
    assert masks.shape == (3, 3, *SIZE) and not masks[:, 1].any()
    assert np.array_equal(masks[:, [0, 2]], masks_of(propagator, frames[:3], [MaskPrompt(SQUARE), BoxPrompt(BOX)]))
    ((index, finding),) = propagator.take_findings()
    assert index == 1
    assert (finding.code, finding.where, finding.found) == ("empty-prompt", "prompt 1", "an empty mask")
    assert propagator.take_findings() == []


def test_where_every_mask_is_empty_nothing_is_encoded(
    propagator: Sam2Propagator, frames: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encodings(propagator.model, monkeypatch)
    nothing = MaskPrompt(np.zeros(SIZE, np.bool_))
    assert not masks_of(propagator, frames[:3], [nothing, nothing]).any()
    assert encoded == []
    assert [index for index, _ in propagator.take_findings()] == [0, 1]


def test_a_mask_that_is_too_small_for_the_model_says_so(propagator: Sam2Propagator) -> None:
    large = np.repeat(np.repeat(seen(0), 5, axis=0), 5, axis=1)
    speck = np.zeros(large.shape[:2], np.bool_)
    speck[301, 517] = True
    assert not masks_of(propagator, [large, large], [MaskPrompt(speck)]).any()
    ((_, finding),) = propagator.take_findings()
    assert finding.found == "a mask that has no pixel left at the model's 256 x 256"


def test_an_empty_example_is_told_by_its_object(propagator: Sam2Propagator, frames: list[Image]) -> None:
    nothing = np.zeros(SIZE, np.bool_)
    shown = [[(frames[9], SQUARE)], [(frames[9], nothing)], [(frames[9], nothing), (frames[8], SQUARE)]]
    masks = np.stack([np.stack(masks) for masks in propagator.propagate_from(frames[:2], shown)])
    assert not masks[:, 1].any()
    assert [(index, finding.code) for index, finding in propagator.take_findings()] == [(1, "empty-prompt")]
    rest = np.stack([masks[0] for masks in propagator.propagate_from(frames[:2], [[(frames[8], SQUARE)]])])
    assert np.array_equal(masks[:, 2], rest)  # the other example speaks for it


def point(x: float, y: float, label: int = 1) -> PointPrompt:
    return PointPrompt(np.array([[x, y]]), np.array([label]))


WRONG: dict[str, tuple[Prompt, str]] = {
    "point off the image": (point(200.5, 50), r"a point lies off the image: frame 0: found x 200\.5, y 50, expected 0 to 200 and 0 to 120"),
    "negative point": (point(3, -1), r"found x 3, y -1, expected 0 to 200 and 0 to 120"),
    "NaN point": (point(np.nan, 4), "a point lies off the image: frame 0: found x nan, y 4"),
    "unknown label": (point(3, 4, 2), r"a point's label is wrong: frame 0: found 2, expected 1 \(object\) or 0 \(background\)"),
    "no points": (PointPrompt(np.zeros((0, 2)), np.zeros(0, np.int64)), "found 0 x 2 points, 0 labels, expected N x 2 points and N labels"),
    "points in a row": (PointPrompt(np.zeros(4), np.ones(2, np.int64)), "points that cannot be read: frame 0: found 4 points, 2 labels"),
    "too few labels": (PointPrompt(np.ones((2, 2)), np.ones(1, np.int64)), "found 2 x 2 points, 1 labels"),
    "box without area": (BoxPrompt(np.array([9, 9, 9, 20])), r"a box without area: frame 0: found \[9\.0, 9\.0, 9\.0, 20\.0\]"),
    "box inside out": (BoxPrompt(np.array([30, 9, 9, 20])), "expected left < right and top < bottom"),
    "box off the image": (BoxPrompt(np.array([9, 9, 30, 121])), "a corner of the box lies off the image: frame 0: found x 30, y 121"),
    "NaN box": (BoxPrompt(np.array([9, np.nan, 30, 40])), "a corner of the box lies off the image: frame 0: found x 9, y nan"),
    "box of three": (
        BoxPrompt(np.array([9, 9, 30])),
        r"a box that cannot be read: frame 0: found 3, expected \(left, top, right, bottom\)",
    ),
    "wrong click in a box": (BoxPrompt(BOX, point(3, 4, -1)), "a point's label is wrong: frame 0: found -1"),
    "mask of another size": (MaskPrompt(SQUARE.T), "found 200 x 120 bool, expected 120 x 200 bool"),
    "mask that is not bool": (MaskPrompt(SQUARE.astype(np.uint8)), "found 120 x 200 uint8, expected 120 x 200 bool"),  # type: ignore[arg-type]
    "tokens of another width": (TokenPrompt(np.zeros((3, 256), np.float32)), "found 3 x 256, expected N x 128"),
    "no tokens": (TokenPrompt(np.zeros((0, 128), np.float32)), "found 0 x 128, expected N x 128"),
    "NaN tokens": (TokenPrompt(np.full((3, 128), np.nan, np.float32)), "tokens that are not numbers: frame 0: found NaN or infinity"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_prompt_that_does_not_fit_its_frame_is_refused(fault: str, propagator: Sam2Propagator, frames: list[Image]) -> None:
    prompt, words = WRONG[fault]
    with pytest.raises(PluginError, match=words) as caught:
        next(propagator.propagate(frames[:2], [BoxPrompt(BOX), prompt]))
    assert caught.value.fix == "mend the method"


def test_numbers_are_no_mask_though_they_follow_an_equal_one(propagator: Sam2Propagator, frames: list[Image]) -> None:
    numbers = MaskPrompt(SQUARE.astype(np.uint8))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="found 120 x 200 uint8"):
        next(propagator.propagate(frames[:2], [MaskPrompt(SQUARE), numbers]))


def test_an_example_is_checked_against_its_own_picture(propagator: Sam2Propagator, frames: list[Image]) -> None:
    with pytest.raises(PluginError, match="found 120 x 200 bool, expected 60 x 100 bool"):
        next(propagator.propagate_from(frames[:2], [[(frames[5][::2, ::2], SQUARE)]]))


def test_memory_that_does_not_suffice_is_told_with_what_to_do(nano: SAM2Base, frames: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Sam2Propagator(nano)
    stream = ours.propagate(frames[:5], FIVE)
    next(stream)

    def exhausted(**_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(nano, "track_step", exhausted)
    with pytest.raises(UserInputError) as caught:
        next(stream)
    assert caught.value.what == "out of GPU memory"
    assert caught.value.found == "up to 16 objects at once"
    assert "lower --objects-at-once" in caught.value.fix


def test_findings_and_masks_have_plain_types(propagator: Sam2Propagator, frames: list[Image]) -> None:
    (answer,) = propagator.propagate(frames[:1], [MaskPrompt(np.zeros(SIZE, np.bool_))])
    assert type(answer) is tuple and type(answer[0]) is np.ndarray
    assert all(type(index) is int and type(finding) is Finding for index, finding in propagator.take_findings())
