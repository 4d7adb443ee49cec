"""What is told to be wrong, and which of it a restart is for."""

import pytest

from tracker.daemon.telemetry.health import PartStatus, examine
from tracker.daemon.telemetry.status import SavingStatus, SourceStatus
from tracker.protocol.replies import StreamState

WELL = [PartStatus("tracker", True), PartStatus("control", True, 9.0)]


def source(state: StreamState, *, healthy: bool = True) -> SourceStatus:
    url = "rtsp://***@cam/x"
    return SourceStatus(url, healthy=healthy, state=state, error=f"cannot open {url}")


def test_all_is_well() -> None:
    health = examine(WELL, {"cam": source(StreamState.RUNNING)}, SavingStatus())
    assert health.faults == health.gaps == ()
    assert examine(WELL, {}, None).gaps == ()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (PartStatus("control", False), "control: its thread is gone"),
        (PartStatus("control", True, 12.0), "control: no sign of life for 12 s"),
        (PartStatus("tracker", True, 400.0, 300.0), "tracker: no sign of life for 400 s"),
    ],
)
def test_a_part_that_hangs_is_ill_and_not_ready(part: PartStatus, says: str) -> None:
    health = examine([*WELL, part], {}, None)
    assert health.faults == health.gaps == (says,)


def test_a_tracker_may_take_its_time() -> None:
    assert examine([PartStatus("tracker", True, 200.0, 300.0)], {}, None).faults == ()


def test_a_source_that_nobody_watches_is_ill() -> None:
    health = examine(WELL, {"cam": source(StreamState.CONNECTING, healthy=False)}, None)
    assert health.faults == ("stream cam: the thread that watches it is gone",)


def test_a_state_that_is_not_saved_is_not_ready_but_not_ill() -> None:
    health = examine(WELL, {}, SavingStatus(problem="no room"))
    assert health.faults == ()
    assert health.gaps == ("the state is not being saved: no room",)
    assert examine(WELL, {}, SavingStatus(healthy=False)).faults == ("saving: its thread is gone",)


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        (["retrying"], False),
        (["failed", "retrying"], False),
        (["failed", "running"], True),
        (["failed", "connecting"], True),  # not yet expected to have given a frame
        (["paused"], True),
        (["ended"], True),
        (["ended", "retrying"], False),
        ([], True),
    ],
)
def test_ready_is_who_has_a_stream_that_runs_or_none_that_should(
    states: list[str], ready: bool
) -> None:
    sources = {f"cam{i}": source(StreamState(state)) for i, state in enumerate(states)}
    health = examine(WELL, sources, None)
    assert (health.gaps == ()) is ready
    assert health.faults == ()


def test_cameras_are_named_without_their_addresses_and_not_all_of_a_hundred() -> None:
    sources = {f"cam{i}": source(StreamState.RETRYING) for i in range(100)}
    (gap,) = examine(WELL, sources, None).gaps
    assert "cam0 retrying, cam1 retrying" in gap
    assert gap.endswith("and 92 more")
    assert "rtsp" not in gap
