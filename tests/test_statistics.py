"""`icvos stats`: what is counted, what is measured from masks, the files that come out, and what goes wrong in words."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from toys import box, make_coco, make_davis, moving_box, write_ids

from curation.attributes import attributes
from curation.published import published
from curation.report.cloud import lay_out
from curation.report.files import write_report
from curation.statistics import statistics
from icvos.benchmark import EPISODES, MANIFEST, Benchmark
from icvos.categories import BY_NAME
from icvos.errors import DataError

Icvos = Callable[..., Any]
AREA = 24 * 40
CHARTS = ("sources", "words", "classes", "attributes")
FILES = sorted(
    ["statistics.html", "statistics.json", "tubes.csv", "examples.jpg", *(f"{name}.{kind}" for name in CHARTS for kind in ("svg", "png"))]
)


def coming_and_going() -> dict[str, tuple[dict[int, str], list[Any]]]:
    """rex: a small dog that is gone on frames 2 and 3 and at the end. tom: a cat; a person, joined by a second one on frame 4."""
    dog = [box(5, 2, 3, 3) if place in (0, 1, 4) else box(0, 0, 0, 0) for place in range(6)]
    pair = [np.maximum(ids, box(18, 20, 4, 10, 2)) for ids in moving_box()]
    pair = [np.maximum(ids, box(0, 30, 4, 10, 3)) if place >= 4 else ids for place, ids in enumerate(pair)]
    return {"rex": ({1: "dog"}, dog), "tom": ({1: "cat", 2: "person", 3: "person"}, pair)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests must not change it."""
    folder = tmp_path_factory.mktemp("statistics")
    make_davis(folder / "DAVIS", coming_and_going())
    make_coco(folder / "COCO")
    return folder


@pytest.fixture
def release(icvos: Icvos, data: Path, tmp_path: Path, nothing_set: None) -> Path:
    """rex/dog, tom/cat, tom/person; its own, so that a test may break it."""
    assert icvos("build", "--data", data, "--min-length", 1, "--out", tmp_path / "R").code == 0
    return tmp_path / "R"


