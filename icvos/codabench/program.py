"""Scores one submission on a Codabench worker: ``python3 score.py INPUT OUTPUT --protocol native@1``.

This file goes into the scoring program as `score.py`, with the icvos package beside it. Until the packages that icvos needs
are found it may lean on nothing but the standard library, and on no syntax that an older Python would stumble over.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

# What scoring imports: module -> the name of its distribution. requirements.txt beside this file says the versions.
NEEDED = {
    "jinja2": "jinja2",
    "numpy": "numpy",
    "PIL": "pillow",
    "pycocotools": "pycocotools",
    "pydantic": "pydantic",
    "scipy": "scipy",
    "zlib_ng": "zlib-ng",
}
OLDEST = (3, 11)
HERE = Path(__file__).resolve().parent
NOT_THE_SUBMISSION = 3


def main() -> int:
    """Score; gives the exit code: 0, 4 for a faulty submission, 3 where the competition itself is at fault."""
    if sys.version_info < OLDEST:
        return _refuse("the competition's docker image has Python {}.{}, expected 3.11 or later".format(*sys.version_info[:2]))
    sys.path.insert(0, str(HERE))  # this very copy of icvos scores, whatever else is installed
    with tempfile.TemporaryDirectory() as folder:
        if missing := _missing():
            _install(folder)
        if missing and (missing := _missing()):
            return _refuse(f"the competition's docker image lacks {', '.join(missing)}, and pip could not fetch them")
        from icvos.codabench.scoring import score_submission

        return score_submission(sys.argv[1:])


def _missing() -> list[str]:
    return [name for module, name in NEEDED.items() if find_spec(module) is None]


def _install(folder: str) -> None:
    quietly = ["install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", *quietly, "--target", folder, "-r", str(HERE / "requirements.txt")]
    subprocess.run(command, check=False, stdout=sys.stderr)
    sys.path.insert(1, folder)
    invalidate_caches()


def _refuse(why: str) -> int:
    sys.stderr.write(f"icvos: this is no fault of the submission: {why}; organisers: see the Dockerfile in the bundle\n")
    return NOT_THE_SUBMISSION


if __name__ == "__main__":
    sys.exit(main())
