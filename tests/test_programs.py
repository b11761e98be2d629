"""Methods that are foreign programs: what they are given, what of them is taken, and every way in which they misbehave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Said
from PIL import Image

from icvos.benchmark import Benchmark
from icvos.png import decode_png
from icvos.programs import landlock
from icvos.store import PredictionStore

Command = Callable[..., Said]
EPISODES = 15  # rex/dog, tom/cat and tom/person, five draws each, six frames a clip
shut = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

# The middle of each frame, or what a test puts in the place of a mask.
WORKS = """
import json, os, sys
from pathlib import Path

given, wanted = Path(sys.argv[1]), Path(sys.argv[2])
task = json.loads((given / "task.json").read_text())
height, width = task["size"]

def png(value=b"\\x00"):
    import struct, zlib
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = (b"\\x00" + value * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

def answer(value=b"\\x00"):
    for episode in task["episodes"]:
        folder = wanted / episode["folder"]
        folder.mkdir()
        for name in task["masks"]:
            (folder / name).write_bytes(png(value))
"""


def write_program(folder: Path, body: str = "answer()", name: str = "mine.py") -> str:
    """A program that does this; its command."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(WORKS + textwrap.dedent(body))
    return f"{sys.executable} -I -S {folder / name} {{input}} {{output}}"


@pytest.fixture
def run(icvos: Command, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Said]]:
    """Run a program on the toy release; whatever happens, nothing is left of it."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(jobs))

    def call(body: str = "answer()", *words: object) -> Said:
        command = write_program(tmp_path / "program", body)
        return icvos("run", "--program", command, "--benchmark", toy_release, "--out", tmp_path / "runs", *words)

    yield call
    assert not list(jobs.iterdir())


def predictions(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted((run / "predictions").rglob("*.zip"))}


def masks_of(run: Path, episode_id: str) -> list[np.ndarray]:
    prediction = PredictionStore.open(run).find(episode_id)
    assert prediction is not None
    try:
        return [decode_png(prediction.read(frame)) for frame in sorted(prediction.frame_ids)]
    finally:
        prediction.close()


def test_a_program_that_works(run: Callable[..., Said], icvos: Command, tmp_path: Path) -> None:
    said = run("answer(b'\\x01' if task['clip'] == 'davis/rex' else b'\\xff')")
    assert (said.code, said.err) == (0, ""), said
    done = predictions(tmp_path / "runs/mine")
    assert len(done) == EPISODES
    for clip in ("rex/dog", "tom/cat"):
        masks = masks_of(tmp_path / "runs/mine", f"davis/{clip}#s0")
        assert len(masks) == 6 and all(mask.shape == (24, 40) and mask.all() for mask in masks)
    timing = json.loads(next((tmp_path / "runs/mine/timing").rglob("*.json")).read_text())
    assert timing["seconds"] > 0
    assert icvos("score", tmp_path / "runs/mine").code == 0


def test_what_a_program_is_given(run: Callable[..., Said], toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    body = """
    assert sys.stdin.read() == ""
    assert Path.cwd() == Path(os.environ["HOME"]) == Path(os.environ["TMPDIR"]) and not list(Path.cwd().iterdir())
    assert {"PATH", "LANG", "HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES"} == set(os.environ) - {"LC_CTYPE"}, os.environ
    (Path.cwd() / "note").write_text("scratch may be written")
    answer()
    """
    assert run(body).code == 0
    from icvos.passes import _untold
    from icvos.programs.layout import check_input, write_task

    episodes = [episode for episode in Benchmark.open(toy_release).episodes if episode.tube.clip.name == "tom"]
    folder = tmp_path / "given"
    task = write_task(folder, _untold(episodes[0].tube.clip), {episode.id: episode.supports for episode in episodes})
    check_input(folder, task, "here")
    said_task = json.loads((folder / "task.json").read_text())
    assert (said_task["format"], said_task["clip"], said_task["size"]) == ("icvos-task/1", "davis/tom", [24, 40])
    assert said_task["frames"] == [f"frames/{number:05d}.jpg" for number in range(6)]
    assert said_task["masks"] == [f"{number:05d}.png" for number in range(6)]
    assert [(one["episode"], one["class"], one["folder"]) for one in said_task["episodes"]] == [
        (episode.id, episode.tube.category.name, episode.id.rpartition("/")[2]) for episode in episodes
    ]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    supports = [one for episode in said_task["episodes"] for one in episode["supports"]]
    assert files == {"task.json", *said_task["frames"], *(one[what] for one in supports for what in ("image", "mask"))}
    truth = {path.read_bytes() for path in (toy_data / "DAVIS/Annotations").rglob("*.png")}
    assert not any((folder / name).read_bytes() in truth for name in files)
    for number, name in enumerate(said_task["frames"]):
        assert (folder / name).read_bytes() == (toy_data / f"DAVIS/JPEGImages/480p/tom/{number:05d}.jpg").read_bytes()
    for episode, one in zip(episodes, said_task["episodes"], strict=True):
        shown = np.array(Image.open(folder / one["supports"][0]["mask"]))
        assert np.array_equal(shown, episode.supports[0].read_mask())
        assert (folder / one["supports"][0]["image"]).read_bytes() == episode.supports[0].image.read_bytes()
    assert all(path.stat().st_mode & 0o222 == 0 for path in (folder, *folder.rglob("*")))


BEYOND = {
    "crashes": ("print('no weights', file=sys.stderr); sys.exit(3)", (), ("the program failed", "exit code 3", "no weights")),
    "raises": ("raise RuntimeError('lost it')", (), ("exit code 1", "RuntimeError: lost it")),
    "is killed": ("os.kill(os.getpid(), 11)", (), ("the program was killed", "SIGSEGV")),
    "fails though all masks are there": ("answer(); sys.exit(1)", (), ("exit code 1",)),
    "hangs": ("import time; print('waiting'); sys.stdout.flush(); time.sleep(99)", ("--time-limit", 0.7), ("took too long", "0.7 s")),
    "hangs and is deaf": (
        "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(99)",
        ("--time-limit", 0.7),
        ("took too long",),
    ),
    "hangs in a child": (
        "import time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(99)\nos.wait()",
        ("--time-limit", 0.7),
        ("took too long",),
    ),
    "prints for ever": (
        "while True: os.write(1, b'<script>\\x1b[31m' * 4000)",
        ("--time-limit", 0.7),
        ("took too long", "its last words: …", "<script>"),
    ),
    "eats memory": (
        "held = bytearray(b'x' * 300_000_000); import time; time.sleep(9)",
        ("--memory-limit", "150MB"),
        ("too much memory", "more than 0.15 GB", "--memory-limit"),
    ),
    "eats memory in children": (
        "import time\nfor _ in range(4):\n    if not os.fork():\n        held = bytearray(b'x' * 80_000_000); time.sleep(9)\ntime.sleep(9)",
        ("--memory-limit", "150MB"),
        ("too much memory",),
    ),
    "writes a large file": (
        "import time\nwith open('big', 'wb') as f:\n    try: f.write(b'x' * 30_000_000)\n    except OSError: time.sleep(9)",
        ("--disk-limit", "5MB"),
        ("wrote too much",),
    ),
    "writes much": (
        "import time\nfor n in range(20): (wanted / f'{n}.png').write_bytes(b'x' * 1_000_000)\ntime.sleep(9)",
        ("--disk-limit", "5MB"),
        ("wrote too much", "more than 0.005 GB", "--disk-limit"),
    ),
    "cannot be executed": ("", ("--program", "BAD"), ("cannot be started", "Exec format error")),
}


@pytest.mark.parametrize("fault", BEYOND)
def test_a_program_that_fails_or_goes_beyond_a_limit(run: Callable[..., Said], tmp_path: Path, fault: str) -> None:
    body, words, told = BEYOND[fault]
    if "BAD" in words:
        (tmp_path / "bad").write_bytes(b"\x7fnothing")
        (tmp_path / "bad").chmod(0o755)
        words = ("--program", str(tmp_path / "bad"), "--method-name", "mine")
    said = run(body, *words)
    assert said.code == 5, said
    for word in ("on davis/rex", *told):
        assert word in said.err, said.err
    assert "Traceback" not in said.err and "\x1b" not in said.err and len(said.err) < 1500
    assert not predictions(tmp_path / "runs/mine") and not list(tmp_path.rglob("*.partial"))
    assert not running(tmp_path)


def running(folder: Path) -> list[str]:
    """The processes that still run a program of this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder / "program") in words and " -c" not in words and int(process.name) != os.getpid():
            found.append(words)
    return found


