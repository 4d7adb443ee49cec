"""Clients of a fleet's directory: one that waits for answers, one that never waits."""

import time
from uuid import uuid4

import zmq

from tracker.client import calls
from tracker.client.errors import DaemonError, DaemonUnreachable
from tracker.client.sockets import Endpoints, Keys, connect_control, new_routing_id
from tracker.client.timing import Deadline
from tracker.protocol.fleet import (
    FleetDrain,
    FleetRequest,
    FleetStatus,
    FleetStatusResult,
    FleetStreams,
    FleetStreamsResult,
    StreamPlace,
)

LOOK_EVERY_S = 0.5
ASK_S = 2.0
"""An answer that takes longer does not come any more."""


class DirectoryClient:
    """Asks the directory of a fleet; belongs to one thread.

    Args:
        endpoint: Its address.
        keys: Of this client, with the directory's public one; None for none.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, endpoint: str, keys: Keys | None, timeout_s: float) -> None:
        self._to = Endpoints(endpoint, "", keys)
        self._timeout_s = timeout_s
        self._context = zmq.Context()
        self._socket = _open(self._context, self._to)

    def places(self, stream: str | None = None) -> dict[str, StreamPlace]:
        """Owners of all streams, or of one.

        Raises:
            TrackdError: The directory does not answer, or refuses.
        """
        request = FleetStreams(id=uuid4().hex, op="fleet.streams", stream=stream)
        result = FleetStreamsResult.model_validate(self._ask(request), extra="ignore")
        return {one.stream: one for one in result.streams}

    def status(self) -> FleetStatusResult:
        """How the fleet is; raises as `places`."""
        request = FleetStatus(id=uuid4().hex, op="fleet.status")
        return FleetStatusResult.model_validate(self._ask(request), extra="ignore")

    def drain(self, node: str, *, drain: bool = True) -> FleetStatusResult:
        """Have a node give up its streams, or take some again; raises as `places`."""
        request = FleetDrain(id=uuid4().hex, op="fleet.drain", node=node, drain=drain)
        return FleetStatusResult.model_validate(self._ask(request), extra="ignore")

    def close(self) -> None:
        """Close its socket."""
        self._context.destroy(linger=0)

    def _ask(self, request: FleetRequest) -> dict[str, object]:
        deadline = Deadline(self._timeout_s)
        if self._socket.poll(deadline.left_ms(), zmq.POLLOUT):
            self._socket.send(request.model_dump_json().encode())
            while self._socket.poll(deadline.left_ms()):
                reply = calls.read_reply(self._socket.recv_multipart(), request.id)
                if reply is not None and reply.error is not None:
                    raise DaemonError(reply.error)
                if reply is not None:
                    return reply.result or {}
        self._socket.close()
        self._socket = _open(self._context, self._to)
        text = f"no answer from the directory {self._to.control} within {self._timeout_s:g} s"
        raise DaemonUnreachable(text, "is `trackd fleet up` running?")


class OwnerWatch:
    """Follows the owner of a stream: asks every half second, and never waits for the answer.

    It belongs to one thread.

    Args:
        endpoint: Address of the directory.
        keys: As in `DirectoryClient`.
        stream: Name of the stream.

    Attributes:
        owner: The newest that is known; it stays where the directory is silent.
    """

    def __init__(self, endpoint: str, keys: Keys | None, stream: str) -> None:
        self.owner: StreamPlace | None = None
        self._to = Endpoints(endpoint, "", keys)
        self._stream = stream
        self._context = zmq.Context()
        self._socket = _open(self._context, self._to)
        self._request_id = ""
        self._asked_s = -ASK_S

    def look(self) -> StreamPlace | None:
        """Take in what came, ask where it is time, and return the owner.

        Raises:
            TrackdError: The directory refuses.
        """
        now_s = time.monotonic()
        if self._request_id and self._socket.poll(0):
            self._read(self._socket.recv_multipart())
        waited_s = now_s - self._asked_s
        if self._request_id and waited_s > ASK_S:
            self._socket.close()
            self._socket = _open(self._context, self._to)
            self._request_id = ""
        if not self._request_id and waited_s >= LOOK_EVERY_S and self._socket.poll(0, zmq.POLLOUT):
            request = FleetStreams(id=uuid4().hex, op="fleet.streams", stream=self._stream)
            self._socket.send(request.model_dump_json().encode())
            self._request_id, self._asked_s = request.id, now_s
        return self.owner

    def close(self) -> None:
        """Close its socket."""
        self._context.destroy(linger=0)

    def _read(self, parts: list[bytes]) -> None:
        reply = calls.read_reply(parts, self._request_id)
        if reply is None:
            return
        self._request_id = ""
        if reply.error is not None:
            raise DaemonError(reply.error)
        result = FleetStreamsResult.model_validate(reply.result or {}, extra="ignore")
        for place in result.streams:
            if self.owner is None or place.owner_epoch > self.owner.owner_epoch:
                self.owner = place


def _open(context: "zmq.Context[zmq.Socket[bytes]]", to: Endpoints) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    connect_control(socket, to, new_routing_id())
    return socket
