"""The clients: what they send, what they make of what comes, and what they do when nothing does."""

import asyncio
import inspect
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from tests.support import control_clients
from tests.support.fake_daemon import CUP, FakeDaemon, daemon, router, unknown_stream
from tests.support.tracked_frames import disc, event, found, tracked, wait_until
from tracker.client import (
    AsyncClient,
    BadMessage,
    Client,
    DaemonError,
    DaemonUnreachable,
    received,
)
from tracker.client.calls import Call, read_reply
from tracker.client.reach import NOTICE_S, why_unreachable
from tracker.client.received import Gap, Gaps, Picture, Result
from tracker.daemon.access.curve import CurveAuthenticator, write_keys
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.messages import Event
from tracker.daemon.publish.encode import EncodedObjects, masks_message, to_json
from tracker.errors import UsageError
from tracker.protocol.data import EventName
from tracker.protocol.fields import FrameAddress, PreviewSize
from tracker.protocol.replies import ErrorCode, PingResult, PromptResult, Reply
from tracker.rle import Rle, decode_rle
from tracker.types import ObjectState

PATIENCE_S = 20.0


@pytest.fixture
def fake() -> Iterator[FakeDaemon]:
    with daemon() as fake:
        yield fake


@pytest.fixture
def client(fake: FakeDaemon) -> Iterator[Client]:
    with Client(fake.control, fake.data, timeout_s=PATIENCE_S) as client:
        yield client


PONG = {"version": "1", "ready": True, "uptime_s": 1.0}


@contextmanager
def connected(control: str) -> Iterator[Client]:
    """A client whose connection is there, however long that took."""
    with Client(control, timeout_s=PATIENCE_S) as client:
        assert client.ping().ready
        yield client


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


# --- requests


def test_a_prompt_arrives_as_it_was_given(client: Client, fake: FakeDaemon) -> None:
    result = client.prompt(
        "cam1",
        points=[(0.5, 0.25), (0.1, 0.1)],
        labels=[1, 0],
        box=(0.1, 0.2, 0.9, 1.0),
        label="cup",
        frame=7,
        normalized=True,
    )

    assert (result.object, result.created, result.frame_seq, result.replayed_frames) == (
        CUP,
        True,
        7,
        2,
    )
    (sent,) = fake.requests
    assert sent.op == "prompt"
    assert (sent.stream, sent.object, sent.label) == ("cam1", None, "cup")
    assert sent.points == ((0.5, 0.25), (0.1, 0.1))
    assert sent.labels == (1, 0)
    assert sent.box == (0.1, 0.2, 0.9, 1.0)
    assert sent.frame == FrameAddress(seq=7)
    assert sent.normalized


def test_what_was_received_names_its_frame_of_this_run_of_the_daemon(
    client: Client, fake: FakeDaemon
) -> None:
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        frame = tracked(812)
        fake.publisher.tracked(replace(frame, live=replace(frame.live, epoch="0a1b")))
        result = next(results)
    wait_until(lambda: not fake.publisher.status().subscriptions)
    with client.frames("cam1", timeout_s=PATIENCE_S) as frames:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(813))
        picture = next(frames)
    client.prompt("cam1", points=[(3, 4)], frame=result)
    client.prompt("cam1", points=[(3, 4)], frame=result.message.frame)
    client.correct("cam1", 1, points=[(3, 4)], frame=picture)
    named, stamped, pictured = (request.frame for request in fake.requests)
    assert named == stamped == FrameAddress(seq=812, epoch="0a1b")
    assert pictured == FrameAddress(seq=813), "it was sent without an epoch"


def test_a_wait_for_the_first_frame_is_sent_and_lengthens_the_patience() -> None:
    """The reply comes after the client's own timeout, and before that and the wait are over."""
    waits: list[float] = []

    def handle(request: Any) -> Any:
        if request.op == "ping":
            return PONG
        waits.append(request.wait_s)
        late: Future[dict[str, Any]] = Future()
        result = PromptResult(
            object=CUP, created=True, frame_seq=0, newest_seq=0, replayed_frames=0
        )
        threading.Timer(0.5, late.set_result, [result.model_dump(mode="json")]).start()
        return late

    with (
        control_clients.running(handle) as control,
        connected(control.endpoint) as client,
    ):
        client.timeout_s = 0.2
        assert client.prompt("cam1", points=[(3, 4)], wait_s=PATIENCE_S).created
    assert waits == [PATIENCE_S]


