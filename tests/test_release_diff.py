"""`icvos diff`: every kind of difference between two releases is named, and equal releases have none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import make_coco, make_davis, moving_box, two_clips, write_frame, write_ids

from icvos.benchmark import MANIFEST

Icvos = Callable[..., Any]


@pytest.fixture
def data(toy_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


@pytest.fixture
def changes(icvos: Icvos, data: Path, toy_release: Path, tmp_path: Path) -> Callable[..., list[tuple[str, str, str, str]]]:
    """What `icvos diff` says of the toy release and of one built from the changed data."""

    def call(*words: object) -> list[tuple[str, str, str, str]]:
        said = icvos("build", "--data", data, "--out", tmp_path / "B", *words)
        assert said.code == 0, said.err
        report = json.loads(icvos("diff", toy_release, tmp_path / "B", "--json").out)
        rows = [(row["what"], row["where"], row["before"], row["after"]) for row in report["changes"]]
        told = icvos("diff", toy_release, tmp_path / "B").out.splitlines()
        assert told[:-1] == [f"{what}: {where}: {before} -> {after}" for what, where, before, after in rows]
        assert told[-1].endswith(f": {len(rows) or 'no'} change{'' if len(rows) == 1 else 's'}")
        return rows

    return call


def test_the_same_release_has_no_change(changes: Callable[..., Any]) -> None:
    assert changes() == []


def test_settings_and_rules_are_named(changes: Callable[..., Any]) -> None:
    said = changes("--seed", "other", "--release-version", "2", "--min-length", 6)
    assert ("setting", "seed", "icvos", "other") in said
    assert ("setting", "version", "1", "2") in said
    before, after = (f"the class is to be seen on at least {number} annotated frames" for number in (5, 6))
    assert ("rule", "min-length", before, after) in said
    assert {what for what, *_ in said} == {"setting", "rule", "supports"}


def test_tubes_that_came_and_went_and_changed_class(changes: Callable[..., Any], data: Path) -> None:
    clips = two_clips()
    make_davis(data / "DAVIS", {"rex": ({1: "cat"}, clips["rex"][1]), "tom": ({1: "cat", 2: "kart"}, clips["tom"][1]), "abc": clips["rex"]})
    assert changes() == [
        ("tube", "davis/abc/dog", "out", "in"),
        ("class", "davis/rex/dog", "dog", "cat"),
        ("tube", "davis/tom/person", "in", "out"),
    ]


def test_objects_frames_and_files(changes: Callable[..., Any], data: Path) -> None:
    davis = data / "DAVIS"
    semantics = json.loads((davis / "davis_semantics.json").read_text())
    semantics["tom"]["3"] = "cat"
    (davis / "davis_semantics.json").write_text(json.dumps(semantics))
    write_frame(davis / "JPEGImages/480p/rex/00002.jpg", 50)
    write_ids(davis / "Annotations/480p/rex/00003.png", moving_box()[0])
    write_frame(davis / "JPEGImages/480p/rex/00006.jpg", 6)
    write_ids(davis / "Annotations/480p/rex/00006.png", moving_box()[0])
    said = {(what, where): (before, after) for what, where, before, after in changes()}
    assert said.keys() == {
        ("objects", "davis/tom/cat"),
        ("frames", "davis/rex"),
        ("pictures", "davis/rex, 1 of 7, first 00002"),
        ("masks", "davis/rex/dog, 1 of 7, first 00003"),
    }
    assert said["objects", "davis/tom/cat"] == ("1", "1, 3")
    assert said["frames", "davis/rex"] == ("6, 00000 to 00005", "7, 00000 to 00006")


def test_supports_that_changed(changes: Callable[..., Any], data: Path) -> None:
    for image in range(2000, 2005):
        (data / f"COCO/val2017/{image:012d}.jpg").unlink()
    (row,) = changes()
    assert (row[0], row[1], row[3]) == ("supports", "davis/tom/cat", "2005, 2005, 2005, 2005, 2005")
    make_coco(data / "COCO")


def test_sources_and_issues(icvos: Icvos, toy_release: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(toy_release, tmp_path / "B"))
    manifest = json.loads((other / MANIFEST).read_text())
    manifest["sources"]["coco"]["version"] = "val2014"
    manifest["known_issues"] = [
        {"source": "davis", "clip": "rex", "frames": ["00001"], "classes": ["dog"], "kind": "missed", "note": "a tail", "origin": "seen"}
    ]
    (other / MANIFEST).write_text(json.dumps(manifest))
    report = json.loads(icvos("diff", toy_release, other, "--json").out)
    assert [(row["what"], row["where"]) for row in report["changes"]] == [("source", "coco"), ("issues", "davis/rex")]
    assert report["changes"][1]["after"] == "missed on 1 frames of dog"


def test_what_is_no_release_is_told(icvos: Icvos, toy_release: Path, tmp_path: Path) -> None:
    said = icvos("diff", toy_release, tmp_path / "nowhere")
    assert (said.code, "no release here" in said.err) == (2, True)
