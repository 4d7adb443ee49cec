"""Snapshots in pieces: what one daemon tracks goes on at another, and nothing is held for ever."""

import base64
import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.kept_streams import DEADLINE_S, Tracker, tracking
from tests.support.operations import code
from tracker.daemon.control import transfers as transfers_module
from tracker.daemon.control.transfers import MAX_HELD, SnapshotTransfers
from tracker.daemon.messages import RemoveCommand
from tracker.protocol import requests as ask
from tracker.protocol.replies import ErrorCode, ObjectsResult, SnapshotPiece

PIECE_BYTES = 100_000  # the model of the tests is small
DATA = b"not a snapshot"
DIGEST = hashlib.sha256(DATA).hexdigest()


def transfers_of(tracker: Tracker, **limits: int) -> SnapshotTransfers:
    return SnapshotTransfers(tracker, **limits)  # type: ignore[arg-type]


def read(transfers: SnapshotTransfers, digest: str | None = None, offset: int = 0) -> SnapshotPiece:
    request = ask.SnapshotRead(
        id="1", op="snapshot.read", stream="cam", digest=digest, offset=offset
    )
    return transfers.read(request).result(DEADLINE_S)


def write(transfers: SnapshotTransfers, piece: bytes, *, offset: int = 0, **more: object) -> None:
    fields = {"digest": DIGEST, "size": len(DATA), "data": base64.b64encode(piece).decode()}
    fields |= {"id": "1", "op": "snapshot.write", "stream": "cam", "offset": offset}
    transfers.write(ask.SnapshotWrite.model_validate(fields | more))


def restore(transfers: SnapshotTransfers, digest: str = DIGEST, **more: object) -> ObjectsResult:
    fields = {"id": "1", "op": "snapshot.restore", "stream": "cam", "digest": digest}
    request = ask.SnapshotRestore.model_validate(fields | more)
    result = transfers.restore(request, digest).result(DEADLINE_S)
    assert isinstance(result, ObjectsResult)
    return result


def gone(do: Callable[[], object]) -> bool:
    return code(do) is ErrorCode.SNAPSHOT


@pytest.mark.slow
def test_objects_go_on_at_another_daemon_with_their_ids_and_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers_module, "PIECE_BYTES", PIECE_BYTES)
    with tracking("cam") as here, tracking("cam") as there:
        here.track("cam", 0)
        for label in ("cup", None, "dog"):
            here.prompt("cam", 0, label)
        here.submit("cam", RemoveCommand(3)).result(DEADLINE_S)
        sending, taking = transfers_of(here), transfers_of(there)
        first = read(sending)
        data = base64.b64decode(first.data)
        assert first.size > PIECE_BYTES == len(data), "it takes several pieces"
        while len(data) < first.size:
            data += base64.b64decode(read(sending, first.digest, len(data)).data)
        assert gone(lambda: read(sending, first.digest)), "it is not held any longer"
        whole = {"digest": first.digest, "size": first.size}
        for offset in range(0, first.size, PIECE_BYTES):
            for _ in range(2):  # the reply was lost, and it came again
                write(taking, data[offset : offset + PIECE_BYTES], offset=offset, **whole)
        more = {"objects": first.objects, "next_object_id": first.next_object_id}
        result = restore(taking, first.digest, **more)
        assert [(one.id, one.label) for one in result.objects] == [(1, "cup"), (2, None)]
        assert there.tracking("cam").next_object_id == 4, "3 was given, and never comes back"
        ours, theirs = (one.track("cam", 1).result.objects for one in (here, there))
        assert [one.id for one in theirs] == [1, 2]
        for mine, other in zip(ours, theirs, strict=True):
            assert np.array_equal(mine.mask_hw, other.mask_hw)


def test_what_is_no_snapshot_changes_nothing() -> None:
    with tracking("cam") as tracker:
        transfers = transfers_of(tracker)
        assert gone(lambda: restore(transfers)), "none was sent"
        write(transfers, DATA[:5])
        assert gone(lambda: restore(transfers)), "half of one was sent"
        write(transfers, DATA)
        assert gone(lambda: restore(transfers)), "it is none"
        assert gone(lambda: restore(transfers)), "and is not held"
        assert tracker.tracking("cam").objects == ()


def test_pieces_come_in_order_and_within_their_size() -> None:
    with tracking("cam") as tracker:
        transfers = transfers_of(tracker, max_bytes=20)
        assert gone(lambda: write(transfers, DATA[5:], offset=5))
        write(transfers, DATA[:5])
        assert gone(lambda: write(transfers, DATA[6:], offset=6))
        assert gone(lambda: write(transfers, DATA + b"!"))
        assert gone(lambda: write(transfers, DATA, size=21)), "it is too large"
        assert code(lambda: write(transfers, b"", data="AAA")) is ErrorCode.BAD_REQUEST
        assert code(lambda: read(transfers, None, 5)) is ErrorCode.BAD_REQUEST


def test_the_one_that_was_begun_first_makes_room() -> None:
    with tracking("cam") as tracker:
        transfers = transfers_of(tracker, max_bytes=5 * MAX_HELD)
        digests = [f"{number:064x}" for number in range(MAX_HELD + 1)]
        for digest in digests:
            write(transfers, b"abc", digest=digest, size=5)
        assert gone(lambda: write(transfers, b"de", offset=3, digest=digests[0], size=5))
        write(transfers, b"de", offset=3, digest=digests[1], size=5)
        write(transfers, b"x" * 12, digest=DIGEST, size=20)
        assert gone(lambda: write(transfers, b"", offset=5, digest=digests[-1], size=5))
