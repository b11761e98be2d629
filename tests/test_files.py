"""Files that are whole or not there, and JSON whose faults are told with their line."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icvos.errors import DataError, UserInputError
from icvos.files import (
    atomic_file,
    make_folder,
    map_files,
    parse_json,
    read_data,
    read_json,
    sha256_file,
    sha256_text,
    to_json,
    write_bytes,
    write_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)


def test_a_written_file_is_whole_and_stands_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "new/deep/ä.txt", "größer\n")
    assert (tmp_path / "new/deep/ä.txt").read_bytes() == "größer\n".encode()
    assert [path.name for path in (tmp_path / "new/deep").iterdir()] == ["ä.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_inside_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    write_bytes(tmp_path / "kept", b"old")
    with pytest.raises(type(error)), atomic_file(tmp_path / "kept") as stream:
        stream.write(b"half")
        raise error
    with pytest.raises(type(error)), atomic_file(tmp_path / "never") as stream:
        raise error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"old"}


def test_nobody_sees_a_file_before_it_is_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as stream:
        stream.write(b"half")
        stream.flush()
        assert not (tmp_path / "file").exists()
        assert all(path.name.endswith(".partial") for path in tmp_path.iterdir())
    assert (tmp_path / "file").read_bytes() == b"half"


def test_files_get_the_permissions_that_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("inside", ["file/x", "file/x/y/z"])
def test_a_file_where_a_folder_should_be_is_the_users_error(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserInputError, match=r"cannot write: .*file.*found (Not a directory|File exists).*another folder"):
        write_bytes(tmp_path / inside, b"x")
    with pytest.raises(UserInputError, match="cannot write"):
        make_folder(tmp_path / inside)


def test_a_folder_where_the_file_should_be_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserInputError, match=r"cannot write: .*folder: found Is a directory"):
        write_bytes(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_folder_that_may_not_be_written_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    # A superuser may write anywhere, so the refusal is made here; the folder refused lies above the one that was asked for.
    locked = tmp_path / "locked"

    def refuse(path: Path, *rest: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied", str(locked))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserInputError, match=r"cannot write: .*locked.*Permission denied"):
        write_bytes(locked.joinpath(*"abc"[:depth], "file"), b"x")


def test_an_error_of_another_file_inside_the_block_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "file"):
        (tmp_path / "elsewhere").read_bytes()


@given(JSON)
def test_json_reads_back_exactly(value: object) -> None:
    text = to_json(value)
    assert parse_json(text.encode(), Path("x")) == value
    assert text.endswith("\n")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_json_without_a_meaning_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"score": number})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1,\n "b": }', ["line 2", "Expecting value"]),
        (b'{"a": 1', ["line 1"]),
        (b"", ["line 1"]),
        (b'"\xff\xfe"', ["not UTF-8"]),
        (b"[" * 200_000, ["lists within lists"]),
        (b"1" * 5_000, ["digits"]),
    ],
)
def test_corrupt_json_is_told_with_its_file_and_line(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json(path)
    for word in ["corrupt JSON", str(path), *words]:
        assert word in str(caught.value)


def test_a_missing_file_a_folder_and_another_file_than_named_are_faults_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*nowhere"):
        read_json(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"cannot read: .*Is a directory"):
        read_data(tmp_path)
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(DataError, match=r"not the file that the release names: .*file: found sha256 .*expected .*icvos verify"):
        read_data(tmp_path / "file", sha256_text("this"))


@given(st.text())
def test_both_digests_are_sha256(text: str) -> None:
    assert sha256_text(text) == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert json.loads(to_json({"ä": 0.1})) == {"ä": 0.1}


def test_many_files_come_in_order_and_an_error_cancels_the_rest() -> None:
    assert list(map_files(str, range(100))) == [str(number) for number in range(100)]
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.002)
        return number

    with pytest.raises(KeyboardInterrupt):
        for number in map_files(work, range(500)):
            if number == 3:
                raise KeyboardInterrupt
    assert len(begun) < 100
