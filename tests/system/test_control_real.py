"""Requests over a real socket to a real source, tracked by a real (small) network."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from tests.support.control_clients import Client, running
from tests.support.local_streams import local_streams
from tests.support.small_pico import small_pico
from tracker.daemon.config.schema import ControlConfig, DataConfig, LimitsConfig
from tracker.daemon.control.operations import Operations
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.telemetry.collect import collect_streams
from tracker.daemon.telemetry.status import DaemonStatus
from tracker.daemon.tracking.scheduler import Scheduler
from tracker.daemon.workers.model_info import ModelInfo
from tracker.engine import Policy

PATTERN = "lavfi:testsrc2=size=320x240:rate=10"
PATIENCE_S = 60


class Asker:
    """Asks by op and fields; each request has an id of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = itertools.count()

    def __call__(self, op: str, **fields: Any) -> dict[str, Any]:
        reply = self._client.ask({"id": str(next(self._ids)), "op": op, **fields})
        assert reply["ok"], reply["error"]
        return dict(reply["result"])

    def refused(self, op: str, **fields: Any) -> str:
        reply = self._client.ask({"id": str(next(self._ids)), "op": op, **fields})
        assert not reply["ok"], reply["result"]
        return str(reply["error"]["code"])

    def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The stream's entry in the list, once it says all of this."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            (info,) = self("stream.list")["streams"]
            if all(info[name] == value for name, value in wanted.items()):
                return dict(info)
            time.sleep(0.05)
        raise AssertionError(f"{info} never came to {wanted}")


@pytest.fixture
def ask() -> Iterator[Asker]:
    context: zmq.Context[Any] = zmq.Context()
    limits = LimitsConfig(streams=2)
    publisher = Publisher(
        DataConfig(bind="tcp://127.0.0.1:*", latest_bind=None), None, context=context
    )
    scheduler = Scheduler(
        small_pico(),
        Policy(history_frames=4, max_objects=4),
        commands_queued=limits.commands_queued,
        on_tracked=publisher.tracked,
        on_event=publisher.event,
    )
    streams, _ = local_streams(scheduler, publisher, limits=limits)
    operations = Operations(
        streams=streams,
        snapshots=None,
        model=ModelInfo.of(small_pico()),
        version="0",
        limits=limits,
        control=ControlConfig(),
        ready=lambda: True,
        stream_statuses=lambda: collect_streams(streams, publisher),
        status=lambda: DaemonStatus(True, True, 0.0, "0", "pico", "cpu"),
        shut_down=lambda: None,
    )
    publisher.start()
    scheduler.start()
    try:
        with running(operations.handle) as control, Client(control) as client:
            yield Asker(client)
    finally:
        assert streams.close_all(10)
        assert scheduler.stop(10)
        publisher.stop(5)
        context.term()


def test_a_stream_s_life_as_its_clients_see_it(ask: Asker) -> None:
    assert ask("stream.list") == {"streams": []}
    ask("stream.add", stream="cam1", url=PATTERN, policy="latest", realtime=True)
    assert ask.refused("stream.add", stream="cam1", url=PATTERN) == "stream_exists"
    info = ask.wait_for(state="running", width=320, height=240)
    assert (info["url"], info["policy"], info["error"]) == (PATTERN, "latest", "")

    prompted = ask("prompt", stream="cam1", box=[100, 60, 180, 140], label="square")
    assert prompted["created"]
    assert prompted["object"]["label"] == "square"
    assert prompted["frame_seq"] <= prompted["newest_seq"]
    number = prompted["object"]["id"]
    assert ask.refused("prompt", stream="cam1", box=[100, 60, 1800, 140]) == "bad_prompt"
    assert ask.refused("object.correct", stream="cam1", object=9, points=[[5, 5]]) == (
        "unknown_object"
    )
    ask("object.relabel", stream="cam1", object=number, label="circle")

    ask("stream.pause", stream="cam1")
    ask.wait_for(state="paused", objects=1)
    (listed,) = ask("object.list", stream="cam1")["objects"]
    assert (listed["id"], listed["label"]) == (number, "circle")

    ask("stream.resume", stream="cam1")
    paused_at = ask.wait_for(state="running")["tracked"]
    deadline_s = time.monotonic() + PATIENCE_S
    while ask.wait_for(state="running")["tracked"] <= paused_at:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert len(ask("object.list", stream="cam1")["objects"]) == 1

    ask("object.remove", stream="cam1", object=number)
    assert ask("object.list", stream="cam1")["objects"] == []
    ask("stream.remove", stream="cam1")
    assert ask("stream.list") == {"streams": []}
    assert ask.refused("object.list", stream="cam1") == "unknown_stream"
