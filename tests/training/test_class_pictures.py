"""Pictures by class and the episodes that are drawn from them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from icvos.errors import DataError, UserInputError
from icvos.training.class_pictures import (
    VOC_NAMES,
    ClassPictures,
    Together,
    VocClassPictures,
    open_class_pictures,
    together,
    without_classes,
)
from icvos.training.coco_index import CocoClassPictures
from icvos.training.episodes import draw_episode, episode_rng, fold_categories


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def make_voc(root: Path, masks: dict[str, np.ndarray]) -> Path:
    (root / "JPEGImages").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    for stem, values in masks.items():
        cv2.imwrite(str(root / "JPEGImages" / f"{stem}.jpg"), np.full((*values.shape, 3), 99, np.uint8))
        Image.fromarray(values.astype(np.uint8)).save(root / "SegmentationClass" / f"{stem}.png")
    return root


def make_coco(root: Path, crowd: bool = True) -> Path:
    """Three pictures; a dog of two outlines and a cat in the first, a dog in the second, a dog and a crowd of dogs in the third."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    images = [{"id": 10 * k, "file_name": f"{k}.jpg", "height": 40, "width": 50} for k in (3, 1, 2)]
    for image in images[1:]:
        cv2.imwrite(str(root / "train2017" / image["file_name"]), np.full((40, 50, 3), 7, np.uint8))
    cv2.imwrite(str(root / "train2017" / "3.jpg"), np.full((40, 50, 3), 7, np.uint8))
    square = [[5, 5, 25, 5, 25, 25, 5, 25], [30, 30, 40, 30, 40, 38]]
    annotations = [
        {"id": 1, "image_id": 10, "category_id": 18, "segmentation": square, "area": 440, "iscrowd": 0},
        {"id": 2, "image_id": 10, "category_id": 17, "segmentation": [[1, 1, 4, 1, 4, 3]], "area": 3, "iscrowd": 0},
        {"id": 4, "image_id": 20, "category_id": 18, "segmentation": square[:1], "area": 400, "iscrowd": 0},
        {"id": 3, "image_id": 30, "category_id": 18, "segmentation": square[:1], "area": 400, "iscrowd": 0},
        {"id": 5, "image_id": 30, "category_id": 18, "segmentation": {"counts": [0, 2000], "size": [40, 50]}, "area": 2000, "iscrowd": 1},
    ]
    content = {"images": images, "annotations": annotations[: 5 if crowd else 4], "categories": []}
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return root


def test_a_voc_tree(tmp_path: Path) -> None:
    values = np.zeros((20, 30))
    values[2:10, 3:9], values[12:18, 12:20], values[0] = 12, 8, 255
    small = np.zeros((20, 30))
    small[3, 3] = 12
    data = VocClassPictures("pascal", make_voc(tmp_path / "voc", {"b": values, "a": small, "c": values}), ["c", "b", "a"])
    assert data.names == ["a", "b", "c"]
    assert data.categories[12] == "dog" and len(data.categories) == 20
    assert list(data.members(12)) == [1, 2] and list(data.members(1)) == []
    np.testing.assert_array_equal(data.mask(1, 12), values == 12)
    assert data.image(0).shape == (20, 30, 3)
    again = VocClassPictures("pascal", tmp_path / "voc", smallest=0)
    assert list(again.members(12)) == [0, 1, 2]
    with pytest.raises(DataError, match="no VOC masks"):
        VocClassPictures("pascal", tmp_path)
    with pytest.raises(DataError, match=r"none of VOC's.*b\.png.*21"):
        VocClassPictures("pascal", make_voc(tmp_path / "other", {"a": values, "b": values + 9}))


def test_coco(tmp_path: Path) -> None:
    data = open_class_pictures("coco", make_coco(tmp_path / "coco"))
    assert len(data) == 3 and data.categories[18] == "dog" and len(data.categories) == 80
    assert list(data.members(18)) == [0, 1]  # in the third a crowd of dogs stands beside
    assert list(data.members(17)) == []  # too small
    expected = COCO(str(tmp_path / "coco/annotations/instances_train2017.json"))
    np.testing.assert_array_equal(data.mask(0, 18), expected.annToMask(expected.anns[1]) > 0)
    assert not data.mask(1, 17).any()
    (tmp_path / "coco/train2017/1.jpg").unlink()
    fewer = pickle.loads(pickle.dumps(open_class_pictures("coco", tmp_path / "coco")))
    assert len(fewer) == 2 and list(fewer.members(18)) == [0]
    np.testing.assert_array_equal(fewer.mask(0, 18), data.mask(1, 18))


