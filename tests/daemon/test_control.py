"""The control socket with real clients: replies, retries, limits, and what makes no sense."""

import json
import logging
import socket as sockets
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.support.control_clients import Client, running
from tests.support.supervised import wait_until
from tracker.daemon.access.curve import CurveAuthenticator, read_keys, write_keys
from tracker.daemon.config.schema import LimitsConfig, SecurityConfig
from tracker.daemon.control.asking import ASKING
from tracker.daemon.control.rate_limit import RateLimiter
from tracker.daemon.control.reply_cache import CachedReply, ReplyCache
from tracker.daemon.messages import RequestError
from tracker.errors import TrackdError
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import ObjectRemove, Ping, Request

MIB = 2**20


class Counting:
    """Answers everything with how often it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> dict[str, Any]:
        self.requests.append(request)
        return {"asked": len(self.requests)}


class Deferring:
    """Answers pings at once and keeps everything else in progress."""

    def __init__(self) -> None:
        self.futures: list[Future[dict[str, Any]]] = []

    def __call__(self, request: Request) -> "dict[str, Any] | Future[dict[str, Any]]":
        if isinstance(request, Ping):
            return {}
        self.futures.append(Future())
        return self.futures[-1]


def code(reply: dict[str, Any]) -> str:
    assert reply["ok"] is False and "result" not in reply
    return str(reply["error"]["code"])


PING = {"id": "1", "op": "ping"}
REMOVE = {"id": "1", "op": "object.remove", "stream": "cam1", "object": 3}


@pytest.mark.parametrize(("kind", "parts"), [(zmq.REQ, ()), (zmq.DEALER, ()), (zmq.DEALER, (b"",))])
def test_a_client_is_answered_in_the_form_it_asked_in(kind: int, parts: tuple[bytes, ...]) -> None:
    with running(Counting()) as control, Client(control, kind, parts=parts) as client:
        for n in (1, 2):
            reply = client.ask({"id": f"r{n}", "op": "ping"})
            assert reply == {"v": 1, "id": f"r{n}", "ok": True, "result": {"asked": n}}


def test_replies_may_overtake_each_other() -> None:
    handle = Deferring()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        client.send({**REMOVE, "id": "slow"})
        client.ping("quick")
        handle.futures[0].set_result({"done": True})
        assert client.receive() == {"v": 1, "id": "slow", "ok": True, "result": {"done": True}}


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ((b"x",), ()),
        ((b"", b""), (b"",)),
        ((b"x", b""), (b"x", b"")),
        ((b"", b"x"), (b"",)),
        ((b"a",) * 50, ()),
        ((b"", b"", b"", b""), (b"",)),
        ((b"hop", b"another", b"", b"x"), (b"hop", b"another", b"")),
        ((b"h" * 255, b""), (b"h" * 255, b"")),
        ((b"h" * 256, b""), ()),  # longer than an address may be
    ],
)
def test_parts_that_make_no_sense_are_answered_with_an_error(
    parts: tuple[bytes, ...], address: tuple[bytes, ...]
) -> None:
    """What leads up to the first empty part is a return address, as ZeroMQ's guide has it."""
    handle = Counting()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        client.socket.send_multipart([*parts, json.dumps({"v": 1, **PING}).encode()])
        *envelope, raw = client.socket.recv_multipart()
        reply = json.loads(raw)
        assert tuple(envelope) == address
        assert (reply["id"], code(reply)) == (PING["id"], "bad_request")
        assert f"a message of {len(parts) + 1} parts is no request" in reply["error"]["message"]
        client.ping("after")
        assert client.silent()
        assert control.status().unanswerable == 0
        assert len(handle.requests) == 1


def test_a_req_socket_that_sends_too_many_parts_is_answered_and_may_ask_again() -> None:
    with running(Counting()) as control, Client(control, zmq.REQ, parts=()) as client:
        client.socket.send_multipart([b"cam1", b'{"v":1,"id":"a","op":"ping"}'])
        assert code(client.receive()) == "bad_request"
        client.ping()


def test_a_return_address_that_nobody_has_gets_silence_and_is_counted() -> None:
    handle = Counting()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        parts = 16 * [b"hop"]
        client.socket.send_multipart([*parts, b"", json.dumps({"v": 1, **PING}).encode()])
        client.ping("after")
        assert client.silent()
        assert control.status().unanswerable == 1
        assert len(handle.requests) == 1


