"""What stands between a program and everything else: each kind of wall that this machine allows, and what holds where one is missing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Said
from test_programs import EPISODES, predictions, wait_for, write_program

from icvos.benchmark import Benchmark
from icvos.errors import PluginError
from icvos.programs.cgroup import Group
from icvos.programs.job import Limits, Report, kept_job, walls_here
from icvos.programs.launch import program
from icvos.programs.layout import write_task
from icvos.programs.needs import needed
from icvos.programs.walls import Walls

Command = Callable[..., Said]
HERE = walls_here()
NAMESPACES = pytest.mark.skipif(HERE.processes != "namespace", reason="no namespaces are allowed here")
LANDLOCK = pytest.mark.skipif(not HERE.landlock, reason="this kernel has no Landlock")


def _has_cgroup() -> bool:
    try:
        Group().remove()
    except OSError:
        return False
    return True


CGROUP = pytest.mark.skipif(not _has_cgroup(), reason="no cgroup v2 may be made here")
WITH_FILTER = Walls("sweep", HERE.landlock and 3, filtered=True)
ALL_WALLS = [
    pytest.param(HERE, id="here"),
    pytest.param(Walls("namespace"), id="namespaces without Landlock", marks=NAMESPACES),
    pytest.param(Walls("cgroup", HERE.landlock, filtered=True), id="cgroup", marks=CGROUP),
    pytest.param(WITH_FILTER, id="filter and sweep"),
]
GUARDED = [ALL_WALLS[0], ALL_WALLS[1], ALL_WALLS[3]]  # in which other processes are out of reach


@pytest.fixture
def call(toy_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Report]]:
    """Run a program behind some walls, with a task of the toy release; nothing of it is left."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(jobs))
    episode = Benchmark.open(toy_release).episodes[0]

    def run(body: str, walls: Walls, command: str = "", **more: object) -> Report:
        command = command or write_program(tmp_path / "program", body)
        with kept_job() as job:
            write_task(job.input, episode.tube.clip, {episode.id: episode.supports})
            return job.run(program(command, walls=walls, **more).order(job, Limits(seconds=30)))  # type: ignore[arg-type]

    yield run
    assert not list(jobs.iterdir())


def alive(mark: str) -> list[str]:
    """The processes that have this word on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(process.name)
    return found


@pytest.mark.parametrize("walls", ALL_WALLS)
def test_a_chain_of_processes_ends_with_the_call(call: Callable[..., Report], walls: Walls, tmp_path: Path) -> None:
    """Each starts the next, in a session of its own, and ends; so that none is there for long."""
    body = """
    import time
    end = time.monotonic() + 20
    if os.fork() == 0:
        os.setsid()
        while time.monotonic() < end:
            if os.fork(): os._exit(0)
    """
    report = call(body, walls)
    assert (report.end, report.code) == ("exit", 0), report
    assert not alive(str(tmp_path / "program/mine.py"))


@pytest.mark.parametrize("walls", ALL_WALLS)
def test_a_daemon_ends_with_the_call(call: Callable[..., Report], walls: Walls) -> None:
    mark = f"86400.{os.getpid()}"
    body = f"""
    import subprocess
    print(subprocess.Popen(['sleep', {mark!r}], start_new_session=True).pid)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: os.execvp('sleep', ['sleep', {mark!r}])
        os._exit(0)
    os.wait()
    """
    assert call(body, walls).end == "exit"
    assert not alive(mark)


@pytest.mark.parametrize("walls", GUARDED)
def test_limits_of_other_processes_cannot_be_changed(call: Callable[..., Report], walls: Walls) -> None:
    body = f"""
    import resource
    pids = [os.getppid() or 1, {os.getpid()}, {os.getppid()}]
    for pid in pids if pids[0] != 1 else pids[1:]:
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            try: resource.prlimit(pid, limit, resource.prlimit(0, limit))
            except (PermissionError, ProcessLookupError): continue
            sys.exit(f'{{pid}} was reached')
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    report = call(body, walls)
    assert (report.end, report.code) == ("exit", 0), report
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize("walls", GUARDED)
def test_other_processes_get_no_signal(call: Callable[..., Report], walls: Walls) -> None:
    """Signal 0 asks whether a signal might be sent: nothing is hit by a test that finds a hole."""
    body = f"""
    import ctypes, fcntl
    supervisor = os.getppid()
    for pid in ({os.getpid()}, {-os.getpgrp()}, {os.getppid()}, *([supervisor, -supervisor] if supervisor > 1 else [])):
        try: os.kill(pid, 0)
        except (PermissionError, ProcessLookupError): continue
        sys.exit(f'{{pid}} was reached')
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, {os.getpid()}, 0, 0) == 0: sys.exit('it was traced')  # PTRACE_ATTACH
    child = os.fork()
    if child == 0:
        import time; time.sleep(60)
    os.kill(child, 9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    """
    report = call(body, walls)
    assert (report.end, report.code) == ("exit", 0), report