def test_what_outlives_a_program_is_ended_and_its_masks_are_taken(run: Callable[..., Said], tmp_path: Path) -> None:
    body = """
    import time
    answer()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:  # a daemon, with what it speaks through still open
            while True: time.sleep(1)
        os._exit(0)
    """
    assert run(body).code == 0
    assert len(predictions(tmp_path / "runs/mine")) == EPISODES
    assert not running(tmp_path)


def test_a_program_that_prints_a_lot_is_heard_to_the_end(run: Callable[..., Said]) -> None:
    assert run("for _ in range(500): os.write(2, b'x' * 65536)\nanswer()").code == 0


def test_too_many_processes(toy_release: Path, tmp_path: Path) -> None:
    from icvos.errors import PluginError
    from icvos.programs.job import Limits
    from icvos.programs.launch import program
    from icvos.programs.method import foreign_method
    from icvos.runner import open_store, run

    body = "import time\nfor _ in range(12):\n    if os.fork() == 0: time.sleep(9)\ntime.sleep(9)"
    method = foreign_method(program(write_program(tmp_path / "program", body)), Limits(processes=8))
    benchmark = Benchmark.open(toy_release)
    with pytest.raises(PluginError, match="too many processes"):
        run(method, benchmark, open_store(benchmark, method, tmp_path / "runs"))
    assert not running(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_keeper_that_is_killed_or_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    from icvos.errors import PluginError
    from icvos.programs.job import Limits, kept_job
    from icvos.programs.launch import program

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("icvos.programs.job.SLACK", 0.0)
    with pytest.raises(PluginError, match="was killed"), kept_job() as job:
        job.keeper.send_signal(number)
        job.run(program("sleep 9").order(job, Limits(seconds=0.1)))
    assert not list(tmp_path.iterdir())


# What programs leave

RUBBISH = {
    "nothing": ("", ("wrote nothing", "an empty output folder", "30 masks")),
    "another size": ("width -= 1; answer()", ("30, first size: dog#s0/00000.png", "found 24 x 39, expected 24 x 40")),
    "other values": ("answer(b'\\x07')", ("values: dog#s0/00000.png", "0 and 1, or of 0 and 255")),
    "a missing mask": ("answer(); (wanted / 'dog#s1/00003.png').unlink()", ("1, first missing-mask: dog#s1/00003.png",)),
    "a missing episode": ("task['episodes'].pop(); answer()", ("1, first missing-episode: dog#s4", "6 masks")),
    "an extra mask": ("answer(); (wanted / 'dog#s1/00006.png').write_bytes(png())", ("extra-file: dog#s1/00006.png",)),
    "an extra file": ("answer(); (wanted / 'log.txt').write_text('hello')", ("extra-file: log.txt", "found file")),
    "an extra folder": ("answer(); (wanted / 'cat#s0').mkdir()", ("extra-file: cat#s0", "found folder")),
    "a hostile name": (
        "answer(); (wanted / 'dog#s1/a\\n\\x1b[31m<script>').write_text(''); open(bytes(wanted) + b'/\\xff\\xfe', 'w')",
        ("2, first extra-file", "<script>"),
    ),
    "a truncated mask": ("answer(); (wanted / 'dog#s1/00003.png').write_bytes(png()[:60])", ("unreadable: dog#s1/00003.png", "truncated")),
    "an empty mask": ("answer(); (wanted / 'dog#s1/00003.png').write_bytes(b'')", ("unreadable: dog#s1/00003.png", "empty file")),
    "no PNG": ("answer(); (wanted / 'dog#s1/00003.png').write_bytes(b'GIF89a' * 9)", ("unreadable", "not a PNG")),
    "a bomb": (
        "answer(); width = height = 8000; (wanted / 'dog#s1/00003.png').write_bytes(png())",
        ("size: dog#s1/00003.png", "8000 x 8000"),
    ),
    "a sparse file": (
        "answer()\nwith open(wanted / 'dog#s1/00003.png', 'wb') as f: f.truncate(9 << 30)",
        ("unreadable: dog#s1/00003.png", "bytes, more than"),
    ),
    "a link": ("answer(); p = wanted / 'dog#s1/00003.png'; p.unlink(); p.symlink_to(wanted / 'dog#s1/00002.png')", ("a link",)),
    "a link to a folder": ("answer(); p = wanted / 'dog#s1'; p.rename('x'); p.symlink_to(Path('x').resolve())", ("dog#s1", "found link")),
    "a link to itself": ("answer(); p = wanted / 'dog#s1/00003.png'; p.unlink(); p.symlink_to(p)", ("a link",)),
    "a pipe": ("answer(); p = wanted / 'dog#s1/00003.png'; p.unlink(); os.mkfifo(p)", ("unreadable: dog#s1/00003.png", "pipe")),
    "a folder for a mask": ("answer(); p = wanted / 'dog#s1/00003.png'; p.unlink(); p.mkdir()", ("unreadable", "folder")),
    "a file for a folder": ("task['episodes'].pop(); answer(); (wanted / 'dog#s4').write_text('')", ("extra-file: dog#s4", "found file")),
    "folders without end": (
        "answer()\nfor _ in range(600): os.mkdir('d' * 9); os.chdir('d' * 9)\nimport time; time.sleep(9)",
        ("too many files", "too deep"),
    ),
    "no rights": ("answer(); (wanted / 'dog#s1').chmod(0); (wanted / 'log').mkdir(0)", ("extra-file: log",)),
}


@pytest.mark.parametrize("fault", RUBBISH)
def test_rubbish_is_named(run: Callable[..., Said], tmp_path: Path, fault: str) -> None:
    body, told = RUBBISH[fault]
    said = run(body)
    assert said.code == 5, said
    for word in ("the program", "davis/rex", "mend the program", *told):
        assert word in said.err, said.err
    assert "Traceback" not in said.err and "\x1b" not in said.err
    assert not predictions(tmp_path / "runs/mine") and not list(tmp_path.rglob("*.partial"))


def test_all_faults_are_listed_for_machines(run: Callable[..., Said]) -> None:
    body = "answer(); (wanted / 'log').write_text(''); (wanted / 'dog#s0/00000.png').unlink(); (wanted / 'dog#s4/00005.png').write_text('')"
    error = json.loads(run(body, "--json").out)
    assert (error["error"], error["exit_code"]) == ("PluginError", 5)
    assert [(found["code"], found["where"]) for found in error["findings"]] == [
        ("extra-file", "log"),
        ("missing-mask", "dog#s0/00000.png"),
        ("unreadable", "dog#s4/00005.png"),
    ]


# What programs must not reach


@shut
def test_truth_that_a_tree_links_to_is_closed_as_well(run: Callable[..., Said], icvos: Command, toy_data: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS")
    (tmp_path / "DAVIS/Annotations").rename(tmp_path / "kept-apart")
    (tmp_path / "DAVIS/Annotations").symlink_to(tmp_path / "kept-apart")
    assert icvos("build", "--davis", tmp_path / "DAVIS", "--coco", toy_data / "COCO", "--out", tmp_path / "R").code == 0
    body = f"""
    try: open({str(tmp_path / "kept-apart/480p/rex/00000.png")!r})
    except PermissionError: answer()
    """
    said = run(body, "--benchmark", tmp_path / "R", "--limit", 5)
    assert (said.code, said.err) == (0, ""), said


ATTEMPTS = [
    "(OUTSIDE / 'mark').write_text('I was here')",
    "open(OUTSIDE / 'kept', 'a')",
    "os.truncate(OUTSIDE / 'kept', 0)",
    "os.remove(OUTSIDE / 'kept')",
    "os.rename(OUTSIDE / 'kept', wanted / 'kept')",
    "os.symlink('/', OUTSIDE / 'link')",
    "(wanted.parent / 'mark').write_text('')",
    "os.rmdir(wanted)",
    "(given / 'frames/00000.jpg').write_bytes(b'')",
    "os.remove(given / 'task.json')",
    "(given / 'mark').write_text('')",
    "open(TRUTH / 'DAVIS/Annotations/480p/rex/00000.png')",
    "os.symlink(TRUTH / 'DAVIS', 'way'); open('way/Annotations/480p/rex/00000.png')",
    "open(RELEASE / 'manifest.json')",
    *(["import socket; socket.create_connection(('127.0.0.1', 9))"] if landlock.version() >= 4 else []),
    *(["os.kill(os.getppid(), 9)"] if landlock.version() >= 6 else []),
]


@shut
def test_a_program_reaches_nothing_else(run: Callable[..., Said], toy_data: Path, toy_release: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    names = {"OUTSIDE": outside, "TRUTH": toy_data, "RELEASE": toy_release}
    body = f"""
    names = {{**globals(), **{{name: Path(text) for name, text in { ({name: str(path) for name, path in names.items()})!r}.items()}}}}
    for attempt in {ATTEMPTS!r}:
        try: exec(attempt, names)
        except PermissionError: continue
        sys.exit("it went through: " + attempt)
    answer()
    """
    said = run(body, "--limit", 5)
    assert (said.code, said.err) == (0, ""), said
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("kept", "kept")]


def test_a_changed_input_is_noticed_where_nothing_prevents_it(toy_release: Path, tmp_path: Path) -> None:
    from icvos.errors import PluginError
    from icvos.programs.layout import check_input, write_task

    episode = Benchmark.open(toy_release).episodes[0]

    def change(folder: Path, name: str, data: bytes | None) -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        (folder / name).unlink(missing_ok=True)
        if data is not None:
            (folder / name).write_bytes(data)

    for number, (name, data) in enumerate([("frames/00000.jpg", b"x"), ("task.json", None), ("new\n", b"")]):
        folder = tmp_path / str(number)
        task = write_task(folder, episode.tube.clip, {episode.id: episode.supports})
        change(folder, name, data)
        with pytest.raises(PluginError, match="changed its input") as caught:
            check_input(folder, task, "mine on davis/rex")
        assert name.strip() in str(caught.value)


# Runs of programs are runs as any


def test_what_is_done_is_kept_and_the_same_command_goes_on(
    run: Callable[..., Said], icvos: Command, toy_release: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    body = f"if task['clip'] == 'davis/tom' and Path({str(flag)!r}).exists(): sys.exit('out of luck')\nanswer(b'\\x01')"
    said = run(body)
    assert said.code == 5 and "out of luck" in said.err and "davis/tom" in said.err
    kept = predictions(tmp_path / "runs/mine")
    assert len(kept) == 5
    flag.unlink()
    said = run(body, "--json")
    assert (said.code, json.loads(said.out)["kept"]) == (0, 5)
    done = predictions(tmp_path / "runs/mine")
    assert len(done) == EPISODES and kept.items() <= done.items()
    assert run(body, "--limit", 5).code == 0
    changed = run(body + "\n# another program")
    assert changed.code == 2 and "`code` differs" in changed.err


def test_shards_and_workers_give_the_same_bytes(run: Callable[..., Said], tmp_path: Path) -> None:
    assert run("answer(b'\\x01')", "--out", tmp_path / "whole").code == 0
    assert run("answer(b'\\x01')", "--shard", "2/2").code == 0
    assert len(predictions(tmp_path / "runs/mine")) in (5, 10)
    assert run("answer(b'\\x01')", "--shard", "1/2").code == 0
    assert predictions(tmp_path / "runs/mine") == predictions(tmp_path / "whole/mine")
    assert run("answer(b'\\x01')", "--workers", 2, "--out", tmp_path / "two").code == 0
    assert predictions(tmp_path / "two/mine") == predictions(tmp_path / "whole/mine")


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGINT, 1), (signal.SIGKILL, 1)])
def test_whoever_interrupts_a_run_leaves_no_program_behind(toy_release: Path, tmp_path: Path, number: int, workers: int) -> None:
    command = write_program(tmp_path / "program", "import time\n(wanted / 'begun').touch()\nwhile True: time.sleep(1)")
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    words = ["run", "--program", command, "--benchmark", str(toy_release), "--out", str(tmp_path / "runs"), "--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from icvos.cli import main; main()", *words],
        env={**os.environ, "TMPDIR": str(jobs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(lambda: len(list(jobs.glob("*/output/begun"))) == workers)
    os.kill(process.pid, number) if number == signal.SIGKILL else os.killpg(process.pid, number)
    assert process.wait(timeout=60) == (130 if number == signal.SIGINT else -number)
    wait_for(lambda: not list(jobs.glob("icvos-job-*")) and not running(tmp_path))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_a_card_says_what_a_program_is(run: Callable[..., Said], icvos: Command, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"name": "best", "version": "3", "licence": "MIT", "training_data": ["COCO"], "parallel": True}))
    assert run("answer()", "--card", card, "--limit", 5).code == 0
    about = json.loads((tmp_path / "runs/best/run.json").read_text())
    assert (about["card"]["version"], about["card"]["training_data"], about["key"]["method_version"]) == ("3", ["COCO"], "3")
    assert about["key"]["code"].startswith("sha256 ")
    assert run("answer()", "--card", card, "--method-name", "other", "--limit", 5).code == 0
    assert (tmp_path / "runs/other").is_dir()


