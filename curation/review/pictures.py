"""The pictures of the review page: drawn when they are first asked for, and kept in a folder beside the candidates."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from curation.candidates import CandidateSet, CandidateTube
from curation.overlay import contact_sheet, first_frame, review_frames
from curation.review_clips import encode_gif, encode_jpeg, encode_mp4
from icvos.files import sha256_text, write_bytes
from icvos.types import Tube

CACHE = "review-cache"
_DRAWN_AS = "1"  # another number when pictures come to look otherwise, so that kept ones are drawn anew


def _clip(tube: Tube) -> bytes:
    return (encode_mp4 if clip_type() == "mp4" else encode_gif)(review_frames(tube))


# What can be asked for of a tube, by name.
KINDS: dict[str, Callable[[Tube], bytes]] = {
    "clip": _clip,
    "first": lambda tube: encode_jpeg(first_frame(tube)),
    "plain": lambda tube: encode_jpeg(first_frame(tube, masked=False)),
    "sheet": lambda tube: encode_jpeg(contact_sheet(tube)),
}


def clip_type() -> str:
    """``mp4``, or ``gif`` where PyAV is not installed."""
    return "mp4" if find_spec("av") else "gif"


class Pictures:
    """Draws and keeps; safe to be asked from several threads."""

    def __init__(self, candidates: CandidateSet) -> None:
        self.candidates = candidates
        self._locks: dict[Path, threading.Lock] = {}
        self._changing = threading.Lock()
        self._drawing = threading.Semaphore(2)  # what is looked at, beside one that is drawn ahead

    def path(self, place: int, kind: str) -> Path:
        """The file of a picture of the tube at `place` in the set; it is drawn first unless it is there.

        Raises:
            DataError: the clip cannot be read.
            UserInputError: nobody said where its source lies, or the folder cannot be written.
        """
        tube = self.candidates.tubes[place]
        path = self.candidates.path / CACHE / file_name(tube, kind)
        with self._changing:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:  # nobody draws what another is drawing
            if not path.is_file():
                with self._drawing:
                    write_bytes(path, KINDS[kind](tube.tube(self.candidates.root(tube.source))))
        return path


def file_name(tube: CandidateTube, kind: str) -> str:
    """A name that changes with all that the picture shows."""
    shown = sha256_text("|".join([_DRAWN_AS, tube.id, tube.content, str(tube.class_id), str(tube.objects)]))[:20]
    return f"{shown}-{kind}.{clip_type() if kind == 'clip' else 'jpg'}"
