"""DAVIS trees, whole and broken: the readings of 2016 and 2017, lists, labels, and what belongs to no object."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from toys import box, make_coco, make_davis, moving_box, two_clips, write_frame, write_ids

from curation.labels import SYNONYMS, coco_category, davis_labels, read_semantics
from curation.sources.coco import Coco
from curation.sources.davis import Davis2016, Davis2017
from curation.tubes import curate
from icvos.categories import BY_NAME
from icvos.errors import DataError, IcvosError, UserInputError
from icvos.types import Clip, Instance, Source, Tube


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A toy tree that a test may change."""
    return make_davis(tmp_path / "DAVIS", two_clips())


@pytest.fixture
def pool(tmp_path: Path) -> Coco:
    return Coco(make_coco(tmp_path / "COCO"))


def set_names(root: Path, names: Mapping[str, Mapping[int, str]]) -> None:
    (root / "davis_semantics.json").write_text(json.dumps(names))


def clip_named(source: Source, name: str) -> Clip:
    return next(clip for clip in source.clips() if clip.name == name)


def test_clips_come_sorted_with_every_frame_in_order(davis: Path) -> None:
    clips = list(Davis2017(davis).clips())
    assert [clip.key for clip in clips] == ["davis/rex", "davis/tom"]
    assert clips[0].size == (24, 40)
    assert clips[0].encoding == "ids"
    assert [frame.id for frame in clips[0].frames] == [f"{number:05d}" for number in range(6)]
    assert all(frame.image.is_file() and frame.mask and frame.mask.is_file() for clip in clips for frame in clip.frames)


def test_frame_numbers_may_skip_and_start_anywhere(davis: Path) -> None:
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        (davis / folder / "480p/rex" / f"00000.{suffix}").unlink()
        (davis / folder / "480p/rex" / f"00003.{suffix}").unlink()
    assert [frame.id for frame in clip_named(Davis2017(davis), "rex").frames] == ["00001", "00002", "00004", "00005"]


# Readings


def test_palette_values_are_objects_and_255_is_void_in_2017(davis: Path) -> None:
    ids = np.maximum.reduce([box(0, 0, 5, 5, 1), box(10, 10, 5, 5, 2), box(16, 20, 5, 5, 255)])
    write_ids(davis / "Annotations/480p/rex/00000.png", ids)
    set_names(davis, {"rex": {1: "dog", 2: "dog"}, "tom": {1: "cat", 2: "person", 3: "goat"}})
    source = Davis2017(davis)
    clip = clip_named(source, "rex")
    assert source.instances(clip) == (Instance(1, "dog"), Instance(2, "dog"))
    mask = next(Tube(clip, BY_NAME["dog"], (1, 2)).masks())
    assert mask is not None
    assert np.array_equal(mask, (ids == 1) | (ids == 2))
    assert source.verify() == []


def tree_of_2016(root: Path, names: Mapping[str, str], folder: str = "Annotations") -> Path:
    for name in names:
        for number in range(5):
            write_frame(root / "JPEGImages/480p" / name / f"{number:05d}.jpg", number)
            write_ids(root / folder / "480p" / name / f"{number:05d}.png", box(2, 2 + number, 9, 9, 255), "L")
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text("".join(f"{name}\n" for name in names))
    set_names(root, {name: {1: word} for name, word in names.items()})
    return root


@pytest.mark.parametrize("folder", ["Annotations", "Annotations_2016"])
def test_255_is_foreground_in_a_grey_mask_of_2016(tmp_path: Path, folder: str) -> None:
    source = Davis2016(tree_of_2016(tmp_path, {"rex": "dog"}, folder))
    clip = clip_named(source, "rex")
    assert (clip.key, clip.encoding) == ("davis2016/rex", "binary")
    assert source.instances(clip) == (Instance(1, "dog"),)
    areas = [int(mask.sum()) for mask in Tube(clip, BY_NAME["dog"], (1,)).masks() if mask is not None]
    assert areas == [81] * 5
    assert source.verify() == []


def test_one_mask_of_two_classes_is_out_with_its_reason(tmp_path: Path, pool: Coco) -> None:
    root = tree_of_2016(tmp_path / "DAVIS", {"rex": "dog", "ride": "dog"})
    set_names(root, {"rex": {1: "dog", 2: "dog"}, "ride": {1: "dog", 2: "person"}})
    curated = curate([Davis2016(root)], pool)
    assert [tube.id for tube in curated.tubes] == ["davis2016/rex/dog"]
    (refused,) = curated.left_out
    assert (refused.clip, refused.rule) == ("davis2016/ride", "named")
    assert "merges objects of several classes" in refused.reason


