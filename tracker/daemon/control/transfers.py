"""Snapshots on their way to and from clients, in pieces that fit into messages."""

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tracker.daemon.futures import after, finished
from tracker.daemon.messages import RequestError, RestoreCommand, SaveCommand
from tracker.daemon.streams import Streams
from tracker.daemon.tracking.scheduler import CommandResult
from tracker.protocol.fields import PIECE_BYTES, SavedObject
from tracker.protocol.replies import ErrorCode, SnapshotPiece
from tracker.protocol.requests import SnapshotRead, SnapshotRestore, SnapshotWrite

MAX_HELD = 4
MAX_HELD_BYTES = 2**30

_Key = tuple[str, str]
"""Stream, and digest of the snapshot."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A snapshot that is being read.

    Attributes:
        data: All of it.
        objects: That were tracked or listed when it was taken.
        next_object_id: Ids below it are not given to new objects.
    """

    data: bytes
    objects: tuple[SavedObject, ...]
    next_object_id: int


class SnapshotTransfers:
    """Snapshots that clients read and write, held in memory until the last piece.

    At most `MAX_HELD` and `MAX_HELD_BYTES`; the one that was begun first makes room, and its client
    begins again. Any thread may use it.

    Args:
        streams: Have the objects.
    """

    def __init__(self, streams: Streams, *, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._streams = streams
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[_Key, _Taken | bytearray] = OrderedDict()

    def read(self, request: SnapshotRead) -> "Future[SnapshotPiece]":
        """A piece of a snapshot, which is taken for the first one.

        Raises:
            RequestError: `SNAPSHOT`, or as `Streams.submit`; the future may fail with it.
        """
        if request.digest is not None:
            return finished(self._piece(request.stream, request.digest, request.offset))
        if request.offset:
            text = "a piece of a snapshot without its digest"
            raise RequestError(ErrorCode.BAD_REQUEST, text, "give the digest of the first reply")
        taken = self._streams.submit(request.stream, SaveCommand())
        return after(taken, lambda data: finished(self._first_piece(request.stream, data)))

    def write(self, request: SnapshotWrite) -> None:
        """Take a piece of a snapshot that is to be restored; pieces come in order.

        Raises:
            RequestError: `SNAPSHOT` where it does not follow the one before, or is too large.
        """
        data = _decoded(request.data)
        key = (request.stream, request.digest)
        with self._lock:
            held = self._held.get(key)
            if request.offset == 0:
                held = bytearray()
                self._hold(key, held, request.size)
            if not isinstance(held, bytearray) or request.offset > len(held):
                raise _gone(request.stream)
            del held[request.offset :]  # sent once more
            held += data
            if len(held) > request.size:
                del self._held[key]
                raise RequestError(ErrorCode.SNAPSHOT, "the pieces are longer than their size")

    def restore(self, request: SnapshotRestore, digest: str) -> "Future[CommandResult]":
        """Put back the objects of a snapshot that was written.

        Raises:
            RequestError: `SNAPSHOT`, or as `Streams.submit`; the future may fail with it.
        """
        stream = request.stream
        with self._lock:
            held = self._held.get((stream, digest))
            if not isinstance(held, bytearray):
                raise _gone(stream)
            data = bytes(held)
            del self._held[stream, digest]
        if hashlib.sha256(data).hexdigest() != digest:
            text = f"the snapshot of stream {stream} is not complete, or damaged"
            raise RequestError(ErrorCode.SNAPSHOT, text, "send it again")
        kept = request.objects
        objects = None if kept is None else tuple((one.id, one.label) for one in kept)
        found = tuple(one.id for one in kept or () if one.found)
        path = Path(f"sent for stream {stream}")
        command = RestoreCommand(path, False, objects, request.next_object_id, data, found)
        return self._streams.submit(stream, command)

    def _first_piece(self, stream: str, data: CommandResult) -> SnapshotPiece:
        assert isinstance(data, bytes)
        status = self._streams.tracking(stream)
        objects = tuple(
            SavedObject(id=one.id, label=one.label, found=one.found) for one in status.objects
        )
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            taken = _Taken(data, objects, status.next_object_id)
            self._hold((stream, digest), taken, len(data))
        return self._piece(stream, digest, 0)

    def _piece(self, stream: str, digest: str, offset: int) -> SnapshotPiece:
        with self._lock:
            held = self._held.get((stream, digest))
            if not isinstance(held, _Taken) or offset > len(held.data):
                raise _gone(stream)
            end = offset + PIECE_BYTES
            if end >= len(held.data):
                del self._held[stream, digest]
        return SnapshotPiece(
            digest=digest,
            size=len(held.data),
            data=base64.b64encode(held.data[offset:end]).decode(),
            objects=held.objects,
            next_object_id=held.next_object_id,
        )

    def _hold(self, key: _Key, held: _Taken | bytearray, size: int) -> None:
        """Hold a snapshot in place of those that were begun first."""
        if size > self._max_bytes:
            text = f"a snapshot of {size} bytes is too large to be sent"
            raise RequestError(ErrorCode.SNAPSHOT, text, "remove objects")
        self._held.pop(key, None)
        while self._held and (
            len(self._held) >= MAX_HELD or self._nbytes() + size > self._max_bytes
        ):
            self._held.popitem(last=False)
        self._held[key] = held

    def _nbytes(self) -> int:
        return sum(
            len(one.data) if isinstance(one, _Taken) else len(one) for one in self._held.values()
        )


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as err:
        raise RequestError(ErrorCode.BAD_REQUEST, "data: not base64", "encode the bytes") from err


def _gone(stream: str) -> RequestError:
    text = f"no such piece of a snapshot of stream {stream} is here"
    return RequestError(ErrorCode.SNAPSHOT, text, "begin again with its first piece")
