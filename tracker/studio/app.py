"""The ASGI program of the studio: the page, its files, and a WebSocket for each page."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from importlib.resources import files
from typing import Any
from urllib.parse import unquote_plus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tracker.client import AsyncClient
from tracker.colours import OBJECT_COLOURS, css
from tracker.studio.access import LOGIN, Access, App, Guard, enter
from tracker.studio.hub import Hub
from tracker.studio.projects import ProjectPages
from tracker.studio.session import PageSession

MAX_PAGES = 32
_MAX_FORM_BYTES = 4096
_FORM_S = 10.0
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def studio_app(
    connect: Callable[[], AsyncClient], access: Access, projects: ProjectPages | None = None
) -> App:
    """The studio of one daemon.

    Args:
        connect: Makes a client of the daemon; each page has its own.
        access: Who is let in.
        projects: Annotation of files; None for streams alone.
    """
    hub = Hub(connect)
    pages = _Pages(hub, connect, access, annotates=projects is not None)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with hub.running(), projects.running() if projects else nullcontext():
            yield

    routes = [
        Route("/", pages.file),
        Route("/settings.json", pages.settings),
        Route(LOGIN, pages.login, methods=["GET", "POST"]),
        WebSocketRoute("/socket", pages.socket),
        *(projects.routes if projects else ()),
        Route("/{name}", pages.file),
    ]
    app: Any = Starlette(routes=routes, lifespan=lifespan)
    return Guard(app, access)


class _Pages:
    """The handlers of all routes."""

    def __init__(
        self, hub: Hub, connect: Callable[[], AsyncClient], access: Access, *, annotates: bool
    ) -> None:
        self._hub = hub
        self._connect = connect
        self._access = access
        self._annotates = annotates
        self._files = _page_files()
        self._open = 0

    async def file(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params.get("name", "index.html")
        if name not in self._files:
            return PlainTextResponse("no such page", 404)
        body, media_type = self._files[name]
        return Response(body, media_type=media_type)

    async def settings(self, request: Request) -> Response:
        """What the page needs to know before it shows anything."""
        colours = [css(colour) for colour in OBJECT_COLOURS]
        return JSONResponse({"colours": colours, "annotates": self._annotates})

    async def login(self, request: Request) -> Response:
        """The form for the password, or the answer to one that was typed."""
        if request.method == "GET":
            return HTMLResponse(self._files["login.html"][0])
        body = b""
        try:
            async with asyncio.timeout(_FORM_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > _MAX_FORM_BYTES:
                        return PlainTextResponse("too long a password", 413)
        except TimeoutError:
            return PlainTextResponse("the password did not come", 408)
        typed = body.decode("utf-8", "replace").removeprefix("password=")
        return enter(self._access, unquote_plus(typed), request)

    async def socket(self, socket: WebSocket) -> None:
        """The WebSocket of one page."""
        if self._open >= MAX_PAGES:
            await socket.close(1013, "too many pages are open")
            return
        self._open += 1
        try:
            await socket.accept()
            await PageSession(socket, self._hub, self._connect).serve()
        finally:
            self._open -= 1


def _page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, read once: no path comes from a request."""
    found = {}
    for item in files("tracker.studio").joinpath("page").iterdir():
        suffix = "." + item.name.rpartition(".")[2]
        if suffix in _TYPES:
            found[item.name] = (item.read_bytes(), _TYPES[suffix])
    return found
