"""The conformance kit: built-in methods pass it, and each check catches the method that is broken in its way, and no other does."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from unittest import SkipTest

import pytest

from icvos.conformance import habits
from icvos.conformance.checks import CHECKS
from icvos.errors import IcvosError, PluginError
from icvos.registry import LoadedMethod, load_method
from icvos.types import Compute

CARD = 'MethodCard("mine", summary="a mask", licence="MIT")'
HONEST = "for frame in frames: yield frame[..., 0] > 120"

# check -> (the card, the body of segment(self, frames, supports), what the error says)
BROKEN = {
    "masks": (
        CARD,
        "for frame in frames: yield (frame[..., 0] > 120).astype(np.uint8)",
        "found uint8, expected bool; yield `mask > threshold`",
    ),
    "sizes": (
        CARD,
        """
        for frame in frames:
            even = frame[: max(frame.shape[0] // 2 * 2, 2), : max(frame.shape[1] // 2 * 2, 2)]
            yield even[..., 0] > 120
        """,
        "resize masks to frame.shape[:2]",
    ),
    "one-frame-clip": (
        CARD,
        """
        first, second = next(frames), next(frames, None)
        if second is None:
            return
        for frame in itertools.chain([first, second], frames): yield frame[..., 0] > 120
        """,
        "found 0 masks, expected 1 mask",
    ),
    "empty-support": (
        CARD,
        """
        top = np.nonzero(supports[0].read_mask())[0].min()
        for frame in frames: yield frame[..., 0] > 120
        """,
        "found ValueError",
    ),
    "support-of-one-pixel": (
        CARD,
        """
        mask = supports[0].read_mask()
        if mask.any():
            rows = np.nonzero(mask)[0]
            scale = 1 // int(rows.max() - rows.min())
        for frame in frames: yield frame[..., 0] > 120
        """,
        "found ZeroDivisionError",
    ),
    "five-supports": (
        CARD,
        """
        (support,) = supports
        for frame in frames: yield frame[..., 0] > 120
        """,
        "too many values to unpack",
    ),
    "card": ('MethodCard("mine", licence="MIT")', HONEST, "the card has no summary"),
    "repeated": (
        CARD,
        """
        self.asked = getattr(self, "asked", 0) + 1
        for frame in frames: yield frame[..., 0] > (0, 120, 255)[self.asked % 3]
        """,
        "seed every generator anew",
    ),
    "together": (
        CARD,
        """
        for frame in frames: yield frame[..., 0] > 120

    def segment_together(self, frames, supports):
        levels = [support[0].read_mask().sum() / 10 for support in supports]
        for frame in frames: yield tuple(frame[..., 0] > level for level in reversed(levels))
        """,
        "episode 0 of three in one pass",
    ),
    "inputs-untouched": (
        CARD,
        """
        for frame in frames:
            frame[frame < 50] = 0
            yield frame[..., 0] > 120
        """,
        "frame.copy()",
    ),
    "reading-ahead": (CARD, "for frame in list(frames): yield frame[..., 0] > 120", "never list(frames)"),
    "memory": (
        CARD,
        """
        masks = []
        for frame in frames:
            masks.append(frame[..., 0] > 120)
            yield masks[-1]
        """,
        "memory grows with the clip",
    ),
    "no-truth": (
        CARD,
        """
        data = supports[0].image.parents[2]
        truth = sorted(data.glob("DAVIS/Annotations/*/*/*.png"))
        for frame in frames: yield frame[..., 0] > 120
        """,
        "the method looks at the data set: ",
    ),
    "fresh-process": (
        CARD.replace(")", ", parallel=True)"),
        """
        import multiprocessing
        level = 120 if multiprocessing.parent_process() is None else 240
        for frame in frames: yield frame[..., 0] > level
        """,
        "another process answers differently",
    ),
    "gpu-as-cpu": (
        CARD,
        """
        level = 240 if self.compute.device == "cuda" else 120
        for frame in frames: yield frame[..., 0] > level
        """,
        "the GPU answers differently",
    ),
}


def written(folder: Path, card: str, body: str) -> str:
    """The file of a method with this card and body; its spec."""
    text = f"import itertools\nimport numpy as np\nfrom icvos.types import MethodCard\n\nclass Mine:\n    card = {card}\n"
    text += "\n    def __init__(self, compute):\n        self.compute = compute\n"
    first, between, rest = textwrap.dedent(body).strip("\n").partition("\ndef ")
    for part in (f"def segment(self, frames, supports):\n{textwrap.indent(first, '    ')}", f"def {rest}" if between else ""):
        text += "\n" + textwrap.indent(part, "    ") + "\n"
    (folder / "mine.py").write_text(text)
    return f"{folder / 'mine.py'}:Mine"


def failing(method: LoadedMethod, folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Which checks fail, and what they say."""
    found = {}
    for name, check in CHECKS.items():
        if name in but:
            continue
        (folder / name).mkdir()
        try:
            check(method, folder / name)
        except IcvosError as error:
            assert isinstance(error, PluginError) and error.fix, "every error says what to change"
            found[name] = str(error)
        except SkipTest:
            pass
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is measured over a clip of a tenth of the frames: methods here are small, and there are many."""
    monkeypatch.setattr(habits, "SETTLED", 20)
    monkeypatch.setattr(habits, "LONG", 60)
    monkeypatch.setattr(habits, "MORE_ARRAYS", habits.MORE_ARRAYS // 10)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_method_is_caught_by_its_check_alone(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken == "gpu-as-cpu":  # the only check that asks for what may not be here
        monkeypatch.setattr(habits, "gpu_is_there", lambda: True)
    card, body, said = BROKEN[broken]
    method = load_method(written(tmp_path, card, body), Compute(device="cpu"))
    found = failing(method, tmp_path)
    assert list(found) == [broken]
    assert said in found[broken] and "mine.py:Mine" in found[broken]


def test_every_check_has_its_broken_method() -> None:
    assert set(BROKEN) == set(CHECKS)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", ["empty", "support-shape", "identity"])
def test_built_in_methods_conform(name: str, tmp_path: Path) -> None:
    assert not failing(load_method(name, Compute(device="cpu")), tmp_path, but=("fresh-process",))


def test_a_method_on_sam_2_conforms(tmp_path: Path) -> None:
    pytest.importorskip("sam2")
    slow = ("memory", "fresh-process", "reading-ahead", "repeated", "together")
    assert not failing(load_method("naive-sam2", Compute(device="cpu")), tmp_path, but=slow)


@pytest.mark.usefixtures("short")
def test_an_error_of_icvos_is_an_answer_to_an_empty_support(tmp_path: Path) -> None:
    body = """
    from icvos.errors import DataError
    if not supports[0].read_mask().any():
        raise DataError("a support that shows nothing", supports[0].image, fix="leave it out")
    for frame in frames: yield frame[..., 0] > 120
    """
    assert not failing(load_method(written(tmp_path, CARD, body)), tmp_path)


# as pytest runs it


def kit(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "icvos.conformance.plugin", "--pyargs", *words]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False, timeout=300)


def test_the_kit_is_a_suite_of_tests_of_any_method(tmp_path: Path) -> None:
    card, body, _ = BROKEN["masks"]
    spec = written(tmp_path, card, body)
    done = kit("icvos.conformance", "--method", spec, "--device", "cpu", "-k", "masks or sizes or together", folder=tmp_path)
    assert done.returncode == 1, done
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "masks of another type: " in done.stdout and "Traceback" not in done.stdout and "checks.py" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("icvos.conformance",), 4, "which method? say: pytest --pyargs icvos.conformance --method NAME"),
        (("icvos.conformance", "--method", "suport-shape"), 2, "unknown method: suport-shape; did you mean support-shape?"),
    ],
)
def test_a_method_that_is_not_there_is_one_sentence(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    done = kit(*words, folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (code, False)
    assert said in done.stdout + done.stderr


def test_other_sessions_of_pytest_have_their_options_to_themselves(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--device')")
    (tmp_path / "test_it.py").write_text("def test_it(pytestconfig): assert pytestconfig.getoption('--device') == 'pixel'")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "icvos.conformance.plugin", "--device", "pixel"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60).returncode == 0
    assert b"--method" not in subprocess.run([*command[:-2], "--help"], cwd=tmp_path, capture_output=True, check=False, timeout=60).stdout
