"""Doing what can be done of a recipe: each job is commands of icvos, and a job whose file is there is never done again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from icvos.files import write_text
from icvos.reproduce.jobs import Here, Job
from icvos.reproduce.recipes import Recipe
from icvos.reproduce.report import ready

_TOLD = 300  # characters of what a failed command said


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


Execute: TypeAlias = Callable[[Sequence[str]], Outcome]


def execute(words: Sequence[str]) -> Outcome:
    """One command of icvos in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "icvos", *words], capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_ready(
    recipe: Recipe,
    here: Callable[[], Here],
    *,
    run: Execute = execute,
    on_job: Callable[[Job], None] | None = None,
) -> dict[str, str]:
    """Do every job of a recipe that can be done, one after the other.

    Args:
        recipe: which.
        here: looks at what is at hand; asked again after each job, for a job may have made the release.
        run: runs a command.
        on_job: told of each job before it begins.

    Returns:
        Name of a job -> what its command said, for those that failed. What they leave is kept, and they can be tried again.
    """
    failed: dict[str, str] = {}
    while job := ready(recipe, here(), failed):
        if on_job:
            on_job(job)
        said = _done(job, run)
        if said or job.file is None:
            failed[job.name] = said or f"it ended well and left no {job.makes[-1].name}"
    return failed


def _done(job: Job, run: Execute) -> str:
    """Run the commands of a job; gives what a failing one said."""
    for place, words in enumerate(job.commands, start=1):
        outcome = run(words)
        if outcome.code:
            lines = outcome.err.strip().splitlines() or ["nothing was said"]
            return f"icvos {words[0]} ended with code {outcome.code}: {lines[-1][:_TOLD]}"
        if job.captured and place == len(job.commands):
            write_text(job.makes[-1], outcome.out)
    return ""