def test_a_mask_and_a_time_address_a_correction(client: Client, fake: FakeDaemon) -> None:
    mask_hw = disc(30, 20)
    client.correct("cam1", 3, mask=mask_hw, frame=FrameAddress(captured_ns=10**18))
    (sent,) = fake.requests
    assert (sent.op, sent.object, sent.frame) == (
        "object.correct",
        3,
        FrameAddress(captured_ns=10**18),
    )
    assert np.array_equal(decode_rle(Rle(*sent.mask.size, sent.mask.counts)), mask_hw)


def test_every_request_reaches_the_daemon(client: Client, fake: FakeDaemon) -> None:
    assert client.ping().version == "0.1.0"
    assert client.describe() == {"op": "describe"}
    assert client.metrics() == {"op": "metrics"}
    client.add_stream("cam2", "rtsp://10.0.0.6/main", policy="every", encoding="bits")
    client.pause_stream("cam2")
    client.resume_stream("cam2")
    client.move_stream("cam2", "1")
    client.remove_stream("cam2")
    assert [item.stream for item in client.streams()] == ["cam1"]
    client.relabel_object("cam1", 1, None)
    client.reset_object("cam1", 1)
    client.remove_object("cam1", 1)
    assert client.objects("cam1") == [CUP]
    client.save_snapshot("cam1")
    client.restore_snapshot("cam1")
    client.shutdown()

    added = fake.requests[3]
    assert (added.stream, added.url) == ("cam2", "rtsp://10.0.0.6/main")
    assert (added.policy, added.encoding, added.loop) == ("every", "bits", False)
    assert [request.op for request in fake.requests] == [
        *("ping", "describe", "metrics"),
        *("stream.add", "stream.pause", "stream.resume", "stream.move"),
        *("stream.remove", "stream.list"),
        *("object.relabel", "object.reset", "object.remove", "object.list"),
        *("snapshot.save", "snapshot.restore", "shutdown"),
    ]
    assert len({request.id for request in fake.requests}) == len(fake.requests)


