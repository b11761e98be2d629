"""A progress bar with rate and time left on a terminal's stderr; silent anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any


@contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar for `total` steps; yields the function that says how many more are done."""
    if not sys.stderr.isatty():  # nor is rich imported
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        """Steps a second and time left."""

        def render(self, task: Any) -> Text:
            return Text(pace(task.completed, total, task.elapsed or 0.0, unit), style="cyan")

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Pace(), console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


def pace(done: float, total: float, seconds: float, unit: str) -> str:
    """Rate and time left from all that was done so far: whole clips come in bursts, of which a recent rate says nothing."""
    if not done or not seconds:
        return f"- {unit}/s"
    rate = done / seconds
    return f"{rate:.{0 if rate >= 10 else 1}f} {unit}/s, {timedelta(seconds=round((total - done) / rate))} left"


@contextmanager
def file_bar(what: str, unit: str = "files") -> Iterator[Callable[[int, int], None]]:
    """The same for functions that report (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