def test_what_is_not_coco(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "coco")
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 77
    path.write_text(json.dumps(content))
    assert [(fault.code, fault.found) for fault in CocoClassPictures(path, root / "train2017").faults] == [("unlisted-image", "image 77")]
    content["annotations"][0] |= {"image_id": 10, "category_id": 12}
    path.write_text(json.dumps(content))
    assert [fault.found for fault in CocoClassPictures(path, root / "train2017").faults] == ["class 12"]
    content["annotations"] = content["annotations"][:1]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"not COCO instance annotations: .*1 faults"):
        open_class_pictures("coco", root)
    path.write_text("{}")
    with pytest.raises(DataError, match="not COCO instance annotations"):
        CocoClassPictures(path, root / "train2017")
    path.write_text('{"images": [')
    with pytest.raises(DataError):
        CocoClassPictures(path, root / "train2017")
    with pytest.raises(DataError, match="none of the annotated pictures"):
        CocoClassPictures(make_coco(tmp_path / "other") / "annotations/instances_train2017.json", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no COCO annotations.*instances_val2017"):
        open_class_pictures("coco", root, "val")
    with pytest.raises(UserInputError, match=r"cocco.*did you mean coco"):
        open_class_pictures("cocco", root)


def test_real_coco_masks_are_pycocotools(sample_data: Path) -> None:
    data = open_class_pictures("coco", sample_data / "coco")
    expected = COCO(str(sample_data / "coco/annotations/instances_train2017.json"))
    by_name = {image["file_name"]: image["id"] for image in expected.imgs.values()}
    assert isinstance(data, CocoClassPictures)
    checked = 0
    for category in data.categories:
        for picture in list(data.members(category))[:3]:
            name = str(data.index.arrays["names"][data.pictures[picture]], "ascii")
            found = expected.loadAnns(expected.getAnnIds([by_name[name]], [category], iscrowd=False))
            union = np.any([expected.annToMask(item) > 0 for item in found], axis=0)
            np.testing.assert_array_equal(data.mask(picture, category), union)
            checked += 1
    assert checked > 40


def test_several_as_one(tmp_path: Path) -> None:
    values = np.zeros((20, 30))
    values[2:10, 3:9] = 12  # VOC's dog
    voc = VocClassPictures("voc_small", make_voc(tmp_path / "voc", {"a": values, "b": values}))
    coco = open_class_pictures("coco", make_coco(tmp_path / "coco"))
    both = together([voc, coco])
    assert isinstance(both, Together) and both.name == "voc_small+coco" and len(both) == 5
    assert list(both.members(18)) == [0, 1, 2, 3]
    np.testing.assert_array_equal(both.mask(1, 18), voc.mask(1, 12))
    np.testing.assert_array_equal(both.mask(2, 18), coco.mask(0, 18))
    assert both.image(2).shape == (40, 50, 3)
    assert together([voc]) is voc
    assert set(VOC_NAMES) <= set(coco.categories.values())


def test_pictures_that_show_none_of_some_classes(tmp_path: Path) -> None:
    speck = np.zeros((20, 30))
    speck[2:10, 3:9], speck[12, 12] = 12, 8
    dog = np.where(speck == 12, 12, 0)
    voc = VocClassPictures("pascal", make_voc(tmp_path / "voc", {"a": speck, "b": dog, "c": np.full((20, 30), 15), "d": dog}))
    left = without_classes(voc, [8])  # of the cat one pixel is there: too few to be asked for, enough to be seen
    assert (len(left), list(left.members(12)), list(left.showing(8))) == (3, [0, 2], []) and list(voc.showing(8)) == [0]
    assert left.categories == voc.categories and left.name == "pascal" and left.image(0).shape == (20, 30, 3)
    np.testing.assert_array_equal(left.mask(0, 12), dog == 12)
    assert list(without_classes(left, [15]).showing(12)) == [0, 1]
    coco = open_class_pictures("coco", make_coco(tmp_path / "coco"))
    assert list(coco.showing(18)) == [0, 1, 2] and list(coco.showing(17)) == [0]
    assert list(together([voc, coco]).showing(17)) == [0, 4]
    fewer = pickle.loads(pickle.dumps(without_classes(coco, [17])))
    assert list(fewer.members(18)) == [0] and fewer.mask(0, 18).any()
    with pytest.raises(DataError, match="no picture is left: coco: found all 3 show"):
        without_classes(coco, [18])


def test_folds() -> None:
    coco = [number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]
    train, tested = fold_categories("coco", coco, 0)
    assert tested[:4] == (1, 5, 9, 14) and len(tested) == 20 and len(train) == 60  # person, airplane, boat, parking meter
    train, tested = fold_categories("pascal", range(1, 21), 1)
    assert tested == (6, 7, 8, 9, 10) and set(train) | set(tested) == set(range(1, 21))
    assert fold_categories("coco", coco, None) == (tuple(coco), tuple(coco))
    for data, ids, fold in (("coco", coco, 4), ("voc_small", range(1, 21), 0), ("coco", coco[:5], 1)):
        with pytest.raises(UserInputError, match="fold"):
            fold_categories(data, ids, fold)


class Many:
    """Classes with as many pictures as their id says."""

    name = "many"
    categories: ClassVar = {2: "person", 5: "bus", 30: "tie"}

    def __len__(self) -> int:
        return 100

    def members(self, category: int) -> list[int]:
        return list(range(category))


@given(st.integers(0, 2**31), st.integers(0, 1000), st.integers(1, 4))
def test_episodes(seed: int, step: int, shots: int) -> None:
    data: ClassPictures = Many()  # type: ignore[assignment]
    draw = draw_episode(data, (2, 5, 30), shots, episode_rng(seed, step, 0))
    assert draw == draw_episode(data, (2, 5, 30), shots, episode_rng(seed, step, 0))
    assert draw.query not in draw.supports and len(set(draw.supports)) == shots
    assert {draw.query, *draw.supports} <= set(data.members(draw.category))
    with pytest.raises(DataError, match="no class with enough pictures"):
        draw_episode(data, (2,), 2, episode_rng(seed, step, 0))