def test_messages_in_parts_count_for_the_rate_of_their_client() -> None:
    with (
        running(Counting(), requests_per_s=0.001, burst=2) as control,
        Client(control, zmq.DEALER) as client,
    ):
        codes = []
        for _ in range(4):
            client.socket.send_multipart([b"x", b"y"])
            codes.append(code(client.receive()))
        assert codes == ["bad_request", "bad_request", "rate_limited", "rate_limited"]


def test_replies_to_a_client_that_is_gone_are_counted() -> None:
    handle, count = Deferring(), 200
    with running(handle) as control, Client(control) as other:
        with Client(control, zmq.DEALER) as client:
            for number in range(count):
                client.send({**REMOVE, "id": str(number)})
            client.ping()
        for number, future in enumerate(handle.futures):
            future.set_result({})
            other.ping(f"after {number}")  # the end of the connection is seen meanwhile
        all_ok = 2 * count + 1  # the last one may be answered after the ping that followed it
        wait_until(lambda: control.status().replies["ok"] == all_ok, "all replies")
        status = control.status()
    assert len(handle.futures) == count
    assert 0 < status.undelivered <= count


def test_bytes_that_are_no_request_get_a_typed_error() -> None:
    with running(Counting()) as control, Client(control) as client:
        assert code(client.ask(b"")) == "bad_request"
        assert code(client.ask(b"\xff" * 100)) == "bad_request"
        assert code(client.ask({"id": "a", "op": "fly"})) == "unknown_op"
        reply = client.ask({"v": 2, "id": "b", "op": "ping"})
        assert (reply["id"], code(reply)) == ("b", "unsupported_version")
        status = control.status()
        assert status.replies["bad_request"] == 2
        assert status.requests["unread"] == 4


def test_a_request_that_is_too_large_is_answered_and_a_huge_one_is_cut_off() -> None:
    with running(Counting(), max_message_bytes=MIB) as control:
        with Client(control) as client:
            assert code(client.ask(b" " * (MIB + 1))) == "too_large"
            assert code(client.ask(b" " * (4 * MIB))) == "too_large"
        with Client(control, zmq.DEALER) as rude, Client(control) as client:
            monitor = rude.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            rude.send(b" " * (4 * MIB + 1))
            assert monitor.poll(20_000), "the connection is still there"
            client.ping()
            assert rude.silent()
            rude.socket.disable_monitor()
            monitor.close()


# --- repeated ids


def test_a_repeated_request_gets_the_first_reply_and_does_nothing() -> None:
    handle = Counting()
    with running(handle) as control, Client(control) as client:
        first = client.ask(REMOVE)
        assert client.ask(REMOVE) == first
        assert client.ask(dict(reversed(REMOVE.items()))) == first
        assert len(handle.requests) == 1


def test_a_repeated_request_in_progress_is_done_once_and_answered_once() -> None:
    handle = Deferring()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        for _ in range(3):
            client.send(REMOVE)
        client.ping("seen")
        assert control.status().in_progress == 1
        handle.futures[0].set_result({"done": True})
        assert client.receive()["result"] == {"done": True}
        client.ping("after")
        assert client.silent()
        assert len(handle.futures) == 1


def test_a_client_that_comes_back_under_its_routing_id_gets_the_reply_that_it_missed() -> None:
    handle = Deferring()
    with running(handle) as control:
        with Client(control, ROUTING_ID=b"phone") as client, Client(control) as other:
            client.send(REMOVE)
            while not handle.futures:
                other.ask({"id": str(len(handle.futures)), "op": "ping"})
        handle.futures[0].set_result({"done": True})
        with Client(control, ROUTING_ID=b"phone") as client:
            assert client.ask(REMOVE)["result"] == {"done": True}
        assert len(handle.futures) == 1


def test_a_request_is_done_in_the_name_of_its_client() -> None:
    names: list[bytes] = []

    def note(_: Request) -> dict[str, Any]:
        names.append(ASKING.get())
        return {}

    with running(note) as control, Client(control) as one, Client(control) as other:
        for n, client in enumerate((one, other, one)):
            client.ping(str(n))
    assert names[0] == names[2] != names[1]
    assert b"" not in names


def test_the_ids_of_two_clients_are_their_own() -> None:
    handle = Counting()
    with running(handle) as control, Client(control) as one, Client(control) as two:
        assert one.ask(REMOVE)["result"] == {"asked": 1}
        assert two.ask(REMOVE)["result"] == {"asked": 2}


