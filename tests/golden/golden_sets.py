"""Golden sets: where they lie, what a set holds, and inputs that are rebuilt from the recipe and proved before anything is compared."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from golden_recipe import GOLDEN, SUMMARY, ellipses, feature_map, summary
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Draw: TypeAlias = Callable[[tuple[int, ...]], Array]  # an input of a shape, by the recipe
PROOF = 1e-9  # of a stored statistic's magnitude: draws are the same float32 values, their mean is summed in another order at most
GOLDEN_VARIABLE = "ICVOS_GOLDEN"


class GoldenError(AssertionError):
    """A set that cannot be judged: of an unknown class or argument, or with inputs that are not those of the recipe."""


@dataclass(frozen=True)
class GoldenSet:
    """One folder of ``methods/``."""

    folder: Path
    meta: Mapping[str, Any]
    stored: Mapping[str, Array]  # inputs as they are stored: whole, or what proves them
    outputs: Mapping[str, Array]
    asked: set[str] = field(default_factory=set)  # names of stored inputs that were used

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the official class."""
        return dict(self.meta.get("args", {}))

    @property
    def gain(self) -> float:
        """Of the recipe's weights, as meta.json says it first: "recipe v1 gain=1.4", "gain 4.0"."""
        return float(self.described("weights", r"gain\s*=?\s*(\d+(?:\.\d+)?)")[0])

    def described(self, field_: str, pattern: str) -> Sequence[str]:
        """The groups of a pattern in a text of meta.json.

        Raises:
            GoldenError: meta.json has no such text, or it says something else.
        """
        text = str(self.meta.get(field_))
        found = re.search(pattern, text)
        if found is None:
            raise GoldenError(f"{self.folder.name}: meta.json, {field_!r}: {text!r} does not say what is expected, {pattern}")
        return found.groups()

    def option(self, name: str, known: Sequence[Any] | None = None) -> Any:
        """An argument; `known` are the values for which our code has an answer.

        Raises:
            GoldenError: the set has no such argument, or another value.
        """
        if name not in self.options:
            raise GoldenError(f"{self.folder.name}: the argument {name!r} is missing from meta.json")
        value = self.options[name]
        if known is not None and value not in known:
            raise GoldenError(f"{self.folder.name}: argument {name} is {value!r}; known are {', '.join(map(repr, known))}")
        return value

    def only_options(self, *known: str) -> None:
        """Refuse arguments of which our code knows nothing.

        Raises:
            GoldenError: naming them.
        """
        if unknown := sorted(set(self.options) - set(known)):
            raise GoldenError(f"{self.folder.name}: unknown arguments in meta.json: {', '.join(unknown)}")

    def shape(self, name: str, lead: tuple[int, ...], side: int) -> tuple[int, ...]:
        """The shape of an input of square maps or masks (*lead, side, side).

        It is that of the stored or the described array; where only statistics are stored, their count tells the side; otherwise
        it is `side`.

        Raises:
            GoldenError: the count is not that of square maps, or the stored shape is another.
        """
        if name in self.stored:
            found = self.stored[name].shape
        elif name in self.meta.get("input_arrays", {}):
            found = tuple(self.meta["input_arrays"][name][0])
        elif f"{name}_stats" in self.stored:
            count = int(self.stored[f"{name}_stats"][0])
            edge = math.isqrt(count // math.prod(lead))
            if math.prod(lead) * edge * edge != count:
                raise GoldenError(f"{self.folder.name}: {name}_stats counts {count} values, which are no square maps {lead}")
            found = (*lead, edge, edge)
        else:
            found = (*lead, side, side)
        if found[: len(lead)] != lead or len(found) != len(lead) + 2:
            raise GoldenError(f"{self.folder.name}: input {name} has the shape {found}; expected {(*lead, 'h', 'w')}")
        return found

    def maps(self, name: str, lead: tuple[int, ...], side: int, *, relu: bool, block: int = 2) -> Array:
        """Feature maps (*lead, h, w), stored or drawn."""
        return self.input(name, self.shape(name, lead, side), lambda shape: feature_map(name, shape, relu=relu, block=block))

    def masks(self, name: str, lead: tuple[int, ...], side: int, drawn: str, *, ignore: bool) -> Array:
        """Masks (*lead, H, W) of 0, 1 and, with `ignore`, 255; drawn under the name `drawn`, all of `lead` in one draw."""

        def draw(shape: tuple[int, ...]) -> Array:
            return ellipses(drawn, math.prod(lead), *shape[-2:], ignore=ignore).reshape(shape).astype(np.uint8)

        return self.input(name, self.shape(name, lead, side), draw)

    def shot_masks(self, name: str, lead: tuple[int, int], side: int, *, ignore: bool) -> Array:
        """Masks (B, K, H, W), each shot drawn under its own name."""

        def draw(shape: tuple[int, ...]) -> Array:
            shots = [ellipses(f"{name}_{shot}", lead[0], *shape[-2:], ignore=ignore) for shot in range(lead[1])]
            return np.stack(shots, 1).astype(np.uint8)

        return self.input(name, self.shape(name, lead, side), draw)

    def input(self, name: str, shape: tuple[int, ...], draw: Draw | None = None) -> Array:
        """An input as it is stored, or drawn anew; it must have the statistics and counts that are stored of it.

        Raises:
            GoldenError: it is not stored and it is not known how it is drawn, or it is another than that of the recipe.
        """
        if name in self.stored:
            values = self.stored[name]
            values = values.astype(np.float32) if values.dtype == np.float16 else values
            self.asked.add(name)
        elif draw is not None:
            values = draw(shape)
        else:
            raise GoldenError(f"{self.folder.name}: input {name} is not stored, and it is not known how it is drawn")
        if values.shape != shape:
            raise GoldenError(f"{self.folder.name}: input {name} has the shape {values.shape}; expected {shape}")
        self.prove(name, values)
        return values

    def whole(self, name: str) -> Array:
        """An input that must be stored: it is not known how it is drawn.

        Raises:
            GoldenError: it is not stored.
        """
        return self.input(name, self.stored[name].shape if name in self.stored else ())

    def prove(self, name: str, values: Array) -> None:
        """Hold an input against all that is stored of it: `NAME_stats`, and `NAME_sum`, the count of ones of each mask.

        Raises:
            GoldenError: a statistic or a count is another.
        """
        for form, differ in (("stats", _other_statistics), ("sum", _other_counts)):
            proof = f"{name}_{form}"
            if proof in self.stored:
                self.asked.add(proof)
                if words := differ(values, self.stored[proof]):
                    raise GoldenError(f"{self.folder.name}: input {name} is not that of the recipe: {proof} {words}")

    def all_used(self) -> None:
        """Every stored input was asked for.

        Raises:
            GoldenError: naming those of which our code knows nothing.
        """
        if unknown := sorted(set(self.stored) - self.asked):
            raise GoldenError(f"{self.folder.name}: stored inputs that the code does not know: {', '.join(unknown)}")


def _other_statistics(values: Array, stored: Array) -> str:
    found = summary(values)
    if found.shape != stored.shape or found[0] != stored[0]:
        return f"counts {stored[0]:.0f} values, drawn are {values.size}"
    apart = np.abs(found[1:] - stored[1:])
    if not (apart <= PROOF * max(stored[3], 1e-300)).all():
        names = ["mean", "deviation", "largest magnitude", *(f"value {place}" for place in range(len(apart) - 3))]
        place = int(np.nanargmax(np.where(np.isnan(apart), np.inf, apart)))
        return f"says {names[place]} {stored[1 + place]:.9g}, drawn is {found[1 + place]:.9g}"
    return ""


def _other_counts(values: Array, stored: Array) -> str:
    axes = tuple(range(stored.ndim, values.ndim))
    found = (values == 1).sum(axes)
    if values.max(initial=0) > 1 and 255 not in values:  # labels of many classes: their sum
        found = values.astype(np.int64).sum(axes)
    return "" if np.array_equal(found, stored) else f"says {stored.tolist()}, drawn are {found.tolist()}"


def read_set(folder: Path) -> GoldenSet:
    """A folder's set.

    Raises:
        GoldenError: a file is missing.
    """
    for name in ("meta.json", "outputs.npz"):
        if not (folder / name).is_file():
            raise GoldenError(f"{folder}: no {name} in this golden set")
    stored: dict[str, Array] = {}
    if (folder / "inputs.npz").is_file():
        with np.load(folder / "inputs.npz") as file:
            stored = dict(file)
    with np.load(folder / "outputs.npz") as file:
        return GoldenSet(folder, json.loads((folder / "meta.json").read_text()), stored, dict(file))


def golden_folders(root: Path = GOLDEN) -> list[Path]:
    """Every folder under ``methods/`` of a root, sorted; whatever its name is.

    Raises:
        GoldenError: the root is named by ICVOS_GOLDEN and holds no set.
    """
    found = sorted(path for path in (root / "methods").glob("*") if path.is_dir())
    if not found and os.environ.get(GOLDEN_VARIABLE):
        raise GoldenError(f"{GOLDEN_VARIABLE}={root}: no golden sets in its folder methods/")
    return found


def tensors(values: Mapping[str, Array], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Arrays as tensors; floats in a precision."""
    given = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in given.items()}


def is_summary(stored: Array, values: Array) -> bool:
    """Is the stored array not the values, but count, mean, deviation, largest magnitude and first values of them?"""
    return stored.shape == (SUMMARY,) and stored.dtype == np.float64 and values.shape != stored.shape
