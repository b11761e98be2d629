"""`icvos fewshot` from pictures to board, and what it refuses."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import FOLD0, SIZE, make_coco, make_voc

from icvos.categories import CATEGORIES
from icvos.errors import DataError, UserInputError
from icvos.fewshot.board import image_board, load_board
from icvos.fewshot.freeze import Setting, draft_images, draw, frozen_images, protocol_id
from icvos.fewshot.pools import open_pool
from icvos.fewshot.protocols import PROTOCOLS
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.results import ImageResult
from icvos.render.images import render_images

Icvos = Callable[..., Any]

METHOD = '''
import numpy as np
from icvos.types import MethodCard


class Trained:
    """The left half; its training showed airplanes."""

    card = MethodCard("trained", training_classes=("airplane", "dog"))

    def segment(self, frames, supports):
        for frame in frames:
            mask = np.zeros(frame.shape[:2], bool)
            mask[:, : mask.shape[1] // 2] = True
            yield mask


class Counting:
    """As many columns as there are supports, times ten."""

    card = MethodCard("<b>counting</b>".replace("<b>", "").replace("</b>", ""))

    def segment(self, frames, supports):
        assert len({one.image_id for one in supports}) == len(supports)
        for frame in frames:
            mask = np.zeros(frame.shape[:2], bool)
            mask[:, : 10 * len(supports)] = True
            yield mask
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "method.py").write_text(METHOD)


def fewshot(icvos: Icvos, *words: object, method: str = "full-frame", episodes: int = 12) -> Any:
    given = ("--benchmark", "pascal5i", "--fold", 0, "--method", method, "--pascal", "VOC2012", "--episodes", episodes)
    return icvos("fewshot", *given, *words)


def result_at(release: str, method: str) -> ImageResult:
    return ImageResult.load(next(Path("runs", release, method, "results").glob("*@1.json")))


def test_the_whole_way_gives_what_a_hand_counts(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    said = fewshot(icvos, "--json")
    assert said.code == 0, said
    (done,) = json.loads(said.out)
    release = ImageRelease.open(Path("fewshot/pascal5i-1shot-val-area-e12@1-fold0-seed0"))
    inside, void = 50 * 50, 2 * 50  # every box and its border lie wholly inside
    assert done["result"]["mIoU"] == pytest.approx(inside / (SIZE[0] * SIZE[1] - void), abs=1e-12)
    asked = {episode.tube.category.name for episode in release.episodes}
    assert set(done["result"]["classes"]) == asked <= set(FOLD0)
    assert sum(one["episodes"] for one in done["result"]["classes"].values()) == 12
    assert done["result"]["FB_IoU"] == pytest.approx(done["result"]["mIoU"] / 2)
    assert ImageResult.load(Path(done["path"])).signature in said.out
    assert len(Path(done["path"]).with_name("pascal5i-1shot-val-area-e12@1.episodes.csv").read_text().splitlines()) == 13


def test_what_is_done_is_kept_and_shards_give_the_same(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    said = fewshot(icvos, "--limit", 5)
    assert said.code == 0 and "5 episodes predicted" in said.out and "scored when all 12 are there" in said.out
    assert not list(Path("runs").rglob("*@1.json"))
    assert json.loads(fewshot(icvos, "--json").out)[0]["kept"] >= 5
    assert json.loads(fewshot(icvos, "--json").out)[0]["episodes"] == 0
    whole = next(Path("runs").rglob("*@1.json")).read_bytes()
    for part in ("2/3", "1/3", "3/3"):
        assert fewshot(icvos, "--out", "parts", "--shard", part).code == 0
    assert next(Path("parts").rglob("*@1.json")).read_bytes() == whole
    assert fewshot(icvos, "--out", "two", "--workers", 2).code == 0
    assert next(Path("two").rglob("*@1.json")).read_bytes() == whole


def test_a_dry_run_writes_nothing(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    before = {path for path in Path().rglob("*") if "cache" not in path.parts}
    said = fewshot(icvos, "--dry-run")
    assert said.code == 0 and "12 episodes of 5 classes, over " in said.out
    assert {path for path in Path().rglob("*") if "cache" not in path.parts} == before
    (plan,) = json.loads(fewshot(icvos, "--dry-run", "--json").out)
    assert plan["protocol"] == "pascal5i-1shot-val-area-e12@1" and plan["download_bytes"] == 0


def test_five_shots_are_five_other_pictures(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"), each=6)
    assert fewshot(icvos, "--shots", 5, method="method.py:Counting").code == 0
    release = ImageRelease.open(Path("fewshot/pascal5i-5shot-val-area-e12@1-fold0-seed0"))
    assert all(len({record.query, *record.supports}) == 6 for record in release.records)
    assert result_at("pascal5i-5shot-val-area-e12@1-fold0-seed0", "counting").shots == 5


def test_episodes_are_drawn_alone() -> None:
    """More of them, or more shots, change none; another seed changes all that there is to change."""
    members = {category: [f"{category.slug}-{n}" for n in range(9)] for category in CATEGORIES[:5]}
    one, five = Setting("coco20i", 0, shots=1), Setting("coco20i", 0, shots=5)
    for number in range(50):
        short, long = draw(one, members, number), draw(five, members, number)
        assert (short.query, short.class_id, short.supports) == (long.query, long.class_id, long.supports[:1])
    drawn = [[draw(Setting("coco20i", 0, seed=seed), members, number) for number in range(400)] for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    assert all(60 <= sum(record.class_id == category.id for record in drawn[0]) <= 100 for category in members)


def test_frozen_again_is_the_same_to_the_byte() -> None:
    make_voc(Path("VOC2012"))
    setting = Setting("pascal5i", 0, episodes=8)
    first, second = (frozen_images(setting, Path("VOC2012"), Path(folder)) for folder in ("a", "b"))
    assert first.digest == second.digest
    assert frozen_images(setting, Path("VOC2012"), Path("a")).digest == first.digest
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(first.root / first.pictures[first.records[0].query].file)
    with pytest.raises(UserInputError, match="another release"):
        frozen_images(setting, Path("VOC2012"), Path("a"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_named_beside_its_numbers(name: str) -> None:
    make_voc(Path("VOC2012"))
    pool = open_pool("pascal5i", Path("VOC2012"))
    for episodes, tail in ((None, "@1"), (3, "-e3@1")):
        draft = draft_images(Setting("pascal5i", 0, protocol=name, episodes=episodes), pool, Path("fewshot"))
        middle = "" if name == "native" else f"-{name}"
        assert protocol_id(draft.manifest) == f"pascal5i-1shot{middle}-val-area{tail}"
        assert len(draft.records) == (episodes or PROTOCOLS[name].episodes["pascal5i"])


def test_the_domain_shift_asks_for_the_classes_of_its_table(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"), ("bottle", "cow", "cat", "motorcycle"))
    said = icvos(
        "fewshot", "--benchmark", "coco2pascal", "--fold", 3, "--method", "empty", "--pascal", "VOC2012", "--episodes", 9, "--json"
    )
    assert set(json.loads(said.out)[0]["result"]["classes"]) <= {"bottle", "cow", "cat", "motorcycle"}


# boards


def test_folds_and_seeds_stand_on_one_row(icvos: Icvos) -> None:
    from icvos.training.class_pictures import VOC_NAMES

    make_voc(Path("VOC2012"), VOC_NAMES, each=2)
    words = ("--benchmark", "pascal5i", "--method", "full-frame,method.py:Counting", "--pascal", "VOC2012", "--episodes", 6)
    assert icvos("fewshot", *words).code == 2  # a file's method runs alone
    for method in ("full-frame,centre-box", "method.py:Counting"):
        assert icvos("fewshot", *words[:3], method, *words[4:], "--seeds", 2).code == 0
    board = load_board([Path("runs")])
    assert [(row.label, row.rank, len(row.folds), row.seeds) for row in board.rows] == [
        ("counting", 1, 4, (0, 1)),
        *((row.label, None, 4, (0, 1)) for row in board.rows[1:]),
    ]
    row = board.rows[0]
    results = [ImageResult.load(path) for path in Path("runs").rglob("counting/results/*@1.json")]
    assert row.mean == pytest.approx(np.mean([one.mIoU for one in results]))
    assert row.interval and row.interval[0] <= row.mean <= row.interval[1]
    assert row.seed_spread == pytest.approx(np.std([np.mean([r.mIoU for r in results if r.seed == s]) for s in (0, 1)], ddof=1))
    with pytest.raises(UserInputError, match="one method twice"):
        image_board([*results, results[0]])
    for form in ("markdown", "html", "json", "csv", "latex"):
        said = icvos("leaderboard", "runs", "--format", form)
        assert said.code == 0 and "counting" in said.out and "pascal5i-1shot-val-area-e6" in said.out
    assert icvos("leaderboard", "runs", "--by", "J").code == 2


def test_clips_and_images_never_share_a_board(icvos: Icvos, toy_release: Path, toy_data: Path) -> None:
    make_voc(Path("VOC2012"))
    assert fewshot(icvos).code == 0
    assert icvos("run", "--method", "empty", "--benchmark", toy_release).code == 0
    assert icvos("score", "runs/empty", "--benchmark", toy_release).code == 0
    clips = icvos("leaderboard", "runs", "--no-reported")
    assert "native@1" in clips.out and "pascal5i" not in clips.out and "results on images left out: 1" in clips.err
    images = icvos("leaderboard", "runs", "--protocol", "pascal5i-1shot-val-area-e12@1")
    assert "full-frame" in images.out and "native@1" not in images.out
    assert icvos("leaderboard", "runs", "--protocol", "pascal5i-1shot@1").code == 2
    said = icvos("run", "--method", "empty", "--benchmark", "fewshot/pascal5i-1shot-val-area-e12@1-fold0-seed0")
    assert said.code == 3 and "images are run by `icvos fewshot`" in said.err
    assert icvos("run", "--method", "full-frame", "--benchmark", toy_release).code == 0
    assert icvos("score", "runs/full-frame", "--benchmark", toy_release).code == 0
    said = icvos("compare", "runs")
    assert said.code == 2 and "images and clips cannot be compared" in said.err and "--protocol NAME" in said.err
    assert icvos("compare", "runs", "--protocol", "native@1").code == 0


def test_names_from_elsewhere_are_text(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    fewshot(icvos)
    path = next(Path("runs").rglob("*@1.json"))
    result = ImageResult.load(path)
    bad = result.model_copy(update={"method": {"name": "<script>|x & $y", "kind": "method"}, "notes": ("a|b <i>",)})
    bad = bad.model_copy(update={"signature": bad.own_signature})
    path.write_text(bad.model_dump_json())
    board = image_board([ImageResult.load(path)])
    assert "<script>" not in render_images(board, "html") and "<i>" not in render_images(board, "html")
    assert "&lt;script&gt;\\|x" in render_images(board, "markdown")
    assert r"\textless{}script\textgreater{}\textbar{}x \& \$y" in render_images(board, "latex")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mIoU": 2}, "mIoU"),
        ({"mIoU": float("nan")}, "mIoU"),
        ({"signature": "x"}, "signature"),
        ({"method": {"name": 3}}, "card"),
        ({"more": 1}, "more"),
        ({"fold": 7}, "fold"),
    ],
)
def test_a_result_that_was_changed_is_refused(change: dict[str, object], said: str, icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    fewshot(icvos)
    path = next(Path("runs").rglob("*@1.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=said):
        ImageResult.load(path)


# bad input


def test_a_class_with_too_few_pictures(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"), FOLD0[:4], each=3)
    said = fewshot(icvos)
    assert said.code == 3 and "classes with too few pictures" in said.err and "bottle: found 0, expected 2 pictures" in said.err
    said = fewshot(icvos, "--allow-missing")
    assert said.code == 0 and "bottle" in said.err
    assert (
        result_at("pascal5i-1shot-val-area-partial-e12@1-fold0-seed0", "full-frame").notes[0]
        == "1 class with too few pictures left out: bottle"
    )
    assert fewshot(icvos, "--allow-missing", "--shots", 3).code == 3


def test_a_mask_of_another_size_than_its_picture(icvos: Icvos) -> None:
    root = make_voc(Path("VOC2012"))
    for path in sorted((root / "JPEGImages").glob("*.jpg")):
        Image.open(path).resize((40, 32)).save(path)
    said = fewshot(icvos)
    assert said.code == 3 and "found 32 x 40, expected 64 x 80, as its mask" in said.err and not Path("fewshot").exists()


def test_a_mask_with_values_that_are_no_class(icvos: Icvos) -> None:
    root = make_voc(Path("VOC2012"))
    path = next((root / "SegmentationClassAug").iterdir())
    Image.fromarray(np.full(SIZE, 77, np.uint8)).save(path)
    said = fewshot(icvos)
    assert said.code == 3 and "values that are no class of VOC" in said.err


def test_names_of_2014_in_a_tree_of_2017(icvos: Icvos) -> None:
    names = {0: "person", 4: "airplane"}
    boxes = {n: [("person" if n % 2 else "airplane", n, 0, 60, 60)] for n in range(1, 9)}
    make_coco(Path("COCO"), boxes)
    Path("splits/coco/val").mkdir(parents=True)
    for fold in range(4):
        listed = {place: [] for place in range(80)}
        if not fold:
            listed |= {
                place: [f"val2014/COCO_val2014_{n:012d}.jpg" for n in boxes if boxes[n][0][0] == name] for place, name in names.items()
            }
            listed[0].append("val2014/COCO_val2014_000000000099.jpg")
        Path(f"splits/coco/val/fold{fold}.pkl").write_bytes(pickle.dumps(listed))
    words = (
        "fewshot",
        "--benchmark",
        "coco20i",
        "--fold",
        0,
        "--method",
        "full-frame",
        "--data",
        ".",
        "--lists",
        "splits",
        "--episodes",
        6,
    )
    said = icvos(*words)
    assert said.code == 3 and "COCO_val2014_000000000099: found no file" in said.err and "found 1, " in said.err
    said = icvos(*words, "--allow-missing")
    assert said.code == 0 and "the tree is of 2017" in said.err and "1 listed picture absent" in said.err
    release = ImageRelease.open(Path("fewshot/coco20i-1shot-partial-e6@1-fold0-seed0"))
    assert all(picture.file == f"val2017/{picture.name[-12:]}.jpg" for picture in release.pictures.values())


def test_a_method_that_was_trained_on_the_fold(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    said = fewshot(icvos, method="method.py:Trained")
    assert said.code == 2 and "trained: found airplane, expected no class of fold 0" in said.err and not Path("runs").exists()
    said = fewshot(icvos, "--force", method="method.py:Trained")
    assert said.code == 0
    notes = result_at("pascal5i-1shot-val-area-e12@1-fold0-seed0", "trained").notes
    assert notes[-1] == "contaminated: trained on 1 of 5 classes asked for (airplane)"
    assert "| trained (contaminated) |" in icvos("leaderboard", "runs").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--fold", 4), 2, "no such fold"),
        (("--fold", "a"), 2, "no such fold"),
        (("--protocol", "hsnett"), 2, "did you mean hsnet"),
        (("--benchmark", "pascal"), 2, "did you mean pascal5i"),
        (("--method", "oracle-first-frame"), 2, "a ceiling has nothing to show"),
        (("--method", "support-shap"), 2, "did you mean support-shape"),
        (("--split", "val2014"), 2, "a split is chosen of COCO"),
        (("--lists", "nowhere"), 2, "no such file"),
        (("--pascal", "nowhere"), 2, "no such folder"),
        (("--pascal", "."), 3, "no VOC masks"),
        (("--benchmark", "coco20i"), 2, "nobody said where the data is"),
        (("--benchmark", "coco20i", "--coco", "VOC2012"), 3, "no COCO annotations"),
        (("--shard", "3/2"), 2, "1 <= i <= n"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[object, ...], code: int, said: str, icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    found = fewshot(icvos, *words)
    assert found.code == code and said in found.err, found


def test_a_changed_release_and_a_broken_prediction_are_told(icvos: Icvos) -> None:
    make_voc(Path("VOC2012"))
    assert fewshot(icvos).code == 0
    zips = sorted(Path("runs").rglob("*.zip"))
    zips[0].write_bytes(zips[-1].read_bytes())
    next(Path("runs").rglob("*@1.json")).unlink()
    said = fewshot(icvos)
    assert said.code == 4 and f"extra-mask: {zips[0]}: {zips[-1].parent.name}.png" in said.err and "run the same command again" in said.err
    release = Path("fewshot/pascal5i-1shot-val-area-e12@1-fold0-seed0")
    lines = (release / "episodes.jsonl").read_text().splitlines()
    (release / "episodes.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match="missing or too many"):
        ImageRelease.open(release)
    (release / "episodes.jsonl").write_text("\n".join([*lines[:-1], "{}"]))
    with pytest.raises(DataError, match="line 12, query"):
        ImageRelease.open(release)
