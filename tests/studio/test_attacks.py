"""The studio in a process of its own, attacked: other hosts and sites, no token, floods."""

import asyncio
import http.client
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.studio.test_access import cookie_of, nobody, socket_status
from tests.support import fake_daemon
from tests.support.studio import serving_studio
from tools.studio_process import Studio
from tracker.studio import server
from tracker.studio.app import MAX_PAGES
from tracker.studio.page_socket import MESSAGES_BURST
from tracker.studio.server import MAX_CONNECTIONS
from tracker.studio.session import MAX_TEXT

websockets = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
pytestmark = [pytest.mark.system]

FLOOD = 1000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with (
        fake_daemon.daemon() as daemon,
        Studio(daemon.control, daemon.data, tmp_path_factory.mktemp("studio")) as running,
    ):
        yield running


def port_of(studio: Studio) -> int:
    return int(studio.origin.rpartition(":")[2])


def status(studio: Studio, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(studio), timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture(scope="module")
def cookie(studio: Studio) -> str:
    return studio.cookie()


def opened(studio: Studio, cookie: str) -> Any:
    return websockets.connect(
        f"ws://127.0.0.1:{port_of(studio)}/socket",
        origin=studio.origin,
        additional_headers={"Cookie": cookie},
        max_size=None,
        open_timeout=60,
    )


def test_other_hosts_other_sites_and_strangers_get_nothing(studio: Studio, cookie: str) -> None:
    assert status(studio, "/", Cookie=cookie) == 200
    assert status(studio, "/", Cookie=cookie, Host="rebound.example") == 421
    assert status(studio, "/", Cookie=cookie, Origin="https://evil.example") == 403
    assert status(studio, "/") == 401
    assert status(studio, "/?token=" + "x" * 43) == 401
    handshakes = {
        "ours": ({"Cookie": cookie, "Origin": studio.origin}, 101),
        "another site": ({"Cookie": cookie, "Origin": "https://evil.example"}, 403),
        "no site": ({"Cookie": cookie}, 403),
        "no cookie": ({"Origin": studio.origin}, 403),
        "another host": ({"Cookie": cookie, "Origin": studio.origin, "Host": "evil"}, 403),
    }
    for name, (headers, wanted) in handshakes.items():
        assert handshake_status(studio, headers) == wanted, name


def handshake(studio: Studio, headers: dict[str, str]) -> bytes:
    lines = {"Host": studio.origin.partition("//")[2], "Upgrade": "websocket"}
    lines |= {"Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    lines |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | headers
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET /socket HTTP/1.1\r\n{text}\r\n".encode()


def handshake_status(studio: Studio, headers: dict[str, str]) -> int:
    with socket.create_connection(("127.0.0.1", port_of(studio)), 60) as connection:
        connection.sendall(handshake(studio, headers))
        return int(connection.recv(100).split(b" ")[1])


@pytest.mark.parametrize("known", [True, False], ids=["with the cookie", "strangers"])
def test_a_thousand_websockets_at_once(studio: Studio, cookie: str, known: bool) -> None:
    """So many as are allowed open; the others are refused, and afterwards all is as before."""
    headers = {"Origin": studio.origin} | ({"Cookie": cookie} if known else {})

    async def knock() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(studio))
        writers.append(writer)
        writer.write(handshake(studio, headers))
        return await reader.read(12)

    async def knock_all() -> list[bytes]:
        try:
            return await asyncio.gather(*(knock() for _ in range(FLOOD)))
        finally:
            for writer in writers:
                writer.close()

    writers: list[asyncio.StreamWriter] = []
    answers = Counter(asyncio.run(knock_all()))
    assert sum(answers.values()) == FLOOD
    assert answers[b"HTTP/1.1 101"] == (MAX_PAGES if known else 0)
    assert answers.keys() <= {b"HTTP/1.1 101", b"HTTP/1.1 403", b"HTTP/1.1 503"}
    until_served(studio, cookie)


def until_served(studio: Studio, cookie: str) -> None:
    """A page opens again, at the latest when the server has noticed who went."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        try:
            with opened(studio, cookie) as page:
                assert "streams" in page.recv(60)
                return
        except exceptions.InvalidStatus:
            time.sleep(0.1)
    pytest.fail("no page opens any more")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["x" * (MAX_TEXT + 1)], 1009),
        (["{}"], 1008),
        ([b"\x00" * 10], None),
        (['{"type":"shown","n":1}'] * (MESSAGES_BURST + 300), 1008),
    ],
    ids=["too long", "nonsense", "bytes", "too many"],
)
def test_a_page_that_breaks_the_rules_is_closed(
    studio: Studio, cookie: str, messages: list[str | bytes], code: int | None
) -> None:
    with opened(studio, cookie) as page:
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            for message in messages:
                page.send(message)
            while True:
                page.recv(60)
        received = closed.value.rcvd
        assert code is None or (received is not None and received.code == code)
    assert status(studio, "/", Cookie=cookie) == 200


def test_silent_connections_are_closed_so_that_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.3)
    with serving_studio(nobody) as served:
        cookie = cookie_of(served)
        silent = [
            socket.create_connection(("127.0.0.1", served.port)) for _ in range(MAX_CONNECTIONS)
        ]
        for number, one in enumerate(silent):
            one.settimeout(60)
            one.sendall(b"GET / HTT" if number % 2 else b"")
        assert all(one.recv(1) == b"" for one in silent)  # closed
        assert socket_status(served, cookie, served.origin) == 101
        for one in silent:
            one.close()
