"""How long a person waits for `icvos --help`, beside the interpreter alone (the floor) and an import of everything it avoids.

    python benchmarks/startup.py [--rounds N]

The last figures stand in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "icvos --help": [sys.executable, "-m", "icvos", "--help"],
    "import numpy, scipy.stats, skimage, pydantic": [sys.executable, "-c", "import numpy, scipy.stats, skimage.io, pydantic"],
}


def seconds(words: list[str]) -> float:
    """The time from start to exit."""
    started = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Time the cases in turn, so that a slow moment of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(parser.parse_args().rounds):
        for name, words in CASES.items():
            times[name].append(seconds(words))
    floor = statistics.median(times["python -c pass"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<46} {median:6.3f} s   {median / floor:5.1f} x the interpreter alone")


if __name__ == "__main__":
    main()
