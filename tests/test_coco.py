"""COCO as the pool of supports: unions, refusals with their reasons, other years, and files that are not what they seem."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import make_coco, write_frame

from curation.sources.coco import Coco
from icvos.categories import BY_NAME, CATEGORIES, at_official_position, category_named, official_position
from icvos.errors import DataError, UserInputError
from icvos.masks import decode_rle
from icvos.types import Category

DOG, CAT = BY_NAME["dog"], BY_NAME["cat"]
FIRST = 1000  # the toy's first dog
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A toy tree that a test may change."""
    return make_coco(tmp_path / "COCO")


def instances(root: Path) -> Path:
    return root / "annotations/instances_val2017.json"


def change(root: Path, by: Change) -> None:
    data = json.loads(instances(root).read_text())
    by(data)
    instances(root).write_text(json.dumps(data))


def annotation(number: int, image_id: int, segmentation: object, category: Category = DOG, crowd: int = 0) -> dict[str, object]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category.id,
        "iscrowd": crowd,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
        "segmentation": segmentation,
    }


def square(left: int, top: int, side: int) -> list[list[int]]:
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def ids(pool: Coco, category: Category = DOG) -> list[int]:
    return [candidate.image_id for candidate in pool.candidates(category)[0]]


def test_candidates_come_sorted_with_their_file_and_annotations(coco: Path) -> None:
    usable, refused = Coco(coco).candidates(DOG)
    assert [candidate.image_id for candidate in usable] == list(range(FIRST, FIRST + 6))
    assert usable[0].file == "val2017/000000001000.jpg"
    assert usable[0].annotations == (10 * FIRST,)
    assert usable[0].mask.size == (60, 80)
    assert refused == []
    assert Coco(coco).candidates(BY_NAME["car"]) == ([], [])


def test_the_mask_is_the_union_of_the_classes_instances_and_of_no_other(coco: Path) -> None:
    extra = [annotation(1, FIRST, square(60, 50, 8)), annotation(2, FIRST, square(70, 2, 8), CAT)]
    change(coco, lambda data: data["annotations"].extend(extra))
    candidate = Coco(coco).candidates(DOG)[0][0]
    mask = decode_rle(candidate.mask)
    assert candidate.annotations == (1, 10 * FIRST)
    assert mask[10:40, 10:50].all()
    assert mask[51:57, 61:67].all()
    assert not mask[:, 69:].any()


def test_a_crowd_is_never_a_part_of_a_support(coco: Path) -> None:
    data = json.loads(instances(coco).read_text())
    assert any(entry["iscrowd"] for entry in data["annotations"] if entry["image_id"] == FIRST)
    candidate = Coco(coco).candidates(DOG)[0][0]
    assert 7 not in candidate.annotations
    assert not decode_rle(candidate.mask)[:5].any()  # the crowd lies at the top
    change(coco, lambda data: [entry.update(iscrowd=1) for entry in data["annotations"]])
    assert Coco(coco).candidates(DOG) == ([], [])


def test_the_order_of_the_file_says_nothing(coco: Path) -> None:
    change(coco, lambda data: data["annotations"].append(annotation(1, FIRST, square(60, 50, 8))))
    before = Coco(coco).candidates(DOG)
    change(coco, lambda data: [data[name].reverse() for name in data])
    assert Coco(coco).candidates(DOG) == before


def test_a_small_object_is_refused_with_its_area(coco: Path) -> None:
    data = json.loads(instances(coco).read_text())
    small = next(entry for entry in data["annotations"] if entry["image_id"] == FIRST)
    change(
        coco, lambda data: next(entry for entry in data["annotations"] if entry["id"] == small["id"]).update(segmentation=square(5, 5, 20))
    )
    usable, refused = Coco(coco).candidates(DOG)
    assert [candidate.image_id for candidate in usable] == list(range(FIRST + 1, FIRST + 6))
    assert refused == [(FIRST, "area 400 px below 1024")]
    assert FIRST in ids(Coco(coco, min_area=400))
    assert ids(Coco(coco, min_area=4000)) == []


def test_a_missing_image_is_refused_with_its_name(coco: Path) -> None:
    (coco / "val2017/000000001002.jpg").unlink()
    usable, refused = Coco(coco).candidates(DOG)
    assert 1002 not in [candidate.image_id for candidate in usable]
    assert refused == [(1002, "image missing: val2017/000000001002.jpg")]


