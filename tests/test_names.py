"""Names of files: what is no data, natural order and where it is not certain, accents; and readers that go by these rules."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import submissions as s
from conftest import Said
from hypothesis import given
from hypothesis import strategies as st
from toys import install_pond, make_coco, make_davis, make_pond, moving_box, write_frame, write_ids

from curation.sources.davis import Davis2017
from curation.sources.scan import MaskScan, scan_masks
from icvos.benchmark import Benchmark
from icvos.categories import BY_NAME
from icvos.fewshot.pools import PascalPool
from icvos.kernels import kernel_named
from icvos.masks import read_ids
from icvos.names import accents_note, by_stem, data_in, is_junk, natural_key, not_data_below, order_doubt
from icvos.png import PngError
from icvos.training.class_pictures import VOC_NAMES, VocClassPictures
from icvos.training.pictures import Picture, voc_pictures

Command = Callable[..., Said]
LEFT = ("._00000.jpg", "._00000.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._00001.jpg", ".ipynb_checkpoints/00000.jpg")


def leave(folder: Path, names: tuple[str, ...] = LEFT) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07 left behind")


def renamed(data: Path, names: list[str], clip: str = "rex") -> None:
    """The frames and masks of a clip under other names, in this order of time."""
    for tree, ending in (("JPEGImages", ".jpg"), ("Annotations", ".png")):
        folder = data / "DAVIS" / tree / "480p" / clip
        for path, name in zip(sorted(folder.iterdir()), names, strict=True):
            path.rename(folder / f"{name}{ending}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """DAVIS with one clip of twelve frames, and COCO."""
    make_davis(tmp_path / "data/DAVIS", {"rex": ({1: "dog"}, moving_box(12))})
    make_coco(tmp_path / "data/COCO")
    return tmp_path / "data"


# The rules


@pytest.mark.parametrize("name", ["._x.png", ".DS_Store", "THUMBS.DB", "Desktop.ini", "__MACOSX", ".git", "@eaDir", "Icon\r", ".x.partial"])
def test_no_data(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", ["00000.png", "_x.png", "thumbs.png", "MACOSX", "a.DS_Store", "icon", "#1.png"])
def test_data(name: str) -> None:
    assert not is_junk(name)


@given(st.lists(st.integers(0, 10**12), unique=True), st.integers(0, 12), st.sampled_from(["", "frame_", "a-3-"]))
def test_numbers_count_as_numbers(numbers: list[int], width: int, word: str) -> None:
    names = [f"{word}{number:0{width}d}" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{word}{number:0{width}d}" for number in sorted(numbers)]
    assert order_doubt(names) == ""


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), unique=True))
def test_every_name_has_one_place(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
    order_doubt(names)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1", "01", "2"], "01 and 1 are the same number"),
        (["a", "b"], "a and b differ in more than a number"),
        (["frame", "frame_1", "frame_2"], "differ in more than a number"),
        (["frame_1", "Frame_2"], "differ in more than a number"),
        (["cam1_f2", "cam2_f1"], "from cam1_f2 to cam2_f1 one number grows and another falls"),
        (["t1.5", "t1.25"], "numbers of different lengths behind a point"),
        (["0a", "00001"], "differ in more than a number"),
    ],
)
def test_an_order_that_is_not_certain(names: list[str], words: str) -> None:
    assert words in order_doubt(names) and words in order_doubt(names[::-1])


@pytest.mark.parametrize("names", [[], ["x"], ["00000", "00001"], ["v2_f9", "v2_f10"], ["1_1", "2_2", "10_10"], ["t0.25", "t0.50"]])
def test_an_order_that_is_certain(names: list[str]) -> None:
    assert order_doubt(names) == ""


def test_folders_are_listed_by_these_rules(tmp_path: Path) -> None:
    leave(tmp_path)
    for name in ("10.JPG", "2.jpeg", "1.jpg", "2.txt", "3.PNG"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in data_in(tmp_path, (".jpg", ".jpeg"))] == ["1.jpg", "2.jpeg", "10.JPG"]
    assert by_stem(tmp_path, (".png",)) == {"3": tmp_path / "3.PNG"}
    assert data_in(tmp_path / "nowhere") == ()
    found = not_data_below(tmp_path)
    assert found.count == len(LEFT) and found.example == str(tmp_path / ".DS_Store")
    assert str(not_data_below(tmp_path / "nowhere")) and not not_data_below(tmp_path / "nowhere")


def test_a_name_that_looks_the_same(tmp_path: Path) -> None:
    apart, whole = (unicodedata.normalize(form, "é/ü.jpg") for form in ("NFD", "NFC"))
    (tmp_path / apart).parent.mkdir()
    (tmp_path / apart).write_bytes(b"x")
    assert "accents written otherwise (NFD)" in accents_note(tmp_path / whole)
    assert accents_note(tmp_path / "e/u.jpg") == accents_note(tmp_path / apart) == ""


# Order, from the files to the release


@pytest.mark.parametrize("word", ["frame_", "", "a1b"])
def test_frames_without_zeros_are_frozen_in_the_order_of_time(icvos: Command, data: Path, tmp_path: Path, word: str) -> None:
    names = [f"{word}{number}" for number in range(12)]
    renamed(data, names)
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--materialise", tmp_path / "official")
    assert said.code == 0 and "frame-order" not in said.err
    (clip,) = Benchmark.open(tmp_path / "R").manifest.clips
    assert list(clip.frames) == names
    said = icvos("import", tmp_path / "official", "--coco", data / "COCO", "--out", tmp_path / "I")
    assert said.code == 0 and list(Benchmark.open(tmp_path / "I").manifest.clips[0].frames) == names


def test_a_release_keeps_the_order_in_which_it_was_frozen(icvos: Command, data: Path, tmp_path: Path) -> None:
    renamed(data, [f"frame_{number}" for number in range(12)])
    icvos("build", "--data", data, "--out", tmp_path / "R")
    manifest = json.loads((tmp_path / "R/manifest.json").read_text())
    (clip,) = manifest["clips"]
    order = sorted(range(12), key=lambda place: clip["frames"][place])  # as text, as older versions had it
    for entry, keys in ((clip, ("frames", "image_sha256")), (clip["tubes"][0], ("mask_sha256",))):
        for key in keys:
            entry[key] = [entry[key][place] for place in order]
    (tmp_path / "R/manifest.json").write_text(json.dumps(manifest))
    assert [frame.id for frame in next(iter(Benchmark.open(tmp_path / "R").tubes.values())).clip.frames] == clip["frames"]
    assert icvos("verify", tmp_path / "R").code == 0


@pytest.mark.parametrize("names", [[*"abcdefghijkl"], ["0", "00", *map(str, range(1, 11))]])
def test_an_order_that_is_not_certain_is_told(icvos: Command, data: Path, tmp_path: Path, names: list[str]) -> None:
    renamed(data, names)
    assert {finding.code for finding in Davis2017(data / "DAVIS").verify()} == {"frame-order"}
    assert icvos("verify", "--source", "davis", "--data", data).code == 3
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--materialise", tmp_path / "official")
    assert said.code == 0 and said.err.count("note: frame-order: ") == 1
    said = icvos("import", tmp_path / "official", "--coco", data / "COCO", "--out", tmp_path / "I")
    assert said.code == 0 and said.err.count("note: frame-order: ") == 1


def test_a_plug_in_that_sorts_as_text_is_told(icvos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_set: None) -> None:
    install_pond(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    make_coco(tmp_path / "COCO")
    root = make_pond(tmp_path / "POND", {"one": list(moving_box(12))})
    for tree in ("JPEGImages", "Annotations"):
        for path in sorted((root / tree / "one").iterdir()):
            path.rename(path.with_stem(str(int(path.stem))))
    Path("labels.csv").write_text("source,clip,object,class,who,when,how\npond,one,1,dog,ann,,\n")
    said = icvos("build", "--sources", "pond", "--data", tmp_path, "--labels", "labels.csv", "--out", "R")
    assert said.code == 0 and "frame-order" in said.err and "10 before 2" in said.err


# Endings


def test_endings_of_any_case_are_read(icvos: Command, data: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", data, "--out", tmp_path / "small").code == 0
    for folder, ending in (("JPEGImages", ".JPG"), ("Annotations", ".PNG")):
        for path in list((data / "DAVIS" / folder / "480p/rex").iterdir()):
            path.rename(path.with_suffix(ending))
    assert icvos("verify", "--source", "davis", "--data", data).code == 0
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--materialise", tmp_path / "official")
    assert said.code == 0, said
    small, large = (Benchmark.open(tmp_path / name).manifest.clips[0] for name in ("small", "R"))
    assert (small.image_sha256, small.tubes[0].mask_sha256) == (large.image_sha256, large.tubes[0].mask_sha256)
    assert {path.suffix for path in (tmp_path / "official").rglob("0*.*")} == {".jpg", ".png"}
    for path in list((tmp_path / "official").rglob("0*.*")):
        path.rename(path.with_suffix({".jpg": ".jpeg", ".png": ".PNG"}[path.suffix]))
    assert icvos("import", tmp_path / "official", "--coco", data / "COCO", "--out", tmp_path / "I").code == 0


def test_two_files_of_one_frame_are_never_a_silent_choice(icvos: Command, data: Path, tmp_path: Path) -> None:
    folder = data / "DAVIS/JPEGImages/480p/rex"
    shutil.copy(folder / "00003.jpg", folder / "00003.jpeg")
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 3 and "00003.jpeg beside it" in said.err


def test_accents_of_a_mask_are_one_finding_and_hide_no_other(data: Path) -> None:
    names = [unicodedata.normalize("NFC", f"é{number}") for number in range(12)]
    renamed(data, names)
    folder = data / "DAVIS/Annotations/480p/rex"
    (folder / f"{names[3]}.png").rename(folder / unicodedata.normalize("NFD", f"{names[3]}.png"))
    (folder / f"{names[5]}.png").unlink()
    assert [finding.code for finding in Davis2017(data / "DAVIS").verify()] == ["frame-without-mask", "accents"]


# What is no data


def test_a_name_in_a_note_obeys_nobody(tmp_path: Path) -> None:
    leave(tmp_path, (".x\x1b[2J\n",))
    assert str(not_data_below(tmp_path)).isprintable()


def test_build_import_and_verify_tell_it_once_and_give_the_same_bytes(icvos: Command, data: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", data, "--out", tmp_path / "clean", "--materialise", tmp_path / "official").code == 0
    for place in ("DAVIS/JPEGImages/480p/rex", "DAVIS/Annotations/480p/rex", "DAVIS/JPEGImages/480p", "DAVIS/Annotations/480p", "DAVIS"):
        leave(data / place)
    leave(data / "DAVIS/ImageSets/2017", ("._val.txt", ".DS_Store"))
    leave(data / "COCO/val2017", ("._000000001000.jpg",))
    leave(data / "COCO/annotations", ("._instances_val2017.json",))
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 0 and said.err.count("note: ") == 1 and "files that are no data are not read" in said.err
    for name in ("manifest.json", "episodes.jsonl"):
        assert (tmp_path / "R" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    said = icvos("verify", "--source", "davis", "--data", data)
    assert said.code == 0 and said.err.count("note: ") == 1
    assert icvos("verify", "--source", "coco", "--data", data).code == 0
    assert icvos("import", tmp_path / "official", "--coco", data / "COCO", "--out", tmp_path / "I").code == 0
    for folder in [tmp_path / "official", *(path for path in (tmp_path / "official").rglob("*") if path.is_dir())]:
        leave(folder)
    said = icvos("import", tmp_path / "official", "--coco", data / "COCO", "--out", tmp_path / "J")
    assert said.code == 0 and said.err.count("note: ") == 1, said
    assert (tmp_path / "I/manifest.json").read_bytes() == (tmp_path / "J/manifest.json").read_bytes()


def test_a_folder_to_write_to_may_hold_it(icvos: Command, data: Path, tmp_path: Path) -> None:
    leave(tmp_path / "R")
    leave(tmp_path / "runs/full-frame")
    assert icvos("build", "--data", data, "--out", tmp_path / "R").code == 0
    words = ("run", "--method", "full-frame", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs", "--limit", 2)
    assert icvos(*words).code == 0


# Formats that are not what names say


def test_a_png_called_jpg_and_a_jpeg_called_png_are_named(icvos: Command, data: Path, tmp_path: Path) -> None:
    davis = data / "DAVIS"
    write_frame(tmp_path / "frame.png", 3)
    shutil.copy(tmp_path / "frame.png", davis / "JPEGImages/480p/rex/00003.jpg")
    write_ids(tmp_path / "mask.jpg", moving_box(1)[0], "L")
    shutil.copy(tmp_path / "mask.jpg", davis / "Annotations/480p/rex/00004.png")
    found = {finding.code: finding for finding in Davis2017(davis).verify()}
    assert found["format"].found == "a PNG called .jpg" and found["unreadable"].found == "a JPEG called .png"
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 3 and "a JPEG called .png" in said.err
    shutil.copy(davis / "Annotations/480p/rex/00003.png", davis / "Annotations/480p/rex/00004.png")
    assert icvos("build", "--data", data, "--out", tmp_path / "R").code == 0  # a picture is what it holds


# Masks of few bits


def grey(values: np.ndarray, depth: int, colour: int = 0) -> bytes:
    """A PNG of these values as they are, `depth` bits each."""
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :].reshape(len(values), -1)
    rows = np.pad(np.packbits(bits, axis=1), ((0, 0), (1, 0)))
    body = s.chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    head = s.header(values.shape[1], values.shape[0], depth, colour)
    return head + body + s.chunk(b"IDAT", zlib.compress(rows.tobytes())) + s.chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("colour", [0, 3])
def test_masks_of_few_bits_are_read_as_they_are_stored(tmp_path: Path, depth: int, colour: int) -> None:
    values = (np.arange(24 * 40).reshape(24, 40) // 7 % 2**depth).astype(np.uint8)
    for folder in ("SegmentationClass", "JPEGImages"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "SegmentationClass/a.png"
    path.write_bytes(grey(values, depth, colour))
    write_frame(tmp_path / "JPEGImages/a.jpg", 1)
    assert np.array_equal(read_ids(path), values)
    (shown,) = scan_masks([path])
    assert isinstance(shown, MaskScan) and shown.values == {value: int((values == value).sum()) for value in range(1, 2**depth)}
    classes = VocClassPictures("pascal", tmp_path, smallest=0)
    pool = PascalPool(tmp_path)
    for value in range(1, 2**depth):
        assert np.array_equal(classes.mask(0, value), values == value)
        assert np.array_equal(pool.labels("a") == BY_NAME[VOC_NAMES[value - 1]].id, values == value)
    masks = voc_pictures(tmp_path)[0].read()[1]
    assert all(any(np.array_equal(mask, values == value) for mask in masks) for value in range(1, 2**depth))


def test_a_prediction_of_few_bits_is_not_scaled() -> None:
    kernel = kernel_named("numpy")
    values = np.zeros((8, 8), np.uint8)
    values[2:5] = 1
    assert np.array_equal(kernel.unpack(kernel.read_prediction(grey(values, 2))), values > 0)
    with pytest.raises(PngError, match="values 0 and 3 of 2 bits, as stored"):
        kernel.read_prediction(grey(values * 3, 2))


# Trees of images


def test_what_is_no_data_in_trees_of_images(icvos: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trees = runpy.run_path(str(Path(__file__).parent / "fewshot/trees.py"))
    voc = trees["make_voc"](tmp_path / "VOC", split=False)
    words = ("fewshot", "--benchmark", "pascal5i", "--fold", 0, "--episodes", 4, "--method", "full-frame", "--pascal", voc)
    assert icvos(*words, "--releases", tmp_path / "one", "--out", tmp_path / "runs1").code == 0
    known = [VocClassPictures("pascal", voc).names, [picture.name for picture in voc_pictures_of(voc)]]
    for folder in ("", "JPEGImages", "SegmentationClassAug", "SegmentationClass"):
        leave(voc / folder, (*LEFT, "._2007_000000.jpg", "._2007_000000.png", ".hidden.png"))
    said = icvos(*words, "--releases", tmp_path / "two", "--out", tmp_path / "runs2")
    assert said.code == 0 and said.err.count("note: ") == 1
    one, two = (next((tmp_path / name).glob("*/pictures.jsonl")).read_bytes() for name in ("one", "two"))
    assert one == two
    assert [VocClassPictures("pascal", voc).names, [picture.name for picture in voc_pictures_of(voc)]] == known


def voc_pictures_of(voc: Path) -> list[Picture]:
    if not (voc / "SegmentationClass/2007_000000.png").exists():
        shutil.copytree(voc / "SegmentationClassAug", voc / "SegmentationClass", dirs_exist_ok=True)
    return voc_pictures(voc)


def test_endings_of_any_case_in_trees_of_images(tmp_path: Path) -> None:
    trees = runpy.run_path(str(Path(__file__).parent / "fewshot/trees.py"))
    voc = trees["make_voc"](tmp_path / "VOC")
    pictures = VocClassPictures("pascal", voc)
    before = [pictures.image(0).tobytes(), pictures.mask(0, 1).tobytes(), PascalPool(voc).members]
    for path in [*voc.rglob("*.jpg"), *voc.rglob("*.png")]:
        path.rename(path.with_suffix({".jpg": ".JPEG", ".png": ".PNG"}[path.suffix]))
    pictures = VocClassPictures("pascal", voc)
    assert [pictures.image(0).tobytes(), pictures.mask(0, 1).tobytes(), PascalPool(voc).members] == before
    assert PascalPool(voc).file("2007_000000") == "JPEGImages/2007_000000.JPEG"


# What programs leave behind


def test_what_a_program_leaves_beside_its_masks_is_told_once(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import json, sys\nfrom pathlib import Path\nfrom PIL import Image\n"
        "given, wanted = Path(sys.argv[1]), Path(sys.argv[2])\ntask = json.loads((given / 'task.json').read_text())\n"
        "for name in ('.DS_Store', '__MACOSX'):\n    (wanted / name).write_text('x')\n"
        "for episode in task['episodes']:\n    folder = wanted / episode['folder']\n    folder.mkdir()\n"
        "    (folder / '._00000.png').symlink_to('/etc/passwd')\n    (folder / '.ipynb_checkpoints').mkdir()\n"
        "    for mask in task['masks']:\n        Image.new('1', task['size'][::-1]).save(folder / mask)\n"
    )
    said = icvos(
        *("run", "--program", f"{sys.executable} {tmp_path / 'mine.py'}", "--benchmark", toy_release, "--out", tmp_path / "runs"),
        *("--workers", 1),
    )
    assert said.code == 0 and said.err.count("not-data") == 1 and "files that are no data are not read" in said.err, said
    assert "as .DS_Store" in said.err
