"""Episodes as batches: what a training step, or an evaluation on single images, looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.common.annotations import Annotation, annotated
from baselines.common.fitting import Fit, fitted_mask
from baselines.common.windows import SupportView, Window, seen_through, support_window
from icvos.training.class_pictures import ClassPictures
from icvos.training.episodes import Draw, draw_episode, episode_rng
from icvos.types import Image, Mask


class Shown(NamedTuple):
    """A picture of a data set, mirrored or not, and which part of it."""

    picture: int
    mirrored: bool
    window: Window | None = None  # of the picture as it is shown


class EpisodeBatch(NamedTuple):
    """B episodes with K supports each; pictures by number, read by whoever has not seen them yet."""

    categories: list[int]  # B
    queries: list[Shown]  # B
    supports: list[Shown]  # B * K, the K of one episode together
    truth: NDArray[np.uint8]  # (B, S, S) of 0 and 1
    masks: NDArray[np.uint8]  # (B, K, S, S) of 0 and 1, as annotated


@dataclass(frozen=True, slots=True)
class EpisodeBatches:
    """Makes the batch of any step; the same for the same step, whoever makes it."""

    data: ClassPictures
    categories: tuple[int, ...]
    shots: int
    side: int  # S, pixels of masks
    seed: int
    mirror: bool = False  # half of the pictures
    annotation: Annotation = "mask"
    balance: float = 0.0  # see draw_episode
    view: SupportView = "picture"  # see support_window
    fit: Fit = "square"  # see `baselines.common.fitting`; where a query's square has no picture, its truth is 255

    def __call__(self, step: int, items: Sequence[int]) -> EpisodeBatch:
        """The episodes `items` of a step."""
        categories, queries, supports, truth, masks = [], [], [], [], []
        for item in items:
            rng = episode_rng(self.seed, step, item)
            draw = draw_episode(self.data, self.categories, self.shots, rng, self.balance)
            shown = [Shown(picture, self.mirror and bool(rng.random() < 0.5)) for picture in (draw.query, *draw.supports)]
            true, *others = (self._mask(part, draw) for part in shown)
            marked = [annotated(mask, self.annotation, rng) for mask in others]
            windows = [support_window(mask, self.view) for mask in marked]
            categories.append(draw.category)
            queries.append(shown[0])
            supports += [part._replace(window=window) for part, window in zip(shown[1:], windows, strict=True)]
            truth.append(fitted_mask(true, self.side, self.fit, outside=255))
            masks.append(np.stack([fitted_mask(mask, self.side, self.fit) for mask in map(seen_through, marked, windows)]))
        return EpisodeBatch(categories, queries, supports, np.stack(truth), np.stack(masks))

    def _mask(self, shown: Shown, draw: Draw) -> Mask:
        mask = self.data.mask(shown.picture, draw.category)
        return np.ascontiguousarray(mask[:, ::-1]) if shown.mirrored else mask

    def image(self, shown: Shown) -> Image:
        """A picture as it is shown."""
        image = self.data.image(shown.picture)
        image = np.ascontiguousarray(image[:, ::-1]) if shown.mirrored else image
        return seen_through(image, shown.window)


class Tube(Protocol):
    """A short clip made of a picture."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) RGB."""
        ...

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(T, H, W)."""
        ...


class TubeBatch(NamedTuple):
    """B episodes whose queries are tubes of T frames, with K supports each."""

    frames: NDArray[np.uint8]  # (B, T, S, S, 3)
    supports: list[Shown]  # B * K
    truth: NDArray[np.uint8]  # (B, T, S, S) of 0 and 1
    masks: NDArray[np.uint8]  # (B, K, S, S) of 0 and 1


@dataclass(frozen=True, slots=True)
class TubeBatches:
    """Makes the batch of tubes of any step out of episodes of single images."""

    episodes: EpisodeBatches
    make: Callable[[Image, Mask, np.random.Generator], Tube]

    def __call__(self, step: int, items: Sequence[int]) -> TubeBatch:
        """The episodes `items` of a step."""
        stills, side = self.episodes(step, items), self.episodes.side
        tubes = []
        for item, shown, truth in zip(items, stills.queries, stills.truth, strict=True):
            image = np.asarray(cv2.resize(self.episodes.image(shown), (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            tubes.append(self.make(image, truth > 0, episode_rng(self.episodes.seed + 1, step, item)))
        frames, truths = np.stack([tube.images for tube in tubes]), np.stack([tube.masks for tube in tubes])
        return TubeBatch(frames, stills.supports, truths.astype(np.uint8), stills.masks)
