"""Pictures with an EXIF tag that turns them: every command sees the pixels as they are stored, in which masks are made."""

from __future__ import annotations

import io
import json
import runpy
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Said
from PIL import Image, ImageOps
from toys import write_ids

from icvos.benchmark import Benchmark
from icvos.errors import DataError
from icvos.masks import image_size, read_ids, read_image, without_turn
from icvos.store import PredictionStore
from icvos.training.class_pictures import open_class_pictures
from icvos.training.pictures import coco_pictures, voc_pictures

Command = Callable[..., Said]
ORIENTATIONS = (3, 6)
METHOD = """
from icvos.types import MethodCard


class Bright:
    card = MethodCard(name="bright", version="1", summary="the pixels that are bright")

    def segment(self, frames, supports):
        least = supports[0].read_image()[0, :8].mean()
        for frame in frames:
            yield frame[..., 0] > least
"""
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image, ImageOps

given, wanted = Path(sys.argv[1]), Path(sys.argv[2])
task = json.loads((given / "task.json").read_text())
shown = lambda name: np.asarray(ImageOps.exif_transpose(Image.open(given / name)).convert("RGB"))
for episode in task["episodes"]:
    (wanted / episode["folder"]).mkdir()
    for one in episode["supports"]:
        assert shown(one["image"]).shape == shown(one["mask"]).shape
    least = shown(episode["supports"][0]["image"])[0, :8].mean()
    for frame, mask in zip(task["frames"], task["masks"]):
        Image.fromarray((shown(frame)[..., 0] > least).astype("uint8")).save(wanted / episode["folder"] / mask)
