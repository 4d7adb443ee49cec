"""Access to the page: a token or a password, a cookie, and checks of Host and Origin.

A page of another site that is open in the same browser can send requests here and name this host
by an address of its own (DNS rebinding). So each request must name a host that is served, carry a
cookie that no other site's requests carry (SameSite=Strict), and, where it changes anything or
opens a WebSocket, come from our own origin.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "trackd_studio"
LOGIN = "/login"
ANNOTATE = "/annotate.html"
_OPEN = frozenset({LOGIN, "/style.css"})  # where there is a password to type
_ATTEMPTS, _ATTEMPTS_EVERY_S = 5, 60.0  # wrong ones from one address
_ADDRESSES = 1024  # that attempts are counted for; the one silent longest is forgotten
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass
class Access:
    """Credentials that a browser must show to be let in.

    Attributes:
        origins: Our own, such as "http://127.0.0.1:8570".
        password: That is typed on the login page; None where the printed address is the way in.
        token: Of the address that is printed.
    """

    origins: frozenset[str]
    password: str | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _wrong: OrderedDict[str, list[float]] = field(default_factory=OrderedDict, repr=False)

    def cookie(self) -> str:
        """The value of the cookie; another one for each start of the program."""
        return hmac.new(self._secret, b"session", hashlib.sha256).hexdigest()

    @property
    def hosts(self) -> frozenset[str]:
        """Values of the Host header that are served."""
        return frozenset(origin.partition("://")[2] for origin in self.origins)

    @property
    def over_tls(self) -> bool:
        """True if the cookie may travel over TLS only."""
        return all(origin.startswith("https://") for origin in self.origins)

    def holds_cookie(self, headers: Headers) -> bool:
        """True if a request carries the cookie."""
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(COOKIE)
        return found is not None and hmac.compare_digest(found.value, self.cookie())

    def is_right(self, typed: str, address: str) -> bool | None:
        """True if a password or token is right; None after too many wrong ones from an address."""
        now_s = time.monotonic()
        lately = [at for at in self._wrong.pop(address, []) if now_s - at < _ATTEMPTS_EVERY_S]
        if lately:
            self._wrong[address] = lately
        if len(lately) >= _ATTEMPTS:
            return None
        wanted = self.token if self.password is None else self.password
        right = hmac.compare_digest(typed.encode(), wanted.encode())
        if not right:
            self._wrong[address] = [*lately, now_s]
            if len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)
        return right

    def let_in(self, path: str = "/") -> Response:
        """Send the browser to the page, with the cookie and without the token in the address."""
        response = RedirectResponse(path, status_code=303)
        response.set_cookie(
            COOKIE, self.cookie(), httponly=True, samesite="strict", secure=self.over_tls, path="/"
        )
        return response


class Guard:
    """ASGI middleware that lets through what `Access` allows, and adds the security headers."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:  # before it is accepted: the browser gets 403
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
            return
        serve: App = self._app if refusal is None else PlainTextResponse(refusal[1], refusal[0])
        if refusal is None and "token" in Request(scope).query_params:
            serve = self._exchange(Request(scope))
        elif refusal is not None and refusal[0] == 401 and self._access.password is not None:
            serve = RedirectResponse(LOGIN, status_code=303)

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await serve(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and text of why a request is refused; None where it is not."""
        access, origin = self._access, headers.get("origin")
        if headers.get("host") not in access.hosts:
            return 421, "this host is not served here; open the address that trackd studio printed"
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if (changes or origin is not None) and origin not in access.origins:
            return 403, "requests of other sites are not served"
        if access.holds_cookie(headers):
            return None
        if access.password is not None and scope["path"] in _OPEN:
            return None
        if scope["type"] == "http" and "token" in Request(scope).query_params:
            return None
        return 401, "open the address that trackd studio printed: it holds the way in"

    def _exchange(self, request: Request) -> Response:
        if self._access.password is not None:
            return RedirectResponse(LOGIN, status_code=303)
        return enter(self._access, request.query_params["token"], request)


def enter(access: Access, typed: str, request: Request) -> Response:
    """The answer to a token or a password."""
    address = "" if request.client is None else request.client.host
    match access.is_right(typed, address):
        case True:
            wanted = request.url.path
            return access.let_in(wanted if wanted == ANNOTATE else "/")
        case None:
            return PlainTextResponse("too many attempts; wait a minute", 429)
        case _:
            return PlainTextResponse("that is not it; look at what trackd studio printed", 401)
