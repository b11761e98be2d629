"""Scoring against slow definitions written out here; every fault in one report; and the same bytes however it is run."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from conftest import Said
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from toys import box, make_coco, moving_box, write_frame, write_ids

from icvos import kernels
from icvos import scoring as scoring_module
from icvos.benchmark import Benchmark, ClipRecord, EpisodeRecord, Manifest, SourceRecord, SupportRecord, TubeRecord, write_release
from icvos.masks import encode_rle
from icvos.png import encode_png

Command = Callable[..., Said]
Mask = NDArray[np.bool_]
DOG, CAT, PERSON = 17, 16, 1  # places in COCO's list of 80
EMPTY, FULL = box(0, 0, 0, 0), box(0, 0, 24, 40)
MOVING = moving_box()

# video -> class's place -> its masks, one a frame; None where a frame is not annotated
ZOO: dict[str, dict[int, Sequence[Any]]] = {
    "away": {DOG: [MOVING[0], MOVING[1], EMPTY, EMPTY, MOVING[4], MOVING[5]]},
    "full": {CAT: [FULL] * 6},
    "gaps": {PERSON: [MOVING[0], None, MOVING[2], None, None, MOVING[5]]},
    "late": {DOG: [EMPTY, EMPTY, *MOVING[2:]], PERSON: [ids * 255 for ids in MOVING]},
    "one": {DOG: [MOVING[0]]},
    "two": {CAT: MOVING[:2]},
}


def official_tree(root: Path, videos: Mapping[str, Mapping[int, Sequence[Any]]]) -> Path:
    for video, tubes in videos.items():
        frames = next(iter(tubes.values()))
        for number in range(len(frames)):
            size = next(ids.shape for ids in frames if ids is not None)
            write_frame(root / video / "JPEGImages" / f"{number:05d}.jpg", number, size)
            for place, masks in tubes.items():
                if masks[number] is not None:
                    write_ids(root / video / "Annotations" / str(place) / f"{number:05d}.png", masks[number], "L")
    return root


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_tree(tmp_path_factory.mktemp("zoo"), ZOO)


def import_tree(folder: Path, videos: Mapping[str, Mapping[int, Sequence[Any]]]) -> Path:
    """A release out of a toy tree in the official layout; tests must not change it."""
    from icvos.cli import main

    make_coco(folder / "COCO")
    tree = official_tree(folder / "tree", videos)
    with pytest.raises(SystemExit) as leaving:
        main(["import", str(tree), "--coco", str(folder / "COCO"), "--out", str(folder / "R")])
    assert not leaving.value.code
    return folder / "R"


def truths(release: Path) -> dict[str, dict[str, Mask]]:
    """Tube -> frame -> its true mask, where it is annotated."""
    return {
        name: {frame.id: mask for frame, mask in zip(tube.clip.frames, tube.masks(), strict=True) if mask is not None}
        for name, tube in Benchmark.open(release).tubes.items()
    }


def png(values: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


def hand_in(folder: Path, release: Path, answer: Callable[[str, str, Mask], bytes | None] | None = None) -> Path:
    """A folder of masks: what `answer(episode, frame, truth)` gives for every annotated frame; the truth by default."""
    for episode_id in Benchmark.open(release).episode_ids:
        for frame, truth in truths_of(release)[episode_id.rpartition("#")[0]].items():
            data = answer(episode_id, frame, truth) if answer else encode_png(truth)
            if data is not None:
                path = folder / episode_id / f"{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    return folder


_known: dict[Path, dict[str, dict[str, Mask]]] = {}


def truths_of(release: Path) -> dict[str, dict[str, Mask]]:
    if release not in _known:
        _known[release] = truths(release)
    return _known[release]


def noisy(episode_id: str, frame: str, truth: Mask) -> bytes:
    """The truth moved by a few pixels and holed, differently for every episode and frame; empty now and then."""
    rng = np.random.default_rng(int(sha256(f"{episode_id}{frame}".encode()).hexdigest()[:8], 16))
    moved = np.roll(truth, rng.integers(-2, 3, 2), (0, 1)) & (rng.random(truth.shape) > 0.03)
    return encode_png(moved & (rng.random() > 0.1))


@pytest.fixture(scope="module")
def noisy_masks(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hand_in(tmp_path_factory.mktemp("noisy") / "noisy", zoo, noisy)


class Scored:
    """What `icvos score` wrote."""

    def __init__(self, folder: Path, protocol: str = "native@1") -> None:
        self.files = {end: (folder / f"{protocol}.{end}").read_bytes() for end in ("json", "frames.csv")}
        self.result = json.loads(self.files["json"])
        self.frames: dict[str, dict[str, tuple[float, float]]] = {}
        for row in csv.DictReader(self.files["frames.csv"].decode().splitlines()):
            self.frames.setdefault(row["episode"], {})[row["frame"]] = (float(row["J"]), float(row["F"]))


@pytest.fixture
def score(icvos: Command, tmp_path: Path) -> Callable[..., Scored]:
    """Score masks on a release, successfully."""

    def call(masks: Path, release: Path, *words: object, protocol: str = "native@1") -> Scored:
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        said = icvos("score", masks, "--benchmark", release, "--protocol", protocol, "--out", out, *words)
        assert said.code == 0, said.err
        assert said.err == ""
        return Scored(out, protocol)

    return call


# J, F by their definitions, pixel by pixel


def slow_edge(mask: Mask) -> Mask:
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            edge[y, x] = any(j < height and i < width and mask[j, i] != mask[y, x] for j, i in neighbours)
    return edge


def edge_of(mask: Mask) -> Mask:
    return slow_edge(mask) if mask.size < 5000 else fast_edge(mask)


def fast_edge(mask: Mask) -> Mask:
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def slow_scores(prediction: Mask, truth: Mask) -> tuple[float, float]:
    either = np.count_nonzero(prediction | truth)
    j = np.count_nonzero(prediction & truth) / either if either else 1.0
    tolerance = math.ceil(0.008 * math.hypot(*truth.shape))
    found, due = edge_of(prediction), edge_of(truth)
    if not found.any() or not due.any():
        return j, float(not found.any() and not due.any())
    precision = np.count_nonzero(found & (distance_transform_edt(~due) <= tolerance)) / np.count_nonzero(found)
    complete = np.count_nonzero(due & (distance_transform_edt(~found) <= tolerance)) / np.count_nonzero(due)
    return j, 2 * precision * complete / (precision + complete) if precision + complete else 0.0


def test_frames_equal_the_definitions(zoo: Path, noisy_masks: Path, score: Callable[..., Scored]) -> None:
    scored = score(noisy_masks, zoo)
    assert len(scored.frames) == 35
    different = set()
    for episode_id, frames in scored.frames.items():
        truth = truths_of(zoo)[episode_id.rpartition("#")[0]]
        assert list(frames) == sorted(truth)
        for frame, found in frames.items():
            prediction = np.array(Image.open(BytesIO(noisy(episode_id, frame, truth[frame])))).astype(bool)
            assert found == slow_scores(prediction, truth[frame]), (episode_id, frame)
            different.add(found)
    assert len(different) > 60


def mean_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def by_hand(frames: Sequence[tuple[float, float]]) -> dict[str, float]:
    columns = {"J": [j for j, _ in frames], "F": [f for _, f in frames]}
    row = {name: fmean(values) for name, values in columns.items()}
    row["J&F"] = (row["J"] + row["F"]) / 2
    last = len(frames) - 1
    # Of 1, 2, 3 and 6 frames: the first and the last frame of the first and of the last quarter.
    quarters = {1: (0, 0, 0, 0), 2: (0, 0, 1, 1), 3: (0, 1, 2, 2), 6: (0, 1, 4, 5)}[len(frames)]
    for name, values in columns.items():
        row[f"{name}_recall"] = sum(value > 0.5 for value in values) / (last + 1)
        row[f"{name}_decay"] = fmean(values[quarters[0] : quarters[1] + 1]) - fmean(values[quarters[2] : quarters[3] + 1])
        row[f"{name}_first"] = values[0]
    return row


def test_frames_then_draws_then_tubes(zoo: Path, noisy_masks: Path, score: Callable[..., Scored]) -> None:
    scored = score(noisy_masks, zoo)
    result = scored.result
    draws = {episode_id: by_hand(list(frames.values())) for episode_id, frames in scored.frames.items()}
    tubes = {name: [draws[f"{name}#s{draw}"] for draw in range(5)] for name in truths_of(zoo)}
    means = {name: mean_of(rows) for name, rows in tubes.items()}
    assert [tube["id"] for tube in result["tubes"]] == list(means)
    for tube in result["tubes"]:
        assert tube["mean"] == pytest.approx(means[tube["id"]], abs=1e-12)
        assert tube["frames"] == len(truths_of(zoo)[tube["id"]])
        for draw, row in tube["draws"].items():
            assert row == pytest.approx(draws[f"{tube['id']}#{draw}"], abs=1e-12)
    assert result["overall"] == pytest.approx(mean_of(list(means.values())), abs=1e-12)
    assert result["support_spread"] == pytest.approx(fmean(stdev(row["J&F"] for row in rows) for rows in tubes.values()), abs=1e-12)
    groups = result["groups"]
    for name in ("dog", "cat", "person"):
        assert groups["class"][name] == pytest.approx(mean_of([row for tube, row in means.items() if tube.endswith(name)]), abs=1e-12)
    assert list(groups["class"]) == ["cat", "dog", "person"]
    assert groups["source"] == {"ic-vos": pytest.approx(result["overall"])}
    assert groups["length"] == {"up to 100 frames": pytest.approx(result["overall"])}
    for draw in range(5):
        assert groups["support"][f"s{draw}"] == pytest.approx(mean_of([rows[draw] for rows in tubes.values()]), abs=1e-12)
    for name, (low, high) in result["intervals"].items():
        assert low < result["overall"][name] < high
    assert result["coverage"] == {"expected": 150, "present": 150, "part": 1.0}
    assert result["method"]["name"] == "noisy" and result["notes"] == []


# The table of whole-folder scenarios


def frame_scores(scored: Scored, tube: str) -> list[tuple[float, float]]:
    rows = [list(scored.frames[f"ic-vos/{tube}#s{draw}"].values()) for draw in range(5)]
    assert all(row == rows[0] for row in rows)
    return rows[0]


@pytest.mark.parametrize("stored", [1, 255])
def test_the_truth_itself_scores_one_stored_as_1_or_255(zoo: Path, tmp_path: Path, score: Callable[..., Scored], stored: int) -> None:
    masks = hand_in(tmp_path / "truth", zoo, lambda episode, frame, truth: png(truth * np.uint8(stored)))
    scored = score(masks, zoo)
    assert all(pair == (1.0, 1.0) for frames in scored.frames.values() for pair in frames.values())
    assert scored.result["overall"]["J&F"] == 1.0
    # The class that appears late counts on all annotated frames, clips of one and two frames are scored, gaps are left out.
    counts = {"away/dog": 6, "full/cat": 6, "gaps/person": 3, "late/dog": 6, "late/person": 6, "one/dog": 1, "two/cat": 2}
    assert {tube: len(frame_scores(scored, tube)) for tube in counts} == counts


def test_empty_predictions(zoo: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    scored = score(hand_in(tmp_path / "empty", zoo, lambda episode, frame, truth: encode_png(truth & False)), zoo)
    assert frame_scores(scored, "away/dog") == [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0), (0, 0)]
    assert frame_scores(scored, "late/dog") == [(1, 1), (1, 1), (0, 0), (0, 0), (0, 0), (0, 0)]
    assert frame_scores(scored, "full/cat") == [(0, 1)] * 6  # a mask that fills the frame has no boundary
    assert frame_scores(scored, "one/dog") == [(0, 0)]


def test_predictions_where_nothing_is(zoo: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    dot = encode_png(box(3, 3, 2, 2).astype(bool))
    scored = score(hand_in(tmp_path / "dot", zoo, lambda episode, frame, truth: encode_png(truth) if truth.any() else dot), zoo)
    assert frame_scores(scored, "away/dog") == [(1, 1), (1, 1), (0, 0), (0, 0), (1, 1), (1, 1)]
    assert frame_scores(scored, "late/dog")[:3] == [(0, 0), (0, 0), (1, 1)]
    full = encode_png(FULL.astype(bool))
    scored = score(hand_in(tmp_path / "full", zoo, lambda episode, frame, truth: full), zoo)
    assert frame_scores(scored, "away/dog")[2] == (0, 1)
    assert frame_scores(scored, "full/cat") == [(1, 1)] * 6


def refused(icvos: Command, masks: Path, release: Path, tmp_path: Path, *words: object) -> list[dict[str, str]]:
    """The findings of a report that refuses the masks; nothing is written, and both forms say the same."""
    out = tmp_path / "refused"
    said = icvos("score", masks, "--benchmark", release, "--out", out, "--json", *words)
    assert said.code == 4 and not out.exists(), said
    report = json.loads(said.out)
    assert report["error"] == "SubmissionError" and report["exit_code"] == 4
    findings: list[dict[str, str]] = report["findings"]
    plain = icvos("score", masks, "--benchmark", release, "--out", out, *words)
    assert plain.code == 4 and not out.exists()
    assert sum(line.startswith("  ") for line in plain.err.splitlines()) == len(findings)
    assert f"found {len(findings)}, expected none" in plain.err and "Traceback" not in plain.err
    return findings


def test_a_third_value_is_named_for_every_draw(icvos: Command, zoo: Path, tmp_path: Path) -> None:
    def answer(episode: str, frame: str, truth: Mask) -> bytes:
        values = truth.astype(np.uint8)
        values[0, 0] = 7 if "one/" in episode else 0
        values[0, 1] = 255 if "two/" in episode and frame == "00001" else 0
        return png(values)

    findings = refused(icvos, hand_in(tmp_path / "m", zoo, answer), zoo, tmp_path)
    assert {finding["code"] for finding in findings} == {"values"} and len(findings) == 10  # five draws each, the same bytes
    for draw in range(5):
        (one,) = [finding for finding in findings if f"one/dog#s{draw}" in finding["where"]]
        assert one["where"].endswith("00000.png") and "0, 1 and 7" in one["found"] and "0 and 255" in one["expected"]
    assert all("0, 1 and 255" in finding["found"] for finding in findings if "two/" in finding["where"])


def test_another_size_is_refused_or_resized_on_request(icvos: Command, zoo: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    def double(episode: str, frame: str, truth: Mask) -> bytes:
        return encode_png(truth.repeat(2, 0).repeat(2, 1) if episode.startswith("ic-vos/two/") else truth)

    masks = hand_in(tmp_path / "m", zoo, double)
    findings = refused(icvos, masks, zoo, tmp_path)
    assert len(findings) == 10 and {finding["code"] for finding in findings} == {"size"}
    assert all(finding["found"] == "48 x 80" and finding["expected"] == "24 x 40" and "--resize" in finding["fix"] for finding in findings)
    scored = score(masks, zoo, "--resize")
    assert scored.result["overall"]["J&F"] == 1.0 and scored.result["notes"] == ["masks of other sizes resampled"]


def test_missing_files_are_listed_or_count_zero_on_request(icvos: Command, zoo: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    def answer(episode: str, frame: str, truth: Mask) -> bytes | None:
        gone = episode == "ic-vos/late/dog#s2" or (episode == "ic-vos/away/dog#s0" and frame in ("00002", "00004"))
        return None if gone else encode_png(truth)

    masks = hand_in(tmp_path / "m", zoo, answer)
    findings = refused(icvos, masks, zoo, tmp_path)
    assert [finding["code"] for finding in findings] == ["missing-mask", "missing-mask", "missing-episode"]
    assert [finding["where"].split("/")[-1] for finding in findings[:2]] == ["dog#s0: 00002.png", "dog#s0: 00004.png"]
    assert "late/dog#s2" in findings[2]["where"] and findings[2]["expected"] == "6 masks"
    scored = score(masks, zoo, "--allow-missing")
    # 0 even where the truth is empty: what was not said is not right by chance.
    assert list(scored.frames["ic-vos/away/dog#s0"].values()) == [(1, 1), (1, 1), (0, 0), (1, 1), (0, 0), (1, 1)]
    assert set(scored.frames["ic-vos/late/dog#s2"].values()) == {(0, 0)}
    assert scored.result["coverage"] == {"expected": 150, "present": 142, "part": 142 / 150}
    assert scored.result["notes"] == ["missing masks allowed, counted 0"]
    said = icvos("score", masks, "--benchmark", zoo, "--out", tmp_path / "said", "--allow-missing")
    assert "94.7 % of the masks there" in said.out


def test_broken_files_are_named(icvos: Command, zoo: Path, tmp_path: Path) -> None:
    whole = encode_png(MOVING[0].astype(bool))
    contents = {
        "00000": (whole[:-20], "truncated"),
        "00001": (b"", "empty"),
        "00002": (b"GIF89a, so no PNG", "not a PNG"),
        "00003": (png(np.zeros((24, 40, 3), np.uint8)), "colour"),
        "00004": (whole.replace(b"IDAT", b"IDAT")[:60] + b"\xff" + whole[61:], "damaged"),
    }
    masks = hand_in(tmp_path / "m", zoo)
    for frame, (data, _) in contents.items():
        (masks / "ic-vos/away/dog#s1" / f"{frame}.png").write_bytes(data)
    findings = refused(icvos, masks, zoo, tmp_path, "--allow-missing", "--resize")  # neither option makes them readable
    assert {finding["code"] for finding in findings} == {"unreadable"} and len(findings) == 5
    for finding, (frame, (_, word)) in zip(findings, contents.items(), strict=True):
        assert f"away/dog#s1: {frame}.png" in finding["where"] and word in finding["found"]


def test_a_faulty_run_does_not_keep_the_others_from_being_scored(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    for method in ("empty", "full-frame", "identity"):
        assert icvos("run", "--method", method, "--benchmark", toy_release, "--out", tmp_path).code == 0
    for method in ("empty", "full-frame"):
        (tmp_path / method / "predictions/davis/rex/dog#s0.zip").unlink()
    said = icvos("score", tmp_path)
    assert said.code == 4
    assert "2 of 3 runs refused" in said.err
    assert said.err.count("missing-episode") == 3  # one a run, and the first again in the sentence
    assert "identity" in said.out
    assert [path.parts[-3] for path in sorted(tmp_path.glob("*/results/*.json")) if path.stem == "native@1"] == ["identity"]


def test_a_truth_file_is_read_once_for_all_tubes_and_draws(
    icvos: Command, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert icvos("run", "--method", "support-shape", "--benchmark", toy_release, "--out", tmp_path).code == 0
    read: list[Path] = []
    original = scoring_module.read_data
    monkeypatch.setattr(scoring_module, "read_data", lambda path, sha256: read.append(path) or original(path, sha256))
    assert icvos("score", tmp_path, "--workers", 1).code == 0
    assert len(read) == len(set(read)) == 12  # tom's six frames serve its cat and its person


@pytest.mark.parametrize("workers", [1, 3])
def test_all_faults_stand_in_one_report(icvos: Command, zoo: Path, tmp_path: Path, workers: int) -> None:
    masks = hand_in(tmp_path / "m", zoo)
    (masks / "ic-vos/away/dog#s0/00000.png").unlink()
    (masks / "ic-vos/away/dog#s0/00001.png").write_bytes(b"x")
    (masks / "ic-vos/away/dog#s0/00017.png").write_bytes(b"x")
    (masks / "ic-vos/away/dog#s0/readme").write_bytes(b"x")
    (masks / "ic-vos/full/cat#s1/00003.png").write_bytes(png(FULL * np.uint8(3)))
    (masks / "ic-vos/full/cat#s2/00003.png").write_bytes(encode_png(np.ones((2, 2), bool)))
    shutil.rmtree(masks / "ic-vos/one/dog#s4")
    shutil.rmtree(masks / "ic-vos/late/dog#s0")
    (masks / "ic-vos/late/dog#s0.zip").write_bytes(b"no zip")
    shutil.copytree(masks / "ic-vos/two/cat#s0", masks / "ic-vos/two/cat#s9")
    findings = refused(icvos, masks, zoo, tmp_path, "--workers", workers)
    codes = ["extra-episode", "extra-mask", "extra-file", "missing-mask", "unreadable", "values", "size", "unreadable", "missing-episode"]
    assert [finding["code"] for finding in findings] == codes
    assert all(finding["where"] and finding["found"] and finding["expected"] and finding["fix"] for finding in findings)


def test_nothing_handed_in(icvos: Command, zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    findings = refused(icvos, tmp_path / "none", zoo, tmp_path)
    assert len(findings) == 35 and {finding["code"] for finding in findings} == {"missing-episode"}
    said = icvos("score", tmp_path / "none", "--benchmark", zoo, "--out", tmp_path / "out", "--allow-missing")
    assert said.code == 4 and "no predictions" in said.err and "<source>/<clip>/<class>#s0" in said.err
    said = icvos("score", tmp_path / "nowhere", "--benchmark", zoo)
    assert said.code == 2 and "no such folder" in said.err


def test_names_of_results(icvos: Command, zoo: Path, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hand_in(tmp_path / "masks", zoo)
    assert icvos("score", "masks", "--benchmark", zoo, "--method-name", "mine").code == 0
    assert json.loads((tmp_path / "runs/mine/results/native@1.json").read_text())["method"]["name"] == "mine"
    said = icvos("score", "masks", "--benchmark", zoo, "--method-name", "../../mine")
    assert said.code == 2 and "not a name for a method" in said.err
    assert icvos("run", "--method", "empty", "--benchmark", toy_release).code == 0
    said = icvos("score", "masks", "--benchmark", zoo, "--method-name", "empty")  # would overwrite the run's own result
    assert said.code == 2 and "belongs to a run" in said.err
    said = icvos("score", "runs/empty", "--method-name", "mine")
    assert said.code == 2 and "leave --method-name out" in said.err
    said = icvos("score", "runs/empty", "masks", "--out", "here")
    assert said.code == 2 and "--out is for one run" in said.err
    said = icvos("score", "runs", "--protocol", "nativ@1")
    assert said.code == 2 and "did you mean native@1" in said.err
    said = icvos("score", "runs/empty", "--benchmark", zoo)
    assert said.code == 2 and "made on another release" in said.err
    said = icvos("score")
    assert said.code == 0 and "runs/empty/results/native@1.json" in said.out


def test_a_truth_that_was_changed_is_refused(icvos: Command, tmp_path: Path) -> None:
    release = import_tree(tmp_path, {"one": ZOO["one"], "two": ZOO["two"]})
    masks = hand_in(tmp_path / "m", release)
    truth = tmp_path / "tree/two/Annotations/16/00001.png"
    for spoil in (lambda: write_ids(truth, MOVING[3], "L"), truth.unlink):
        spoil()
        for workers in (1, 2):
            said = icvos("score", masks, "--benchmark", release, "--out", tmp_path / "out", "--workers", workers)
            assert said.code == 3 and str(truth) in said.err and not (tmp_path / "out").exists()


# The paper's protocol


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of 600 frames of 12 x 16 pixels: a box that shrinks away."""
    masks = [box(2, 2, 8 - number // 75, 12 - number // 60, 1, (12, 16)) for number in range(600)]
    return import_tree(tmp_path_factory.mktemp("long"), {"long": {DOG: masks}})


def shrunk(number: int, truth: Mask) -> Mask:
    return truth & (np.arange(16) % (2 + number // 100) > 0)


def test_the_decay_of_a_clip_past_256_frames(long_clip: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    masks = hand_in(tmp_path / "m", long_clip, lambda episode, frame, truth: encode_png(shrunk(int(frame), truth)))
    scored = score(masks, long_clip)
    frames = frame_scores(scored, "long/dog")
    assert len(frames) == 600
    first, last = frames[0:151], frames[449:600]  # round(1 + 599 k / 4) is 1, 151, 301, 450, 600
    expected = fmean(j for j, _ in first) - fmean(j for j, _ in last)
    assert abs(expected) > 0.01
    assert scored.result["overall"]["J_decay"] == pytest.approx(expected, abs=1e-12)
    assert scored.result["overall"]["F_first"] == frames[0][1] and scored.result["intervals"] == {"J&F": None, "J": None, "F": None}
    assert list(scored.result["groups"]["length"]) == ["over 500 frames"]


def squashed(mask: Mask) -> Mask:
    rows, columns = (np.arange(512) * side // 512 for side in mask.shape)
    return mask[rows][:, columns]


def test_the_papers_protocol_squashes_and_stops_at_512_frames(
    long_clip: Path, tmp_path: Path, score: Callable[..., Scored], icvos: Command
) -> None:
    def answer(episode: str, frame: str, truth: Mask) -> bytes | None:
        if int(frame) >= 512 and episode.endswith("s0"):
            return None  # nobody asks for them
        mask = shrunk(int(frame), truth)
        return encode_png(squashed(mask) if int(frame) % 2 else mask)  # either size will do

    masks = hand_in(tmp_path / "m", long_clip, answer)
    scored = score(masks, long_clip, protocol="paper-512@1")
    frames = frame_scores(scored, "long/dog")
    assert len(frames) == 512 and scored.result["coverage"]["expected"] == 5 * 512
    truth = truths_of(long_clip)["ic-vos/long/dog"]
    for number in (0, 1, 99, 100, 311, 511):
        mask = truth[f"{number:05d}"]
        assert frames[number] == slow_scores(squashed(shrunk(number, mask)), squashed(mask))
    assert scored.result["protocol"] == "paper-512@1" and "|protocol:paper-512@1|" in scored.result["signature"]
    findings = refused(icvos, masks, long_clip, tmp_path)  # native: other sizes on odd frames, and missing ones
    assert {finding["code"] for finding in findings} == {"size", "missing-mask"}
    assert sum(finding["code"] == "missing-mask" for finding in findings) == 88


# The same bytes however it is run


def test_workers_give_the_same_bytes(zoo: Path, noisy_masks: Path, score: Callable[..., Scored]) -> None:
    assert score(noisy_masks, zoo, "--workers", 1).files == score(noisy_masks, zoo, "--workers", 4).files


def test_numba_and_numpy_give_the_same_bytes(
    zoo: Path, noisy_masks: Path, tmp_path: Path, score: Callable[..., Scored], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    chosen = []
    monkeypatch.setattr(scoring_module, "kernel_named", lambda name: chosen.append(name) or kernels.kernel_named(name))
    small = score(noisy_masks, zoo)
    monkeypatch.setattr(scoring_module, "FEW_FOR_NUMBA", 0)
    large = score(noisy_masks, zoo)
    assert chosen == ["numpy", "auto"] and kernels.best_kernel().name == "numba"
    script = f"""
        import sys
        sys.modules["numba"] = None
        import icvos.scoring
        from icvos.kernels import best_kernel
        from icvos.cli import main
        icvos.scoring.FEW_FOR_NUMBA = 0
        assert best_kernel().name == "numpy"
        main(["score", {str(noisy_masks)!r}, "--benchmark", {str(zoo)!r}, "--out", {str(tmp_path / "without")!r}])
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True)
    assert small.files == large.files == Scored(tmp_path / "without").files


def test_a_run_and_its_masks_in_folders_score_the_same(icvos: Command, zoo: Path, tmp_path: Path, score: Callable[..., Scored]) -> None:
    assert icvos("run", "--method", "support-shape", "--benchmark", zoo, "--out", tmp_path / "runs").code == 0
    run = tmp_path / "runs/support-shape"
    for path in (run / "predictions").rglob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "plain" / path.relative_to(run / "predictions").with_suffix(""))
    ours, plain = score(run, zoo), score(tmp_path / "plain", zoo, "--method-name", "plain")
    assert ours.frames == plain.frames and ours.result["overall"] == plain.result["overall"]
    assert (ours.result["method"]["kind"], plain.result["method"]["kind"]) == ("floor", "method")


# Long clips: memory, and a process that is killed. The last of all, for they take a few seconds.


def long_release(folder: Path, frames: int) -> Path:
    """A release of one clip of 480 x 854 pixels, one draw, and a folder of masks for it; pictures are not needed to score."""
    rows, columns = np.mgrid[:480, :854]
    discs = [(rows - 240) ** 2 + (columns - 300 - 5 * number) ** 2 < 120**2 for number in range(40)]
    truths, answers = ([encode_png(disc if step else disc & (rows > 200)) for disc in discs] for step in (1, 0))
    names = [f"{number:05d}" for number in range(frames)]
    (folder / "data/masks").mkdir(parents=True)
    for number, name in enumerate(names):
        (folder / f"data/masks/{name}.png").write_bytes(truths[number % 40])
    digests = [sha256(data).hexdigest() for data in truths]
    hashes = tuple(digests[number % 40] for number in range(frames))
    tube = TubeRecord(class_id=18, class_name="dog", objects=(1,), encoding="ids", mask="masks/{}.png", mask_sha256=hashes)
    clip = ClipRecord(
        source="toy", name="long", size=(480, 854), frames=tuple(names), image="{}.jpg", image_sha256=("0" * 64,) * frames, tubes=(tube,)
    )
    rle = encode_rle(np.ones((4, 4), bool))
    support = SupportRecord(image_id=1, file="a.jpg", sha256="0" * 64, annotations=(1,), size=rle.size, counts=rle.counts)
    sources = {name: SourceRecord(title=name, page="", licence="") for name in ("toy", "coco")}
    manifest = Manifest(format="icvos-release/1", name="long", version="1", seed="x", draws=1, rules={}, sources=sources, clips=(clip,))
    roots = {"toy": folder / "data", "coco": folder / "data"}
    write_release(folder / "R", manifest, [EpisodeRecord(id="toy/long/dog#s0", supports=(support,))], roots)
    path = folder / "masks/toy/long/dog#s0.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(f"{name}.png", answers[number % 40])
    return folder


SCORE = """
import sys
from icvos.cli import main
from icvos.passes import peak_rss_bytes
try:
    main(["score", "masks", "--benchmark", "R", "--out", sys.argv[1]])
finally:
    print(peak_rss_bytes())
"""


@pytest.fixture(scope="module")
def long_releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    pytest.importorskip("numba")
    yield {frames: long_release(tmp_path_factory.mktemp(f"long{frames}"), frames) for frames in (600, 3000)}


def start_scoring(folder: Path, out: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCORE, out], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def peak_mib(folder: Path, out: str) -> float:
    process = start_scoring(folder, out)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return int(said.split()[-1]) / 2**20


def test_memory_does_not_grow_with_the_clip(long_releases: dict[int, Path], capsys: pytest.CaptureFixture[str]) -> None:
    short, long = (peak_mib(long_releases[frames], "undisturbed") for frames in (600, 3000))
    with capsys.disabled():
        print(f"\npeak memory of scoring a 480 x 854 clip: {short:.0f} MiB for 600 frames, {long:.0f} MiB for 3,000")
    assert long < 1.1 * short and long < 250


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for open files in /proc")
def test_kill_9_while_scoring_leaves_nothing_and_changes_nothing(long_releases: dict[int, Path]) -> None:
    folder = long_releases[3000]
    process = start_scoring(folder, "killed")
    end = time.monotonic() + 30
    while not any(name.endswith("dog#s0.zip") for name in open_files(process.pid)):
        assert time.monotonic() < end and process.poll() is None
    time.sleep(0.1)
    process.kill()
    process.communicate()
    assert process.returncode == -9 and not list((folder / "killed").rglob("*"))
    assert peak_mib(folder, "killed") > 0
    assert not list(folder.rglob("*.partial"))
    if not (folder / "undisturbed").exists():
        peak_mib(folder, "undisturbed")
    assert Scored(folder / "killed").files == Scored(folder / "undisturbed").files


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found