"""


def tagged(data: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF tag of how to turn it, pixels as they were."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = exif.tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def turn(root: Path, orientation: int) -> Path:
    """Tag every JPEG below a folder."""
    for path in root.rglob("*.jpg"):
        path.write_bytes(tagged(path.read_bytes(), orientation))
        shown = ImageOps.exif_transpose(Image.open(path))
        assert not np.array_equal(np.asarray(shown), np.asarray(Image.open(path)))  # viewers do turn it
    return root


def on_its_side(folder: Path) -> None:
    """Masks as somebody makes them of what a viewer shows."""
    for path in folder.rglob("*.png"):
        write_ids(path, np.ascontiguousarray(np.rot90(read_ids(path), -1)))


@pytest.fixture
def data(toy_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def trees() -> Any:
    """What makes a tree of VOC, of the tests of images beside these."""
    path = Path(__file__).parent / "fewshot/trees.py"
    return runpy.run_path(str(path))["make_voc"]


# The reader, and what is handed to programs


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "XMP"])
def test_pixels_are_as_stored_and_a_tag_is_taken_off_without_coding_anew(tmp_path: Path, orientation: int, form: str) -> None:
    pixels = np.random.default_rng(orientation).integers(0, 255, (24, 40, 3), np.uint8)
    plain, stream = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(plain, "PNG" if form == "PNG" else "JPEG", quality=95)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if form == "PNG":
        Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    elif form == "XMP":
        words = f'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()
        stream.write(plain.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(words) + 2) + words + plain.getvalue()[2:])
    else:
        stream.write(tagged(plain.getvalue(), orientation))
    path = tmp_path / "x.jpg"
    path.write_bytes(stream.getvalue())
    stored = np.asarray(Image.open(io.BytesIO(plain.getvalue())))
    assert np.array_equal(read_image(path), stored) and image_size(path) == (24, 40)
    handed = without_turn(stream.getvalue())
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(handed)))
    assert np.array_equal(np.asarray(shown), stored)
    if orientation == 1:
        assert handed == stream.getvalue()
    elif form != "XMP" or len(handed) < len(stream.getvalue()):
        assert handed == plain.getvalue()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\xff\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"text"])
def test_what_is_no_picture_stays_as_it_is(data: bytes) -> None:
    assert without_turn(data) == data


# Through the commands


def masks_of(run: Path) -> dict[str, list[bytes]]:
    store = PredictionStore.open(run)
    found = {}
    for name in sorted(store.episode_ids()):
        prediction = store.find(name)
        assert prediction is not None
        found[name] = [prediction.read(frame) for frame in sorted(prediction.frame_ids)]
        prediction.close()
    return found


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_build_review_run_and_programs(icvos: Command, data: Path, tmp_path: Path, orientation: int) -> None:
    (tmp_path / "bright.py").write_text(METHOD)
    (tmp_path / "program.py").write_text(PROGRAM)
    found = {}
    for name in ("upright", "turned"):
        if name == "turned":
            turn(data, orientation)
        assert icvos("build", "--data", data, "--out", name).code == 0
        words = ("run", "--benchmark", name, "--out", f"runs-{name}", "--limit", 6)
        assert icvos(*words, "--method", "bright.py:Bright").code == 0
        said = icvos(*words, "--program", f"{sys.executable} {tmp_path / 'program.py'} {{input}} {{output}}")
        assert said.code == 0, said
        assert icvos("build", "--data", data, "--candidates", f"c-{name}").code == 0
        assert icvos("review", f"c-{name}", "--gifs-only", f"gifs-{name}").code == 0
        gifs = {read_image(path).tobytes() for path in Path(f"gifs-{name}").glob("*.gif")}
        found[name] = (masks_of(Path(f"runs-{name}/bright")), masks_of(Path(f"runs-{name}/program")), gifs)
    ours, theirs, gifs = found["upright"]
    assert ours == theirs and len(ours) == 6 and len(gifs) == 3
    assert found["turned"] == found["upright"]
    assert Benchmark.open(Path("turned")).digest != Benchmark.open(Path("upright")).digest  # the files are others


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_fewshot(icvos: Command, tmp_path: Path, orientation: int) -> None:
    trees()(tmp_path / "VOC")
    (tmp_path / "bright.py").write_text(METHOD)
    words = ("fewshot", "--benchmark", "pascal5i", "--fold", 0, "--episodes", 6, "--method", "bright.py:Bright", "--pascal", "VOC")
    assert icvos(*words, "--releases", "one", "--out", "runs1").code == 0
    turn(tmp_path / "VOC", orientation)
    assert icvos(*words, "--releases", "two", "--out", "runs2").code == 0
    one, two = (masks_of(next(Path(runs).glob("*/bright"))) for runs in ("runs1", "runs2"))
    assert one == two and len(one) == 6
    if orientation == 6:
        on_its_side(tmp_path / "VOC/SegmentationClassAug")
        said = icvos(*words, "--releases", "three", "--out", "runs3")
        assert said.code == 3 and "as viewers turn it by its EXIF tag" in said.err


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_train(icvos: Command, data: Path, tmp_path: Path, orientation: int) -> None:
    pytest.importorskip("torch")
    from safetensors.numpy import load_file

    voc = trees()(tmp_path / "VOC", split=False)
    (voc / "SegmentationClassAug").rename(voc / "SegmentationClass")
    shutil.copytree(data / "COCO/val2017", data / "COCO/train2017")
    shutil.copy(data / "COCO/annotations/instances_val2017.json", data / "COCO/annotations/instances_train2017.json")

    def all_pixels() -> list[bytes]:
        opened = [open_class_pictures("voc_small", voc), open_class_pictures("coco", data / "COCO")]
        listed = [*voc_pictures(voc), *coco_pictures(data / "COCO/annotations/instances_train2017.json", data / "COCO/train2017")]
        return [one.image(number).tobytes() for one in opened for number in range(len(one))] + [
            picture.read()[0].tobytes() for picture in listed
        ]

    words = ("train", "--method", "pfenet", "--data", f"voc_small={voc}", "--preset", "small", "--set", "image_size=96")
    words += ("--set", "width=16", "--device", "cpu", "--workers", 0, "--batch", 1, "--steps", 1, "--json")
    before, pixels = icvos(*words, "--out", "one"), all_pixels()
    turn(tmp_path, orientation)
    after = icvos(*words, "--out", "two")
    assert (before.code, after.code) == (0, 0), (before, after)
    assert all_pixels() == pixels
    one, two = (load_file(json.loads(said.out)["weights"]) for said in (before, after))
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_masks_that_fit_the_turned_picture_alone_are_told_as_that(icvos: Command, data: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", data, "--out", "R", "--materialise", "official").code == 0
    for root in (data, tmp_path / "official"):
        turn(root / "DAVIS" if root == data else root, 6)
        on_its_side(root / "DAVIS/Annotations" if root == data else root)
    words = "the mask fits the picture as viewers turn it by its EXIF tag"
    for command in (
        ("build", "--data", data, "--out", "S"),
        ("verify", "--source", "davis", "--data", data),
        ("import", "official", "--coco", data / "COCO", "--out", "I"),
    ):
        said = icvos(*command)
        assert said.code == 3 and words in said.err, (command, said)
    (tmp_path / "VOC").mkdir()
    for tree, name in (("JPEGImages", "JPEGImages"), ("Annotations", "SegmentationClass")):
        shutil.copytree(data / "DAVIS" / tree / "480p/rex", tmp_path / "VOC" / name)
    with pytest.raises(DataError, match=words):
        open_class_pictures("voc_small", tmp_path / "VOC").image(0)
    with pytest.raises(DataError, match=words):
        voc_pictures(tmp_path / "VOC")[0].read()


def test_annotations_that_fit_the_turned_picture_alone_are_told_as_that(icvos: Command, data: Path) -> None:
    path = data / "COCO/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["height"], image["width"] = image["width"], image["height"]
    content["annotations"] = [one for one in content["annotations"] if not one["iscrowd"]]
    path.write_text(json.dumps(content))
    turn(data / "COCO", 6)
    for command in (("build", "--data", data, "--out", "S"), ("verify", "--source", "coco", "--data", data)):
        said = icvos(*command)
        assert said.code == 3 and "as viewers turn it by its EXIF tag" in said.err, said
