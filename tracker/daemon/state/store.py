"""State store over restarts: streams in one file, objects in a snapshot per stream."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from streams.access.bounded_file import read_at_most
from tracker.daemon.config.schema import StateConfig
from tracker.daemon.futures import after
from tracker.daemon.messages import RequestError, RestoreCommand
from tracker.daemon.state.moment import Moment
from tracker.daemon.state.snapshot_writer import MAX_SNAPSHOT_BYTES, SnapshotWriter
from tracker.daemon.state.state_file import (
    SavedState,
    SavedStream,
    read_state,
    write_state,
)
from tracker.daemon.state.state_folder import StateFolder
from tracker.daemon.streams import KeptStream, Streams
from tracker.daemon.tracking.scheduler import CommandResult
from tracker.engine import SNAPSHOT_VERSION, snapshot_version
from tracker.errors import OutputError, SnapshotError, StateError, UsageError
from tracker.protocol.fields import SavedObject
from tracker.protocol.replies import ErrorCode

T = TypeVar("T")

TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0

_LIST = "streams.json"
_LOG = logging.getLogger("trackd.state")


@dataclass(frozen=True, slots=True)
class Restored:
    """Outcome of restoring a stream's objects after a restart.

    Attributes:
        outcome: "tracked" goes on from the snapshot; "lost" has them listed, all lost; "none" had
            none.
        objects: How many there are.
        text: One line for the log.
    """

    outcome: Literal["tracked", "lost", "none"]
    objects: int
    text: str


class Store:
    """The state folder, of one daemon at a time.

    One thread uses it, but any may ask for `snapshot`; a `SnapshotWriter` writes those.
    """

    def __init__(self, config: StateConfig) -> None:
        """Make the folder, if need be, and take possession of it.

        Raises:
            UsageError: The configuration names no folder.
            TrackdError: It cannot be made or written, or another daemon has it.
        """
        if config.dir is None:
            raise UsageError("no state folder is configured", "set state.dir")
        self._folder = config.dir
        self._max_age_s = config.max_age_s
        self._state_path = self._folder / _LIST
        self._unrestored: dict[str, SavedStream] = {}
        self._listed: set[str] = set()  # streams whose objects the file has
        self._taken: dict[str, Moment] = {}  # when their snapshots were taken
        self._held = StateFolder(self._folder)
        self._writer = SnapshotWriter(lambda stream: self._held.here() / _snapshot_name(stream))

    def close(self) -> None:
        """Finish what is being written, and leave the folder to the next daemon.

        Where the disk hangs, the folder is held until the process ends.
        """
        if self._writer.close(CLOSE_TIMEOUT_S):
            self._held.close()
        else:
            _LOG.error("the disk hangs; the thread that writes snapshots was left behind")

    def load(self, *, ignore_unreadable: bool = False) -> SavedState | None:
        """Load what was saved; None where nothing was.

        Until `restore` was called for a stream that is there, every save keeps what it had.

        Args:
            ignore_unreadable: Take what cannot be understood for nothing, instead of refusing it.

        Raises:
            StateError: It, or a snapshot, is damaged or of a newer version. It stays as it is.
            TrackdError: It cannot be read.
        """
        try:
            state = read_state(self._state_path)
            if state is not None and not ignore_unreadable:
                self._check_snapshots(state)
        except StateError as err:
            if not ignore_unreadable:
                raise
            _LOG.warning("starting without the saved streams: %s", err)
            return None
        if state is not None:
            self._unrestored = dict(state.streams)
            self._listed = _with_objects(state)
        return state

    def _check_snapshots(self, state: SavedState) -> None:
        for stream in _with_objects(state):
            path = self.snapshot_path(stream)
            version = snapshot_version(path)
            if version is not None and version > SNAPSHOT_VERSION:
                raise StateError(
                    f"snapshot {path} is of version {version}; this trackd reads up to "
                    f"{SNAPSHOT_VERSION}",
                    "use the trackd that wrote it; or start once with --ignore-unreadable-state, "
                    "and its objects are lost",
                )

    def snapshot_path(self, stream: str) -> Path:
        """Path of the snapshot with the objects of a stream."""
        return self._folder / _snapshot_name(stream)

    def snapshot(self, stream: str, registry: Streams) -> "Future[None]":
        """Write a stream's objects; see `SnapshotWriter.snapshot`."""
        return self._writer.snapshot(stream, registry)

    def read_snapshot(self, stream: str) -> "Future[bytes]":
        """Read what was written last; see `SnapshotWriter.read`."""
        return self._writer.read(stream)

    @property
    def snapshot_s(self) -> float:
        """Seconds that the disk has taken for the snapshot that is being written or read."""
        return self._writer.disk.busy_s

    def snapshots(self, streams: Iterable[str], registry: Streams) -> "Mapping[str, Future[None]]":
        """Ask for snapshots of those streams that have objects; never waits."""
        asked: dict[str, Future[None]] = {}
        for stream in streams:
            try:
                if stream not in self._unrestored and registry.tracking(stream).objects:
                    asked[stream] = self.snapshot(stream, registry)
            except RequestError as err:
                asked[stream] = Future()
                asked[stream].set_exception(err)
        return asked

    def save(
        self,
        streams: Mapping[str, KeptStream],
        registry: Streams,
        *,
        first_seq: int = 0,
        timeout_s: float,
    ) -> Mapping[str, str]:
        """Write snapshots of all streams with objects, then what `save_streams` writes.

        Args:
            streams: All streams, by name.
            registry: Has their objects; the scheduler must run.
            first_seq: As in `SavedState`.
            timeout_s: For the snapshots of all streams together.

        Returns:
            Why a snapshot was not written, by stream; the one before is still there.

        Raises:
            TrackdError: As `save_streams`.
        """
        failed: dict[str, str] = {}
        deadline_s = time.monotonic() + timeout_s
        for stream, future in self.snapshots(streams, registry).items():
            try:
                wait(future, deadline_s - time.monotonic())
            except RequestError as err:
                failed[stream] = err.message
        self.save_streams(streams, registry, first_seq=first_seq)
        return failed

    def save_streams(
        self, streams: Mapping[str, KeptStream], registry: Streams, *, first_seq: int = 0
    ) -> None:
        """Write the list of streams and objects alone; delete the other snapshots of its own.

        Raises:
            TrackdError: It cannot be written, a snapshot not deleted, or a restart would not find
                them.
        """
        folder = self._held.here()
        self._taken |= self._writer.take_written()
        saved = {}
        for stream, kept in streams.items():
            try:
                saved[stream] = self._saved(stream, kept, registry)
            except RequestError:  # it was removed meanwhile
                continue
        state = SavedState(saved_at_s=time.time(), first_seq=first_seq, streams=saved)
        write_state(folder / _LIST, state)
        self._unrestored = {name: one for name, one in self._unrestored.items() if name in saved}
        before = self._listed | self._taken.keys()
        self._listed = _with_objects(state)
        for stream in before - self._listed:
            _delete(folder / _snapshot_name(stream))
            self._taken.pop(stream, None)
        self._held.check()

    def restore(
        self, stream: str, registry: Streams, now: Moment, *, timeout_s: float = TIMEOUT_S
    ) -> Restored:
        """Put back the objects that a stream had, tracked where possible, else listed as lost.

        Args:
            stream: Its name; it is in the registry.
            registry: Takes them; the scheduler must run.
            now: Against which the age of the snapshot is measured.
            timeout_s: Longest wait for the scheduler.

        Raises:
            RequestError: The scheduler took nothing: UNKNOWN_STREAM, SHUTTING_DOWN, TIMEOUT ...
        """
        saved = self._unrestored.get(stream)
        if saved is None:
            return Restored("none", 0, "nothing was saved")
        try:
            return self._restore(stream, saved, registry, now, timeout_s)
        finally:
            self._unrestored.pop(stream, None)

    def _restore(
        self, stream: str, saved: SavedStream, registry: Streams, now: Moment, timeout_s: float
    ) -> Restored:
        path = self.snapshot_path(stream)
        objects = tuple((obj.id, obj.label) for obj in saved.objects)
        found = tuple(obj.id for obj in saved.objects if obj.found)
        why_not = "there were no objects"
        if objects:
            try:
                data = self._fresh(path, saved, now)
                command = RestoreCommand(path, False, objects, saved.next_object_id, data, found)
                wait(registry.submit(stream, command), timeout_s)
            except (RequestError, SnapshotError) as err:
                why_not = err.message
            else:
                if saved.snapshot_at is not None:
                    self._taken[stream] = saved.snapshot_at
                return Restored("tracked", len(objects), f"{len(objects)} objects go on")
        command = RestoreCommand(path, True, objects, saved.next_object_id, found=found)
        wait(registry.submit(stream, command), timeout_s)
        if not objects:
            return Restored("none", 0, why_not)
        return Restored("lost", len(objects), f"{len(objects)} objects are lost: {why_not}")

    def _fresh(self, path: Path, saved: SavedStream, now: Moment) -> bytes:
        """A snapshot that is not too old.

        Raises:
            SnapshotError: There is none.
        """
        try:
            taken = saved.snapshot_at or Moment(wall_s=path.stat().st_mtime)
            data = read_at_most(path, MAX_SNAPSHOT_BYTES)
        except OSError as err:
            raise SnapshotError(f"there is no snapshot {path}: {err.strerror}") from err
        age_s = now.since_s(taken)
        if age_s > self._max_age_s:
            text = f"the snapshot is {age_s:.0f} s old, state.max_age_s is {self._max_age_s:g}"
            raise SnapshotError(text)
        return data

    def _saved(self, stream: str, kept: KeptStream, registry: Streams) -> SavedStream:
        before = self._unrestored.get(stream)
        if before is not None:
            return before.model_copy(
                update={
                    "settings": kept.settings,
                    "paused": kept.paused,
                    "configured": kept.configured,
                    "next_seq": kept.next_seq,
                    "owner_epoch": kept.owner_epoch,
                }
            )
        status = registry.tracking(stream)
        return SavedStream(
            settings=kept.settings,
            paused=kept.paused,
            configured=kept.configured,
            next_seq=kept.next_seq,
            next_object_id=status.next_object_id,
            objects=tuple(
                SavedObject(id=obj.id, label=obj.label, found=obj.found) for obj in status.objects
            ),
            snapshot_at=self._taken.get(stream),
            owner_epoch=kept.owner_epoch,
        )


