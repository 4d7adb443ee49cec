"""What is kept over restarts: the streams in one file, the objects in a snapshot per stream."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracker.daemon.config import StateConfig
from tracker.daemon.pipeline import CommandResult, Pipeline
from tracker.daemon.snapshot_writer import SnapshotWriter, wait
from tracker.daemon.state_file import (
    SavedObject,
    SavedState,
    SavedStream,
    read_state,
    write_state,
)
from tracker.daemon.streams import KeptStream
from tracker.daemon.values import Refused, RestoreCommand
from tracker.errors import OutputError, TrackdError, UsageError

TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0

_LOG = logging.getLogger("trackd.state")


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a stream's objects after a restart.

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
        self._state_path = self._folder / "streams.json"
        self._unrestored: dict[str, SavedStream] = {}
        self._listed: set[str] = set()  # streams whose objects the file has
        self._lock = _take(self._folder)
        self._writer = SnapshotWriter(self.snapshot_path)

    def close(self) -> None:
        """Finish what is being written, and leave the folder to the next daemon.

        Where the disk hangs, the folder is held until the process ends.
        """
        if self._writer.close(CLOSE_TIMEOUT_S):
            os.close(self._lock)
        else:
            _LOG.error("the disk hangs; the thread that writes snapshots was left behind")

    def load(self) -> SavedState | None:
        """What was saved; None where nothing was.

        Until `restore` was called for a stream that is there, every save keeps what it had.

        Raises:
            TrackdError: It is damaged, and was renamed; or it cannot be read.
        """
        state = read_state(self._state_path)
        if state is not None:
            self._unrestored = dict(state.streams)
            self._listed = _with_objects(state)
        return state

    def snapshot_path(self, stream: str) -> Path:
        """Where the objects of a stream are kept."""
        return self._folder / f"{stream}.safetensors"

    def snapshot(self, stream: str, pipeline: Pipeline) -> "Future[None]":
        """Write a stream's objects; see `SnapshotWriter.snapshot`."""
        return self._writer.snapshot(stream, pipeline)

    def save(
        self,
        streams: Mapping[str, KeptStream],
        pipeline: Pipeline,
        *,
        first_seq: int = 0,
        timeout_s: float,
    ) -> Mapping[str, str]:
        """Write snapshots of all streams with objects, then what `save_streams` writes.

        Args:
            streams: All streams, by name.
            pipeline: Has their objects; must run.
            first_seq: As in `SavedState`.
            timeout_s: For the snapshots of all streams together.

        Returns:
            Why a snapshot was not written, by stream; the one before is still there.

        Raises:
            OutputError: As `save_streams`.
        """
        failed: dict[str, str] = {}
        asked: dict[str, Future[None]] = {}
        for stream in streams:
            try:
                if stream not in self._unrestored and pipeline.status(stream).objects:
                    asked[stream] = self.snapshot(stream, pipeline)
            except Refused as err:
                failed[stream] = err.message
        deadline_s = time.monotonic() + timeout_s
        for stream, future in asked.items():
            try:
                wait(future, deadline_s - time.monotonic())
            except Refused as err:
                failed[stream] = err.message
        self.save_streams(streams, pipeline, first_seq=first_seq)
        return failed

    def save_streams(
        self, streams: Mapping[str, KeptStream], pipeline: Pipeline, *, first_seq: int = 0
    ) -> None:
        """Write the list of streams and objects alone; delete the other snapshots of its own.

        Raises:
            OutputError: It cannot be written, or a snapshot not deleted.
        """
        saved = {}
        for stream, kept in streams.items():
            try:
                saved[stream] = self._saved(stream, kept, pipeline)
            except Refused:  # it was removed meanwhile
                continue
        state = SavedState(saved_at_s=time.time(), first_seq=first_seq, streams=saved)
        write_state(self._state_path, state)
        self._unrestored = {name: one for name, one in self._unrestored.items() if name in saved}
        before = self._listed | self._writer.take_written()
        self._listed = _with_objects(state)
        for stream in before - self._listed:
            self._delete_snapshot(stream)

    def restore(
        self, stream: str, pipeline: Pipeline, now_s: float, *, timeout_s: float = TIMEOUT_S
    ) -> Restored:
        """Put back the objects that a stream had, tracked where possible, else listed as lost.

        Args:
            stream: Its name; it is in the pipeline.
            pipeline: Takes them; must run.
            now_s: Wall clock, in seconds since 1970.
            timeout_s: Longest wait for the pipeline.

        Raises:
            Refused: The pipeline took nothing: UNKNOWN_STREAM, SHUTTING_DOWN, TIMEOUT ...
        """
        saved = self._unrestored.get(stream)
        if saved is None:
            return Restored("none", 0, "nothing was saved")
        try:
            return self._restore(stream, saved, pipeline, now_s, timeout_s)
        finally:
            self._unrestored.pop(stream, None)

    def _restore(
        self, stream: str, saved: SavedStream, pipeline: Pipeline, now_s: float, timeout_s: float
    ) -> Restored:
        path = self.snapshot_path(stream)
        objects = tuple((obj.id, obj.label) for obj in saved.objects)
        why_not = self._why_not(path, now_s) if objects else "there were no objects"
        if not why_not:
            command = RestoreCommand(path, False, objects, saved.next_object_id)
            try:
                wait(pipeline.submit(stream, command), timeout_s)
            except Refused as err:
                why_not = err.message
            else:
                return Restored("tracked", len(objects), f"{len(objects)} objects go on")
        command = RestoreCommand(path, True, objects, saved.next_object_id)
        wait(pipeline.submit(stream, command), timeout_s)
        if not objects:
            return Restored("none", 0, why_not)
        return Restored("lost", len(objects), f"{len(objects)} objects are lost: {why_not}")

    def _why_not(self, path: Path, now_s: float) -> str:
        """Why a snapshot is of no use, "" where it is."""
        try:
            age_s = now_s - path.stat().st_mtime
        except OSError:
            return f"there is no snapshot {path}"
        if age_s > self._max_age_s:
            return f"the snapshot is {age_s:.0f} s old, state.max_age_s is {self._max_age_s:g}"
        return ""

    def _saved(self, stream: str, kept: KeptStream, pipeline: Pipeline) -> SavedStream:
        before = self._unrestored.get(stream)
        if before is not None:
            return before.model_copy(
                update={
                    "settings": kept.settings,
                    "paused": kept.paused,
                    "configured": kept.configured,
                    "next_seq": kept.next_seq,
                }
            )
        status = pipeline.status(stream)
        return SavedStream(
            settings=kept.settings,
            paused=kept.paused,
            configured=kept.configured,
            next_seq=kept.next_seq,
            next_object_id=status.next_object_id,
            objects=tuple(SavedObject(id=obj.id, label=obj.label) for obj in status.objects),
        )

    def _delete_snapshot(self, stream: str) -> None:
        path = self.snapshot_path(stream)
        try:
            path.unlink(missing_ok=True)
        except OSError as err:
            raise OutputError(
                f"cannot delete {path}: {err.strerror}", "check the rights of state.dir"
            ) from err


