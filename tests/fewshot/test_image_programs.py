"""Foreign programs on images: the same calls, files and walls as on clips, a picture at a time."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said
from trees import SIZE, make_coco, make_voc

from icvos.fewshot.release import ImageRelease
from icvos.fewshot.results import ImageResult
from icvos.programs import landlock
from icvos.programs.closed import closed_to_images

Icvos = Callable[..., Said]
RELEASE = "pascal5i-1shot-val-area-e6@1-fold0-seed0"
shut = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

WORKS = """
import json, struct, sys, zlib
from pathlib import Path

given, wanted = Path(sys.argv[1]), Path(sys.argv[2])
task = json.loads((given / "task.json").read_text())
height, width = task["size"]

def png():
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\\0" + b"\\1" * width) * height
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

def answer():
    assert len(task["frames"]) == len(task["masks"]) == 1 and task["masks"][0] == task["clip"].rpartition("/")[2] + ".png", task
    for episode in task["episodes"]:
        (wanted / episode["folder"]).mkdir()
        (wanted / episode["folder"] / task["masks"][0]).write_bytes(png())
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def fewshot(icvos: Icvos) -> Callable[..., Said]:
    """Run a program on a fold of PASCAL-5i; whatever was there of VOC is kept."""

    def call(body: str = "answer()", *words: object, data: tuple[str, ...] = ("pascal5i", "--pascal", "VOC2012")) -> Said:
        if not Path("VOC2012").exists():
            make_voc(Path("VOC2012"))
        Path("programs").mkdir(exist_ok=True)
        Path("programs/mine.py").write_text(WORKS + textwrap.dedent(body))
        command = f"{sys.executable} -I -S programs/mine.py {{input}} {{output}}"
        return icvos("fewshot", "--benchmark", *data, "--fold", 0, "--episodes", 6, "--program", command, *words)

    return call


def test_a_program_is_scored_as_any_method(fewshot: Callable[..., Said], icvos: Icvos) -> None:
    said = fewshot()
    assert (said.code, said.out.startswith("mIoU ")) == (0, True), said
    assert (
        icvos(
            "fewshot", "--benchmark", "pascal5i", "--pascal", "VOC2012", *["--fold", "0", "--episodes", "6", "--method", "full-frame"]
        ).code
        == 0
    )
    theirs, ours = (ImageResult.load(next(Path("runs", RELEASE, name, "results").glob("*@1.json"))) for name in ("mine", "full-frame"))
    assert (theirs.mIoU, theirs.FB_IoU) == (ours.mIoU, ours.FB_IoU) and theirs.method["name"] == "mine"
    assert "mine" in icvos("leaderboard", "runs").out
    assert json.loads(next(Path("runs", RELEASE, "mine/timing").rglob("*.json")).read_text())["seconds"] > 0


def test_what_is_done_is_kept_and_another_program_is_refused(fewshot: Callable[..., Said]) -> None:
    flag = Path("broken").resolve()
    flag.touch()
    body = f"if Path({str(flag)!r}).exists() and task['clip'] != 'pascal/CLIP': sys.exit('out of luck')\nanswer()"
    assert fewshot("answer()", "--dry-run").code == 0  # makes the data
    release_said = fewshot(body, "--limit", 1)
    assert release_said.code == 5 and "out of luck" in release_said.err and "mine on pascal/" in release_said.err
    first = ImageRelease.open(Path("fewshot", RELEASE)).records[0].query
    body = body.replace("CLIP", first)
    said = fewshot(body)
    assert said.code == 5 and "out of luck" in said.err
    done = list(Path("runs", RELEASE, "mine/predictions").rglob("*.zip"))
    assert done and {path.parent.name for path in done} == {first}
    flag.unlink()
    said = fewshot(body, "--json")
    (report,) = json.loads(said.out)
    assert (said.code, report["kept"], report["episodes"]) == (0, len(done), 6 - len(done))
    changed = fewshot(body + "\n# another", "--json")
    assert changed.code == 2 and "`code` differs" in changed.err


def test_several_folds_are_refused_before_the_first_begins(fewshot: Callable[..., Said]) -> None:
    """The run's folder of the last seed belongs to another program."""
    assert fewshot("answer()", "--seed", 1).code == 0
    said = fewshot("answer()  # another", "--seeds", 2)
    assert said.code == 2 and "`code` differs" in said.err and not Path("runs", RELEASE).exists()


def test_a_dry_run_prints_the_command_and_writes_nothing(fewshot: Callable[..., Said]) -> None:
    said = fewshot("answer()", "--dry-run")
    assert said.code == 0 and "each picture by: " in said.out and "mine.py '{input}' '{output}'" in said.out
    (plan,) = json.loads(fewshot("answer()", "--dry-run", "--json").out)
    assert plan["command"].endswith("mine.py '{input}' '{output}'") and plan["runs"] == [f"runs/{RELEASE}/mine"]
    assert not Path("runs").exists() and not Path("fewshot").exists()


