"""How far a long command is: a line that is redrawn on a terminal, and one line a minute anywhere else. Both go to stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

EVERY = 60.0  # seconds between two lines where there is no terminal
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SHORTEST_BAR, _LONGEST_BAR = 8, 30
_GAP = "  "


class Advance(Protocol):
    """Tells how many more steps are done, and what is being worked on now."""

    def __call__(self, steps: int, now: str = "") -> None:
        """Count `steps` more."""


@dataclass(slots=True)
class _State:
    """What is known of how far it is."""

    what: str
    total: float | None
    unit: str
    done: float = 0
    now: str = ""
    began: float = field(default_factory=time.monotonic)

    def advance(self, steps: int, now: str = "") -> None:
        self.reach(self.done + steps, self.total, now)

    def reach(self, done: float, total: float | None, now: str = "") -> None:
        self.done, self.total, self.now = done, total, now or self.now

    def _scale(self) -> tuple[float, str]:
        """What bytes are shown in, by how many there are; anything else is counted one by one."""
        most = max(self.total or 0, self.done)
        found = next((one for one in _BYTES if most >= 10 * one[0]), _BYTES[-1])
        return found if self.unit == "bytes" else (1, self.unit)

    def facts(self) -> tuple[str, str, str]:
        """How many of how many; how fast, and how long it may take yet; the latter alone."""
        scale, unit = self._scale()
        done, seconds = self.done / scale, time.monotonic() - self.began
        if self.total is None:
            return f"{done:,.0f} {unit}" if done else "", _clock(seconds), _clock(seconds)
        total = self.total / scale
        said = pace(done, total, seconds, unit)
        return f"{done:,.0f}/{total:,.0f} {unit}", said, said.rpartition(", ")[2]


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show progress over `total` steps (None where nobody knows); yields the function that says how many more are done."""
    with _shown(_State(what, total, unit)) as state:
        yield state.advance


@contextmanager
def file_bar(what: str, unit: str = "files") -> Iterator[Callable[[int, int | None], None]]:
    """The same for functions that report (done, total)."""
    with _shown(_State(what, None, unit)) as state:
        yield state.reach


def pace(done: float, total: float, seconds: float, unit: str) -> str:
    """Rate and time left from all that was done so far: whole clips come in bursts, of which a recent rate says nothing."""
    if not done or not seconds:
        return f"- {unit}/s"
    rate = done / seconds
    return f"{rate:.{0 if rate >= 10 else 1 if rate >= 0.1 else 3}f} {unit}/s, {_clock((total - done) / rate)} left"


def line(state: _State, width: int, full: str = "━", empty: str = "─") -> str:
    """The state in at most `width` columns: first what is counted, then time, then what is worked on, then a bar in what is left."""
    counted, how_fast, left = state.facts()
    every = ([state.what, counted, how_fast], [state.what, counted, left], [counted or state.what, left])
    parts = next((fitting for one in every if len(_GAP.join(fitting := [*filter(None, one)])) <= width), None)
    if parts is None:
        return _cut(_GAP.join(filter(None, every[-1])), width)
    room = width - len(_GAP.join(parts)) - len(_GAP)
    now = _cut(state.now, room) if room >= _SHORTEST_BAR else ""
    if now:
        parts.append(now)
        room -= len(now) + len(_GAP)
    length = min(_LONGEST_BAR, room)
    if state.total and length >= _SHORTEST_BAR:
        filled = int(length * min(1.0, state.done / state.total))
        parts.insert(1, full * filled + empty * (length - filled))
    return _GAP.join(parts)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else f"{words[: width - 1]}…" if width > 0 else ""


@contextmanager
def _shown(state: _State) -> Iterator[_State]:
    terminal = sys.stderr.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}
    with _on_terminal(state) if terminal else _now_and_then(state):
        yield state


@contextmanager
def _now_and_then(state: _State) -> Iterator[None]:
    """A line a minute, also while a single step takes longer: whoever reads a log sees that it lives."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(EVERY):
            counted, how_fast, _ = state.facts()
            said = ", ".join(filter(None, (counted, how_fast))) + (f"; {state.now}" if state.now else "")
            try:
                print(f"icvos: {state.what}: {said}", file=sys.stderr, flush=True)  # noqa: T201  # from a thread, where click has no context
            except (OSError, ValueError):  # nobody reads on
                return

    thread = threading.Thread(target=speak, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _on_terminal(state: _State) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.text import Text

    console = Console(stderr=True)
    marks = ("━", "─") if console.encoding.lower().startswith("utf") else ("#", "-")

    class Line(ProgressColumn):
        """All of the state, which fits whatever width the terminal has by now."""

        def render(self, task: Any) -> Text:
            return Text(line(state, console.width - 1, *marks), style="cyan", no_wrap=True, overflow="crop")

    with Progress(Line(), console=console) as progress:
        progress.add_task(state.what, total=None)
        yield