class StreamSnapshots:
    """Snapshots of single streams, when clients ask for them; from any thread.

    Args:
        store: Knows where they go.
        pipeline: Has the objects.
        keep_list: Asks for the list of streams and objects to be written; must not wait. The
            future is done when it is, or fails with `Refused`.
    """

    def __init__(
        self, store: Store, pipeline: Pipeline, *, keep_list: Callable[[], "Future[None]"]
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._keep_list = keep_list

    def save(self, stream: str) -> "Future[None]":
        """Write a stream's objects now, and that they are there: a snapshot alone is not found.

        Returns:
            Done when both are on the disk; fails as `Store.snapshot` and `keep_list`.
        """
        kept: Future[None] = Future()
        kept.set_running_or_notify_cancel()

        def list_it(snapshot: "Future[None]") -> None:
            error = snapshot.exception()
            if error is not None:
                kept.set_exception(error)
            else:
                self._keep_list().add_done_callback(finish)

        def finish(listed: "Future[None]") -> None:
            error = listed.exception()
            if error is not None:
                kept.set_exception(error)
            else:
                kept.set_result(None)

        self._store.snapshot(stream, self._pipeline).add_done_callback(list_it)
        return kept

    def restore(self, stream: str) -> "Future[CommandResult]":
        """Put back what was written last.

        Raises:
            Refused: As `Pipeline.submit`; the future may fail with SNAPSHOT.
        """
        return self._pipeline.submit(stream, RestoreCommand(self._store.snapshot_path(stream)))


def _with_objects(state: SavedState) -> set[str]:
    return {stream for stream, one in state.streams.items() if one.objects}


def _take(folder: Path) -> int:
    """Make a folder, if need be, and lock it until the returned descriptor is closed."""
    path = folder / "lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        raise TrackdError(
            f"cannot use the state folder {folder}: {err.strerror}",
            "give the daemon's user the right to write it, or choose another state.dir",
        ) from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(descriptor)
        raise TrackdError(
            f"another daemon uses the state folder {folder}",
            "stop it, or give each its own state.dir",
        ) from err
    return descriptor
