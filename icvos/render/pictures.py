"""Small pictures of episodes for the board's viewer, in a folder beside the page.

An episode is three kinds of files: its clip's frames in one JPEG, one below the other; the truth and each method's masks as
PNGs of the same shape, one colour on nothing. The page shows one frame of the stack and lays the masks over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from icvos.errors import DataError
from icvos.files import map_files
from icvos.masks import read_image, read_tube_mask
from icvos.png import PngError, decode_png
from icvos.render.drawing import PREDICTION, TRUTH, jpeg, outlined, remove_others, small, small_mask, written
from icvos.store import PredictionStore
from icvos.types import Episode, Frame, Mask, Size, Support, Tube

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.board import Leaderboard, Row
    from icvos.entries import Entry

WIDTH = 320  # pixels of a frame
MOST_FRAMES = 24  # of an episode
_JPEG_SIDE = 65_500  # pixels that a JPEG may be high


@dataclass(frozen=True, slots=True)
class EpisodePictures:
    """One episode's files, all but the predictions, and what they show."""

    size: Size  # of a frame in the pictures
    frames: tuple[str, ...]  # ids of the frames shown, in order
    length: int  # frames of the whole clip
    clip: str
    truth: str
    support: str

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pictures:
    """All that was drawn: the folder's name beside the page, each episode's files, and signature -> episode -> file of masks."""

    folder: str
    episodes: dict[str, EpisodePictures]
    masks: dict[str, dict[str, str]]


def worst_episodes(boards: Iterable[Leaderboard], count: int) -> list[str]:
    """For each method the `count` episodes with the lowest J&F, at most one a tube, sorted; of all rows where there is no method."""
    chosen: set[str] = set()
    for board in boards:
        methods = [row for row in board.rows if row.kind == "method"]
        for row in methods or board.rows:
            chosen.update(_worst(row, count))
    return sorted(chosen)


def _worst(row: Row, count: int) -> list[str]:
    found = sorted(min((s.JF, f"{tube.id}#{draw}") for draw, s in tube.draws.items()) for tube in row.result.tubes if tube.draws)
    return [episode for _, episode in found[:count]]


def runs_behind(entries: Iterable[Entry], benchmark: Benchmark) -> dict[str, PredictionStore]:
    """Signature -> the run that a result lies in, of results on this release; results that lie in none are passed over."""
    found = {}
    for entry in entries:
        store = PredictionStore.behind(entry.path) if entry.path else None
        if store and entry.result.benchmark.get("digest") == benchmark.digest:
            found[entry.result.signature] = store
    return found


def draw_pictures(
    benchmark: Benchmark,
    episode_ids: Iterable[str],
    runs: Mapping[str, PredictionStore],
    folder: Path,
    *,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> Pictures:
    """Draw episodes into `folder`, clip by clip on all cores, each frame decoded once. The same inputs give the same bytes.

    Args:
        benchmark: the release; its sources are read.
        episode_ids: which episodes.
        runs: signature of a result -> the predictions behind it; episodes that one lacks are passed over.
        folder: where files go; those of an earlier page that are not drawn again are removed.
        on_event: called with the number of episodes drawn, as clips are done.

    Raises:
        DataError: a picture, mask or prediction cannot be read, or is not the one that the release names.
        UserInputError: it is not known where a source lies, or the folder cannot be written.
    """
    wanted = frozenset(episode_ids)
    clips: dict[str, list[Episode]] = {}
    for episode in benchmark.episodes:
        if episode.id in wanted:
            clips.setdefault(episode.tube.clip.key, []).append(episode)
    pictures = Pictures(folder.name, {}, {signature: {} for signature in runs})
    for drawn, masks in map_files(lambda episodes: _draw_clip(episodes, runs, folder), clips.values()):
        pictures.episodes.update(drawn)
        for signature, files in masks.items():
            pictures.masks[signature].update(files)
        on_event(len(drawn))
    _remove_others(folder, pictures)
    return pictures


def _draw_clip(
    episodes: Sequence[Episode], runs: Mapping[str, PredictionStore], folder: Path
) -> tuple[dict[str, EpisodePictures], dict[str, dict[str, str]]]:
    clip = episodes[0].tube.clip
    height = max(1, round(WIDTH * clip.size[0] / clip.size[1]))
    most = max(1, min(MOST_FRAMES, _JPEG_SIDE // height))
    frames = [clip.frames[place] for place in sorted({round(at) for at in np.linspace(0, len(clip.frames) - 1, most)})]
    size = (height, WIDTH)
    stack = np.concatenate([small(read_image(frame.image, frame.image_sha256, at_least=size), size) for frame in frames])
    shown = written(folder, "frames", jpeg(stack))
    tubes = {episode.tube.id: episode.tube for episode in episodes}
    truths = {name: written(folder, "truth", _stack(_truth(tube, frames), size, TRUTH)) for name, tube in tubes.items()}
    drawn, masks = {}, {}
    for episode in episodes:
        support = written(folder, "support", _support(episode.supports[0]))
        drawn[episode.id] = EpisodePictures(
            size, tuple(frame.id for frame in frames), len(clip.frames), shown, truths[episode.tube.id], support
        )
    for signature, store in runs.items():
        masks[signature] = {
            episode.id: written(folder, "mask", _stack(predicted, size, PREDICTION))
            for episode in episodes
            if (predicted := predicted_masks(store, episode, frames)) is not None
        }
    return drawn, masks


def _truth(tube: Tube, frames: Sequence[Frame]) -> list[Mask | None]:
    return [read_tube_mask(tube, frame) for frame in frames]


def predicted_masks(store: PredictionStore, episode: Episode, frames: Sequence[Frame]) -> list[Mask | None] | None:
    """The masks of these frames, (H, W) bool, None where one is missing; None instead of all where there is no prediction.

    Raises:
        DataError: a mask cannot be read.
    """
    prediction = store.find(episode.id)
    if prediction is None:
        return None
    with closing(prediction):
        masks: list[Mask | None] = []
        for frame in frames:
            try:
                masks.append(decode_png(prediction.read(frame.id)) > 0 if frame.id in prediction.frame_ids else None)
            except (PngError, ValueError) as error:
                where = f"{prediction.path}: {frame.id}.png"
                raise DataError("cannot read the prediction", where, str(error), "a whole PNG", "run the method again") from error
    return masks


def _stack(masks: Sequence[Mask | None], size: Size, colour: tuple[int, int, int]) -> bytes:
    """Masks one below the other as a PNG of one colour on nothing."""
    together = np.concatenate([small_mask(mask, size) for mask in masks])
    picture = PillowImage.fromarray(together.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, *colour])
    stream = BytesIO()
    picture.save(stream, "PNG", bits=1, transparency=0, optimize=True)
    return stream.getvalue()


def _support(support: Support) -> bytes:
    picture = support.read_image()
    size = (max(1, round(WIDTH * picture.shape[0] / picture.shape[1])), WIDTH)
    return jpeg(outlined(small(picture, size), small_mask(support.read_mask(), size)))


def _remove_others(folder: Path, pictures: Pictures) -> None:
    kept = {name for picture in pictures.episodes.values() for name in (picture.clip, picture.truth, picture.support)}
    kept.update(name for files in pictures.masks.values() for name in files.values())
    remove_others(folder, kept)
