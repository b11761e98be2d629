"""Pictures of runs: a support, then frames with the true outline and a prediction, one row a class, or one a method.

    icvos demo && python docs/picture.py icvos-demo/ic-vos icvos-demo/runs docs/picture.jpg
    python docs/picture.py R runs grid.jpg --methods identity naive-sam2 oracle-first-frame --clips dog cows

The first makes the README's picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from icvos.benchmark import Benchmark
from icvos.masks import read_tube_mask
from icvos.png import decode_png
from icvos.store import PredictionStore
from icvos.types import Episode, Image, Mask

ROWS = 4
COLUMNS = 4
TILE = (150, 267)  # height, width
GAP = 6
FILL = np.array([255, 140, 0])
LINE = (255, 255, 255)


def tile(image: Image, fill: Mask, outline: Mask | None = None, text: str = "") -> Image:
    """A picture with a filled mask and an outlined one, cut to the size of a tile, and a word in its corner."""
    mixed = image.copy()
    mixed[fill] = (0.45 * image[fill] + 0.55 * FILL).astype(np.uint8)
    if outline is not None:
        contours, _ = cv2.findContours(outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mixed, contours, -1, LINE, 2, cv2.LINE_AA)
    scale = max(TILE[0] / image.shape[0], TILE[1] / image.shape[1])
    large = cv2.resize(mixed, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - TILE[0]) // 2, (large.shape[1] - TILE[1]) // 2
    cut = np.ascontiguousarray(large[top : top + TILE[0], left : left + TILE[1]])
    picture = PillowImage.fromarray(cut)
    ImageDraw.Draw(picture).text((7, 5), text, fill=LINE, stroke_fill=(0, 0, 0), stroke_width=2, font_size=13)
    return np.asarray(picture)


def row(episode: Episode, store: PredictionStore, name: str) -> NDArray[np.uint8]:
    """A support and some frames of its clip."""
    support, clip = episode.supports[0], episode.tube.clip
    tiles = [tile(support.read_image(), support.read_mask(), text=f"{name}: {episode.tube.category.name}")]
    prediction = store.find(episode.id)
    for number in np.linspace(0, len(clip.frames) - 1, COLUMNS).round().astype(int):
        frame = clip.frames[number]
        predicted = decode_png(prediction.read(frame.id)).astype(np.bool_)
        tiles.append(tile(frame.read_image(), predicted, read_tube_mask(episode.tube, frame), f"{clip.name}  {frame.id}"))
    prediction.close()
    gap = np.full((TILE[0], GAP, 3), 255, np.uint8)
    return np.concatenate([piece for picture in tiles for piece in (picture, gap)][:-1], axis=1)


def one_a_class(episodes: list[Episode]) -> list[Episode]:
    """The first episode of each class, as many as fit."""
    classes = {episode.tube.category.name: episode for episode in reversed(episodes)}
    return [episode for _, episode in sorted(classes.items())][:ROWS]


def main() -> None:
    """First draws only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="+", default=["oracle-first-frame"])
    parser.add_argument("--clips", nargs="+", help="by default one a class")
    given = parser.parse_args()
    firsts = [episode for episode in Benchmark.open(given.release).episodes if episode.draw == "s0"]
    chosen = [episode for episode in firsts if episode.tube.clip.name in given.clips] if given.clips else one_a_class(firsts)
    stores = {name: PredictionStore.open(given.runs / name) for name in given.methods}
    names = {name: name if len(stores) > 1 else "support" for name in stores}
    rows = [row(episode, store, names[name]) for episode in chosen for name, store in stores.items()]
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    sheet = np.concatenate([piece for picture in rows for piece in (picture, gap)][:-1], axis=0)
    cv2.imwrite(str(given.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