@pytest.mark.parametrize(
    ("card", "code", "told"),
    [
        ({"nmae": "x"}, 2, "did you mean name"),
        ({"version": 3}, 5, "version"),
        ({"training_data": "COCO"}, 5, "training_data"),
        ({"kind": "ceiling"}, 5, "no program is told the truth"),
        ({"name": "../x"}, 5, "cannot be a folder"),
        ([], 2, "not a card"),
        (None, 2, "no such file"),
    ],
)
def test_a_card_that_is_wrong(run: Callable[..., Said], tmp_path: Path, card: Any, code: int, told: str) -> None:
    if card is not None:
        (tmp_path / "card.json").write_text(json.dumps(card))
    said = run("answer()", "--card", tmp_path / "card.json")
    assert (said.code, told in said.err) == (code, True), said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "one method must be named: found none"),
        (("--method", "empty", "--program", "x"), "found --method and --program"),
        (("--method", "empty", "--card", "c.json"), "--card says nothing to --method"),
        (("--program", "x", "--engine", "docker"), "--engine says nothing to --program"),
        (("--program", "x", "--sam", "sam2.1_hiera_l", "--offline"), "leave --sam and --offline out"),
        (("--program", "no-such-program {input} {output}"), "no such program: --program no-such-program"),
        (("--program", "python3 x.py {input}"), "both {input} and {output}, or neither"),
        (("--program", "python3 'x.py {input} {output}"), "not a command"),
        (("--program", " "), "no command"),
        (("--program", "./plain.txt"), "chmod +x"),
        (("--program", "RELEASE/manifest.json"), "may not be executed"),
        (("--program", "python3 RELEASE/manifest.json {input} {output}"), "lies among what it must not see"),
        (("--program", "x", "--memory-limit", "lots"), "expected a size such as 16GB"),
        (("--program", "x", "--time-limit", "0"), "0"),
        (("--container", "--privileged"), "not an image"),
    ],
)
def test_options_that_cannot_be_used(
    icvos: Command, toy_release: Path, tmp_path: Path, nothing_set: None, words: tuple[str, ...], told: str
) -> None:
    Path("plain.txt").write_text("no program")
    said = icvos("run", *(word.replace("RELEASE", str(toy_release)) for word in words), "--benchmark", toy_release)
    assert (said.code, told in said.err) == (2, True), said


