"""How a foreign method is started: a command of this machine, or a container image through docker or podman."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from icvos.errors import UserInputError
from icvos.files import sha256_file
from icvos.parallel import core_count
from icvos.programs.job import Job, Limits, walls_here
from icvos.programs.keeper import Order
from icvos.programs.namespaces import MEMORY_FILES
from icvos.programs.needs import needed
from icvos.programs.walls import Walls

INPUT, OUTPUT = "{input}", "{output}"
Engine = Literal["docker", "podman"]
ENGINES: tuple[Engine, ...] = ("docker", "podman")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", MEMORY_FILES)
_READ_DEVICES = ("/dev/random", "/dev/urandom")
_GPU_DEVICES = ("nvidia*", "dri", "kfd")
_INSPECT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Program:
    """A command: its words, with the folders' places in them, and what its code is."""

    words: tuple[str, ...]
    code: str
    name: str  # of its file, for a card that says none
    device: str = "auto"
    hidden: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()  # what it needs to run, and what it was allowed
    walls: Walls = field(default_factory=walls_here)

    def command(self, given: str = INPUT, wanted: str = OUTPUT, name: str = "", limits: Limits | None = None) -> list[str]:
        """The words, with the folders in their places."""
        return [word.replace(INPUT, given).replace(OUTPUT, wanted) for word in self.words]

    def is_hidden(self, path: Path) -> bool:
        """Whether a path lies where the truth is."""
        real = path.resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in self.hidden)

    def opens_hidden(self, path: Path) -> bool:
        """Whether allowing a path would open the truth."""
        return any(_overlap(path, folder) for folder in self.hidden)

    def is_readable(self, path: Path) -> bool:
        """Whether the program may read a path, unless it is hidden."""
        real = path.resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in self.readable)

    def order(self, job: Job, limits: Limits) -> Order:
        """What the keeper is told: a scant environment, and no writing but where it should."""
        devices = [str(path) for name in _GPU_DEVICES for path in Path("/dev").glob(name)] if _gpu(self.device) is not None else []
        scratch, output = str(job.scratch), str(job.output)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": scratch, "TMPDIR": scratch}
        return Order(
            command=self.command(str(job.input), output),
            environment=environment | _visible_gpus(self.device),
            folder=scratch,
            watched=[output, scratch],
            seconds=limits.seconds,
            memory_bytes=limits.memory_bytes,
            disk_bytes=limits.disk_bytes,
            files=limits.files,
            processes=limits.processes,
            walls=list(self.walls),
            root=str(job.root),
            writable=[output, scratch, *_DEVICES, *devices],
            given=[str(job.input), *_READ_DEVICES],
            readable=[str(path) for path in self.readable],
            hidden=[str(path) for path in self.hidden],
            afterwards=[],
        )


