"""The clients where nothing answers, or late, or not as it should."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import control_clients
from tests.support.fake_daemon import CUP, FakeDaemon, daemon, free_endpoint, router
from tracker.client import AsyncClient, BadMessage, Client, DaemonUnreachable
from tracker.client.calls import Call, read_reply
from tracker.client.reach import NOTICE_S, why_unreachable
from tracker.daemon.messages import Event
from tracker.protocol.data import EventName
from tracker.protocol.replies import PingResult, PromptResult, Reply

PATIENCE_S = 20.0
PONG = {"version": "1", "ready": True, "uptime_s": 1.0}


@contextmanager
def connected(control: str) -> Iterator[Client]:
    """A client whose connection is there, however long that took."""
    with Client(control, timeout_s=PATIENCE_S) as client:
        assert client.ping().ready
        yield client


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


@pytest.mark.slow
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
