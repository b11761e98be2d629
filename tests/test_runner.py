"""Running methods: what floors and the oracle answer, contracts that methods break, and runs that are cut off in every way."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Said
from toys import SIZE, make_coco, make_davis, moving_box, two_clips

from icvos.benchmark import Benchmark
from icvos.cli.progress import pace
from icvos.parallel import in_processes
from icvos.png import decode_png
from icvos.registry import load_method
from icvos.runner import open_store, run_together
from icvos.store import PredictionStore
from icvos.types import Frame, Image

Command = Callable[..., Said]
EPISODES, MASKS = 15, 90  # rex/dog, tom/cat and tom/person, five draws each, six frames a clip

SLOW = """
import os
import time

import numpy as np

from icvos.types import MethodCard


class Slow:
    card = MethodCard("slow", parallel=True)

    def segment(self, frames, supports):
        for number, frame in enumerate(frames):
            time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
            yield frame[..., 0] > 20 * number
"""


def write_method(folder: Path, body: str, name: str = "mine", card: str = "", segment: str = "segment(self, frames, supports)") -> str:
    """A method file with one class; its spec. A file name of its own each time: Python keeps compiled files by the second."""
    source = f"import numpy as np\nfrom icvos.types import MethodCard\n\nclass Mine:\n    card = MethodCard({name!r}{card})\n"
    source += f"\n    def {segment}:\n{textwrap.indent(textwrap.dedent(body).strip(), ' ' * 8)}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "method.py").write_text(source)
    return f"{folder / 'method.py'}:Mine"


def predictions(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted((run / "predictions").rglob("*")) if path.is_file()}


def leftovers(run: Path) -> list[Path]:
    return list(run.rglob("*.partial"))


def masks_of(run: Path, episode_id: str) -> list[np.ndarray]:
    prediction = PredictionStore.open(run).find(episode_id)
    assert prediction is not None
    try:
        return [decode_png(prediction.read(frame)).astype(bool) for frame in sorted(prediction.frame_ids)]
    finally:
        prediction.close()


@pytest.fixture(scope="module")
def slow_method(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("slow") / "slow.py"
    path.write_text(SLOW)
    return f"{path}:Slow"


@pytest.fixture(scope="module")
def undisturbed(slow_method: str, toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the slow method predicts when nobody interrupts it."""
    out = tmp_path_factory.mktemp("undisturbed")
    process = start(slow_method, toy_release, out, "--workers", "1")
    process.communicate(timeout=60)
    assert process.returncode == 0
    found = predictions(out / "slow")
    assert len(found) == EPISODES
    return found


