"""Directory of a fleet: a ROUTER that says where streams are, and another for who runs the head."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from pydantic import BaseModel, ValidationError
from zmq.auth.thread import ThreadAuthenticator

from tracker.errors import TrackdError, UsageError
from tracker.fleet.config import HeadConfig, NodeConfig
from tracker.protocol.fleet import FLEET_REQUEST, FleetDrain, FleetRequest
from tracker.protocol.replies import ErrorBody, ErrorCode, Reply

MAX_REQUEST_BYTES = 4096
_POLL_MS = 200
_MAX_CLIENTS = 1024
_LOG = logging.getLogger("trackd.fleet")


class Directory:
    """Answers requests in a thread of its own; replies to who does not read are dropped.

    On `bind` clients ask, with keys where there are some; on the socket file `admin`, which is of
    the head's own user alone, `fleet.drain` is taken as well.

    Args:
        config: Where it listens.
        answer: The answer to a request; may raise `TrackdError`, must not wait.

    Raises:
        TrackdError: It cannot listen, or a key file is wrong.
    """

    def __init__(self, config: HeadConfig, answer: Callable[[FleetRequest], BaseModel]) -> None:
        self._answer = answer
        self._context = zmq.Context()
        self._authenticator = self._secured(config)
        try:
            self._clients = self._listen(config.bind, config)
            self._admin = self._listen_at(config.admin)
        except BaseException:
            self._close()
            raise
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directory", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Address that clients ask at."""
        return self._clients.getsockopt_string(zmq.LAST_ENDPOINT)

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()
        self._close()

    def _close(self) -> None:
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.destroy(linger=0)

    def _secured(self, config: HeadConfig) -> ThreadAuthenticator | None:
        if config.client_keys is None:
            return None
        if not config.client_keys.is_dir():
            text = f"head.client_keys: there is no folder {config.client_keys}"
            raise UsageError(text, "put the public keys of clients there")
        authenticator = ThreadAuthenticator(self._context)
        authenticator.start()
        authenticator.configure_curve(domain="*", location=config.client_keys)
        return authenticator

    def _listen(self, address: str, config: HeadConfig | None = None) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        socket.setsockopt(zmq.BACKLOG, _MAX_CLIENTS)
        socket.setsockopt(zmq.IPV6, int("[" in address))
        socket.setsockopt(zmq.LINGER, 0)
        if config is not None and config.server_key is not None:
            public, secret = read_key(config.server_key)
            if secret is None:
                raise UsageError(f"{config.server_key} holds no secret key", "name .key_secret")
            socket.curve_publickey, socket.curve_secretkey = public, secret
            socket.curve_server = True
        try:
            socket.bind(address)
        except zmq.ZMQError as err:
            text = f"cannot listen on {address}: {err.strerror}"
            raise TrackdError(text, "is another head running? or choose another address") from err
        return socket

    def _listen_at(self, path: Path) -> "zmq.Socket[bytes]":
        mask = os.umask(0o177)
        try:
            return self._listen(f"ipc://{path}")
        finally:
            os.umask(mask)

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._clients, self._admin):
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            for socket, _ in poller.poll(_POLL_MS):
                try:
                    self._serve(socket)
                except zmq.ZMQError as err:
                    _LOG.debug("a reply was dropped: %s", err)

    def _serve(self, socket: Any) -> None:
        *envelope, payload = socket.recv_multipart()
        reply = self._reply(payload, admin=socket is self._admin)
        excluded = {"error"} if reply.ok else {"result"}
        text = reply.model_dump_json(exclude=excluded).encode()
        socket.send_multipart([*envelope, text], zmq.DONTWAIT)

    def _reply(self, payload: bytes, *, admin: bool) -> Reply:
        try:
            request = FLEET_REQUEST.validate_json(payload)
        except ValidationError as err:
            first = err.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "request"
            return _refused("", ErrorCode.BAD_REQUEST, f"{where}: {first['msg']}")
        if isinstance(request, FleetDrain) and not admin:
            hint = "use `trackd fleet drain` where the head runs"
            return _refused(request.id, ErrorCode.FORBIDDEN, "clients drain no nodes", hint)
        try:
            result = self._answer(request)
        except TrackdError as err:
            return _refused(request.id, ErrorCode.BAD_REQUEST, err.message, err.hint)
        return Reply(id=request.id, ok=True, result=result.model_dump(mode="json"))


def _refused(request_id: str, code: ErrorCode, message: str, hint: str = "") -> Reply:
    return Reply(id=request_id, ok=False, error=ErrorBody(code=code, message=message, hint=hint))


def read_key(path: Path) -> tuple[bytes, bytes | None]:
    """The public key of a file, and the secret one where it holds it.

    Raises:
        UsageError: It is none.
    """
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as err:
        raise UsageError(f"{path} is no key file", "make keys with `trackd keys new`") from err


def server_key_of(node: NodeConfig) -> str | None:
    """Public key of a node, in Z85.

    Raises:
        UsageError: Its file is none.
    """
    return None if node.server_key is None else read_key(node.server_key)[0].decode()