@pytest.mark.parametrize("handle", [Counting(), Deferring()])
def test_an_id_used_for_something_else_is_refused(handle: Counting | Deferring) -> None:
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        client.send(REMOVE)
        if isinstance(handle, Counting):
            client.receive()
        reply = client.ask({**REMOVE, "object": 4})
        assert (reply["id"], code(reply)) == ("1", "bad_request")
        assert "id" in reply["error"]["message"]


def test_refusals_are_remembered_but_for_those_that_say_try_again() -> None:
    codes = iter([ErrorCode.BUSY, ErrorCode.UNKNOWN_OBJECT, ErrorCode.INTERNAL])

    def handle(_: Request) -> dict[str, Any]:
        raise RequestError(next(codes), "no", "later")

    with running(handle) as control, Client(control) as client:
        assert code(client.ask(REMOVE)) == "busy"
        assert code(client.ask(REMOVE)) == "unknown_object"
        assert code(client.ask(REMOVE)) == "unknown_object"
        assert control.status().replies["unknown_object"] == 2


def test_old_replies_are_forgotten() -> None:
    handle = Counting()
    with running(handle, remembered_replies=2) as control, Client(control) as client:
        for n in range(5):
            client.ask({"id": str(n), "op": "ping"})
        assert control.status().remembered == 2
        assert client.ask({"id": "4", "op": "ping"})["result"] == {"asked": 5}
        assert client.ask({"id": "0", "op": "ping"})["result"] == {"asked": 6}


def test_the_memory_of_replies_is_bounded_in_bytes_and_keeps_what_is_used() -> None:
    memory = ReplyCache(100, max_bytes=30)
    for name in ("a", "b", "c"):
        memory.put((b"client", name), CachedReply(b"digest", "ok", b"x" * 10))
    assert memory.get((b"client", "a")) is not None
    memory.put((b"client", "d"), CachedReply(b"digest", "ok", b"x" * 10))
    assert [name for name in "abcd" if memory.get((b"client", name))] == ["a", "c", "d"]
    memory.put((b"client", "huge"), CachedReply(b"digest", "ok", b"x" * 31))
    assert (len(memory), memory.nbytes) == (0, 0)


# --- limits


def test_a_client_that_asks_too_often_is_refused_and_others_are_not() -> None:
    handle = Counting()
    with (
        running(handle, requests_per_s=0.001, burst=3) as control,
        Client(control) as eager,
        Client(control) as other,
    ):
        for n in range(3):
            assert eager.ask({"id": str(n), "op": "ping"})["ok"]
        reply = eager.ask({"id": "late", "op": "ping"})
        assert (reply["id"], code(reply)) == ("late", "rate_limited")
        assert other.ask(PING)["ok"]
        assert control.status().clients == 2


def test_a_bucket_fills_with_time_and_the_most_silent_client_is_forgotten() -> None:
    rates = RateLimiter(per_s=2.0, burst=4, clients=2)
    assert [rates.allow(b"a", 0.0) for _ in range(5)] == [True, True, True, True, False]
    assert [rates.allow(b"a", 0.5) for _ in range(2)] == [True, False]
    assert [rates.allow(b"a", 99.0) for _ in range(5)] == [True, True, True, True, False]
    rates.allow(b"b", 99.0)
    rates.allow(b"a", 99.0)
    rates.allow(b"c", 99.0)
    assert len(rates) == 2
    assert not rates.allow(b"a", 99.0), "a was heard last, b is the one to forget"


