"""Every golden set, whatever its folder is called: our code gives what the official code of each method gives."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("segment_anything", reason="segment-anything is not installed")

from golden_comparison import report
from golden_methods import KNOWN_FAULTS, Judgement, KnownFault, judged
from golden_recipe import GOLDEN
from golden_sets import golden_folders, read_set

FOLDERS: list[Any] = golden_folders() or [pytest.param(None, marks=pytest.mark.skip(reason=f"no golden sets at {GOLDEN}"))]
judgement = cache(judged)


class DiffersError(AssertionError):
    """A known array is off, and as it is known to be."""


def known() -> list[Any]:
    """Every set's arrays that are known to differ."""
    found = []
    for folder in golden_folders():
        for fault in KNOWN_FAULTS:
            if (folder / "meta.json").is_file() and (folder / "outputs.npz").is_file() and fault.fits(read_set(folder)):
                mark = pytest.mark.xfail(strict=True, raises=DiffersError, reason=f"{fault.array}: {fault.reason}")
                found.append(pytest.param(folder, fault, marks=mark, id=f"{folder.name}-{fault.array}"))
    return found or [pytest.param(None, None, marks=pytest.mark.skip(reason="no set holds an array that is known to differ"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path and path.name)
def test_parity(folder: Path) -> None:
    found = judgement(folder)
    left_out = {fault.array for fault in KNOWN_FAULTS if fault.fits(found.given)}
    wrong = [fault for fault in found.faults if fault.name not in left_out]
    assert not wrong, report(wrong, folder.name)


@pytest.mark.parametrize(("folder", "fault"), known())
def test_known_fault(folder: Path, fault: KnownFault) -> None:
    found: Judgement = judgement(folder)
    for other in found.faults:
        if other.name == fault.array:
            ours = np.asarray(found.answers[fault.array])
            if not fault.expected(other, found.given.outputs[fault.array], ours):
                raise ValueError(f"{folder.name}: {other}; ours is {ours}, which is not the known error")
            raise DiffersError(str(other))
