"""Who is let in without keys, over real sockets: old greetings, web requests, other users."""

import json
import os
import socket as tcp
import stat
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.support.authenticators import (
    GREETING,
    NOBODY,
    as_user,
    connect,
    frame,
    is_closed_after,
    old_frame,
    publishing_behind,
)
from tests.support.control_clients import Client, running
from tests.support.tracked_frames import subscriber, tracked, wait_until
from tracker.daemon.access.connections import Connection, ConnectionTable, surplus
from tracker.daemon.access.curve import CurveAuthenticator, write_keys
from tracker.daemon.access.local_users import LocalUserAuthenticator
from tracker.daemon.access.peers import PeerUsers
from tracker.daemon.config.schema import SecurityConfig
from tracker.errors import TrackdError, UsageError
from tracker.protocol.requests import Request

SHUTDOWN = json.dumps({"v": 1, "id": "1", "op": "shutdown"}).encode()
PING = {"id": "1", "op": "ping"}


class Recording:
    """Answers everything, and keeps what was asked."""

    def __init__(self) -> None:
        self.ops: list[str] = []

    def __call__(self, request: Request) -> dict[str, Any]:
        self.ops.append(request.op)
        return {}


def post(body: bytes) -> bytes:
    """What a browser sends for a page that says fetch(url, {method: "POST", body})."""
    return (
        b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:5570\r\nConnection: keep-alive\r\n"
        b"Content-Length: %d\r\nContent-Type: text/plain\r\nAccept: */*\r\n"
        b"Origin: http://page.example\r\nSec-Fetch-Mode: no-cors\r\n\r\n" % len(body)
    ) + body


def crafted_post(request: bytes) -> bytes:
    """A POST whose letters, taken for frames of ZMTP 1.0, end where `request` begins as one."""

    def short(body: bytes) -> bytes:
        return bytes([len(body) + 1, 0]) + body

    size = 900
    head = post(b"A" * size)[:-size]
    at = 0
    while at < len(head):
        at += 1 + head[at]
    body = b"A" * (at - len(head)) + short(b"end") + short(request)
    return head + body.ljust(size)


def websocket_upgrade() -> bytes:
    return (
        b"GET /chat HTTP/1.1\r\nHost: 127.0.0.1:5570\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nOrigin: http://page.example\r\n\r\n"
    )


