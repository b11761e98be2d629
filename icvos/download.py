"""One file over HTTP: a download that broke off goes on where it stopped, and one process at a time writes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from icvos.errors import UserInputError

# What a download tells while it runs: the bytes that are here, and all of them where the server says.
Progress = Callable[[int, int | None], None]

_BLOCK = 1 << 16
_WHOLE, _NOTHING_MORE = 200, 416


def download(url: str, part: Path, *, resume: bool = True, on_progress: Progress | None = None) -> None:
    """Fetch `url` into the file `part`, which keeps what came when the connection breaks.

    Args:
        url: of http or https.
        part: the unfinished file; its bytes are taken for the beginning, so only a hash can tell that it is right.
        resume: go on after those bytes; without it, begin again.
        on_progress: called with (bytes here, bytes in all or None).

    Raises:
        UserInputError: there is no connection, it broke, or the server refuses.
        OSError: the disk cannot be written.
    """
    import pooch  # type: ignore[import-untyped]
    import requests

    with part.open("ab" if resume else "wb") as stream:
        target = _Target(stream, on_progress)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={target.done}-"} if target.done else {})
        try:
            pooch.HTTPDownloader(chunk_size=_BLOCK, headers=headers, hooks={"response": target.answered})(url, target, None)
        except requests.HTTPError as error:
            if target.status != _NOTHING_MORE:
                raise _refused(url, f"status {target.status}") from error
        except requests.RequestException as error:
            raise _broken(url, _reason(error), target.done if resume else 0) from error
    if target.total is not None and target.done < target.total:
        raise _broken(url, "the end of the connection", target.done if resume else 0)


class _Target:
    """The unfinished file as pooch writes to it. The server's answer says whether the bytes are the rest or the whole."""

    def __init__(self, stream: IO[bytes], on_progress: Progress | None) -> None:
        self.stream, self.on_progress = stream, on_progress
        self.done = stream.seek(0, os.SEEK_END)
        self.total: int | None = None
        self.status = 0

    def answered(self, answer: Any, *args: Any, **kwargs: Any) -> None:
        self.status = answer.status_code
        if self.status == _WHOLE:  # even where the rest was asked for: not every server can
            self.stream.truncate(0)
            self.done = 0
        if answer.ok and not answer.is_redirect:
            length = answer.headers.get("Content-Length", "")
            self.total = self.done + int(length) if length.isdecimal() else None

    def write(self, block: bytes) -> None:
        self.stream.write(block)
        self.done += len(block)
        if self.on_progress:
            self.on_progress(self.done, self.total)

    def flush(self) -> None:
        self.stream.flush()


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the end of the connection"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__


def _broken(url: str, reason: str, done: int) -> UserInputError:
    again = f"run the same command again to go on from {done / 1e6:.1f} MB"
    fix = again if done else "check the network, then run the same command again"
    return UserInputError("the download broke off", url, found=reason, expected="the whole file", fix=fix)


def _refused(url: str, answer: str) -> UserInputError:
    return UserInputError("the server refuses", url, answer, "the file", "try again later, or fetch it by hand: see `icvos weights`")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until nobody else, thread or process, is in this block with the same lock file; the file stays, empty.

    Where system or disk know no such locks this waits for nobody: then only a hash tells what two writers left.

    Raises:
        OSError: the lock file cannot be made.
    """
    with lock.open("ab") as stream:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