def test_a_refusal_says_what_and_how_to_mend_it(client: Client, fake: FakeDaemon) -> None:
    fake.refuse = unknown_stream("cam9")
    with pytest.raises(DaemonError) as refused:
        client.objects("cam9")
    assert refused.value.code is ErrorCode.UNKNOWN_STREAM
    assert str(refused.value) == "there is no stream cam9; there are cam1"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({}, "give points, a box or a mask"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points but 2 labels"),
        ({"points": [(float("nan"), 2)]}, "points.0.0: Input should be a finite number"),
        ({"box": (0, 0, 5, 5), "object": 0}, "object: Input should be greater"),
        ({"box": (0, 0, 5, 5), "frame": -1}, "frame.seq: Input should be greater"),
        ({"mask": np.zeros((4, 4), np.uint8)}, "mask is uint8 of shape"),
    ],
)
def test_a_wrong_prompt_is_not_sent(
    client: Client, fake: FakeDaemon, place: Any, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        client.prompt("cam1", **place)
    assert fake.requests == []


def test_a_refused_address_is_not_shown(client: Client) -> None:
    with pytest.raises(UsageError) as refused:
        client.add_stream("cam 1", "rtsp://user:secret@10.0.0.5/" + "x" * 5000)
    assert "stream: String should match" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_environment_names_the_daemon(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKD_CONTROL", fake.control)
    monkeypatch.setenv("TRACKD_DATA", fake.data)
    with Client(timeout_s=PATIENCE_S) as client, client.events() as events:
        assert client.ping().ready
        fake.publisher.event(event())
        assert next(events).message.stream == "cam1"


@pytest.mark.parametrize("control", ["127.0.0.1:5570", "tcp://nowhere", "http://127.0.0.1:1"])
def test_what_is_no_endpoint_is_said_to_be_none(control: str) -> None:
    with pytest.raises(UsageError, match=r"cannot connect to .*give tcp://HOST:PORT"):
        Client(control)


# --- when nothing answers


def nothing_listens(tmp_path: Path) -> list[str]:
    return [free_endpoint(), f"ipc://{tmp_path}/no-such-socket", f"ipc://{_left_behind(tmp_path)}"]


def _left_behind(tmp_path: Path) -> Path:
    """A socket's file whose program is gone."""
    path = tmp_path / "left-behind"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    return path


def test_where_nothing_listens_it_is_said_without_waiting(tmp_path: Path) -> None:
    async def ask(control: str) -> None:
        async with AsyncClient(control) as client:
            await client.streams()

    for control in nothing_listens(tmp_path):
        says = f"nothing listens on {control}; start it with `trackd serve`"
        with (
            Client(control) as client,
            pytest.raises(DaemonUnreachable, match=re.escape(says)),
        ):
            client.streams()
        with pytest.raises(DaemonUnreachable, match=re.escape(says)):
            asyncio.run(ask(control))


def test_a_host_that_is_none_is_said_to_be_none() -> None:
    # What is no name is refused by the resolver itself, without a question to anybody.
    assert why_unreachable("tcp://no..name:5570") == "there is no host no..name"


def test_where_something_listens_nothing_is_wrong(tmp_path: Path, fake: FakeDaemon) -> None:
    assert why_unreachable(fake.control) == ""
    path = tmp_path / "listens"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert why_unreachable(f"ipc://{path}") == ""
    assert why_unreachable("inproc://other") == ""


def test_a_daemon_that_only_starts_is_waited_for_where_a_timeout_is_given() -> None:
    control = free_endpoint()
    versions: list[str] = []

    async def ask() -> None:
        async with AsyncClient(control, timeout_s=PATIENCE_S) as client:
            versions.append((await client.ping()).version)

    def ask_in_turn() -> None:
        with Client(control, timeout_s=PATIENCE_S) as client:
            versions.append(client.ping().version)

    asking = [
        threading.Thread(target=ask_in_turn),
        threading.Thread(target=asyncio.run, args=[ask()]),
    ]
    for thread in asking:
        thread.start()
    time.sleep(2 * NOTICE_S)  # both have found nobody
    with daemon(control):
        for thread in asking:
            thread.join(PATIENCE_S)
    assert versions == ["0.1.0", "0.1.0"]


def test_a_daemon_that_ended_is_missed_by_the_next_request() -> None:
    control = free_endpoint()
    with Client(control) as client:
        with daemon(control):
            assert client.ping().ready
        with pytest.raises(DaemonUnreachable, match="nothing listens"):
            client.ping()


def test_a_request_that_was_given_up_is_never_done() -> None:
    control = free_endpoint()
    with Client(control, timeout_s=0.2) as client:
        with pytest.raises(DaemonUnreachable) as unreachable:
            client.remove_object("cam1", 1)
        assert f"no answer from {control} within 0.2 s" in str(unreachable.value)
        assert "is `trackd serve` running?" in str(unreachable.value)
        client.timeout_s = PATIENCE_S
        with daemon(control) as fake:
            assert client.ping().ready
            assert [request.op for request in fake.requests] == ["ping"]


def test_a_request_whose_reply_is_late_is_done_once() -> None:
    """The client sends it again over another connection; the daemon knows it by its id."""
    seen: list[str] = []
    late: Future[dict[str, Any]] = Future()

    def handle(request: Any) -> Any:
        if request.op == "ping":
            return PONG
        seen.append(request.op)
        return late

    with (
        control_clients.running(handle) as control,
        connected(control.endpoint) as client,
    ):
        client.timeout_s = 0.4
        with pytest.raises(DaemonUnreachable, match="allow it more time"):
            client.remove_object("cam1", 1)
        assert seen == ["object.remove"]
        late.set_result({})


def test_a_lost_request_is_sent_again_under_its_id_and_name() -> None:
    seen: list[tuple[bytes, str]] = []

    def serve(socket: Any, parts: list[bytes]) -> None:
        client, request = parts
        asked = json.loads(request)
        if asked["op"] != "ping":
            seen.append((client, asked["id"]))
        if len(seen) != 1:
            reply = {"v": 1, "id": asked["id"], "ok": True, "result": PONG}
            socket.send_multipart([client, json.dumps(reply).encode()])

    with router(serve) as control, connected(control) as client:
        client.timeout_s = 4.0  # of which the first half passes in vain
        client.shutdown()
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_replies_to_other_requests_are_left_out() -> None:
    def serve(socket: Any, parts: list[bytes]) -> None:
        client, request = parts
        for request_id in ("another", json.loads(request)["id"]):
            result = {"version": request_id, "ready": True, "uptime_s": 1.0}
            reply = {"v": 1, "id": request_id, "ok": True, "result": result}
            socket.send_multipart([client, json.dumps(reply).encode()])

    with router(serve) as control, Client(control, timeout_s=PATIENCE_S) as client:
        assert client.ping().version != "another"


@pytest.mark.parametrize("reply", [b"hello", b'{"v":1,"id":"","ok":true,"result":{"version":1}}'])
def test_a_reply_of_another_protocol_is_an_error(reply: bytes) -> None:
    def serve(socket: Any, parts: list[bytes]) -> None:
        socket.send_multipart([parts[0], reply])

    with (
        router(serve) as control,
        Client(control, timeout_s=PATIENCE_S) as client,
        pytest.raises(BadMessage, match="is not of protocol v1"),
    ):
        client.ping()


def test_keys_of_a_newer_daemon_are_left_out() -> None:
    reply = b'{"v":1,"id":"a","ok":true,"result":{},"sent_ns":1}'
    assert read_reply([reply], "a") == Reply(id="a", ok=True, result={})
    result = {"version": "9", "ready": True, "uptime_s": 1.0, "load": 0.5}
    pong = Call("ping").decode(Reply(id="a", ok=True, result=result))
    assert pong == PingResult(version="9", ready=True, uptime_s=1.0)


def test_a_client_outlives_its_daemon() -> None:
    control, data = free_endpoint(), free_endpoint()

    def tell(fake: FakeDaemon, name: EventName, at_ns: int) -> None:
        fake.publisher.event(Event("cam1", name, at_ns))

    with (
        Client(control, data, timeout_s=PATIENCE_S) as client,
        client.events("cam1", timeout_s=PATIENCE_S) as events,
    ):
        with daemon(control, bind=data) as fake:
            tell(fake, EventName.STREAM_CONNECTING, at_ns=10)
            assert client.ping().ready
            assert next(events).message.event is EventName.STREAM_CONNECTING
            tell(fake, EventName.STREAM_RUNNING, at_ns=20)
            assert not next(events).restarted
        with daemon(control, bind=data) as fake:
            tell(fake, EventName.STREAM_FAILED, at_ns=30)
            assert client.ping().ready
            again = next(events)  # a copy, as the subscription came after the message
        assert again.message.event is EventName.STREAM_FAILED
        assert again.restarted
        assert client.lost == 0


# --- keys


def test_only_the_right_keys_open_the_door(tmp_path: Path) -> None:
    server = write_keys(tmp_path / "server", "server")
    allowed = write_keys(tmp_path / "clients", "allowed")
    stranger = write_keys(tmp_path / "strangers", "stranger")
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path / "clients")
    security = CurveAuthenticator.from_config(config, ["tcp://127.0.0.1:*"])

    def answer(request: Any) -> dict[str, Any]:
        return {"version": "1", "ready": True, "uptime_s": 1.0}

    def ping(timeout_s: float, **keys: Path) -> bool:
        with Client(control.endpoint, timeout_s=timeout_s, **keys) as client:
            return client.ping().ready

    with control_clients.running(answer, security=security) as control:
        assert ping(PATIENCE_S, client_key=allowed.secret, server_key=server.public)
        with pytest.raises(DaemonUnreachable, match="are the keys the right ones"):
            ping(0.3, client_key=stranger.secret, server_key=server.public)
        with pytest.raises(DaemonUnreachable, match="are the keys the right ones"):
            ping(0.3, client_key=allowed.secret, server_key=stranger.public)
        with pytest.raises(DaemonUnreachable, match="if it asks for keys, give them"):
            ping(0.3)


def test_key_files_that_are_none_are_named(tmp_path: Path) -> None:
    mine = write_keys(tmp_path, "mine")
    junk = tmp_path / "junk.key"
    junk.write_text("hello")
    damaged = tmp_path / "damaged.key"
    damaged.write_text('curve\n    public-key = "short"\n')
    with pytest.raises(UsageError, match="give both or neither"):
        Client(client_key=mine.secret)
    with pytest.raises(UsageError, match="holds no secret key"):
        Client(client_key=mine.public, server_key=mine.public)
    with pytest.raises(UsageError, match=r"cannot read the key file .*absent"):
        Client(client_key=tmp_path / "absent", server_key=mine.public)
    for path in (junk, damaged):
        with pytest.raises(UsageError, match=path.name):
            Client(client_key=mine.secret, server_key=path)


# --- subscriptions


def test_results_hold_objects_and_masks(client: Client, fake: FakeDaemon) -> None:
    shown, hidden = disc(20, 20), np.zeros((48, 64), np.bool_)
    objects = (
        found(1, shown),
        found(2, hidden, label=None, state=ObjectState.OCCLUDED, score=0.1),
    )
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(5, objects))
        result = next(results)
    assert result.stream == "cam1"
    assert result.message.frame.seq == 5
    assert [(item.id, item.label, item.state.value) for item in result.objects] == [
        (1, "cup", "visible"),
        (2, None, "occluded"),
    ]
    assert list(result.masks()) == [1]
    assert np.array_equal(result.mask(1), shown)
    assert np.array_equal(result.mask(2), hidden)
    with pytest.raises(UsageError, match="no object 3 on this frame; has 1, 2"):
        result.mask(3)


