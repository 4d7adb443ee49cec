"""The store of results: what comes back, what a crash leaves, what is refused."""

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tracker.errors import SnapshotError
from tracker.project.results import Direction, ResultStore
from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult

TIMES = StageTimes(0.0, 0.0)


def result(step: int, *areas: int) -> TrackResult:
    objects = []
    for number, area in enumerate(areas, 1):
        mask_hw = np.arange(12).reshape(3, 4) < area
        rows, columns = np.nonzero(mask_hw)
        box = (0, 0, int(columns.max()) + 1, int(rows.max()) + 1) if area else None
        state = ObjectState.VISIBLE if area else ObjectState.OCCLUDED
        objects.append(
            ObjectResult(
                number, None, state, 1 / 3, 0.1 + 0.2, box, mask_hw, identity=0.7 if area else None
            )
        )
    return TrackResult(step, tuple(objects), TIMES)


def test_results_come_back_to_the_last_bit(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.put(Direction.FORWARD, 7, result(3, 5, 0))
        store.put(Direction.BACKWARD, 7, result(1, 9))
        assert store.step(Direction.FORWARD, 7) == 3
        assert store.step(Direction.FORWARD, 8) is None
        found = [item.result("dog") for item in store.objects(Direction.FORWARD, 7)]
        for got, put in zip(found, result(3, 5, 0).objects, strict=True):
            assert np.array_equal(got.mask_hw, put.mask_hw)
            assert got == replace(put, label="dog", mask_hw=got.mask_hw)
        facts = [(item.frame, item.id, item.area) for item in store.facts(Direction.FORWARD)]
        assert facts == [(7, 1, 5), (7, 2, 0)]


def test_a_frame_that_is_tracked_again_replaces_what_was_there(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.begin("model", 0)
        for frame in range(4):
            store.put(Direction.FORWARD, frame, result(frame, 5, 5))
        store.end_forward()
        store.begin("model", 2)
        assert (store.tracked_to, store.is_forward_done) == (2, False)
        store.put(Direction.FORWARD, 2, result(2, 6))
        assert store.tracked_to == 3
        assert [item.id for item in store.objects(Direction.FORWARD, 2)] == [1]
        assert [item.id for item in store.objects(Direction.FORWARD, 3)] == [1, 2]  # of before
        store.end_forward()  # the source ends here now
        assert store.objects(Direction.FORWARD, 3) == []


WRITES = """
import os, signal, sys
from pathlib import Path
from tests.project.test_results import result
from tracker.project.results import Direction, ResultStore
store = ResultStore(Path(sys.argv[1]))
store.begin("model", 0)
for frame in range(50):
    store.put(Direction.FORWARD, frame, result(frame, 5))
store.commit()
store.put(Direction.FORWARD, 50, result(50, 5))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_it_committed(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(path)],
        env=os.environ | {"PYTHONPATH": root},
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with ResultStore(path) as store:
        assert store.tracked_to == 50
        assert sum(1 for _ in store.facts(Direction.FORWARD)) == 50


def test_a_reader_sees_what_is_committed_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.begin("model", 0)
        store.put(Direction.FORWARD, 0, result(0, 5))
        with ResultStore(path, read_only=True) as reader:
            assert reader.tracked_to == 0
            store.commit()
            assert reader.tracked_to == 1


def test_damaged_and_newer_ones_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(SnapshotError, match="cannot be read"):
        ResultStore(path)
    path.unlink()
    ResultStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value='2' WHERE key='version'")
    with pytest.raises(SnapshotError, match="has version 2"):
        ResultStore(path)
