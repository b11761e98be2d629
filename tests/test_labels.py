"""Labels: the words of sources, files of labels from several people, and what a build makes of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import box, install_pond, make_coco, make_davis, make_pond, moving_box, two_clips

from curation.label_files import HEADER, NONE, Label, LabelBook, merged, read_labels, to_csv
from curation.labels import SYNONYMS, coco_category, davis_labels, lvos_labels
from icvos.benchmark import MANIFEST
from icvos.categories import BY_NAME

Icvos = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("nothing_set")


@pytest.fixture
def pond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with POND/ (a clip `duck` with objects 1, 2 and, from frame 3 on, 3) and COCO/."""
    install_pond(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    both = [np.maximum(ids, box(16, 25, 6, 10, 2)) for ids in moving_box()]
    late = [ids if number < 3 else np.maximum(ids, box(0, 0, 4, 4, 3)) for number, ids in enumerate(both)]
    make_pond(tmp_path / "data/POND", {"duck": late, "swan": moving_box()})
    make_coco(tmp_path / "data/COCO")
    return tmp_path / "data"


def write_labels(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(HEADER), *rows, ""]))
    return path


# Words


def test_the_shipped_names_of_lvos_are_those_of_the_list(sample_data: Path) -> None:
    published = json.loads((sample_data / "lists/lvos/lvos_v1_object_classes.json").read_text())
    spelling = {"que ball": "cue ball", "cur ball": "cue ball", "cueball": "cue ball"}
    expected = {
        clip: {number: spelling.get(word, word) for number, word in enumerate(words, 1)}
        for clips in published.values()
        for clip, words in clips.items()
    }
    assert lvos_labels() == expected


def test_the_shipped_names_cover_both_data_sets() -> None:
    assert (len(lvos_labels()), sum(map(len, lvos_labels().values()))) == (220, 264)
    assert lvos_labels()["0sfNjoxO"] == {1: "person", 2: "surfboard"}
    assert len(davis_labels()) >= 90


@pytest.mark.parametrize("word", ["Motorbike", "fighter jet", "bear cub", "baby_zebra", "KID", "sailboat", "basketball", "Poultry"])
def test_safe_synonyms_mean_a_class(word: str) -> None:
    category = coco_category(word)
    assert category is not None
    assert category.name in BY_NAME


@pytest.mark.parametrize(
    "word",
    ["toy motorbike", "cue ball", "warship", "corn duster", "panda", "Giant_panda", "Vehical", "sail", "kart", "scooter", "ski poles"],
)
def test_near_misses_stay_out(word: str) -> None:
    assert coco_category(word) is None


def test_every_synonym_leads_to_a_class_and_is_none_itself() -> None:
    assert set(SYNONYMS.values()) <= set(BY_NAME)
    assert not set(SYNONYMS) & set(BY_NAME)


# Files


def test_every_fault_of_every_file_is_told_at_once(icvos: Icvos, tmp_path: Path) -> None:
    first = write_labels(
        tmp_path / "a.csv",
        "pond,duck,1,motorbike,ann,2025-03-01,",
        "pond,duck,1,dgo,ann,2025-03-01,",
        "pond,du/ck,0,dog,,yesterday,",
        "pond,duck",
    )
    second = write_labels(tmp_path / "b.csv", "pond,duck,300,none,bob,,", 'pond,duck,1,"dog,bob,,')
    said = icvos("labels", "check", first, second, "--json")
    assert said.code == 3
    found = {(finding["code"], Path(finding["where"]).name) for finding in json.loads(said.out)["findings"]}
    assert found == {
        ("unknown-class", "a.csv, line 2"),
        ("unknown-class", "a.csv, line 3"),
        ("malformed-name", "a.csv, line 4"),
        ("malformed-object", "a.csv, line 4"),
        ("nobody", "a.csv, line 4"),
        ("malformed-time", "a.csv, line 4"),
        ("malformed-line", "a.csv, line 5"),
        ("malformed-object", "b.csv, line 2"),
        ("malformed-line", "b.csv, line 3"),
    }
    assert "did you mean motorcycle?" in said.out
    assert "did you mean dog" in said.out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "found an empty file"),
        (b"clip,object,label\n", "expected source,clip,object,class,who,when,how"),
        (b"\xff\xfe", "bytes that are not UTF-8"),
        (b"source,clip,object,rank,class,score,frames\npond,duck,1,1,dog,0.5,00000\n", "not a file of labels"),
    ],
)
def test_what_is_no_file_of_labels_is_refused(icvos: Icvos, tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    said = icvos("labels", "check", tmp_path / "x.csv")
    assert said.code == 3
    assert sentence in said.err


def test_a_file_that_is_not_there_is_told(icvos: Icvos, tmp_path: Path) -> None:
    said = icvos("labels", "check", tmp_path / "nowhere.csv")
    assert (said.code, "no such file" in said.err) == (2, True)


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\#{}"), min_size=1, max_size=8).filter(
    lambda name: name not in {".", ".."}
)
words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
times = st.sampled_from(["", "2024-12-31", "2025-03-01T12:00:00", "2025-03-01T12:00:00+02:00", "2025-03-01T11:00:00Z"])
rows = st.builds(
    Label, names, st.sampled_from(["duck", "swan"]), st.integers(1, 3), st.sampled_from(["dog", "cat", NONE]),
    st.sampled_from(["ann", "bob"]), times, words,
)  # fmt: skip


