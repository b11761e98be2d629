"""In-context video object segmentation: records, files, scoring and boards.

    benchmark = icvos.load_benchmark("ic-vos")
    done = icvos.run("support-shape", benchmark)
    result = icvos.score(done, benchmark=benchmark)
    board = icvos.Leaderboard.collect([result])

Importing this package is cheap and never imports torch, numba or scikit-image; each module says what it needs, and what is
named here is loaded when it is first asked for. docs/tutorial.md goes through all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icvos import submission
    from icvos.api import compare, load_benchmark, run, score
    from icvos.board import Leaderboard
    from icvos.registry import load_method
    from icvos.results import Result

__version__ = "0.1.0"
__all__ = ["Leaderboard", "Result", "__version__", "compare", "load_benchmark", "load_method", "run", "score", "submission"]

_HOMES = {
    "compare": "icvos.api",
    "load_benchmark": "icvos.api",
    "run": "icvos.api",
    "score": "icvos.api",
    "load_method": "icvos.registry",
    "Leaderboard": "icvos.board",
    "Result": "icvos.results",
}


def __getattr__(name: str) -> Any:
    """What is named here, from the module where it stands.

    Raises:
        AttributeError: nothing is named so.
    """
    if name == "submission":  # a module, for its `check`, `pack` and `score`
        return import_module("icvos.submission")
    if name not in _HOMES:
        raise AttributeError(f"module 'icvos' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
