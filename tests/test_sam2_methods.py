"""Methods on SAM 2 and beside it: the oracle, the naive baseline and standing still, from their names to masks on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Said
from numpy.typing import NDArray
from toys import SIZE, box, make_coco, make_davis, two_clips

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sam2", reason="sam2 is not installed")
pytest.importorskip("timm", reason="timm is not installed")

import torch

from icvos.benchmark import Benchmark
from icvos.cli import main
from icvos.errors import PluginError, UserInputError
from icvos.png import decode_png, encode_png
from icvos.propagate.identity import Identity
from icvos.registry import LoadedMethod, load_method
from icvos.runner import RunReport, open_store, run, run_together
from icvos.store import PredictionStore
from icvos.types import BoxPrompt, Compute, Episode, Image, MaskPrompt, SegmentsTogether, Support

UNTRAINED = Compute(sam="sam2_nano", weights="untrained", device="cpu")
ON_SAM2 = ("oracle-first-frame", "naive-sam2")
SEED = 3  # the untrained model that it gives sees objects

Masks = NDArray[np.bool_]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Methods build their model when it is first needed; untrained, it is as torch's generator draws it."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        yield


@pytest.fixture(scope="module")
def benchmark_of_toys(toy_release: Path) -> Benchmark:
    return Benchmark.open(toy_release)


def answered(name: str, benchmark: Benchmark, out: Path, compute: Compute = UNTRAINED) -> tuple[RunReport, PredictionStore]:
    method = load_method(name, compute)
    store = open_store(benchmark, method, out)
    return run(method, benchmark, store), store


def masks_of(store: PredictionStore, episode: Episode) -> Masks:
    prediction = store.find(episode.id)
    assert prediction is not None
    assert prediction.frame_ids == {frame.id for frame in episode.tube.clip.frames}
    try:
        return np.stack([decode_png(prediction.read(frame)).astype(bool) for frame in sorted(prediction.frame_ids)])
    finally:
        prediction.close()


def clip_of(episode: Episode) -> list[Image]:
    return [frame.read_image() for frame in episode.tube.clip.frames]


# ---- a run of each


@pytest.mark.parametrize("name", ON_SAM2)
def test_every_episode_is_answered_on_every_frame(name: str, benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    report, store = answered(name, benchmark_of_toys, tmp_path / "run")
    assert (report.episodes_done, report.masks, report.findings) == (15, 90, ())
    answers = {episode.id: masks_of(store, episode) for episode in benchmark_of_toys.episodes}
    assert all(masks.shape == (6, *SIZE) for masks in answers.values())
    assert any(masks[1:].any() and not masks[1:].all() for masks in answers.values())
    assert "untrained" in store.about["card"]["weights"] and store.about["card"]["precision"] == "fp32"


def test_the_oracle_begins_with_the_truth(benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    """It is handed over at the decoder's resolution, so the box may be a pixel off at its edges."""
    _, store = answered("oracle-first-frame", benchmark_of_toys, tmp_path / "run")
    for episode in benchmark_of_toys.episodes:
        truth = next(episode.tube.masks())
        assert truth is not None
        first = masks_of(store, episode)[0]
        assert (first & truth).sum() > 0.8 * (first | truth).sum()


