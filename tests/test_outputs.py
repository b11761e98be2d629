"""Where outputs go: never over devices and pipes, through links to what they lead to, and nothing left of writers that were killed."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Said

from icvos.errors import UserInputError
from icvos.files import atomic_file, atomic_folder, write_bytes, write_text

HELD = """
import sys, time
from pathlib import Path
from icvos.files import atomic_file, atomic_folder
kind, place = sys.argv[1], Path(sys.argv[2])
with (atomic_file if kind == "file" else atomic_folder)(place) as room:
    if kind == "folder":
        (room / "part").write_text("half")
    else:
        room.write(b"half"); room.flush()
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writer(kind: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing `place`, until a line comes on its standard input."""
    command = [sys.executable, "-c", HELD, kind, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def partial(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def next_second() -> None:
    """A folder is swept once a second."""
    time.sleep(1.01)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_whoever_writes_there_next(tmp_path: Path, kind: str) -> None:
    with writer(kind, tmp_path / "out") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(partial(tmp_path)) == 1
    next_second()
    write_text(tmp_path / "other", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_somebody_is_writing_is_left_alone(tmp_path: Path, kind: str) -> None:
    with writer(kind, tmp_path / "out") as process:
        next_second()
        write_text(tmp_path / "other", "x")
        with atomic_folder(tmp_path / "more") as room:
            (room / "file").write_text("")
        assert len(partial(tmp_path)) == 1
        assert process.stdin and process.communicate("\n") == ("", None)
        assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"other", "more", "out"}


def test_what_another_machine_is_writing_stays_for_a_day(tmp_path: Path) -> None:
    foreign = tmp_path / ".out.0123abcd-0123456789abcdef.partial"
    foreign.write_bytes(b"half")
    write_text(tmp_path / "out", "x")
    assert foreign.exists()
    os.utime(foreign, (time.time() - 90_000,) * 2)
    next_second()
    write_text(tmp_path / "out", "x")
    assert not foreign.exists()


@pytest.mark.parametrize("name", [".notes.partial", ".film.download.partial", "x.0123abcd-0123456789abcdef.partial"])
def test_files_of_others_with_names_like_ours_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"theirs")
    write_text(tmp_path / "out", "x")
    assert (tmp_path / name).read_bytes() == b"theirs"


@contextmanager
def odd_places(folder: Path) -> Iterator[dict[str, tuple[Path, str]]]:
    """Places that are no files, each with what it is called."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket is short
        listening.bind("socket")
        os.chdir(here)
        (folder / "to-null").symlink_to("/dev/null")
        (folder / "to-pipe").symlink_to("pipe")
        (folder / "round").symlink_to("and-round")
        (folder / "and-round").symlink_to("round")
        (folder / "lost").symlink_to("no/such/folder/file")
        yield {
            "pipe": (folder / "pipe", "a pipe"),
            "socket": (folder / "socket", "a socket"),
            "device": (Path("/dev/full"), "a device|system's own"),
            "standard output": (Path("/dev/stdout"), "a device|system's own"),
            "descriptor": (Path("/proc/self/fd/1"), "a device|system's own"),
            "new in /dev": (Path("/dev/icvos-new"), "a device|system's own"),
            "link to a device": (folder / "to-null", "a device|system's own"),
            "link to a pipe": (folder / "to-pipe", "a pipe"),
            "loop": (folder / "round", "Too many levels"),
            "dangling into no folder": (folder / "lost", "no/such/folder/file, whose folder is not there"),
        }


def test_outputs_that_are_no_files_are_refused_and_stay_as_they_are(tmp_path: Path) -> None:
    with odd_places(tmp_path) as places:
        before = {path.name: os.lstat(path)[:3] for path in tmp_path.iterdir()}
        full = os.lstat("/dev/full")[:3]
        for place, words in places.values():
            for write in (write_bytes, lambda path, _: atomic_folder(path, replacing=True).__enter__()):
                if write is not write_bytes and words in ("a pipe", "a socket"):
                    continue  # where a folder is meant: refused when it gets its name
                with pytest.raises(UserInputError, match=words) as caught:
                    write(place, b"x")
                assert str(caught.value).startswith(f"cannot write: {place}") and caught.value.exit_code == 2
        assert {path.name: os.lstat(path)[:3] for path in tmp_path.iterdir()} == before
        assert os.lstat("/dev/full")[:3] == full and stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["pipe", "socket"])
def test_a_folder_never_takes_the_place_of_a_pipe(tmp_path: Path, name: str) -> None:
    with odd_places(tmp_path) as places:
        with pytest.raises(UserInputError, match="cannot write"), atomic_folder(places[name][0], replacing=True):
            pass
        assert not stat.S_ISDIR(os.lstat(places[name][0]).st_mode) and not partial(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path: Path, there: bool) -> None:
    for name in ("links", "real"):
        (tmp_path / name).mkdir()
    if there:
        (tmp_path / "real/file").write_bytes(b"old")
    (tmp_path / "links/first").symlink_to("second")
    (tmp_path / "links/second").symlink_to("../real/file")
    with atomic_file(tmp_path / "links/first") as stream:
        stream.write(b"new")
        assert len(partial(tmp_path / "real")) == 1 and not partial(tmp_path / "links")  # one disk: it can be renamed
    assert (tmp_path / "links/first").is_symlink() and (tmp_path / "links/second").is_symlink()
    assert (tmp_path / "real/file").read_bytes() == b"new" and [path.name for path in (tmp_path / "real").iterdir()] == ["file"]


