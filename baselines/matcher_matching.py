"""Patches of a support and of a picture matched both ways: Matcher's first step (Liu et al., ICLR 2024, Section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

HALVED_ABOVE = 40  # confirmed matches: then the better half is kept

Floats = NDArray[np.floating]
Places = NDArray[np.int64]


class Matches(NamedTuple):
    """How the cells of K supports go with those of a picture, N cells each."""

    similarity: Floats  # (K * N, N), cosine
    foreground: Places  # (F,) cells of the supports that hold a pixel of the object
    cells: Places  # (M,) cells of the picture, each once, the most similar first
    confirmed: bool  # whether the way back leads into the object; else these are the matches of the way there

    @property
    def supports(self) -> int:
        """K."""
        return len(self.similarity) // int(self.similarity.shape[1])

    @property
    def cost(self) -> Floats:
        """(K * N, N), in [0, 1]: what it costs to carry something from one cell to the other."""
        return (1 - self.similarity) / 2


def foreground_cells(masks: Tensor, grid: int) -> NDArray[np.bool_]:
    """Which cells of a grid hold at least one pixel: (K, S, S) of 0 and 1 gives (K * grid * grid,); S is a multiple of `grid`."""
    side = masks.shape[-1] // grid
    held: Tensor = functional.max_pool2d(masks[:, None].float(), side) > 0
    return held.flatten().cpu().numpy()


def match(supports: Tensor, picture: Tensor, foreground: NDArray[np.bool_]) -> Matches:
    """Find the cells of a picture that go with the object of the supports.

    Each foreground cell gets a cell of its own in the picture by optimal assignment, each of these in turn one of the
    supports'; a match is confirmed where that one is foreground.

    Args:
        supports: features (K * N, C) of all supports' cells.
        picture: features (N, C).
        foreground: (K * N,); at least one is.
    """
    known, asked = functional.normalize(supports, dim=1), functional.normalize(picture, dim=1)
    with torch.no_grad():
        similarity = (known @ asked.T).float().cpu().numpy()
    places = np.flatnonzero(foreground)
    rows, cells = linear_sum_assignment(similarity[places], maximize=True)
    likeness = similarity[places][rows, cells]
    _, back = linear_sum_assignment(similarity.T[cells], maximize=True)
    returned = foreground[back]
    confirmed = bool(returned.any())
    if confirmed:
        cells, likeness = cells[returned], likeness[returned]
    return Matches(similarity, places, _better(cells, likeness), confirmed)


def agreed(each: Sequence[Matches]) -> Matches:
    """The matches of K supports, each matched by itself, on which more than half of them agree; where there is none, the most.

    Taken together, the cells of several objects are more than the picture has, and the assignment on the way there leaves none out.
    """
    size = each[0].similarity.shape[1]
    voters = [found for found in each if found.confirmed] or each
    votes = sum((np.bincount(found.cells, minlength=size) for found in voters), np.zeros(size, np.int64))
    cells = np.flatnonzero(votes >= min(len(each) // 2 + 1, votes.max()))
    similarity = np.concatenate([found.similarity for found in each])
    foreground = np.concatenate([place * size + found.foreground for place, found in enumerate(each)])
    likeness = np.mean([found.similarity[found.foreground].max(0) for found in each], 0)[cells]
    return Matches(similarity, foreground, cells[np.argsort(-likeness, kind="stable")], any(found.confirmed for found in each))


def _better(cells: Places, likeness: Floats) -> Places:
    """The most similar first; of many, the better half."""
    count = len(cells) // 2 if len(cells) > HALVED_ABOVE else len(cells)
    return cells[np.argsort(-likeness, kind="stable")[:count]]