def test_a_program_that_was_trained_on_the_fold(fewshot: Callable[..., Said]) -> None:
    Path("card.json").write_text(json.dumps({"training_classes": ["airplane"]}))
    said = fewshot("answer()", "--card", "card.json")
    assert said.code == 2 and "trained on classes of the fold" in said.err and not Path("runs").exists()
    said = fewshot("answer()", "--card", "card.json", "--method-name", "other", "--force")
    assert said.code == 0 and "contaminated: trained on 1 of 5 classes" in said.err and Path("runs", RELEASE, "other").is_dir()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "one method must be named: found none"),
        (("--method", "empty", "--program", "x"), "found --method and --program"),
        (("--method", "empty", "--card", "c.json"), "--card says nothing to --method"),
        (("--program", "x", "--engine", "docker"), "--engine says nothing to --program"),
        (("--program", "x", "--sam", "sam2.1_hiera_l"), "leave --sam out"),
        (("--program", "no-such-program {input} {output}"), "no such program"),
        (("--program", "python3 VOC2012/mine.py {input} {output}"), "lies among what it must not see"),
        (("--container", "--privileged"), "not an image"),
    ],
)
def test_options_that_cannot_be_used(icvos: Icvos, words: tuple[str, ...], told: str) -> None:
    make_voc(Path("VOC2012"))
    Path("VOC2012/mine.py").write_text("")
    said = icvos("fewshot", "--benchmark", "pascal5i", "--pascal", "VOC2012", "--fold", 0, "--episodes", 2, *words)
    assert (said.code, told in said.err) == (2, True), said
    assert not Path("fewshot").exists()


def test_masks_with_faults_are_told(fewshot: Callable[..., Said]) -> None:
    said = fewshot("width -= 1; answer()")
    assert said.code == 5 and f"found {SIZE[0]} x {SIZE[1] - 1}, expected {SIZE[0]} x {SIZE[1]}" in said.err
    assert not list(Path("runs").rglob("*.zip"))


# What programs must not reach


def refused(*paths: Path) -> str:
    """A program that answers where it may read none of these files."""
    return f"""
    for name in {[str(path.resolve()) for path in paths]!r}:
        try: open(name).close()
        except PermissionError: continue
        sys.exit("it could read " + name)
    answer()
    """


@shut
def test_the_answers_are_closed_to_a_program(fewshot: Callable[..., Said], icvos: Icvos) -> None:
    """The masks of VOC, the release, and that of another seed, which has masks of the same pictures."""
    other = f"fewshot/{RELEASE[:-1]}7"
    make_voc(Path("VOC2012"))
    assert (
        icvos(
            "fewshot",
            "--benchmark",
            "pascal5i",
            "--pascal",
            "VOC2012",
            *["--fold", "0", "--episodes", "6", "--seed", "7", "--method", "empty"],
        ).code
        == 0
    )
    mask = next(Path("VOC2012/SegmentationClassAug").iterdir())
    said = fewshot(refused(mask, Path("fewshot", RELEASE, "pictures.jsonl"), Path(other, "pictures.jsonl")), "--limit", 2)
    assert said.code == 0, said


@shut
def test_answers_that_a_tree_links_to_are_closed(fewshot: Callable[..., Said]) -> None:
    """A folder of masks elsewhere, and masks that are each a link."""
    make_voc(Path("VOC2012"))
    shutil.move("VOC2012/SegmentationClassAug", "apart")
    Path("VOC2012/SegmentationClassAug").symlink_to(Path("apart").resolve())
    mask = next(Path("apart").iterdir())
    Path("store").mkdir()
    shutil.move(mask, "store/blob")
    mask.symlink_to(Path("store/blob").resolve())
    said = fewshot(refused(next(path for path in Path("apart").iterdir() if not path.is_symlink()), Path("store/blob")), "--limit", 2)
    assert said.code == 0, said


@shut
def test_the_annotations_of_coco_are_closed_and_what_was_read_of_them(fewshot: Callable[..., Said]) -> None:
    make_coco(Path("COCO"), {number: [("person", number, 0, 60, 60)] for number in range(1, 5)})
    words, data = ("--limit", 2, "--allow-missing"), ("coco20i", "--coco", "COCO")
    assert fewshot("answer()", *words, "--dry-run", data=data).code == 0
    index = next(Path("cache").rglob("coordinates.npy"))
    said = fewshot(refused(Path("COCO/annotations/instances_val2017.json"), index, index.parent / "painted.json"), *words, data=data)
    assert said.code == 0, said


def test_what_is_closed_is_named_once(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "VOC2012")
    (tmp_path / "elsewhere/one").mkdir(parents=True)
    (root / "SegmentationObject").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "list.txt").touch()
    (root / "list.txt").symlink_to(tmp_path / "list.txt")
    (tmp_path / "fewshot/b").mkdir(parents=True)
    (tmp_path / "fewshot/b/manifest.json").touch()
    closed = closed_to_images(root, [tmp_path / "fewshot/a"])
    assert closed == [tmp_path]  # the link's own folder, which holds all the others
    (root / "list.txt").unlink()
    names = ["VOC2012", "elsewhere", "fewshot/a", "fewshot/b"]
    assert closed_to_images(root, [tmp_path / "fewshot/a"]) == [tmp_path / name for name in names]
