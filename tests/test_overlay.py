"""What reviewers look at: every object's colour and id where it is, however small; clips as files; the same bytes on any machine."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import box, make_davis, moving_box, write_ids

import curation.overlay
from curation.overlay import COLOURS, MOST_FRAMES, contact_sheet, first_frame, review_frames
from curation.review.pictures import KINDS, clip_type
from curation.review_clips import encode_gif, encode_jpeg, encode_mp4
from curation.sources.davis import Davis2017
from icvos.categories import BY_NAME
from icvos.errors import DataError, UserInputError
from icvos.types import Clip, Frame, Tube

SIZE = (480, 854)


def tube_of(folder: Path, masks: list[np.ndarray], objects: tuple[int, ...] = (1,), name: str = "rex") -> Tube:
    davis = make_davis(folder, {name: (dict.fromkeys(objects, "dog"), masks)})
    return Tube(next(iter(Davis2017(davis).clips())), BY_NAME["dog"], objects)


@pytest.fixture(scope="module")
def two_dogs(tmp_path_factory: pytest.TempPathFactory) -> Tube:
    """Eight frames of 480 x 854: dog 4 moves, dog 9 is two pixels large, a cat (2) is not of the tube."""
    masks = [box(100, 100 + 20 * place, 160, 200, 4, SIZE) for place in range(8)]
    for mask in masks:
        mask[400:402, 700:702] = 9
        mask[300:400, 600:650] = 2
    return tube_of(tmp_path_factory.mktemp("dogs"), masks, (4, 9))


def picture_of(drawn: np.ndarray, height: int = 240) -> np.ndarray:
    """A drawn frame without the line above it."""
    return drawn[len(drawn) - height :]


def coloured(drawn: np.ndarray, rank: int) -> np.ndarray:
    """Where a frame has exactly the colour of the object at this place."""
    return (drawn == COLOURS[rank]).all(axis=-1)


def test_objects_are_outlined_and_filled_and_nothing_else_is_changed(two_dogs: Tube) -> None:
    with_masks, without = first_frame(two_dogs), first_frame(two_dogs, masked=False)
    assert with_masks.shape == without.shape == (500, 854, 3)
    changed = (picture_of(with_masks, 480) != picture_of(without, 480)).any(axis=-1)
    dog = np.zeros(SIZE, np.bool_)
    dog[100:260, 100:300] = True
    assert changed[dog].all()
    assert not changed[300:400, 600:650].any()  # the cat
    assert changed.sum() < dog.sum() + 600  # no more than the small dog and its plate
    edge = coloured(picture_of(with_masks, 480), 0)
    assert edge[100, 100:300].all()
    assert edge[100:260, 299].all()
    inside = picture_of(with_masks, 480)[110:120, 110:120].astype(float)
    under = picture_of(without, 480)[110:120, 110:120]
    assert np.abs(inside - (0.55 * under + 0.45 * COLOURS[0])).max() < 2


def test_an_object_of_two_pixels_is_seen_at_half_the_size(two_dogs: Tube) -> None:
    for drawn in review_frames(two_dogs):
        assert coloured(picture_of(drawn), 1)[190:211, 340:361].any()


def test_every_frame_has_even_sides_and_says_another_number(two_dogs: Tube) -> None:
    frames = list(review_frames(two_dogs))
    assert len(frames) == 8
    assert {frame.shape for frame in frames} == {(258, 428, 3)}
    lines = [frame[:18] for frame in frames]
    assert len({line.tobytes() for line in lines}) == 8
    assert len({line[:, :150].tobytes() for line in lines}) == 1  # class and clip


def test_a_long_tube_shows_every_nth_frame(two_dogs: Tube) -> None:
    every = list(review_frames(two_dogs))
    third = list(review_frames(two_dogs, most=3))
    assert [frame.tobytes() for frame in third] == [every[place].tobytes() for place in (0, 3, 6)]
    assert len(every) <= MOST_FRAMES


@pytest.mark.parametrize("cores", [1, 3])
def test_the_number_of_cores_changes_nothing(two_dogs: Tube, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame.tobytes() for frame in review_frames(two_dogs)]
    monkeypatch.setattr(curation.overlay, "core_count", lambda: cores)
    assert [frame.tobytes() for frame in review_frames(two_dogs)] == frames


def test_a_sheet_has_the_first_and_the_last_frame(two_dogs: Tube) -> None:
    frames, sheet = list(review_frames(two_dogs)), contact_sheet(two_dogs, columns=3, rows=2)
    assert sheet.shape == (2 * 258, 3 * 428, 3)
    assert (sheet[:258, :428] == frames[0]).all()
    assert (sheet[258:, 2 * 428 :] == frames[-1]).all()
    assert contact_sheet(two_dogs, columns=5, rows=2).shape == (2 * 258, 5 * 428, 3)  # eight frames, two places left black


def test_frames_without_a_mask_say_so_and_small_clips_are_made_larger(tmp_path: Path) -> None:
    tube = tube_of(tmp_path, moving_box(3))
    bare = Clip(tube.clip.source, tube.clip.name, tube.clip.size, tuple(Frame(f.id, f.image, None) for f in tube.clip.frames))
    drawn, plain = first_frame(tube), first_frame(Tube(bare, tube.category, tube.instances))
    assert drawn.shape == plain.shape == (258, 400, 3)
    assert coloured(picture_of(drawn), 0).any()
    assert not coloured(picture_of(plain), 0).any()
    assert (drawn[:18] != plain[:18]).any()


def test_binary_masks_of_either_value_are_one_object(tmp_path: Path) -> None:
    tube = tube_of(tmp_path, moving_box(2))
    drawn = []
    for value in (1, 255):
        for frame in tube.clip.frames:
            write_ids(frame.mask, box(5, 2, 10, 12, value), "L")
        clip = Clip("davis2016", tube.clip.name, tube.clip.size, tube.clip.frames, "binary")
        drawn.append(first_frame(Tube(clip, tube.category, (1,))))
    assert coloured(picture_of(drawn[0]), 0).any()
    assert (drawn[0] == drawn[1]).all()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    tube = tube_of(tmp_path, moving_box(2))
    write_ids(tube.clip.frames[1].mask, box(1, 1, 2, 2, size=(10, 10)))
    with pytest.raises(DataError, match="another size"):
        list(review_frames(tube))


# Clips as files


def palettes_of(data: bytes) -> set[bytes]:
    """All palettes of a GIF, its own and those that its pictures bring along, by its blocks."""
    at = 13 + (3 << (data[10] & 7) + 1)
    found = {data[13:at]}
    while data[at] != 0x3B:
        if data[at] == 0x21:
            at += 2
        else:
            flags, at = data[at + 9], at + 10
            if flags & 0x80:
                found.add(data[at : at + (3 << (flags & 7) + 1)])
                at += 3 << (flags & 7) + 1
            at += 1
        while data[at]:  # its data, in parts
            at += 1 + data[at]
        at += 1
    return found


def test_a_gif_has_every_frame_one_palette_and_no_end(two_dogs: Tube) -> None:
    frames = list(review_frames(two_dogs))
    data = encode_gif(frames, 10)
    assert data == encode_gif(frames, 10)
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in data  # for ever
    with Image.open(BytesIO(data)) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (8, (428, 258), 100)
        for place in range(gif.n_frames):
            gif.seek(place)
            shown = np.asarray(gif.convert("RGB"))
            assert coloured(shown, 0).sum() > 300  # the objects' own colours are exact
            assert np.abs(shown.astype(int) - frames[place]).mean() < 20  # the toy pictures have every colour there is
    assert len(palettes_of(data)) == 1


def test_an_mp4_has_every_frame_close_to_what_was_drawn(two_dogs: Tube) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'icvos[video]'")
    frames = list(review_frames(two_dogs))
    data = encode_mp4(frames)
    assert data == encode_mp4(iter(frames))
    with av.open(BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 24)
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 8
    assert max(np.abs(one.astype(int) - other).mean() for one, other in zip(shown, frames, strict=True)) < 15


def test_without_pyav_there_are_gifs_and_an_mp4_says_what_is_missing(two_dogs: Tube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserInputError, match=r"pip install 'icvos\[video\]'"):
        encode_mp4(review_frames(two_dogs))
    assert clip_type() == "gif"
    assert KINDS["clip"](two_dogs).startswith(b"GIF89a")


def test_a_picture_is_a_jpeg_of_its_size(two_dogs: Tube) -> None:
    with Image.open(BytesIO(encode_jpeg(first_frame(two_dogs)))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (854, 500))
