"""Writes the bundle: a zip to upload, or the folder that the zip would hold. The same release gives the same bytes.

competition.yaml  logo.png  pages/*.md   what people see
starting_kit.zip                         public: the release's two files, one floor's masks, how to hand in
scoring_program.zip                      this package, and the command that runs it
reference_data.zip                       private: the release's two files, and the masks that count
image/                                   what a docker image with all that scoring needs is built from
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from icvos.benchmark import EPISODES, MANIFEST, Benchmark, tube_id
from icvos.codabench import program
from icvos.codabench.check import check
from icvos.codabench.competition import COLUMNS, LOGO, REFERENCE_DATA, SCORING_PROGRAM, STARTING_KIT, competition, logo, pages
from icvos.codabench.plan import Plan
from icvos.codabench.rules import COMPETITION, METADATA
from icvos.codabench.scoring import TRUTH
from icvos.errors import IcvosError, UserInputError
from icvos.files import (
    AnyPath,
    atomic_file,
    atomic_folder,
    output_file,
    read_data,
    sweep,
    temporary_beside,
    temporary_for,
    to_json,
    write_bytes,
)
from icvos.names import data_in
from icvos.png import encode_png
from icvos.registry import load_method
from icvos.scoring import scored_frames
from icvos.types import Frame, Segmenter, Tube

SAMPLE = "sample_submission.zip"
FLOOR = "centre-box"  # whose masks are the example: it looks at no picture
DOCKERFILE = """\
# An image that scores without a network: docker build -t YOU/icvos-scoring image && docker push YOU/icvos-scoring
FROM {base}
COPY requirements.txt /requirements.txt
RUN pip install --no-cache-dir -r /requirements.txt
"""
Entry = tuple[str, bytes]


def default_image() -> str:
    """The public docker image with this Python; packages that it lacks are fetched by pip when a submission is scored."""
    return "python:{}.{}-slim".format(*sys.version_info[:2])


def write_bundle(plan: Plan, benchmark: Benchmark, out: AnyPath, *, on_file: Callable[[int], None] = lambda files: None) -> None:
    """Write the bundle to `out`: a zip where the name ends in .zip, else a folder. It appears when it is whole and checked.

    Args:
        plan: what `planned` gave.
        benchmark: the release.
        out: the zip or the folder.
        on_file: called with the number of masks that were written.

    Raises:
        UserInputError: `out` cannot be written, or is a folder with other files in it.
        DataError: a mask is not the one that the release names.
        IcvosError: the bundle breaks a rule of Codabench's.
    """
    out = Path(out)
    as_zip = out.suffix == ".zip"
    if out.is_dir() if as_zip else out.exists() and (not out.is_dir() or _strangers(out)):
        raise UserInputError("something else is there", out, expected="a new name, or a bundle to replace", fix="give another --out")
    sweep(path for path in out.parent.glob(".*.????????.partial") if temporary_for(path) == out)  # of versions before this
    if not as_zip:
        with atomic_folder(out, replacing=True) as folder:
            _write_checked(plan, benchmark, folder, out, on_file)
        return
    with atomic_file(out) as stream, temporary_beside(output_file(out), Path.mkdir) as folder:
        _write_checked(plan, benchmark, folder, out, on_file)
        _pack(folder, stream)


def _write_checked(plan: Plan, benchmark: Benchmark, folder: Path, out: Path, on_file: Callable[[int], None]) -> None:
    _write_parts(plan, benchmark, folder, on_file)
    if findings := check(folder, [key for _, key, _ in COLUMNS]):
        raise IcvosError("the bundle breaks Codabench's rules", out, f"{len(findings)}", "none", f"first: {findings[0]}", findings)


def _strangers(folder: Path) -> bool:
    return bool(data_in(folder)) and not (folder / COMPETITION).is_file()


def _write_parts(plan: Plan, benchmark: Benchmark, folder: Path, on_file: Callable[[int], None]) -> None:
    written = dict(pages(plan, benchmark))
    readme = written.pop("README")
    for name, text in written.items():
        write_bytes(folder / f"pages/{name}.md", text.encode())
    requirements = "".join(f"{name}=={version(name)}\n" for name in sorted(program.NEEDED.values())).encode()
    write_bytes(folder / LOGO, logo())
    write_bytes(folder / "image/Dockerfile", DOCKERFILE.format(base=default_image()).encode())
    write_bytes(folder / "image/requirements.txt", requirements)
    _write_zip(folder / SCORING_PROGRAM, _program(plan, requirements))
    _write_zip(folder / REFERENCE_DATA, _reference(plan, benchmark, on_file))
    _write_zip(folder / STARTING_KIT, _kit(plan, benchmark, readme, on_file))
    write_bytes(folder / COMPETITION, to_json(competition(plan)).encode())


def _program(plan: Plan, requirements: bytes) -> Iterator[Entry]:
    """The scoring program: the whole of this package's own code, so that the numbers are its own."""
    command = f"python3 /app/program/score.py /app/input /app/output --protocol {plan.protocol.id}"
    yield METADATA, to_json({"command": command + (" --allow-missing" if plan.allow_missing else "")}).encode()
    yield "score.py", read_data(Path(program.__file__))
    yield "requirements.txt", requirements
    home = Path(__file__).parents[1]
    for path in sorted(path for pattern in ("*.py", "*.j2", "*.css") for path in home.rglob(pattern)):
        yield f"icvos/{path.relative_to(home).as_posix()}", read_data(path)