@pytest.mark.parametrize("encoding", ["rle", "bits", "labelmap-png", "polygon"])
def test_results_become_detections(client: Client, fake: FakeDaemon, encoding: str) -> None:
    masks = {1: disc(12, 20), 4: disc(40, 30, radius=9)}
    hidden = found(7, np.zeros((48, 64), np.bool_), state=ObjectState.LOST, score=0.0)
    objects = (found(1, masks[1], score=0.75), hidden, found(4, masks[4], label=None, score=0.5))
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(0, objects, encoding=encoding))
        detections = next(results).to_supervision()
    assert detections.tracker_id.tolist() == [1, 4]
    assert detections.confidence.tolist() == [0.75, 0.5]
    assert detections.xyxy.tolist() == [[6, 14, 19, 27], [31, 21, 50, 40]]
    assert np.array_equal(detections.mask, np.stack(list(masks.values())))
    assert detections.data["class_name"].tolist() == ["cup", ""]
    assert detections.data["state"].tolist() == ["visible", "visible"]


def test_a_frame_without_objects_has_no_detections(client: Client, fake: FakeDaemon) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with client.results(timeout_s=PATIENCE_S) as results:
        fake.publisher.tracked(tracked(0, (), image=image))
        detections = next(results).to_supervision()
    assert len(detections) == 0
    assert detections.mask.shape == (0, 48, 64)


