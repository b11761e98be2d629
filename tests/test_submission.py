"""Submissions: every planted fault is told, exactly, in words; what was packed scores as the run did; nothing gets out or stays open."""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import submissions as s
from conftest import Said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icvos.benchmark import Benchmark
from icvos.store import PredictionStore
from icvos.submission import check as check_submission

Command = Callable[..., Said]


@pytest.fixture(scope="module")
def names(toy_release: Path) -> list[str]:
    """Every mask that the toy release asks for."""
    release = Benchmark.open(toy_release)
    frames = {f"{clip.source}/{clip.name}": clip.frames for clip in release.manifest.clips}
    return [f"{name}/{frame}.png" for name in release.episode_ids for frame in frames[name.rpartition("/")[0]]]


@pytest.fixture(scope="module")
def whole(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return s.write_folder(tmp_path_factory.mktemp("whole") / "masks", names)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A folder of masks without a fault, to plant some into."""
    return Path(shutil.copytree(whole, tmp_path / "masks"))


@pytest.fixture(scope="module")
def packed(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a floor, packed; beside it the run."""
    from icvos.cli import main

    root = tmp_path_factory.mktemp("packed")
    for words in (
        ["run", "--method", "support-shape", "--out", str(root)],
        ["submit", "pack", str(root / "support-shape"), "--out", str(root / "x.zip")],
    ):
        with pytest.raises(SystemExit) as leaving:
            main([*words, "--benchmark", str(toy_release)])
        assert not leaving.value.code
    return root / "x.zip"


@pytest.fixture
def found(icvos: Command, toy_release: Path) -> Callable[..., list[tuple[str, str]]]:
    """What `icvos submit check` lists: codes and paths."""

    def call(path: Path, *words: object) -> list[tuple[str, str]]:
        before = sorted(path.parent.rglob("*"))
        said = icvos("submit", "check", path, "--benchmark", toy_release, "--json", *words)
        assert sorted(path.parent.rglob("*")) == before and "Traceback" not in said.err
        report = json.loads(said.out)
        if said.code == 0:
            assert report["findings"] == []
            return []
        assert said.code == 4 and report["exit_code"] == 4 and report["findings"]
        assert all(all(finding.values()) and "\n" not in "".join(finding.values()) for finding in report["findings"])
        return [(finding["code"], finding["where"]) for finding in report["findings"]]

    return call


def same(found: list[tuple[str, str]], expected: s.Expected) -> bool:
    return len(found) == len(expected) and all(
        code == wanted and where.endswith(end) for (code, where), (wanted, end) in zip(found, expected, strict=True)
    )


# Without a fault


def test_whole_submissions_of_every_form_pass(
    found: Callable[..., object], folder: Path, names: list[str], packed: Path, tmp_path: Path
) -> None:
    assert found(folder) == found(packed) == found(packed.with_name("support-shape")) == []
    for top in ("", "masks/"):
        path = tmp_path / f"flat{len(top)}.zip"
        draft = s.Draft.of(top + name for name in names)
        path.write_bytes(draft.bytes())
        assert found(path) == []
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        draft = s.Draft.of(names)
        s.nested(draft, compress_type=kind)
        (tmp_path / "nested.zip").write_bytes(draft.bytes())
        assert found(tmp_path / "nested.zip") == []
    s.zipped_episode()(folder)
    assert found(folder) == []
    folder.rename(tmp_path / "davis-masks")
    (tmp_path / "around").mkdir()
    (tmp_path / "davis-masks").rename(tmp_path / "around/davis-masks")
    assert found(tmp_path / "around") == []
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:  # a run's folder, zipped by hand
        for file in sorted(packed.with_name("support-shape").rglob("*")):
            archive.write(file, file.relative_to(packed.parent))
    assert found(tmp_path / "run.zip") == []


def test_no_truth_is_needed_and_no_picture(
    icvos: Command, toy_release: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    for file in ("manifest.json", "episodes.jsonl"):
        shutil.copy(toy_release / file, tmp_path / "shared" / file)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    said = icvos("submit", "check", folder, "--benchmark", tmp_path / "shared")
    assert said.code == 0 and "no fault; 15 episodes" in said.out
    assert check_submission(folder, Benchmark.open(tmp_path / "shared"), workers=2) == []
    (folder / s.FRAME).unlink()
    one, two = (check_submission(folder, Benchmark.open(tmp_path / "shared"), workers=workers) for workers in (1, 2))
    assert one == two and len(one) == 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_interlaced_masks_and_those_of_few_bits_are_masks(found: Callable[..., object], folder: Path, depth: int) -> None:
    (folder / s.FRAME).write_bytes(s.png(s.header(40, 24, depth), bytes((1 + 5 * depth) * 24)))
    assert found(folder) == []


# With one


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("fault", s.CONTENTS)
def test_a_fault_of_a_mask(
    found: Callable[..., list[tuple[str, str]]], folder: Path, names: list[str], tmp_path: Path, fault: str, form: str
) -> None:
    code, data = s.CONTENTS[fault]
    path = folder
    if form == "folder":
        (folder / s.FRAME).write_bytes(data)
    else:
        path = tmp_path / "x.zip"
        draft = s.Draft.of(names)
        draft.put(s.FRAME, data)
        path.write_bytes(draft.bytes())
    assert same(found(path), [(code, s.PLACE)])


@pytest.mark.parametrize("fault", s.FOLDER)
def test_a_fault_of_a_folder(found: Callable[..., list[tuple[str, str]]], folder: Path, fault: str) -> None:
    plant, expected = s.FOLDER[fault]
    plant(folder)
    findings = found(folder)
    assert same(findings, expected), findings


@pytest.mark.parametrize("fault", s.ZIP)
def test_a_fault_of_a_zip(found: Callable[..., list[tuple[str, str]]], names: list[str], tmp_path: Path, fault: str) -> None:
    plant, expected = s.ZIP[fault]
    draft = s.Draft.of(names)
    plant(draft)
    (tmp_path / "x.zip").write_bytes(draft.bytes())
    findings = found(tmp_path / "x.zip")
    assert same(findings, expected), findings


def with_record(packed: Path, path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            new.writestr(info, data if info.filename == "run.json" else old.read(info))
    return path


@pytest.mark.parametrize("fault", s.RECORDS)
def test_a_fault_of_a_key_or_card(found: Callable[..., list[tuple[str, str]]], packed: Path, tmp_path: Path, fault: str) -> None:
    plant, expected = s.RECORDS[fault]
    with zipfile.ZipFile(packed) as archive:
        data = json.loads(archive.read("run.json"))
    plant(data)
    findings = found(with_record(packed, tmp_path / "x.zip", json.dumps(data).encode()))
    assert same(findings, expected), findings


@pytest.mark.parametrize("fault", s.DOCUMENTS)
def test_a_run_file_that_is_none(found: Callable[..., list[tuple[str, str]]], packed: Path, tmp_path: Path, fault: str) -> None:
    findings = found(with_record(packed, tmp_path / "x.zip", s.DOCUMENTS[fault]))
    code = "too-large" if fault == "huge" else "run"
    assert same(findings, [(code, "run.json")]), findings


def test_the_docs_say_every_code() -> None:
    text = (Path(__file__).parents[1] / "docs/submit.md").read_text(encoding="utf-8")
    planted = [code for code, _ in s.CONTENTS.values()]
    planted += [code for faults in (s.FOLDER, s.ZIP, s.RECORDS) for _, expected in faults.values() for code, _ in expected]
    assert len(planted) > 120 and set(planted) == set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))


# With what is no data


@pytest.mark.parametrize("form", ["folder", "zip", "zip of zips"])
@pytest.mark.parametrize("name", s.NOT_DATA)
def test_what_systems_leave_behind_is_told_and_no_fault(
    icvos: Command, toy_release: Path, folder: Path, names: list[str], tmp_path: Path, name: str, form: str
) -> None:
    path = tmp_path / "x.zip"
    if form == "folder":
        s.added(name)(folder)
        path = folder
    else:
        draft = s.Draft.of(names)
        draft.add(name)
        if form == "zip of zips":
            s.nested(draft)
        path.write_bytes(draft.bytes())
    said = icvos("submit", "check", path, "--benchmark", toy_release, "--json")
    assert (said.code, json.loads(said.out)["findings"]) == (0, []), said
    (note,) = json.loads(said.out)["notes"]
    assert note.startswith("1 file that is no data is not read") and said.err == f"note: {note}\n"


def test_a_zip_that_finder_made_passes(found: Callable[..., list[tuple[str, str]]], names: list[str], tmp_path: Path) -> None:
    draft = s.Draft.of(names)
    s.zipped_by_finder(draft)
    (tmp_path / "x.zip").write_bytes(draft.bytes())
    assert found(tmp_path / "x.zip") == []


def test_a_run_of_what_is_no_data_is_one_note_and_the_number_stays(icvos: Command, toy_release: Path, folder: Path, tmp_path: Path) -> None:
    words = ("submit", "score", folder, "--benchmark", toy_release, "--method-name", "x", "--json", "--out")
    before = icvos(*words, tmp_path / "before")
    for name in s.NOT_DATA:
        s.added(name)(folder)
    after = icvos(*words, tmp_path / "after")
    assert after.code == 0 and after.err.count("note: ") == 1 and "10 files that are no data are not read" in after.err
    (first,), (second,) = ([path.read_bytes() for path in (tmp_path / at).rglob("native@1.json")] for at in ("before", "after"))
    assert before.code == 0 and first == second
    packed = icvos("submit", "pack", folder, "--benchmark", toy_release, "--method-name", "x", "--out", tmp_path / "x.zip")
    assert packed.code == 0 and "10 files" in packed.err
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert not any("DS_Store" in name or "._" in name for name in archive.namelist())


def test_a_path_that_climbs_is_a_fault_whatever_its_folder_is_called(
    found: Callable[..., list[tuple[str, str]]], names: list[str], tmp_path: Path
) -> None:
    draft = s.Draft.of(names)
    draft.add("__MACOSX/../../up.png")
    (tmp_path / "x.zip").write_bytes(draft.bytes())
    assert same(found(tmp_path / "x.zip"), [("extra-file", "__MACOSX/../../up.png")])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_written_otherwise_are_told_as_that(icvos: Command, toy_data: Path, tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name, twin = (unicodedata.normalize(one, "café") for one in (form, other))
    data = Path(shutil.copytree(toy_data, tmp_path / "data"))
    for tree in ("JPEGImages", "Annotations"):
        (data / "DAVIS" / tree / "480p/rex").rename(data / "DAVIS" / tree / "480p" / name)
    (data / "DAVIS/ImageSets/2017/val.txt").write_text(f"{name}\n")
    (data / "DAVIS/davis_semantics.json").write_text(json.dumps({name: {"1": "dog"}}))
    assert icvos("build", "--data", data, "--out", tmp_path / "R").code == 0
    release = Benchmark.open(tmp_path / "R")
    asked = release.asked()
    masks = s.write_folder(tmp_path / "masks", [f"{one}/{frame}.png" for one in release.episode_ids for frame in asked.of(one).scored])
    assert icvos("submit", "check", masks, "--benchmark", tmp_path / "R").code == 0
    (masks / "davis" / name).rename(masks / "davis" / twin)
    said = icvos("submit", "check", masks, "--benchmark", tmp_path / "R", "--json")
    (finding,) = json.loads(said.out)["findings"]
    assert finding["code"] == "name" and f"accents as {other}" in finding["found"] and f"accents as {form}" in finding["expected"]
    # the release against the disk
    for tree in ("JPEGImages", "Annotations"):
        (data / "DAVIS" / tree / "480p" / name).rename(data / "DAVIS" / tree / "480p" / twin)
    said = icvos("verify", tmp_path / "R", "--json")
    findings = json.loads(said.out)["findings"]
    assert said.code == 3 and {one["code"] for one in findings} == {"missing"}
    assert all("accents written otherwise" in one["found"] for one in findings)
    # and a list against the folders
    said = icvos("verify", "--source", "davis", "--data", data, "--json")
    assert "accents written otherwise" in json.loads(said.out)["findings"][0]["found"]


# With many


def test_all_faults_of_a_folder_at_once(found: Callable[..., list[tuple[str, str]]], folder: Path) -> None:
    """Two dozen faults, each in its own place: exactly they are listed, and the same again by `icvos score`."""
    contents = list(s.CONTENTS)
    frames = [f"davis/tom/{name}#s{draw}/0000{frame}.png" for name in ("cat", "person") for draw in range(4) for frame in range(6)]
    expected = []
    for name, place in zip(contents, frames, strict=False):
        code, data = s.CONTENTS[name]
        (folder / place).write_bytes(data)
        expected.append((code, place[-len("#s0/00000.png") :].replace("/", ": ")))
    for fault in ("a missing frame", "an extra frame", "an array", "a name of two lines", "a name that is no text"):
        plant, told = s.FOLDER[fault]
        plant(folder)
        expected += told
    for fault in (
        "an extra clip",
        "an extra source",
        "a file at the top",
        "a program",
        "a pipe at the top",
        "a link in a circle",
    ):
        plant, told = s.FOLDER[fault]
        plant(folder)
        expected += told
    s.link("davis/tom/person#s4/00003.png", "/etc/passwd")(folder)
    s.moved("davis/rex/dog#s3/00001.png", "davis/rex/dog#s3/1.png")(folder)
    shutil.rmtree(folder / "davis/rex/dog#s4")
    expected += [("link", "person#s4/00003.png"), ("name", "dog#s3/1.png"), ("missing-episode", "rex/dog#s4 (.zip or folder)")]
    listed = found(folder)
    assert len(listed) == len(expected) == len(s.CONTENTS) + 14
    for code, end in expected:
        assert sum(code == told and where.endswith(end) for told, where in listed) == 1, (code, end)


def test_all_faults_of_a_zip_at_once(found: Callable[..., list[tuple[str, str]]], names: list[str], tmp_path: Path) -> None:
    draft, expected = s.Draft.of(names), []
    strangers = ["a path that climbs", "a path from the root", "a path from a drive", "a share", "a name with NUL", "a link beside"]
    for fault in [*strangers, "a device", "a name twice but for case", "a program", "a bomb beside"]:
        plant, told = s.ZIP[fault]
        plant(draft)
        expected += told
    changes = {"flag_bits": 1, "compress_type": zipfile.ZIP_LZMA, "external_attr": s.mode(0o120000)}
    for number, (attribute, value) in enumerate(changes.items()):
        draft.put(f"davis/tom/cat#s0/0000{number}.png", s.MASK, **{attribute: value})
    expected += [("encrypted", "cat#s0/00000.png"), ("packing", "cat#s0/00001.png"), ("link", "cat#s0/00002.png")]
    draft.put("davis/tom/person#s1/00005.png", b"")
    expected.append(("unreadable", "person#s1: 00005.png"))
    (tmp_path / "x.zip").write_bytes(draft.bytes())
    listed = found(tmp_path / "x.zip")
    assert len(listed) == len(expected) == 14
    for code, end in expected:
        assert sum(code == told and where.endswith(end) for told, where in listed) == 1, (code, end)


def test_score_lists_what_check_lists(icvos: Command, toy_release: Path, folder: Path, tmp_path: Path) -> None:
    for name, data in (("00000", b""), ("00001", s.grey(3)), ("00009", s.MASK)):
        (folder / s.EPISODE / f"{name}.png").write_bytes(data)
    (folder / "davis/tom/cat#s0/00002.png").write_bytes(s.grey(1, size=(4, 4)))
    s.link("davis/tom/cat#s1/00002.png", "00001.png")(folder)
    (folder / "readme").write_bytes(b"")
    words = (folder, "--benchmark", toy_release, "--json")
    checked = icvos("submit", "check", *words)
    reports = [checked, icvos("submit", "score", *words, "--out", tmp_path / "out"), icvos("score", *words, "--out", tmp_path / "out")]
    listed = [json.loads(said.out)["findings"] for said in reports]
    assert listed[0] == listed[1] == listed[2] and len(listed[0]) == 6 and not (tmp_path / "out").exists()
    plain = icvos("submit", "check", folder, "--benchmark", toy_release)
    assert plain.code == 4 and sum(line.startswith("  ") for line in plain.err.splitlines()) == 6


def test_what_a_user_lets_pass(icvos: Command, found: Callable[..., list[tuple[str, str]]], folder: Path) -> None:
    shutil.rmtree(folder / s.EPISODE)
    (folder / "davis/tom/cat#s0/00002.png").unlink()
    (folder / "davis/tom/cat#s0/00003.png").write_bytes(s.grey(1, size=(4, 4)))
    (folder / "davis/tom/cat#s0/00004.png").write_bytes(s.png(s.header(512, 512), bytes(513 * 512)))
    assert [code for code, _ in found(folder)] == ["missing-episode", "missing-mask", "size", "size"]
    assert [code for code, _ in found(folder, "--allow-missing", "--protocol", "paper-512@1")] == ["size"]
    assert found(folder, "--allow-missing", "--resize") == []


# Packing and scoring


def scored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if "timing" not in path.name}


def test_a_pack_scores_as_its_run_does_to_the_byte(icvos: Command, toy_release: Path, packed: Path, tmp_path: Path) -> None:
    run = packed.with_name("support-shape")
    assert icvos("score", run, "--benchmark", toy_release, "--out", tmp_path / "run").code == 0
    said = icvos("submit", "score", packed, "--benchmark", toy_release, "--out", tmp_path / "pack", "--json")
    assert said.code == 0 and json.loads(said.out)["signature"] == json.loads((tmp_path / "run/native@1.json").read_text())["signature"]
    assert icvos("score", packed, "--benchmark", toy_release, "--out", tmp_path / "plain").code == 0
    assert icvos("submit", "score", run, "--benchmark", toy_release, "--out", tmp_path / "again", "--workers", 2).code == 0
    assert scored(tmp_path / "run") == scored(tmp_path / "pack") == scored(tmp_path / "plain") == scored(tmp_path / "again")
    assert len(scored(tmp_path / "run")) == 3  # the result, its frames, and the record: of the same masks, sealed alike


def test_the_same_run_gives_the_same_zip_and_nothing_of_this_machine(
    icvos: Command, toy_release: Path, packed: Path, tmp_path: Path
) -> None:
    run = packed.with_name("support-shape")
    said = icvos("submit", "pack", run, "--out", tmp_path / "again.zip", "--json")  # the release that the run remembers
    assert said.code == 0 and (tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    report = json.loads(said.out)
    assert (report["episodes"], report["masks"], report["bytes"]) == (15, 90, packed.stat().st_size) and len(report["sha256"]) == 64
    assert icvos("submit", "pack", packed, "--benchmark", toy_release, "--out", tmp_path / "of-pack.zip").code == 0
    assert (tmp_path / "of-pack.zip").read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        assert set(json.loads(archive.read("run.json"))) == {"key", "card"}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert str(packed.parent).encode() not in packed.read_bytes()


def test_a_pack_is_read_where_it_lies(packed: Path) -> None:
    stores = [PredictionStore.open(path) for path in (packed, packed.with_name("support-shape"))]
    assert stores[0].key == stores[1].key is not None and stores[0].about["benchmark"] == ""
    assert stores[0].find("davis/rex/dog#s7") is None
    read = []
    for store in stores:
        prediction = store.find(s.EPISODE)
        assert prediction
        read.append({frame: prediction.read(frame) for frame in prediction.frame_ids})
        prediction.close()
    assert read[0] == read[1] and len(read[0]) == 6


def test_what_lies_in_a_run_beside_its_predictions(
    icvos: Command, found: Callable[..., list[tuple[str, str]]], toy_release: Path, packed: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(packed.with_name("support-shape"), tmp_path / "run"))
    (run / "notes.txt").write_text("mine")
    assert same(found(run), [("extra-file", "run/notes.txt")])
    assert icvos("score", run, "--benchmark", toy_release).code == 0
    assert icvos("submit", "pack", run, "--benchmark", toy_release, "--out", tmp_path / "x.zip").code == 0
    assert (tmp_path / "x.zip").read_bytes() == packed.read_bytes()
    shutil.rmtree(run / "predictions")
    assert same(found(run), [("layout", "run")])
    (run / "predictions").write_text("none")
    assert same(found(run), [("extra-file", "run/notes.txt"), ("unreadable", "run/predictions")])


def test_a_run_that_is_not_whole_is_packed_on_request_alone(icvos: Command, toy_release: Path, packed: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(packed.with_name("support-shape"), tmp_path / "run"))
    (run / "predictions" / f"{s.EPISODE}.zip").unlink()
    words = ("submit", "pack", run, "--benchmark", toy_release, "--out", tmp_path / "x.zip")
    said = icvos(*words)
    assert said.code == 4 and "missing-episode" in said.err and not (tmp_path / "x.zip").exists()
    assert icvos(*words, "--allow-missing").code == 0
    said = icvos("submit", "score", tmp_path / "x.zip", "--benchmark", toy_release, "--allow-missing", "--out", tmp_path / "out")
    assert said.code == 0 and "93.3 % of the masks there" in said.out


def test_a_folder_of_masks_is_packed_with_its_card(
    icvos: Command, found: Callable[..., object], toy_release: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("submit", "pack", folder, "--benchmark", toy_release)
    said = icvos(*words)
    assert said.code == 2 and "--method-name" in said.err
    script = "<script>alert(1)</script>"
    (tmp_path / "card.json").write_text(json.dumps({"summary": script, "training_data": ["COCO"], "paper": "javascript:alert(1)"}))
    said = icvos(*words, "--method-name", "mine", "--card", "card.json")
    assert said.code == 0 and "mine.zip" in said.out and found(tmp_path / "mine.zip") == []
    said = icvos("submit", "score", "mine.zip", "--benchmark", toy_release)
    assert said.code == 0, said.err
    card = json.loads((tmp_path / "mine.zip-results/native@1.json").read_text())["method"]
    assert (card["name"], card["summary"], card["kind"]) == ("mine", script, "method")
    page = icvos("leaderboard", "mine.zip-results", "--format", "html")
    assert page.code == 0 and script not in page.out
    said = icvos("submit", "pack", "mine.zip", "--benchmark", toy_release, "--method-name", "other")
    assert said.code == 2 and "leave --method-name" in said.err


def test_every_fault_of_a_card_is_listed(icvos: Command, toy_release: Path, folder: Path, tmp_path: Path) -> None:
    words = ("submit", "pack", folder, "--benchmark", toy_release, "--out", tmp_path / "x.zip", "--card", tmp_path / "card.json", "--json")
    assert icvos(*words).code == 2
    (tmp_path / "card.json").write_text(
        json.dumps({"name": "a/b", "licens": "MIT", "kind": 7, "parallel": "no", "training_clips": ["dog"]})
    )
    said = icvos(*words)
    assert said.code == 4 and not (tmp_path / "x.zip").exists()
    findings = json.loads(said.out)["findings"]
    assert sorted(finding["where"].rpartition(".")[2] for finding in findings) == ["kind", "licens", "name", "parallel", "training_clips"]
    assert {finding["code"] for finding in findings} == {"card"} and any("did you mean licence?" in finding["fix"] for finding in findings)
    (tmp_path / "card.json").write_text('{"name": "b"}')
    assert icvos(*words, "--method-name", "a").code == 2


def test_nothing_is_where_it_is_said(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    for command in ("check", "score", "pack"):
        said = icvos("submit", command, tmp_path / "nowhere.zip", "--benchmark", toy_release)
        assert said.code == 2 and "no such" in said.err
    assert icvos("submit", "chekc", "x").code == 2


def test_a_pipe_is_not_waited_for(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.zip")
    said = icvos("submit", "check", tmp_path / "x.zip", "--benchmark", toy_release)
    assert said.code == 4 and "neither a file nor a folder" in said.err


def test_a_run_that_says_another_release_is_scored_by_nobody(icvos: Command, toy_release: Path, packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        data = json.loads(archive.read("run.json"))
    data["key"]["digest"] = "0" * 64
    path = with_record(packed, tmp_path / "x.zip", json.dumps(data).encode())
    said = icvos("submit", "score", path, "--benchmark", toy_release, "--out", tmp_path / "out", "--json")
    assert said.code == 4 and [finding["code"] for finding in json.loads(said.out)["findings"]] == ["release"]
    assert icvos("score", path, "--benchmark", toy_release, "--out", tmp_path / "out").code == 2 and not (tmp_path / "out").exists()


# Whatever bytes


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_gets_out_as_anything_but_findings(toy_release: Path, packed: Path, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(packed.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        low = data.draw(st.sampled_from([0, len(damaged) - 1500]))  # the directory matters most
        place = data.draw(st.integers(max(low, 0), len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(1, 4))] = data.draw(st.binary(max_size=4))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged)
    for finding in check_submission(path, Benchmark.open(toy_release)):
        assert all(finding.as_dict().values())


def test_two_submissions_of_one_name_do_not_meet(
    icvos: Command, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, method in (("a", "empty"), ("b", "full-frame")):
        assert icvos("run", "--method", method, "--benchmark", toy_release, "--out", "runs").code == 0
        assert icvos("submit", "pack", f"runs/{method}", "--benchmark", toy_release, "--out", f"{folder}/masks.zip").code == 0
    before = {path.name for path in tmp_path.iterdir()}
    found = []
    for zipped in ("a/masks.zip", "b/masks.zip"):
        said = icvos("submit", "score", zipped, "--benchmark", toy_release, "--json")
        found.append(Path(json.loads(said.out)["path"]))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [f"{one}/masks.zip-results/native@1.json" for one in "ab"]
    assert [json.loads(path.read_text())["method"]["name"] for path in found] == ["empty", "full-frame"]
    assert {path.name for path in tmp_path.iterdir()} == before  # nothing elsewhere
    run = json.loads(icvos("submit", "score", "runs/empty", "--json").out)["path"]
    assert run == "runs/empty/results/native@1.json"
    assert Path(run).read_bytes() == found[0].read_bytes()