def test_a_command_is_known_by_what_its_files_hold(tmp_path: Path, nothing_set: None) -> None:
    from icvos.programs.launch import program

    for folder in ("a", "b"):
        write_program(tmp_path / folder)
        (tmp_path / folder / "w.pt").write_bytes(b"weights")
    codes = [
        program(f"python3 {tmp_path / folder}/mine.py --weights={tmp_path / folder}/w.pt {{input}} {{output}}").code for folder in "ab"
    ]
    assert codes[0] == codes[1]  # elsewhere, and the same
    (tmp_path / "b/w.pt").write_bytes(b"others")
    assert program(f"python3 {tmp_path}/b/mine.py --weights={tmp_path}/b/w.pt {{input}} {{output}}").code != codes[0]
    assert program(f"python3 {tmp_path}/a/mine.py --fast --weights={tmp_path}/a/w.pt {{input}} {{output}}").code != codes[0]
    Path("seg.py").write_text("")
    made = program("python3 seg.py --in={input} {output}")
    assert made.command("/i", "/o") == ["python3", str(Path("seg.py").resolve()), "--in=/i", "/o"]
    assert made.name == "seg"


def test_a_dry_run_prints_the_command(run: Callable[..., Said], tmp_path: Path) -> None:
    said = run("answer()", "--dry-run")
    assert said.code == 0 and "mine.py '{input}' '{output}'" in said.out and "nothing written" in said.out
    assert json.loads(run("answer()", "--dry-run", "--json").out)["command"].endswith("'{input}' '{output}'")
    assert not (tmp_path / "runs").exists()


def test_a_machine_that_shuts_nothing_in_is_told_of(toy_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from icvos.cli.foreign import warn_of_walls
    from icvos.errors import PluginError
    from icvos.programs.job import Limits
    from icvos.programs.launch import program
    from icvos.programs.method import foreign_method
    from icvos.programs.walls import Walls
    from icvos.runner import open_store, run

    body = "import shutil\nanswer(); folder = given / 'frames'\nfolder.chmod(0o755); (folder / '00000.jpg').unlink()"
    method = foreign_method(program(write_program(tmp_path / "program", body), walls=Walls()), Limits())
    warn_of_walls(method)
    said = capsys.readouterr()
    assert said.out == "" and "no Landlock" in said.err and "--container shuts it in" in said.err
    benchmark = Benchmark.open(toy_release)
    with pytest.raises(PluginError, match=r"the program changed its input: mine on davis/rex: found frames/00000\.jpg"):
        run(method, benchmark, open_store(benchmark, method, tmp_path / "runs"))
    assert not predictions(tmp_path / "runs")