def test_a_filtered_program_cannot_have_a_descriptor_send_signals(call: Callable[..., Report]) -> None:
    body = f"""
    import fcntl
    heard, said = os.pipe()
    try: fcntl.fcntl(heard, fcntl.F_SETOWN, {os.getpid()})
    except PermissionError: sys.exit(0)
    sys.exit('it may')
    """
    report = call(body, WITH_FILTER)
    assert (report.end, report.code) == ("exit", 0), report


@pytest.mark.parametrize("walls", ALL_WALLS)
def test_what_programs_do_by_right_works(call: Callable[..., Report], walls: Walls) -> None:
    body = """
    sys.path.insert(0, str(Path.cwd()))
    import asyncio, multiprocessing, subprocess, threading, time
    for kind in ('fork', 'spawn'):
        context = multiprocessing.get_context(kind)
        with context.Lock(): pass
        process = context.Process(target=time.sleep, args=(60,))
        process.start(); process.terminate(); process.join()
        assert process.exitcode == -15, process.exitcode
    process = subprocess.Popen(['sleep', '60']); process.kill()
    assert process.wait() == -9
    heard = []
    thread = threading.Thread(target=heard.append, args=(1,)); thread.start(); thread.join()
    async def child():
        process = await asyncio.create_subprocess_exec('sleep', '60'); process.terminate()
        return await process.wait()
    assert asyncio.run(child()) == -15 and heard == [1]
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    assert Path(f'/proc/{os.getpid()}/cmdline').read_bytes() == Path('/proc/self/cmdline').read_bytes()
    """
    report = call("if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in _dedented(body)), walls)
    assert (report.end, report.code) == ("exit", 0), report


def _dedented(body: str) -> list[str]:
    import textwrap

    return textwrap.dedent(body).strip().splitlines()


@pytest.mark.parametrize("walls", [ALL_WALLS[0], ALL_WALLS[1]])
@NAMESPACES
def test_nothing_is_remembered_between_calls(call: Callable[..., Report], walls: Walls) -> None:
    body = """
    for folder in ('/dev/shm', '/tmp', '/var/tmp', os.environ['HOME']):
        note = Path(folder) / 'icvos-note'
        if note.exists(): sys.exit(f'it is remembered in {folder}')
        try: note.write_text('')
        except OSError: continue
    """
    for _ in range(2):
        report = call(body, walls)
        assert (report.end, report.code) == ("exit", 0), report
    assert not Path("/dev/shm/icvos-note").exists() and not Path("/tmp/icvos-note").exists()


@pytest.mark.parametrize("walls", [pytest.param(HERE, id="here", marks=LANDLOCK), ALL_WALLS[1]])
def test_the_disk_is_closed_but_for_what_a_program_needs(call: Callable[..., Report], walls: Walls, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    secret, weights = tmp_path / "others/secret", tmp_path / "w/weights.bin"
    weights.parent.mkdir()
    for path in (secret, weights):
        path.write_text("kept")
    body = f"""
    import zlib, json.tool, unittest
    assert (given / 'task.json').read_text() and Path('/etc/passwd').read_text()
    def refused(path):
        try: open(path).close()
        except OSError: return True
        return False
    assert refused({str(secret)!r})
    for what in ({str(secret)!r}, __file__, given / 'task.json', '/etc/passwd'):
        try: open(what, 'r+').close()
        except OSError: continue
        sys.exit(f'{{what}} could be written')
    sys.exit(7 if refused({str(weights)!r}) else 0)
    """
    assert call(body, walls).code == 7
    assert call(body, walls, allowed=[weights.parent]).code == 0
    assert secret.read_text() == weights.read_text() == "kept"


def test_allowed_folders_that_would_open_the_truth(
    icvos: Command, toy_release: Path, toy_data: Path, tmp_path: Path, nothing_set: None
) -> None:
    command = write_program(tmp_path / "program")
    words = ("run", "--program", command, "--benchmark", toy_release, "--out", tmp_path / "runs", "--allow-read")
    for opened in (toy_data, toy_data / "DAVIS/Annotations/480p", toy_data.parent, "/", toy_release / "manifest.json"):
        said = icvos(*words, opened)
        assert said.code == 2 and "would open the truth" in said.err and f"--allow-read {opened}" in said.err, said
    (tmp_path / "way").symlink_to(toy_data / "DAVIS")
    assert "would open the truth" in icvos(*words, tmp_path / "way").err
    assert "no such file or folder: --allow-read" in icvos(*words, tmp_path / "nothing").err
    said = icvos("run", "--method", "empty", "--benchmark", toy_release, "--allow-read", tmp_path)
    assert said.code == 2 and "--allow-read says nothing to --method" in said.err
    assert not (tmp_path / "runs").exists()


@LANDLOCK
def test_what_was_closed_to_a_program_is_named_with_the_option_that_opens_it(
    icvos: Command, toy_release: Path, tmp_path: Path, toy_data: Path
) -> None:
    (tmp_path / "my weights").mkdir()
    (tmp_path / "my weights/w.pt").write_text("")
    command = write_program(tmp_path / "program", f"open({str(tmp_path / 'my weights/w.pt')!r})\nanswer()")
    words = ("run", "--program", command, "--benchmark", toy_release, "--out", tmp_path / "runs", "--limit", 1)
    said = icvos(*words)
    option = f"--allow-read '{tmp_path / 'my weights'}'"
    assert said.code == 5 and option in said.err, said
    assert icvos(*words, "--allow-read", tmp_path / "my weights").code == 0
    command = write_program(tmp_path / "program", f"open({str(toy_data / 'DAVIS/Annotations/480p/rex/00000.png')!r})\nanswer()")
    said = icvos("run", "--program", command, "--benchmark", toy_release, "--out", tmp_path / "more", "--limit", 1)
    assert said.code == 5 and "--allow-read" not in said.err and "closed to every program" in said.err, said


@LANDLOCK
def test_masks_that_are_links_into_a_store_are_closed_where_they_end(icvos: Command, toy_data: Path, tmp_path: Path) -> None:
    """As git-annex and DVC have it: the program lies beside the store, which is open to it but for the truth."""
    shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS")
    for number, mask in enumerate(sorted((tmp_path / "DAVIS/Annotations").rglob("*.png"))):
        blob = tmp_path / f"code/store/{number:02d}/blob"
        blob.parent.mkdir(parents=True)
        mask.rename(blob)
        mask.symlink_to(blob)
    assert icvos("build", "--davis", tmp_path / "DAVIS", "--coco", toy_data / "COCO", "--out", tmp_path / "R").code == 0
    (tmp_path / "code/settings").write_text("open")
    body = f"""
    assert Path({str(tmp_path / "code/settings")!r}).read_text() == 'open'
    for number in range(12):
        try: open(Path({str(tmp_path / "code/store")!r}) / f'{{number:02d}}' / 'blob')
        except OSError: continue
        sys.exit('a mask was read')
    answer()
    """
    command = write_program(tmp_path / "code", body)
    said = icvos("run", "--program", command, "--benchmark", tmp_path / "R", "--out", tmp_path / "runs")
    assert said.code == 0, said
    assert len(predictions(tmp_path / "runs/mine")) == EPISODES


@LANDLOCK
def test_what_a_ceiling_predicted_is_closed(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    """The runs lie beside the program, whose own folder is open to it."""
    assert icvos("run", "--method", "identity", "--benchmark", toy_release, "--out", tmp_path / "here/runs").code == 0
    (archive, *_) = (tmp_path / "here/runs/identity/predictions").rglob("*.zip")
    command = write_program(tmp_path / "here", f"try: open({str(archive)!r})\nexcept PermissionError: answer()")
    said = icvos("run", "--program", command, "--benchmark", toy_release, "--out", tmp_path / "here/runs")
    assert said.code == 0, said


def test_changed_limits_are_the_programs_fault(call: Callable[..., Report]) -> None:
    """Where nothing keeps it from that: neither a namespace nor a filter."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    body = f"import resource; resource.prlimit({os.getpid()}, resource.RLIMIT_NOFILE, ({soft - 1}, {hard}))"
    with pytest.raises(PluginError, match=r"changed the limits of icvos itself: .*RLIMIT_NOFILE"):
        call(body, Walls("sweep"))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_it_is_said_in_one_line_and_by_doctor(icvos: Command, toy_release: Path, tmp_path: Path) -> None:
    words = ("run", "--program", write_program(tmp_path / "program"), "--benchmark", toy_release, "--out", tmp_path / "runs", "--limit", 1)
    said = icvos(*words)
    line = next(line for line in (said.out + said.err).splitlines() if "the program is shut in: " in line)
    assert line.startswith(f"icvos: {HERE.sentence()}")
    json.loads(icvos(*words, "--json").out)
    assert json.loads(icvos("doctor", "--json").out)["programs"] == HERE.about()


@pytest.mark.parametrize(
    ("walls", "weak", "words"),
    [
        (Walls("namespace", 7), False, ["PID namespace", "Landlock 7", "network: none"]),
        (Walls("namespace"), False, ["mount namespace, no Landlock"]),
        (Walls("cgroup", 6, filtered=True), False, ["cgroup", "seccomp", "no TCP", "/dev/shm: NOT gone"]),
        (Walls("sweep", 3, filtered=True), True, ["hunted down", "network: NOT shut off"]),
        (Walls("sweep", 7), True, ["other processes: NOT shut off"]),
        (Walls(), True, ["ALL that you may read", "no Landlock", "NOT shut off"]),
    ],
)
def test_what_is_missing_is_said(walls: Walls, weak: bool, words: list[str]) -> None:
    assert walls.weak == weak and all(word in walls.sentence() for word in words) and "\n" not in walls.sentence()


def test_a_wall_that_can_no_longer_be_made_is_not_gone_without(toy_release: Path, tmp_path: Path, call: Callable[..., Report]) -> None:
    if _has_cgroup():
        pytest.skip("a cgroup may be made here, so that nothing is missing")
    assert call("answer()", Walls("cgroup", HERE.landlock)).end == "walls"


def test_what_a_command_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    environment, base = tmp_path / "home/env", tmp_path / "home/python/bin"
    for folder in (base, base.parent / "lib", environment / "bin", environment / "lib/python3.11/site-packages", tmp_path / "home/mine"):
        folder.mkdir(parents=True)
    (base / "python3").touch()
    (environment / "bin/python").symlink_to(base / "python3")
    (environment / "pyvenv.cfg").write_text(f"home = {base}\n")
    editable = environment / "lib/python3.11/site-packages/mine-1.dist-info"
    editable.mkdir()
    (editable / "direct_url.json").write_text(json.dumps({"url": (tmp_path / "home/mine").as_uri(), "dir_info": {"editable": True}}))
    script, beside = tmp_path / "home/segment.py", tmp_path / "home/diary.txt"
    for path in (script, beside):
        path.touch()
    found = needed(str(environment / "bin/python"), [environment / "bin/python", script])
    assert {environment, base, base.parent / "lib", tmp_path / "home/mine", script, Path("/usr")} <= set(found)
    assert beside not in found and tmp_path / "home" not in found and base.parent not in found
    (tmp_path / "home/tool").write_text("#!/usr/bin/env -S X=1 sh\n")
    assert tmp_path / "home" not in needed(str(tmp_path / "home/tool"), [tmp_path / "home/tool"])


AS_NOBODY = """
import json, sys, tempfile
sys.path.insert(0, {code!r})
from pathlib import Path
from icvos.programs.job import Limits, kept_job, walls_here
from icvos.programs.launch import program
body = '''
import os, time
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if os.fork(): os._exit(0)
'''
script = Path(tempfile.mkdtemp(), "mine.py")
script.write_text(body)
with kept_job() as job:
    job.input.mkdir()
    report = job.run(program(f"/usr/bin/python3 {{script}} {{{{input}}}} {{{{output}}}}").order(job, Limits(seconds=30)))
left = [str(path) for path in Path(tempfile.gettempdir()).glob("icvos-job-*")]
print(json.dumps([list(walls_here()), report.end, report.code, str(script), left]))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="to become another user one must be root")
def test_whoever_is_not_root_has_the_same_walls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the system's Python, for that of the tests may lie in root's home."""
    python = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-S", "-c"]
    code = str(Path(__file__).parents[1])
    if subprocess.run([*python, f"import sys; sys.path.insert(0, {code!r}); import icvos.programs.launch"], capture_output=True).returncode:
        pytest.skip("the system has no Python that can run icvos")
    room = Path("/tmp") / f"icvos-nobody-{os.getpid()}"
    room.mkdir()
    try:
        os.chown(room, 65534, 65534)
        script = [*python, AS_NOBODY.format(code=code)]
        done = subprocess.run(script, env={"PATH": "/usr/bin:/bin", "TMPDIR": str(room)}, capture_output=True, text=True, check=True)
        walls, end, exit_code, mine, left = json.loads(done.stdout)
        assert (end, exit_code, left, alive(mine)) == ("exit", 0, [], [])
        assert Walls(*walls).processes in ("namespace", "cgroup", "sweep")
    finally:
        shutil.rmtree(room)


@NAMESPACES
def test_a_keeper_that_dies_takes_all_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mark = f"86401.{os.getpid()}"
    with pytest.raises(PluginError, match="was killed"), kept_job() as job:
        job.input.mkdir()

        def kill() -> None:
            wait_for(lambda: bool(alive(mark)))
            job.keeper.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        order = program("sleep 9 {input} {output}", walls=HERE).order(job, Limits(seconds=30))
        order["command"] = ["sh", "-c", f"setsid sleep {mark} & sleep {mark}; exit"]
        job.run(order)
    killer.join()
    wait_for(lambda: not alive(mark), seconds=10)


@NAMESPACES
def test_how_a_program_ended_is_known_however_quick_it_was(call: Callable[..., Report]) -> None:
    ends = [call("", HERE, command="sh -c 'exit 3' {input} {output}") for _ in range(25)]
    assert {(report.end, report.code) for report in ends} == {("exit", 3)}