def test_the_masks_of_both_years_in_one_tree_are_told_apart(davis: Path) -> None:
    tree_of_2016(davis / "tmp", {"rex": "dog"}, "Annotations_2016")
    shutil.move(davis / "tmp/Annotations_2016", davis / "Annotations_2016")
    shutil.move(davis / "tmp/ImageSets/2016", davis / "ImageSets/2016")
    (davis / "JPEGImages/480p/rex/00005.jpg").unlink()
    (davis / "Annotations/480p/rex/00005.png").unlink()
    assert [(clip.key, clip.encoding) for clip in Davis2016(davis).clips()] == [("davis2016/rex", "binary")]
    assert [(clip.key, clip.encoding) for clip in Davis2017(davis).clips()] == [("davis/rex", "ids"), ("davis/tom", "ids")]


@pytest.mark.parametrize("folder", ["Full-Resolution", "1080p"])
def test_full_resolution_is_read_where_480p_is_not_there(davis: Path, folder: str) -> None:
    for part in ("JPEGImages", "Annotations"):
        (davis / part / "480p").rename(davis / part / folder)
    clip = clip_named(Davis2017(davis), "rex")
    assert clip.frames[0].image == davis / "JPEGImages" / folder / "rex/00000.jpg"
    assert Davis2017(davis).verify() == []


# Lists


@pytest.mark.parametrize(
    "text",
    [
        "rex\n",
        "rex",
        "\n  rex  \r\n\n",
        "\ufeffrex\n",
        "/JPEGImages/480p/rex/00000.jpg /Annotations/480p/rex/00000.png\n/JPEGImages/480p/rex/00001.jpg /Annotations/480p/rex/00001.png\n",
    ],
)
def test_a_list_holds_names_or_pairs_of_paths(davis: Path, text: str) -> None:
    (davis / "ImageSets/2017/val.txt").write_text(text, encoding="utf-8")
    assert Davis2017(davis).sequences() == ["rex"]


def test_train_and_val_are_read_and_the_test_lists_are_not(davis: Path) -> None:
    (davis / "ImageSets/2017/val.txt").write_text("rex\n")
    (davis / "ImageSets/2017/train.txt").write_text("tom\nrex\n")
    (davis / "ImageSets/2017/test-dev.txt").write_text("secret\n")
    assert Davis2017(davis).sequences() == ["rex", "tom"]


def test_without_a_list_of_the_year_every_folder_is_a_sequence(davis: Path) -> None:
    (davis / "ImageSets/2017").rename(davis / "ImageSets/480p")
    assert Davis2017(davis).sequences() == ["rex", "tom"]


@pytest.mark.parametrize("entry", ["..", "a#b", "x{}", "../.."])
def test_a_hostile_list_is_a_fault_of_the_data_with_its_line(davis: Path, entry: str) -> None:
    (davis / "ImageSets/2017/val.txt").write_text(f"rex\n{entry}\n")
    with pytest.raises(DataError, match=r"not a sequence: .*val\.txt, line 2: found .*expected a folder's name"):
        Davis2017(davis).sequences()


def test_a_list_that_is_no_text_is_a_fault_of_the_data(davis: Path) -> None:
    (davis / "ImageSets/2017/val.txt").write_bytes(b"\xff\xfe\x00r")
    with pytest.raises(DataError, match=r"not a list of sequences: .*val\.txt: found .*UTF-8"):
        Davis2017(davis).sequences()


# Labels


def test_the_shipped_labels_name_every_sequence_of_davis() -> None:
    labels = davis_labels()
    assert len(labels) == 150
    assert labels["dog"] == {1: "dog"}
    assert labels["bmx-trees"] == {1: "bicycle", 2: "person"}
    assert all(word and min(objects) == 1 for objects in labels.values() for word in objects.values())


def test_a_tree_without_its_own_list_uses_the_shipped_labels(tmp_path: Path) -> None:
    root = make_davis(tmp_path, {"dog": ({}, moving_box()), "my-clip": ({}, moving_box())})
    (root / "davis_semantics.json").unlink()
    source = Davis2017(root)
    assert source.instances(clip_named(source, "dog")) == (Instance(1, "dog"),)
    assert source.instances(clip_named(source, "my-clip")) == (Instance(1, None),)


