"""The data sockets, with real subscribers: late, slow, asleep, hostile, and many."""

import json
import logging
import os
import socket as tcp
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from tests.support.publisher_process import PublisherProcess
from tests.support.tracked_frames import (
    DEADLINE_S,
    HEIGHT,
    WIDTH,
    disc,
    event,
    found,
    publishing,
    subscriber,
    tracked,
    wait_until,
)
from tracker.daemon.access.curve import CurveAuthenticator, read_keys, write_keys
from tracker.daemon.config.schema import DataConfig, SecurityConfig
from tracker.daemon.messages import Event, Tracked
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.publish.queue import MAX_EVENTS, Forget, PublishQueue
from tracker.daemon.publish.xpub import MAX_SUBSCRIBED_BYTES, REPEAT_EVERY_S
from tracker.errors import TrackdError
from tracker.protocol.data import EventMessage, EventName, FrameMessage, MasksMessage
from tracker.protocol.masks import masks_of


def wait_for_subscriptions(publisher: Publisher, count: int) -> None:
    wait_until(lambda: publisher.status().subscriptions == count)


def receive(socket: zmq.Socket[bytes]) -> tuple[bytes, MasksMessage]:
    topic, text, *_ = socket.recv_multipart()
    return topic, MasksMessage.model_validate_json(text)


def take_all(queue: PublishQueue) -> list[Tracked | Event | Forget]:
    return list(iter(queue.take, None))


# --- the queue


def test_events_leave_before_frames_and_streams_take_turns():
    queue = PublishQueue(frames_per_stream=4)
    for seq in range(3):
        queue.put_tracked(tracked(seq, stream="quick"))
    queue.put_tracked(tracked(0, stream="slow"))
    queue.put_event(event(stream="slow"))
    assert len(queue) == 5
    order = [
        item.stream if isinstance(item, Event) else (item.live.frame.stream, item.live.frame.seq)
        for item in take_all(queue)
    ]
    assert order == ["slow", ("quick", 0), ("slow", 0), ("quick", 1), ("quick", 2)]
    assert len(queue) == 0


def test_a_full_outbox_drops_the_oldest_frame_of_that_stream_and_the_next_one_tells():
    queue = PublishQueue(frames_per_stream=2)
    queue.put_tracked(tracked(0, stream="other"))
    for seq in range(5):
        queue.put_tracked(tracked(seq, dropped=1))
    left = [(i.live.frame.stream, i.live.frame.seq, i.dropped) for i in take_all(queue)]
    # Frames 0, 1 and 2, and one before each of 0 to 3.
    assert left == [("other", 0, 0), ("cam1", 3, 7), ("cam1", 4, 1)]
    assert (queue.dropped_frames, queue.dropped_events) == (3, 0)


def test_a_forgotten_stream_keeps_its_events_and_loses_its_frames():
    queue = PublishQueue(frames_per_stream=2)
    queue.put_tracked(tracked(0))
    queue.put_event(event(EventName.STREAM_REMOVED))
    queue.put_forget("cam1")
    queue.put_tracked(tracked(1))
    removed, forget, frame = take_all(queue)
    assert (removed.name, forget) == (EventName.STREAM_REMOVED, Forget("cam1"))
    assert frame.live.frame.seq == 1


def test_a_storm_of_events_is_bounded_and_does_not_hide_that_a_stream_was_forgotten():
    queue = PublishQueue(frames_per_stream=2)
    queue.put_event(event(text="old"))
    queue.put_forget("cam1")
    for number in range(MAX_EVENTS + 5):
        queue.put_event(event(text=str(number)))
    first, *rest = take_all(queue)
    assert first == Forget("cam1")
    assert [item.text for item in rest] == [str(n) for n in range(5, MAX_EVENTS + 5)]
    assert queue.dropped_events == 6


# --- topics and numbers