def start(method: str, release: Path, out: Path, *words: str, sleep: float = 0, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    """`icvos run` in a process group of its own."""

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = ["-c", "from icvos.cli import main; main()", "run", "--method", method, "--benchmark", str(release), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, *command, *words],
        env={**os.environ, "TOY_SLEEP": str(sleep)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limit,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


# What the built-in methods answer


@pytest.fixture(scope="module")
def floors(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from icvos.cli import main

    out = tmp_path_factory.mktemp("floors")
    for name in ("empty", "full-frame", "centre-box", "support-shape", "identity"):
        with pytest.raises(SystemExit) as leaving:
            main(["run", "--method", name, "--benchmark", str(toy_release), "--out", str(out)])
        assert not leaving.value.code
    return out


def support_shapes(release: Path) -> dict[str, np.ndarray]:
    shapes = {}
    for episode in Benchmark.open(release).episodes:
        mask = episode.supports[0].read_mask()
        (height, width), (rows, columns) = SIZE, mask.shape
        shapes[episode.id] = np.array([[mask[y * rows // height, x * columns // width] for x in range(width)] for y in range(height)])
    return shapes


def test_floors_answer_what_their_cards_say(floors: Path, toy_release: Path) -> None:
    middle = np.zeros(SIZE, bool)
    middle[6:18, 10:30] = True  # a quarter off each side of 24 x 40
    shapes = support_shapes(toy_release)
    for episode_id in Benchmark.open(toy_release).episode_ids:
        expected = {
            "empty": np.zeros(SIZE, bool),
            "full-frame": np.ones(SIZE, bool),
            "centre-box": middle,
            "support-shape": shapes[episode_id],
        }
        for name, mask in expected.items():
            masks = masks_of(floors / name, episode_id)
            assert len(masks) == 6
            assert all(np.array_equal(found, mask) for found in masks), (name, episode_id)
    assert len({shape.tobytes() for shape in shapes.values()}) >= 3  # draws do differ


def test_the_oracle_repeats_the_truth_of_frame_0(floors: Path) -> None:
    first = two_clips()["tom"][1][0]
    for draw in range(5):
        for episode_id, truth in ((f"davis/tom/person#s{draw}", first == 2), (f"davis/tom/cat#s{draw}", first == 1)):
            masks = masks_of(floors / "identity", episode_id)
            assert truth.any() and len(masks) == 6
            assert all(np.array_equal(mask, truth) for mask in masks)


@pytest.mark.parametrize("method", ["support-shape", "identity"])
def test_a_frame_is_decoded_once_for_all_episodes_of_its_clip(
    icvos: Command, toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    read, reading = Frame.read_image, Counter[str]()

    def counted(frame: Frame) -> Image:
        reading[str(frame.image)] += 1
        return read(frame)

    monkeypatch.setattr(Frame, "read_image", counted)
    assert icvos("run", "--method", method, "--benchmark", toy_release, "--out", tmp_path).code == 0
    assert len(reading) == 12 and set(reading.values()) == {1}  # though ten episodes ask about tom


def test_a_method_of_one_episode_at_a_time_is_never_interleaved(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    body = """
        assert not getattr(self, "busy", False), "called in the middle of another episode"
        self.busy, self.seen = True, 0
        for frame in frames:
            mask = np.zeros(frame.shape[:2], bool)
            mask[self.seen, :] = True
            self.seen += 1
            yield mask
        self.busy = False
    """
    assert icvos("run", "--method", write_method(tmp_path, body), "--benchmark", toy_release, "--out", tmp_path / "runs").code == 0
    for episode_id in Benchmark.open(toy_release).episode_ids:
        assert [int(np.flatnonzero(mask.any(axis=1))[0]) for mask in masks_of(tmp_path / "runs/mine", episode_id)] == list(range(6))


def test_several_methods_in_one_pass_answer_as_they_do_alone(
    icvos: Command, toy_release: Path, tmp_path: Path, floors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[Path] = Counter()
    read = Frame.read_image

    def counted(frame: Frame) -> Image:
        seen[frame.image] += 1
        return read(frame)

    monkeypatch.setattr(Frame, "read_image", counted)
    words = ("run", "--method", "support-shape,identity,empty", "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert icvos(*words, "--limit", 5).code == 0
    said = icvos(*words, "--json")
    assert said.code == 0, said.err
    assert [(Path(done["run"]).name, done["episodes"], done["kept"]) for done in json.loads(said.out)] == [
        ("support-shape", 10, 5),
        ("identity", 10, 5),
        ("empty", 10, 5),
    ]
    assert set(seen.values()) == {1}
    for name in ("support-shape", "identity", "empty"):
        assert predictions(tmp_path / "runs" / name) == predictions(floors / name)
        assert not (tmp_path / "runs" / name / "timing").exists()  # what is shared is nobody's


def test_a_method_of_one_episode_at_a_time_may_be_among_several(toy_release: Path, tmp_path: Path, floors: Path) -> None:
    body = """
        assert not getattr(self, "busy", False), "called in the middle of another episode"
        self.busy = True
        for frame in frames:
            yield frame[..., 0] > 99
        self.busy = False
    """
    benchmark = Benchmark.open(toy_release)
    methods = [load_method(write_method(tmp_path / "m", body)), load_method("empty")]
    runs = [(method, open_store(benchmark, method, tmp_path / method.card.name)) for method in methods]
    assert [(report.episodes_done, report.masks) for report in run_together(runs, benchmark)] == [(EPISODES, MASKS)] * 2
    assert predictions(tmp_path / "empty") == predictions(floors / "empty")
    assert len(predictions(tmp_path / "mine")) == EPISODES


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("empty,full-fram",), "did you mean full-frame"),
        ((",",), "no method"),
        (("empty,identity", "--workers", "2"), "several methods share one process"),
    ],
)
def test_several_methods_that_cannot_run(icvos: Command, toy_release: Path, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    said = icvos("run", "--method", *words, "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert (said.code, told in said.err) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_methods_see_frames_and_supports_and_no_truth(icvos: Command, toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    body = f"""
        frames = list(frames)
        assert all(type(frame) is np.ndarray and frame.shape == (24, 40, 3) and frame.dtype == np.uint8 for frame in frames)
        (support,) = supports
        assert str(support.image).startswith({str(toy_data / "COCO")!r})
        assert support.read_image().shape == (60, 80, 3) and support.read_mask().sum() == 2000
        yield from (np.zeros((24, 40), bool) for _ in frames)
    """
    said = icvos("run", "--method", write_method(tmp_path, body), "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("kind", ["method", "floor"])
def test_only_a_ceiling_is_told_the_truth(icvos: Command, toy_release: Path, tmp_path: Path, kind: str) -> None:
    signature = "segment_from_truth(self, frames, first_masks)"
    spec = write_method(tmp_path, "return (tuple(first_masks) for _ in frames)", "cheat", f", kind={kind!r}", signature)
    said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert said.code == 5 and "asks for the truth" in said.err and "ceiling" in said.err
    assert not (tmp_path / "runs").exists()


# Methods that break their contract

BROKEN = {
    "wrong size": ("for frame in frames: yield np.zeros((5, 7), bool)", ("frame 00000", "5 x 7", "24 x 40")),
    "channels left on": ("for frame in frames: yield frame > 3", ("frame 00000", "24 x 40 x 3")),
    "too few": ("for _, frame in zip(range(4), frames): yield frame[..., 0] > 3", ("frame 00004", "no mask", "expected 1 mask")),
    "none at all": ("yield from ()", ("frame 00000", "no mask")),
    "too many": ("for _ in range(7): yield np.zeros((24, 40), bool)", ("after the last, 00005", "another mask", "6 in all")),
    "wrong dtype": ("for frame in frames: yield frame[..., 0]", ("frame 00000", "uint8", "bool")),
    "not an array": ("for frame in frames: yield [[True] * 40] * 24", ("list", "a numpy array")),
    "None for a mask": ("for frame in frames: yield None", ("NoneType", "a numpy array")),
    "nothing returned": ("return None", ("TypeError", "NoneType")),
    "fails when called": ("raise OSError('no weights')", ("the method failed", "mine on davis/rex", "OSError: no weights")),
    "fails in the middle": (
        "for n, frame in enumerate(frames):\n    if n == 3: raise ValueError('lost it')\n    yield frame[..., 0] > 3",
        ("the method failed", "mine on davis/rex", "ValueError: lost it"),
    ),
    "stops by StopIteration": ("return next(iter(()))", ("the method failed", "StopIteration")),
    "leaves": ("import sys; sys.exit(0)", ("the method failed", "SystemExit")),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_contract_is_named(icvos: Command, toy_release: Path, tmp_path: Path, fault: str) -> None:
    body, words = BROKEN[fault]
    said = icvos("run", "--method", write_method(tmp_path, body), "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert said.code == 5, said
    for word in ("mine on davis/rex", "mend the method", *words):
        assert word in said.err
    assert "Traceback" not in said.err
    assert not predictions(tmp_path / "runs/mine") and not leftovers(tmp_path)


def test_a_wrong_number_of_answers_for_episodes_together_is_named(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    answers = {"return (supports for _ in ())": "no mask", "return ((f[..., 0] > 1,) * 3 for f in frames)": "3 masks"}
    answers["return (f[..., 0] > 1 for f in frames)"] = "ndarray"
    for number, (body, words) in enumerate(answers.items()):
        spec = write_method(tmp_path / str(number), body, segment="segment_together(self, frames, supports)")
        said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / str(number) / "runs")
        assert said.code == 5 and f"found {words}, expected 5 masks" in said.err


def test_a_wrong_size_is_caught_on_the_first_frame(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    body = f"""
        for frame in frames:
            with open({str(tmp_path / "asked")!r}, "a") as log: log.write("x")
            yield np.zeros((24, 41), bool)
    """
    assert icvos("run", "--method", write_method(tmp_path, body), "--benchmark", toy_release, "--out", tmp_path / "runs").code == 5
    assert (tmp_path / "asked").read_text() == "x"


FILES = {
    "no card": ("class Mine:\n    def segment(self, frames, supports): ...\n", 5, ("no card", "MethodCard")),
    "a card of another type": ("class Mine:\n    card = {'name': 'mine'}\n", 5, ("no card", "dict", "MethodCard")),
    "a name that is no text": ("class Mine:\n    card = MethodCard(7)\n    segment = None\n", 5, ("card is wrong", "name", "7")),
    "an unknown kind": ("class Mine:\n    card = MethodCard('m', kind='best')\n    segment = None\n", 5, ("kind", "'best'", "ceiling")),
    "weights that are a path": (
        "import pathlib\nclass Mine:\n    card = MethodCard('m', weights=pathlib.Path('w'))\n    segment = None\n",
        5,
        ("card is wrong", "weights"),
    ),
    "nothing to call": ("class Mine:\n    card = MethodCard('m')\n", 5, ("cannot segment", "segment(frames, supports)")),
    "another class": ("class Mien: ...\n", 2, ("no such class", "Mine", "did you mean Mien?")),
    "an error of syntax": ("class Mine:\n    def segment(self\n", 5, ("file fails", "SyntaxError", "line")),
    "an import that is not there": ("import not_there_at_all\n", 5, ("file fails", "not_there_at_all")),
    "a script that leaves": ("raise SystemExit(0)\n", 5, ("file fails", "SystemExit")),
    "arguments wanted": ("class Mine:\n    def __init__(self, weights): ...\n", 5, ("cannot be made", "weights", "without arguments")),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_method_file_that_cannot_be_used_is_named(icvos: Command, toy_release: Path, tmp_path: Path, fault: str) -> None:
    source, code, words = FILES[fault]
    (tmp_path / "method.py").write_text("from icvos.types import MethodCard\n" + source)
    said = icvos("run", "--method", f"{tmp_path / 'method.py'}:Mine", "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert said.code == code, said
    assert all(word in said.err for word in words), said.err
    assert not (tmp_path / "runs").exists()


def test_names_that_cannot_be_found(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    said = icvos("run", "--method", "suport-shape", "--benchmark", toy_release)
    assert said.code == 2 and "did you mean support-shape" in said.err
    said = icvos("run", "--method", tmp_path / "no.py:Mine", "--benchmark", toy_release)
    assert said.code == 2 and "no such file" in said.err and "no.py" in said.err
    spec = write_method(tmp_path, "yield None")
    said = icvos("run", "--method", spec.removesuffix(":Mine"), "--benchmark", toy_release)
    assert said.code == 2 and "path.py:Class" in said.err and "Mine" in said.err
    said = icvos("run", "--method", "empty", "--benchmark", tmp_path / "nowhere")
    assert said.code == 2 and "no release here" in said.err and "icvos build" in said.err


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a\\b", "a\nb", "n" * 300])
def test_a_method_name_that_is_no_folder_is_refused(icvos: Command, toy_release: Path, tmp_path: Path, name: str) -> None:
    spec = write_method(tmp_path / "m", "yield None", name)
    said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert said.code == 5 and ("cannot be a folder" if name else "expected a name") in said.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m"]


# Parts, orders and workers


def test_what_is_done_before_a_failure_is_kept_and_the_run_goes_on(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    body = f"""
        import os
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 8 and not os.path.exists({str(tmp_path / "mended")!r}): raise RuntimeError("out of memory")
        for number, frame in enumerate(frames): yield frame[..., 1] > 30 * number
    """
    spec = write_method(tmp_path, body)
    words = ("run", "--method", spec, "--benchmark", toy_release, "--out")
    said = icvos(*words, tmp_path / "runs")
    assert said.code == 5 and "run the same command again" in said.err
    before = predictions(tmp_path / "runs/mine")
    assert len(before) == 8 and not leftovers(tmp_path)
    (tmp_path / "mended").touch()
    said = icvos(*words, tmp_path / "runs", "--json")
    told = json.loads(said.out)
    assert (told["episodes"], told["kept"], told["masks"]) == (7, 8, 42)
    assert icvos(*words, tmp_path / "whole").code == 0
    assert predictions(tmp_path / "runs/mine") == predictions(tmp_path / "whole/mine")
    said = icvos(*words, tmp_path / "runs")
    assert said.code == 0 and "0 episodes predicted, 15 there before" in said.out


def test_shards_make_one_run(icvos: Command, toy_release: Path, tmp_path: Path, floors: Path) -> None:
    whole = predictions(floors / "support-shape")
    words = ("run", "--method", "support-shape", "--benchmark", toy_release, "--out")
    for part in ("1/2", "2/2"):
        assert icvos(*words, tmp_path / "one", "--shard", part).code == 0
        assert icvos(*words, tmp_path / part[0], "--shard", part).code == 0
    assert predictions(tmp_path / "one/support-shape") == whole
    parts = [predictions(tmp_path / part / "support-shape") for part in "12"]
    assert parts[0] and parts[1] and not set(parts[0]) & set(parts[1])
    shutil.copytree(tmp_path / "1/support-shape", tmp_path / "both/support-shape")
    shutil.copytree(tmp_path / "2/support-shape", tmp_path / "both/support-shape", dirs_exist_ok=True)
    assert predictions(tmp_path / "both/support-shape") == whole
    assert "0 episodes predicted, 15 there before" in icvos(*words, tmp_path / "both").out
    said = icvos(*words, tmp_path / "none", "--shard", "3/9")
    assert said.code == 0 and "0 episodes predicted, 0 there before" in said.out
    for wrong in ("0/2", "3/2", "1", "a/b", "1/0"):
        said = icvos(*words, tmp_path / "none", "--shard", wrong)
        assert said.code == 2 and "1 <= i <= n" in said.err


def test_the_first_episodes_only(icvos: Command, toy_release: Path, tmp_path: Path, floors: Path) -> None:
    words = ("run", "--method", "support-shape", "--benchmark", toy_release, "--out", tmp_path)
    assert icvos(*words, "--limit", "7").code == 0
    first = predictions(tmp_path / "support-shape")
    assert set(first) == {f"predictions/{name}.zip" for name in Benchmark.open(toy_release).episode_ids[:7]}
    assert "8 episodes predicted, 7 there before" in icvos(*words).out
    assert predictions(tmp_path / "support-shape") == predictions(floors / "support-shape")


def test_workers_change_nothing(icvos: Command, toy_release: Path, tmp_path: Path, floors: Path) -> None:
    said = icvos("run", "--method", "support-shape", "--benchmark", toy_release, "--out", tmp_path, "--workers", "4")
    assert (said.code, said.err) == (0, "")
    assert predictions(tmp_path / "support-shape") == predictions(floors / "support-shape")
    results = []
    for run, workers in ((tmp_path, 4), (floors, 1)):
        assert icvos("score", run / "support-shape", "--out", tmp_path / f"r{workers}", "--workers", workers).code == 0
        results.append([(tmp_path / f"r{workers}/native@1.{end}").read_bytes() for end in ("json", "frames.csv")])
    assert results[0] == results[1]


def test_an_error_in_a_worker_is_told_as_it_is(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    spec = write_method(tmp_path, "import os\nyield from ()\n")
    said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "runs", "--workers", "2")
    assert said.code == 5 and "no mask" in said.err and "Traceback" not in said.err
    spec = write_method(tmp_path / "dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\nyield None")
    said = icvos("run", "--method", spec, "--benchmark", toy_release, "--out", tmp_path / "dies/runs", "--workers", "2")
    assert said.code == 1 and "a worker process died" in said.err and "fewer --workers" in said.err


# Folders that belong to something else


def test_another_run_in_the_folder_is_refused_by_the_field_that_differs(
    icvos: Command, toy_release: Path, toy_data: Path, tmp_path: Path
) -> None:
    body = "for frame in frames: yield frame[..., 0] > 3"
    spec = write_method(tmp_path, body)
    words = ("--benchmark", toy_release, "--out", tmp_path / "runs")
    assert icvos("run", "--method", spec, *words, "--limit", "1").code == 0
    kept = predictions(tmp_path / "runs/mine")

    def refused(field: str, *command: object) -> None:
        for more in ((), ("--dry-run",)):
            said = icvos("run", *command, *more)
            assert said.code == 2 and f"`{field}` differs" in said.err and "another --out" in said.err, said
        assert predictions(tmp_path / "runs/mine") == kept

    refused("code", "--method", write_method(tmp_path / "changed", body + "  # changed"), *words)
    refused("method_version", "--method", write_method(tmp_path / "newer", body, card=", version='2'"), *words)
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R2", "--seed", "other").code == 0
    refused("digest", "--method", spec, "--benchmark", tmp_path / "R2", "--out", tmp_path / "runs")
    assert icvos("build", "--data", toy_data, "--out", tmp_path / "R3", "--name", "other").code == 0
    refused("release", "--method", spec, "--benchmark", tmp_path / "R3", "--out", tmp_path / "runs")
    key = json.loads((tmp_path / "runs/mine/run.json").read_text())
    key["key"]["method"] = "yours"
    (tmp_path / "runs/mine/run.json").write_text(json.dumps(key))
    refused("method", "--method", spec, *words)


def test_a_folder_that_is_no_run_is_refused(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    words = ("run", "--method", "empty", "--benchmark", toy_release, "--out", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/thesis.tex").write_text("dear")
    said = icvos(*words)
    assert said.code == 2 and "holds no run" in said.err and "thesis.tex" in said.err
    (tmp_path / "empty/thesis.tex").rename(tmp_path / "empty/.run.json.0f.partial")  # of a run that was killed at once
    assert icvos(*words).code == 0
    (tmp_path / "empty/run.json").write_text("{}")
    said = icvos(*words)
    assert said.code == 3 and "not a run of this version" in said.err
    (tmp_path / "empty/run.json").write_text('{"key": ')
    said = icvos(*words)
    assert said.code == 3 and "corrupt JSON" in said.err and "line 1" in said.err
    shutil.rmtree(tmp_path / "empty")
    (tmp_path / "empty").write_text("a file")
    said = icvos(*words)
    assert said.code == 2 and "not a folder" in said.err


def test_a_changed_frame_is_refused(icvos: Command, tmp_path: Path) -> None:
    make_davis(tmp_path / "DAVIS", {"rex": ({1: "dog"}, moving_box())})
    make_coco(tmp_path / "COCO", ["dog"])
    assert icvos("build", "--data", tmp_path, "--out", tmp_path / "R").code == 0
    frame = tmp_path / "DAVIS/JPEGImages/480p/rex/00004.jpg"
    frame.write_bytes((tmp_path / "DAVIS/JPEGImages/480p/rex/00003.jpg").read_bytes())
    words = ("run", "--method", "empty", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs")
    for workers in ("1", "2"):
        said = icvos(*words, "--workers", workers)
        assert said.code == 3 and str(frame) in said.err and "not the file that the release names" in said.err
    assert not predictions(tmp_path / "runs/empty") and not leftovers(tmp_path)
    frame.unlink()
    said = icvos(*words)
    assert said.code == 3 and "no such file" in said.err and str(frame) in said.err


def test_a_dry_run_says_numbers_and_writes_nothing(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    words = ("run", "--method", "empty", "--benchmark", toy_release, "--out", tmp_path)
    said = icvos(*words, "--dry-run")
    assert said.code == 0 and not list(tmp_path.iterdir())
    for number in (f"{EPISODES} episodes", f"{MASKS} masks", "12 frames", "2 clips", "nothing written"):
        assert number in said.out
    assert icvos(*words, "--limit", "4").code == 0
    before = predictions(tmp_path / "empty")
    plan = json.loads(icvos(*words, "--dry-run", "--json").out)
    assert (plan["episodes"], plan["masks"], plan["clips"], plan["frames"]) == (11, 66, 2, 12)
    assert predictions(tmp_path / "empty") == before


# Runs that are cut off


def test_a_full_disk_leaves_nothing_half_written(
    slow_method: str, toy_release: Path, tmp_path: Path, undisturbed: dict[str, bytes], icvos: Command
) -> None:
    process = start(slow_method, toy_release, tmp_path, limit_bytes=1000)  # enough for run.json, too little for a prediction
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2, (out, err)
    assert "cannot write" in err and "free some space" in err and "Traceback" not in err and "Exception ignored" not in err
    assert not predictions(tmp_path / "slow") and not leftovers(tmp_path)
    assert icvos("run", "--method", slow_method, "--benchmark", toy_release, "--out", tmp_path).code == 0
    assert predictions(tmp_path / "slow") == undisturbed


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_then_the_same_command_gives_the_same_bytes(
    slow_method: str,
    toy_release: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    icvos: Command,
    started: list[subprocess.Popen[str]],
    workers: str,
) -> None:
    process = start(slow_method, toy_release, tmp_path, "--workers", workers, sleep=0.03)
    started.append(process)
    wait_for(lambda: (tmp_path / "slow/predictions").is_dir() and len(list(tmp_path.rglob("*#s?.json"))) >= 2 and bool(leftovers(tmp_path)))
    family = children(process.pid)
    process.kill()
    process.wait(10)
    wait_for(lambda: not any(is_alive(child) for child in family), 10)  # workers do not outlive the one who was killed
    before = predictions(tmp_path / "slow")
    whole = {name: data for name, data in before.items() if not name.endswith(".partial")}
    assert 2 <= len(whole) < EPISODES and whole.items() <= undisturbed.items()
    said = icvos("run", "--method", slow_method, "--benchmark", toy_release, "--out", tmp_path)
    assert said.code == 0 and f"{len(whole)} there before" in said.out
    assert predictions(tmp_path / "slow") == undisturbed
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(("workers", "when"), [("1", "in the middle"), ("2", "in the middle"), ("2", "while workers start")])
def test_ctrl_c_is_one_sentence_and_can_be_resumed(
    slow_method: str,
    toy_release: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    icvos: Command,
    started: list[subprocess.Popen[str]],
    workers: str,
    when: str,
) -> None:
    process = start(slow_method, toy_release, tmp_path, "--workers", workers, sleep=0.1)  # nine seconds of work
    started.append(process)
    if when == "in the middle":
        wait_for(lambda: len(list(tmp_path.rglob("*#s?.zip"))) >= 2)
    else:
        wait_for(lambda: (tmp_path / "slow/run.json").exists())
        time.sleep(0.15)
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    assert err.strip() == "icvos: interrupted; what is done is kept, run the same command again to go on."
    assert time.monotonic() - pressed < 4.5  # what was begun is not finished first
    assert not leftovers(tmp_path) and len(predictions(tmp_path / "slow")) < EPISODES
    assert icvos("run", "--method", slow_method, "--benchmark", toy_release, "--out", tmp_path).code == 0
    assert predictions(tmp_path / "slow") == undisturbed


def slowly(milliseconds: int) -> int:
    time.sleep(milliseconds / 1000)
    return milliseconds


def prepared() -> Callable[[int], int]:
    return slowly


def test_a_long_job_holds_up_no_other() -> None:
    jobs = [700, *range(12)]
    found = list(in_processes(prepared, jobs, 2))
    assert sorted(found) == sorted(jobs) and found[-1] == 700
    assert list(in_processes(prepared, jobs[1:], 1)) == jobs[1:]
    assert list(in_processes(prepared, [], 2)) == []


def test_the_pace_is_that_of_the_whole() -> None:
    assert pace(450, 1800, 10, "masks") == "45 masks/s, 0:00:30 left"
    assert pace(5, 7205, 10, "episodes") == "0.5 episodes/s, 4:00:00 left"
    assert pace(0, 10, 3, "masks") == pace(0, 0, 0, "masks") == "- masks/s"


def test_nothing_but_the_result_is_said_where_nobody_watches(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    said = icvos("run", "--method", "empty", "--benchmark", toy_release, "--out", tmp_path)
    assert said.err == "" and said.out.count("\n") == 1 and "15 episodes predicted" in said.out and "frames/s" in said.out


def test_the_peak_of_memory_is_this_process_own() -> None:
    ballast = np.ones(300 << 17)  # 300 MiB, which a child would be born with
    script = "from icvos.passes import peak_rss_bytes; print(peak_rss_bytes())"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert ballast.nbytes > 300e6 and 20e6 < int(said) < 200e6
