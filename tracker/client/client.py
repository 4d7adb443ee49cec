"""The client for programs without an event loop."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar
from uuid import uuid4

import zmq

from tracker.client import calls, received
from tracker.client.calls import Call, CallMethods
from tracker.client.reach import NOTICE_S, unreachable, why_unreachable
from tracker.client.received import Event, Picture, R, Reader, Result, Tally
from tracker.client.sockets import (
    Endpoints,
    connect_control,
    connect_data,
    endpoints,
    new_routing_id,
)
from tracker.client.timing import ATTEMPTS, DEFAULT_TIMEOUT_S, Deadline, no_answer, no_message
from tracker.protocol.fields import PreviewSize
from tracker.protocol.replies import Reply

T = TypeVar("T")


class Subscription(Generic[R]):
    """Messages as they come: an iterator, and a context manager that ends the subscription.

    At most `tracker.client.sockets.RECEIVE_HWM` messages wait here for a slow reader, and the
    daemon keeps some more; while they wait newer ones are lost. `lost` counts them. A broken
    connection is made again by itself; copies of messages that came before are left out.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", reader: Reader[R], to: Endpoints, timeout_s: float | None
    ) -> None:
        self._socket = socket
        self._reader = reader
        self._to = to
        self._timeout_s = timeout_s

    @property
    def lost(self) -> int:
        """Messages that were sent and never came, so far."""
        return self._reader.lost

    @property
    def stale(self) -> int:
        """Messages left out since they came from a daemon that owns the stream no more."""
        return self._reader.stale

    def receive(self, timeout_s: float | None) -> R | None:
        """Wait for the next message; None where none came in time. None waits for ever.

        Raises:
            BadMessage: What came is no message of this version of the protocol.
        """
        deadline = Deadline(timeout_s)
        while self._socket.poll(deadline.left_ms()):
            value = self._reader.read(self._socket.recv_multipart())
            if value is not None:
                return value
        return None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        if self._socket.closed:
            raise StopIteration
        value = self.receive(self._timeout_s)
        if value is None:
            raise no_message(self._to, self._timeout_s or 0)
        return value

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Client(CallMethods):
    """Talks to a daemon; a context manager that closes its sockets.

    Requests of several threads go out one after the other; a subscription belongs to one thread.
    A request without a reply is sent once more under the same id, which the daemon does only once.

    Every method that asks the daemon raises `DaemonError` where it refuses, `DaemonUnreachable`
    where it does not answer within `timeout_s`, and `UsageError` for values that the protocol does
    not allow.

    Args:
        control: The daemon's control endpoint; $TRACKD_CONTROL or this machine where left out.
        data: Its data endpoint; $TRACKD_DATA or this machine where left out.
        timeout_s: Longest wait for a reply, in seconds. Where it is given, a daemon that does not
            listen yet is waited for as well; where it is left out, that is an error at once, and a
            reply is waited for `DEFAULT_TIMEOUT_S`.
        client_key: File with this client's secret CURVE key, for a daemon that asks for one.
        server_key: File with the daemon's public key.

    Attributes:
        timeout_s: Longest wait for a reply.

    Raises:
        UsageError: An endpoint or a key file is wrong.
    """

    def __init__(
        self,
        control: str | None = None,
        data: str | None = None,
        *,
        timeout_s: float | None = None,
        client_key: str | Path | None = None,
        server_key: str | Path | None = None,
    ) -> None:
        self._begin(endpoints(control, data, client_key, server_key), timeout_s)

    @classmethod
    def at(cls, to: Endpoints, *, timeout_s: float | None = None) -> Self:
        """A client for endpoints whose keys were read already."""
        client = cls.__new__(cls)
        client._begin(to, timeout_s)
        return client

    def _begin(self, to: Endpoints, timeout_s: float | None) -> None:
        self.timeout_s = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
        self._waits_for_start = timeout_s is not None
        self._to = to
        self._routing_id = new_routing_id()
        self._tally = Tally()
        self._lock = threading.Lock()
        self._context = zmq.Context()
        try:
            self._control = self._open_control()
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> int:
        """Messages lost by all subscriptions of this client, so far."""
        return self._tally.lost

    def close(self) -> None:
        """Close all sockets, those of subscriptions included."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def results(
        self, stream: str | None = None, *, timeout_s: float | None = None
    ) -> Subscription[Result]:
        """Subscribe to the objects on each frame of a stream, or of all streams.

        Args:
            stream: The stream's name; None for all.
            timeout_s: The iterator raises `DaemonUnreachable` after so long without a message;
                None waits for ever.
        """
        return self._subscribe(received.results(stream, self._tally), timeout_s)

    def events(
        self, stream: str | None = None, *, timeout_s: float | None = None
    ) -> Subscription[Event]:
        """Subscribe to what happens to streams and objects; arguments as in `results`."""
        return self._subscribe(received.events(stream, self._tally), timeout_s)

    def frames(
        self,
        stream: str | None = None,
        size: PreviewSize | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Subscription[Picture]:
        """Subscribe to JPEG previews.

        Args:
            stream: As in `results`.
            size: Of `PREVIEW_SIZES`, and then of one stream; None for those that the stream's own
                settings name.
            timeout_s: As in `results`.
        """
        return self._subscribe(received.frames(stream, size, self._tally), timeout_s)

    def scenes(
        self, stream: str, *sizes: PreviewSize, timeout_s: float | None = None
    ) -> Subscription[Result | Picture]:
        """Subscribe to the objects on each frame and to JPEG previews, which come after them.

        Args:
            stream: The stream's name.
            sizes: As in `frames`; none for the previews that the stream's own settings name.
            timeout_s: As in `results`.
        """
        reader = received.scenes(stream, sizes or (None,), self._tally)
        return self._subscribe(reader, timeout_s)

    def results_and_events(
        self, *streams: str, timeout_s: float | None = None
    ) -> Subscription[Result | Event]:
        """Subscribe to both of some streams, or of all where none is named."""
        return self._subscribe(received.results_and_events(streams, self._tally), timeout_s)

    def _subscribe(self, reader: Reader[R], timeout_s: float | None) -> Subscription[R]:
        socket = self._context.socket(zmq.SUB)
        connect_data(socket, self._to, reader.prefixes)
        return Subscription(socket, reader, self._to, timeout_s)

    def _open_control(self) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        connect_control(socket, self._to, self._routing_id)
        return socket

    def _call(self, call: Call[T]) -> T:
        request_id = uuid4().hex
        request = call.encode(request_id)
        asked = False
        with self._lock:
            for _ in range(ATTEMPTS):
                deadline = Deadline(self.timeout_s / ATTEMPTS)
                connected = self._connect(deadline)
                asked = asked or connected
                deadline = deadline.later(call.wait_s / ATTEMPTS)
                reply = self._ask(request, request_id, deadline) if connected else None
                if reply is not None:
                    return call.decode(reply)
                self._control.close()
                self._control = self._open_control()
        why = "" if connected else why_unreachable(self._to.control)
        timeout_s = self.timeout_s + (call.wait_s if asked else 0)
        raise no_answer(self._to, timeout_s, connected=asked, why=why)

    def _connect(self, deadline: Deadline) -> bool:
        """Wait for the connection; whether it is there.

        Raises:
            DaemonUnreachable: Nothing listens, and that was not to be waited for.
        """
        if self._control.poll(deadline.left_ms(at_most_s=NOTICE_S), zmq.POLLOUT):
            return True
        if not self._waits_for_start and (why := why_unreachable(self._to.control)):
            raise unreachable(why)
        return bool(self._control.poll(deadline.left_ms(), zmq.POLLOUT))

    def _ask(self, request: bytes, request_id: str, deadline: Deadline) -> Reply | None:
        self._control.send(request)
        while self._control.poll(deadline.left_ms()):
            reply = calls.read_reply(self._control.recv_multipart(), request_id)
            if reply is not None:
                return reply
        return None