REFUSED = {
    "post": crafted_post(SHUTDOWN),
    "get": b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "websocket": websocket_upgrade(),
    "tls": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(230),
    "ZMTP 1.0": b"\x01\x00" + bytes([len(SHUTDOWN) + 1, 0]) + SHUTDOWN,
    "ZMTP 1.0, long": old_frame(b"") + old_frame(SHUTDOWN),
    # Of version 1 and 2: signature, version, socket type (DEALER, and SUB), identity, message.
    "ZMTP 1, versioned": b"\xff" + bytes(8) + b"\x7f\x00\x05" + frame(b"") + frame(SHUTDOWN),
    "ZMTP 2.0": b"\xff" + bytes(8) + b"\x7f\x01\x05" + frame(b"") + frame(SHUTDOWN),
    "ZMTP 2.0, subscriber": b"\xff"
    + bytes(8)
    + b"\x7f\x01\x02"
    + frame(b"")
    + frame(b"\x01masks."),
    "PLAIN": GREETING.replace(b"NULL\0", b"PLAIN") + b"\x04\x0c\x05HELLO\x01a\x01b",
    "not waiting to be let in": GREETING
    + b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    + frame(SHUTDOWN),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_handshake_is_closed_and_nothing_of_it_is_done(data: bytes) -> None:
    handle = Recording()
    with running(handle, security=LocalUserAuthenticator()) as control:
        assert is_closed_after(control.endpoint, data)
        with Client(control) as client:
            client.ping()
        assert handle.ops == ["ping"]
    with publishing_behind(LocalUserAuthenticator()) as publisher:
        for endpoint in (publisher.endpoint, publisher.latest_endpoint):
            assert endpoint is not None and is_closed_after(endpoint, data)
        with subscriber(publisher.endpoint, "masks.cam1") as socket:
            wait_until(lambda: publisher.status().subscriptions == 1)
            publisher.tracked(tracked(3))
            assert socket.recv_multipart()[0] == b"masks.cam1"
        assert publisher.status().resets == 0


def test_the_crafted_post_would_be_obeyed_by_a_socket_without_a_door() -> None:
    """Else the test above would not show anything."""
    handle = Recording()
    with running(handle) as control, connect(control.endpoint) as socket:
        socket.sendall(crafted_post(SHUTDOWN))
        wait_until(lambda: "shutdown" in handle.ops)


def test_programs_of_this_user_are_let_in_without_set_up() -> None:
    handle = Recording()
    with running(handle, security=LocalUserAuthenticator()) as control:
        for kind, parts in ((zmq.REQ, ()), (zmq.DEALER, ()), (zmq.DEALER, (b"",))):
            with Client(control, kind, parts=parts) as client:
                client.ping()
        assert control.status().refused_connections == dict.fromkeys(
            ("key", "user", "limit", "shut out", "unread", "behind"), 0
        )


# --- other users of the machine

ASK = """
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(sys.argv[1])
socket.send(sys.argv[2].encode())
print("answered" if socket.poll(int(sys.argv[3])) else "silence")
"""
ASK_AND_GO = """
for _ in range(30):
    peer = socket.create_connection(("127.0.0.1", int(sys.argv[1].rpartition(":")[2])))
    peer.sendall(bytes.fromhex(sys.argv[2]))
    peer.close()
"""
WATCH = """
socket = zmq.Context().socket(zmq.SUB)
socket.linger = 0
socket.subscribe("")
socket.connect(sys.argv[1])
print("received" if socket.poll(int(sys.argv[2])) else "silence")
"""


@pytest.mark.slow
def test_the_requests_of_other_users_are_not_done() -> None:
    handle, authenticator = Recording(), LocalUserAuthenticator()
    with running(handle, security=authenticator) as control:
        run = as_user(NOBODY, ASK, control.endpoint, SHUTDOWN.decode(), "2000")
        assert (run.returncode, run.stdout) == (0, "silence\n"), run.stderr
        with Client(control) as client:
            client.ping()
        assert handle.ops == ["ping"]
        assert authenticator.refused_for["user"] >= 1


def test_who_asks_and_is_gone_at_once_is_not_taken_for_another() -> None:
    """While connections of this user, which may get the same descriptor, come and go."""
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    said = GREETING + b"\x04" + bytes([len(ready)]) + ready + frame(SHUTDOWN)
    handle = Recording()
    with (
        running(handle, security=LocalUserAuthenticator()) as control,
        ThreadPoolExecutor(1) as pool,
    ):
        attack = pool.submit(as_user, NOBODY, ASK_AND_GO, control.endpoint, said.hex())
        asked = 0
        while not attack.done() or asked < 10:
            with Client(control) as client:
                client.ping()
            asked += 1
        assert attack.result().returncode == 0, attack.result().stderr
        assert set(handle.ops) == {"ping"}


def test_a_user_who_is_allowed_is_let_in() -> None:
    handle = Recording()
    with running(handle, security=LocalUserAuthenticator([NOBODY])) as control:
        run = as_user(NOBODY, ASK, control.endpoint, json.dumps({"v": 1} | PING), "20000")
        assert (run.returncode, run.stdout) == (0, "answered\n"), run.stderr


@pytest.mark.slow
def test_other_users_receive_nothing() -> None:
    with publishing_behind(LocalUserAuthenticator()) as publisher:
        publisher.tracked(tracked(1))
        for endpoint in (publisher.endpoint, publisher.latest_endpoint):
            assert endpoint is not None
            run = as_user(NOBODY, WATCH, endpoint, "2000")
            assert (run.returncode, run.stdout) == (0, "silence\n"), run.stderr
        assert publisher.status().subscriptions == 0
    with publishing_behind(LocalUserAuthenticator([NOBODY])) as publisher:
        publisher.tracked(tracked(1))
        run = as_user(NOBODY, WATCH, publisher.endpoint, "20000")
        assert (run.returncode, run.stdout) == (0, "received\n"), run.stderr


def test_a_user_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="there is no user 'no-such-user'"):
        LocalUserAuthenticator(["no-such-user"])


@pytest.mark.parametrize("family", [tcp.AF_INET, tcp.AF_INET6])
def test_the_kernel_says_whose_a_connection_is(family: int) -> None:
    users = PeerUsers()
    if not users.tells_tcp:
        pytest.skip("this system does not tell")
    try:
        listener = tcp.create_server(
            ("::1" if family == tcp.AF_INET6 else "127.0.0.1", 0), family=family
        )
    except OSError:
        pytest.skip("no such loopback here")
    with listener, tcp.create_connection(listener.getsockname()[:2]) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert users.user_of(accepted.fileno()) == os.getuid()
            client.close()  # what nobody holds any more is shown as root's
            users.look_again()
            assert users.user_of(accepted.fileno()) is None
            accepted.getsockname()  # it was only borrowed
    users.close()


def test_what_is_no_connection_is_nobodys(tmp_path: Path) -> None:
    users = PeerUsers()
    with (tmp_path / "file").open("w") as file, tcp.create_server(("127.0.0.1", 0)) as listener:
        assert users.user_of(file.fileno()) is None
        assert users.user_of(listener.fileno()) is None
    assert users.user_of(10**6) is None
    users.close()


