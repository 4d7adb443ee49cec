"""The web server of the studio, and its limits."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracker.studio.access import App
from tracker.studio.project_session import MAX_TEXT as MAX_PROJECT_TEXT
from tracker.studio.session import MAX_TEXT

MAX_CONNECTIONS = 128  # one more is answered with 503
REQUEST_S = 10.0
_DRAIN_S = 3


class BoundedHttp(H11Protocol):
    """HTTP on a connection that is closed where no whole head of a request comes in time.

    Else those who connect and say nothing would take all places, without any token.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look after it."""
        super().connection_made(transport)
        self.loop.call_later(REQUEST_S, self._close_idle, self.cycle)

    def _close_idle(self, before: object) -> None:
        """Close it where no request has begun since the one `before`, and that was answered."""
        if self.transport.is_closing() or self not in self.connections:  # a WebSocket by now
            return
        if self.cycle is before and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        else:
            self.loop.call_later(REQUEST_S, self._close_idle, self.cycle)


def server_config(app: App, drain_s: int = _DRAIN_S) -> uvicorn.Config:
    """The server of an ASGI program."""
    options: dict[str, Any] = {
        "http": BoundedHttp,
        "h11_max_incomplete_event_size": 16 * 1024,
        "limit_concurrency": MAX_CONNECTIONS,
        "ws": "websockets-sansio",
        "ws_max_size": max(MAX_TEXT, MAX_PROJECT_TEXT),
        "ws_max_queue": 8,
        "ws_per_message_deflate": False,  # JPEGs get no smaller
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "timeout_graceful_shutdown": drain_s,
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "log_level": "warning",
        "access_log": False,
    }
    return uvicorn.Config(app, **options)