class StreamSnapshots:
    """Snapshots of single streams, when clients ask for them; from any thread.

    Args:
        store: Knows where they go.
        registry: Has the objects.
        keep_list: Asks for the list of streams and objects to be written; must not wait. The
            future is done when it is, or fails with `RequestError`.
    """

    def __init__(
        self, store: Store, registry: Streams, *, keep_list: Callable[[], "Future[None]"]
    ) -> None:
        self._store = store
        self._registry = registry
        self._keep_list = keep_list

    def save(self, stream: str) -> "Future[None]":
        """Write a stream's objects now, and that they are there: a snapshot alone is not found.

        Returns:
            Done when both are on the disk; fails as `Store.snapshot` and `keep_list`.
        """
        return after(self._store.snapshot(stream, self._registry), lambda _: self._keep_list())

    def restore(self, stream: str) -> "Future[CommandResult]":
        """Put back what was written last; the tracker does not wait for the disk.

        Raises:
            RequestError: UNKNOWN_STREAM; the future fails as `Streams.submit`, or with SNAPSHOT.
        """
        self._registry.tracking(stream)
        path = self._store.snapshot_path(stream)
        return after(
            self._store.read_snapshot(stream),
            lambda data: self._registry.submit(stream, RestoreCommand(path, data=data)),
        )


def wait(future: "Future[T]", timeout_s: float) -> T:
    """The result of a future; a command that takes too long is not applied any more.

    Raises:
        RequestError: TIMEOUT, or why it was refused.
    """
    try:
        return future.result(max(0.0, timeout_s))
    except TimeoutError as err:
        future.cancel()
        raise RequestError(ErrorCode.TIMEOUT, f"not done within {timeout_s:g} s") from err


def _with_objects(state: SavedState) -> set[str]:
    return {stream for stream, one in state.streams.items() if one.objects}


def _snapshot_name(stream: str) -> str:
    return f"{stream}.safetensors"


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as err:
        raise OutputError(
            f"cannot delete {path}: {err.strerror}", "check the rights of state.dir"
        ) from err