@pytest.fixture
def shared(release: Path, tmp_path: Path) -> Path:
    """The release as somebody gets it who has no data set."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in (MANIFEST, EPISODES):
        shutil.copyfile(release / name, folder / name)
    return folder


# What is counted and measured


def test_the_json_says_what_is_there(icvos: Icvos, release: Path) -> None:
    said = icvos("stats", release, "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["format"] == "icvos-statistics/1"
    assert found["release"]["digest"] == Benchmark.open(release).digest
    label = Benchmark.open(release).label
    row = {"dataset": label, "videos": 2, "mean_frames": 6.0, "frames": 12, "classes": 3, "annotation": "mask"}
    assert found["row"] == row
    assert (found["masks"], found["tubes_in_all"], found["episodes"], found["not_measured"]) == (18, 3, 15, [])
    assert found["supports"] == 15  # five of six images of each of three classes
    assert [(count["name"], count["clips"], count["share"], count["frames"]) for count in found["sources"]] == [("davis", 2, 1.0, 12)]
    assert [list(count.values()) for count in found["classes"]] == [["cat", 1, 6, 6, 1], ["dog", 1, 6, 6, 1], ["person", 1, 6, 6, 2]]
    assert found["groups"] == {
        "length": {"up to 100 frames": 3},
        "objects": {"1 object": 2, "2 or 3 objects": 1},
        "size": {"small": 1, "medium": 1, "large": 1},
        "stay": {"always there": 2, "leaves and comes back": 1},
    }
    assert found["paper"]["benchmark"]["frames"] == 99549


def test_a_tube_is_measured_on_its_own_objects(release: Path) -> None:
    cat, dog, person = sorted(statistics(Benchmark.open(release)).tubes, key=lambda tube: tube.category)
    assert cat.attributes and dog.attributes and person.attributes
    assert (dog.attributes.presence, dog.attributes.returns, dog.attributes.longest_absence) == (0.5, 1, 2)
    assert dog.attributes.first_area == dog.attributes.mean_area == dog.attributes.largest_area == 9 / AREA
    assert (dog.attributes.stay, dog.attributes.returning_objects, dog.attributes.late_objects) == ("leaves and comes back", 1, 0)
    assert (person.attributes.presence, person.attributes.most_objects, person.attributes.late_objects) == (1.0, 2, 1)
    assert (person.attributes.first_area, person.attributes.largest_area) == (40 / AREA, 80 / AREA)
    assert person.attributes.mean_area == pytest.approx((4 * 40 + 2 * 80) / 6 / AREA)
    assert (cat.attributes.mean_area, cat.attributes.size) == (120 / AREA, "large")


@given(arrays(np.int64, st.tuples(st.integers(0, 12), st.integers(1, 4)), elements=st.sampled_from([0, 0, 3, 7, 20])))
def test_attributes_are_those_that_a_reader_of_the_row_would_find(areas: Any) -> None:
    found = attributes(areas, (10, 10))
    row = "".join("x" if frame.any() else "." for frame in areas)
    columns = ["".join("x" if area else "." for area in column) for column in areas.T]
    gaps = re.findall(r"(?<=x)\.+(?=x)", row)
    assert (found.returns, found.longest_absence) == (len(gaps), max(map(len, gaps), default=0))
    assert found.presence == pytest.approx(row.count("x") / len(row) if row else 0)
    assert found.returning_objects == sum(bool(re.search(r"x\.+x", column)) for column in columns)
    assert found.late_objects == sum(column.startswith(".") and "x" in column for column in columns)
    words = {r"x+": "always there", r"\.*": "never there", r".*x\.+x.*": "leaves and comes back", r"x+\.+": "leaves for good"}
    assert found.stay == next((word for pattern, word in words.items() if re.fullmatch(pattern, row)), "comes late")
    totals = [sum(frame) / 100 for frame in areas.tolist()]
    seen = [total for total in totals if total]
    assert found.mean_area == pytest.approx(sum(seen) / len(seen) if seen else 0)
    assert found.largest_area == max(totals, default=0)
    assert found.most_objects == max((int((frame > 0).sum()) for frame in areas), default=0)


def test_frames_without_a_mask_and_merged_objects_are_told_apart_from_none(icvos: Icvos, release: Path, data: Path, tmp_path: Path) -> None:
    words = ("build", "--data", data, "--min-length", 1, "--out", tmp_path / "again", "--materialise", tmp_path / "tree")
    assert icvos(*words).code == 0
    for frame in ("00001", "00003"):
        (tmp_path / f"tree/rex/Annotations/17/{frame}.png").unlink()
    assert icvos("import", tmp_path / "tree", "--coco", data / "COCO", "--out", tmp_path / "imported").code == 0
    found = statistics(Benchmark.open(tmp_path / "imported"))
    dog = next(tube for tube in found.tubes if tube.category == "dog")
    assert dog.attributes and (dog.frames, dog.masks) == (6, 4)
    assert (dog.attributes.presence, dog.attributes.longest_absence) == (0.5, 1)  # frames 0, 2, 4, 5: there, gone, there, gone
    assert (dog.objects, dog.attributes.most_objects, dog.attributes.returning_objects) == (None, None, None)
    assert found.groups["objects"] == {"merged objects": 3}
    assert {count.name: count.objects for count in found.classes} == {"cat": None, "dog": None, "person": None}


def test_the_terminal_shows_the_papers_figures_beside_ours(icvos: Icvos, release: Path) -> None:
    out = icvos("stats", release).out
    assert re.search(r"^davis@1#[0-9a-f]{12} +2 +6 +12 +3 +mask$", out, re.M)
    assert re.search(r"^IC-VOS \(paper\) +369 +270 +99,549 +30 +mask$", out, re.M)
    assert re.search(r"^davis +2 +100\.0 % +8\.4 % +12$", out, re.M)
    assert re.search(r"^lvos2 +– +– +63\.7 % +–$", out, re.M)
    assert re.search(r"^person +1 +6 +6 +2$", out, re.M)
    assert re.search(r"^stay +leaves and comes back +1$", out, re.M)
    assert "3 tubes, 18 masks, 15 episodes, 15 support images" in out


def test_the_papers_shares_are_of_whole_videos() -> None:
    paper = published()
    videos = {name: share * paper.benchmark.videos for name, share in paper.source_shares.items()}
    assert {name: round(number) for name, number in videos.items()} == {"lvos2": 235, "mose": 103, "davis": 31}
    assert all(abs(number - round(number)) < 0.1 for number in videos.values())
    assert sum(map(round, videos.values())) == 369
    assert round(paper.benchmark.frames / paper.benchmark.videos) == paper.benchmark.mean_frames


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "not a file of published figures"),
        ('{"format": "icvos-published/1"}', "incomplete file of published figures"),
        ('{"format": "icvos-published/1", "table": [{"dataset": "x"}]}', "incomplete"),
    ],
)
def test_a_file_of_figures_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "figures.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        published(tmp_path / "figures.json")


# Nothing but the release decides


def test_any_number_of_workers_and_every_call_give_the_same_bytes(icvos: Icvos, release: Path, tmp_path: Path) -> None:
    said = [icvos("stats", release, "--out", tmp_path / f"out{workers}", "--workers", workers, "--json") for workers in (1, 2)]
    assert said[0].out == said[1].out
    assert sorted(path.name for path in (tmp_path / "out1").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes(), name
    assert (tmp_path / "out1/statistics.json").read_text() == said[0].out


@settings(max_examples=20, deadline=None)
@example(sorted(BY_NAME), 80, None)
@given(st.permutations(sorted(BY_NAME)), st.integers(1, 80), st.integers(0, 2**32))
def test_no_word_of_a_cloud_covers_another_or_is_cut_off(names: list[str], count: int, seed: int | None) -> None:
    drawn = np.ones(count) if seed is None else np.random.default_rng(seed).pareto(0.7, count) + 1
    weights = dict(zip(names, drawn.tolist(), strict=False))
    placed = lay_out(weights, 420, 230)
    assert {word.text for word in placed} == set(weights)
    for place, word in enumerate(placed):
        assert word.width / 2 <= word.x <= 420 - word.width / 2
        assert word.height / 2 <= word.y <= 230 - word.height / 2
        for other in placed[:place]:
            assert 2 * abs(word.x - other.x) >= word.width + other.width or 2 * abs(word.y - other.y) >= word.height + other.height
    assert sorted(placed, key=lambda word: -word.size) == list(placed)
    assert lay_out(dict(reversed(weights.items())), 420, 230) == placed


# The files


class Page(HTMLParser):
    """Tags in the order in which they open, whatever is fetched, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in {"src", "href", "xlink:href", "srcset", "data"}]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_and_fetches_nothing(icvos: Icvos, release: Path, tmp_path: Path) -> None:
    said = icvos("stats", release, "--out", tmp_path / "out")
    assert said.out.endswith(f"\n{tmp_path / 'out/statistics.html'}\n")
    text = (tmp_path / "out/statistics.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags
    assert page.tags.count("svg") == 4 and page.tags.count("img") == 9  # three pictures of each of three episodes
    for address in page.fetched:
        kind, _, encoded = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(b64decode(encoded))) as picture:
            picture.load()
            assert picture.height == 240
    style, _, body = text.partition("<body>")
    colours = set(re.findall(r' fill="(#[0-9a-f]+)"', body))
    assert len(colours) == 4 and all(f'[fill="{colour}"]' in style for colour in colours)  # the dark turns every one of them
    for words in ("99,549", "63.7 %", "davis/rex/dog#s0", "leaves and comes back", "prefers-color-scheme: dark"):
        assert words in text
    with Image.open(tmp_path / "out/examples.jpg") as sheet:
        assert sheet.height == 3 * 240 + 2 * 6