# --- files in place of ports


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such sockets on Windows")
def test_a_socket_file_is_for_its_owner_and_its_peer_is_known(tmp_path: Path) -> None:
    path, handle = tmp_path / "control", Recording()
    before = os.umask(0)
    try:
        with running(handle, security=LocalUserAuthenticator(), bind=f"ipc://{path}") as control:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with Client(control) as client:
                client.ping()
            path.chmod(0o777)
            for folder in (tmp_path, *tmp_path.parents[:2]):
                folder.chmod(0o755)
            run = as_user(NOBODY, ASK, control.endpoint, SHUTDOWN.decode(), "2000")
            assert (run.returncode, run.stdout) == (0, "silence\n"), run.stderr
    finally:
        os.umask(before)
    assert handle.ops == ["ping"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such sockets on Windows")
def test_a_socket_file_in_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with (
        pytest.raises(TrackdError, match="other users can change the folder"),
        running(Recording(), bind=f"ipc://{tmp_path}/control"),
    ):
        pass
    with (
        pytest.raises(TrackdError, match="cannot listen on"),
        running(Recording(), bind=f"ipc://{tmp_path}/absent/control"),
    ):
        pass


# --- which connection a message came over


class Monitored:
    """As much of a socket as an table needs, and its monitor."""

    closed = True
    type = zmq.ROUTER

    def __init__(self, context: "zmq.Context[Any]") -> None:
        self._context = context

    def monitor(self, endpoint: str, _: int) -> None:
        self.news = self._context.socket(zmq.PAIR)
        self.news.bind(endpoint)

    def tell(self, event: int, descriptor: int) -> None:
        self.news.send_multipart([struct.pack("=Hi", event, descriptor), b""])


def test_a_message_of_a_closed_connection_is_not_taken_for_that_of_its_descriptor_s_next() -> None:
    with zmq.Context() as context:
        socket = Monitored(context)
        table = ConnectionTable(socket, context, "test")  # type: ignore[arg-type]
        socket.tell(zmq.EVENT_ACCEPTED, 9999)
        (first,) = table.read(0)
        assert table.find(9999, 1) is first  # the first handshake there was
        socket.tell(zmq.EVENT_DISCONNECTED, 9999)
        socket.tell(zmq.EVENT_ACCEPTED, 9999)
        (second,) = table.read(1)
        assert table.find(9999, 1) is None
        assert table.find(9999, 2) is second
        assert table.holds(second) and not table.holds(first)
        socket.tell(zmq.EVENT_ACCEPTED, 9998)
        socket.tell(zmq.EVENT_DISCONNECTED, 9998)
        assert table.read(2) == []
        socket.news.close()
        table.close()


def test_the_silent_go_first_then_the_newest() -> None:
    kinds = [True, False, True, False, True]
    crowd = [Connection(n, None, 0, spoke=spoke) for n, spoke in enumerate(kinds)]
    gone = [[one.descriptor for one in surplus(crowd, most)] for most in (5, 4, 2, 1)]
    assert gone == [[], [1], [1, 3, 4], [1, 3, 4, 2]]


# --- too many connections


def test_silent_connections_take_no_place_from_those_that_speak() -> None:
    authenticator, handle = LocalUserAuthenticator(most=8), Recording()
    with running(handle, security=authenticator) as control, Client(control, zmq.DEALER) as client:
        client.ping()
        crowd = [connect(control.endpoint) for _ in range(40)]
        wait_until(lambda: authenticator.refused_for["limit"] >= 33)
        client.ping("still there")
        with Client(control) as late:
            late.ping()
        assert control.status().refused_connections["limit"] >= 33
        for socket in crowd:
            socket.close()


def test_with_keys_the_limit_is_the_same(tmp_path: Path) -> None:
    server = write_keys(tmp_path, "server")
    (tmp_path / "clients").mkdir()
    config = SecurityConfig(server_key=server.secret, client_keys=tmp_path / "clients")
    authenticator = CurveAuthenticator.from_config(config, [], most=8)
    assert authenticator is not None
    with publishing_behind(authenticator) as publisher:
        crowd = [connect(publisher.endpoint) for _ in range(40)]
        wait_until(lambda: authenticator.refused_for["limit"] >= 32)
        for socket in crowd:
            socket.close()


def test_the_control_socket_sends_no_heartbeats() -> None:
    """Where a client goes while its requests wait, libzmq would abort at the next heartbeat."""
    with running(Recording(), security=LocalUserAuthenticator()) as control:
        assert control._router.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert control._router.getsockopt(zmq.TCP_KEEPALIVE) == 1
