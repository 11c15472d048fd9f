"""What the tests of the whole share: a cache that lasts for a session, a place to run in, the measured clips."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.absent import absent
from tests.browser import Browser, chromium
from tests.running import LIGHT, Place, Running
from tests.traffic import GATE, SIZE, write_traffic


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured choices and the demo's clips are made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path) -> Place:
    return Place(tmp_path, cache=cache)


@pytest.fixture
def quick(tmp_path: Path, cache: Path) -> Place:
    """A place whose detector sees small pictures, for clips of `tests.traffic`, and which measures nothing."""
    width, height = SIZE
    return Place(tmp_path, cache=cache, plates__input_width=width, plates__input_height=height, **LIGHT)


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clip in which three vehicles pass."""
    return write_traffic(tmp_path_factory.mktemp("traffic") / "three.mp4", GATE[:3])


@pytest.fixture(scope="session")
def video() -> Path:
    """The folder of real clips."""
    data = Path(os.environ.get("PLATOON_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not (data / "video").is_dir():
        absent(f"no real clips in {data / 'video'}; PLATOON_DATA names the folder that holds video/")
    return data / "video"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if chromium() is None:
        absent("no chromium; `make system-packages` installs it")
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the log of every process that a failed test has as its argument."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        running = {name: value for name, value in item.funcargs.items() if isinstance(value, Running)}
        report.sections += [(f"log of {name}", value.log) for name, value in running.items()]
    return report
