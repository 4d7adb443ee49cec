"""A control socket on a free port, and clients of it, for tests."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.access.permissions import Permissions
from tracker.daemon.config.schema import ControlConfig, LimitsConfig
from tracker.daemon.control.socket import Control
from tracker.protocol.requests import Request

PATIENCE_MS = 20_000  # far longer than anything takes


@contextmanager
def running(
    handle: Callable[[Request], dict[str, Any] | Future[dict[str, Any]]],
    *,
    limits: LimitsConfig | None = None,
    security: Authenticator | None = None,
    permissions: Permissions | None = None,
    **config: Any,
) -> Iterator[Control]:
    """A control socket that answers by `handle`."""
    context: zmq.Context[Any] = zmq.Context()
    if security is not None:
        security.start(context)
    control = Control(
        ControlConfig(
            **{"bind": "tcp://127.0.0.1:*", "requests_per_s": 1e6, "burst": 10**6} | config
        ),
        limits or LimitsConfig(),
        security,
        context=context,
        handle=handle,
        permissions=permissions,
    )
    try:
        control.start()
        yield control
    finally:
        assert control.stop(10)
        if security is not None:
            security.stop()
        context.term()


class Client:
    """A socket that talks to a control socket; `parts` is what it puts before the payload."""

    def __init__(
        self,
        control: Control,
        kind: int = zmq.REQ,
        *,
        parts: tuple[bytes, ...] = (),
        **options: Any,
    ) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self.socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(control.endpoint)
        self._parts = list(parts)

    def send(self, payload: bytes | dict[str, Any]) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps({"v": 1} | payload).encode()
        self.socket.send_multipart([*self._parts, raw])

    def receive(self) -> dict[str, Any]:
        *parts, raw = self.socket.recv_multipart()
        assert parts == self._parts
        reply = json.loads(raw)
        assert isinstance(reply, dict)
        return reply

    def ask(self, payload: bytes | dict[str, Any]) -> dict[str, Any]:
        self.send(payload)
        return self.receive()

    def ping(self, request_id: str = "ping") -> None:
        """Everything sent before has been seen once this returns."""
        reply = self.ask({"id": request_id, "op": "ping"})
        assert (reply["id"], reply["ok"]) == (request_id, True)

    def silent(self) -> bool:
        """Nothing has come."""
        return not self.socket.poll(0)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
