"""Names out of OVIS: masks that match give a label, and what is not clear is listed and never guessed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from toys import SIZE, box, install_pond, make_coco, make_pond, moving_box

from curation.label_files import read_labels
from icvos.errors import DataError

Icvos = Callable[..., Any]
Masks = Sequence[NDArray[np.bool_] | None]


@pytest.fixture
def pond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_pond(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    both = [np.maximum(ids, box(16, 25, 6, 10, 2)) for ids in moving_box()]
    make_pond(tmp_path / "POND", {"001ca3cb": both, "alone": moving_box()})
    make_coco(tmp_path / "COCO")
    return tmp_path / "POND"


def run_lengths(mask: NDArray[np.bool_] | None, compressed: bool) -> Any:
    if mask is None:
        return None
    if compressed:
        encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        return {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    flat = mask.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def write_ovis(path: Path, videos: Mapping[str, Sequence[tuple[str, Masks]]], size: tuple[int, int] = SIZE) -> Path:
    """A file as OVIS has it: video -> its instances, each a word and a mask a frame."""
    words = sorted({word for instances in videos.values() for word, _ in instances})
    data: dict[str, Any] = {"videos": [], "annotations": [], "categories": [{"id": n, "name": w} for n, w in enumerate(words, 1)]}
    for number, (name, instances) in enumerate(videos.items(), 1):
        frames = len(instances[0][1])
        files = [f"{name}/img_{frame:07d}.jpg" for frame in range(1, frames + 1)]
        data["videos"].append({"id": number, "file_names": files, "height": size[0], "width": size[1], "length": frames})
        for word, masks in instances:
            shapes = [run_lengths(mask, compressed=frame % 2 == 0) for frame, mask in enumerate(masks)]
            data["annotations"].append({"id": 1, "video_id": number, "category_id": words.index(word) + 1, "segmentations": shapes})
    path.write_text(json.dumps(data))
    return path


def moved(masks: Sequence[NDArray[np.uint8]], pixels: int) -> list[NDArray[np.bool_]]:
    return [np.roll(ids > 0, pixels, axis=1) for ids in masks]


STILL = [box(16, 25, 6, 10) > 0] * 6


def taken_over(icvos: Icvos, pond: Path, ovis: Path, *words: object) -> Any:
    return icvos("labels", "import-ovis", ovis, "--sources", "pond", "--root", f"pond={pond}", "--out", pond.parent / "ovis.csv", *words)


def test_masks_that_match_give_labels_that_a_build_takes(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    slightly_off = moved(moving_box(), 1)  # 11 of 13 columns agree
    ovis = write_ovis(tmp_path / "ovis.json", {"001ca3cb": [("Turtle", STILL), ("Dog", slightly_off)], "elsewhere": [("Cat", STILL)]})
    said = taken_over(icvos, pond, ovis)
    assert (said.code, said.err) == (0, "")
    assert "2 objects named, 0 left to a person" in said.out
    first, second = read_labels([tmp_path / "ovis.csv"]).rows
    assert (first.clip, first.object, first.class_name, first.who) == ("001ca3cb", 1, "dog", "OVIS")
    assert first.how == "Dog by matching masks, overlap 0.85"
    assert (second.object, second.class_name, second.how) == (2, "none", "Turtle by matching masks, overlap 1.00")
    written = (tmp_path / "ovis.csv").read_bytes()
    assert taken_over(icvos, pond, ovis).code == 0
    assert (tmp_path / "ovis.csv").read_bytes() == written
    words = ("--sources", "pond", "--root", f"pond={pond}", "--coco", tmp_path / "COCO", "--labels", tmp_path / "ovis.csv", "--dry-run")
    said = icvos("build", *words)
    assert "in   pond/001ca3cb/dog" in said.out
    assert "out  pond/001ca3cb/none" in said.out


def test_an_instance_that_covers_most_of_an_object_is_enough(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    halves = [mask & (np.arange(SIZE[1]) < 33) for mask in STILL]
    ovis = write_ovis(tmp_path / "ovis.json", {"001ca3cb": [("Dog", moved(moving_box(), 0)), ("Cat", halves)]})
    said = taken_over(icvos, pond, ovis)
    assert [(row.object, row.class_name) for row in read_labels([tmp_path / "ovis.csv"]).rows] == [(1, "dog"), (2, "cat")]
    assert said.code == 0
    assert "overlap 0.80" in (tmp_path / "ovis.csv").read_text()


@pytest.mark.parametrize(
    ("instances", "found"),
    [
        ([("Dog", moved(moving_box(), 4))], {1: "Dog with overlap 0.50", 2: "no instance"}),
        (
            [("Dog", moved(moving_box(), 0)), ("Cat", moved(moving_box(), 1)), ("Person", STILL)],
            {1: "Dog with overlap 1.00, and Cat with 0.85"},
        ),
        ([("Vehical", moved(moving_box(), 0)), ("Person", STILL)], {1: "Vehical, which is not one class of COCO"}),
        ([("Dog", moved(moving_box(), 0)[:5]), ("Person", STILL[:5])], {0: "5 frames of 24 x 40"}),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_listed_and_gets_no_label(
    icvos: Icvos, pond: Path, tmp_path: Path, instances: Sequence[tuple[str, Masks]], found: dict[int, str]
) -> None:
    said = taken_over(icvos, pond, write_ovis(tmp_path / "ovis.json", {"001ca3cb": instances}), "--json")
    assert said.code == 0
    listed = {finding["where"]: finding["found"] for finding in json.loads(said.out)["unmatched"]}
    assert listed == {f"pond/001ca3cb object {number}" if number else "pond/001ca3cb": words for number, words in found.items()}
    labelled = {row.object for row in read_labels([tmp_path / "ovis.csv"]).rows}
    assert labelled == (set() if 0 in found else {1, 2} - set(found))


def test_two_instances_of_one_class_are_no_reason_to_doubt(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    instances = [("Dog", moved(moving_box(), 0)), ("Dog", moved(moving_box(), 1)), ("Person", STILL)]
    taken_over(icvos, pond, write_ovis(tmp_path / "ovis.json", {"001ca3cb": instances}))
    assert [(row.object, row.class_name) for row in read_labels([tmp_path / "ovis.csv"]).rows] == [(1, "dog"), (2, "person")]


def test_an_instance_out_of_sight_counts_no_pixels(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    seldom = [STILL[0], None, STILL[0], STILL[0], STILL[0], STILL[0]]
    taken_over(icvos, pond, write_ovis(tmp_path / "ovis.json", {"001ca3cb": [("Person", seldom)]}))
    assert [row.how for row in read_labels([tmp_path / "ovis.csv"]).rows] == ["Person by matching masks, overlap 0.83"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"videos": [{"id": 1}], "annotations": [], "categories": []}', "{"])
def test_what_is_no_file_of_ovis_is_refused(icvos: Icvos, pond: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "ovis.json").write_text(content)
    said = taken_over(icvos, pond, tmp_path / "ovis.json")
    assert said.code == 3
    assert "not OVIS annotations" in said.err or "corrupt JSON" in said.err
    assert not (tmp_path / "ovis.csv").exists()


def test_run_lengths_that_do_not_fill_the_frame_are_told_with_their_place(pond: Path, tmp_path: Path) -> None:
    from curation.ovis import match_clip, read_ovis
    from icvos.registry import load_sources

    path = write_ovis(tmp_path / "ovis.json", {"001ca3cb": [("Dog", STILL)]})
    path.write_text(path.read_text().replace('"counts": [', '"counts": [5, '))
    clip = next(iter(load_sources({"pond": pond})[0].clips()))
    with pytest.raises(DataError, match=r"a malformed segmentation: OVIS, 001ca3cb, Dog, frame 00001: .* do not fill 24 x 40"):
        match_clip(clip, read_ovis(path)["001ca3cb"])