def test_a_stream_is_not_taken_for_one_whose_name_begins_alike(
    client: Client, fake: FakeDaemon
) -> None:
    with client.results("cam1", timeout_s=PATIENCE_S) as results:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(0, stream="cam10"))
        fake.publisher.tracked(tracked(0, stream="cam1"))
        assert next(results).stream == "cam1"


def test_who_comes_late_gets_the_newest_once(client: Client, fake: FakeDaemon) -> None:
    fake.publisher.tracked(tracked(0))
    fake.publisher.tracked(tracked(1))
    wait_until(lambda: fake.publisher.status().sent["masks"] == 2)
    with client.results("cam1", timeout_s=PATIENCE_S) as early:
        first = next(early)
        assert (first.message.repeated, first.message.frame.seq, first.lost) == (True, 1, 0)
        with client.results("cam1", timeout_s=PATIENCE_S) as late:
            assert next(late).message.repeated  # the copy is sent to the early one, too
            fake.publisher.tracked(tracked(2))
            second = next(early)
    assert (second.message.repeated, second.message.frame.seq, second.lost) == (False, 2, 0)


def test_previews_come_as_pictures(client: Client, fake: FakeDaemon) -> None:
    with client.frames("cam1", timeout_s=PATIENCE_S) as frames:
        wait_until(lambda: fake.publisher.status().subscriptions)
        fake.publisher.tracked(tracked(3))
        picture = next(frames)
    assert picture.message.frame.seq == 3
    assert picture.jpeg.startswith(b"\xff\xd8")


