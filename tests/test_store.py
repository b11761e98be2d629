"""Predictions on disk: the same masks give the same bytes, and no zip or folder, however hostile, gets further than a report."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from conftest import Said
from hypothesis import given, settings
from hypothesis import strategies as st

from icvos.benchmark import Benchmark
from icvos.errors import DataError, UserInputError
from icvos.png import decode_png, encode_png
from icvos.results import Timing
from icvos.store import MAX_MASK_BYTES, Prediction, PredictionStore, RunKey
from icvos.types import Mask

Command = Callable[..., Said]
KEY = RunKey("toy@1", "0" * 64, "mine", "1", "sha256 0")
EPISODE = "davis/rex/dog#s0"


def new_store(root: Path) -> PredictionStore:
    return PredictionStore.create(root, KEY, {"name": "mine"}, root / "R")


def write(store: PredictionStore, episode_id: str, masks: Sequence[Mask]) -> bytes:
    with store.writer(episode_id) as add:
        for number, mask in enumerate(masks):
            add(f"{number:05d}", encode_png(mask))
    return store.path(episode_id).read_bytes()


def read(prediction: Prediction | None) -> dict[str, bytes]:
    assert prediction is not None
    try:
        return {frame: prediction.read(frame) for frame in prediction.frame_ids}
    finally:
        prediction.close()


def some_masks(count: int = 6, size: tuple[int, int] = (24, 40)) -> list[Mask]:
    return [np.random.default_rng(number).random(size) > 0.7 for number in range(count)]


def test_the_same_masks_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(new_store(tmp_path / name), EPISODE, some_masks()) for name in ("a", "b"))
    assert first == second
    with zipfile.ZipFile(tmp_path / "a/predictions" / f"{EPISODE}.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{number:05d}.png" for number in range(6)]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_masks_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, count: int, seed: int, part: float
) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((height, width)) < part for _ in range(count)]
    store = new_store(tmp_path_factory.mktemp("store") / "run")
    write(store, EPISODE, masks)
    found = read(PredictionStore.open(store.root).find(EPISODE))
    assert sorted(found) == [f"{number:05d}" for number in range(count)]
    for name, mask in zip(sorted(found), masks, strict=True):
        assert np.array_equal(decode_png(found[name]), mask)


def test_a_folder_of_masks_reads_as_the_zip_does(tmp_path: Path) -> None:
    store = new_store(tmp_path / "run")
    write(store, EPISODE, some_masks())
    with zipfile.ZipFile(store.path(EPISODE)) as archive:
        archive.extractall(tmp_path / "plain" / EPISODE)
    plain = PredictionStore.open(tmp_path / "plain")
    assert plain.key is None and plain.episode_ids() == store.episode_ids() == {EPISODE}
    assert read(plain.find(EPISODE)) == read(store.find(EPISODE))
    assert plain.find("davis/rex/dog#s1") is None


def test_nothing_appears_when_the_writer_fails(tmp_path: Path) -> None:
    store = new_store(tmp_path / "run")
    with pytest.raises(ValueError, match="shape"), store.writer(EPISODE) as add:
        add("00000", encode_png(some_masks()[0]))
        add("00001", encode_png(np.zeros((0, 4), bool)))
    assert store.missing([EPISODE]) == [EPISODE]
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == ["run.json"]


def test_sweep_takes_what_killed_runs_left_of_these_episodes_and_nothing_else(tmp_path: Path) -> None:
    store = new_store(tmp_path / "run")
    folder = store.path(EPISODE).parent
    write(store, EPISODE, some_masks())
    store.write_timing(EPISODE, Timing(6, 1.5, 1000))
    for name in ("dog#s1.zip", "dog#s2.zip"):
        (folder / f".{name}.0123abcd.partial").write_bytes(b"half")
    (tmp_path / "run/timing/davis/rex/.dog#s1.json.77.partial").write_bytes(b"half")
    store.sweep([EPISODE, "davis/rex/dog#s1"])
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {"run.json", "dog#s0.zip", "dog#s0.json", ".dog#s2.zip.0123abcd.partial"}
    assert store.episode_ids() == {EPISODE}  # a file that is half written is nobody's prediction
    assert list(store.timings()) == [Timing(6, 1.5, 1000)]


def test_a_store_knows_its_key_again(tmp_path: Path) -> None:
    new_store(tmp_path / "run")
    opened = PredictionStore.open(tmp_path / "run")
    assert opened.key == KEY and opened.about["key"] == asdict(KEY)
    assert new_store(tmp_path / "run").key == KEY
    write(new_store(tmp_path / "run"), EPISODE, some_masks())
    with pytest.raises(UserInputError, match="`code` differs"):
        PredictionStore.create(tmp_path / "run", RunKey("toy@1", "0" * 64, "mine", "1", "sha256 1"), {}, tmp_path)
    with pytest.raises(UserInputError, match="no such folder"):
        PredictionStore.open(tmp_path / "nowhere")


# Hostile and broken


def broken_zips() -> dict[str, bytes]:
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("00000.png", encode_png(some_masks(1)[0]))
    whole = buffer.getvalue()
    return {"empty": b"", "text": b"not a zip at all", "cut": whole[: len(whole) // 2], "no end": whole[:-10]}


@pytest.mark.parametrize("kind", broken_zips())
def test_a_broken_zip_is_a_named_error(tmp_path: Path, kind: str) -> None:
    store = new_store(tmp_path / "run")
    store.path(EPISODE).parent.mkdir(parents=True)
    store.path(EPISODE).write_bytes(broken_zips()[kind])
    with pytest.raises(DataError) as caught:
        store.find(EPISODE)
    assert str(store.path(EPISODE)) in str(caught.value) and "remove the file and run again" in str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_damage_to_a_zip_gets_out_as_another_error(tmp_path: Path, method: int) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, mask in enumerate(some_masks(2)):
            archive.writestr(f"{number:05d}.png", encode_png(mask))
    whole, rng, faults = path.read_bytes(), random.Random(7), 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            start = rng.choice((0, max(0, len(data) - 160)))  # the headers at both ends matter most
            data[rng.randrange(start, len(data))] = rng.randrange(256)
        path.write_bytes(data if rng.random() < 0.9 else data[: rng.randrange(len(data))])
        try:
            prediction = Prediction(path)
        except DataError:
            faults += 1
            continue
        for frame in prediction.frame_ids:
            try:
                prediction.read(frame)
            except ValueError:
                faults += 1
        prediction.close()
    assert faults > 500


def test_a_declared_giant_and_strange_packings_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000.png", encode_png(some_masks(1)[0]))
        archive.writestr("00001.png", b"x" * 1000, zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", MAX_MASK_BYTES + 1)
    path.write_bytes(data)
    prediction = Prediction(path)
    with pytest.raises(ValueError, match="past 64 MB"):
        prediction.read("00000")
    with pytest.raises(ValueError, match="neither by store nor by deflate"):
        prediction.read("00001")
    prediction.close()
    (tmp_path / EPISODE).mkdir(parents=True)
    with (tmp_path / EPISODE / "00000.png").open("wb") as stream:
        stream.truncate(MAX_MASK_BYTES + 1)
    with pytest.raises(ValueError, match="past 64 MB"):
        Prediction(tmp_path / EPISODE).read("00000")


def test_entries_that_climb_out_are_reported_and_written_nowhere(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    masks = tmp_path / "deep/masks"
    good = encode_png(np.ones((24, 40), bool))
    for episode in Benchmark.open(toy_release).episodes:
        path = masks / f"{episode.id}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for frame in episode.tube.clip.frames:
                archive.writestr(f"{frame.id}.png", good)
    bad = masks / "davis/rex/dog#s3.zip"
    climbing = ["../x.png", "/x.png", "..\\x.png", "sub/00000.png", "x.png", "readme.txt"]
    with zipfile.ZipFile(bad, "a") as archive:
        for name in climbing:
            archive.writestr(name, good)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("00002.png", good)
    before = sorted(tmp_path.rglob("*"))
    said = icvos("score", masks, "--benchmark", toy_release, "--out", tmp_path / "out")
    assert said.code == 4 and sorted(tmp_path.rglob("*")) == before
    findings = [line for line in said.err.splitlines() if line.startswith("  extra-")]
    assert len(findings) == len(climbing) + 1 and all(str(bad) in line for line in findings)
    assert all(any(name in line for line in findings) for name in [*climbing, "00002.png (a second one)"])


def test_strangers_in_a_folder_of_masks_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / EPISODE
    folder.mkdir(parents=True)
    for name in ("00000.png", "00001.PNG", ".DS_Store", "notes.txt"):
        (folder / name).write_bytes(b"")
    (folder / "00002.png").mkdir()
    prediction = Prediction(folder)
    assert prediction.frame_ids == {"00000", "00002"} and prediction.strangers == ["00001.PNG", "notes.txt"]
    with pytest.raises(ValueError, match="directory"):
        prediction.read("00002")
