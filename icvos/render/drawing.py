"""What all small pictures beside a page share: how they are made smaller and marked, what they are named, which are removed."""

from __future__ import annotations

import re
from collections.abc import Container
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from icvos.files import write_bytes
from icvos.masks import resize_nearest
from icvos.types import Image, Mask, Size

TRUTH, PREDICTION = (230, 159, 0), (86, 180, 233)  # Okabe and Ito's orange and sky blue
_OURS = re.compile(r"(frames|support|truth|mask|answer)-[0-9a-f]{16}\.(jpg|png)")


def small(picture: Image, size: Size) -> Image:
    """A picture, (H, W, 3), at another size."""
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def small_mask(mask: Mask | None, size: Size) -> Mask:
    """A mask made smaller: where it covers half of a pixel; where it covers half of none, the pixels that it covers most."""
    if mask is None or not mask.any():
        return np.zeros(size, np.bool_)
    if mask.shape[0] < size[0] or mask.shape[1] < size[1]:
        return resize_nearest(mask, size)
    covered = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(covered >= min(0.5, float(covered.max())))


def tint(picture: Image, mask: Mask, colour: tuple[int, int, int], strength: float = 0.55) -> None:
    """Colour the mask's pixels of a picture of its size, in place."""
    picture[mask] = ((1 - strength) * picture[mask] + strength * np.array(colour)).astype(np.uint8)


def outlined(picture: Image, mask: Mask) -> Image:
    """A copy with a mask of its size in the colour of the truth, outlined in white on black, which shows on any ground."""
    marked = picture.copy()
    tint(marked, mask, TRUTH)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.drawContours(marked, contours, -1, colour, thickness)
    return marked


def jpeg(pixels: Image) -> bytes:
    """A picture as a small JPEG."""
    stream = BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=80, optimize=True)
    return stream.getvalue()


def written(folder: Path, kind: str, data: bytes) -> str:
    """Write a JPEG or a PNG under the name of its kind and content, so that what is alike is one file; gives the name."""
    ending = "png" if data.startswith(b"\x89PNG") else "jpg"
    name = f"{kind}-{sha256(data).hexdigest()[:16]}.{ending}"
    write_bytes(folder / name, data)
    return name


def remove_others(folder: Path, kept: Container[str]) -> None:
    """Remove what an earlier page wrote into its folder, but for these names; other people's files stay."""
    for path in folder.glob("*-*.*"):
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()
