"""`icvos build`: what a release holds, that nothing but the data and the arguments decides it, and what goes wrong in words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import box, make_coco, make_davis, make_mose, moving_box, two_clips, write_frame, write_ids

from curation.freeze import DRAWS, draw_supports
from curation.sources.coco import Coco
from curation.sources.davis import Davis2017
from curation.tubes import curate
from icvos.benchmark import EPISODES, MANIFEST, Benchmark

Icvos = Callable[..., Any]
FILES = (MANIFEST, EPISODES)


pytestmark = pytest.mark.usefixtures("nothing_set")


@pytest.fixture
def data(toy_data: Path, tmp_path: Path) -> Path:
    """A copy of the toy data that a test may break."""
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


def contents(release: Path) -> list[bytes]:
    return [(release / file).read_bytes() for file in FILES]


def supports_of(release: Path) -> dict[str, int]:
    return {record.id: record.supports[0].image_id for record in Benchmark.open(release).records}


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# What is in a release


def test_a_release_holds_the_rules_the_sources_and_the_hashes_of_every_file(toy_release: Path, toy_data: Path) -> None:
    manifest = json.loads((toy_release / MANIFEST).read_text())
    assert (manifest["name"], manifest["version"], manifest["seed"], manifest["draws"]) == ("davis", "1", "icvos", 5)
    chosen_by = {"named", "coco-class", "support", "truth", "first-frame", "min-area", "min-length"}
    assert set(manifest["rules"]) == chosen_by | {"min-support-area", "support-split"}
    assert manifest["rules"]["min-area"] == "the class covers at least 0.05 % of the first frame"
    assert manifest["rules"]["support-split"] == "val2017"
    assert set(manifest["sources"]) == {"davis", "coco"}
    assert manifest["sources"]["davis"]["licence"]
    assert manifest["sources"]["coco"]["version"] == "val2017"
    assert [clip["name"] for clip in manifest["clips"]] == ["rex", "tom"]
    tom = manifest["clips"][1]
    assert (tom["image"], tom["size"]) == ("JPEGImages/480p/tom/{}.jpg", [24, 40])
    assert [(tube["class_name"], tube["class_id"], tube["objects"], tube["encoding"]) for tube in tom["tubes"]] == [
        ("cat", 17, [1], "ids"),
        ("person", 1, [2], "ids"),
    ]
    from hashlib import sha256

    file = toy_data / "DAVIS/Annotations/480p/tom/00003.png"
    assert tom["tubes"][0]["mask_sha256"][3] == sha256(file.read_bytes()).hexdigest()
    assert sorted(path.name for path in toy_release.iterdir()) == ["episodes.jsonl", "manifest.json", "roots.json"]


def test_there_are_five_draws_a_tube_of_its_own_class(toy_release: Path) -> None:
    drawn = supports_of(toy_release)
    assert len(drawn) == 3 * DRAWS
    for tube, first in (("davis/rex/dog", 1000), ("davis/tom/cat", 2000), ("davis/tom/person", 3000)):
        images = [drawn[f"{tube}#s{draw}"] for draw in range(DRAWS)]
        assert len(set(images)) == DRAWS
        assert set(images) <= set(range(first, first + 6))


def test_the_summary_says_what_is_in_and_out_and_why(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 0
    for sentence in (
        "in   davis/tom/person  (6 frames, objects 2)",
        "out  davis/tom/goat  coco-class: 'goat' is not one of COCO's 80 classes",
        "3 tubes of 3 classes in 2 clips, 12 frames; 1 left out",
        f"in {tmp_path / 'R'}, 15 episodes",
    ):
        assert sentence in said.out
    assert said.err == ""


# Frozen: nothing but the data and the arguments decides


def test_two_builds_and_a_rebuild_give_the_same_bytes(icvos: Icvos, toy_data: Path, toy_release: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert icvos("build", "--data", toy_data, "--out", tmp_path / "R").code == 0
        assert contents(tmp_path / "R") == contents(toy_release)


def test_the_order_and_place_of_files_on_disk_decide_nothing(icvos: Icvos, toy_data: Path, toy_release: Path, tmp_path: Path) -> None:
    files = [path for path in sorted(toy_data.rglob("*")) if path.is_file()]
    for number, name in enumerate(("first", "second/deeper")):
        copy = tmp_path / name
        for place in np.random.default_rng(number).permutation(len(files)):
            target = copy / files[place].relative_to(toy_data)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[place], target)
        assert icvos("build", "--data", copy, "--out", tmp_path / f"R{number}").code == 0
        assert contents(tmp_path / f"R{number}") == contents(toy_release)


def test_which_other_clips_and_images_are_there_moves_no_draw(icvos: Icvos, data: Path, toy_release: Path, tmp_path: Path) -> None:
    before = supports_of(toy_release)
    make_davis(data / "DAVIS", {**two_clips(), "abc": ({1: "dog"}, moving_box()), "zoe": ({1: "person", 2: "cat"}, moving_box())})
    assert icvos("build", "--data", data, "--out", tmp_path / "more").code == 0
    more = supports_of(tmp_path / "more")
    assert {name: more[name] for name in before} == before
    assert len(more) > len(before)
    (data / "DAVIS/ImageSets/2017/val.txt").write_text("rex\n")
    assert icvos("build", "--data", data, "--out", tmp_path / "fewer").code == 0
    assert supports_of(tmp_path / "fewer") == {name: image for name, image in before.items() if "rex" in name}


def test_an_image_more_moves_only_the_draws_that_it_takes(tmp_path: Path, data: Path) -> None:
    tubes = curate([Davis2017(data / "DAVIS")], Coco(data / "COCO")).tubes
    before = draw_supports(tubes, Coco(data / "COCO"), "icvos")
    more = draw_supports(tubes, Coco(make_coco(tmp_path / "larger", images=8)), "icvos")
    for tube in tubes:
        old = [candidate.image_id for (candidate,) in before[tube.id]]
        new = [candidate.image_id for (candidate,) in more[tube.id]]
        kept = [image for image in new if image in old]
        assert kept == old[: len(kept)]


def test_several_shots_begin_with_the_one_and_hold_no_image_twice(icvos: Icvos, tmp_path: Path, toy_data: Path, toy_release: Path) -> None:
    said = icvos("build", "--data", toy_data, "--out", tmp_path / "R", "--shots", 4)
    assert said.code == 0 and "fewer than 20 usable support images" in said.err
    one, four = Benchmark.open(toy_release), Benchmark.open(tmp_path / "R")
    assert four.manifest.rules["shots"] == "4" and "shots" not in one.manifest.rules and four.digest != one.digest
    for single, several in zip(one.records, four.records, strict=True):
        images = [support.image_id for support in several.supports]
        assert images[0] == single.supports[0].image_id and len(images) == len(set(images)) == 4
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "all", "--shots", 9).code == 0
    assert {len(record.supports) for record in Benchmark.open(tmp_path / "all").records} == {6}  # as many as there are
    assert icvos("verify", tmp_path / "R").code == 0
    assert icvos("run", "--method", "support-shape", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs").code == 0


def test_the_seed_decides_the_draw(icvos: Icvos, toy_data: Path, toy_release: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R", "--seed", "other").code == 0
    assert supports_of(tmp_path / "R") != supports_of(toy_release)
    assert Benchmark.open(tmp_path / "R").manifest.clips == Benchmark.open(toy_release).manifest.clips


def test_too_few_supports_repeat_and_a_note_says_so(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    for image in (1002, 1003, 1004, 1005):
        (data / f"COCO/val2017/{image:012d}.jpg").unlink()
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 0
    assert "draws repeat: dog 2" in said.err
    images = [image for name, image in supports_of(tmp_path / "R").items() if "/dog#" in name]
    assert sorted(set(images)) == [1000, 1001]
    assert images == [images[0], images[1], images[0], images[1], images[0]]


def test_a_class_without_a_usable_support_is_out_with_its_reason(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    for path in (data / "COCO/val2017").glob("000000001*.jpg"):
        path.unlink()
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 0
    assert "out  davis/rex/dog  support: COCO has no usable support of the class here" in said.out
    said = icvos("build", "--data", data, "--out", tmp_path / "none", "--min-support-area", 4000)
    assert said.code == 3
    assert "no tube qualifies" in said.err
    assert "--dry-run" in said.err
    assert not (tmp_path / "none").exists()


# Dry run and JSON


def test_a_dry_run_shows_all_and_writes_nothing(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    before = everything_below(tmp_path)
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--materialise", tmp_path / "tree", "--dry-run")
    assert said.code == 0
    assert "in   davis/rex/dog" in said.out
    assert "out  davis/tom/goat" in said.out
    assert said.out.endswith("nothing written\n")
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--dry-run", "--json")
    assert json.loads(said.out)["release"] is None
    assert everything_below(tmp_path) == before


def test_json_parses_on_success_and_on_error(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    (data / "COCO/val2017/000000001000.jpg").unlink()
    (data / "COCO/val2017/000000001001.jpg").unlink()
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--materialise", tmp_path / "tree", "--json")
    report = json.loads(said.out)
    assert report["release"] == Benchmark.open(tmp_path / "R").label
    assert report["episodes"] == 15
    assert report["tubes"][0] == {"id": "davis/rex/dog", "class": "dog", "frames": 6, "objects": [1]}
    assert report["left_out"] == [
        {"clip": "davis/tom", "label": "goat", "rule": "coco-class", "reason": "'goat' is not one of COCO's 80 classes"}
    ]
    assert "draws repeat: dog 4" in said.err
    for words, code in (
        (("--sources", "dvais", "--data", data), 2),
        (("--sources", "mose", "--data", data), 2),
        ((), 2),
        (("--data", data, "--name", "../x"), 2),
        (("--davis", data / "COCO", "--coco", data / "COCO"), 3),
        (("--data", data, "--out", tmp_path / "R", "--seed", "x"), 2),
    ):
        said = icvos("build", *words, "--json")
        report = json.loads(said.out)
        assert (said.code, report["exit_code"]) == (code, code)
        assert report["message"] in said.err


# What the user got wrong


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["--sources", "dvais"], ["unknown source: dvais", "did you mean davis"]),
        (["--sources", " , "], ["no sources", "known: davis"]),
        (["--sources", "davis,mose"], ["nobody said where the data is: mose", "CC BY-NC-SA 4.0", "MOSE/train/JPEGImages/<clip>/*.jpg"]),
        (["--sources", "davis,mosse"], ["unknown source: mosse", "did you mean mose"]),
        (["--resolution", "full"], ["no such resolution here", "found 480p", "expected Full-Resolution or 1080p"]),
        (["--resolution", "720p"], ["no resolution of DAVIS: 720p: expected 480p or full"]),
        (["--sources", "coco"], ["no video data set: coco", "leave it out"]),
        (["--name", "../x"], ["not a plain name: --name: found '../x'"]),
        (["--release-version", "a/b"], ["not a plain name: --release-version: found 'a/b'"]),
        (["--min-support-area", "0"], ["--min-support-area"]),
        (["--support-split", "val2016"], ["no such split of COCO: val2016", "found val2017"]),
        (["--davis", "nowhere"], ["no such folder: nowhere", "expected DAVIS 2017", "davischallenge.org"]),
        (["--coco", "nowhere"], ["no such folder: nowhere", "expected COCO 2017"]),
        (["--root", "davis"], ["not a root: davis: expected NAME=DIR"]),
        (["--root", "davs=x"], ["unknown source: --root davs=", "did you mean davis"]),
        (["--data", "nowhere"], ["no such data folder: nowhere", "DAVIS/, COCO/ inside"]),
    ],
)
def test_what_the_user_got_wrong_is_told_in_words(icvos: Icvos, toy_data: Path, words: list[str], sentences: list[str]) -> None:
    said = icvos("build", "--data", toy_data, *words)
    assert said.code == 2
    assert said.out == ""
    for sentence in sentences:
        assert sentence in said.err
    assert not any(Path().iterdir())


def test_with_nothing_set_a_table_says_what_to_fetch_and_where_to_put_it(icvos: Icvos) -> None:
    said = icvos("build")
    assert said.code == 2
    assert said.out == ""
    for word in (
        "What to fetch",
        "https://davischallenge.org/davis2017/code.html",
        "DAVIS/JPEGImages/480p/<clip>/*.jpg",
        "https://cocodataset.org/#download",
        "COCO/annotations/instances_val2017.json",
        "nobody said where the data is: davis, coco",
        "--data DIR",
        "ICVOS_DATA",
    ):
        assert word in said.err
    assert "MOSE" not in said.err


def test_the_folder_of_another_release_is_kept_and_the_field_named(icvos: Icvos, toy_data: Path, toy_release: Path, tmp_path: Path) -> None:
    release = Path(shutil.copytree(toy_release, tmp_path / "R"))
    before = contents(release)
    for words, sentence in (
        (["--seed", "x"], "`seed` differs: " + f"{release}: found icvos, expected x"),
        (["--release-version", "2"], "`version` differs"),
        (["--min-support-area", "5"], "`rules` differs"),
        (["--sources", "davis,davis2016"], "`sources` differs"),
    ):
        said = icvos("build", "--data", toy_data, "--out", release, *words)
        assert said.code == 2
        assert sentence in said.err
        assert "give another --out" in said.err
    assert contents(release) == before


def test_a_folder_with_other_files_is_refused_before_any_work(
    icvos: Icvos, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    monkeypatch.setattr("curation.freeze._hash_all", lambda *_: pytest.fail("files were hashed"))
    said = icvos("build", "--data", toy_data, "--out", tmp_path / "mine")
    assert said.code == 2
    assert "holds other files" in said.err
    assert "thesis.tex" in said.err


def test_a_file_where_a_folder_should_be_is_the_users_error(icvos: Icvos, toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in ("file", "file/deep/R"):
        said = icvos("build", "--data", toy_data, "--out", tmp_path / out)
        assert said.code == 2
        assert "not a folder" in said.err or "cannot write" in said.err


# What is wrong with the data


def test_pictures_that_do_not_fit_are_all_listed_and_nothing_is_frozen(icvos: Icvos, data: Path, toy_release: Path, tmp_path: Path) -> None:
    davis = data / "DAVIS"
    write_frame(davis / "JPEGImages/480p/rex/00002.jpg", 2, (25, 40))
    write_ids(davis / "Annotations/480p/tom/00003.png", box(0, 0, 5, 5, 1, (24, 41)))
    support = data / "COCO" / Benchmark.open(toy_release).records[0].supports[0].file
    write_frame(support, 1, (60, 81))
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--json")
    assert said.code == 3
    found = {(finding["code"], Path(finding["where"]).name) for finding in json.loads(said.out)["findings"]}
    assert found == {("size", "00002.jpg"), ("size", "00003.png"), ("size", support.name)}
    assert not (tmp_path / "R").exists()


def test_masks_that_cannot_be_read_are_all_listed_whichever_clip_they_are_of(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    masks = [data / f"DAVIS/Annotations/480p/{name}.png" for name in ("rex/00002", "rex/00005", "tom/00004")]
    for path, content in zip(masks, (b"", b"no picture", masks[2].read_bytes()[:-20]), strict=True):
        path.write_bytes(content)
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--json")
    assert said.code == 3
    assert [finding["where"] for finding in json.loads(said.out)["findings"]] == list(map(str, masks))
    assert not (tmp_path / "R").exists()


def test_a_clip_whose_name_cannot_stand_in_a_release_is_told(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "DAVIS/ImageSets")
    (data / "DAVIS/ImageSets/480p").mkdir(parents=True)
    for part in ("JPEGImages", "Annotations"):
        (data / "DAVIS" / part / "480p/rex").rename(data / "DAVIS" / part / "480p/rex#2")
    (data / "DAVIS/davis_semantics.json").write_text(json.dumps({"rex#2": {"1": "dog"}, "tom": {"1": "cat"}}))
    said = icvos("build", "--data", data, "--out", tmp_path / "R")
    assert said.code == 3
    for word in ("davis/rex#2", "no plain name", "rename"):
        assert word in said.err


# Where the data lies


def tree(folder: Path, name: str) -> Path:
    """A data folder whose DAVIS/ holds one clip of this name."""
    make_davis(folder / "DAVIS", {name: ({1: "dog"}, moving_box())})
    make_coco(folder / "COCO", ["dog"])
    return folder


def test_options_go_before_the_environment_and_that_before_the_settings_file(
    icvos: Icvos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tree(tmp_path / name, name) for name in ("davis-option", "data-option", "environment", "file-root", "file-data")}

    def clip(*words: object) -> str:
        said = icvos("build", "--dry-run", "--json", *words)
        assert said.code == 0, said.err
        return str(json.loads(said.out)["tubes"][0]["id"]).split("/")[1]

    Path("icvos.toml").write_text(f'data = "{folders["file-data"]}"\n')
    assert clip() == "file-data"
    Path("icvos.toml").write_text(f'data = "../file-data"\n[roots]\ndavis = "{folders["file-root"] / "DAVIS"}"\n')
    assert clip() == "file-root"
    monkeypatch.setenv("ICVOS_DATA", str(folders["environment"]))
    assert clip() == "environment"
    assert clip("--data", folders["data-option"]) == "data-option"
    assert clip("--data", folders["data-option"], "--davis", folders["davis-option"] / "DAVIS") == "davis-option"
    assert clip("--data", folders["data-option"], "--root", f"davis={folders['davis-option'] / 'DAVIS'}") == "davis-option"
    monkeypatch.setenv("ICVOS_DATA", "nowhere")
    assert clip("--data", folders["data-option"]) == "data-option"  # not asked, so not complained about
    said = icvos("build", "--dry-run")
    assert (said.code, "no such data folder: nowhere" in said.err) == (2, True)


def test_the_settings_file_may_name_the_release_and_the_home_folder(
    icvos: Icvos, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(toy_data.parent))
    Path("icvos.toml").write_text(f'data = "~/{toy_data.name}"\nbenchmark = "releases/mine"\n')
    assert icvos("build").code == 0
    assert len(Benchmark.open(Path("releases/mine")).records) == 15
    assert icvos("verify").code == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data = ", "not TOML: icvos.toml: found"),
        ("\xff", "not TOML"),
        ('dtaa = "x"', "unknown setting: icvos.toml, dtaa; did you mean data"),
        ("data = 5", "wrong setting: icvos.toml, data: found 5, expected a path"),
        ("roots = 5", "wrong setting: icvos.toml, roots"),
        ("[roots]\ndavis = 5", "expected source = path"),
    ],
)
def test_a_wrong_settings_file_is_told_with_its_entry(icvos: Icvos, text: str, sentence: str) -> None:
    Path("icvos.toml").write_bytes(text.encode("latin-1"))
    said = icvos("build")
    assert said.code == 2
    assert sentence in said.err


def test_folders_below_data_may_be_cased_in_any_way(icvos: Icvos, data: Path, toy_release: Path, tmp_path: Path) -> None:
    (data / "DAVIS").rename(data / "davis")
    (data / "COCO").rename(data / "Coco")
    assert icvos("build", "--data", data, "--out", tmp_path / "R").code == 0
    assert contents(tmp_path / "R") == contents(toy_release)


# Interruptions


def run_python(code: str, *words: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1])


def test_a_full_disk_leaves_nothing_half_written_and_the_next_build_completes_it(
    toy_data: Path, toy_release: Path, tmp_path: Path, icvos: Icvos
) -> None:
    code = """
        import resource, signal, sys
        from icvos.cli import main
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error of the write and no signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
        main(sys.argv[2:])
    """
    size = min((toy_release / file).stat().st_size for file in FILES) // 2
    process = run_python(code, size, "build", "--data", toy_data, "--out", tmp_path / "R")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot write" in err
    assert "free some space" in err
    assert "Traceback" not in err
    assert everything_below(tmp_path / "R") == ["roots.json"]
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R").code == 0
    assert contents(tmp_path / "R") == contents(toy_release)


def test_ctrl_c_leaves_nothing_half_written_and_says_how_to_go_on(toy_data: Path, toy_release: Path, tmp_path: Path, icvos: Icvos) -> None:
    code = """
        import os, sys, time
        import curation.freeze
        from icvos.cli import main
        whole = curation.freeze.sha256_file
        def slow(path):
            os.write(1, b"hashing\\n")
            time.sleep(0.05)
            return whole(path)
        curation.freeze.sha256_file = slow
        main(sys.argv[1:])
    """
    process = run_python(code, "build", "--data", toy_data, "--out", tmp_path / "R")
    assert process.stdout is not None
    assert process.stdout.readline() == "hashing\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert out.count("hashing") < 30  # of 37 files
    assert not (tmp_path / "R").exists()
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R").code == 0
    assert contents(tmp_path / "R") == contents(toy_release)


def test_a_write_that_is_interrupted_leaves_no_release(
    icvos: Icvos, toy_data: Path, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icvos import benchmark

    def stop_at_manifest(path: Path, text: str) -> None:
        if path.name == MANIFEST:
            raise KeyboardInterrupt
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "write_text", stop_at_manifest)
        assert icvos("build", "--data", toy_data, "--out", tmp_path / "R").code == 130
    said = icvos("verify", tmp_path / "R")
    assert (said.code, "no release here" in said.err) == (3, True)
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R").code == 0
    assert contents(tmp_path / "R") == contents(toy_release)


def test_a_release_is_called_by_its_sources_unless_it_is_named(icvos: Icvos, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_davis(data / "DAVIS", two_clips())
    make_mose(data / "MOSE", {"m1": moving_box()})
    (tmp_path / "labels.csv").write_text("source,clip,object,class,who,when,how\nmose,m1,1,dog,Ann,,\n")
    make_coco(data / "COCO")

    def named(folder: str, *words: object) -> str:
        said = icvos("build", "--data", data, "--labels", tmp_path / "labels.csv", "--out", tmp_path / folder, *words)
        assert said.code == 0, said.err
        return str(json.loads((tmp_path / folder / "manifest.json").read_text())["name"])

    assert named("a") == "davis"
    assert named("b", "--sources", "mose,davis") == named("c", "--sources", "davis,mose") == "davis-mose"
    assert named("d", "--shots", 2) == "davis-2shot"
    assert named("e", "--name", "mine") == "mine" == named("e")  # what is there keeps its name
