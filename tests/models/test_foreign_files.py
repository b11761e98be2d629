"""Checkpoints as others write them: told by what is in them, read where they hold data alone, otherwise said in one sentence."""

from __future__ import annotations

import argparse
import pickle
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from icvos.errors import DataError, UserInputError
from icvos.models.checkpoints import load_weights, put_into, read_state

STATE = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5)}
BESIDE: dict[str, dict[str, Any]] = {
    "values of numpy": {"best": np.float64(0.5), "epoch": np.int64(3), "flag": np.bool_(True), "curve": np.arange(3.0)},
    "options": {"args": argparse.Namespace(rate=0.1, out=Path("out"), sizes=[1, 2]), "more": types.SimpleNamespace(a=1)},
    "an optimiser": {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}, "scheduler": None},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", ["model", "state_dict", "net"])
@pytest.mark.parametrize("beside", BESIDE)
def test_plain_data_beside_the_tensors_does_no_harm(beside: str, key: str, zipped: bool, tmp_path: Path) -> None:
    torch.save({key: STATE, **BESIDE[beside]}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    state = read_state(tmp_path / "w.pt")
    assert state.keys() == STATE.keys() and all(torch.equal(state[name], value) for name, value in STATE.items())


def test_numpy_of_another_age_is_read(tmp_path: Path) -> None:
    """Files name functions of numpy by where these lay when the file was written."""
    torch.save({"model": STATE, "best": np.float64(0.5)}, tmp_path / "new.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "new.pt").read_bytes()
    assert b"numpy._core.multiarray" in data
    (tmp_path / "old.pt").write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_state(tmp_path / "old.pt").keys() == STATE.keys()


class Net(torch.nn.Module):
    """Somebody's network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)


class Settings:
    """Somebody's class."""


def zipped_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def tarred_file(path: Path) -> None:
    path.with_suffix(".txt").write_text("hello")
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_suffix(".txt"))


def array_file(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(2))


def arrays_file(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(2))


def half_a_file(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:300])


def bytes_of(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


SAVE = "torch.save(model.state_dict()"
FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a whole network": (lambda path: torch.save(Net(), path), "a whole network (test_foreign_files.Net)", SAVE),
    "a network of torch": (lambda path: torch.save(torch.nn.Linear(2, 2), path), "a whole network", SAVE),
    "a network beside": (lambda path: torch.save({"model": Net(), "epoch": 1}, path), "a whole network", SAVE),
    "a class": (lambda path: torch.save({"model": STATE, "s": Settings()}, path), "(test_foreign_files.Settings)", SAVE),
    "a pickle": (bytes_of(pickle.dumps({"a": 1}, protocol=4)), "no PyTorch file", "fetch"),
    "arrays": (arrays_file, "a NumPy archive", "save its arrays as tensors"),
    "an array": (array_file, "a NumPy array", "pass a file of weights"),
    "a zip": (zipped_file, "a zip that PyTorch did not write (readme.txt)", "unpack it"),
    "a tar": (tarred_file, "a tar archive", "unpack it"),
    "a gzip": (bytes_of(b"\x1f\x8b" + bytes(20)), "a gzip archive", "unpack it"),
    "a page": (bytes_of(b"\n<!DOCTYPE html>\n<html><head>" + b" " * 999), "an HTML page", "download link"),
    "an answer of a store": (bytes_of(b"<?xml version='1.0'?><Error/>"), "an XML page", "download link"),
    "a pointer": (bytes_of(b"version https://git-lfs.github.com/spec/v1\noid"), "a Git LFS pointer", "git lfs pull"),
    "text": (bytes_of(b"Not Found"), 'text that begins "Not Found"', "pass a file of weights"),
    "nothing": (bytes_of(b""), "an empty file", "fetch the file again"),
    "half a file": (half_a_file, "cut off or damaged", "fetch the file again"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_is_and_what_to_do(kind: str, suffix: str, tmp_path: Path) -> None:
    write, found, fix = FILES[kind]
    path = tmp_path / f"w{suffix}"
    write(path)
    with pytest.raises(DataError) as caught:
        read_state(path)
    said = str(caught.value)
    assert said.startswith(f"cannot read the weights: {path}: found ") and found in said and fix in said
    assert "\n" not in said and "\x1b" not in said and "weights_only" not in said


def test_a_file_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "w.pt")
    torch.save(STATE, tmp_path / "w.safetensors")
    torch.save({"a": 1, "model": {**STATE}}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    for name in ("w.pt", "w.safetensors", "w.bin"):
        state = read_state(tmp_path / name)
        assert all(torch.equal(state[key], value) for key, value in STATE.items())
    with pytest.raises(UserInputError, match=r"found a folder, expected a file; name the file inside: .*w\.bin"):
        read_state(tmp_path)


def test_the_checkpoint_of_a_training_is_told_from_what_comes_out(tmp_path: Path) -> None:
    torch.save({"trained": STATE, "optimizer": {}, "step": 3, "said": "{}"}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=r"found the checkpoint of a training.*pass the generator\.safetensors"):
        read_state(tmp_path / "checkpoint.pt")


AROUND = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "model.module.", "module.model.net."]


@pytest.mark.parametrize("around", AROUND)
def test_what_wrappers_put_before_names_is_taken_off_where_all_names_fit(around: str, tmp_path: Path) -> None:
    source, target, other = Net(), Net(), Net()
    torch.save({f"{around}{name}": value for name, value in source.state_dict().items()}, tmp_path / "w.pt")
    load_weights(target, read_state(tmp_path / "w.pt"), "w.pt")
    assert torch.equal(target.layer.weight, source.layer.weight)
    put_into(other, {f"{around}layer.bias": source.layer.bias.detach()}, "w.pt")
    assert torch.equal(other.layer.bias, source.layer.bias)


def test_a_compiled_part_is_read(tmp_path: Path) -> None:
    source = Net()
    torch.save({name.replace("layer.", "layer._orig_mod."): value for name, value in source.state_dict().items()}, tmp_path / "w.pt")
    target = Net()
    load_weights(target, read_state(tmp_path / "w.pt"), "w.pt")
    assert torch.equal(target.layer.weight, source.layer.weight)


def test_names_that_fit_as_they_are_are_left_alone_and_others_are_told() -> None:
    outer = torch.nn.ModuleDict({"model": Net()})
    load_weights(torch.nn.ModuleDict({"model": Net()}), outer.state_dict(), "w.pt")
    mixed = {"model.layer.weight": torch.zeros(3, 2), "layer.bias": torch.zeros(3)}
    with pytest.raises(UserInputError, match=r"1 missing \(layer\.weight\), 1 unknown \(model\.layer\.weight\)"):
        load_weights(Net(), mixed, "w.pt")
