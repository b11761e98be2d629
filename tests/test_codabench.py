"""The Codabench bundle: its rules, its scoring program run as a worker runs it, and that the public part holds no truth."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from conftest import Said
from toys import SIZE, make_lvos, moving_box

from icvos.benchmark import Benchmark
from icvos.cli import main
from icvos.codabench.check import check
from icvos.codabench.competition import COLUMNS
from icvos.codabench.plan import hosting
from icvos.codabench.program import HERE
from icvos.codabench.scoring import board_scores, score_submission
from icvos.errors import Finding
from icvos.png import encode_png
from icvos.results import Result

Command = Callable[..., Said]
KEYS = [key for _, key, _ in COLUMNS]
SITE = [path for path in sys.path if "site-packages" in path]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def bundle(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy release's bundle; tests must not change it."""
    out = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    with pytest.raises(SystemExit) as leaving:
        main(["export", "codabench", str(toy_release), "--out", str(out)])
    assert not leaving.value.code
    return out


def unpacked(archive: Path | bytes, into: Path) -> Path:
    with zipfile.ZipFile(archive if isinstance(archive, Path) else io.BytesIO(archive)) as opened:
        opened.extractall(into)
    return into


@pytest.fixture(scope="module")
def parts(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, and each zip in it beside it, unpacked; tests must not change them."""
    folder = unpacked(bundle, tmp_path_factory.mktemp("parts"))
    for archive in folder.glob("*.zip"):
        unpacked(archive, folder / archive.stem)
    return folder


@pytest.fixture
def worker(parts: Path, tmp_path: Path) -> Path:
    """What a worker lays out before it scores: the program, the truth, and the sample as the submission."""
    app = tmp_path / "app"
    shutil.copytree(parts / "reference_data", app / "input/ref")
    unpacked(parts / "starting_kit/sample_submission.zip", app / "input/res")
    (app / "input/res/metadata").write_text("exitCode: null\n")  # the step before leaves it there
    (app / "output").mkdir()
    return app


def run_as_worker(app: Path, parts: Path) -> subprocess.CompletedProcess[str]:
    """The command of metadata.yaml, /app being `app`; with -S no icvos is found but the program's own."""
    yaml = pytest.importorskip("yaml")
    shutil.copytree(parts / "scoring_program", app / "program")
    command = yaml.safe_load((app / "program/metadata.yaml").read_text())["command"]
    python, *words = (word.replace("/app/", f"{app}/") for word in shlex.split(command))
    assert python == "python3"
    environment = {"PYTHONPATH": ":".join(SITE), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-S", *words], cwd=app / "program", env=environment, text=True, capture_output=True, check=False, timeout=120
    )


def score_here(app: Path, *words: str, protocol: str = "native@1") -> int:
    return score_submission([str(app / "input"), str(app / "output"), "--protocol", protocol, *words])


def scored(icvos: Command, masks: Path, release: Path, out: Path, protocol: str = "native@1") -> Result:
    said = icvos("score", masks, "--benchmark", release, "--protocol", protocol, "--out", out)
    assert said.code == 0, said.err
    return Result.load(out / f"{protocol}.json")


# scoring as on a worker


def test_the_program_scores_as_icvos_score_does(icvos: Command, worker: Path, parts: Path, toy_release: Path, tmp_path: Path) -> None:
    done = run_as_worker(worker, parts)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = scored(icvos, worker / "input/res", toy_release, tmp_path / "results")
    scores = json.loads((worker / "output/scores.json").read_text())
    assert list(scores) == KEYS
    assert scores == board_scores(expected)
    assert 0 < scores["jf"] < 1
    found = Result.load(worker / "output/native@1.json")
    assert (found.overall, found.tubes, found.benchmark) == (expected.overall, expected.tubes, expected.benchmark)
    page = (worker / "output/detailed_results.html").read_text()
    assert f"J&amp;F {100 * scores['jf']:.2f}" in page
    assert "davis/tom/person" in page


def test_faults_are_told_on_the_page_and_stderr_and_nothing_gets_onto_the_board(worker: Path, parts: Path) -> None:
    res = worker / "input/res"
    dog = unpacked(res / "davis/rex/dog#s0.zip", res / "davis/rex/dog#s0")
    (res / "davis/rex/dog#s0.zip").unlink()
    (dog / "00001.png").unlink()
    (dog / f"{HOSTILE}.png").write_bytes(b"no mask")
    (dog / "00002.png").write_bytes((dog / "00002.png").read_bytes()[:40])
    (res / "davis/tom" / f"{HOSTILE}#s0").mkdir()
    (res / "davis/tom/cat#s3.zip").unlink()
    done = run_as_worker(worker, parts)
    assert (done.returncode, done.stdout) == (4, "")
    assert not (worker / "output/scores.json").exists()
    page = (worker / "output/detailed_results.html").read_text()
    for code in ("missing-mask", "extra-mask", "unreadable", "extra-episode", "missing-episode"):
        assert f"<td>{code}</td>" in page
        assert f"\n  {code}: " in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert HOSTILE not in page
    assert "&lt;img src=x" in page


def test_one_folder_around_the_masks_is_let_pass_and_two_are_not(worker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    res = worker / "input/res"
    (res / HOSTILE).mkdir()
    (res / "davis").rename(res / HOSTILE / "davis")
    assert score_here(worker) == 0
    (res / "deeper").mkdir()
    (res / HOSTILE).rename(res / "deeper" / HOSTILE)
    assert score_here(worker) == 4
    assert "  layout: " in capsys.readouterr().err


def test_a_run_is_taken_as_it_was_written_and_what_it_claims_is_not_read(worker: Path) -> None:
    res = worker / "input/res"
    (res / "predictions").mkdir()
    (res / "davis").rename(res / "predictions/davis")
    (res / "run.json").write_text('{"key": "of another release"')
    assert score_here(worker) == 0


def test_an_empty_submission_is_refused(worker: Path) -> None:
    shutil.rmtree(worker / "input/res/davis")
    assert score_here(worker) == 4
    assert "missing-episode" in (worker / "output/detailed_results.html").read_text()


def test_of_many_faults_the_page_shows_the_first(worker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("icvos.codabench.scoring.MOST_FAULTS", 3)
    shutil.rmtree(worker / "input/res/davis")
    assert score_here(worker) == 4
    assert "there are 12 more" in (worker / "output/detailed_results.html").read_text()
    assert "  and 12 more\n" in capsys.readouterr().err


def test_where_the_truth_is_at_fault_the_submission_is_not_blamed(worker: Path) -> None:
    (worker / "input/ref/truth/davis/Annotations/480p/rex/00000.png").write_bytes(encode_png(np.zeros(SIZE, np.bool_)))
    assert score_here(worker) == 3
    page = (worker / "output/detailed_results.html").read_text()
    assert "no fault of the submission" in page
    shutil.rmtree(worker / "input/ref/truth")
    assert score_here(worker) == 3


def test_missing_masks_count_0_where_the_organiser_says_so(icvos: Command, worker: Path, toy_release: Path, tmp_path: Path) -> None:
    shutil.rmtree(worker / "input/res/davis/rex")
    assert score_here(worker, "--allow-missing") == 0
    scores = json.loads((worker / "output/scores.json").read_text())
    assert scores["coverage"] == 60 / 90
    assert icvos("export", "codabench", toy_release, "--out", tmp_path / "lenient", "--allow-missing").code == 0
    with zipfile.ZipFile(tmp_path / "lenient/scoring_program.zip") as program:
        assert json.loads(program.read("metadata.yaml"))["command"].endswith(" --protocol native@1 --allow-missing")


def test_the_papers_protocol_scores_alike(icvos: Command, worker: Path, toy_release: Path, tmp_path: Path) -> None:
    assert score_here(worker, protocol="paper-512@1") == 0
    expected = scored(icvos, worker / "input/res", toy_release, tmp_path / "results", "paper-512@1")
    assert json.loads((worker / "output/scores.json").read_text()) == board_scores(expected)


def test_an_image_without_the_packages_is_said_to_be_at_fault(tmp_path: Path) -> None:
    shutil.copy(HERE / "program.py", tmp_path / "score.py")
    done = subprocess.run([sys.executable, "-I", "-S", tmp_path / "score.py"], text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 3
    assert "this is no fault of the submission: the competition's docker image lacks jinja2, numpy" in done.stderr
    assert "Traceback" not in done.stderr


# the bundle


def test_the_same_release_gives_the_same_bytes(icvos: Command, bundle: Path, toy_release: Path, tmp_path: Path) -> None:
    said = icvos("export", "codabench", toy_release, "--out", tmp_path / "again.zip", "--json")
    assert said.code == 0
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    assert json.loads(said.out)["sha256"] == sha256(bundle.read_bytes()).hexdigest()
    assert icvos("export", "codabench", toy_release, "--out", tmp_path / "folder").code == 0
    with zipfile.ZipFile(bundle) as archive:
        written = {path.relative_to(tmp_path / "folder").as_posix(): path.read_bytes() for path in files_below(tmp_path / "folder")}
        assert written == {name: archive.read(name) for name in archive.namelist()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.zip", "folder"]


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_exported_keeps_the_rules_and_is_yaml(bundle: Path, parts: Path) -> None:
    yaml = pytest.importorskip("yaml")
    assert check(bundle, KEYS) == check(parts, KEYS) == []
    text = (parts / "competition.yaml").read_text()
    said = yaml.safe_load(text)
    assert said == json.loads(text)
    assert said["version"] == 2
    assert [(column["key"], column["index"], column["sorting"]) for column in said["leaderboards"][0]["columns"]] == [
        (key, index, "desc") for index, key in enumerate(KEYS)
    ]
    assert yaml.safe_load((parts / "scoring_program/metadata.yaml").read_text())["command"].startswith("python3 /app/program/score.py")
    assert "numpy==" in (parts / "image/requirements.txt").read_text()
    assert (parts / "image/requirements.txt").read_bytes() == (parts / "scoring_program/requirements.txt").read_bytes()


def contents(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """A file, and all that is in it where it is a zip, and so on."""
    yield name, data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.namelist():
                yield from contents(archive.read(entry), f"{name}/{entry}")


def test_the_public_part_holds_no_truth(bundle: Path, toy_release: Path) -> None:
    tubes = Benchmark.open(toy_release).tubes.values()
    truth = {frame.mask_sha256: frame.mask for tube in tubes for frame in tube.clip.frames if frame.mask}
    with zipfile.ZipFile(bundle) as archive:
        entries = {name: dict(contents(archive.read(name), name)) for name in archive.namelist()}
    private = {sha256(data).hexdigest() for data in entries.pop("reference_data.zip").values()}
    assert set(truth) <= private
    scoring = entries.pop("scoring_program.zip")
    public = {name: data for found in entries.values() for name, data in found.items()}
    for name, data in (public | scoring).items():
        assert sha256(data).hexdigest() not in truth, name
        assert not any(mask.read_bytes() in data for mask in truth.values()), name
    pictures = {name for name, data in public.items() if data.startswith(b"\x89PNG")}
    assert {name.partition(".zip/")[0] + name.partition(".zip/")[2].partition("/")[0] for name in pictures} == {
        "logo.png",
        "starting_kitsample_submission.zip",
    }
    assert not any(data.startswith(b"\x89PNG") for data in scoring.values())
    # every mask of the sample is the floor's, and there is one for each that counts
    masks = {data for name, data in public.items() if "sample_submission.zip/" in name and name.endswith(".png")}
    assert len(masks) == 1
    assert sum("sample_submission.zip/" in name and name.endswith(".png") for name in public) == 90


def test_only_masks_that_count_are_copied(toy_data: Path, icvos: Command, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_lvos(data / "LVOS", {"walk": moving_box(8)}, every=2)
    shutil.copytree(toy_data / "COCO", data / "COCO")
    labels = tmp_path / "labels.csv"
    labels.write_text("source,clip,object,class,who,when,how\nlvos2,walk,1,dog,ann,2026-01-01,by eye\n")
    said = icvos(
        "build",
        "--sources",
        "lvos2",
        "--data",
        data,
        "--labels",
        labels,
        "--min-length",
        "1",
        "--out",
        tmp_path / "R",
        "--release-version",
        "2",
    )
    assert said.code == 0, said
    said = icvos("export", "codabench", tmp_path / "R", "--out", tmp_path / "b", "--json")
    assert said.code == 0, said
    plan = json.loads(said.out)
    assert (plan["truth"]["files"], plan["masks"]) == (4, 20)
    assert plan["sources"][0]["hosting"] == "a copy may be kept with its authors named"
    with zipfile.ZipFile(tmp_path / "b/reference_data.zip") as archive:
        assert sorted(name for name in archive.namelist() if name.endswith(".png")) == [
            f"truth/lvos2/valid/Annotations/walk/{number:08d}.png" for number in (6, 16, 26, 36)
        ]
        assert b"CC BY 4.0" in archive.read("truth/lvos2/TERMS.txt")


@pytest.mark.parametrize(
    ("licence", "terms"),
    [
        ("CC BY-NC-SA 4.0", "a copy may be kept for non-commercial use, with its authors named, under the same licence"),
        ("annotations CC BY 4.0, images under Flickr's terms", "a copy may be kept with its authors named"),
        ("see the source", "the release does not say that copies may be kept: ask the owners before you upload"),
    ],
)
def test_what_a_licence_asks(licence: str, terms: str) -> None:
    assert hosting(licence) == terms


def test_a_dry_run_says_sizes_and_terms_and_writes_nothing(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    said = icvos("export", "codabench", toy_release, "--out", tmp_path / "b.zip", "--dry-run")
    assert said.code == 0
    assert "90 masks, 15 episodes" in said.out
    assert "private: 12 masks of the truth" in said.out
    assert "davis: 12 masks, 0.0 MB; non-commercial research, see the page: the release does not say" in said.out
    assert list(tmp_path.iterdir()) == []
    assert json.loads(icvos("export", "codabench", toy_release, "--dry-run", "--json").out)["bundle"] is None


def test_a_title_is_escaped_on_the_pages(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    title = "</title><script>alert(1)</script> | *my* 「board」"
    assert icvos("export", "codabench", toy_release, "--out", tmp_path / "b", "--title", title).code == 0
    assert json.loads((tmp_path / "b/competition.yaml").read_text())["title"] == title
    assert "<script>" not in (tmp_path / "b/pages/overview.md").read_text()
    assert check(tmp_path / "b", KEYS) == []


def test_what_cannot_be_exported_is_refused(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    for words, expected in (
        (["--out", tmp_path / "mine"], "something else is there"),
        (["--out", tmp_path / "b.zip", "--title", "long " * 60], "not a title"),
        (["--out", tmp_path / "b.zip", "--protocol", "natve@1"], "did you mean native@1"),
        ([], "--out"),
    ):
        said = icvos("export", "codabench", toy_release, *words)
        assert (said.code, expected in said.err) == (2, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine/thesis.tex").exists()


def test_a_folder_with_a_bundle_is_replaced(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    for title in ("first", "second"):
        assert icvos("export", "codabench", toy_release, "--out", tmp_path / "b", "--title", title).code == 0
    assert json.loads((tmp_path / "b/competition.yaml").read_text())["title"] == "second"


# the rules

BY_HAND = """\
version: 2
title: Count the stars
image: logo.png
terms: terms.md
docker_image: someone/image:1
pages:
  - title: Overview
    file: terms.md
phases:
  - index: 0
    name: First
    start: 2024-12-31 14:30:00
    end: 2025-02-01
    tasks: [0]
  - index: 1
    name: Last
    start: "2025-02-02 00:00:00"
    auto_migrate_to_this_phase: True
    starting_kit: kit
    tasks: [0, 1]
tasks:
  - index: 0
    name: Stars
    scoring_program: program/
    reference_data: kit
  - index: 1
    key: 3f2504e0-4f89-11d3-9a0c-0305e82c3301
solutions:
  - index: 0
    path: kit
    tasks: [0]
leaderboards:
  - title: Results
    key: main
    submission_rule: Force_Last
    columns:
      - {title: Stars, key: stars, index: 0, sorting: desc, precision: 3}
      - {title: Moons, key: moons, index: 1, sorting: asc}
      - {title: Both, key: both, index: 2, computation: sum, computation_indexes: [0, 1]}
"""


@pytest.fixture
def by_hand(tmp_path: Path, parts: Path) -> Path:
    """A bundle that somebody wrote, with every kind of field."""
    pytest.importorskip("yaml")
    folder = tmp_path / "bundle"
    (folder / "kit").mkdir(parents=True)
    (folder / "program").mkdir()
    (folder / "kit/readme.txt").write_text("hello")
    (folder / "program/metadata.yaml").write_text("command: python3 /app/program/stars.py /app/input /app/output\n")
    (folder / "program/stars.py").write_text("")
    (folder / "terms.md").write_text("Be kind.")
    shutil.copy(parts / "logo.png", folder / "logo.png")
    (folder / "competition.yaml").write_text(BY_HAND)
    return folder


def test_a_bundle_written_by_hand_keeps_the_rules(by_hand: Path, tmp_path: Path) -> None:
    assert check(by_hand, ["stars", "moons"]) == []
    shutil.make_archive(str(tmp_path / "packed"), "zip", by_hand)
    assert check(tmp_path / "packed.zip", ["stars", "moons"]) == []


@pytest.mark.parametrize(
    ("before", "after", "code", "where"),
    [
        ("version: 2", "version: 1", "literal_error", "version"),
        ("title: Count the stars\n", "", "missing", "title"),
        ("leaderboards:", "leaderboard:", "missing", "leaderboards"),
        ("docker_image:", "docker:", "extra_forbidden", "docker"),
        ("tasks: [0]\n  - index: 1", "tasks: []\n  - index: 1", "too_short", "phases.0.tasks"),
        ("precision: 3", "precision: three", "int_type", "leaderboards.0.columns.0.precision"),
        ("sorting: asc", "sorting: up", "literal_error", "leaderboards.0.columns.1.sorting"),
        ("auto_migrate_to_this_phase: True", "auto_migrate_to_this_phase: 1", "bool_type", "phases.1.auto_migrate_to_this_phase"),
        ("start: 2024-12-31 14:30:00", "start: soon", "value_error", "phases.0.start"),
        ("Force_Last", "Best", "literal_error", "leaderboards.0.submission_rule"),
        ("title: Moons", f"title: {'x' * 37}", "string_too_long", "leaderboards.0.columns.1.title"),
        ("key: moons, index: 1", "key: moons, index: 0", "duplicate", "columns: index"),
        ("key: moons", "key: stars", "duplicate", "columns: key"),
        ("computation_indexes: [0, 1]", "computation_indexes: [0, 7]", "unknown-column", "both"),
        ("computation_indexes: [0, 1]", "computation_indexes: [0, 2]", "value_error", "columns.2"),
        (", computation_indexes: [0, 1]", "", "value_error", "columns.2"),
        ("key: stars", "key: suns", "unscored-column", "columns"),
        ("tasks: [0, 1]", "tasks: [0, 5]", "unknown-task", "phases.1.tasks"),
        ("  - index: 1\n    key:", "  - index: 0\n    key:", "duplicate", "tasks: index"),
        ("end: 2025-02-01", "end: 2025-02-02", "order", "phase First"),
        ("    end: 2025-02-01\n", "", "order", "phase First"),
        ("end: 2025-02-01", "end: 2024-02-01", "order", "phase First"),
        ("end: 2025-02-01", "auto_migrate_to_this_phase: True\n    end: 2025-02-01", "order", "phase First"),
        ("scoring_program: program/", "description: none", "value_error", "tasks.0"),
        ("scoring_program: program/", "scoring_program: ../program", "value_error", "scoring_program"),
        ("scoring_program: program/", "scoring_program: kit", "no-command", "kit"),
        ("scoring_program: program/", "scoring_program: gone.zip", "missing-file", "gone.zip"),
        ("reference_data: kit", "reference_data: terms.md", "missing-file", "tasks.0"),
        ("starting_kit: kit", "starting_kit: gone", "missing-file", "phases: Last"),
        ("path: kit", "path: gone", "missing-file", "solutions.0"),
        ("image: logo.png", "image: terms.md", "image", "image"),
        ("image: logo.png", "image: gone.png", "image", "image"),
        ("terms: terms.md", "terms: gone.md", "page", "terms"),
        ("title: Count", "title: [Count", "unreadable", "competition.yaml"),
    ],
)
def test_every_rule_that_is_broken_is_found(by_hand: Path, before: str, after: str, code: str, where: str) -> None:
    assert BY_HAND.count(before) >= 1
    (by_hand / "competition.yaml").write_text(BY_HAND.replace(before, after, 1))
    findings = check(by_hand, ["stars", "moons"])
    assert any(finding.code == code and where in finding.where for finding in findings), findings
    assert all(finding.expected and finding.fix for finding in findings)


def only(findings: list[Finding]) -> str:
    (finding,) = findings
    return finding.code


def test_files_that_are_not_what_they_are_named_for_are_found(by_hand: Path, tmp_path: Path) -> None:
    (by_hand / "program/stars.py").unlink()
    assert only(check(by_hand)) == "missing-file"
    (by_hand / "program/metadata.yaml").write_text("command: 3")
    assert only(check(by_hand)) == "no-command"
    (by_hand / "terms.md").write_text(" ")
    assert {finding.code for finding in check(by_hand)} == {"no-command", "page"}
    (by_hand / "terms.md").write_bytes(b"\xff")
    assert {finding.code for finding in check(by_hand)} == {"no-command", "page"}
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "bundle")  # with a folder around it
    assert only(check(tmp_path / "packed.zip")) == "no-competition"
    (tmp_path / "packed.zip").write_bytes(b"PK")
    assert only(check(tmp_path / "packed.zip")) == "unreadable"