def test_masks_arrive_by_topic_without_gaps():
    with publishing() as publisher, subscriber(publisher.endpoint, "masks.cam1") as socket:
        wait_for_subscriptions(publisher, 1)
        for seq in range(5):
            publisher.tracked(tracked(10 * seq, dropped=9, encoding="bits"))
            publisher.tracked(tracked(seq, stream="cam2"))
            topic, text, blob = socket.recv_multipart()
            message = MasksMessage.model_validate_json(text)
            assert (topic, message.stream, message.seq) == (b"masks.cam1", "cam1", seq)
            assert (message.frame.seq, message.dropped) == (10 * seq, 9)
            masks_hw = masks_of(message, [topic, text, blob])
            assert np.array_equal(masks_hw[1], disc(10 + 10 * seq % 40, 20))
        wait_until(lambda: publisher.status().sent["masks"] == 10)
        status = publisher.status()
        assert status.healthy and not status.failed and status.wire.count == 10
        assert status.sent_bytes > 10 * 300
        times = publisher.stream_status("cam1")
        assert times.wire.count == sum(times.total.counts) == 5
        assert publisher.stream_status("cam9") is None


def test_events_arrive_with_numbers_of_their_own():
    with publishing() as publisher, subscriber(publisher.endpoint, "events.") as socket:
        wait_for_subscriptions(publisher, 1)
        for name in (EventName.STREAM_CONNECTING, EventName.STREAM_RUNNING):
            publisher.event(event(name))
        got = [EventMessage.model_validate_json(socket.recv_multipart()[1]) for _ in range(2)]
        assert [(item.seq, item.event) for item in got] == [
            (0, "stream.connecting"),
            (1, "stream.running"),
        ]


def test_a_frame_that_cannot_be_encoded_is_logged_and_the_rest_goes_on(caplog):
    broken = tracked(0, (found(1, disc(9, 9), score="high"),))
    with publishing() as publisher, subscriber(publisher.endpoint, "masks.") as socket:
        wait_for_subscriptions(publisher, 1)
        publisher.tracked(broken)
        publisher.tracked(tracked(1))
        assert receive(socket)[1].frame.seq == 1
        assert publisher.status().failed == 1
    assert "could not be published" in caplog.text


# --- who comes late


def test_who_subscribes_late_gets_the_newest_masks_and_the_state_of_the_stream():
    with publishing() as publisher:
        publisher.event(event(EventName.STREAM_RUNNING))
        publisher.event(event(EventName.OBJECT_ADDED, object_id=1))
        for seq in range(3):
            publisher.tracked(tracked(seq, encoding="bits"))
        wait_until(lambda: publisher.status().sent["masks"] == 3)
        with subscriber(publisher.endpoint, "masks.cam1", "events.cam1") as socket:
            received = [socket.recv_multipart() for _ in range(2)]
            parts = {topic: rest for topic, *rest in received}
            masks = MasksMessage.model_validate_json(parts[b"masks.cam1"][0])
            happened = EventMessage.model_validate_json(parts[b"events.cam1"][0])
            assert (masks.seq, masks.frame.seq, masks.repeated) == (2, 2, True)
            assert np.array_equal(masks_of(masks, [b"", *parts[b"masks.cam1"]])[1], disc(12, 20))
            assert (happened.seq, happened.event, happened.repeated) == (0, "stream.running", True)
            publisher.tracked(tracked(3))
            assert [(m.seq, m.repeated) for m in (receive(socket)[1],)] == [(3, False)]


def test_each_of_two_late_subscribers_gets_the_state():
    with publishing() as publisher:
        publisher.tracked(tracked(4))
        wait_until(lambda: publisher.status().sent["masks"] == 1)
        for _ in range(2):  # the second one sooner than repeats may follow each other
            with subscriber(publisher.endpoint, "masks.") as socket:
                assert receive(socket)[1].repeated
        with subscriber(publisher.latest_endpoint, "masks.cam1 ") as socket:
            assert json.loads(socket.recv().removeprefix(b"masks.cam1 "))["repeated"]


