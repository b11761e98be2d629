"""Building from real DAVIS frames and real COCO annotations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.sources.davis import Davis2017
from icvos.benchmark import Benchmark
from icvos.categories import BY_NAME
from icvos.masks import image_size
from icvos.types import Tube

Icvos = Callable[..., Any]


def build(icvos: Icvos, sample_data: Path, source: str, davis: Path, *words: object) -> dict[str, Any]:
    said = icvos("build", "--sources", source, "--davis", davis, "--coco", sample_data / "coco", "--json", *words)
    assert said.code == 0, said.err
    report: dict[str, Any] = json.loads(said.out)
    return report


def test_davis_2017_gives_the_five_classes_and_leaves_the_goat_out(icvos: Icvos, sample_data: Path, tmp_path: Path) -> None:
    report = build(icvos, sample_data, "davis", sample_data / "davis", "--out", tmp_path / "R")
    assert {(tube["id"], tube["frames"]) for tube in report["tubes"]} == {
        ("davis/blackswan/bird", 50),
        ("davis/car-shadow/car", 40),
        ("davis/cows/cow", 104),
        ("davis/dog/dog", 60),
        ("davis/parkour/person", 100),
    }
    assert report["left_out"] == [
        {"clip": "davis/goat", "label": "goat", "rule": "coco-class", "reason": "'goat' is not one of COCO's 80 classes"}
    ]
    benchmark = Benchmark.open(tmp_path / "R")
    assert len(benchmark.records) == 25
    areas = [int(mask.sum()) for mask in benchmark.tubes["davis/blackswan/bird"].masks() if mask is not None]
    assert len(areas) == 50
    assert all(0.02 < area / (480 * 854) < 0.3 for area in areas)
    for episode in benchmark.episodes[::6]:
        support = episode.supports[0]
        assert support.read_image().shape[:2] == support.read_mask().shape
        assert support.read_mask().sum() >= 1024
    assert icvos("verify", tmp_path / "R").code == 0


def test_davis_2016_leaves_out_the_clips_whose_mask_merges_classes(icvos: Icvos, sample_data: Path) -> None:
    report = build(icvos, sample_data, "davis2016", sample_data / "davis", "--dry-run")
    assert {tube["id"] for tube in report["tubes"]} == {
        "davis2016/blackswan/bird",
        "davis2016/car-shadow/car",
        "davis2016/cows/cow",
        "davis2016/dog/dog",
        "davis2016/parkour/person",
    }
    reasons = {entry["clip"].partition("/")[2]: entry["reason"] for entry in report["left_out"]}
    assert set(reasons) == {"goat", "horsejump-high", "kite-surf", "motocross-jump"}
    for clip in ("horsejump-high", "kite-surf", "motocross-jump"):
        assert reasons[clip] == "the one mask of the clip merges objects of several classes"


def test_the_readings_of_both_years_give_the_same_masks_of_single_objects(sample_data: Path) -> None:
    from curation.sources.davis import Davis2016

    root = sample_data / "davis"
    clips = [next(clip for clip in source.clips() if clip.name == "blackswan") for source in (Davis2017(root), Davis2016(root))]
    assert [clip.encoding for clip in clips] == ["ids", "binary"]
    new, old = (list(Tube(clip, BY_NAME["bird"], (1,)).masks()) for clip in clips)
    assert all(first is not None and np.array_equal(first, second) for first, second in zip(new, old, strict=True))


@pytest.mark.parametrize(("source", "year"), [("davis", "2017"), ("davis2016", "2016")])
def test_the_real_tree_is_whole(icvos: Icvos, sample_data: Path, source: str, year: str) -> None:
    assert (sample_data / "davis/ImageSets" / year).is_dir()
    said = icvos("verify", "--source", source, "--davis", sample_data / "davis")
    assert (said.code, said.out) == (0, f"{source}: no fault\n")


def tree_of_snippets(snippets: Path, root: Path) -> list[str]:
    """A DAVIS tree of the genuine masks, with black frames where the snippet has none."""
    names = sorted(folder.name for folder in (snippets / "Annotations/480p").iterdir())
    for name in names:
        for mask in sorted((snippets / "Annotations/480p" / name).glob("*.png")):
            target = root / "Annotations/480p" / name / mask.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(mask, target)
            height, width = image_size(mask)
            frame = root / "JPEGImages/480p" / name / f"{mask.stem}.jpg"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (width, height)).save(frame)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("\n".join(names))
    return names


def test_genuine_palette_masks_are_read_right_with_255_as_void(icvos: Icvos, sample_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "DAVIS"
    assert set(tree_of_snippets(sample_data / "davis2017_snippets", root)) >= {"bear", "blackswan", "bmx-trees", "tennis"}
    report = build(icvos, sample_data, "davis", root, "--min-length", 1, "--out", tmp_path / "R")
    objects = {tube["id"]: tube["objects"] for tube in report["tubes"]}
    assert objects["davis/bmx-trees/bicycle"] == [1]
    assert objects["davis/bmx-trees/person"] == [2]
    assert objects["davis/bear/bear"] == [1]
    void = 0
    for tube in Benchmark.open(tmp_path / "R").tubes.values():
        for frame, mask in zip(tube.clip.frames, tube.masks(), strict=True):
            assert frame.mask is not None
            with Image.open(frame.mask) as picture:
                assert picture.mode == "P"
                values = np.array(picture)
            void += int(np.count_nonzero(values == 255))
            assert mask is not None
            assert np.array_equal(mask, np.isin(values, tube.instances))
    assert void > 0
    assert Davis2017(root).verify() == []


def test_two_objects_of_a_clip_give_two_tubes(icvos: Icvos, sample_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "DAVIS"
    shutil.copytree(sample_data / "derived/davis2017_multi_object_approx", root)
    for folder in (root / "Annotations/480p").iterdir():
        (root / "JPEGImages/480p").mkdir(parents=True, exist_ok=True)
        (root / "JPEGImages/480p" / folder.name).symlink_to(sample_data / "davis/JPEGImages/480p" / folder.name)
    report = build(icvos, sample_data, "davis", root, "--out", tmp_path / "R")
    assert {tube["id"] for tube in report["tubes"]} == {
        "davis/horsejump-high/horse",
        "davis/horsejump-high/person",
        "davis/motocross-jump/motorcycle",
        "davis/motocross-jump/person",
    }
    assert report["left_out"] == []
    tubes = Benchmark.open(tmp_path / "R").tubes
    first, second = (next(tubes[f"davis/horsejump-high/{name}"].masks()) for name in ("horse", "person"))
    assert first is not None
    assert second is not None
    assert first.any()
    assert second.any()
    assert not (first & second).any()
