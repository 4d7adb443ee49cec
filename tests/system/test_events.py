"""Events of zones from a whole daemon: on its data socket, at a broker and at a web server."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streams.video_writer import VideoWriter
from tests.support.mosquitto import SKIP, Broker, Subscriber
from tests.support.moving_scene import frame
from tests.support.small_pico import small_pico_of
from tests.support.webhooks import Receiver
from tools.serving import Daemon
from tracker.client import Client, Event
from tracker.client.client import Subscription
from tracker.protocol.data import EventName

FRAMES, FPS = 30, 15
STEP = 2  # pixels from frame to frame
#: The middle of the square goes from 100 to 70 and back; these are at 85.
LINE = {"line": [[85, 0], [85, 120]], "anchor": "CENTER_OF_MASS"}
LEFT = {"polygon": [[0, 0], [0.53, 0], [0.53, 1], [0, 1]], "normalized": True, "anchor": "CENTER"}

pytestmark = pytest.mark.slow


def write_clip(path: Path) -> None:
    """A red square that goes to the left and back in two seconds."""
    height, width = frame().shape[:2]
    with VideoWriter(path, width=width, height=height, fps=Fraction(FPS)) as writer:
        for index in range(FRAMES):
            writer.write(frame(shift(index)), index, Fraction(1, FPS))


def shift(index: int) -> int:
    """Pixels to the right of where the square is most to the left."""
    return STEP * abs(FRAMES // 2 - index % FRAMES)


def started(folder: Path, **config: Any) -> Daemon:
    write_clip(folder / "clip.mp4")
    stream = {"url": "clip.mp4", "realtime": True, "loop": True, "zones": {"left": LEFT}}
    streams = {"door": stream}
    return Daemon(folder, {"model": small_pico_of(folder), "streams": streams, **config})


def prompt_square(client: Client) -> None:
    with client.results("door", timeout_s=60) as results:
        seen = next(results)
    index = round(seen.message.frame.pts * Fraction(*seen.message.frame.time_base) * FPS)
    left = 50 + shift(index)
    client.prompt("door", box=(left, 40, left + 40, 80), label="square", frame=seen)


def until(events: Subscription[Event], done: Callable[[Counter[str]], bool]) -> list[Event]:
    """Events of zones up to when their counts by name are enough."""
    seen, counts = [], Counter[str]()
    deadline_s = time.monotonic() + 90
    while not done(counts):
        assert time.monotonic() < deadline_s, counts
        event = events.receive(1)
        if event is not None and event.message.zone is not None:
            seen.append(event)
            counts[event.message.event] += 1
    return seen


def crossings_are_told(daemon: Daemon, client: Client) -> None:
    """The square goes to and fro: what is told fits together, and is counted."""
    with client.events("door") as events:
        reply = client.set_zone("door", "middle", **LINE)
        assert reply.durable is None  # nothing is kept without a state folder
        seen = until(events, lambda counts: counts["line.crossed"] >= 4)
    told = [one.message for one in seen]
    crossed = [e.zone.direction for e in told if e.event is EventName.LINE_CROSSED and e.zone]
    assert crossed in (["in", "out"] * 2, ["out", "in"] * 2)
    visits = [e.event for e in told if e.event in ("zone.entered", "zone.left")]
    assert all(one is not other for one, other in pairwise(visits))
    assert len(visits) >= 3
    assert {e.label for e in told if e.object is not None} == {"square"}
    assert len({e.id for e in told}) == len(told)
    assert {e.epoch for e in told} == {client.describe()["epoch"]}
    by_name = {one.zone: one.counts for one in client.zones("door")}
    middle = by_name["middle"]
    assert middle is not None and middle.crossed_in is not None
    assert middle.crossed_in + (middle.crossed_out or 0) >= 4
    _, page = daemon.http("/metrics")
    assert 'trackd_line_crossings_total{direction="in",stream="door",zone="middle"}' in page
    assert 'trackd_zone_objects{stream="door",zone="left"}' in page


def test_zones_are_watched_in_a_worker_and_outlive_it(tmp_path: Path) -> None:
    with started(tmp_path, workers=1) as daemon, daemon.client() as client:
        prompt_square(client)
        crossings_are_told(daemon, client)
        (worker,) = client.metrics()["workers"]
        with client.events("door") as events:
            os.kill(worker["pid"], signal.SIGKILL)
            until(events, lambda counts: counts["zone.set"] == 2 and counts["line.crossed"] >= 2)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hunter2-hunter2-hunter2")
    path.chmod(0o600)
    return path


@pytest.fixture
def sinks(tmp_path: Path, secret: Path) -> Iterator[tuple[Broker, Receiver, Daemon]]:
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker") as broker, Receiver(tmp_path) as receiver:
        mqtt = {"host": "127.0.0.1", "port": broker.port, "discovery_prefix": "homeassistant"}
        hook = {"url": receiver.url, "secret_file": str(secret), "allow_private": True}
        hook["events"] = ["zone.*", "line.*"]
        notify = {"mqtt": mqtt, "webhooks": [hook]}
        with started(tmp_path, notify=notify) as daemon:
            yield broker, receiver, daemon


@SKIP
def test_a_broker_and_an_endpoint_that_were_away_get_every_event_once(
    sinks: tuple[Broker, Receiver, Daemon],
) -> None:
    broker, receiver, daemon = sinks
    with (
        Subscriber(broker, "trackd/door/events/#") as got,
        daemon.client() as client,
        client.events("door") as events,
    ):
        prompt_square(client)
        crossings_are_told(daemon, client)
        seen = until(events, lambda counts: counts["zone.entered"] >= 1)
        broker.stop()
        receiver.answer(503)
        seen += until(events, lambda counts: counts["zone.left"] + counts["zone.entered"] >= 4)
        broker.start()
        receiver.answer(None)
        seen += until(events, lambda counts: counts["zone.left"] >= 1)
        ids = {one.message.id for one in seen}
        wait_for(lambda: ids <= {one["id"] for one in got.events()}, "all events at the broker")
        wait_for(lambda: ids <= set(posted(receiver)), "all events at the endpoint")
        assert len(set(posted(receiver))) == len(posted(receiver))
        _, page = daemon.http("/metrics")
        assert 'trackd_sink_dropped_events_total{sink="mqtt"} 0.0' in page
        sink = client.metrics()["sinks"][0]
        assert (sink["name"], sink["connected"]) == ("mqtt", 1)
        with Subscriber(broker, "homeassistant/#", "--retained-only") as sensors:
            wait_for(lambda: len(sensors.messages()) == 2, "two sensors")
    assert daemon.stop() == 0
    assert "hunter2" not in daemon.log.read_text()


def posted(receiver: Receiver) -> list[str]:
    """Ids of the events that the endpoint took."""
    return [json.loads(one["body"])["id"] for one in receiver.requests(204)]


def wait_for(found: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.05)