@given(st.lists(rows, max_size=12))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, labels: list[Label]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    book = merged(labels)
    path.write_text(to_csv(book.rows), encoding="utf-8", newline="")
    assert read_labels([path]) == book


@given(st.lists(rows, max_size=12), st.randoms(use_true_random=False))
def test_merging_is_the_same_in_any_order_and_in_any_steps(labels: list[Label], random: Any) -> None:
    whole = merged(labels)
    shuffled = [*labels, *labels[:3]]
    random.shuffle(shuffled)
    half = len(shuffled) // 2
    steps = merged([*merged(shuffled[:half]).rows, *merged(shuffled[half:]).rows])
    assert merged(shuffled) == steps == whole
    assert whole.digest == steps.digest
    latest = {(row.source, row.clip, row.object, row.who) for row in labels}
    assert {(row.source, row.clip, row.object, row.who) for row in whole.rows} == latest


def test_of_one_person_the_latest_counts_whatever_the_zone() -> None:
    old, new = (
        Label("pond", "duck", 1, name, "ann", when) for name, when in (("cat", "2025-03-01T12:00+02:00"), ("dog", "2025-03-01T11:00Z"))
    )
    undated = Label("pond", "duck", 1, "person", "ann")
    assert merged([new, undated, old]).rows == (new,)
    assert LabelBook((old, new)).disagreements() == [(old, new)]


def test_merging_keeps_disagreements_and_lists_them(icvos: Icvos, tmp_path: Path) -> None:
    ann = write_labels(tmp_path / "ann.csv", "pond,duck,1,dog,ann,2025-03-01,", "pond,duck,2,cat,ann,2025-03-01,")
    bob = write_labels(tmp_path / "bob.csv", "pond,duck,1,cat,bob,2025-03-02,by eye")
    said = icvos("labels", "merge", ann, bob, "--out", tmp_path / "both.csv")
    assert said.code == 0
    assert "disagree  pond/duck object 1: cat (bob), dog (ann); no label until they agree" in said.out
    assert "2 objects labelled by 2, 1 disagreements" in said.out
    first = (tmp_path / "both.csv").read_bytes()
    assert icvos("labels", "merge", bob, ann, bob, "--out", tmp_path / "both.csv").code == 0
    assert (tmp_path / "both.csv").read_bytes() == first
    assert len(list(csv.DictReader(first.decode().splitlines()))) == 3
    report = json.loads(icvos("labels", "check", tmp_path / "both.csv", "--json").out)
    assert report["disagreements"] == [{"object": "pond/duck object 1", "labels": {"bob": "cat", "ann": "dog"}}]


def test_a_folder_that_cannot_be_written_leaves_nothing(icvos: Icvos, tmp_path: Path) -> None:
    ann = write_labels(tmp_path / "ann.csv", "pond,duck,1,dog,ann,,")
    (tmp_path / "file").touch()
    said = icvos("labels", "merge", ann, "--out", tmp_path / "file/out.csv")
    assert (said.code, "cannot write" in said.err) == (2, True)


# In a build


def build(icvos: Icvos, data: Path, *words: object, sources: str = "pond") -> Any:
    return icvos("build", "--sources", sources, "--data", data, "--root", f"pond={data / 'POND'}", *words)