def test_a_chart_is_a_picture_of_the_same_in_svg_and_png(release: Path, tmp_path: Path) -> None:
    benchmark = Benchmark.open(release)
    write_report(tmp_path / "out", statistics(benchmark), benchmark, published())
    for name, word in {"sources": "davis", "words": "person", "classes": "person", "attributes": "leaves and comes back"}.items():
        root = ElementTree.parse(tmp_path / f"out/{name}.svg").getroot()
        assert word in " ".join(root.itertext())
        with Image.open(tmp_path / f"out/{name}.png") as picture:
            size = (picture.width / 2, picture.height / 2)
            assert size == pytest.approx((float(root.get("width", "")), float(root.get("height", ""))), abs=1)
            pixels = np.asarray(picture.convert("RGB"))
        assert (pixels[0, 0] == 255).all() and (pixels < 100).any()  # dark words on white


def test_the_csv_has_a_line_a_tube_and_runs_no_formula(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    make_davis(tmp_path / "DAVIS", {"=1+1": ({1: "dog"}, moving_box())})
    words = ("--davis", tmp_path / "DAVIS", "--coco", data / "COCO", "--out", tmp_path / "formula")
    assert icvos("build", *words).code == 0
    assert icvos("stats", tmp_path / "formula", "--out", tmp_path / "out").code == 0
    (line,) = csv.DictReader((tmp_path / "out/tubes.csv").read_text(encoding="utf-8").splitlines())
    assert (line["tube"], line["clip"], line["class"], line["frames"]) == ("davis/=1+1/dog", "'=1+1", "dog", "6")
    assert (float(line["mean_area"]), line["stay"], line["most_objects"]) == (120 / AREA, "always there", "1")


def test_names_from_elsewhere_are_shown_and_not_run(icvos: Icvos, shared: Path, tmp_path: Path) -> None:
    hostile = "<script>alert('x')&\u202e"
    for name in (MANIFEST, EPISODES):
        text = (shared / name).read_text(encoding="utf-8")
        shown = hostile.replace("\u202e", "")  # in paths; a mark that turns text cannot stand in a name
        text = text.replace('"davis"', f'"{shown}"').replace("davis/", f"{shown}/").replace("DAVIS 2017, trainval, 480p", hostile)
        (shared / name).write_text(text, encoding="utf-8")
    said = icvos("stats", shared, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    text = (tmp_path / "out/statistics.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "\u202e" not in text
    assert "<script>alert('x')&" in page.text
    assert any("<script>" in word for word in ElementTree.parse(tmp_path / "out/sources.svg").getroot().itertext())


# What is not there


def test_a_release_without_its_data_is_counted_and_says_what_is_missing(icvos: Icvos, release: Path, shared: Path, tmp_path: Path) -> None:
    assert icvos("stats", release, "--out", tmp_path / "out").code == 0
    said = icvos("stats", shared, "--out", tmp_path / "out")
    assert said.code == 0
    assert "Not on this disk" in said.out and "davis (say --data DIR)" in said.out
    assert re.search(r"^davis@1#[0-9a-f]{12} +2 +6 +12 +3 +mask$", said.out, re.M)
    assert "stay" not in said.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name for name in FILES if name != "examples.jpg"]
    found = json.loads((tmp_path / "out/statistics.json").read_text())
    assert found["not_measured"] == ["davis"]
    assert {tube["attributes"] for tube in found["tubes"]} == {None}
    page = Page((tmp_path / "out/statistics.html").read_text(encoding="utf-8"))
    assert "No pictures" in page.text and "img" not in page.tags
    assert next(csv.DictReader((tmp_path / "out/tubes.csv").read_text().splitlines()))["mean_area"] == ""


def test_data_in_another_place_is_found_by_option(icvos: Icvos, release: Path, shared: Path, data: Path) -> None:
    assert icvos("stats", shared, "--data", data, "--json").out == icvos("stats", release, "--json").out


def test_clips_without_supports_are_measured_without_pictures(icvos: Icvos, shared: Path, data: Path, tmp_path: Path) -> None:
    said = icvos("stats", shared, "--davis", data / "DAVIS", "--out", tmp_path / "out", "--json")
    assert said.code == 0
    assert json.loads(said.out)["groups"]["stay"] == {"always there": 2, "leaves and comes back": 1}
    assert not (tmp_path / "out/examples.jpg").exists()


@pytest.mark.parametrize("fault", ["changed", "missing", "cut"])
def test_a_mask_that_is_not_the_releases_is_refused_and_nothing_written(
    icvos: Icvos, shared: Path, data: Path, tmp_path: Path, fault: str
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    mask = copy / "DAVIS/Annotations/480p/tom/00003.png"
    if fault == "changed":
        write_ids(mask, box(0, 0, 5, 5))
    elif fault == "cut":
        mask.write_bytes(mask.read_bytes()[:50])
    else:
        mask.unlink()
    said = icvos("stats", shared, "--data", copy, "--out", tmp_path / "out")
    assert said.code == 3
    assert str(mask) in said.err and "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_told_before_anything_is_measured(
    icvos: Icvos, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("curation.report.files", "curation.report.charts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "altair", None)
    said = icvos("stats", release, "--out", tmp_path / "out")
    assert said.code == 2
    assert "drawing charts needs more packages: altair" in said.err and "pip install 'icvos[report]'" in said.err
    assert not (tmp_path / "out").exists()
    assert icvos("stats", release).code == 0  # text and JSON need none


def test_a_folder_that_cannot_be_written_and_a_release_that_is_none(icvos: Icvos, release: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = icvos("stats", release, "--out", tmp_path / "file/out")
    assert (said.code, "cannot write" in said.err) == (2, True)
    said = icvos("stats", tmp_path / "nowhere")
    assert (said.code, "no release here" in said.err) == (2, True)


def test_a_release_without_a_tube_is_refused(icvos: Icvos, shared: Path) -> None:
    manifest = json.loads((shared / MANIFEST).read_text())
    manifest["clips"] = []
    (shared / MANIFEST).write_text(json.dumps(manifest))
    (shared / EPISODES).write_text("")
    said = icvos("stats", shared)
    assert (said.code, "a release without a tube" in said.err) == (3, True)


# Real data


def test_real_clips_measure_as_another_reader_of_their_masks_finds(icvos: Icvos, sample_data: Path, tmp_path: Path) -> None:
    words = ("--davis", sample_data / "davis", "--coco", sample_data / "coco", "--out", tmp_path / "R")
    assert icvos("build", *words).code == 0
    found = statistics(Benchmark.open(tmp_path / "R"))
    assert (found.row.videos, found.row.frames, found.row.classes) == (5, 354, 5)
    for tube in found.tubes:
        areas = []
        for path in sorted((sample_data / "davis/Annotations/480p" / tube.clip).glob("*.png")):
            with Image.open(path) as picture:
                areas.append(np.mean(np.asarray(picture) == 1))
        assert tube.attributes and tube.attributes.first_area == pytest.approx(areas[0])
        assert tube.attributes.largest_area == pytest.approx(max(areas))
        assert tube.attributes.mean_area == pytest.approx(np.mean([area for area in areas if area]))
        assert tube.attributes.presence == pytest.approx(np.mean([area > 0 for area in areas]))
    assert icvos("stats", tmp_path / "R", "--out", tmp_path / "out").code == 0
    assert Page((tmp_path / "out/statistics.html").read_text(encoding="utf-8")).tags.count("img") == 15
