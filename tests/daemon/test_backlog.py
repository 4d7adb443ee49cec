"""What connections sent and nobody has read: counted, bounded over all, and read again after."""

import socket as tcp
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.support.authenticators import GREETING, PATIENCE_S, Keyring, connect, frame
from tests.support.control_clients import Client, running
from tracker.daemon.access import authenticator as door_module
from tracker.daemon.access.backlog import (
    SLACK_BYTES,
    bytes_received,
    bytes_unsent,
    hoarders,
    note_progress,
    sleepers,
    unread_bytes,
    wire_bytes,
)
from tracker.daemon.access.connections import Connection
from tracker.daemon.access.local_users import LocalUserAuthenticator
from tracker.daemon.publish.xpub import XpubSocket
from tracker.protocol.requests import Request

MIB = 2**20


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def ready(endpoint: str, kind: bytes = b"DEALER") -> tcp.socket:
    """A connection past its handshake, whose bytes are written by hand."""
    socket = connect(endpoint)
    command = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    socket.sendall(GREETING + b"\x04" + bytes([len(command)]) + command)
    answer = b""
    while b"Socket-Type" not in answer:
        answer += socket.recv(4096)
    return socket


def send_until_closed(socket: tcp.socket, data: bytes) -> None:
    try:
        while True:
            socket.sendall(data)
    except OSError:
        socket.close()


def nothing(_: Request) -> dict[str, Any]:
    return {}


def test_a_part_takes_what_zmtp_says() -> None:
    """ZeroMQ RFC 37: flags, a size of one octet up to 255 or else of eight, and the body."""
    assert [wire_bytes(size) for size in (0, 255, 256)] == [2, 257, 265]


def test_the_kernel_counts_both_ways() -> None:
    with tcp.create_server(("127.0.0.1", 0)) as server:
        client = tcp.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        client.sendall(b"x" * 5000)
        wait_until(lambda: bytes_received(accepted.fileno()) == 5000)
        assert accepted.recv(3000) and bytes_received(accepted.fileno()) == 5000
        wait_until(lambda: bytes_unsent(client.fileno()) == 0)
        client.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                client.send(b"x" * 65536)
        assert bytes_unsent(client.fileno()) > 0


def test_what_was_read_is_no_longer_held_and_what_was_sent_since_is() -> None:
    connection = Connection(7, None, 0)
    assert unread_bytes(connection, 300) == 300
    connection.read_bytes, connection.read_lately = 100_000, True
    assert unread_bytes(connection, 1_100_000) == 1_000_000
    assert unread_bytes(connection, 1_200_000) == 1_100_000, "nothing was read since"
    connection.read_bytes, connection.read_lately = 1_200_000 - 700, True
    assert unread_bytes(connection, 1_200_000) == 700, "a handshake and what adds to messages"
    assert unread_bytes(connection, 1_200_000) == 0
    connection.read_bytes = 2_000_000
    assert unread_bytes(connection, 1_200_000) == 0
    assert unread_bytes(connection, 1_200_000 + SLACK_BYTES) == SLACK_BYTES, "no credit is given"


def test_those_that_sent_most_go_until_the_rest_is_little_enough() -> None:
    held = [(nbytes, Connection(nbytes, None, 0)) for nbytes in (5, 40, 10, 30)]

    def gone(most: int) -> list[int]:
        return [one.descriptor for one in hoarders(held, most)]

    assert [gone(most) for most in (85, 84, 45, 15, 14, 0)] == [
        [],
        [40],
        [40],
        [40, 30],
        [40, 30, 10],
        [40, 30, 10, 5],
    ]


def test_those_that_are_behind_for_longest_go_until_little_enough_is_kept() -> None:
    crowd = [Connection(n, None, 0) for n in range(5)]
    for since_s, one in enumerate(crowd):
        note_progress(one, 1000, float(since_s))
        note_progress(one, 2000, 100.0)
    note_progress(crowd[1], 0, 101.0)  # it took all
    held = [(10, one) for one in crowd]

    def gone(most: int, behind_since_s: float = 3.0) -> list[int]:
        return [one.descriptor for one in sleepers(held, most, behind_since_s)]

    assert [gone(most) for most in (30, 29, 19, 0)] == [[], [0], [0, 2], [0, 2, 3]]
    assert gone(0, behind_since_s=2.0) == [0, 2]


