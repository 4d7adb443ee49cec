"""Zones by request: what is watched, listed and kept."""

from concurrent.futures import Future

import pytest

from tests.support.operations import SECRET_URL, Daemon, code
from tracker.daemon.messages import (
    SetZonesCommand,
)
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, ObjectsResult

SQUARE = {"polygon": [[0, 0], [9, 0], [9, 9]]}


LINE = {"line": [[0, 0], [9, 9]]}


def test_a_zone_that_is_set_is_watched_listed_and_kept_until_it_is_removed() -> None:
    daemon = Daemon()
    daemon.scheduler.answer = ObjectsResult(stream="cam1", objects=[])
    daemon.add(zones={"yard": SQUARE})
    changes = daemon.changes
    assert daemon.ask("zone.set", stream="cam1", zone="gate", **LINE) == {}
    (stream, command) = daemon.scheduler.submitted[-1]
    assert isinstance(command, SetZonesCommand)
    assert (stream, list(command.zones)) == ("cam1", ["yard", "gate"])
    listed = daemon.ask("zone.list", stream="cam1")["zones"]
    assert [one["zone"] for one in listed] == ["yard", "gate"]
    assert listed[1]["settings"]["line"] == [[0, 0], [9, 9]]
    assert daemon.changes == changes + 1
    assert list(daemon.streams.kept()["cam1"].settings.zones) == ["yard", "gate"]
    assert daemon.ask("zone.remove", stream="cam1", zone="yard") == {}
    assert list(daemon.streams.kept()["cam1"].settings.zones) == ["gate"]


def test_a_zone_that_cannot_be_set_or_removed_changes_nothing() -> None:
    daemon = Daemon()
    daemon.add(zones={f"z{number}": LINE for number in range(32)})
    assert code(lambda: daemon.ask("zone.set", stream="no", zone="a", **LINE)) is (
        ErrorCode.UNKNOWN_STREAM
    )
    assert code(lambda: daemon.ask("zone.set", stream="cam1", zone="a", **LINE)) is ErrorCode.LIMIT
    assert code(lambda: daemon.ask("zone.remove", stream="cam1", zone="a")) is (
        ErrorCode.UNKNOWN_ZONE
    )
    assert daemon.scheduler.submitted == []
    assert len(daemon.streams.kept()["cam1"].settings.zones) == 32


def test_a_zone_of_a_configured_stream_is_said_to_last_until_a_restart() -> None:
    kept: Future[None] = Future()
    daemon = Daemon(keep=lambda: kept)
    daemon.streams.add("cam1", StreamSettings(url=SECRET_URL), configured=True)
    daemon.scheduler.answer = ObjectsResult(stream="cam1", objects=[])
    reply = daemon.ask("zone.set", stream="cam1", zone="gate", **LINE)
    assert reply["durable"] is False and "configuration" in reply["reason"]


@pytest.mark.parametrize("configured", [False, True])
def test_who_waits_no_longer_for_a_zone_does_not_undo_it(configured: bool) -> None:
    """The list of zones has it from the start; the tracker must watch what is listed."""
    kept: Future[None] = Future()
    daemon = Daemon(keep=lambda: kept)
    daemon.streams.add("cam1", StreamSettings(url=SECRET_URL), configured=configured)
    reply = daemon.begin("zone.set", stream="cam1", zone="gate", **LINE)
    assert not reply.cancel()
    assert not daemon.scheduler.futures[-1].cancelled()
