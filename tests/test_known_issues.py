"""Known faults of the sources' truth: carried into the release, and left out by `native-clean@1`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import make_coco, moving_box, write_frame, write_ids

from curation.freeze import Draft, freeze
from curation.known_issues import carried, known_issues
from curation.sources.catalogue import source_record
from curation.sources.coco import Coco
from icvos.benchmark import EPISODES, MANIFEST, Benchmark, KnownIssue
from icvos.categories import BY_NAME
from icvos.types import Clip, Frame, Tube

Icvos = Callable[..., Any]


def issue(**changes: Any) -> KnownIssue:
    fields = {"source": "davis", "clip": "tom", "frames": ("00001", "00002"), "kind": "missed", "note": "a cat", "origin": "seen"}
    return KnownIssue(**(fields | changes))


def tube(source: str = "davis", clip: str = "tom", name: str = "cat", frames: int = 6) -> Tube:
    named = tuple(Frame(f"{number:05d}", Path("x.jpg"), Path("x.png")) for number in range(frames))
    return Tube(Clip(source, clip, (24, 40), named), BY_NAME[name], (1,))


def with_issues(release: Path, copy: Path, *issues: KnownIssue) -> Path:
    shutil.copytree(release, copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["known_issues"] = [one.model_dump(mode="json") for one in issues]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


# What is shipped and carried


def test_the_shipped_issues_follow_from_the_two_lists(sample_data: Path) -> None:
    mose, ovis = (json.loads((sample_data / f"lists/mose/{name}_train_empty_masks.json.txt").read_text()) for name in ("mose", "ovis"))
    expected = {}
    for clip in mose.keys() & ovis.keys():
        in_ovis = {f"{int(frame) - 1:05d}" for frame in ovis[clip]}  # OVIS counts from 1
        if frames := [frame for frame in mose[clip] if frame not in in_ovis]:
            expected[clip] = tuple(frames)
    assert {one.clip: one.frames for one in known_issues()} == expected


def test_every_shipped_issue_says_what_it_is_and_who_says_so() -> None:
    assert len(known_issues()) == 23
    for one in known_issues():
        assert one.source == "mose"
        assert one.note and one.origin and one.frames
        assert one.kind == "empty-here-not-in-ovis"


def test_a_release_carries_what_touches_its_clips_frames_and_classes() -> None:
    tubes = [tube(), tube(name="dog"), tube(clip="rex")]
    given = [
        issue(),
        issue(clip="rex", frames=()),
        issue(frames=("00005", "00006")),
        issue(classes=("dog", "cow"), kind="late"),
        issue(classes=("cow",)),
        issue(frames=("00009",)),
        issue(clip="zoe"),
        issue(source="mose"),
    ]
    kept = carried(given, tubes)
    assert kept == (
        issue(clip="rex", frames=()),
        issue(classes=("dog",), kind="late"),
        issue(),
        issue(frames=("00005",)),
    )
    assert carried(reversed(given), reversed(tubes)) == kept


def test_freezing_a_clip_of_mose_carries_its_issue(tmp_path: Path) -> None:
    shipped = known_issues()[1]
    frames = []
    for number in range(40):
        image, mask = (tmp_path / f"MOSE/train/{part}/{shipped.clip}/{number:05d}" for part in ("JPEGImages", "Annotations"))
        frames.append(Frame(f"{number:05d}", image.with_suffix(".jpg"), mask.with_suffix(".png")))
        write_frame(image.with_suffix(".jpg"), number)
        write_ids(mask.with_suffix(".png"), moving_box(1)[0])
    clip = Clip("mose", shipped.clip, (24, 40), tuple(frames))
    pool = Coco(make_coco(tmp_path / "COCO"))
    roots = {"mose": tmp_path / "MOSE", "coco": tmp_path / "COCO"}
    draft = Draft("m", "1", "icvos", {}, {name: source_record(name) for name in roots}, roots, known_issues())
    release = freeze(tmp_path / "R", draft, [Tube(clip, BY_NAME["dog"], (1,))], pool)
    (kept,) = release.manifest.known_issues
    assert (kept.clip, kept.note, kept.origin) == (shipped.clip, shipped.note, shipped.origin)
    assert set(kept.frames) == set(shipped.frames) & {frame.id for frame in frames}
    assert release.faulty_frames(next(iter(release.tubes.values()))) == set(kept.frames)


def test_a_release_without_issues_reads_as_before(toy_release: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(toy_release, tmp_path / "R"))
    manifest = json.loads((copy / MANIFEST).read_text())
    assert manifest.pop("known_issues") == []
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert Benchmark.open(copy).manifest == Benchmark.open(toy_release).manifest


# Scoring without them


@pytest.fixture
def scores(icvos: Icvos, toy_release: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The result of `full-frame` on the toy release with these issues, under one protocol."""

    def call(protocol: str, *issues: KnownIssue) -> dict[str, Any]:
        folder = tmp_path / f"R{len(list(tmp_path.iterdir()))}"
        release = with_issues(toy_release, folder, *issues)
        assert (release / EPISODES).is_file()
        assert icvos("run", "--method", "full-frame", "--benchmark", release, "--out", f"{folder}-runs").code == 0
        said = icvos("score", f"{folder}-runs", "--benchmark", release, "--protocol", protocol)
        assert said.code == 0, said.err
        (path,) = Path(f"{folder}-runs").rglob(f"{protocol}.json")
        result: dict[str, Any] = json.loads(path.read_text())
        with path.with_name(f"{protocol}.frames.csv").open() as stream:
            result["frames"] = [line.split(",")[:2] for line in stream.read().splitlines()[1:]]
        return result

    return call


def test_frames_with_issues_are_left_out_under_the_clean_protocol_only(scores: Callable[..., dict[str, Any]]) -> None:
    of_cats = issue(classes=("cat",))
    clean, native = scores("native-clean@1", of_cats), scores("native@1", of_cats)
    assert {tube["id"]: tube["frames"] for tube in clean["tubes"]} == {"davis/rex/dog": 6, "davis/tom/cat": 4, "davis/tom/person": 6}
    assert all(tube["frames"] == 6 for tube in native["tubes"])
    assert [frame for episode, frame in clean["frames"] if episode == "davis/tom/cat#s0"] == ["00000", "00003", "00004", "00005"]
    assert "|protocol:native-clean@1|" in clean["signature"]
    assert (clean["coverage"]["expected"], native["coverage"]["expected"]) == (80, 90)


def test_without_issues_the_clean_protocol_is_native(scores: Callable[..., dict[str, Any]]) -> None:
    clean, native = scores("native-clean@1"), scores("native@1")
    assert clean["overall"] == native["overall"]
    assert clean["frames"] == native["frames"]


def test_a_clip_that_is_all_faulty_is_left_out_and_said(scores: Callable[..., dict[str, Any]]) -> None:
    clean = scores("native-clean@1", issue(frames=()))
    assert [tube["id"] for tube in clean["tubes"]] == ["davis/rex/dog"]
    assert clean["notes"] == ["2 tubes without a frame to score left out"]