def test_methods_on_the_same_sam2_encode_a_frame_once(
    benchmark_of_toys: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2.modeling.sam2_base import SAM2Base

    encode, calls = SAM2Base.forward_image, Counter[str]()
    running = ""

    def counted(model: SAM2Base, image: torch.Tensor) -> Any:
        calls[running] += len(image)
        return encode(model, image)

    monkeypatch.setattr(SAM2Base, "forward_image", counted)
    names = ("vrp_sam", "vrp_sam-mask")
    alone = {}
    methods = [load_method(name, Compute(device="cpu")) for name in names]
    for running, method in zip(names, methods, strict=True):
        alone[running] = open_store(benchmark_of_toys, method, tmp_path / running)
        run(method, benchmark_of_toys, alone[running], limit=5)
    running = "together"
    runs = [(method, open_store(benchmark_of_toys, method, tmp_path / "together" / method.card.name)) for method in methods]
    run_together(runs, benchmark_of_toys, limit=5)
    asked = benchmark_of_toys.episodes[:5]  # of one clip
    assert calls["together"] == calls["vrp_sam"] + calls["vrp_sam-mask"] - len(asked[0].tube.clip.frames)
    for name, (_, store) in zip(names, runs, strict=True):
        for episode in asked:
            assert np.array_equal(masks_of(store, episode), masks_of(alone[name], episode))


def test_all_embedded_is_one_of_each_that_needs_no_download(icvos: Callable[..., Said], toy_release: Path, tmp_path: Path) -> None:
    said = icvos("run", "--method", "all-embedded", "--benchmark", toy_release, "--out", tmp_path, "--dry-run", "--json")
    assert said.code == 0, said
    plans = json.loads(said.out)
    trained = {"dcsam", "vrp_sam", "pfenet", "hdmnet", "amnet"}
    free = {"persam", "persam-f", "matcher", "naive-sam2"}
    bounds = {"oracle-first-frame", "identity", "empty", "full-frame", "centre-box", "support-shape"}
    assert {Path(plan["run"]).name for plan in plans} == trained | free | bounds
    assert all(plan["download_bytes"] == 0 for plan in plans)


def test_standing_still_repeats_the_truth_of_frame_0(benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    report, store = answered("identity", benchmark_of_toys, tmp_path / "run")
    assert (report.episodes_done, report.masks) == (15, 90)
    for episode in benchmark_of_toys.episodes:
        truth = next(episode.tube.masks())
        assert truth is not None and truth.any()
        assert all(np.array_equal(mask, truth) for mask in masks_of(store, episode))


def test_only_masks_stand_still() -> None:
    with pytest.raises(PluginError, match="only masks stand still: BoxPrompt: expected MaskPrompt"):
        Identity().propagate([], [MaskPrompt(np.ones(SIZE, np.bool_)), BoxPrompt(np.array([0, 0, 9, 9]))])


def test_the_same_generator_gives_the_same_masks(benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    chosen, answers = benchmark_of_toys.episodes[:2], []
    for number in range(2):
        torch.manual_seed(SEED)
        method = load_method("naive-sam2", UNTRAINED)
        store = open_store(benchmark_of_toys, method, tmp_path / str(number))
        assert run(method, benchmark_of_toys, store, limit=2).masks == 12
        answers.append([masks_of(store, episode) for episode in chosen])
    assert all(np.array_equal(first, second) for first, second in zip(*answers, strict=True))


# ---- several episodes at once


def differing(found: Sequence[Masks], expected: Sequence[Masks]) -> int:
    """The most pixels in which two masks of a frame differ."""
    return max(int((one != other).sum()) for one, other in zip(found, expected, strict=True))


def test_the_naive_baseline_answers_episodes_together_as_each_alone(benchmark_of_toys: Benchmark) -> None:
    segmenter = load_method("naive-sam2", UNTRAINED).segmenter
    assert isinstance(segmenter, SegmentsTogether)
    episodes = [episode for episode in benchmark_of_toys.episodes if episode.tube.clip.name == "tom"]
    chosen = [episodes[0], episodes[-1], episodes[1]]
    frames = clip_of(chosen[0])
    together = list(segmenter.segment_together(frames, [episode.supports for episode in chosen]))
    assert [len(masks) for masks in together] == [3] * 6
    assert any(mask.any() and not mask.all() for masks in together for mask in masks)
    for number, episode in enumerate(chosen):
        alone = list(segmenter.segment(frames, episode.supports))
        assert differing([masks[number] for masks in together], alone) <= 3, episode.id


def test_the_naive_baseline_takes_several_supports(benchmark_of_toys: Benchmark) -> None:
    segmenter = load_method("naive-sam2", UNTRAINED).segmenter
    dog = [episode for episode in benchmark_of_toys.episodes if episode.tube.category.name == "dog"]
    supports: list[Support] = [dog[0].supports[0], dog[1].supports[0]]
    assert supports[0] != supports[1]
    masks = list(segmenter.segment(clip_of(dog[0]), supports))
    assert [mask.shape for mask in masks] == [SIZE] * 6


def test_the_oracle_follows_objects_together_as_each_alone(benchmark_of_toys: Benchmark) -> None:
    oracle = load_method("oracle-first-frame", UNTRAINED).segmenter
    episodes = [episode for episode in benchmark_of_toys.episodes if episode.id.endswith("#s0") and episode.tube.clip.name == "tom"]
    truths = [next(episode.tube.masks()) for episode in episodes]
    frames = clip_of(episodes[0])
    together = list(oracle.segment_from_truth(frames, truths))  # type: ignore[attr-defined]
    for number, truth in enumerate(truths):
        alone = [masks[0] for masks in oracle.segment_from_truth(frames, [truth])]  # type: ignore[attr-defined]
        assert differing([masks[number] for masks in together], alone) <= 3


# ---- what is noticed


@pytest.fixture(scope="module")
def speck_release(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A large clip in which the cat begins as a single pixel, too small for a model of 256; the dog in it is well to be seen."""
    size, folder = (400, 640), tmp_path_factory.mktemp("speck")
    dog = [box(100, 100 + 9 * number, 120, 160, 1, size) for number in range(3)]
    cat = [box(333, 517, 1, 1, 2, size), *(box(300, 480, 60, 80, 2, size) for _ in range(2))]
    words = {1: "dog", 2: "cat"}
    make_davis(folder / "DAVIS", {"speck": (words, [np.maximum(*ids) for ids in zip(dog, cat, strict=True)]), **two_clips()})
    make_coco(folder / "COCO")
    with pytest.raises(SystemExit) as leaving:
        main(["build", "--data", str(folder), "--min-area", "0", "--min-length", "1", "--out", str(folder / "R")])
    assert not leaving.value.code
    return Benchmark.open(folder / "R")


def test_a_first_mask_that_the_model_cannot_see_is_told_by_its_episode(speck_release: Benchmark, tmp_path: Path) -> None:
    told: list[str] = []
    method = load_method("oracle-first-frame", UNTRAINED)
    store = open_store(speck_release, method, tmp_path / "run")
    report = run(method, speck_release, store, on_event=lambda event: told.extend(finding.where for finding in event.findings))
    expected = [episode.id for episode in speck_release.episodes if episode.id.startswith("davis/speck/cat#")]
    assert len(expected) == 5
    assert [finding.where for finding in report.findings] == told == expected
    assert {finding.code for finding in report.findings} == {"empty-prompt"}
    for episode in speck_release.episodes:
        if episode.tube.clip.name == "speck":
            assert masks_of(store, episode)[0].any() == (episode.tube.category.name == "dog")


# ---- cards and keys


@pytest.mark.parametrize("name", [*ON_SAM2, "identity", "persam", "persam-f-mask"])
def test_a_card_costs_no_model(name: str) -> None:
    script = (
        "import sys; from icvos.registry import load_method; card = load_method(sys.argv[1]).card; print(card.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, name], text=True, capture_output=True, check=True, timeout=60)
    assert done.stdout == f"{name} False\n"


def test_cards_say_what_they_are() -> None:
    cards = {name: load_method(name, replace(UNTRAINED, precision="bf16")).card for name in (*ON_SAM2, "identity")}
    assert {name: (card.name, card.kind) for name, card in cards.items()} == {
        "oracle-first-frame": ("oracle-first-frame", "ceiling"),
        "naive-sam2": ("naive-sam2", "method"),
        "identity": ("identity", "ceiling"),
    }
    assert {cards[name].precision for name in ON_SAM2} == {"bf16"}
    assert cards["identity"].precision == cards["identity"].weights == "none"
    trained = load_method("naive-sam2", Compute()).card
    assert trained.weights.startswith("sam2_nano ") and trained.licence == "Apache-2.0" and trained.training_data


def save_weights(path: Path) -> Path:
    from icvos.models import build_sam2

    torch.save(build_sam2("sam2_nano", "untrained", "cpu").state_dict(), path)
    return path


def test_a_run_that_answered_nothing_gives_way(benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    for precision in ("bf16", "fp32"):
        method = load_method("oracle-first-frame", replace(UNTRAINED, precision=precision))
        store = open_store(benchmark_of_toys, method, tmp_path / "run")
        assert store.about["card"]["precision"] == precision


def test_a_run_is_not_continued_with_other_weights_or_another_precision(benchmark_of_toys: Benchmark, tmp_path: Path) -> None:
    first, second = save_weights(tmp_path / "first.pt"), save_weights(tmp_path / "second.pt")
    compute = replace(UNTRAINED, weights=str(first))

    def opened(other: Compute) -> PredictionStore:
        method: LoadedMethod = load_method("oracle-first-frame", other)
        return open_store(benchmark_of_toys, method, tmp_path / "run")

    with opened(compute).writer("davis/tom/cat#s0") as write:
        write("00000", encode_png(np.zeros((24, 40), bool)))
    assert opened(replace(compute, objects_at_once=2, device="auto")).root == tmp_path / "run"  # the same masks, found otherwise
    for other, field in (
        (replace(compute, weights=str(second)), "weights"),
        (UNTRAINED, "weights"),
        (replace(compute, sam="sam2.1_hiera_t"), "weights"),
        (replace(compute, precision="bf16"), "precision"),
    ):
        with pytest.raises(UserInputError, match=f"the folder belongs to another run, `{field}` differs"):
            opened(other)


def test_an_untrained_model_of_another_size_is_another_run() -> None:
    cards = {load_method("naive-sam2", replace(UNTRAINED, sam=sam)).card.weights for sam in ("sam2_nano", "sam2.1_hiera_t")}
    assert cards == {"sam2_nano untrained", "sam2.1_hiera_t untrained"}


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (replace(UNTRAINED, sam="sam2_nani"), "unknown SAM: sam2_nani; did you mean sam2_nano"),
        (replace(UNTRAINED, device="gpu"), "unknown device: gpu; did you mean cpu"),
        (replace(UNTRAINED, precision="fp16"), "unknown precision: fp16; did you mean"),
    ],
)
def test_a_wrong_choice_is_told_before_anything_is_written(
    compute: Compute, words: str, benchmark_of_toys: Benchmark, tmp_path: Path
) -> None:
    with pytest.raises(UserInputError, match=words):
        answered("naive-sam2", benchmark_of_toys, tmp_path / "run", compute)
    assert not list(tmp_path.rglob("*.zip"))


SLIPS = [
    "--sam sam2_nani",
    "--weights untrained --sam sam2_nani",
    "--weights untrained --precision fp16",
    "--weights untrained --device gpu",
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_does_not_stand_in_the_way_of_the_right_command(
    slip: str, icvos: Callable[..., Said], toy_release: Path, tmp_path: Path
) -> None:
    command = ("run", "--method", "oracle-first-frame", "--benchmark", toy_release, "--out", tmp_path, "--limit", 1, "--device", "cpu")
    said = icvos(*command, *slip.split())
    assert said.code == 2 and "did you mean" in said.err
    said = icvos(*command, "--weights", "untrained")
    assert said.code == 0, said.err


def test_weights_that_are_not_there_are_told_when_the_method_is_loaded() -> None:
    with pytest.raises(UserInputError, match=r"no such weights: nowhere/none\.pt"):
        load_method("oracle-first-frame", replace(UNTRAINED, weights="nowhere/none.pt"))


def test_a_group_may_stand_in_a_list_and_nothing_runs_twice(icvos: Callable[..., Said], toy_release: Path, tmp_path: Path) -> None:
    words = ("run", "--benchmark", toy_release, "--out", tmp_path, "--dry-run", "--json", "--method")
    said = icvos(*words, "identity, all-embedded,identity,dcsam-mask,empty")
    names = [Path(plan["run"]).name for plan in json.loads(said.out)]
    assert (names[0], names[-1]) == ("identity", "dcsam-mask") and len(names) == len(set(names)) == 16
    said = icvos(*words, "empty,all-embeded")
    assert said.code == 2 and "did you mean all-embedded?" in said.err
