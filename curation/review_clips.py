"""Review clips as files: MP4 where PyAV is installed, GIF everywhere, JPEG for single pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import chain

import numpy as np
from PIL import Image as PillowImage

from curation.overlay import COLOURS
from icvos.errors import missing_package
from icvos.types import Image

RATE = 24  # frames a second
_GIF_COLOURS = 128
_QUALITY = "28"  # x264's constant rate factor: masks and letters stay sharp at a third of a megabyte for 100 frames


def encode_mp4(frames: Iterable[Image], rate: int = RATE) -> bytes:
    """Frames, each (h, w, 3) RGB uint8 with h and w even, as H.264 in MP4; the same frames give the same bytes.

    Raises:
        UserInputError: PyAV is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise missing_package("a review clip as MP4", error, "video") from error
    rest = iter(frames)
    first = next(rest)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # One thread: with another number of them the encoder would choose otherwise.
        stream = container.add_stream("libx264", rate=rate, options={"preset": "superfast", "crf": _QUALITY, "threads": "1"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in chain((first,), rest):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def encode_gif(frames: Iterable[Image], rate: int = RATE) -> bytes:
    """Frames, each (h, w, 3) RGB uint8, as an endless GIF with one palette for all: a palette a frame would take the most time.

    The fixed colours of the objects are in the palette; GIF's clock ticks in hundredths of a second.
    """
    pictures = list(frames)
    palette = _palette(pictures)
    first, *rest = (PillowImage.fromarray(picture).quantize(palette=palette, dither=PillowImage.Dither.NONE) for picture in pictures)
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=10 * round(100 / rate), loop=0, optimize=False)
    return file.getvalue()


def _palette(pictures: Sequence[Image]) -> PillowImage.Image:
    """A palette for all of a clip, found on every fourth pixel of six of its frames; the objects' own colours stand at its end."""
    own = [*COLOURS.reshape(-1).tolist(), *(0, 0, 0), *(255, 255, 255)]
    seen = np.concatenate([picture[::4, ::4] for picture in pictures[:: -(-len(pictures) // 6)]])
    found = PillowImage.fromarray(seen).quantize(_GIF_COLOURS - len(own) // 3, method=PillowImage.Quantize.MEDIANCUT)
    palette = PillowImage.new("P", (1, 1))
    palette.putpalette([*(found.getpalette() or []), *own])
    return palette


def encode_jpeg(picture: Image) -> bytes:
    """One picture, (h, w, 3) RGB uint8, as a JPEG."""
    file = BytesIO()
    PillowImage.fromarray(picture).save(file, "JPEG", quality=85)
    return file.getvalue()