def test_scenes_are_masks_and_then_previews_of_the_sizes_that_were_asked_for(
    client: Client, fake: FakeDaemon
) -> None:
    with client.scenes("cam1", PreviewSize.TILE, PreviewSize.LARGE, timeout_s=PATIENCE_S) as scenes:
        wait_until(lambda: fake.publisher.status().subscriptions == 3)
        fake.publisher.tracked(tracked(3))
        masks, *pictures = (next(scenes) for _ in range(3))
    assert isinstance(masks, Result) and masks.message.frame.seq == 3
    assert {one.message.size for one in pictures if isinstance(one, Picture)} == {"tile", "large"}
    with pytest.raises(UsageError, match="name the stream"):
        client.frames(None, PreviewSize.TILE)


def test_results_and_events_come_together(client: Client, fake: FakeDaemon) -> None:
    with client.results_and_events("cam1", "cam2", timeout_s=PATIENCE_S) as both:
        wait_until(lambda: fake.publisher.status().subscriptions == 4)
        fake.publisher.event(event(stream="cam2"))
        fake.publisher.event(event(stream="cam3"))
        fake.publisher.tracked(tracked(0))
        seen = {(item.message.type, item.message.stream) for item in (next(both), next(both))}
    assert seen == {("event", "cam2"), ("masks", "cam1")}


def test_silence_is_told_after_the_time_that_was_given(client: Client) -> None:
    with client.results("cam1", timeout_s=0.05) as results:
        assert results.receive(0.01) is None
        with pytest.raises(DaemonUnreachable, match=r"no message from .* within 0.05 s"):
            next(results)


def test_a_closed_client_ends_its_subscriptions(fake: FakeDaemon) -> None:
    with Client(fake.control, fake.data) as client:
        results = client.results("cam1")
    assert list(results) == []


def test_a_slow_reader_is_told_what_it_lost() -> None:
    """While it sleeps messages wait up to a bound; it gets the oldest of them, then the newest."""
    sent, blob = 600, bytes(64_000)

    def publish(seq: int) -> None:
        message = masks_message(tracked(seq), EncodedObjects("rle", []), seq=seq, encoded_s=0.0)
        publisher.send_multipart([b"masks.cam1", to_json(message), blob])

    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.linger = 0
        publisher.sndhwm = 4
        data = f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1')}"
        with (
            Client(data=data) as client,
            client.results("cam1", timeout_s=PATIENCE_S) as results,
        ):
            assert publisher.recv() == b"\x01masks.cam1"
            for seq in range(sent):
                publish(seq)
            received = 0
            while results.receive(0.2) is not None:
                received += 1
            publish(sent)
            newest = next(results)
    assert newest.message.frame.seq == sent
    assert results.lost == client.lost == sent - received > 0


def test_what_is_no_message_is_an_error(fake: FakeDaemon) -> None:
    tally = received.Tally()
    reader = received.results("cam1", tally)
    for parts in ([b"masks.cam1"], [b"weather.cam1", b"{}"], [b"\xff", b"{}"]):
        with pytest.raises(BadMessage, match="without a known topic"):
            reader.read(parts)
    with pytest.raises(BadMessage, match=r"message on masks\.cam1 is not of protocol v1"):
        reader.read([b"masks.cam1", b'{"v":2}'])
    with pytest.raises(BadMessage, match="without its picture"):
        received.frames(None, None, tally).read([b"frames.cam1", b"{}"])
    assert tally.lost == 0


