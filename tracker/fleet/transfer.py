"""Snapshots fetched from daemons and given to daemons, by the pieces of the protocol."""

import base64
import hashlib
import time
from dataclasses import dataclass, field

from tracker.client import Client, DaemonError
from tracker.client.errors import BadMessage
from tracker.protocol.fields import PIECE_BYTES, SavedObject
from tracker.protocol.replies import ErrorCode

_REQUEST_BYTES = 1024  # of a request, beside the piece in it
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of a stream at one moment.

    Attributes:
        data: As `snapshot.read` gives it.
        digest: Its SHA-256, in hexadecimal.
        objects: That were tracked or listed.
        next_object_id: Ids below it are not given to new objects.
        owner_epoch: Of the daemon that tracked them.
        taken_ns: Wall clock of the fleet's head, in ns since 1970.
    """

    data: bytes = field(repr=False)
    digest: str
    objects: tuple[SavedObject, ...]
    next_object_id: int
    owner_epoch: int
    taken_ns: int


def fetch_snapshot(client: Client, stream: str, owner_epoch: int) -> Snapshot:
    """Have a daemon take a snapshot of a stream, and read it.

    Raises:
        TrackdError: The daemon refuses or is gone, or what came is not what it announced.
    """
    taken_ns = time.time_ns()
    first = client.read_snapshot(stream, None, 0)
    data = bytearray(base64.b64decode(first.data))
    while len(data) < first.size:
        piece = base64.b64decode(client.read_snapshot(stream, first.digest, len(data)).data)
        if not piece:
            break
        data += piece
    if hashlib.sha256(data).hexdigest() != first.digest:
        raise BadMessage(f"the snapshot of stream {stream} came damaged", "it is fetched again")
    return Snapshot(
        bytes(data), first.digest, first.objects, first.next_object_id, owner_epoch, taken_ns
    )


def give_snapshot(client: Client, stream: str, snapshot: Snapshot) -> None:
    """Send a snapshot to a daemon, for `restore_snapshot`; slows down where it is asked to.

    Raises:
        TrackdError: The daemon refuses or is gone.
    """
    longest = int(client.describe()["limits"]["max_message_bytes"]) - _REQUEST_BYTES
    step = max(3, min(PIECE_BYTES, longest * 3 // 4))
    size = len(snapshot.data)
    for offset in range(0, size, step):
        piece = base64.b64encode(snapshot.data[offset : offset + step]).decode()
        while not _sent(client, stream, snapshot.digest, size, offset, piece):
            time.sleep(_PAUSE_S)


def _sent(client: Client, stream: str, digest: str, size: int, offset: int, piece: str) -> bool:
    """False where the daemon takes no more just now."""
    try:
        client.write_snapshot(stream, digest, size, offset, piece)
    except DaemonError as err:
        if err.code is ErrorCode.RATE_LIMITED:
            return False
        raise
    return True


def restore_given(client: Client, stream: str, snapshot: Snapshot) -> None:
    """Have a daemon put back the objects of a snapshot that it was given.

    Raises:
        TrackdError: The daemon refuses or is gone.
    """
    client.restore_snapshot(
        stream,
        digest=snapshot.digest,
        objects=snapshot.objects,
        next_object_id=snapshot.next_object_id,
    )
