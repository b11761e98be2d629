"""Methods that are container images: the exact command line, and the whole way through an engine that a test writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from test_programs import EPISODES, WORKS, predictions

from icvos.errors import UserInputError
from icvos.parallel import core_count
from icvos.programs.job import Limits
from icvos.programs.launch import Container, container

Command = Callable[..., Said]
IMAGE_ID = "sha256:" + "5" * 64

# An engine that knows one image, and runs its program here. Everything it is told must be what it expects.
ENGINE = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time

state = pathlib.Path({state!r})
words = sys.argv[1:]
with open(state / "calls", "a") as log:
    log.write(json.dumps(words) + "\\n")
if words[:2] == ["image", "inspect"]:
    if words[-1] != "me/method:1":
        sys.exit(f"Error: No such image: {{words[-1]}}")
    print({image_id!r})
elif words[0] == "rm":
    pid = state / words[-1]
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGKILL)
elif words[0] == "run":
    *options, image = words[1:]
    assert image == {image_id!r}, image
    volumes = [options[n + 1].split(":") for n, word in enumerate(options) if word == "--volume"]
    folders = {{inside: outside for outside, inside, _ in volumes}}
    name = options[options.index("--name") + 1]
    program = [sys.executable, "-I", "-S", str(state / "image.py"), folders["/input"], folders["/output"]]
    process = subprocess.Popen(program, env={{}}, start_new_session=True)
    (state / name).write_text(str(process.pid))
    code = process.wait()
    sys.exit(code if code >= 0 else 128 - code)
else:
    sys.exit(f"unknown command {{words}}")
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a `docker` on PATH: `image.py` in it is what its image does, `calls` what it was asked."""
    state = tmp_path / "engine"
    (state / "bin").mkdir(parents=True)
    docker = state / "bin/docker"
    docker.write_text(ENGINE.format(python=sys.executable, state=str(state), image_id=IMAGE_ID))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{state / 'bin'}:{os.environ['PATH']}")
    (state / "image.py").write_text(WORKS + "answer(b'\\x01')")
    return state


def calls(engine: Path) -> list[list[str]]:
    return [json.loads(line) for line in (engine / "calls").read_text().splitlines()]


def test_the_command_line_of_docker() -> None:
    limits = Limits(seconds=60, memory_bytes=8_000_000_000, disk_bytes=2_000_000_000, processes=100)
    found = Container("docker", "me/method:1", IMAGE_ID).command("/jobs/7/input", "/jobs/7/output", "icvos-7", limits)
    assert " ".join(found) == (
        "docker run --rm --name icvos-7 --pull never --network none --read-only"
        " --tmpfs /tmp:rw,exec,nosuid,nodev,size=8000000000 --ipc private --shm-size 1g"
        " --cap-drop ALL --security-opt no-new-privileges --pids-limit 100"
        f" --memory 8000000000b --memory-swap 8000000000b --cpus {core_count()} --ulimit fsize=2000000000 --ulimit core=0 --log-driver none"
        f" --user {os.getuid()}:{os.getgid()} --workdir /tmp --env HOME=/tmp --env TMPDIR=/tmp"
        f" --volume /jobs/7/input:/input:ro --volume /jobs/7/output:/output:rw {IMAGE_ID}"
    )


@pytest.mark.parametrize(
    ("device", "docker", "podman"),
    [
        ("auto", "", ""),
        ("cpu", "", ""),
        ("cuda", "--gpus all", "--device nvidia.com/gpu=all"),
        ("cuda:1", "--gpus device=1", "--device nvidia.com/gpu=1"),
    ],
)
def test_gpus_are_seen_only_when_asked_for(device: str, docker: str, podman: str) -> None:
    for said, words in (("docker", docker), ("podman", podman)):
        line = " ".join(Container(said, "x", IMAGE_ID, device).command("/i", "/o"))  # type: ignore[arg-type]
        assert ("gpu" in line) == bool(words) and words in line
        assert (":/input:ro,Z" in line) == (said == "podman")


def test_an_image_runs_resumes_and_is_known_by_its_id(icvos: Command, toy_release: Path, tmp_path: Path, engine: Path) -> None:
    words = ("run", "--container", "me/method:1", "--benchmark", toy_release, "--out", tmp_path / "runs")
    assert icvos(*words, "--limit", 5).code == 0
    said = icvos(*words, "--json")
    assert (said.code, json.loads(said.out)["kept"]) == (0, 5), said
    assert len(predictions(tmp_path / "runs/method")) == EPISODES
    about = json.loads((tmp_path / "runs/method/run.json").read_text())
    assert (about["key"]["code"], about["key"]["weights"]) == (f"image {IMAGE_ID}", f"image {IMAGE_ID}")
    assert icvos("score", tmp_path / "runs/method").code == 0
    asked = calls(engine)
    assert [call[0] for call in asked] == ["image", "run", "rm", "image", "run", "rm"]
    assert all(str(toy_release) not in word for call in asked for word in call)
    assert len({call[call.index("--name") + 1] for call in asked if call[0] == "run"}) == 2


