"""`icvos verify`: every fault of the data on disk, not only the first; exit code 3; JSON for machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import write_frame

from curation.verify import verify_supports
from icvos.benchmark import Benchmark
from icvos.verify import verify_release

Icvos = Callable[..., Any]


@pytest.fixture
def data(toy_data: Path, tmp_path: Path) -> Path:
    """A copy of the toy data that a test may break."""
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


@pytest.fixture
def benchmark(toy_release: Path, data: Path) -> Benchmark:
    """The toy release over the copied data."""
    return Benchmark.open(toy_release, {"davis": data / "DAVIS", "coco": data / "COCO"})


def change_annotations(data: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    path = data / "COCO/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    change(content["annotations"])
    path.write_text(json.dumps(content))


def supports_of(benchmark: Benchmark) -> list[str]:
    return sorted({support.file for record in benchmark.records for support in record.supports})


def test_whole_data_has_no_fault(benchmark: Benchmark, data: Path, icvos: Icvos) -> None:
    steps: list[tuple[int, int]] = []
    assert verify_release(benchmark, lambda done, total: steps.append((done, total))) == []
    assert verify_supports(benchmark) == []
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]
    assert len(steps) == 12 + 12 + len(supports_of(benchmark))
    said = icvos("verify", benchmark.path, "--data", data)
    assert (said.code, said.out) == (0, f"{benchmark.label}: no fault\n")


def test_every_fault_is_listed_and_not_only_the_first(benchmark: Benchmark, data: Path, icvos: Icvos) -> None:
    davis, coco = data / "DAVIS", data / "COCO"
    first, second, *_ = benchmark.records[0].supports[0], benchmark.records[5].supports[0]
    write_frame(davis / "JPEGImages/480p/rex/00002.jpg", 99)
    (davis / "Annotations/480p/tom/00001.png").unlink()
    (davis / "Annotations/480p/tom/00004.png").write_bytes(b"")
    (coco / first.file).unlink()
    change_annotations(
        data, lambda entries: next(e for e in entries if e["id"] == first.annotations[0])["segmentation"][0].__setitem__(0, 9)
    )
    change_annotations(data, lambda entries: entries.remove(next(e for e in entries if e["id"] == second.annotations[0])))
    said = icvos("verify", benchmark.path, "--data", data, "--json")
    assert said.code == 3
    report = json.loads(said.out)
    assert (report["error"], report["exit_code"]) == ("DataError", 3)
    found = {(finding["code"], finding["where"].replace(str(data), "")) for finding in report["findings"]}
    annotations = "/COCO/annotations/instances_val2017.json"
    assert found == {
        ("changed", "/DAVIS/JPEGImages/480p/rex/00002.jpg"),
        ("missing", "/DAVIS/Annotations/480p/tom/00001.png"),
        ("changed", "/DAVIS/Annotations/480p/tom/00004.png"),
        ("missing", f"/COCO/{first.file}"),
        ("changed-annotation", f"{annotations}, image {first.image_id}"),
        ("missing-annotation", f"{annotations}, image {second.image_id}"),
    }
    assert all(finding["found"] and finding["expected"] and finding["fix"] for finding in report["findings"])
    spoken = icvos("verify", benchmark.path, "--data", data)
    assert spoken.code == 3
    assert spoken.out == ""
    assert "faults found" in spoken.err
    assert "found 6, expected none" in spoken.err
    assert all(where in spoken.err for _, where in found)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"images": [{}], "annotations": [], "categories": []}'])
def test_lost_annotations_do_not_hide_the_faults_of_the_frames(benchmark: Benchmark, data: Path, icvos: Icvos, content: str | None) -> None:
    (data / "DAVIS/Annotations/480p/tom/00001.png").unlink()
    path = data / "COCO/annotations/instances_val2017.json"
    if content is None:
        path.rename(path.with_name("instances_train2017.json"))
    else:
        path.write_text(content)
    said = icvos("verify", benchmark.path, "--data", data, "--json")
    assert said.code == 3
    assert [finding["code"] for finding in json.loads(said.out)["findings"]] == ["missing", "annotations"]


def test_a_malformed_annotation_does_not_hide_the_others(benchmark: Benchmark, data: Path) -> None:
    def ruin(entries: list[dict[str, Any]]) -> None:
        entries[0]["segmentation"] = [[1, 2]]
        entries[1]["segmentation"][0][0] = 9

    change_annotations(data, ruin)
    assert sorted(finding.code for finding in verify_supports(benchmark)) == ["changed-annotation", "malformed-annotation"]


def test_a_folder_that_cannot_be_read_as_a_file_is_a_fault(benchmark: Benchmark, data: Path) -> None:
    path = data / "DAVIS/JPEGImages/480p/rex/00002.jpg"
    path.unlink()
    path.mkdir()
    assert [(finding.code, finding.where) for finding in verify_release(benchmark)] == [("unreadable", str(path))]


def test_a_source_is_checked_as_a_whole(data: Path, icvos: Icvos) -> None:
    for source in ("davis", "coco"):
        said = icvos("verify", "--source", source, "--data", data)
        assert (said.code, said.out) == (0, f"{source}: no fault\n")
    for number in (1, 3):
        (data / f"DAVIS/Annotations/480p/rex/{number:05d}.png").unlink()
        (data / f"COCO/val2017/{1000 + number:012d}.jpg").unlink()
    said = icvos("verify", "--source", "davis", "--davis", data / "DAVIS", "--json")
    assert (said.code, len(json.loads(said.out)["findings"])) == (3, 2)
    said = icvos("verify", "--source", "coco", "--coco", data / "COCO")
    assert said.code == 3
    assert said.err.count("missing-image") == 3  # two and the first again in the last sentence
    assert "000000001001.jpg" in said.err
    assert "000000001003.jpg" in said.err


def test_success_is_json_too(benchmark: Benchmark, data: Path, icvos: Icvos) -> None:
    said = icvos("verify", benchmark.path, "--data", data, "--json")
    assert json.loads(said.out) == {"verified": benchmark.label, "findings": []}


def test_what_the_user_got_wrong(toy_release: Path, toy_data: Path, tmp_path: Path, icvos: Icvos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    for words, sentence in (
        ([], "no release here: ic-vos"),
        (["nowhere"], "no release here: nowhere: found no such folder"),
        (["--source", "davs"], "unknown source: davs; did you mean davis"),
        (["--source", "davis"], "nobody said where the data is: davis"),
        (["--source", "davis", "--davis", "nowhere"], "no such folder: nowhere"),
        ([toy_release, "--source", "davis", "--data", toy_data], "not both"),
        ([toy_release, "--data", "nowhere"], "no such data folder: nowhere"),
        ([toy_release, "--root", "davs=x"], "unknown source: --root davs=; did you mean davis"),
        ([toy_release, "--root", "davis"], "not a root: davis: expected NAME=DIR"),
    ):
        said = icvos("verify", *words)
        assert said.code == 2, words
        assert sentence in said.err
    assert icvos("verify", "--source", "davis", "--davis", toy_data / "COCO").code == 3


def test_options_go_before_what_was_remembered_and_that_before_the_environment(
    benchmark: Benchmark, data: Path, icvos: Icvos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (data / "DAVIS/JPEGImages/480p/rex/00002.jpg").unlink()
    monkeypatch.setenv("ICVOS_DATA", str(data))
    assert icvos("verify", benchmark.path).code == 0
    assert icvos("verify", benchmark.path, "--davis", data / "DAVIS").code == 3
    assert icvos("verify", benchmark.path, "--root", f"davis={data / 'DAVIS'}").code == 3
    moved = Path(shutil.copytree(benchmark.path, tmp_path / "moved"))
    (moved / "roots.json").unlink()
    assert icvos("verify", moved).code == 3
    monkeypatch.setenv("ICVOS_DATA", str(tmp_path / "nowhere"))
    assert icvos("verify", benchmark.path).code == 0  # not needed, so not complained about
    assert icvos("verify", moved).code == 2
