"""A word cloud: where each word stands, and how large.

Laid out here: Vega's own transform needs a browser's canvas, and the `wordcloud` package brings matplotlib and draws places
from a generator. Ours is a walk along a spiral with nothing left to chance, and class names are all that it must know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import cos, sin, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]  # (N, 2) x, y

# Widths of the letters of a bold Helvetica, which Arial and Liberation Sans share, in thousandths of the font size.
_SHARED = {"m": 889, "w": 778, "bdghnopqu": 611, "aceksvxy": 556, "z": 500, "r": 389, "ft": 333, "ijl ": 278}
_WIDTHS = {letter: width for letters, width in _SHARED.items() for letter in letters}
_OTHER = 889  # letters that no class name has: as wide as the widest
_SMALLEST = 9.0  # pixels, below which nobody reads
_HEIGHT = 1.05  # of a word's box, in font sizes: from ascenders to descenders, and air
_AIR = 0.35  # between words, in font sizes
_STEP = 3.0  # pixels from one tried place to the next


@dataclass(frozen=True, slots=True)
class Word:
    """A word and the middle of its box, in pixels from the top left; `size` is the font's."""

    text: str
    x: float
    y: float
    size: float

    @property
    def width(self) -> float:
        """In pixels, air included."""
        return self.size * (sum(_WIDTHS.get(letter, _OTHER) for letter in self.text) / 1000 + _AIR)

    @property
    def height(self) -> float:
        """In pixels."""
        return self.size * _HEIGHT


def lay_out(weights: Mapping[str, float], width: float, height: float) -> tuple[Word, ...]:
    """Words so large that their area goes with their weight, none over another, all inside the picture.

    The heaviest stands in the middle. Words that would be too small to read get the smallest size that can be read, and the
    whole shrinks until it fits. The same weights give the same picture, in whatever order they come.

    Args:
        weights: word -> a positive weight.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    ordered = sorted(weights, key=lambda word: (-weights[word], word))
    scale = height / 2
    places = _spiral(width, height)
    while True:
        sizes = {word: max(_SMALLEST, scale * sqrt(weights[word] / weights[ordered[0]])) for word in ordered}
        area = sum(Word(text, 0.0, 0.0, size).width * size * _HEIGHT for text, size in sizes.items())
        if area < width * height or scale < _SMALLEST:  # larger words are not even tried
            placed = _placed(sizes, places, width, height)
            if len(placed) == len(ordered) or scale < _SMALLEST:
                return tuple(placed)
        scale *= 0.93


def _placed(sizes: Mapping[str, float], places: Points, width: float, height: float) -> list[Word]:
    """The words one after the other, each at the first place where it is inside and over no other; fewer where one finds none."""
    placed: list[Word] = []
    x, y = places.T
    for text, size in sizes.items():
        word = Word(text, 0.0, 0.0, size)
        free = (2 * np.abs(x - width / 2) + word.width <= width) & (2 * np.abs(y - height / 2) + word.height <= height)
        for other in placed:
            free &= (2 * np.abs(x - other.x) >= word.width + other.width) | (2 * np.abs(y - other.y) >= word.height + other.height)
        if not free.any():
            return placed
        first = int(free.argmax())
        placed.append(replace(word, x=float(x[first]), y=float(y[first])))
    return placed


def _spiral(width: float, height: float) -> Points:
    """Places from the middle outwards, about one step apart, as wide as the picture is."""
    angle, ratio, found = 0.0, width / height, []
    while (radius := _STEP * angle / 2) < height / 2:
        # Rounded, so that the last bits of another machine's sine cannot choose another place.
        found.append((round(width / 2 + ratio * radius * cos(angle), 2), round(height / 2 + radius * sin(angle), 2)))
        angle += _STEP / max(radius, _STEP)
    return np.array(found)
