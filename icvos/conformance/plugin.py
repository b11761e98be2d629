"""The options of ``pytest --pyargs icvos.conformance``: to any other session of pytest this plug-in adds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

KIT = ("icvos.conformance", "icvos.conformance.test_method")
OPTIONS = {
    "--method": "a name that `icvos methods` lists, or path.py:Class",
    "--device": "where it computes: auto, cpu, cuda, cuda:N, mps",
    "--sam": "the SAM 2 of methods that use one",
    "--weights": "weights of the method's own",
}


def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add the kit's options where the kit is asked for."""
    if any(word.partition("::")[0] in KIT for word in args):
        group = parser.getgroup("icvos", "the method to check")
        for option, text in OPTIONS.items():
            group.addoption(option, help=text, metavar=option.strip("-").upper())