def test_a_trees_own_list_goes_before_the_shipped_labels(tmp_path: Path) -> None:
    root = make_davis(tmp_path, {"dog": ({1: "cat"}, moving_box())})
    source = Davis2017(root)
    assert source.instances(clip_named(source, "dog")) == (Instance(1, "cat"),)


@pytest.mark.parametrize(
    "content", ["[]", "5", '{"dog": 5}', '{"dog": {"one": "dog"}}', '{"dog": {"1": null}}', '{"dog": {"1": ["dog"]}}', "{"]
)
def test_a_broken_semantics_list_is_told_with_its_path(davis: Path, content: str) -> None:
    path = davis / "davis_semantics.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"(not a semantics list|corrupt JSON): .*davis_semantics\.json"):
        read_semantics(path)
    with pytest.raises(DataError):
        Davis2017(davis)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("dog", "dog"),
        ("Dog", "dog"),
        (" sports_ball ", "sports ball"),
        ("aeroplane", "airplane"),
        ("motorbike", "motorcycle"),
        ("ski", "skis"),
    ],
)
def test_words_that_mean_a_class(word: str, name: str) -> None:
    category = coco_category(word)
    assert category is not None
    assert category.name == name


@pytest.mark.parametrize("word", ["goat", "kart", "sail", "scooter", "camel", "", "dogs"])
def test_words_that_mean_no_class(word: str) -> None:
    assert coco_category(word) is None


def test_every_synonym_leads_to_a_class_and_hides_none() -> None:
    assert set(SYNONYMS.values()) <= set(BY_NAME)
    assert not set(SYNONYMS) & set(BY_NAME)


# Rules


def test_objects_of_one_class_make_one_tube_whichever_words_name_them(davis: Path, tmp_path: Path) -> None:
    ids = np.maximum.reduce([box(0, 0, 5, 5, 1), box(10, 10, 5, 5, 2), box(16, 20, 5, 5, 3)])
    for number in range(6):
        write_ids(davis / f"Annotations/480p/rex/{number:05d}.png", ids)
    set_names(davis, {"rex": {1: "ball", 2: "dog", 3: "sports ball"}, "tom": {}})
    curated = curate([Davis2017(davis)], Coco(make_coco(tmp_path / "COCO", ["dog", "sports ball"])))
    assert [(tube.id, tube.instances) for tube in curated.tubes if tube.clip.name == "rex"] == [
        ("davis/rex/dog", (2,)),
        ("davis/rex/sports-ball", (1, 3)),
    ]


def test_each_rule_refuses_with_its_reason(davis: Path, pool: Coco) -> None:
    late = [box(0, 0, 5, 5, 1), *[np.maximum(box(0, 0, 5, 5, 1), box(10, 10, 5, 5, 2)) for _ in range(5)]]
    for number, ids in enumerate(late):
        write_ids(davis / f"Annotations/480p/rex/{number:05d}.png", ids)
    set_names(davis, {"rex": {1: "dog", 2: "cat"}, "tom": {1: "car", 2: "goat"}})
    curated = curate([Davis2017(davis)], pool)
    assert [tube.id for tube in curated.tubes] == ["davis/rex/dog"]
    reasons = {(entry.clip, entry.label): (entry.rule, entry.reason) for entry in curated.left_out}
    assert reasons == {
        ("davis/rex", "cat"): ("first-frame", "not there on the first frame 00000"),
        ("davis/tom", "car"): ("support", "COCO has no usable support of the class here"),
        ("davis/tom", "goat"): ("coco-class", "'goat' is not one of COCO's 80 classes"),
        ("davis/tom", "?"): ("named", "object 3 has no name in the label list"),
    }


# Broken trees


def test_frames_without_masks_and_the_reverse_are_all_listed(davis: Path) -> None:
    (davis / "Annotations/480p/rex/00002.png").unlink()
    (davis / "JPEGImages/480p/rex/00004.jpg").unlink()
    (davis / "Annotations/480p/tom/00001.png").unlink()
    source = Davis2017(davis)
    found = {(finding.code, Path(finding.where).parts[-2], Path(finding.where).stem) for finding in source.verify()}
    expected = {
        ("frame-without-mask", "rex", "00002"),
        ("mask-without-frame", "rex", "00004"),
        ("frame-without-mask", "tom", "00001"),
    }
    assert found == expected
    with pytest.raises(DataError, match=r"found 3 faults.*icvos verify --source davis --davis DIR") as caught:
        list(source.clips())
    assert {(finding.code, Path(finding.where).parts[-2], Path(finding.where).stem) for finding in caught.value.findings} == expected


