"""What every scoring kernel is: packed masks, integer counts of two of them, and the two numbers that follow from the counts.

A kernel only counts; the divisions are done here, once for all kernels, in the order of DAVIS' own code, so that every
kernel gives the same floats to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icvos.png import Scanlines, ValuesError, read_scanlines, values_of
from icvos.types import Mask, Size

Words: TypeAlias = NDArray[np.uint64]  # (H, ceil(W / 64)); bit b of word k is pixel 64 k + b; bits past the width are 0


@dataclass(frozen=True, slots=True)
class Packed:
    """A mask, one bit a pixel."""

    words: Words
    size: Size


@dataclass(frozen=True, slots=True)
class Prepared:
    """A truth made ready to be compared with any number of predictions."""

    truth: Packed
    tolerance: int
    edge: Words  # its boundary map; how the rows are padded is the kernel's own affair
    edge_length: int
    near: Words | None = None  # what is within the tolerance of the boundary, for the numpy kernel
    places: NDArray[np.uint32] | None = None  # where the boundary map is not empty, for the compiled kernel


class Counts(NamedTuple):
    """All that J and F are made of, in pixels."""

    common: int  # in both masks
    either: int  # in one mask or both
    found: int  # on the prediction's boundary
    found_near: int  # of those, within the tolerance of the truth's boundary
    due: int  # on the truth's boundary
    due_near: int  # of those, within the tolerance of the prediction's boundary

    def similarity(self) -> float:
        """J: intersection over union, 1 where both masks are empty."""
        return self.common / self.either if self.either else 1.0

    def boundary(self) -> float:
        """F: the harmonic mean of the boundary's precision and recall."""
        if self.found and self.due:
            precision, recall = self.found_near / self.found, self.due_near / self.due
        else:  # one without a boundary is precise if it is the prediction, complete if it is the truth
            precision, recall = float(not self.found), float(not self.due)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class Kernel(ABC):
    """One way to count; all ways give the same counts."""

    name: str

    def read(self, png: bytes, foreground: NDArray[np.bool_]) -> Packed:
        """The mask in a PNG's bytes, where the (256,) table says which stored values belong to it.

        Raises:
            PngError: the bytes are not a whole one-channel PNG.
        """
        return self.pick(read_scanlines(png), foreground)

    def read_prediction(self, png: bytes) -> Packed:
        """The mask in a PNG's bytes whose values are 0 and one of 1 and 255.

        Raises:
            PngError: the bytes are not one whole one-channel PNG, or hold other values.
        """
        return self.pick_binary(read_scanlines(png, alone=True))

    def warm_up(self) -> None:  # noqa: B027  # most kernels have nothing to do
        """Compile or load whatever the first mask would have to wait for: to be done once before worker processes fork."""

    @abstractmethod
    def pick(self, scanlines: Scanlines, foreground: NDArray[np.bool_]) -> Packed:
        """The pixels whose values the table marks."""

    @abstractmethod
    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """The pixels that are not 0, all of them 1 or all of them 255."""

    @abstractmethod
    def prepare(self, truth: Packed, tolerance: int) -> Prepared:
        """The truth with its boundary, to be compared with several predictions.

        Raises:
            ValueError: the tolerance is negative.
        """

    @abstractmethod
    def count(self, prediction: Packed, prepared: Prepared) -> Counts:
        """The counts of a prediction of the truth's size."""

    def compare(self, prediction: Packed, prepared: Prepared) -> tuple[float, float]:
        """J and F of a prediction.

        Raises:
            ValueError: the prediction is of another size than the truth.
        """
        if prediction.size != prepared.truth.size:
            raise ValueError(f"a prediction of {prediction.size} and a truth of {prepared.truth.size}: expected one size")
        counts = self.count(prediction, prepared)
        return counts.similarity(), counts.boundary()

    def pack(self, mask: Mask) -> Packed:
        """A mask, (H, W) bool; every value but 0 is foreground."""
        return Packed(pack_rows(np.packbits(mask, axis=1, bitorder="little"), mask.shape[1]), (mask.shape[0], mask.shape[1]))

    def unpack(self, packed: Packed) -> Mask:
        """The mask, (H, W) bool."""
        octets = packed.words.astype("<u8", copy=False).view(np.uint8)
        return np.unpackbits(octets, axis=1, count=packed.size[1], bitorder="little").view(np.bool_)


def pack_rows(octets: NDArray[np.uint8], width: int) -> Words:
    """Rows of bytes, lowest bit first, as rows of words; bits past the width are cleared."""
    if width % 8:
        octets[:, -1] &= np.uint8((1 << width % 8) - 1)
    padded = np.zeros((len(octets), words_across(width) * 8), np.uint8)
    padded[:, : octets.shape[1]] = octets
    return padded.view("<u8").astype(np.uint64, copy=False)


def words_across(width: int) -> int:
    """How many words hold a row."""
    return (width + 63) // 64


def half_widths(tolerance: int) -> list[int]:
    """Of the disc of radius `tolerance`, for each row 0..tolerance off its centre, how far it reaches to either side."""
    return [next(dx for dx in range(tolerance, -1, -1) if dx * dx + dy * dy <= tolerance * tolerance) for dy in range(tolerance + 1)]


def values_error(scanlines: Scanlines) -> ValuesError:
    """The error for a prediction with other values than 0 and one of 1 and 255."""
    found = [str(value) for value in np.unique(values_of(scanlines))]
    shown = [*found[:8], f"{len(found) - 8} others"] if len(found) > 9 else found
    text = ", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else shown[0]
    bits = f" of {scanlines.depth} bits, as stored" if scanlines.depth in (2, 4) else ""
    return ValuesError(f"value{'s' if len(found) > 1 else ''} {text}{bits}; a mask holds 0 and one of 1 and 255")


def check_tolerance(tolerance: int) -> None:
    """Refuse a tolerance that is none.

    Raises:
        ValueError: it is negative.
    """
    if tolerance < 0:
        raise ValueError(f"a tolerance of {tolerance} pixels: expected 0 or more")
