"""The kit as tests, one a check: ``pytest --pyargs icvos.conformance --method NAME``."""

from __future__ import annotations

from pathlib import Path

import pytest

from icvos.conformance.checks import CHECKS
from icvos.errors import IcvosError
from icvos.registry import LoadedMethod, load_method
from icvos.types import Compute

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools under numpy 2


@pytest.fixture(scope="session")
def method(pytestconfig: pytest.Config) -> LoadedMethod:
    """The method that --method names."""
    spec = pytestconfig.getoption("--method", default=None)
    if not spec:
        say = "pytest --pyargs icvos.conformance --method NAME or path.py:Class"
        pytest.exit(f"icvos: which method? say: {say}", returncode=pytest.ExitCode.USAGE_ERROR)
    given = {name: pytestconfig.getoption(f"--{name}", default=None) for name in ("device", "sam", "weights")}
    try:
        return load_method(spec, Compute(**{name: value for name, value in given.items() if value}))
    except IcvosError as error:
        pytest.exit(f"icvos: {error}", returncode=error.exit_code)


@pytest.mark.parametrize("name", CHECKS)
def test_conformance(name: str, method: LoadedMethod, tmp_path: Path) -> None:
    """One check of the kit."""
    fault = ""
    try:
        CHECKS[name](method, tmp_path)
    except IcvosError as error:
        fault = f"{error}\n({(CHECKS[name].__doc__ or '').strip()})"
    if fault:  # outside of the except, so that the sentence stands alone
        pytest.fail(fault, pytrace=False)