@pytest.mark.parametrize(
    ("body", "words", "told"),
    [
        ("import time; time.sleep(99)", ("--time-limit", 1), "took too long"),
        ("print('no CUDA'); sys.exit(4)", (), "exit code 4; its last words: no CUDA"),
        ("os.kill(os.getpid(), 9)", (), "exit code 137 (killed, perhaps for want of memory)"),
        ("", (), "wrote nothing"),
        (
            "import time\nfor n in range(9): (wanted / str(n)).write_bytes(b'x' * 1_000_000)\ntime.sleep(9)",
            ("--disk-limit", "5MB"),
            "wrote too",
        ),
    ],
)
def test_an_image_that_fails(
    icvos: Command, toy_release: Path, tmp_path: Path, engine: Path, body: str, words: tuple[object, ...], told: str
) -> None:
    (engine / "image.py").write_text(WORKS + body)
    said = icvos("run", "--container", "me/method:1", "--benchmark", toy_release, "--out", tmp_path / "runs", *words)
    assert (said.code, told in said.err) == (5, True), said
    last = calls(engine)[-1]
    name = next(call[call.index("--name") + 1] for call in calls(engine) if call[0] == "run")
    assert last == ["rm", "--force", name]  # ended by its name, whatever became of the engine's own process
    assert not Path(f"/proc/{(engine / name).read_text()}").exists()
    assert not predictions(tmp_path / "runs/method")


def test_an_image_that_is_not_there(icvos: Command, toy_release: Path, tmp_path: Path, engine: Path) -> None:
    words = ("run", "--container", "you/other", "--benchmark", toy_release, "--out", tmp_path / "runs")
    said = icvos(*words)
    assert said.code == 2 and "docker knows no such image: you/other" in said.err and "docker pull" in said.err
    said = icvos(*words, "--dry-run")
    assert said.code == 0 and "No such image" in said.err
    assert "each clip by: docker run --rm --name icvos-NAME" in said.out
    assert "--volume '{input}:/input:ro' --volume '{output}:/output:rw' you/other" in said.out
    assert not (tmp_path / "runs").exists()


# What an image of nothing but busybox does to prove its walls, before it answers with a mask that lies in it.
PROOF = """set -e
fail() { echo "$1"; exit 9; }
grep -q '^CapEff:[[:space:]]*0000000000000000$' /proc/self/status || fail "it has capabilities"
grep -q '^NoNewPrivs:[[:space:]]*1$' /proc/self/status || fail "new privileges"
[ "$(id -u):$(id -g)" = "$(stat -c %u:%g /output)" ] || fail "another user"
[ ! -e /dev/shm/note ] && [ ! -e /tmp/note ] || fail "it is remembered"
touch /dev/shm/note /tmp/note
if touch /note 2>/dev/null; then fail "its root is written to"; fi
if touch /input/note 2>/dev/null; then fail "its input is written to"; fi
[ "$(ls /sys/class/net)" = lo ] || fail "it has a network"
for folder in $(grep -o '"folder": *"[^"]*"' /input/task.json | cut -d '"' -f 4); do
    mkdir "/output/$folder"
    for frame in 0 1 2 3 4 5; do cp /mask.png "/output/$folder/0000$frame.png"; done
done
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image of busybox in a store of its own: its name. Nothing is pulled."""
    busybox = shutil.which("busybox")
    if not shutil.which("podman") or not busybox:
        pytest.skip("podman or busybox is not installed: apt-get install podman crun uidmap busybox-static")
    root, mask = tmp_path / "root", WORKS.partition("def answer")[0].partition("def png")[2]
    for name in ("bin", "tmp", "input", "output"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in ["sh", "grep", "id", "stat", "touch", "ls", "cut", "mkdir", "cp", "echo"]:
        (root / "bin" / name).symlink_to("busybox")
    (root / "prove").write_text(f"#!/bin/sh\n{PROOF}")
    (root / "prove").chmod(0o755)
    room: dict[str, Any] = {"width": 40, "height": 24}
    exec("def png" + mask + "\nmask = png()", room)
    (root / "mask.png").write_bytes(room["mask"])
    store = tmp_path / "storage.conf"
    store.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/store"\nrunroot = "{tmp_path}/run"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(store))
    tar = subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-c", "."], capture_output=True, check=True).stdout
    imported = subprocess.run(
        ["podman", "import", "--quiet", "--change", "CMD=/prove", "-", "icvos-proof:1"], input=tar, capture_output=True, check=False
    )
    limits = Limits(memory_bytes=10**9, disk_bytes=10**8)
    tried = container("icvos-proof:1", "podman", look=False).command(str(root / "input"), str(root / "output"), "icvos-trial", limits)
    ran = subprocess.run([*tried, "/bin/busybox", "echo", "it runs"], capture_output=True, text=True, check=False, timeout=60)
    if imported.returncode or "it runs" not in ran.stdout:
        pytest.skip(f"podman runs no containers here: {(imported.stderr.decode() + ran.stderr)[-200:]}")
    return "icvos-proof:1"


def test_a_real_container_is_shut_in(icvos: Command, toy_release: Path, tmp_path: Path, podman: str) -> None:
    words = ("--engine", "podman", "--memory-limit", "1GB", "--disk-limit", "100MB", "--benchmark", toy_release, "--out", tmp_path / "runs")
    said = icvos("run", "--container", podman, *words)
    assert said.code == 0, said
    assert len(predictions(tmp_path / "runs/icvos-proof")) == EPISODES


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserInputError, match="neither docker nor podman"):
        container("x")
    with pytest.raises(UserInputError, match="cannot ask podman"):
        container("x", "podman")
