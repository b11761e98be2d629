"""What frozen networks say of pictures, remembered as far as there is room, so that a picture is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

GIBIBYTE = 1 << 30


class Maps(Protocol):
    """What networks say of a picture."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Every map."""
        ...

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Every map changed."""
        ...


Kept = TypeVar("Kept", bound=Maps)


class Memory(Generic[Kept]):
    """Maps by what they are of, in half precision."""

    def __init__(self, gibibytes: float) -> None:
        """With 0 nothing is remembered, nor rounded: do not ask it then (it is false)."""
        self._room, self._known = int(gibibytes * GIBIBYTE), dict[Hashable, Kept]()
        self._remembers = self._room > 0

    def __bool__(self) -> bool:
        return self._remembers

    def __call__(self, key: Hashable, look: Callable[[], Kept]) -> Kept:
        """From memory, or looked at now; rounded either way, so that what is remembered makes no difference."""
        seen = self._known.get(key)
        if seen is None:
            seen = look().mapped(lambda maps: maps.to(torch.float16))
            size = sum(part.numel() * 2 for part in seen.parts)
            if self._room >= size:
                self._room -= size
                self._known[key] = seen
        return seen.mapped(lambda maps: maps.float())
