"""Store of snapshots outside all nodes: a shared folder, or an object store, by fsspec.

Of each snapshot two files are in the folder of its stream, `TIME-EPOCH-DIGEST.safetensors` and,
written after it, `TIME-EPOCH-DIGEST.json`, which says what is in the first. A write that breaks off
leaves no valid pair, so no renaming is needed, which object stores do not have.
"""

import hashlib
import logging
import re
from typing import Any

from pydantic import ValidationError

from tracker.errors import OutputError, TrackdError
from tracker.extras import import_extra
from tracker.fleet.transfer import Snapshot
from tracker.protocol.fields import Digest, Message, OwnerEpoch, SavedObject

MAX_NOTE_BYTES = 2**20
MAX_SNAPSHOT_BYTES = 2**30

_NOTE = re.compile(r"(\d{19})-(\d{16})-([0-9a-f]{64})\.json")
_LOG = logging.getLogger("trackd.fleet")


class _Note(Message):
    """What stands beside a snapshot."""

    digest: Digest
    size: int
    objects: tuple[SavedObject, ...]
    next_object_id: int
    owner_epoch: OwnerEpoch
    taken_ns: int


class SnapshotStore:
    """Snapshots of streams, the newest `keep` of each; one thread at a time uses it.

    Args:
        url: A folder, or any address that fsspec knows, such as `s3://bucket/fleet`.
        keep: Snapshots of a stream that stay.

    Raises:
        UsageError: fsspec, or what it needs for the address, is not installed.
    """

    def __init__(self, url: str, *, keep: int) -> None:
        fsspec = import_extra("fsspec.core", extra="fleet", who="the store of a fleet")
        try:
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as err:
            raise OutputError(f"cannot use the store: {err}", "give a folder, or s3://...") from err
        self._keep = keep

    def write(self, stream: str, snapshot: Snapshot) -> None:
        """Write a snapshot, and delete those that are one too many.

        Raises:
            OutputError: The store does not take it.
        """
        name = f"{snapshot.taken_ns:019d}-{snapshot.owner_epoch:016d}-{snapshot.digest}"
        note = _Note(
            digest=snapshot.digest,
            size=len(snapshot.data),
            objects=snapshot.objects,
            next_object_id=snapshot.next_object_id,
            owner_epoch=snapshot.owner_epoch,
            taken_ns=snapshot.taken_ns,
        )
        folder = f"{self._root}/{stream}"
        try:
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.pipe_file(f"{folder}/{name}.safetensors", snapshot.data)
            self._fs.pipe_file(f"{folder}/{name}.json", note.model_dump_json().encode())
            for old in self._names(stream)[self._keep :]:
                self._delete(f"{folder}/{old}.json")
                self._delete(f"{folder}/{old}.safetensors")
        except Exception as err:  # each kind of store has errors of its own
            raise OutputError(
                f"the store did not take the snapshot of stream {stream}: {_reason(err)}",
                "make room, or look after the store",
            ) from err

    def newest(self, stream: str) -> Snapshot | None:
        """The newest valid snapshot of a stream; None where there is none.

        Raises:
            OutputError: The store cannot be read.
        """
        try:
            names = self._names(stream)
        except Exception as err:
            text = f"the store of snapshots cannot be read: {_reason(err)}"
            raise OutputError(text, "look after the store") from err
        for name in names:
            try:
                return self._read(stream, name)
            except Exception as err:
                _LOG.warning("snapshot %s of stream %s is left out: %s", name, stream, _reason(err))
        return None

    def _names(self, stream: str) -> list[str]:
        """Names of the snapshots of a stream, without endings, the newest first."""
        folder = f"{self._root}/{stream}"
        if not self._fs.exists(folder):
            return []
        found = [path.rpartition("/")[2] for path in self._fs.ls(folder, detail=False)]
        notes = [name for name in found if _NOTE.fullmatch(name)]
        return sorted((name.removesuffix(".json") for name in notes), reverse=True)

    def _read(self, stream: str, name: str) -> Snapshot:
        path = f"{self._root}/{stream}/{name}"
        try:
            note = _Note.model_validate_json(self._bytes(f"{path}.json", MAX_NOTE_BYTES))
        except ValidationError as err:
            raise TrackdError("its note is damaged") from err
        data = self._bytes(f"{path}.safetensors", MAX_SNAPSHOT_BYTES)
        if hashlib.sha256(data).hexdigest() != note.digest:
            raise TrackdError("it is damaged")
        return Snapshot(
            data, note.digest, note.objects, note.next_object_id, note.owner_epoch, note.taken_ns
        )

    def _bytes(self, path: str, most: int) -> bytes:
        if self._fs.size(path) > most:
            raise TrackdError("it is too large")
        data: Any = self._fs.cat_file(path)
        return bytes(data)

    def _delete(self, path: str) -> None:
        if self._fs.exists(path):
            self._fs.rm_file(path)


def _reason(err: Exception) -> str:
    """An error on one line, without what an address may hold."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return str(err) if isinstance(err, TrackdError) else type(err).__name__
