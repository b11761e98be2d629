"""Masks handed in for a release of images: what is checked, told and scored is what it is for clips."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Said
from trees import SIZE, make_voc

from icvos.errors import UserInputError
from icvos.fewshot.freeze import Setting, frozen_images
from icvos.fewshot.protocols import PROTOCOLS
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.results import ImageResult
from icvos.fewshot.scoring import count_pixels
from icvos.protocol import protocol_named
from icvos.submission import check

Icvos = Callable[..., Said]
EPISODES = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ImageRelease:
    """A release of images; tests must not change it."""
    root = tmp_path_factory.mktemp("images")
    return frozen_images(Setting("pascal5i", 0, episodes=EPISODES), make_voc(root / "VOC2012"), root / "fewshot")


@pytest.fixture
def masks(made: ImageRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of masks without a fault, each the left half of its picture, to plant some into; the current folder is the one around it."""
    monkeypatch.chdir(tmp_path)
    for episode_id, record in zip(made.episode_ids, made.records, strict=True):
        write(tmp_path / "masks" / episode_id / f"{record.query}.png", half())
    return tmp_path / "masks"


def half(size: tuple[int, int] = SIZE, value: int = 1) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 2] = value
    return mask


def write(path: Path, values: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def mask_of(masks: Path, release: ImageRelease, number: int) -> Path:
    return masks / release.episode_ids[number] / f"{release.records[number].query}.png"


@pytest.fixture
def found(icvos: Icvos, made: ImageRelease) -> Callable[..., list[tuple[str, str]]]:
    """What `icvos submit check` lists, and `icvos submit score` with it: codes and paths."""

    def call(path: Path, *words: object) -> list[tuple[str, str]]:
        said = icvos("submit", "check", path, "--benchmark", made.path, "--json", *words)
        listed = json.loads(said.out)["findings"]
        assert said.code == (4 if listed else 0) and "Traceback" not in said.err
        if listed:
            for command in (("submit", "score"), ("score",)):
                again = icvos(*command, path, "--benchmark", made.path, "--json", "--out", "out", *words)
                assert again.code == 4 and json.loads(again.out)["findings"] == listed and not Path("out").exists()
        return [(one["code"], one["where"]) for one in listed]

    return call


def in_words(release: ImageRelease, number: int) -> str:
    return f"{release.episode_ids[number]}: {release.records[number].query}.png"


Plant = Callable[[Path, ImageRelease], Any]
FAULTS: dict[str, tuple[Plant, str, str]] = {
    "a missing mask": (lambda m, r: mask_of(m, r, 3).unlink(), "missing-episode", "{3}"),
    "a missing episode": (lambda m, r: shutil.rmtree(m / r.episode_ids[3]), "missing-episode", "{3} (.zip or folder)"),
    "an episode too many": (lambda m, r: write(m / "pascal/2007_000000/airplane#e12/2007_000000.png", half()), "extra-episode", "#e12"),
    "a class that is not asked": (lambda m, r: write(m / "pascal/2007_000000/dog#e0/2007_000000.png", half()), "extra-episode", "dog#e0"),
    "a picture that is not asked": (lambda m, r: write(m / "pascal/other/dog#e0/other.png", half()), "extra-episode", "other/dog#e0"),
    "the draw of a clip": (lambda m, r: (m / r.episode_ids[3]).rename((m / r.episode_ids[3]).with_name("x#s3")), "", ""),
    "another picture's mask": (lambda m, r: write(m / r.episode_ids[3] / "2007_999999.png", half()), "extra-mask", "/2007_999999.png"),
    "another size": (lambda m, r: write(mask_of(m, r, 3), half((32, 40))), "size", "{3 mask}"),
    "the size of another protocol": (lambda m, r: write(mask_of(m, r, 3), half((400, 400))), "size", "{3 mask}"),
    "the values of VOC": (lambda m, r: write(mask_of(m, r, 3), half(value=15)), "values", "{3 mask}"),
    "void": (lambda m, r: write(mask_of(m, r, 3), half() * 254 + half(value=1)), "", ""),
    "colours": (lambda m, r: write(mask_of(m, r, 3), np.zeros((*SIZE, 3), np.uint8)), "unreadable", "{3 mask}"),
    "half a file": (lambda m, r: mask_of(m, r, 3).write_bytes(mask_of(m, r, 3).read_bytes()[:50]), "unreadable", "{3 mask}"),
    "a link": (lambda m, r: (mask_of(m, r, 3).unlink(), mask_of(m, r, 3).symlink_to(mask_of(m, r, 4))), "link", ".png"),
    "a stranger": (lambda m, r: (m / "pascal/notes.txt").write_text("mine"), "extra-file", "pascal/notes.txt"),
    "another source": (lambda m, r: (m / "pascal").rename(m / "coco"), "layout", "masks"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_once(found: Callable[..., list[tuple[str, str]]], made: ImageRelease, masks: Path, fault: str) -> None:
    plant, code, where = FAULTS[fault]
    plant(masks, made)
    listed = found(masks)
    if fault == "the draw of a clip":
        assert sorted(code for code, _ in listed) == ["extra-episode", "missing-episode"]
    elif fault == "void":  # 255 is the class where nothing else is
        assert listed == []
    else:
        end = where.replace("{3}", made.episode_ids[3]).replace("{3 mask}", in_words(made, 3))
        assert [one for one, _ in listed] == [code] and listed[0][1].endswith(end), listed


def test_whole_submissions_pass_without_pictures_or_truth(
    found: Callable[..., list[tuple[str, str]]], made: ImageRelease, masks: Path, tmp_path: Path
) -> None:
    assert found(masks) == []
    shutil.make_archive("packed", "zip", masks.parent, masks.name)
    assert found(Path("packed.zip")) == []
    alone = Path(shutil.copytree(made.path, tmp_path / "alone"))
    (alone / "roots.json").unlink()
    release = ImageRelease.open(alone)
    assert check(masks, release) == []
    with pytest.raises(UserInputError, match=r"where is pascal.*--pascal"):
        release.episodes  # noqa: B018  # asking is the test
    mask_of(masks, made, 3).unlink()
    one, two = (check(masks, release, workers=workers) for workers in (1, 2))
    assert one == two and len(one) == 1


def test_what_a_user_lets_pass_is_counted_and_told(icvos: Icvos, made: ImageRelease, masks: Path) -> None:
    words = ("submit", "score", masks, "--benchmark", made.path, "--method-name", "mine", "--json")
    whole = json.loads(icvos(*words).out)
    shutil.rmtree(masks / made.episode_ids[3])
    write(mask_of(masks, made, 4), half((32, 40)))
    assert icvos(*words).code == icvos(*words, "--resize").code == icvos(*words, "--allow-missing").code == 4
    said = json.loads(icvos(*words, "--resize", "--allow-missing").out)
    result = ImageResult.load(Path(said["path"]))
    assert result.notes[-2:] == ("masks of other sizes resampled", "1 of 12 masks missing, counted as empty")
    rows = Path(said["path"]).with_name(f"{result.protocol}.episodes.csv").read_text().splitlines()
    truth, void = made.truth(made.records[3])
    empty = count_pixels(np.zeros(SIZE, np.bool_), truth, void, made.protocol)
    assert rows[4].split(",")[2:] == [str(number) for number in empty] and empty.intersection == 0 < empty.union
    assert said["mIoU"] < whole["mIoU"]
    shutil.rmtree(masks / "pascal")
    (masks / "pascal").mkdir()
    none = icvos(*words, "--allow-missing")
    assert none.code == 4 and "no predictions" in none.err


def test_masks_may_come_at_the_size_at_which_they_are_scored(icvos: Icvos, made: ImageRelease, tmp_path: Path) -> None:
    release = frozen_images(Setting("pascal5i", 0, episodes=4, protocol="hsnet"), made.root, tmp_path)
    results = []
    for folder, size in (("own", SIZE), ("squashed", (400, 400))):
        for number in range(4):
            write(mask_of(tmp_path / folder, release, number), half(size))
        said = icvos("submit", "score", tmp_path / folder, "--benchmark", release.path, "--out", tmp_path / f"{folder}-out", "--json")
        assert said.code == 0, said
        results.append(json.loads(said.out)["mIoU"])
    assert results[0] == results[1] and PROTOCOLS["hsnet"].resize == (400, 400)


# packing and scoring


@pytest.fixture(scope="module")
def run(made: ImageRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a floor that is scored; tests must not change it."""
    from icvos.fewshot.evaluate import evaluate
    from icvos.registry import load_method

    (done,) = evaluate(made, [load_method("support-shape")], tmp_path_factory.mktemp("runs"))
    return done.report.store


def scored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pack_scores_as_its_run_does_to_the_byte(
    icvos: Icvos, run: Path, made: ImageRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = icvos("submit", "pack", run, "--json")  # the release that the run remembers
    zipped = f"{made.path.name}-support-shape.zip"
    assert said.code == 0 and (json.loads(said.out)["path"], json.loads(said.out)["masks"]) == (zipped, EPISODES)
    assert icvos("submit", "pack", run, "--out", "again.zip").code == 0
    assert icvos("submit", "pack", zipped, "--benchmark", made.path, "--out", "of-pack.zip").code == 0
    assert Path("again.zip").read_bytes() == Path(zipped).read_bytes() == Path("of-pack.zip").read_bytes()
    with zipfile.ZipFile(zipped) as archive:
        assert str(tmp_path.parent).encode() not in archive.read("run.json")
    assert icvos("submit", "check", zipped, "--benchmark", made.path).code == 0
    words = {"pack": ("submit", "score", zipped), "plain": ("score", zipped), "run": ("score", run), "two": ("score", run, "--workers", 2)}
    for out, command in words.items():
        said = icvos(*command, "--benchmark", made.path, "--out", out)
        assert said.code == 0 and said.out.startswith("mIoU "), said
        assert scored(Path(out)) == scored(run / "results"), out


def test_results_lie_where_runs_do_and_are_ranked(icvos: Icvos, run: Path, made: ImageRelease, masks: Path) -> None:
    Path("card.json").write_text(json.dumps({"name": "mine", "training_classes": ["airplane", "dog"]}))
    said = icvos("submit", "pack", masks, "--benchmark", made.path, "--card", "card.json")
    assert said.code == 0, said
    zipped = f"{made.path.name}-mine.zip"
    said = icvos("submit", "score", zipped, "--benchmark", made.path)
    assert said.code == 0 and "contaminated: trained on 1 of 5 classes asked for (airplane)" in said.err, said
    (path,) = Path(f"{zipped}-results").rglob("*@1.json")
    assert ImageResult.load(path).notes[-1].startswith("contaminated: trained on 1 of 5")
    said = icvos("leaderboard", path, run / "results")
    assert said.code == 0 and "| mine (contaminated) |" in said.out and "support-shape" in said.out
    said = icvos("submit", "pack", masks, "--benchmark", made.path)
    assert said.code == 2 and "which method made these masks?" in said.err


def test_a_folder_of_runs_is_scored(icvos: Icvos, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "runs/R/support-shape", ignore=shutil.ignore_patterns("results"))
    said = icvos("score", "runs/R", "--json")
    assert said.code == 0 and [one["path"] for one in json.loads(said.out)] == [
        str(Path("runs/R/support-shape/results") / next((run / "results").glob("*@1.json")).name)
    ]
    assert scored(Path("runs/R/support-shape/results")) == scored(run / "results")


# bad input


@pytest.mark.parametrize("command", [("submit", "check"), ("submit", "score"), ("score",)])
def test_images_have_their_own_protocol(icvos: Icvos, made: ImageRelease, masks: Path, command: tuple[str, ...]) -> None:
    said = icvos(*command, masks, "--benchmark", made.path, "--protocol", "native@1")
    assert said.code == 2 and "images are scored as their release says" in said.err and "leave --protocol out" in said.err
    assert icvos(*command, masks, "--benchmark", made.path, "--protocol", "natiev@1").code == 2
    with pytest.raises(UserInputError, match="its own, native"):
        check(masks, made, protocol=protocol_named("paper-512@1"))


def test_a_badge_says_nothing_of_images(icvos: Icvos, run: Path, made: ImageRelease) -> None:
    said = icvos("score", run, "--benchmark", made.path, "--rerun")
    assert said.code == 2 and "leave --rerun out" in said.err


def test_releases_are_not_taken_for_one_another(
    icvos: Icvos, made: ImageRelease, run: Path, masks: Path, toy_release: Path, tmp_path: Path
) -> None:
    """Masks and runs of images on a release of clips, of other episodes, of a release that was changed; and the other way round."""
    said = icvos("submit", "check", masks, "--benchmark", toy_release)
    assert said.code == 4 and "layout" in said.err
    said = icvos("submit", "check", run, "--benchmark", toy_release, "--json")
    assert [one["code"] for one in json.loads(said.out)["findings"]] == ["release", "layout"]
    assert icvos("score", run, "--benchmark", toy_release).code == 2
    other = frozen_images(Setting("pascal5i", 0, seed=1, episodes=EPISODES), made.root, tmp_path / "other")
    said = icvos("submit", "score", run, "--benchmark", other.path, "--json", "--out", "out")
    codes = [one["code"] for one in json.loads(said.out)["findings"]]
    assert said.code == 4 and codes[0] == "release" and {"missing-episode", "extra-episode"} <= set(codes) and not Path("out").exists()
    said = icvos("score", run, "--benchmark", other.path)
    assert said.code == 2 and "the run was made on another release" in said.err
    said = icvos("submit", "check", masks, "--benchmark", tmp_path / "nowhere")
    assert said.code == 2 and "no release here" in said.err
    (other.path / "manifest.json").write_text('{"format": "icvos-images/2"}')
    said = icvos("submit", "check", masks, "--benchmark", other.path)
    assert said.code == 3 and "manifest.json, format" in said.err
    with pytest.raises(Exception, match="not a release of images"):
        ImageRelease.open(toy_release)