def test_a_removed_stream_leaves_nothing_and_counts_from_zero_when_it_comes_again():
    with publishing() as publisher:
        publisher.tracked(tracked(0))
        publisher.event(event(EventName.STREAM_RUNNING))
        publisher.event(event(EventName.STREAM_REMOVED))
        publisher.forget("cam1")
        publisher.tracked(tracked(0, stream="cam2"))
        wait_until(lambda: publisher.status().sent["masks"] >= 1 and not publisher.status().waiting)
        with subscriber(publisher.endpoint, "") as socket:
            assert receive(socket)[0] == b"masks.cam2"  # and nothing of cam1 before it
            publisher.tracked(tracked(50))
            topic, message = receive(socket)
            assert (topic, message.seq, message.repeated) == (b"masks.cam1", 0, False)
        assert publisher.stream_status("cam1").wire.count == 1


# --- the latest-only socket


@pytest.mark.parametrize("encoding", ["rle", "bits", "labelmap-png", "polygon"])
def test_the_latest_socket_sends_one_part_whatever_the_encoding(encoding):
    with publishing() as publisher:
        with subscriber(publisher.latest_endpoint, "masks.cam1 ") as socket:
            wait_for_subscriptions(publisher, 1)
            publisher.tracked(tracked(6, encoding=encoding))
            (part,) = socket.recv_multipart()
        topic, text = part.split(b" ", 1)
        message = MasksMessage.model_validate_json(text)
        assert (topic, message.frame.seq, message.labelmap_part) == (b"masks.cam1", 6, None)
        assert message.encoding == ("polygon" if encoding == "polygon" else "rle")
        assert np.array_equal(masks_of(message, [topic, text])[1], disc(16, 20))


def test_a_conflating_subscriber_that_slept_gets_the_newest_only():
    with publishing() as publisher, zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.conflate, socket.rcvtimeo = True, round(1000 * DEADLINE_S)
        socket.connect(publisher.latest_endpoint)
        socket.subscribe("masks.cam1 ")
        wait_for_subscriptions(publisher, 1)
        for seq in range(20):
            publisher.tracked(tracked(seq))
            wait_until(lambda count=seq + 1: publisher.status().sent["latest"] == count)
        newest = -1
        while newest < 19:  # conflated: a few steps at most, and never back
            read = json.loads(socket.recv().split(b" ", 1)[1])["frame"]["seq"]
            assert read > newest
            newest = read


def test_without_a_latest_socket():
    with publishing(latest_bind=None) as publisher:
        assert publisher.latest_endpoint is None
        with subscriber(publisher.endpoint, "masks.") as socket:
            wait_for_subscriptions(publisher, 1)
            publisher.tracked(tracked(0))
            assert receive(socket)[1].seq == 0


# --- previews


def test_previews_are_made_while_someone_subscribes_to_that_stream():
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pictures = {"image": image, "preview": {"fps": 10, "max_side_px": 32}}
    with publishing() as publisher, subscriber(publisher.endpoint) as socket:
        publisher.tracked(tracked(0, **pictures, tracked_s=100.0))
        socket.subscribe("frames.cam2")
        wait_for_subscriptions(publisher, 1)
        publisher.tracked(tracked(1, **pictures, tracked_s=100.5))
        wait_until(lambda: publisher.status().sent["masks"] == 2)
        assert publisher.status().sent["frames"] == 0
        socket.subscribe("frames.cam1")
        wait_for_subscriptions(publisher, 2)
        for index in range(30):  # a second of video, asked for ten pictures a second
            publisher.tracked(tracked(2 + index, **pictures, tracked_s=101 + index / 30))
            wait_until(lambda: publisher.status().waiting == 0)
        wait_until(lambda: publisher.status().sent["masks"] == 32)
        assert 9 <= publisher.status().sent["frames"] <= 11
        topic, text, jpeg = socket.recv_multipart()
        message = FrameMessage.model_validate_json(text)
        assert (topic, message.seq, message.scale) == (b"frames.cam1", 0, 0.5)
        assert message.frame.seq == 2 and jpeg.startswith(b"\xff\xd8")
        socket.unsubscribe("frames.cam1")
        wait_for_subscriptions(publisher, 1)
        before = publisher.status().sent["frames"]
        publisher.tracked(tracked(40, **pictures, tracked_s=110.0))
        wait_until(lambda: publisher.status().sent["masks"] == 33)
        assert publisher.status().sent["frames"] == before