@dataclass(frozen=True, slots=True)
class Container:
    """An image on this machine, and the engine that runs it."""

    engine: Engine
    image: str
    image_id: str  # sha256:...; that is what runs, wherever the name points by then; empty before it was looked up
    device: str = "auto"

    @property
    def name(self) -> str:
        """The image's own name, without where it comes from and its tag."""
        return self.image.rpartition("/")[2].partition("@")[0].partition(":")[0]

    @property
    def code(self) -> str:
        """What its code is: the image's id."""
        return f"image {self.image_id or 'not looked up'}"

    def command(self, given: str = INPUT, wanted: str = OUTPUT, name: str = "icvos-NAME", limits: Limits | None = None) -> list[str]:
        """The engine's command line: no network, nothing writable but the output and a temporary folder, no rights."""
        limits = limits or Limits()
        memory, whose = f"{limits.memory_bytes}b", f"{os.getuid()}:{os.getgid()}"
        private = ",Z" if self.engine == "podman" else ""  # labels the folders where SELinux is on; docker's is off by default
        return [
            *(self.engine, "run", "--rm", "--name", name, "--pull", "never", "--network", "none"),
            *("--read-only", "--tmpfs", f"/tmp:rw,exec,nosuid,nodev,size={limits.memory_bytes}", "--ipc", "private", "--shm-size", "1g"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", str(limits.processes)),
            *("--memory", memory, "--memory-swap", memory, "--cpus", str(core_count())),
            *("--ulimit", f"fsize={limits.disk_bytes}", "--ulimit", "core=0", "--log-driver", "none"),
            *("--user", whose, *(("--userns", "keep-id") if self.engine == "podman" and os.getuid() else ())),
            *("--workdir", "/tmp", "--env", "HOME=/tmp", "--env", "TMPDIR=/tmp"),
            *("--volume", f"{given}:/input:ro{private}", "--volume", f"{wanted}:/output:rw{private}"),
            *self._gpus(),
            self.image_id or self.image,
        ]

    def order(self, job: Job, limits: Limits) -> Order:
        """What the keeper is told: the engine limits memory and processes, the keeper time and what is written."""
        name = job.folder.name
        return Order(
            command=self.command(str(job.input), str(job.output), name, limits),
            environment=dict(os.environ),  # where the engine's socket and settings are
            folder=str(job.scratch),
            watched=[str(job.output), str(job.scratch)],
            seconds=limits.seconds,
            memory_bytes=limits.memory_bytes,
            disk_bytes=limits.disk_bytes,
            files=limits.files,
            processes=limits.processes,
            walls=None,
            root="",
            writable=[],
            given=[],
            readable=[],
            hidden=[],
            afterwards=[self.engine, "rm", "--force", name],
        )

    def _gpus(self) -> tuple[str, ...]:
        number = _gpu(self.device)
        if number is None:
            return ()
        if self.engine == "podman":
            return ("--device", f"nvidia.com/gpu={number or 'all'}")
        return ("--gpus", f"device={number}" if number else "all")


Launch = Program | Container


def program(
    said: str, device: str = "auto", hidden: Sequence[Path] = (), allowed: Sequence[Path] = (), walls: Walls | None = None
) -> Program:
    """The program that `--program` names: a path, or a command with {input} and {output} in it. No shell reads it.

    Words that are files are made absolute, for the program runs elsewhere, and their sha256 becomes part of its code.

    Args:
        said: what was typed.
        device: cuda lets it see the GPUs.
        hidden: files and folders that it must not read.
        allowed: files and folders that it may read beside what it needs to run.
        walls: what it is kept in by; by default all that this machine allows.

    Raises:
        UserInputError: no such program, it may not be executed, a folder's place is missing, or what is allowed would open what is hidden.
    """
    words = [said] if Path(said).is_file() else _split(said)
    places = [place for place in (INPUT, OUTPUT) if any(place in word for word in words)]
    if len(places) == 1:
        raise UserInputError("a folder's place is missing", "--program", said, f"both {INPUT} and {OUTPUT}, or neither", "add the other")
    if not places:
        words += [INPUT, OUTPUT]
    files = [_file_in(word) for word in words]
    _check_executable(words[0], files[0])
    for path in filter(None, files):
        _check_outside(path, hidden)
    for path in allowed:
        _check_allowed(path, hidden)
    parts = [_fingerprint(word, path) for word, path in zip(words, files, strict=True)]
    code = f"sha256 {sha256(json.dumps(parts).encode()).hexdigest()}"
    absolute = tuple(word.replace(_path_in(word), str(path)) if path else word for word, path in zip(words, files, strict=True))
    own = next((path for path in reversed(files) if path and path.suffix in _SCRIPTS), files[0]) or Path(words[0])
    readable = (*needed(words[0], files), *(path.absolute() for path in allowed))
    return Program(absolute, code, own.stem, device, tuple(hidden), readable, walls or walls_here())


_SCRIPTS = {".py", ".sh", ".jl", ".m", ".js", ".lua", ".pl", ".r", ".R", ".rb"}


def container(image: str, engine: str | None = None, device: str = "auto", *, look: bool = True) -> Container:
    """The image that `--container` names, which must be on this machine.

    Args:
        image: its name.
        engine: docker or podman; by default the one that is installed, docker first.
        device: cuda lets it see the GPUs.
        look: ask the engine for the image's id.

    Raises:
        UserInputError: no engine, or no such image.
    """
    if not image.strip() or image.startswith("-") or not image.isprintable():
        raise UserInputError("not an image", "--container", repr(image), "a name such as my-method:1", "check the name")
    found = [name for name in ENGINES if name == engine or (engine is None and shutil.which(name))]
    if not found and look:
        raise UserInputError("no container engine", "--container", "neither docker nor podman", fix="install one, or use --program")
    chosen = found[0] if found else ENGINES[0]
    return Container(chosen, image, _image_id(chosen, image) if look else "", device)


def _image_id(engine: str, image: str) -> str:
    """The id of an image: the sha256 of all that it is."""
    command = [engine, "image", "inspect", "--format", "{{.Id}}", image]
    fix = f"start the engine if it does not run; pull or build the image first: {engine} pull {image}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_INSPECT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserInputError(f"cannot ask {engine} for the image", image, str(error), fix=fix) from error
    said = done.stdout.strip()
    digest = said.removeprefix("sha256:")
    if done.returncode or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UserInputError(f"{engine} knows no such image", image, " ".join((done.stderr or said).split())[-300:], fix=fix)
    return f"sha256:{digest}"


def _split(said: str) -> list[str]:
    try:
        words = shlex.split(said)
    except ValueError as error:
        raise UserInputError("not a command", "--program", said, "words, quotes closed", "mend the quotes") from error
    if not words:
        raise UserInputError("no command", "--program", repr(said), f"COMMAND {INPUT} {OUTPUT}", "name a program")
    return words


def _path_in(word: str) -> str:
    """What may be a path in a word: ``w.pt`` in ``--weights=w.pt``."""
    return word.partition("=")[2] if word.startswith("-") and "=" in word else word


def _file_in(word: str) -> Path | None:
    """The absolute path of the file that a word names, or of a folder if it is written as a path; links stay as they are."""
    text = _path_in(word)
    path = Path(text)
    try:
        there = bool(text) and (path.is_file() or ("/" in text and path.is_dir()))
    except (OSError, ValueError):
        return None
    return Path(os.path.abspath(path)) if there else None  # noqa: PTH100  # resolving would leave a virtual environment


def _check_executable(word: str, path: Path | None) -> None:
    if path is None and shutil.which(word) is None:
        raise UserInputError("no such program", f"--program {word}", fix="check the path, or what is on PATH")
    if path is not None and not os.access(path, os.X_OK):
        fix = f"chmod +x it, or say --program 'python3 {word} {INPUT} {OUTPUT}'"
        raise UserInputError("the program may not be executed", path, fix=fix)


def _check_outside(path: Path, hidden: Sequence[Path]) -> None:
    for folder in hidden:
        if path.resolve().is_relative_to(folder.resolve()):
            fix = "move it out: the data sets and the release are closed to programs, for the truth lies there"
            raise UserInputError("the program lies among what it must not see", path, expected=f"a place outside {folder}", fix=fix)


def _check_allowed(path: Path, hidden: Sequence[Path]) -> None:
    if not path.exists():
        raise UserInputError("no such file or folder", f"--allow-read {path}", fix="check the path")
    for folder in hidden:
        if _overlap(path, folder):
            fix = "allow a folder that has none of it, such as the one with the weights alone"
            raise UserInputError("this would open the truth to the program", f"--allow-read {path}", f"{folder} is closed", fix=fix)


def _overlap(path: Path, other: Path) -> bool:
    """Whether one of two paths lies in the other, or where it leads to."""
    one, two = path.resolve(), other.resolve()
    return one.is_relative_to(two) or two.is_relative_to(one)


def _fingerprint(word: str, path: Path | None) -> str:
    """A word, or what its file holds: the same files elsewhere are the same program."""
    if path is None or not path.is_file():
        return word
    return word.replace(_path_in(word), f"{path.name} sha256 {sha256_file(path)}")


def _gpu(device: str) -> str | None:
    """The number of the GPU that a program may see, empty for all of them; None for none."""
    kind, _, number = device.partition(":")
    return number if kind == "cuda" else None


def _visible_gpus(device: str) -> dict[str, str]:
    number = _gpu(device)
    if number is None:
        return {"CUDA_VISIBLE_DEVICES": ""}
    chosen = number or os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}
