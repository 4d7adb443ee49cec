"""Who gets in to the page: Host, Origin, token, password, cookie; over a real socket."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.studio import Served, serving_studio
from tools.serving import free_ports
from tracker.client import AsyncClient
from tracker.colours import OBJECT_COLOURS
from tracker.studio.access import Access
from tracker.studio.app import MAX_PAGES

websockets = pytest.importorskip("websockets.sync.client")

InvalidStatus = pytest.importorskip("websockets.exceptions").InvalidStatus

PASSWORD = "correct horse battery"


def nobody() -> AsyncClient:
    return AsyncClient(f"tcp://127.0.0.1:{free_ports(1)[0]}")


@pytest.fixture(scope="module")
def studio() -> Iterator[Served]:
    with serving_studio(nobody) as served:
        yield served


@pytest.fixture
def guarded() -> Iterator[Served]:
    with serving_studio(nobody, password=PASSWORD) as served:
        yield served


def ask(
    served: Served, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """One request; underscores in names of headers stand for hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request(
        method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    response = connection.getresponse()
    response.text = response.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return response


def cookie_of(served: Served) -> str:
    response = ask(served, f"/?token={served.access.token}")
    assert response.status == 303
    assert response.headers["location"] == "/"
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    return cookie.partition(";")[0]


def test_the_printed_address_opens_the_page(studio: Served) -> None:
    response = ask(studio, "/", Cookie=cookie_of(studio))
    assert response.status == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/app.js", "/settings.json", "/nothing"])
def test_without_the_cookie_nothing_is_served(studio: Served, path: str) -> None:
    assert ask(studio, path).status == 401
    assert ask(studio, path, Cookie="trackd_studio=0123").status == 401
    assert ask(studio, path, Cookie="trackd_studio=;;=,").status == 401


def test_a_wrong_token_is_refused_and_soon_not_even_looked_at() -> None:
    with serving_studio(nobody) as studio:
        assert [ask(studio, "/?token=x").status for _ in range(6)] == [401] * 5 + [429]
        assert ask(studio, f"/?token={studio.access.token}").status == 429


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", ""])
def test_another_host_is_not_served(studio: Served, host: str) -> None:
    assert ask(studio, "/", Host=host, Cookie=cookie_of(studio)).status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", ""])
def test_another_origin_is_refused(studio: Served, origin: str) -> None:
    cookie = cookie_of(studio)
    assert ask(studio, "/settings.json", Origin=origin, Cookie=cookie).status == 403
    assert ask(studio, "/settings.json", Origin=studio.origin, Cookie=cookie).status == 200


def test_objects_have_the_same_colours_in_the_page_as_on_pictures(studio: Served) -> None:
    response = ask(studio, "/settings.json", Cookie=cookie_of(studio))
    colours = json.loads(response.text)["colours"]  # type: ignore[attr-defined]
    assert [tuple(bytes.fromhex(colour.removeprefix("#"))) for colour in colours] == list(
        OBJECT_COLOURS
    )


def socket_status(served: Served, cookie: str | None, origin: str | None, host: str = "") -> int:
    """101 where the WebSocket opens."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    headers |= {"Cookie": cookie} if cookie else {}
    headers |= {"Origin": origin} if origin else {}
    headers |= {"Host": host} if host else {}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", "/socket", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_websocket_needs_cookie_origin_and_host(studio: Served) -> None:
    cookie = cookie_of(studio)
    assert socket_status(studio, cookie, studio.origin) == 101
    assert socket_status(studio, None, studio.origin) == 403
    assert socket_status(studio, cookie, None) == 403
    assert socket_status(studio, cookie, "http://evil.example") == 403
    assert socket_status(studio, cookie, studio.origin, "evil.example") == 403


@pytest.mark.parametrize(
    "path",
    ["/../access.py", "/..%2faccess.py", "/%2e%2e/access.py", "//etc/passwd", "/page/app.js"],
)
def test_no_path_leads_out_of_the_page(studio: Served, path: str) -> None:
    assert ask(studio, path, Cookie=cookie_of(studio)).status == 404


def login(served: Served, typed: str, origin: str | None = None) -> http.client.HTTPResponse:
    body = b"password=" + typed.replace(" ", "+").encode()
    return ask(served, "/login", "POST", body, Origin=served.origin if origin is None else origin)


def test_a_password_opens_the_page(guarded: Served) -> None:
    assert ask(guarded, "/").headers["location"] == "/login"
    assert ask(guarded, "/login").status == 200
    response = login(guarded, PASSWORD)
    assert response.status == 303
    cookie = response.headers["set-cookie"].partition(";")[0]
    assert ask(guarded, "/", Cookie=cookie).status == 200


def test_with_a_password_the_token_is_no_way_in(guarded: Served) -> None:
    response = ask(guarded, f"/?token={guarded.access.token}")
    assert response.headers["location"] == "/login" and "set-cookie" not in response.headers


def test_attempts_are_counted_for_each_address() -> None:
    access = Access(frozenset(), PASSWORD)
    assert [access.is_right("x", "10.0.0.1") for _ in range(6)] == [False] * 5 + [None]
    assert access.is_right(PASSWORD, "10.0.0.2")
    for number in range(5000):
        access.is_right("x", f"address {number}")
    assert len(access._wrong) <= 1024


def test_without_a_password_there_is_no_login(studio: Served) -> None:
    assert ask(studio, "/login").status == 401


def test_passwords_are_not_tried_out(guarded: Served) -> None:
    assert login(guarded, PASSWORD, "http://evil.example").status == 403
    assert [login(guarded, "x").status for _ in range(6)] == [401] * 5 + [429]
    assert login(guarded, PASSWORD).status == 429
    assert ask(guarded, "/login", "POST", b"x" * 100_000, Origin=guarded.origin).status == 413


def test_only_so_many_pages_are_served(studio: Served) -> None:
    cookie, refused = cookie_of(studio), 0
    with ExitStack() as opened:
        for _ in range(40):
            try:
                opened.enter_context(
                    websockets.connect(
                        f"ws://127.0.0.1:{studio.port}/socket",
                        origin=studio.origin,
                        additional_headers={"Cookie": cookie},
                    )
                )
            except InvalidStatus as error:
                assert error.response.status_code == 403
                refused += 1
    assert refused == 40 - MAX_PAGES