# --- counting what is lost


@pytest.mark.parametrize(
    ("seqs", "lost"),
    [
        ([0, 1, 2], 0),
        ([7, 8], 0),  # what was sent before the first is not lost
        ([0, 3, 4, 9], 6),
        ([900, 0, 1, 3], 1),  # the numbers began again
    ],
)
def test_gaps_in_the_numbers_are_lost_messages(seqs: list[int], lost: int) -> None:
    gaps = Gaps()
    noted = [gaps.note(b"masks.cam1", seq, at_ns, repeated=False) for at_ns, seq in enumerate(seqs)]
    assert sum(gap.lost for gap in noted if gap is not None) == lost
    assert [gap.restarted for gap in noted if gap is not None] == [
        before > seq for before, seq in zip([-1, *seqs], seqs, strict=False)
    ]


def test_a_copy_counts_only_where_its_message_never_came() -> None:
    gaps = Gaps()

    def copy(seq: int, at_ns: int) -> Gap | None:
        return gaps.note(b"masks.cam1", seq, at_ns, repeated=True)

    assert copy(4, at_ns=40) == Gap(0, restarted=False)
    assert copy(4, at_ns=40) is None
    assert copy(3, at_ns=30) is None
    assert copy(6, at_ns=60) == Gap(1, restarted=False)
    assert copy(0, at_ns=70) == Gap(0, restarted=True)
    assert gaps.note(b"events.cam1", 0, 10, repeated=True) == Gap(0, restarted=False)


def test_only_so_many_topics_are_followed() -> None:
    gaps = Gaps()
    gaps.note(b"masks.first", 5, 0, repeated=False)
    for number in range(received.MAX_TOPICS):
        gaps.note(b"masks.%d" % number, 0, 0, repeated=False)
    forgotten = gaps.note(b"masks.first", 0, 0, repeated=False)
    assert forgotten == Gap(0, restarted=False)


# --- asyncio


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(AsyncClient) == methods(Client)


def test_the_asynchronous_client_prompts_and_follows(fake: FakeDaemon) -> None:
    async def scenario() -> list[int]:
        async with (
            AsyncClient(fake.control, fake.data, timeout_s=PATIENCE_S) as client,
            client.results("cam1", timeout_s=PATIENCE_S) as results,
        ):
            answers = await asyncio.gather(
                client.ping(), client.prompt("cam1", points=[(3, 4)]), client.streams()
            )
            assert answers[0].ready
            assert answers[1].object == CUP
            fake.publisher.tracked(tracked(0))
            seqs = []
            async for result in results:
                seqs.append(result.message.frame.seq)
                if len(seqs) == 3:
                    break
                fake.publisher.tracked(tracked(len(seqs)))
            assert (results.lost, client.lost) == (0, 0)
            return seqs

    assert asyncio.run(scenario()) == [0, 1, 2]
    assert sorted(request.op for request in fake.requests) == ["ping", "prompt", "stream.list"]


def test_the_asynchronous_client_says_what_is_wrong(fake: FakeDaemon) -> None:
    fake.refuse = unknown_stream("cam9")

    async def scenario() -> None:
        async with AsyncClient(fake.control, fake.data, timeout_s=PATIENCE_S) as client:
            with pytest.raises(DaemonError, match="there is no stream cam9"):
                await client.remove_stream("cam9")
            with pytest.raises(DaemonUnreachable, match="no message"):
                await anext(client.results("cam1", timeout_s=0.05))
        async with AsyncClient(free_endpoint(), timeout_s=0.2) as client:
            with pytest.raises(DaemonUnreachable, match="is `trackd serve` running"):
                await client.ping()

    asyncio.run(scenario())


def test_the_client_needs_no_torch_and_no_daemon() -> None:
    script = (
        "import sys, tracker.client\n"
        "heavy = {'torch', 'sam2', 'supervision', 'av', 'tracker.daemon'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