def test_a_size_is_made_once_and_only_for_those_who_name_it():
    image = np.full((1080, 1920, 3), 90, np.uint8)
    seen = (found(1, disc(9, 9, height=1080, width=1920)),)
    with publishing() as publisher, subscriber(publisher.endpoint, "", "frames-") as everything:
        wait_for_subscriptions(publisher, 2)
        with subscriber(publisher.endpoint, "frames-tile.cam1") as one:
            wait_for_subscriptions(publisher, 3)
            with subscriber(publisher.endpoint, "frames-tile.cam1", "frames-small.cam1") as two:
                wait_for_subscriptions(publisher, 4)
                publisher.tracked(tracked(7, seen, image=image, tracked_s=100.0))
                got = [one.recv_multipart(), *(two.recv_multipart() for _ in range(2))]
        sent = publisher.status().sent
        assert (sent["frames-tile"], sent["frames-small"], sent["frames-large"]) == (1, 1, 0)
        shown = [FrameMessage.model_validate_json(text) for _, text, _ in got]
        assert [message.size for message in shown] == ["tile", "tile", "small"]
        sides = [max(cv2.imdecode(np.frombuffer(m[2], np.uint8), 1).shape) for m in got]
        assert sides == [320, 320, 480]
        topics = [everything.recv_multipart()[0] for _ in range(2)]
        assert topics[:2] == [b"masks.cam1", b"frames.cam1"]  # the picture after its masks


def test_a_stream_without_previews_shows_none_of_any_size():
    with publishing() as publisher, subscriber(publisher.endpoint, "frames-large.cam1", "frames."):
        wait_for_subscriptions(publisher, 2)
        publisher.tracked(tracked(0, preview={"fps": 0}))
        wait_until(lambda: publisher.status().sent["masks"] == 1 and not publisher.status().waiting)
        assert sum(publisher.status().sent.values()) == 2  # masks, on both sockets


# --- start and stop


def test_an_address_that_is_taken_is_named():
    with publishing() as publisher, zmq.Context() as context:
        taken = DataConfig(bind="tcp://127.0.0.1:0", latest_bind=publisher.endpoint)
        with pytest.raises(TrackdError, match=f"cannot listen on {publisher.endpoint}"):
            Publisher(taken, None, context=context).start()


def test_stopping_sends_what_waits_first():
    with publishing(outbox_frames=64) as publisher:
        with subscriber(publisher.endpoint, "masks.", "events.") as socket:
            wait_for_subscriptions(publisher, 2)
            for seq in range(20):
                publisher.tracked(tracked(seq))
            publisher.event(event(EventName.STREAM_REMOVED))
            publisher.stop(DEADLINE_S)
            topics = [socket.recv_multipart()[0] for _ in range(21)]
            assert sorted(topics) == [b"events.cam1"] + 20 * [b"masks.cam1"]
        assert not publisher.status().healthy
        publisher.tracked(tracked(99))  # too late, and no error


def test_a_publisher_that_never_started_can_be_stopped():
    with zmq.Context() as context:
        assert Publisher(DataConfig(), None, context=context).stop(1)


# --- keys