def test_a_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/old").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link", replacing=True) as room:
        (room / "new").write_text("new")
    assert (tmp_path / "link").is_symlink() and [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    with pytest.raises(UserInputError, match=r"cannot write: .*link: found Directory not empty"), atomic_folder(tmp_path / "link"):
        pass
    with pytest.raises(ValueError, match="broken"), atomic_folder(tmp_path / "link", replacing=True) as room:
        raise ValueError("broken")
    assert {path.name for path in tmp_path.iterdir()} == {"link", "real"} and (tmp_path / "real/new").is_file()


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444, 0o755])
def test_a_file_that_is_written_again_keeps_its_permissions_and_its_owner(tmp_path: Path, mode: int) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(mode)
    owner = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
    os.chown(tmp_path / "file", *owner)
    with atomic_file(tmp_path / "file") as stream:
        assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == mode  # from its first byte on
    after = (tmp_path / "file").stat()
    assert stat.S_IMODE(after.st_mode) == mode and (after.st_uid, after.st_gid) == owner


@pytest.fixture(scope="session")
def scored_run(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one that is scored."""
    from icvos import run, score

    runs = tmp_path_factory.mktemp("scored") / "runs"
    score(run("centre-box", toy_release, out=runs))
    return runs


WRITING = {
    "board": ("leaderboard", "RUNS", "--format", "html", "--out", "OUT"),
    "bundle": ("export", "codabench", "RELEASE", "--out", "OUT"),
    "pack": ("submit", "pack", "RUNS/centre-box", "--out", "OUT"),
    "results": ("score", "RUNS/centre-box", "--out", "OUT"),
    "runs": ("run", "--method", "empty", "--benchmark", "RELEASE", "--out", "OUT"),
    "release": ("build", "--data", "DATA", "--out", "OUT"),
    "statistics": ("stats", "RELEASE", "--out", "OUT"),
    "package": ("new-method", "nice-method", "--out", "OUT"),
    "labels": ("labels", "merge", "LABELS", "--out", "OUT"),
}


@pytest.mark.parametrize("command", WRITING)
def test_no_command_writes_over_a_device_or_a_pipe(
    icvos: Callable[..., Said], command: str, toy_data: Path, toy_release: Path, scored_run: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "mine", 0o600 | stat.S_IFSOCK)
    (tmp_path / "labels.csv").write_text("")
    known = {"RUNS": scored_run, "RELEASE": toy_release, "DATA": toy_data, "LABELS": tmp_path / "labels.csv"}
    for out in (tmp_path / "pipe", tmp_path / "mine", Path("/dev/full"), Path("/dev/stdout")):
        words = [str(out) if word == "OUT" else word for word in WRITING[command]]
        for name, path in known.items():
            words = [word.replace(name, str(path)) for word in words]
        before = os.lstat(out)[:3]
        said = icvos(*words)
        assert said.code == 2 and f"cannot write: {out}: found " in said.err and said.err.count("\n") == 1
        assert os.lstat(out)[:3] == before


SLOWLY = """
import sys, time
from icvos import files
locked = files._locked
def slowly(path):  # so that a kill strikes while something is written
    time.sleep(0.1)
    return locked(path)
files._locked = slowly
from icvos.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["bundle", "bundle folder", "runs", "release", "package"])
def test_killed_commands_leave_nothing_once_they_are_run_again(
    icvos: Callable[..., Said], command: str, toy_data: Path, toy_release: Path, tmp_path: Path
) -> None:
    names = {"OUT": tmp_path / ("out.zip" if command == "bundle" else "nice-out"), "RELEASE": toy_release, "DATA": toy_data}
    words = [str(names.get(word, word)) for word in WRITING[command.split()[0]]]
    with subprocess.Popen([sys.executable, "-c", SLOWLY, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.rglob("*.partial")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert list(tmp_path.rglob("*.partial"))
    next_second()
    assert icvos(*words).code == 0
    assert not list(tmp_path.rglob("*.partial")) and names["OUT"].exists()


def test_folders_that_earlier_versions_left_beside_a_bundle_are_removed(
    icvos: Callable[..., Said], toy_release: Path, tmp_path: Path
) -> None:
    write_text(tmp_path / ".out.zip.k3x_9abc.partial/bundle/pages/index.md", "half")
    write_text(tmp_path / ".other.zip.k3x_9abc.partial/bundle/x", "somebody else's")
    assert icvos("export", "codabench", toy_release, "--out", tmp_path / "out.zip").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"out.zip", ".other.zip.k3x_9abc.partial"}


def test_two_exports_at_once_leave_one_whole_bundle(toy_release: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "icvos", "export", "codabench", str(toy_release), "--out", str(tmp_path / "out.zip")]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    subprocess.run([*command[:-1], str(tmp_path / "alone.zip")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (tmp_path / "out.zip").read_bytes() == (tmp_path / "alone.zip").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"out.zip", "alone.zip"}