def test_unnamed_objects_get_their_class_from_files(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    said = build(icvos, pond, "--dry-run")
    assert "out  pond/duck/?  named: object 1, 2 has no name in the label list" in said.out
    ann = write_labels(tmp_path / "ann.csv", "pond,duck,1,dog,ann,,", "pond,duck,2,none,ann,,", "lvos2,x,1,dog,ann,,")
    bob = write_labels(tmp_path / "bob.csv", "pond,swan,1,cat,bob,,", "pond,duck,1,dog,bob,,")
    said = build(icvos, pond, "--labels", ann, "--labels", bob, "--out", tmp_path / "R")
    assert said.code == 0, said.err
    assert "in   pond/duck/dog  (6 frames, objects 1)" in said.out
    assert "in   pond/swan/cat  (6 frames, objects 1)" in said.out
    assert "out  pond/duck/none  coco-class: labelled as none of COCO's 80 classes" in said.out
    assert build(icvos, pond, "--labels", bob, "--labels", ann, "--out", tmp_path / "S").code == 0
    manifests = [(tmp_path / name / MANIFEST).read_bytes() for name in "RS"]
    assert manifests[0] == manifests[1]
    stated = json.loads(manifests[0])["rules"]["labels"]
    assert stated == f"sha256 {read_labels([ann, bob]).digest}"


def test_where_people_disagree_the_object_and_its_classes_are_out_with_both_words(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    ann = write_labels(tmp_path / "ann.csv", "pond,duck,1,dog,ann,,", "pond,duck,2,dog,ann,,", "pond,swan,1,dog,ann,,")
    bob = write_labels(tmp_path / "bob.csv", "pond,duck,2,cat,bob,,")
    said = build(icvos, pond, "--labels", ann, "--labels", bob, "--dry-run")
    assert "out  pond/duck/?  named: labels do not agree: object 2 cat (bob), dog (ann)" in said.out
    # Object 1 is a dog, but the dogs of the clip would not all be in.
    assert "out  pond/duck/dog  named: labels do not agree: object 2 cat (bob), dog (ann)" in said.out
    assert "in   pond/swan/dog" in said.out
    person = write_labels(tmp_path / "p.csv", "pond,duck,1,person,cy,,", "pond,duck,2,dog,ann,,", "pond,duck,2,cat,bob,,")
    said = build(icvos, pond, "--labels", person, "--dry-run")
    assert "in   pond/duck/person" in said.out


def test_an_object_without_a_name_beside_a_tube_is_worth_a_look(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    said = build(icvos, pond, "--labels", write_labels(tmp_path / "a.csv", "pond,duck,1,dog,ann,,"), "--dry-run")
    assert "in   pond/duck/dog  (6 frames, objects 1)\n     look: object 2 has no name, and may be of the class too\n" in said.out


def test_an_object_that_comes_late_may_be_labelled(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "a.csv", "pond,duck,1,dog,ann,,", "pond,duck,3,dog,ann,,", "pond,duck,2,cat,ann,,")
    said = build(icvos, pond, "--labels", labels, "--dry-run")
    assert "in   pond/duck/dog  (6 frames, objects 1, 3)" in said.out
    assert "     look: object 3 is first seen on frame 00003" in said.out


def test_labels_go_before_the_words_of_the_source(icvos: Icvos, toy_data: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "a.csv", "davis,rex,1,cat,ann,,a cat in truth")
    said = icvos("build", "--data", toy_data, "--labels", labels, "--dry-run")
    assert "in   davis/rex/cat" in said.out
    assert "davis/rex/dog" not in said.out


@pytest.mark.parametrize("command", ["build", "check"])
def test_labels_of_what_is_not_there_are_all_told(icvos: Icvos, pond: Path, tmp_path: Path, command: str) -> None:
    labels = write_labels(tmp_path / "a.csv", "pond,duck,9,dog,ann,,", "pond,dukc,1,dog,ann,,", "pond,swan,3,dog,ann,,")
    where = ("--data", pond, "--root", f"pond={pond / 'POND'}", "--sources", "pond", "--json")
    words = ("build", "--labels", labels, "--out", tmp_path / "R") if command == "build" else ("labels", "check", labels)
    said = icvos(*words, *where)
    assert said.code == 3
    found = {(finding["code"], finding["found"]) for finding in json.loads(said.out)["findings"]}
    assert found == {("unknown-object", "pond/duck object 9"), ("unknown-clip", "dukc"), ("unknown-object", "pond/swan object 3")}
    assert "did you mean duck?" in said.out
    assert "one of 1, 2, 3" in said.out
    assert not (tmp_path / "R").exists()


def test_a_clip_name_of_two_sources_is_told_apart(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    make_davis(pond / "DAVIS", {"duck": ({1: "person"}, moving_box()), **two_clips()})
    labels = write_labels(tmp_path / "a.csv", "pond,duck,1,dog,ann,,")
    for sources, name in (("davis,pond", "R"), ("pond,davis", "S")):
        said = build(icvos, pond, "--labels", labels, "--out", tmp_path / name, "--materialise", tmp_path / f"{name}-tree", sources=sources)
        assert said.code == 0, said.err
        assert "in   davis/duck/person" in said.out
        assert "in   pond/duck/dog" in said.out
    assert (tmp_path / "R/manifest.json").read_bytes() == (tmp_path / "S/manifest.json").read_bytes()
    assert {"davis_duck", "pond_duck"} <= {path.name for path in (tmp_path / "R-tree").iterdir()}


def test_two_sources_that_give_the_same_clip_are_refused(icvos: Icvos, pond: Path, tmp_path: Path) -> None:
    text = (tmp_path / "site/pond.py").read_text()
    (tmp_path / "site/pond.py").write_text(text.replace('name = "pond"', 'name = "davis"').replace("class Pond", "class Lake"))
    (tmp_path / "site/pond.py").rename(tmp_path / "site/lake.py")
    (tmp_path / "site/pond-1.dist-info/entry_points.txt").write_text("[icvos.sources]\npond = lake:Lake\n")
    make_davis(pond / "DAVIS", {"duck": ({1: "person"}, moving_box())})
    said = build(icvos, pond, "--out", tmp_path / "R", sources="davis,pond")
    assert said.code == 3
    assert "two clips of the same source and name: davis/duck" in said.err
    assert not (tmp_path / "R").exists()


def test_candidates_that_cannot_be_written_are_told(icvos: Icvos, toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    said = icvos("build", "--data", toy_data, "--candidates", tmp_path / "out")
    assert (said.code, "cannot write" in said.err) == (2, True)