def test_the_names_of_2014_are_read_too(coco: Path) -> None:
    data = json.loads(instances(coco).read_text())
    (coco / "val2017").rename(coco / "val2014")
    for image in data["images"]:
        name = f"COCO_val2014_{image['file_name']}"
        (coco / "val2014" / image["file_name"]).rename(coco / "val2014" / name)
        image["file_name"] = name
    instances(coco).unlink()
    (coco / "annotations/instances_val2014.json").write_text(json.dumps(data))
    pool = Coco(coco)
    assert pool.split == "val2014"
    assert pool.candidates(DOG)[0][0].file == "val2014/COCO_val2014_000000001000.jpg"
    assert pool.verify() == []


def test_2017_goes_before_2014_and_another_split_may_be_named(coco: Path) -> None:
    for split in ("val2014", "train2017"):
        (coco / f"annotations/instances_{split}.json").write_text(instances(coco).read_text())
    assert Coco(coco).split == "val2017"
    assert Coco(coco, "train2017").split == "train2017"
    with pytest.raises(
        UserInputError, match=r"no such split of COCO: val2016: found train2017, val2014, val2017, expected .*--support-split"
    ):
        Coco(coco, "val2016")


def test_only_train_annotations_are_no_val_annotations(coco: Path) -> None:
    instances(coco).rename(coco / "annotations/instances_train2017.json")
    with pytest.raises(DataError, match=r"no COCO val annotations: .*found instances_train2017\.json, expected instances_val2017\.json"):
        Coco(coco)


# What a release froze, and what is there now


def test_the_mask_of_named_annotations(coco: Path) -> None:
    pool = Coco(coco)
    assert pool.mask_of(FIRST, [10 * FIRST]) == pool.candidates(DOG)[0][0].mask
    assert pool.mask_of(FIRST, [10 * FIRST, 99]) is None
    assert pool.mask_of(FIRST + 1, [10 * FIRST]) is None
    assert pool.mask_of(5, []) is None


def test_every_fault_of_a_split_is_listed(coco: Path) -> None:
    assert Coco(coco).verify() == []
    (coco / "val2017/000000001001.jpg").unlink()
    write_frame(coco / "val2017/000000001002.jpg", 2, (60, 81))
    (coco / "val2017/000000001003.jpg").write_bytes(b"no picture")
    extra = [
        annotation(1, 5, square(1, 1, 9)),
        annotation(2, FIRST, [[1, 2]]),
        {**annotation(3, FIRST, square(1, 1, 9)), "category_id": 12},
    ]
    change(coco, lambda data: data["annotations"].extend(extra))
    found = {(finding.code, finding.where.rpartition("/")[2]) for finding in Coco(coco).verify()}
    assert found == {
        ("missing-image", "000000001001.jpg"),
        ("size", "000000001002.jpg"),
        ("unreadable", "000000001003.jpg"),
        ("unlisted-image", "instances_val2017.json, annotation 1"),
        ("segmentation", "instances_val2017.json, annotation 2"),
        ("unknown-class", "instances_val2017.json, annotation 3"),
    }


# Files that are not what they seem


def test_corrupt_json_is_told_with_file_and_line(coco: Path) -> None:
    instances(coco).write_text('{"images": [],\n"annotations": [')
    with pytest.raises(DataError, match=r"corrupt JSON: .*instances_val2017\.json, line 2"):
        Coco(coco).candidates(DOG)


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (lambda data: data.pop("categories"), "no list of categories"),
        (lambda data: data.update(images={}), "no list of images"),
        (lambda data: data["categories"].append({"id": 91, "name": "unicorn"}), "91 unicorn"),
        (lambda data: data["categories"][0].update(id=2), "2 person"),
        (lambda data: data["categories"].append("dog"), "categories[6]"),
        (lambda data: data["images"][3].update(file_name="../../etc/passwd"), "`file_name` '../../etc/passwd'"),
    ],
)
def test_a_file_that_is_not_cocos_is_a_fault_of_the_data(coco: Path, by: Change, words: str) -> None:
    change(coco, by)
    with pytest.raises(DataError) as caught:
        Coco(coco).candidates(DOG)
    assert words in str(caught.value)
    assert str(instances(coco)) in str(caught.value)