def test_a_long_request_counts_as_several_and_the_longest_is_not_shut_out() -> None:
    rates = RateLimiter(per_s=1.0, burst=8, clients=2)
    assert rates.allow(b"a", 0.0, 2 * 65536)
    assert [rates.allow(b"a", 0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not rates.allow(b"a", 7.5, 2**21)
    assert rates.allow(b"a", 8.0, 2**21), "33 would be more than a full bucket holds"


def test_a_request_that_takes_too_long_is_cancelled_and_answered() -> None:
    handle = Deferring()
    with running(handle, timeout_s=0.05) as control, Client(control) as client:
        assert code(client.ask(REMOVE)) == "timeout"
        assert handle.futures[0].cancelled()
        assert control.status().in_progress == 0
        assert code(client.ask(REMOVE)) == "timeout", "what was answered stays answered"
        assert len(handle.futures) == 1


@pytest.mark.slow
def test_a_client_that_does_not_read_delays_nobody() -> None:
    def handle(_: Request) -> dict[str, Any]:
        return {"much": "x" * 100_000}

    with (
        running(handle, remembered_replies=0) as control,
        Client(control, zmq.DEALER, RCVHWM=1, RCVBUF=4096) as deaf,
        Client(control) as client,
    ):
        for n in range(1000):
            deaf.send({"id": str(n), "op": "ping"})
            if n % 100 == 0:
                client.ping(str(n))
        client.ping()


# --- mistakes of the daemon's own


def test_an_unexpected_failure_is_answered_and_logged_without_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handle(request: Request) -> "dict[str, Any] | Future[dict[str, Any]]":
        if isinstance(request, Ping):
            return {}
        raise ValueError("cannot read rtsp://admin:hunter2@10.0.0.9/live")

    with (
        caplog.at_level(logging.ERROR, "trackd.control"),
        running(handle) as control,
        Client(control) as client,
    ):
        reply = client.ask(REMOVE)
        client.ping()
    assert code(reply) == "internal"
    assert "hunter2" not in json.dumps(reply) + caplog.text
    assert "ValueError" in caplog.text and "in handle" in caplog.text


def test_a_future_that_fails_is_answered_in_the_same_way() -> None:
    handle = Deferring()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        for n in range(3):
            client.send({**REMOVE, "id": str(n)})
        client.ping()
        handle.futures[0].set_exception(RequestError(ErrorCode.UNKNOWN_OBJECT, "no object 3"))
        handle.futures[1].set_exception(KeyError(3))
        handle.futures[2].cancel()
        codes = {reply["id"]: code(reply) for reply in (client.receive() for _ in range(3))}
        assert codes == {"0": "unknown_object", "1": "internal", "2": "shutting_down"}


def test_a_result_that_is_no_json_is_an_internal_error() -> None:
    with running(lambda _: {"result": object()}) as control, Client(control) as client:
        assert code(client.ask(PING)) == "internal"


def test_what_is_in_progress_at_the_end_is_answered() -> None:
    handle = Deferring()
    with running(handle) as control, Client(control, zmq.DEALER) as client:
        client.send(REMOVE)
        client.ping()
        assert control.stop(10)
        assert code(client.receive()) == "shutting_down"
        assert handle.futures[0].cancelled()
        assert not control.status().healthy


# --- where it listens


def test_an_address_in_use_is_told_to_the_caller() -> None:
    with running(Counting()) as control:
        with (
            pytest.raises(
                TrackdError, match=r"cannot listen on tcp://127.*: address already in use"
            ) as err,
            running(Counting(), bind=control.endpoint),
        ):
            pass
        assert "another port" in err.value.hint


def test_an_address_of_another_machine_is_told_to_the_caller() -> None:
    with (
        pytest.raises(TrackdError, match=r"cannot listen on tcp://192\.0\.2\.1:5570: .* address"),
        running(Counting(), bind="tcp://192.0.2.1:5570"),
    ):
        pass


def test_it_listens_on_ipv6() -> None:
    try:
        sockets.create_server(("::1", 0), family=sockets.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with running(Counting(), bind="tcp://[::1]:*") as control, Client(control, IPV6=1) as client:
        client.ping()


def test_with_keys_a_client_is_known_by_its_key(tmp_path: Path) -> None:
    server = write_keys(tmp_path / "server", "server")
    phone = write_keys(tmp_path / "clients", "phone")
    stranger = write_keys(tmp_path / "elsewhere", "stranger")
    bind = "tcp://127.0.0.1:*"
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path / "clients")
    security = CurveAuthenticator.from_config(config, [bind])
    assert security is not None

    def keys(path: Path) -> dict[str, bytes | None]:
        public, secret = read_keys(path)
        return {
            "CURVE_SERVERKEY": security.public_key,
            "CURVE_PUBLICKEY": public,
            "CURVE_SECRETKEY": secret,
        }

    handle = Counting()
    with running(handle, security=security, limits=LimitsConfig(clients=2)) as control:
        for _ in range(3):  # three connections, three routing ids, one client
            with Client(control, **keys(phone.secret)) as client:
                assert client.ask(REMOVE)["result"] == {"asked": 1}
        assert isinstance(handle.requests[0], ObjectRemove)
        assert control.status().clients == 1
        with Client(control, **keys(stranger.secret)) as client:
            client.socket.setsockopt(zmq.RCVTIMEO, 300)
            client.send(REMOVE)
            with pytest.raises(zmq.Again):
                client.receive()
        assert len(handle.requests) == 1
