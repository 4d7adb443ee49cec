"""Snapshots to go on from: what is kept where they have no room, and what is found."""

from itertools import pairwise
from pathlib import Path

import pytest

from tracker.project.snapshots import Snapshots

SIZE_BYTES = 100


class Session:
    def save(self, path: Path, /) -> None:
        path.write_bytes(b"\0" * SIZE_BYTES)


def kept(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.iterdir())


@pytest.mark.slow
def test_where_they_have_no_room_those_that_are_left_lie_evenly(tmp_path: Path) -> None:
    room, frames = 12, 18_000
    snapshots = Snapshots(tmp_path, max_bytes=room * SIZE_BYTES)
    for frame in range(25, frames + 1, 25):
        snapshots.put(frame, Session())
        assert len(kept(tmp_path)) <= room
    found = kept(tmp_path)
    assert (found[0], found[-1]) == (25, frames)
    newest = snapshots.newest(9000)
    assert newest is not None and newest > 7000
    assert max(b - a for a, b in pairwise(found)) <= 2 * frames / (room - 1)


def test_the_first_and_the_last_stay_however_large_they_are(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, max_bytes=SIZE_BYTES)
    for frame in (25, 50, 75):
        snapshots.put(frame, Session())
    assert kept(tmp_path) == [25, 75]


def test_a_change_drops_the_later_ones_alone(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for frame in (25, 50, 75):
        snapshots.put(frame, Session())
    snapshots.drop_after(50)
    assert kept(tmp_path) == [25, 50]
    assert snapshots.newest(49) == 25
    assert snapshots.newest(24) is None
