"""Files of weights: tensors come out of them and nothing else, whatever is inside."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icvos.errors import DataError, UserInputError
from icvos.models.checkpoints import read_state

STATE = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5)}


def packed(zipped: bool) -> bytes:
    """The same tensors as PyTorch writes them, and as it did before 1.6."""
    stream = io.BytesIO()
    torch.save(STATE, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


class Bomb:
    """Unpickled by anything that trusts it, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_never_run(zipped: bool, tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2), "b": Bomb(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="cannot read the weights"):
        read_state(path)
    assert not made.exists()
    torch.load(path, weights_only=False)  # the charge was live
    assert made.is_dir()


def test_a_plain_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(Bomb(made), protocol=2))
    with pytest.raises(DataError, match="cannot read the weights"):
        read_state(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.is_dir()


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_old_and_new_are_read(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(packed(zipped))
    state = read_state(path)
    assert state.keys() == STATE.keys() and all(torch.equal(state[name], value) for name, value in STATE.items())


TEXTS = {
    "a page": b"<html>404: Not Found</html>",
    "a pointer of git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a line that ends in a dot": b"error.",
    "a line with an opcode": b"error: 404\n",
    "JSON": b'{"a": 1}',
    "nothing": b"",
    "zeros": bytes(200),
    "a lone full stop": b".",
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_holds_no_tensors_is_told_in_a_sentence(text: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(TEXTS[text])
    with pytest.raises(DataError) as caught:
        read_state(path)
    assert str(caught.value).startswith(f"cannot read the weights: {path}: found ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_was_cut_off_is_told_in_a_sentence(zipped: bool, tmp_path: Path) -> None:
    path, whole = tmp_path / "w.pt", packed(zipped)
    for end in range(0, len(whole), 3 if not zipped else 40):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="cannot read the weights"):
            read_state(path)


def test_a_safetensors_file_that_was_cut_off_is_told_in_a_sentence(tmp_path: Path) -> None:
    from safetensors.torch import save

    path, whole = tmp_path / "w.safetensors", save(STATE)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="cannot read the weights"):
            read_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")  # torch's, of a byte that was changed
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_file_with_a_wrong_byte_gives_tensors_or_a_sentence(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.pt"
    whole = bytearray(packed(zipped=False))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        state = read_state(path)
    except DataError as error:
        assert "cannot read the weights" in str(error)
    else:
        assert all(type(name) is str and isinstance(value, torch.Tensor) for name, value in state.items())


@pytest.mark.parametrize("values", [[1, 2], {}, {"a": torch.zeros(1), "b": 3}, {"model": {"a": "text"}}, torch.zeros(3)])
def test_what_is_not_named_tensors_is_refused(values: Any, tmp_path: Path) -> None:
    torch.save(values, tmp_path / "w.pt")
    with pytest.raises(DataError, match="expected named tensors; check which file it is"):
        read_state(tmp_path / "w.pt")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no such file of weights: .*none\.pt; check the path"):
        read_state(tmp_path / "none.pt")
