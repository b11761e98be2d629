"""Does the data on this disk still match the release? Every fault, not the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from icvos.benchmark import SUPPORT_SOURCE, Benchmark
from icvos.errors import Finding
from icvos.files import map_files, sha256_file
from icvos.names import accents_note


def verify_release(benchmark: Benchmark, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[Finding]:
    """Compare every file that the release names with the one on disk, on all cores.

    Returns:
        One finding a fault, sorted by path: a file that is missing, unreadable or another one.

    Raises:
        UserInputError: it is not known where a source lies.
    """
    expected = dict(_expected(benchmark))
    files = sorted(expected)
    findings = []
    for done, (path, found) in enumerate(zip(files, map_files(_digest, files), strict=True), 1):
        if finding := _compare(path, found, expected[path]):
            findings.append(finding)
        on_progress(done, len(files))
    return findings


def _expected(benchmark: Benchmark) -> Iterator[tuple[Path, str]]:
    for tube in benchmark.tubes.values():
        for frame in tube.clip.frames:
            yield frame.image, frame.image_sha256
            if frame.mask:
                yield frame.mask, frame.mask_sha256
    root = benchmark.root(SUPPORT_SOURCE)
    for record in benchmark.records:
        for support in record.supports:
            yield root / support.file, support.sha256


def _digest(path: Path) -> str | OSError:
    try:
        return sha256_file(path)
    except OSError as error:
        return error


def _compare(path: Path, found: str | OSError, expected: str) -> Finding | None:
    if isinstance(found, FileNotFoundError):
        note = accents_note(path)
        fix = "rename one of them as the other is called" if note else "fetch the source again"
        return Finding("missing", str(path), note or "no file", f"sha256 {expected[:12]}…", fix)
    if isinstance(found, OSError):
        return Finding("unreadable", str(path), found.strerror or "an error", "a file that can be read", "check its permissions")
    if found != expected:
        return Finding("changed", str(path), f"sha256 {found[:12]}…", f"{expected[:12]}…", "fetch the source again")
    return None