@pytest.mark.parametrize(
    ("by", "where", "words"),
    [
        (lambda data: data["images"][3].pop("height"), "images[3]", "`height`"),
        (lambda data: data["images"][3].update(width="80"), "images[3]", "$.width"),
        (lambda data: data["images"][3].update(width=10**9), "images[3]", "$.width"),
        (lambda data: data["annotations"][2].pop("image_id"), "annotations[2]", "`image_id`"),
        (lambda data: data["annotations"].__setitem__(2, None), "annotations[2]", "null"),
        (lambda data: data["annotations"][0].update(image_id=5), "annotation 10000", "image 5"),
        (lambda data: data["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "annotation 10000", "a polygon"),
        (lambda data: data["annotations"][0].update(segmentation={"size": [60, 80], "counts": "5"}), "annotation 10000", "5 pixels"),
    ],
)
def test_an_entry_that_cannot_be_used_is_left_out_and_told(coco: Path, by: Change, where: str, words: str) -> None:
    change(coco, by)
    pool = Coco(coco)
    assert len(pool.candidates(DOG)[0]) == 5
    finding = pool.findings[0]  # annotations of an image that cannot be used follow it
    assert where in finding.where and words in finding.found


def test_every_malformed_entry_is_listed(coco: Path) -> None:
    change(coco, lambda data: [data["images"][place].pop("height") for place in (0, 5)] + [data["annotations"][1].pop("id")])
    pool = Coco(coco)
    pool.load()
    assert [finding.where.rpartition(", ")[2] for finding in pool.findings][:3] == ["images[0]", "images[5]", "annotations[1]"]


def test_no_folder_and_another_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no such folder: .*nowhere: expected COCO 2017"):
        Coco(tmp_path / "nowhere")
    (tmp_path / "JPEGImages/480p/bear").mkdir(parents=True)
    (tmp_path / "JPEGImages/480p/bear/0.jpg").touch()
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"another data set: .*found what looks like DAVIS 2017.*expected COCO 2017.*give the folder of coco"
    ):
        Coco(tmp_path)


# The classes


def test_the_80_classes_have_cocos_ids_and_places() -> None:
    assert len(CATEGORIES) == len({category.id for category in CATEGORIES}) == len({category.name for category in CATEGORIES}) == 80
    assert [category.id for category in CATEGORIES] == sorted(category.id for category in CATEGORIES)
    missing = set(range(1, 91)) - {category.id for category in CATEGORIES}
    assert missing == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert (official_position(DOG), DOG.id) == (17, 18)
    assert official_position(BY_NAME["toothbrush"]) == 80
    assert [at_official_position(place) for place in (0, 81, -1)] == [None, None, None]
    assert all(at_official_position(official_position(category)) == category for category in CATEGORIES)


def test_an_unknown_class_is_answered_with_the_nearest() -> None:
    assert category_named("dog") == DOG
    with pytest.raises(UserInputError, match=r"unknown class: zebraa: expected a COCO class; did you mean zebra"):
        category_named("zebraa")


def test_the_classes_are_those_of_the_real_annotations(sample_data: Path) -> None:
    data = json.loads((sample_data / "coco/annotations/instances_val2017.json").read_text())
    assert [(entry["id"], entry["name"]) for entry in data["categories"]] == [(category.id, category.name) for category in CATEGORIES]


def test_real_annotations_give_the_masks_that_pycocotools_gives(sample_data: Path) -> None:
    from pycocotools import mask as coco_mask

    data = json.loads((sample_data / "coco/annotations/instances_val2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
    pool = Coco(sample_data / "coco", "val2017", 1)
    assert pool.verify() == []
    candidates = pool.candidates(BY_NAME["person"])[0]
    assert len(candidates) > 10
    for candidate in candidates[:10]:
        expected = np.zeros(sizes[candidate.image_id], np.bool_)
        for entry in data["annotations"]:
            if entry["id"] in candidate.annotations:
                runs = coco_mask.frPyObjects(entry["segmentation"], *sizes[candidate.image_id])
                expected |= coco_mask.decode(coco_mask.merge(runs)).astype(np.bool_)
        assert np.array_equal(decode_rle(candidate.mask), expected)
