"""The client of a fleet: asks its directory who has a stream, and follows where that goes."""

import time
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import zmq

from tracker.client import received
from tracker.client.calls import Call, CallMethods
from tracker.client.client import Client
from tracker.client.directory import ASK_S, LOOK_EVERY_S, DirectoryClient, OwnerWatch
from tracker.client.errors import DaemonError, DaemonUnreachable
from tracker.client.received import Event, R, Reader, Result, Tally
from tracker.client.sockets import Endpoints, Keys, client_keys, connect_data
from tracker.client.timing import DEFAULT_TIMEOUT_S, Deadline
from tracker.errors import UsageError
from tracker.protocol.fleet import StreamPlace
from tracker.protocol.replies import ErrorCode

T = TypeVar("T")
DEFAULT_DIRECTORY = "tcp://127.0.0.1:5580"
_SLICE_S = 0.1  # of a wait for messages, between two looks at the directory
_SILENT_S = 5.0  # a directory that did not answer is not asked again, where an owner is known
_MOVED = (ErrorCode.UNKNOWN_STREAM, ErrorCode.SHUTTING_DOWN)


class FleetSubscription(Generic[R]):
    """Messages of a stream from whoever owns it: an iterator, and a context manager.

    The directory is asked every half second. Where it does not answer, the owner of before is
    listened to. Messages of an owner of before are left out (`stale`).
    """

    def __init__(
        self, stream: str, reader: Reader[R], fleet: "FleetClient", timeout_s: float | None
    ) -> None:
        self._stream = stream
        self._reader = reader
        self._fleet = fleet
        self._timeout_s = timeout_s
        self._watch = fleet.watch(stream)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._place: StreamPlace | None = None

    @property
    def lost(self) -> int:
        """Messages that were sent and never came; what is lost in a move is not known."""
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
        while True:
            self._follow()
            value = self._next(deadline)
            if value is not None or deadline.left_ms() == 0:
                return value

    def _next(self, deadline: Deadline) -> R | None:
        """The next message, within the time until the directory is looked at again."""
        wait_ms = deadline.left_ms(at_most_s=_SLICE_S)
        if self._socket is None:
            time.sleep((wait_ms or 0) / 1000)
            return None
        if not self._socket.poll(wait_ms):
            return None
        return self._reader.read(self._socket.recv_multipart())

    def _follow(self) -> None:
        """Listen to the owner of now."""
        place = self._watch.look()
        if place is None or place == self._place:
            return
        if self._socket is not None:
            self._socket.close()
        self._socket = self._context.socket(zmq.SUB)
        connect_data(self._socket, self._fleet.endpoints(place), self._reader.prefixes)
        self._place = place

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        if self._context.closed:
            raise StopIteration
        value = self.receive(self._timeout_s)
        if value is None:
            text = f"no message of stream {self._stream} within {self._timeout_s:g} s"
            raise DaemonUnreachable(text, "see `trackd fleet status`")
        return value

    def close(self) -> None:
        """End the subscription."""
        self._watch.close()
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


class FleetClient(CallMethods):
    """Talks to the daemons of a fleet, with the methods of `Client` that are about one stream.

    Requests go to the owner of their stream. Where that does not answer, or has the stream no
    more, the next owner is waited for, and asked where there is one within `timeout_s`. It belongs
    to one thread; a context manager that closes its sockets.

    Args:
        directory: Address of the fleet's directory.
        timeout_s: Longest wait for a reply, moves included.
        client_key: File with this client's secret CURVE key, where the fleet asks for one.
        directory_key: File with the directory's public key.

    Raises:
        UsageError: An address or a key file is wrong.
    """

    def __init__(
        self,
        directory: str = DEFAULT_DIRECTORY,
        *,
        timeout_s: float = 3 * DEFAULT_TIMEOUT_S,
        client_key: str | Path | None = None,
        directory_key: str | Path | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self._address = directory
        self._keys = client_keys(client_key, directory_key)
        self._tally = Tally()
        self._directory = self.directory(min(ASK_S, timeout_s))
        self._silent_until_s = 0.0
        self._clients: dict[StreamPlace, Client] = {}

    def directory(self, timeout_s: float) -> DirectoryClient:
        """A client of the directory."""
        return DirectoryClient(self._address, self._keys, timeout_s)

    def watch(self, stream: str) -> OwnerWatch:
        """A watch over the owner of a stream."""
        return OwnerWatch(self._address, self._keys, stream)

    def endpoints(self, place: StreamPlace) -> Endpoints:
        """Endpoints of an owner, and the keys for it."""
        keys = None
        if self._keys is not None and place.server_key is not None:
            keys = Keys(self._keys.public, self._keys.secret, place.server_key.encode())
        return Endpoints(place.control, place.data, keys)

    def places(self) -> dict[str, StreamPlace]:
        """Owner of each stream that has one; waits for a directory that is being started.

        Raises:
            TrackdError: The directory does not answer within `timeout_s`.
        """
        directory = self.directory(self.timeout_s)
        try:
            return directory.places()
        finally:
            directory.close()

    def results(self, stream: str, *, timeout_s: float | None = None) -> FleetSubscription[Result]:
        """Subscribe to the objects on each frame of a stream, wherever it goes.

        Args:
            stream: Its name.
            timeout_s: The iterator raises `DaemonUnreachable` after so long without a message;
                None waits for ever.
        """
        return FleetSubscription(stream, received.results(stream, self._tally), self, timeout_s)

    def events(self, stream: str, *, timeout_s: float | None = None) -> FleetSubscription[Event]:
        """Subscribe to what happens to a stream and its objects; arguments as in `results`."""
        return FleetSubscription(stream, received.events(stream, self._tally), self, timeout_s)

    def close(self) -> None:
        """Close its sockets; subscriptions are closed by themselves."""
        self._directory.close()
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, call: Call[T]) -> T:
        stream = call.stream
        if stream is None:
            text = f"{call.operation.op} is about a daemon, and a fleet has several"
            raise UsageError(text, "ask one with Client; see places()")
        deadline, tried = Deadline(self.timeout_s), -1
        problem: DaemonError | DaemonUnreachable = DaemonUnreachable(
            f"stream {stream} has no owner in the fleet", "see `trackd fleet status`"
        )
        while True:
            try:
                place = self._owner(stream)
                if place is not None and place.owner_epoch > tried:
                    tried = place.owner_epoch
                    return self._client(place)._call(call)
            except DaemonUnreachable as err:
                problem = err
            except DaemonError as err:
                if err.code not in _MOVED:
                    raise
                problem = err
            if deadline.left_ms() == 0:
                raise problem
            time.sleep(LOOK_EVERY_S / 2)

    def _owner(self, stream: str) -> StreamPlace | None:
        """The owner of a stream; the one of before where the directory does not answer.

        Raises:
            TrackdError: Nothing is known, or the directory refuses.
        """
        known = next((one for one in self._clients if one.stream == stream), None)
        if known is not None and time.monotonic() < self._silent_until_s:
            return known
        try:
            return self._directory.places(stream).get(stream)
        except DaemonUnreachable:
            self._silent_until_s = time.monotonic() + _SILENT_S
            if known is None:
                raise
            return known

    def _client(self, place: StreamPlace) -> Client:
        """A client of an owner; those of owners of before are closed."""
        if place not in self._clients:
            old = [one for one in self._clients if one.stream == place.stream]
            for one in old:
                self._clients.pop(one).close()
            self._clients[place] = Client.at(self.endpoints(place), timeout_s=self.timeout_s / 3)
        return self._clients[place]
