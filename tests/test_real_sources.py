"""MOSE and LVOS trees made of real DAVIS frames: renamed, numbered anew, annotated in part, with late objects and hidden truth."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.layout import materialise
from curation.sources.davis import Davis2017
from curation.sources.lvos import Lvos2
from curation.sources.mose import Mose
from curation.sources.scan import scan
from icvos.benchmark import Benchmark
from icvos.errors import DataError

Icvos = Callable[..., Any]
FRAMES = 21


def copy_clip(davis: Path, masks: Path, images_to: Path, masks_to: Path, number: Callable[[int], str], every: int = 1) -> None:
    """The first frames of a clip and every so many-th of its masks, under other numbers."""
    images_to.mkdir(parents=True)
    masks_to.mkdir(parents=True)
    for place in range(FRAMES):
        shutil.copyfile(davis / f"{place:05d}.jpg", images_to / f"{number(place)}.jpg")
        if place % every == 0:
            shutil.copyfile(masks / f"{place:05d}.png", masks_to / f"{number(place)}.png")


@pytest.fixture
def data(sample_data: Path, tmp_path: Path) -> Path:
    """DAVIS/, MOSE/ (two clips, and a hidden one in valid) and LVOS/ (one clip, its rider late) of the sample."""
    images, masks = sample_data / "davis/JPEGImages/480p", sample_data / "davis/Annotations/480p"
    two = next((sample_data / "derived").rglob("horsejump-high"))
    mose, lvos = tmp_path / "MOSE", tmp_path / "LVOS/valid"
    for name, source in (("0a1b2c3d", "blackswan"), ("goat0000", "goat")):
        parts = (mose / f"train/{part}/{name}" for part in ("JPEGImages", "Annotations"))
        copy_clip(images / source, masks / source, *parts, number=lambda place: f"{place:05d}")
    copy_clip(
        images / "dog", masks / "dog", mose / "valid/JPEGImages/d", mose / "valid/Annotations/d", lambda place: f"{place:05d}", FRAMES
    )
    to = (lvos / "JPEGImages/3Zf4NFzn", lvos / "Annotations/3Zf4NFzn")
    copy_clip(images / "horsejump-high", two, *to, number=lambda place: f"{12 + 5 * place:08d}", every=5)
    for path in sorted(to[1].iterdir())[:2]:
        with Image.open(path) as picture:
            ids, palette = np.array(picture), picture.getpalette()
        early = Image.fromarray(np.where(ids == 2, 0, ids)).convert("P")
        early.putpalette(palette or [])
        early.save(path)
    ranges = {number: {"frame_range": {"start": start, "end": 112, "frame_nums": 21}} for number, start in (("1", 12), ("2", 62))}
    (lvos / "valid_meta.json").write_text(json.dumps({"videos": {"3Zf4NFzn": {"objects": ranges}}}))
    (tmp_path / "DAVIS/ImageSets/2017").mkdir(parents=True)
    (tmp_path / "DAVIS/ImageSets/2017/val.txt").write_text("blackswan\n")
    for part in ("JPEGImages", "Annotations"):
        (tmp_path / "DAVIS" / part).symlink_to(sample_data / "davis" / part)
    (tmp_path / "COCO").symlink_to(sample_data / "coco")
    return tmp_path


def test_real_frames_in_the_layouts_of_mose_and_lvos(data: Path) -> None:
    mose, lvos = Mose(data / "MOSE"), Lvos2(data / "LVOS")
    assert mose.verify() == []
    assert lvos.verify() == []
    assert [clip.key for clip in mose.clips()] == ["mose/0a1b2c3d", "mose/goat0000"]
    (clip,) = lvos.clips()
    assert (clip.size, len(clip.frames), clip.frames[0].id) == ((480, 854), FRAMES, "00000012")
    shown = scan(clip).frames
    assert [areas is not None for areas in shown] == [place % 5 == 0 for place in range(FRAMES)]
    assert [sorted(areas) for areas in shown if areas is not None] == [[1], [1], [1, 2], [1, 2], [1, 2]]
    shutil.rmtree(data / "MOSE/train")
    with pytest.raises(DataError, match="the truth of MOSE's valid clips is hidden"):
        Mose(data / "MOSE")


def test_the_real_davis_tree_has_no_fault(sample_data: Path) -> None:
    assert Davis2017(sample_data / "davis").verify() == []


def test_three_sources_are_built_verified_laid_out_and_found_again(icvos: Icvos, data: Path) -> None:
    rows = ("mose,0a1b2c3d,1,bird", "mose,goat0000,1,none", "lvos2,3Zf4NFzn,1,horse", "lvos2,3Zf4NFzn,2,person")
    (data / "labels.csv").write_text("source,clip,object,class,who,when,how\n" + "".join(f"{row},ann,,by eye\n" for row in rows))
    words = ("--sources", "davis,mose,lvos2", "--data", data, "--labels", data / "labels.csv", "--json")
    said = icvos("build", *words, "--out", data / "R")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    ids = {tube["id"] for tube in report["tubes"]}
    assert {"davis/blackswan/bird", "mose/0a1b2c3d/bird", "lvos2/3Zf4NFzn/horse"} <= ids
    out = {(entry["clip"], entry["label"]): entry["rule"] for entry in report["left_out"]}
    assert out["mose/goat0000", "none"] == "coco-class"
    assert out["lvos2/3Zf4NFzn", "person"] == "first-frame"
    assert icvos("verify", data / "R").code == 0
    built = Benchmark.open(data / "R")
    materialise(built, data / "tree")
    said = icvos("import", data / "tree", "--data", data, "--out", data / "again", "--json")
    found = json.loads(said.out)
    # The swan of MOSE is the first part of the swan of DAVIS: each is the clip that it has all frames of.
    assert {clip["clip"]: clip["source_clip"] for clip in found["clips"] if "swan" in clip["clip"] or "0a1b" in clip["clip"]} == {
        "ic-vos/blackswan": "davis/blackswan",
        "ic-vos/0a1b2c3d": "mose/0a1b2c3d",
    }
    assert {clip["reason"] for clip in found["clips"]} == {""}
    assert Benchmark.open(data / "again").manifest.clips == built.manifest.clips


def test_three_sources_are_reviewed_frozen_run_and_scored(icvos: Icvos, data: Path) -> None:
    (data / "labels.csv").write_text("source,clip,object,class,who,when,how\nmose,0a1b2c3d,1,bird,ann,,\nlvos2,3Zf4NFzn,1,horse,ann,,\n")
    words = ("--sources", "davis,mose,lvos2", "--data", data, "--labels", data / "labels.csv")
    assert icvos("build", *words, "--candidates", data / "to-review").code == 0
    assert icvos("review", data / "to-review", "--gifs-only", data / "gifs").code == 0
    table = data / "gifs/decisions.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["verdict"] = "unsure" if row["tube"] == "davis/blackswan/bird" else "accept"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert icvos("review", data / "to-review", "--reviewer", "ann", "--import-csv", table).code == 0
    words = ("--decisions", data / "to-review/decisions.jsonl", "--data", data, "--materialise", data / "tree")
    said = icvos("build", *words, "--out", data / "R", "--json")
    assert [tube["id"] for tube in json.loads(said.out)["tubes"]] == ["lvos2/3Zf4NFzn/horse", "mose/0a1b2c3d/bird"]
    assert icvos("verify", data / "R").code == 0
    assert icvos("run", "--method", "identity", "--benchmark", data / "R", "--out", data / "runs").code == 0
    assert len(list((data / "tree").rglob("*.png"))) == len(list(data.glob("MOSE/train/Annotations/0a1b2c3d/*"))) + 5  # the horse's
    (result,) = json.loads(icvos("score", data / "runs/identity", "--json").out)
    assert (result["J_first"], 0 < result["J"] < 1) == (1, True)  # the true first mask, where both soon are no longer
