"""The embedded sample: the same bytes each time, whole or made again, and the truth that it claims."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from icvos.categories import CATEGORIES
from icvos.errors import UserInputError
from icvos.masks import decode_rle, union_of_segmentations
from icvos.playground import make_playground
from icvos.playground.davis_tree import CLIPS, SIZE
from icvos.playground.photographs import bridged, outlines, photograph
from icvos.playground.scene import Key, Pose, pose_at

# pycocotools 2.0.11 decodes by a way that numpy 2 calls out of date

SUPPORT_CLASSES = {1: "person", 4: "motorcycle", 17: "cat", 47: "cup"}


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("playground")
    make_playground(root)
    return root


def tree_of(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


@functools.cache
def masks_of(root: Path, clip: str) -> list[np.ndarray]:
    folder = root / "DAVIS/Annotations/480p" / clip
    masks = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            assert picture.mode == "P"
            masks.append(np.asarray(picture))
    return masks


def areas(root: Path, clip: str, number: int) -> list[int]:
    return [int((mask == number).sum()) for mask in masks_of(root, clip)]


def semantics(root: Path) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = json.loads((root / "DAVIS/davis_semantics.json").read_text())
    return result


def coco(root: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((root / "COCO/annotations/instances_val2017.json").read_text())
    return result


def decoded(annotation: dict[str, Any], image: dict[str, Any]) -> np.ndarray:
    return decode_rle(union_of_segmentations([annotation["segmentation"]], (image["height"], image["width"])))


def test_another_process_makes_the_same_bytes_over_an_interrupted_tree(playground: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(playground, broken)
    (broken / "playground.json").unlink()  # it is written last
    shutil.rmtree(broken / "DAVIS/JPEGImages/480p/film-crew")
    shutil.rmtree(broken / "COCO/annotations")
    (broken / "DAVIS/Annotations/480p/cat-pair/00003.png").write_bytes(b"half")
    (broken / "COCO/val2017/.000000001001.jpg.0123.partial").write_bytes(b"half")
    program = "import sys; from pathlib import Path; from icvos.playground import make_playground; make_playground(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, str(broken)], check=True, cwd=Path(__file__).parents[1], timeout=120)
    assert tree_of(broken) == tree_of(playground)


def test_a_complete_tree_is_kept(playground: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in playground.rglob("*") if path.is_file()}
    make_playground(playground)
    assert {path: path.stat().st_mtime_ns for path in playground.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("stranger", ["DAVIS/JPEGImages/480p/bear/00000.jpg", "COCO/val2017/000000139.jpg"])
def test_a_real_data_set_is_not_written_into(tmp_path: Path, stranger: str) -> None:
    path = tmp_path / stranger
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UserInputError, match="choose an empty folder"):
        make_playground(tmp_path)
    assert list(tree_of(tmp_path)) == [stranger]


def test_the_tree_is_small_and_leaves_nothing_else(playground: Path) -> None:
    assert sum(path.stat().st_size for path in playground.rglob("*") if path.is_file()) < 12 * 2**20
    assert sorted(path.name for path in playground.iterdir()) == ["COCO", "DAVIS", "playground.json"]
    assert not list(playground.rglob("*.partial"))


def test_davis_layout(playground: Path) -> None:
    names = (playground / "DAVIS/ImageSets/2017/val.txt").read_text().split()
    assert names == sorted(names) == sorted(semantics(playground))
    for name in names:
        frames = sorted((playground / "DAVIS/JPEGImages/480p" / name).iterdir())
        assert 24 <= len(frames) <= 40
        assert [path.name for path in frames] == [f"{index:05d}.jpg" for index in range(len(frames))]
        masks = masks_of(playground, name)
        assert len(masks) == len(frames)
        for path, mask in zip(frames, masks, strict=True):
            with Image.open(path) as picture:
                assert (picture.height, picture.width) == mask.shape == SIZE


def test_the_palette_is_that_of_davis(playground: Path) -> None:
    with Image.open(playground / "DAVIS/Annotations/480p/cat-pair/00000.png") as picture:
        palette = picture.getpalette()
    assert palette is not None
    assert palette[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert palette[24:30] == [64, 0, 0, 191, 0, 0]
    assert palette[66:69] == [22, 22, 22]


def test_ids_are_those_of_the_semantics(playground: Path) -> None:
    for name, labels in semantics(playground).items():
        seen = set(np.unique(np.stack(masks_of(playground, name))).tolist())
        assert seen == {0, *(int(number) for number in labels)}, name


def test_one_label_is_no_coco_class(playground: Path) -> None:
    labels = {label for clip in semantics(playground).values() for label in clip.values()}
    assert labels - {category.name for category in CATEGORIES} == {"brick"}
    assert set(SUPPORT_CLASSES.values()) <= labels


def test_two_of_one_class_and_two_classes(playground: Path) -> None:
    assert semantics(playground)["cat-pair"] == {"1": "cat", "2": "cat"}
    assert semantics(playground)["film-crew"] == {"1": "motorcycle", "2": "person"}


def test_the_late_cat_is_not_on_the_first_frame(playground: Path) -> None:
    cat, person = areas(playground, "late-guest", 2), areas(playground, "late-guest", 1)
    assert cat[0] == 0 and cat[-1] > 5000
    assert min(person) > 5000


def test_the_cup_leaves(playground: Path) -> None:
    cup = areas(playground, "cup-slide", 1)
    assert cup[0] > 5000 and cup[-4:] == [0, 0, 0, 0]


def test_the_pillar_hides_the_person_and_bears_no_id(playground: Path) -> None:
    person = areas(playground, "pillar-walk", 1)
    assert person[0] > 10000 and person[-1] > 10000
    assert 0 < min(person) < 0.1 * person[0]
    assert not masks_of(playground, "pillar-walk")[20][40:150, 160:270].any()


def test_the_cat_grows(playground: Path) -> None:
    cat = areas(playground, "cat-garden", 1)
    assert cat[-1] > 3 * cat[0]


def test_every_other_object_is_on_the_first_frame(playground: Path) -> None:
    for plan in CLIPS:
        for number in range(1, len(plan.labels) + 1):
            if (plan.name, number) != ("late-guest", 2):
                assert areas(playground, plan.name, number)[0] > 2000, (plan.name, number)


def test_coco_layout(playground: Path) -> None:
    document = coco(playground)
    assert [(entry["id"], entry["name"]) for entry in document["categories"]] == [(category.id, category.name) for category in CATEGORIES]
    licences = {entry["id"] for entry in document["licenses"]}
    on_disk = {path.name for path in (playground / "COCO/val2017").iterdir()}
    assert {entry["file_name"] for entry in document["images"]} == on_disk
    for image in document["images"]:
        assert image["file_name"] == f"{image['id']:012d}.jpg" and image["license"] in licences
        with Image.open(playground / "COCO/val2017" / image["file_name"]) as picture:
            assert (picture.height, picture.width) == (image["height"], image["width"])
    numbers = [annotation["id"] for annotation in document["annotations"]]
    assert len(numbers) == len(set(numbers))


def test_enough_supports_of_each_class(playground: Path) -> None:
    document = coco(playground)
    for number in SUPPORT_CLASSES:
        usable = {a["image_id"] for a in document["annotations"] if a["category_id"] == number and not a["iscrowd"] and a["area"] >= 1024}
        assert len(usable) >= 5, number


def test_annotations_lie_in_their_images_and_say_their_area_and_box(playground: Path) -> None:
    document = coco(playground)
    images = {image["id"]: image for image in document["images"]}
    for annotation in document["annotations"]:
        image = images[annotation["image_id"]]
        mask = decoded(annotation, image)
        assert mask.sum() == annotation["area"] > 0
        left, top, width, height = annotation["bbox"]
        assert left >= 0 and top >= 0 and left + width <= image["width"] + 0.01 and top + height <= image["height"] + 0.01
        rows, columns = np.nonzero(mask)
        assert abs(columns.min() - left) < 2 and abs(rows.max() + 1 - top - height) < 2
        if not annotation["iscrowd"]:
            points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
            assert (points >= 0).all() and (points <= [image["width"], image["height"]]).all()


def test_there_is_something_to_refuse(playground: Path) -> None:
    annotations = coco(playground)["annotations"]
    crowds = [annotation for annotation in annotations if annotation["iscrowd"]]
    assert len(crowds) == 1 and isinstance(crowds[0]["segmentation"]["counts"], list)
    assert sum(annotation["area"] < 1024 for annotation in annotations) == 1


def test_the_polygons_of_a_cut_out_lie_on_its_picture(playground: Path) -> None:
    document = coco(playground)
    image = next(entry for entry in document["images"] if entry["id"] == 4004)
    annotation = next(entry for entry in document["annotations"] if entry["image_id"] == 4004)
    mask = decoded(annotation, image)
    with Image.open(playground / "COCO/val2017" / image["file_name"]) as picture:
        red, green = (np.asarray(picture.convert("RGB"), np.float32)[..., channel] for channel in (0, 1))
    grass = green > 1.3 * red + 10  # nothing of the motorcycle is green
    assert grass[mask].mean() < 0.03
    assert grass[~mask].mean() > 0.6


def test_outlines_lie_in_their_photographs() -> None:
    for name, outline in outlines().items():
        height, width = photograph(outline.photograph).shape[:2]
        for polygon in (*outline.object, *outline.holes, *outline.carried):
            assert polygon.shape[0] >= 3, name
            assert (polygon >= [0, -outline.mirrored_above]).all() and (polygon <= [width, height]).all(), name


def test_a_hole_let_in_by_a_cut_is_a_hole() -> None:
    outline = outlines()["motorcycle-left"]
    height, width = photograph(outline.photograph).shape[:2]

    def raster(polygons: tuple[np.ndarray, ...]) -> np.ndarray:
        return decode_rle(union_of_segmentations([[polygon.ravel().tolist() for polygon in polygons]], (height, width)))

    expected = raster(outline.object) & ~raster(outline.holes)
    assert (raster(bridged(outline)) ^ expected).sum() < 0.004 * expected.sum()


def test_poses_rest_outside_their_keys_and_are_met_at_them() -> None:
    path = (Key(0.25, Pose(0, 0)), Key(0.75, Pose(10, 20, 2.0, 30)))
    assert pose_at(path, 0.0) == pose_at(path, 0.25) == Pose(0, 0)
    assert pose_at(path, 0.5) == Pose(5, 10, 1.5, 15)
    assert pose_at(path, 1.0) == Pose(10, 20, 2.0, 30)


def test_importing_the_playground_imports_no_skimage() -> None:
    program = "import sys, icvos, icvos.playground; sys.exit('skimage' in sys.modules or 'cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1], timeout=60)