def test_a_subscriber_with_a_key_gets_masks_and_may_have_the_longest_identity(tmp_path: Path):
    server, client = write_keys(tmp_path, "server"), write_keys(tmp_path / "clients", "anna")
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path / "clients")
    security = CurveAuthenticator.from_config(config, ["tcp://127.0.0.1:0"])
    with zmq.Context() as context, zmq.Context() as other, other.socket(zmq.SUB) as socket:
        security.start(context)
        free = DataConfig(bind="tcp://127.0.0.1:0", latest_bind=None)
        publisher = Publisher(free, security, context=context)
        publisher.start()
        try:
            publisher.tracked(tracked(5))
            socket.linger, socket.rcvtimeo = 0, round(1000 * DEADLINE_S)
            socket.identity = b"i" * 255
            socket.curve_serverkey, _ = read_keys(server.public)
            socket.curve_publickey, socket.curve_secretkey = read_keys(client.secret)
            socket.connect(publisher.endpoint)
            for topic in ("masks.cam1", "events.cam1", "frames.cam1"):
                socket.subscribe(topic)
            assert receive(socket)[1].frame.seq == 5
            wait_for_subscriptions(publisher, 3)
        finally:
            publisher.stop(2)
            security.stop()


# --- subscribers that do harm


SLEEPERS = """
import sys, time, zmq
sockets = [zmq.Context().socket(zmq.SUB) for _ in range(2)]
for socket in sockets:
    socket.rcvhwm = 1
    socket.rcvbuf = 4096
    socket.rcvtimeo = 20_000
    socket.connect(sys.argv[1])
    socket.subscribe("")
    socket.recv_multipart()
print("ready", flush=True)
time.sleep(600)
"""
READERS = """
import json, sys, zmq
sockets = [zmq.Context().socket(zmq.SUB) for _ in range(5)]
for socket in sockets:
    socket.rcvtimeo = 20_000
    socket.connect(sys.argv[1])
    socket.subscribe("masks.")
    socket.recv_multipart()
print("ready", flush=True)
last = int(sys.argv[2])
frames = [set() for _ in sockets]
while any(max(seen, default=0) < last for seen in frames):
    for socket, seen in zip(sockets, frames):
        if max(seen, default=0) == last:
            continue
        message = json.loads(socket.recv_multipart()[1])
        if not message["repeated"]:
            seen.add(message["frame"]["seq"])
print(*map(len, frames), flush=True)
"""