def _release(benchmark: Benchmark) -> Iterator[Entry]:
    for name in (MANIFEST, EPISODES):
        yield name, read_data(benchmark.path / name)


def _reference(plan: Plan, benchmark: Benchmark, on_file: Callable[[int], None]) -> Iterator[Entry]:
    """The truth: only masks that count, each with the terms of its source beside it."""
    yield from _release(benchmark)
    for share in plan.shares:
        words = f"{share.title}\n{share.page}\n{share.licence}\n\nOnly to score with: {share.hosting}.\n"
        yield f"{TRUTH}/{share.source}/TERMS.txt", words.encode()
    for path, frame in plan.truth.items():
        if frame.mask:
            yield path, read_data(frame.mask, frame.mask_sha256)
            on_file(1)


def _kit(plan: Plan, benchmark: Benchmark, readme: str, on_file: Callable[[int], None]) -> Iterator[Entry]:
    """What participants download: no truth in it, but for the hashes by which the release names every file."""
    yield "README.md", readme.encode()
    yield from ((f"release/{name}", data) for name, data in _release(benchmark))
    with tempfile.TemporaryFile() as stream:
        _zip(stream, _sample(plan, benchmark, on_file))
        stream.seek(0)
        yield SAMPLE, stream.read()


def _sample(plan: Plan, benchmark: Benchmark, on_file: Callable[[int], None]) -> Iterator[Entry]:
    """A submission that scores: the masks of a floor, one zip an episode."""
    floor = load_method(FLOOR).segmenter
    for record in benchmark.records:
        tube = benchmark.tubes[tube_id(record.id)]
        frames = scored_frames(benchmark, tube, plan.protocol)
        stream = BytesIO()
        _zip(stream, _answers(floor, tube, frames) if frames else ())
        yield f"{record.id}.zip", stream.getvalue()
        on_file(len(frames))


def _answers(floor: Segmenter, tube: Tube, frames: Sequence[Frame]) -> Iterator[Entry]:
    blank = np.zeros((*tube.clip.size, 3), np.uint8)
    for frame, mask in zip(frames, floor.segment([blank] * len(frames), ()), strict=True):
        yield f"{frame.id}.png", encode_png(mask)


def _write_zip(path: Path, entries: Iterable[Entry]) -> None:
    with atomic_file(path) as stream:
        _zip(stream, entries)


def _zip(stream: IO[bytes], entries: Iterable[Entry]) -> None:
    """A zip whose bytes hang on its entries alone: no dates, no owners."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in entries:
            archive.writestr(_info(name), data)


def _pack(folder: Path, stream: IO[bytes]) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as source, archive.open(_info(path.relative_to(folder).as_posix()), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # dated 1980
    info.compress_type = zipfile.ZIP_STORED if name.endswith((".png", ".zip")) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
