"""Suggestions and look-alikes: guesses of a frozen network, which no build takes for labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import install_pond, make_coco, make_davis, make_pond, moving_box, two_clips

pytest.importorskip("timm", reason="timm is not installed: pip install 'icvos[models]'")

from curation.look_alikes import look_alike
from curation.sources.coco import Coco
from curation.suggest import Looker, Prototypes, class_prototypes, square_crop, suggest
from icvos.categories import BY_NAME
from icvos.masks import read_ids, read_image
from icvos.types import Clip, Frame, Tube

Icvos = Callable[..., Any]


@pytest.fixture(scope="module")
def looker() -> Looker:
    return Looker()


pytestmark = pytest.mark.usefixtures("nothing_set")


def test_a_crop_is_the_square_around_the_object_black_beyond_the_picture() -> None:
    image = np.full((50, 200, 3), 200, np.uint8)
    mask = np.zeros((50, 200), np.bool_)
    mask[10:30, 20:180] = True
    crop, small = square_crop(image, mask)
    assert (crop.shape, small.shape) == ((224, 224, 3), (224, 224))
    assert abs(small.mean() - 20 / 160) < 0.01
    assert (crop[112, 112] == 200).all()
    assert (crop[0] == 0).all()
    assert small[0].max() == 0


def test_an_object_looks_like_itself_wherever_it_stands(sample_data: Path, looker: Looker) -> None:
    image, ids = (
        read_image(sample_data / "davis/JPEGImages/480p/dog/00000.jpg"),
        read_ids(sample_data / "davis/Annotations/480p/dog/00000.png"),
    )
    other = read_image(sample_data / "davis/JPEGImages/480p/car-shadow/00000.jpg")
    shadow = read_ids(sample_data / "davis/Annotations/480p/car-shadow/00000.png")
    left, right = image[:, ::-1].copy(), ids[:, ::-1] == 1
    dog, mirrored, car = looker.features([(image, ids == 1), (left, right), (other, shadow == 1)])
    assert np.linalg.norm(dog) == pytest.approx(1, abs=1e-5)
    assert dog @ mirrored > 0.8 > dog @ car + 0.3


def some_classes_of_coco(sample_data: Path, root: Path) -> Path:
    """The real COCO sample with the annotations of eight classes only, so that few crops are to be looked at."""
    data = json.loads((sample_data / "coco/annotations/instances_val2017.json").read_text())
    kept = {BY_NAME[name].id for name in ("bird", "car", "dog", "cat", "person", "pizza", "umbrella", "toilet")}
    data["annotations"] = [entry for entry in data["annotations"] if entry["category_id"] in kept]
    (root / "annotations").mkdir(parents=True)
    (root / "annotations/instances_val2017.json").write_text(json.dumps(data))
    (root / "val2017").symlink_to(sample_data / "coco/val2017")
    return root


def some_frames_of_davis(sample_data: Path, root: Path) -> Path:
    """Nine frames of three real clips."""
    for clip in ("blackswan", "car-shadow", "dog"):
        for part, end in (("JPEGImages", "jpg"), ("Annotations", "png")):
            (root / part / "480p" / clip).mkdir(parents=True)
            for number in range(9):
                file = f"{part}/480p/{clip}/{number:05d}.{end}"
                (root / file).symlink_to(sample_data / "davis" / file)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("blackswan\ncar-shadow\ndog\n")
    return root


def test_real_cars_dogs_and_birds_are_known(icvos: Icvos, sample_data: Path, tmp_path: Path) -> None:
    coco = some_classes_of_coco(sample_data, tmp_path / "COCO")
    davis = some_frames_of_davis(sample_data, tmp_path / "DAVIS")
    words = ("--all", "--davis", davis, "--coco", coco, "--per-class", 3, "--out", tmp_path / "s.csv")
    said = icvos("labels", "suggest", *words)
    assert said.code == 0, said.err
    assert "3 objects; suggestions in" in said.out
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == 3 * 5
    assert all(-1 <= float(row["score"]) <= 1 and len(row["frames"].split()) == 3 for row in rows)
    first = {row["clip"]: row["class"] for row in rows if row["rank"] == "1"}
    assert first == {"car-shadow": "car", "blackswan": "bird", "dog": "dog"}


def test_only_unnamed_objects_are_asked_about_and_suggestions_are_no_labels(
    icvos: Icvos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_pond(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    make_pond(tmp_path / "POND", {"duck": moving_box(), "swan": moving_box(value=4)})
    make_davis(tmp_path / "DAVIS", two_clips())
    make_coco(tmp_path / "COCO")
    (tmp_path / "a.csv").write_text("source,clip,object,class,who,when,how\npond,duck,1,dog,ann,,\n")
    words = (
        "labels",
        "suggest",
        "--sources",
        "pond,davis",
        "--data",
        tmp_path,
        "--labels",
        tmp_path / "a.csv",
        "--out",
        tmp_path / "s.csv",
    )
    said = icvos(*words, "--per-class", 1, "--json")
    assert json.loads(said.out)["objects"] == 1
    first = (tmp_path / "s.csv").read_bytes()
    assert [line.split(",")[:3] for line in first.decode().splitlines()[1:]] == [["pond", "swan", "4"]] * 3
    assert icvos(*words, "--per-class", 1).code == 0
    assert (tmp_path / "s.csv").read_bytes() == first
    said = icvos("build", "--data", tmp_path, "--labels", tmp_path / "s.csv", "--dry-run")
    assert (said.code, "not a file of labels" in said.err) == (3, True)


def test_scores_are_cosines_best_first(tmp_path: Path, looker: Looker) -> None:
    pool = Coco(make_coco(tmp_path / "COCO"))
    prototypes = class_prototypes(pool, looker, per_class=1)
    assert [category.name for category in prototypes.classes] == ["person", "cat", "dog"]
    make_pond(tmp_path / "POND", {"duck": moving_box()})
    frames = tuple(
        Frame(path.stem, path, tmp_path / f"POND/Annotations/duck/{path.stem}.png")
        for path in sorted((tmp_path / "POND/JPEGImages/duck").iterdir())
    )
    clip = Clip("pond", "duck", (24, 40), frames)
    (one,) = suggest([(clip, [1, 9])], prototypes, looker)
    assert one.object == 1  # 9 is nowhere
    assert [score for _, score in one.classes] == sorted((score for _, score in one.classes), reverse=True)
    opposite = Prototypes(prototypes.classes, -prototypes.features)
    (other,) = suggest([(clip, [1])], opposite, looker)
    assert [name for name, _ in other.classes] == [name for name, _ in one.classes][::-1]


def test_a_second_car_beside_the_masks_is_worth_a_look(sample_data: Path, tmp_path: Path, looker: Looker, icvos: Icvos) -> None:
    image, ids = (
        np.array(Image.open(sample_data / f"davis/{part}/480p/car-shadow/00000.{end}"))
        for part, end in (("JPEGImages", "jpg"), ("Annotations", "png"))
    )
    rows, columns = np.nonzero(ids == 1)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    car, height = image[top:bottom, left:right], bottom - top
    place = 854 - (right - left) if left > 854 - right else 0
    doubled = image.copy()
    doubled[480 - height :, place : place + right - left] = car
    free = ids[480 - height :, place : place + right - left] == 0
    assert free.mean() > 0.95  # the copy hides next to nothing of the car
    for name, picture in (("one", image), ("two", doubled)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")

    def said(name: str) -> str | None:
        frame = Frame("00000", tmp_path / f"{name}.png", sample_data / "davis/Annotations/480p/car-shadow/00000.png")
        return look_alike(Tube(Clip("davis", "x", (480, 854), (frame,)), BY_NAME["car"], (1,)), looker)

    assert said("one") is None
    warning = said("two")
    assert warning is not None
    assert warning.startswith("something like the car is outside of the masks on frame 00000, near x ")
    x, y = (float(word.split(",")[0]) for word in warning.split("near x ")[1].replace("y ", "").split(", "))
    assert place - 32 <= x <= place + right - left + 32
    assert y >= 480 - height - 32
