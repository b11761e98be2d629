"""The kernels against the definitions of J and F worked out slowly, and against each other on files of every kind."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from icvos.errors import UserInputError
from icvos.kernels import Kernel, best_kernel, kernel_named
from icvos.png import PngError, encode_png

SIDES = [1, 2, 7, 63, 64, 65, 127, 128, 129, 200]
HAS_NUMBA = find_spec("numba") is not None


@pytest.fixture(params=["numpy", "numba"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    if request.param == "numba" and not HAS_NUMBA:
        pytest.skip("numba is not installed")
    return kernel_named(request.param)


KERNELS = ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed"))]


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixel by pixel neighbours that lie in the image, from the definition."""
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
        edge[: height - dy, : width - dx] |= mask[: height - dy, : width - dx] != mask[dy:, dx:]
    return edge


def slow_scores(pred: np.ndarray, truth: np.ndarray, tolerance: int) -> tuple[float, float]:
    """J and F by sets and exact distances."""
    either = int((pred | truth).sum())
    similarity = int((pred & truth).sum()) / either if either else 1.0
    parts = []
    for mine, other in ((pred, truth), (truth, pred)):
        mine, other = slow_boundary(mine), slow_boundary(other)
        if not mine.any():
            parts.append(1.0)
        elif not other.any():
            parts.append(0.0)
        else:
            away = ndimage.distance_transform_edt(~other, return_distances=False, return_indices=True)
            squared = ((away - np.indices(mine.shape)) ** 2).sum(axis=0)
            parts.append(int((squared[mine] <= tolerance**2).sum()) / int(mine.sum()))
    precision, recall = parts
    return similarity, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def some_mask(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> np.ndarray:
    if kind == "noise":
        return rng.random(shape) < rng.choice([0.01, 0.3, 0.5, 0.99])
    if kind == "plain":
        return np.full(shape, rng.random() < 0.5)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), rng.choice([1.0, 3.0, 8.0]), mode="wrap")
    return smooth > np.quantile(smooth, rng.choice([0.4, 0.8, 0.98]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    shape = (draw(st.sampled_from(SIDES)), draw(st.sampled_from(SIDES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = some_mask(rng, shape, draw(st.sampled_from(["blobs", "noise", "plain"])))
    change = draw(st.sampled_from(["none", "shift", "speckle", "other"]))
    pred = truth.copy()
    if change == "shift":
        pred = ndimage.shift(truth.astype(np.uint8), rng.integers(-9, 10, 2), order=0) > 0
    elif change == "speckle":
        pred = truth ^ (rng.random(shape) < 0.02)
    elif change == "other":
        pred = some_mask(rng, shape, draw(st.sampled_from(["blobs", "noise", "plain"])))
    return pred, truth, draw(st.sampled_from([0, 1, 2, 3, 5, 8, 13, 30, 31, 32, 36, 64, 70]))


@pytest.mark.parametrize("name", KERNELS)
@given(pairs())
@settings(max_examples=300, deadline=None)
def test_the_definition(name: str, pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    pred, truth, tolerance = pair
    kernel = kernel_named(name)
    packed = kernel.pack(pred)
    np.testing.assert_array_equal(kernel.unpack(packed), pred)
    assert kernel.compare(packed, kernel.prepare(kernel.pack(truth), tolerance)) == slow_scores(pred, truth, tolerance)


@pytest.mark.parametrize("tolerance", [0, 1, 5, 8, 31, 40])
def test_single_pixels_at_every_distance(kernel: Kernel, tolerance: int) -> None:
    """The disc itself: pixels of the boundary just within and just beyond the tolerance, across words and rows."""
    shape = (91, 200)
    truth = np.zeros(shape, np.bool_)
    truth[45, 98] = True
    prepared = kernel.prepare(kernel.pack(truth), tolerance)
    rng = np.random.default_rng(tolerance)
    for dy, dx in [(0, tolerance), (0, tolerance + 1), (tolerance, 0), (-tolerance, 1), *rng.integers(-42, 43, (60, 2)).tolist()]:
        pred = np.zeros(shape, np.bool_)
        pred[45 + dy, 98 + dx] = True
        assert kernel.compare(kernel.pack(pred), prepared) == slow_scores(pred, truth, tolerance)


@pytest.mark.parametrize("tolerance", [1, 4, 8, 9, 10, 18, 31, 32, 47, 64, 70])
def test_a_disc_that_the_border_cuts(kernel: Kernel, tolerance: int) -> None:
    """Every pixel that a disc around a corner reaches: growing must not lose what lies beyond the image on its way."""
    side = tolerance + 3
    for corner in ((0, 0), (0, side - 1), (side - 1, 0), (side - 1, side - 1)):
        truth = np.zeros((side, side), np.bool_)
        truth[corner] = True
        prepared = kernel.prepare(kernel.pack(truth), tolerance)
        for place in np.random.default_rng(tolerance).integers(0, side, (60, 2)).tolist():
            pred = np.zeros_like(truth)
            pred[tuple(place)] = True
            assert kernel.compare(kernel.pack(pred), prepared) == slow_scores(pred, truth, tolerance), (corner, place)


def test_one_truth_serves_many_predictions(kernel: Kernel) -> None:
    rng = np.random.default_rng(3)
    truth = some_mask(rng, (120, 213), "blobs")
    prepared = kernel.prepare(kernel.pack(truth), 3)
    for kind in ("blobs", "noise", "plain", "blobs"):
        pred = some_mask(rng, (120, 213), kind)
        assert kernel.compare(kernel.pack(pred), prepared) == slow_scores(pred, truth, 3)
    with pytest.raises(ValueError, match="expected one size"):
        kernel.compare(kernel.pack(truth.T), prepared)
    with pytest.raises(ValueError, match="tolerance of -1"):
        kernel.prepare(kernel.pack(truth), -1)


def written(values: np.ndarray, mode: str = "L") -> bytes:
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("mode", ["L", "P"])
def test_reading_ids(kernel: Kernel, width: int, mode: str) -> None:
    rng = np.random.default_rng(width)
    ids = np.array([0, 0, 1, 2, 3, 9, 255], np.uint8)[ndimage.zoom(rng.integers(0, 7, (5, -(-width // 9))), 9, order=0)[:, :width]]
    for wanted in ([1], [2, 3], [1, 255], [1, 2, 3, 9, 200], [0], []):
        table = np.zeros(256, np.bool_)
        table[wanted] = True
        np.testing.assert_array_equal(kernel.unpack(kernel.read(written(ids, mode), table)), table[ids])


@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("value", [1, 255])
def test_reading_predictions(kernel: Kernel, width: int, value: int) -> None:
    mask = some_mask(np.random.default_rng(width), (70, width), "blobs")
    for data in (encode_png(mask), written(mask * np.uint8(value)), written(mask * np.uint8(value), "P"), written(mask)):
        packed = kernel.read_prediction(data)
        assert packed.size == mask.shape
        np.testing.assert_array_equal(kernel.unpack(packed), mask)
    table = np.zeros(256, np.bool_)
    table[1] = True
    np.testing.assert_array_equal(kernel.unpack(kernel.read(encode_png(mask), table)), mask)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 3, 7], "values 0, 3 and 7; a mask holds 0 and one of 1 and 255"),
        ([0, 1, 255], "values 0, 1 and 255"),
        ([0, 1, 2], "values 0, 1 and 2"),
        ([2], "value 2; "),
        ([1, 255], "values 1 and 255"),
        (list(range(30)), "values 0, 1, 2, 3, 4, 5, 6, 7 and 22 others"),
    ],
)
@pytest.mark.parametrize("width", [30, 64, 70])
def test_predictions_of_other_values(kernel: Kernel, values: list[int], message: str, width: int) -> None:
    ids = np.resize(np.array(values, np.uint8), (3, width))
    with pytest.raises(PngError, match=message):
        kernel.read_prediction(written(ids))


@pytest.mark.parametrize("width", [5, 64, 100])
def test_bytes_between_rows_are_no_values(kernel: Kernel, width: int) -> None:
    """Filter bytes lie between the rows, where a kernel reads on past the end of a row."""
    ids = np.zeros((60, width), np.uint8)
    ids[::3] = 255
    np.testing.assert_array_equal(kernel.unpack(kernel.read_prediction(written(ids))), ids > 0)


def test_damaged_files(kernel: Kernel) -> None:
    rng = np.random.default_rng(5)
    data = written(some_mask(rng, (40, 90), "blobs") * np.uint8(255))
    whole = kernel.unpack(kernel.read_prediction(data))
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(8, len(data))] ^= 1 << rng.integers(0, 8)
        with pytest.raises(PngError):
            kernel.read_prediction(bytes(damaged))
    for length in range(0, len(data), 7):
        with pytest.raises(PngError):
            kernel.read_prediction(data[:length])
    np.testing.assert_array_equal(kernel.unpack(kernel.read_prediction(data)), whole)


@pytest.mark.parametrize("name", KERNELS)
def test_after_the_warm_up_nothing_is_left_to_compile(name: str) -> None:
    kernel = kernel_named(name)
    kernel.warm_up()
    if name == "numba":
        from icvos.kernels import compiled

        loops = (compiled._words_of_values, compiled._words_of_bits, compiled._edge, compiled._count)
        mask = some_mask(np.random.default_rng(1), (90, 130), "blobs")
        before = [len(loop.signatures) for loop in loops]
        for data in (written(mask * np.uint8(255)), encode_png(mask)):
            packed = kernel.read_prediction(data)
            kernel.compare(packed, kernel.prepare(kernel.pack(mask), 2))
        assert [len(loop.signatures) for loop in loops] == before


def test_choosing_a_kernel() -> None:
    assert kernel_named("numpy").name == "numpy"
    assert best_kernel().name == ("numba" if HAS_NUMBA else "numpy")
    with pytest.raises(UserInputError, match="did you mean numpy"):
        kernel_named("nunpy")


def run_python(code: str, **environment: str) -> str:
    root = str(Path(__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_numba() -> None:
    code = "import sys; sys.modules['numba'] = None\nfrom icvos.kernels import best_kernel, kernel_named\nprint(best_kernel().name)\n"
    code += "try:\n    kernel_named('numba')\nexcept Exception as error:\n    print(type(error).__name__, error)"
    first, second = run_python(code).splitlines()
    assert first == "numpy"
    assert second.startswith("UserInputError cannot import numba") and "icvos[fast]" in second


def test_numba_is_imported_only_when_asked_for() -> None:
    code = "import sys\nfrom icvos import kernels, metrics\nkernels.kernel_named('numpy')\nprint('numba' in sys.modules)"
    assert run_python(code) == "False"


@pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")
def test_without_a_folder_for_machine_code(tmp_path: Path) -> None:
    """Compiled again in every process, but compiled."""
    code = (
        "from numba.core import caching\n"
        "implementation = getattr(caching, 'CacheImpl', None) or caching._CacheImpl\n"
        "implementation._locator_classes = []\n"
        "import numpy as np\nfrom icvos.kernels import kernel_named\nkernel = kernel_named('numba')\n"
        "packed = kernel.pack(np.eye(5, dtype=bool))\nprint(kernel.compare(packed, kernel.prepare(packed, 1)))"
    )
    assert run_python(code, HOME=str(tmp_path)) == "(1.0, 1.0)"


def test_the_first_compilation_happens_in_a_process_of_its_own_and_once(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="compiles: pip install 'icvos[fast]'")
    code = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from icvos.kernels import compile_apart
        compile_apart()
        before = {path: path.stat().st_mtime_ns for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")}
        compile_apart()
        after = {path: path.stat().st_mtime_ns for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")}
        print(len(before) > 5, before == after, "numba" in sys.modules)
        """
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout
    assert said.split() == ["True", "True", "False"]