@pytest.mark.slow
def test_sleeping_subscribers_take_nothing_from_the_others_and_hold_no_memory():
    """Eight subscribers, seven of them in other processes; two of those never read."""
    warm_up, last = 150, 550
    with PublisherProcess(16) as publisher, ExitStack() as stack:
        publisher.publish(0)

        def process(code: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", code, publisher.endpoint, str(last)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(child.communicate)
            stack.callback(child.kill)
            return child

        sleepers, readers = process(SLEEPERS), process(READERS)
        assert [child.stdout.readline() for child in (sleepers, readers)] == 2 * ["ready\n"]
        near = stack.enter_context(subscriber(publisher.endpoint, "masks."))
        assert receive(near)[1].repeated
        resident = {}
        for seq in range(1, last + 1):
            publisher.publish(seq)
            while receive(near)[1].frame.seq < seq:
                pass
            if seq in (warm_up, last):
                resident[seq] = publisher.resident_bytes()
        assert readers.stdout.readline().split() == 5 * [str(last)]
        assert sleepers.poll() is None
        # The 400 messages of 32 kB between the two measurements would be three times as much.
        grown = resident[last] - resident[warm_up]
        assert grown < 4 * 2**20, f"grew by {grown / 2**20:.1f} MiB"


def _hostile_socket(endpoint: str) -> tcp.socket:
    """A subscriber that speaks ZMTP by hand and so may say what it likes."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    socket = tcp.create_connection((host, int(port)), timeout=DEADLINE_S)
    socket.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    greeting = b""
    while len(greeting) < 64:
        greeting += socket.recv(64 - len(greeting))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
    socket.sendall(b"\x04" + bytes([len(ready)]) + ready)
    assert socket.recv(2)[0] == 4  # its READY
    return socket


def _frame(body: bytes) -> bytes:
    return b"\x02" + struct.pack(">Q", len(body)) + body


def _flood(endpoint: str) -> None:
    """Subscribe to 12 MB of topics, or as many as are let in."""
    with _hostile_socket(endpoint) as hostile, suppress(ConnectionError):
        hostile.sendall(b"".join(_frame(b"\x01" + os.urandom(600)) for _ in range(20_000)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unbounded", "cut_off", "resets"), [("unread", 0, 1), ("subscribed", 1, 0)]
)
def test_a_flood_of_subscriptions_takes_little_memory(unbounded, cut_off, resets):
    """Each of the two bounds is enough: of what one connection sent, and of what is subscribed."""
    with (
        PublisherProcess(64, unbounded) as publisher,
        subscriber(publisher.endpoint, "masks.") as socket,
    ):
        wait_until(lambda: publisher.status()["subscriptions"] == 1)
        publisher.publish(0)
        assert receive(socket)[1].seq == 0
        before = publisher.resident_bytes()
        _flood(publisher.endpoint)
        wait_until(lambda: publisher.status()["cut_off"] + publisher.status()["resets"] >= 1)
        status = publisher.status()
        assert (status["cut_off"], status["resets"]) == (cut_off, resets)
        # libzmq keeps some fifty bytes for each byte of a topic; all of them would be 500 MiB.
        assert publisher.resident_bytes() - before < 128 * 2**20
        wait_until(lambda: publisher.status()["healthy"])  # it listens again


def test_a_flood_of_subscriptions_is_cut_off_and_honest_subscribers_come_back(caplog):
    caplog.set_level(logging.WARNING)
    with publishing() as publisher, subscriber(publisher.endpoint, "masks.") as socket:
        wait_for_subscriptions(publisher, 1)
        publisher.tracked(tracked(0))
        assert receive(socket)[1].seq == 0
        _flood(publisher.endpoint)
        wait_until(lambda: publisher.status().resets == 1)
        assert receive(socket)[1].repeated  # connected again by itself, and brought up to date
        publisher.tracked(tracked(1))
        assert receive(socket)[1].seq == 1
        assert publisher.status().healthy
    assert "subscriptions are too many; closed to all and opened again" in caplog.text


def test_a_flood_of_one_subscription_repeats_little():
    with publishing() as publisher, subscriber(publisher.endpoint, "masks.") as socket:
        wait_for_subscriptions(publisher, 1)
        publisher.tracked(tracked(0))
        assert receive(socket)[1].seq == 0
        began_s = time.monotonic()
        with _hostile_socket(publisher.endpoint) as hostile:
            hostile.sendall(2000 * _frame(b"\x01masks.cam1") + _frame(b"\x01end of it"))
            wait_for_subscriptions(publisher, 3)
        publisher.tracked(tracked(1))
        repeats = 0
        while receive(socket)[1].seq == 0:
            repeats += 1
        assert repeats <= 1 + (time.monotonic() - began_s) / REPEAT_EVERY_S


@pytest.mark.parametrize(
    "nonsense",
    [
        _frame(b""),
        _frame(b"\x00never subscribed"),
        _frame(b"\x07" + bytes(range(256))),
        b"\x03" + struct.pack(">Q", 3) + b"abc" + _frame(b"\x01 of two parts"),
        b"\x04\x05\x04ABCD",
        _frame(b"\x01" + bytes(2000)),
        b"\x02" + struct.pack(">Q", 2**62) + b"\x01",
        b"\xff" * 300,
    ],
    ids=["empty", "unsubscribe", "message", "parts", "command", "long", "huge", "noise"],
)
def test_nonsense_from_a_subscriber_changes_nothing(nonsense):
    with publishing() as publisher, subscriber(publisher.endpoint, "masks.") as socket:
        wait_for_subscriptions(publisher, 1)
        with _hostile_socket(publisher.endpoint) as hostile:
            hostile.sendall(nonsense)
            for seq in range(3):
                publisher.tracked(tracked(seq))
                assert receive(socket)[1].seq == seq
        status = publisher.status()
        assert status.healthy and not status.failed and not status.resets


def test_the_limit_on_subscriptions_leaves_room_for_honest_use():
    """Every stream of the largest daemon, each topic, by its full name."""
    assert 256 * 3 * (64 + len("events.") + 64) < MAX_SUBSCRIBED_BYTES
