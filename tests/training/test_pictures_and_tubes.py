"""Pictures with objects, and the tubes that are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from icvos.errors import DataError
from icvos.training.pictures import LONGEST_SIDE, Picture, centre_of, coco_pictures, held_back, voc_pictures
from icvos.training.tubes import make_targets


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    """Three photographs, each with a disc of class 8, one with a second disc of class 15, a rim that is void, and a speck."""
    root = tmp_path_factory.mktemp("voc")
    (root / "JPEGImages").mkdir()
    (root / "SegmentationClass").mkdir()
    for name, photograph in (("astronaut", data.astronaut()), ("chelsea", data.chelsea()), ("coffee", data.coffee())):
        Image.fromarray(photograph).save(root / f"JPEGImages/{name}.jpg")
        y, x = np.mgrid[: photograph.shape[0], : photograph.shape[1]]
        classes = np.zeros(photograph.shape[:2], np.uint8)
        classes[(y - 150) ** 2 + (x - 150) ** 2 < 75**2] = 255
        classes[(y - 150) ** 2 + (x - 150) ** 2 < 70**2] = 8
        classes[2:5, 2:5] = 8
        if name == "coffee":
            classes[(y - 200) ** 2 + (x - 420) ** 2 < 60**2] = 15
        Image.fromarray(classes).save(root / f"SegmentationClass/{name}.png")
    return voc_pictures(root)


def test_a_voc_picture_gives_its_classes_without_void_and_is_reduced(voc: list[Picture]) -> None:
    assert [picture.name for picture in voc] == ["astronaut", "chelsea", "coffee"]
    image, masks = voc[2].read()
    assert max(image.shape[:2]) == LONGEST_SIDE and image.dtype == np.uint8
    scale = LONGEST_SIDE / 600
    expected = [np.pi * 70**2 * scale**2, np.pi * 60**2 * scale**2]
    assert [mask.sum() for mask in masks] == pytest.approx(expected, rel=0.05)
    assert all(mask.shape == image.shape[:2] and mask.dtype == np.bool_ for mask in masks)


def test_a_coco_picture_gives_outlined_objects_and_no_crowds(tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(tmp_path / "000000000007.jpg")
    square = [20, 10, 79, 10, 79, 59, 20, 59]
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg"}, {"id": 8, "file_name": "000000000008.jpg"}],
        "annotations": [
            {"image_id": 7, "segmentation": [square], "iscrowd": 0},
            {"image_id": 7, "segmentation": {"size": [100, 200], "counts": [20000]}, "iscrowd": 1},
            {"image_id": 8, "segmentation": [square], "iscrowd": 0},
        ],
    }
    import json

    (tmp_path / "instances.json").write_text(json.dumps(content))
    (picture,) = coco_pictures(tmp_path / "instances.json", tmp_path)  # the other image is not on disk
    _, (mask,) = picture.read()
    assert mask.shape == (100, 200) and mask[10:60, 20:80].all() and mask.sum() == 50 * 60


def test_faulty_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no VOC pictures"):
        voc_pictures(tmp_path)
    with pytest.raises(DataError, match=r"no such file: .*nowhere\.jpg"):
        Picture("x", tmp_path / "nowhere.jpg").read()


def test_what_is_held_back_depends_on_names_alone(voc: list[Picture]) -> None:
    many = [Picture(f"picture-{number}", Path("x.jpg")) for number in range(1000)]
    train, kept = held_back(many, 25)
    assert len(train) + len(kept) == 1000 and 25 < len(kept) < 60
    assert held_back(many[::-1], 25)[1] == kept[::-1]


def test_the_centre_is_the_deepest_point() -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:16, 10:51] = True  # a bar, and a block that is deeper
    mask[5:36, 40:59] = True
    x, y = centre_of(mask)
    assert mask[int(y), int(x)] and 46 <= x <= 52 and 12 <= y <= 28


@pytest.mark.parametrize("times", [[0], [0, 1, 2, 5], [0, 3, 9, 12, 15, 20]])
def test_targets_are_seen_on_the_first_frame_and_the_same_seed_gives_the_same_clip(voc: list[Picture], times: list[int]) -> None:
    made = make_targets(voc, times, 64, np.random.default_rng(5))
    assert made.images.shape == (len(times), 64, 64, 3) and made.images.dtype == np.uint8
    assert made.masks.shape == (2, len(times), 64, 64) and made.masks.dtype == np.bool_
    assert (made.masks[:, 0].mean((1, 2)) >= 0.006).all()
    again = make_targets(voc, times, 64, np.random.default_rng(5))
    assert np.array_equal(made.images, again.images) and np.array_equal(made.masks, again.masks)
    assert not np.array_equal(made.images, make_targets(voc, times, 64, np.random.default_rng(6)).images)


def test_objects_move_hide_and_leave(voc: list[Picture]) -> None:
    clips = [make_targets(voc, [0, 4, 8, 12], 48, np.random.default_rng(seed)).masks for seed in range(60)]
    masks = np.concatenate(clips)
    changed = (masks[:, 1:] != masks[:, :1]).mean((1, 2, 3))
    assert (changed > 0.01).mean() > 0.8  # most of them move
    gone = ~masks[:, 1:].any((2, 3))
    assert 0.02 < gone.mean() < 0.5
    assert (gone[:, :-1].any(1) & ~gone[:, -1]).any()  # and some come back