def test_every_other_fault_of_a_tree_is_listed(davis: Path) -> None:
    shutil.rmtree(davis / "JPEGImages/480p/tom")
    write_ids(davis / "Annotations/480p/rex/00001.png", box(0, 0, 5, 5, 1, (24, 41)))
    write_frame(davis / "JPEGImages/480p/rex/00002.jpg", 2, (25, 40))
    write_ids(davis / "Annotations/480p/rex/00003.png", np.maximum(box(0, 0, 5, 5, 7), box(9, 9, 5, 5, 255)))
    (davis / "Annotations/480p/rex/00004.png").write_bytes(b"no picture")
    (davis / "JPEGImages/480p/rex/00005.jpg").write_bytes(b"")
    findings = {(finding.code, Path(finding.where).name): finding for finding in Davis2017(davis).verify()}
    assert set(findings) == {
        ("no-frames", "tom"),
        ("size", "00001.png"),
        ("size", "00002.jpg"),
        ("unnamed-object", "00003.png"),
        ("unreadable", "00004.png"),
        ("unreadable", "00005.jpg"),
    }
    assert findings["unnamed-object", "00003.png"].found == "ids 7"
    assert "(24, 40)" in findings["size", "00001.png"].expected
    assert all(finding.found and finding.expected and finding.fix for finding in findings.values())


def test_a_whole_tree_has_no_fault(davis: Path) -> None:
    assert Davis2017(davis).verify() == []


# Other folders


@pytest.mark.parametrize(
    ("signs", "looks_like"),
    [
        (["annotations/instances_val2017.json"], "COCO 2017"),
        (["train/JPEGImages/0a1b/00000.jpg", "train/Annotations/0a1b/00000.png"], "MOSE"),
        (["valid/JPEGImages/x/1.jpg", "valid/Annotations/x/1.png", "valid_meta.json"], "LVOS v2"),
        (["JPEGImages/1.jpg", "SegmentationClass/1.png"], "PASCAL VOC"),
        (["bear/JPEGImages/0.jpg", "bear/Annotations/1/0.png"], "official IC-VOS tree"),
        (["notes.txt", "holiday/1.jpg"], "a folder with holiday, notes.txt"),
        ([], "an empty folder"),
    ],
)
def test_the_folder_of_another_data_set_is_recognised(tmp_path: Path, signs: list[str], looks_like: str) -> None:
    for sign in signs:
        (tmp_path / sign).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / sign).write_text("{}")
    with pytest.raises(DataError, match="another data set") as caught:
        Davis2017(tmp_path)
    said = str(caught.value)
    assert looks_like in said
    for word in (str(tmp_path), "expected DAVIS 2017", "give the folder of davis"):
        assert word in said


def test_no_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no such folder: .*nowhere: expected DAVIS 2017.*davischallenge"):
        Davis2017(tmp_path / "nowhere")


@pytest.mark.parametrize(("lost", "words"), [("Annotations", "no masks"), ("Annotations/480p", "480p or Full-Resolution")])
def test_a_tree_without_masks_is_a_fault_of_the_data(davis: Path, lost: str, words: str) -> None:
    shutil.rmtree(davis / lost)
    with pytest.raises(IcvosError, match=words) as caught:
        Davis2017(davis)
    assert caught.value.exit_code == 3
    assert str(davis) in str(caught.value)


@pytest.mark.parametrize(("later", "encoding"), [(255, "binary"), (1, "ids")])
def test_a_first_mask_that_shows_nothing_does_not_decide_how_masks_are_read(tmp_path: Path, later: int, encoding: str) -> None:
    root = make_davis(tmp_path / "DAVIS", {"rex": ({1: "dog"}, moving_box())})
    for number, ids in enumerate([box(0, 0, 0, 0), *moving_box(5, value=later)]):
        write_ids(root / "Annotations/480p/rex" / f"{number:05d}.png", ids, "L")
    assert next(Davis2017(root).clips()).encoding == encoding