def test_subscribers_that_do_not_read_are_closed_where_too_much_is_kept_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door_module, "_BEHIND_S", 0.2)
    authenticator = LocalUserAuthenticator()
    authenticator.most_unsent_bytes = 8 * MIB
    with zmq.Context() as context:
        authenticator.start(context)
        xpub = XpubSocket("tcp://127.0.0.1:0", authenticator, context=context, send_hwm=4)
        xpub.bind()
        asleep = [ready(xpub.endpoint, b"SUB") for _ in range(4)]
        with context.socket(zmq.SUB) as awake:
            awake.linger = 0
            awake.subscribe(b"")
            awake.connect(xpub.endpoint)
            for socket in asleep:
                socket.sendall(frame(b"\x01"))

            def send_and_look() -> bool:
                xpub.serve()
                xpub.send(b"x", [b"x" * MIB])
                while awake.poll(20):
                    awake.recv()
                return authenticator.refused_for["behind"] >= 2

            wait_until(send_and_look)
            assert authenticator.refused_for["behind"] == 2, "four MiB for each: two may sleep on"
            xpub.send(b"x", [b"the last"])
            assert awake.poll(20_000) and awake.recv() == b"the last"
        for socket in asleep:
            socket.close()
        xpub.close(0)
        authenticator.stop()


@pytest.mark.slow
def test_a_message_without_end_is_closed_and_others_are_answered() -> None:
    authenticator = LocalUserAuthenticator()
    authenticator.most_unread_bytes = 4 * MIB
    with running(nothing, security=authenticator) as control, Client(control, zmq.DEALER) as client:
        client.ping("before")
        send_until_closed(ready(control.endpoint), frame(b"x" * 60_000, flags=1))
        client.ping("after")
        assert control.status().refused_connections["unread"] == 1


def test_many_that_are_each_within_bounds_are_not_together() -> None:
    authenticator = LocalUserAuthenticator()
    authenticator.most_unread_bytes = 4 * MIB
    with running(nothing, security=authenticator) as control, Client(control, zmq.DEALER) as client:
        crowd = [ready(control.endpoint) for _ in range(8)]
        for socket in crowd:
            try:
                socket.sendall(frame(b"x" * MIB)[:-1])
            except OSError:
                assert authenticator.refused_for["unread"]
        wait_until(lambda: authenticator.refused_for["unread"] >= 4)
        wait_until(lambda: authenticator.unread_bytes <= 4 * MIB)
        client.ping()
        for socket in crowd:
            socket.close()


def test_what_clients_sent_and_was_answered_is_not_held() -> None:
    authenticator = LocalUserAuthenticator()
    with (
        running(nothing, security=authenticator) as control,
        Client(control, zmq.DEALER) as client,
        Client(control) as other,
    ):
        for n in range(50):
            client.ping(str(n))
            other.ask({"id": str(n), "op": "ping", "x": "y" * 60_000})
        wait_until(lambda: authenticator.unread_bytes == 0)
        assert authenticator.refused_for["unread"] == 0


@pytest.mark.slow
def test_what_keys_add_to_each_part_is_not_held(tmp_path: Path) -> None:
    keys, messages, parts = Keyring(tmp_path), 40, 500
    options = keys.add("alice", "admin")
    authenticator = keys.authenticator()
    with (
        running(nothing, security=authenticator) as control,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as client,
    ):
        client.linger, client.rcvtimeo = 0, round(1000 * PATIENCE_S)
        for name, value in options.items():
            client.setsockopt(getattr(zmq, name), value)
        client.connect(control.endpoint)
        for _ in range(messages):
            client.send_multipart([b""] * parts)
        for _ in range(messages):
            client.recv_multipart()
        # 35 bytes for each part, by RFC 26 and RFC 37: ten times what is let pass.
        assert messages * parts * 35 > 10 * SLACK_BYTES
        time.sleep(0.5)  # it was looked at since, several times
        wait_until(lambda: authenticator.unread_bytes == 0)


@pytest.mark.slow
def test_who_does_not_read_is_not_answered_until_it_does() -> None:
    def much(_: Request) -> dict[str, Any]:
        return {"much": "x" * 100_000}

    with running(much, security=LocalUserAuthenticator(), remembered_replies=0) as control:
        deaf = ready(control.endpoint)
        request = b'{"id":"%d","op":"ping"}'
        for n in range(400):
            deaf.sendall(frame(request % n))
            time.sleep(0.001)
        wait_until(lambda: control.status().undelivered > 0)
        deaf.settimeout(0.5)
        read = b""
        try:
            while True:
                data = deaf.recv(2**20)
                assert data, "it was cut off"
                read = (read + data)[-2000:]
        except TimeoutError:
            deaf.settimeout(PATIENCE_S)
        deaf.sendall(frame(request % 1000))
        while b'"id":"1000"' not in read:
            data = deaf.recv(2**20)
            assert data, "it was cut off"
            read = read[-100:] + data
        deaf.close()
