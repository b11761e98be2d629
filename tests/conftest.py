"""Fixtures: where the golden vectors and the real sample lie, and a toy release for tests that need any release."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toys import make_coco, make_davis, two_clips

from icvos.cli import main

SHARED = Path(__file__).parents[2] / "shared"
if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: workers that each take all cores wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Real DAVIS clips and COCO images (ICVOS_SAMPLE_DATA, or ../shared/data)."""
    root = Path(os.environ.get("ICVOS_SAMPLE_DATA", SHARED / "data"))
    if not root.is_dir():
        pytest.skip(f"no real sample data in {root}; set ICVOS_SAMPLE_DATA")
    return root


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from the user's cache, and nothing is left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def icvos(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in this process: ``icvos("build", "--out", path)``."""

    def call(*words: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Said(int(leaving.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine, and an empty current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("ICVOS_DATA", raising=False)


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a toy DAVIS/ and COCO/ inside; tests must not change it."""
    data = tmp_path_factory.mktemp("data")
    make_davis(data / "DAVIS", two_clips())
    make_coco(data / "COCO")
    return data


@pytest.fixture(scope="session")
def toy_release(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release built of the toy data: rex/dog, tom/cat, tom/person; tests must not change it."""
    out = tmp_path_factory.mktemp("release") / "R"
    with pytest.raises(SystemExit) as leaving:
        main(["build", "--data", str(toy_data), "--out", str(out)])
    assert not leaving.value.code
    return out


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser for the pages; tests with it are skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(programs):
        pytest.skip("Chromium or its driver is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    words = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
    for word in [*words.split(), "disable-dev-shm-usage", "window-size=1366,900", f"user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()
