"""Recorders of the streams of one worker."""

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

import pydantic_core
import torch

import tracker
from streams.packet_tap import PacketTap
from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.messages import (
    AcceptCommand,
    Command,
    Event,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    ResetCommand,
    RestoreCommand,
    Tracked,
)
from tracker.daemon.record.snapshots import OnNote, SnapshotRecorder, TakeSnapshot
from tracker.daemon.record.video import VideoRecorder
from tracker.daemon.telemetry.status import RecordingStatus
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers.model_info import ModelInfo
from tracker.models import Model
from tracker.protocol.fields import RecordSettings, StreamSettings
from tracker.protocol.recording import CommandNote, EndNote, FrameNote, NoteTopic, SegmentNote
from tracker.protocol.replies import PromptResult

CommandName = Literal["prompt", "accept", "remove", "reset", "relabel", "restore"]
_NEEDED = {"find", "measure"}
_NAMES: dict[type, CommandName] = {
    PromptCommand: "prompt",
    AcceptCommand: "accept",
    RemoveCommand: "remove",
    ResetCommand: "reset",
    RelabelCommand: "relabel",
    RestoreCommand: "restore",
}


@dataclasses.dataclass(slots=True)
class _Recorded:
    """A stream that is recorded; `newest_seq` belongs to the thread that tracks."""

    video: VideoRecorder
    snapshots: SnapshotRecorder | None
    newest_seq: int | None = None


class Recorders:
    """Records packets of streams, and notes which frames were tracked and what was commanded.

    Args:
        on_note: Takes notes for the MCAP files; must not wait.
        on_event: Takes events; likewise.
        model: What tracks, as segments are to have it.
    """

    def __init__(
        self, *, on_note: OnNote, on_event: Callable[[Event], None], model: dict[str, Any]
    ) -> None:
        self._on_note = on_note
        self._on_event = on_event
        self._setup = {"version": tracker.__version__, "model": model}
        self._lock = threading.Lock()
        self._streams: dict[str, _Recorded] = {}

    def add(self, stream: str, settings: StreamSettings) -> PacketTap | None:
        """Record a stream where its settings say so; returns what takes its packets.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        if settings.record is None:
            return None
        wanted = settings.record.snapshots
        snapshots = SnapshotRecorder(stream, self._on_note) if wanted else None
        video = self._video(stream, settings, settings.record, snapshots)
        video.start()
        with self._lock:
            self._streams[stream] = _Recorded(video, snapshots)
        return video

    def _video(
        self,
        stream: str,
        settings: StreamSettings,
        record: RecordSettings,
        snapshots: SnapshotRecorder | None,
    ) -> VideoRecorder:
        def noted(topic: NoteTopic, note: SegmentNote | EndNote) -> None:
            self._on_note(stream, topic, note.model_dump_json().encode())
            if snapshots is not None:
                snapshots.noted(note)

        needed = settings.model_dump(mode="json", include=_NEEDED)
        setup = {**self._setup, "settings": needed}
        return VideoRecorder(stream, record, setup=setup, on_note=noted, on_event=self._on_event)

    def follow(self, stream: str, take: TakeSnapshot) -> None:
        """Say who takes snapshots of a stream's tracker, in the thread that tracks."""
        found = self._streams.get(stream)
        if found is not None and found.snapshots is not None:
            found.snapshots.take = take

    def remove(self, stream: str, timeout_s: float) -> bool:
        """End the recording of a stream; False where the disk hangs."""
        with self._lock:
            found = self._streams.pop(stream, None)
        return found is None or found.video.close(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """End all recordings, once their sources are closed; False where the disk hangs."""
        until_s = time.monotonic() + timeout_s
        with self._lock:
            streams = list(self._streams)
        ended = [self.remove(one, max(0.0, until_s - time.monotonic())) for one in streams]
        return all(ended)

    def switch(self, stream: str, *, on: bool) -> bool:
        """Record from now on, or stop; False where the stream has no settings for it."""
        found = self._streams.get(stream)
        if found is not None:
            found.video.switch(on=on)
        return found is not None

    def status(self, stream: str) -> RecordingStatus | None:
        """Current status; None where the stream is not recorded."""
        found = self._streams.get(stream)
        if found is None:
            return None
        status = found.video.status()
        return status if found.snapshots is None else found.snapshots.counted(status)

    # --- in the thread that tracks

    def before(self, on_tracked: Callable[[Tracked], None]) -> Callable[[Tracked], None]:
        """What notes a tracked frame and hands it on."""

        def noted(tracked: Tracked) -> None:
            self.tracked(tracked)
            on_tracked(tracked)

        return noted

    def between(self, between_frames: Callable[[], None]) -> Callable[[], None]:
        """What takes the snapshots that are due, and does what is done between frames."""

        def taken() -> None:
            self.take_snapshots()
            between_frames()

        return taken

    def take_snapshots(self) -> None:
        """Take the snapshots that are due; each as of the newest frame and command noted."""
        for found in tuple(self._streams.values()):
            if found.snapshots is not None:
                found.snapshots.take_if_due(found.newest_seq)

    def tracked(self, tracked: Tracked) -> None:
        """Note a frame that was tracked."""
        found = self._streams.get(tracked.stream)
        if found is None:
            return
        frame, base = tracked.live.frame, tracked.live.frame.time_base
        found.newest_seq = frame.seq
        note = FrameNote(
            seq=frame.seq,
            epoch=tracked.live.epoch,
            pts=frame.pts,
            time_base=None if base is None else (base.numerator, base.denominator),
            captured_ns=frame.captured_ns,
            threads=torch.get_num_threads(),
            budget=tracked.budget,
        )
        self._on_note(tracked.stream, NoteTopic.FRAMES, note.model_dump_json().encode())

    def watch(self, stream: str, command: Command, done: "Future[CommandResult]") -> None:
        """Note a command once it was applied; its future is done in the thread that tracks."""
        if stream in self._streams and type(command) in _NAMES:
            done.add_done_callback(lambda done: self._applied(stream, command, done))

    def _applied(self, stream: str, command: Command, done: "Future[CommandResult]") -> None:
        found = self._streams.get(stream)
        if found is None or done.cancelled() or done.exception() is not None:
            return
        result = done.result()
        prompted = result if isinstance(result, PromptResult) else None
        note = CommandNote(
            at_ns=time.time_ns(),
            after_seq=found.newest_seq,
            command=_NAMES[type(command)],
            fields=_fields(command),
            object=getattr(command, "object_id", None) if prompted is None else prompted.object.id,
            frame_seq=None if prompted is None else prompted.frame_seq,
        )
        self._on_note(stream, NoteTopic.COMMANDS, note.model_dump_json().encode())
        if found.snapshots is not None and isinstance(command, RestoreCommand):
            found.snapshots.restored(recording=found.video.status().state in ("on", "waiting"))


def _fields(command: Command) -> dict[str, Any]:
    """The fields of a command as JSON; without the bytes of a snapshot."""
    fields: dict[str, Any] = pydantic_core.to_jsonable_python(
        {one.name: getattr(command, one.name) for one in dataclasses.fields(command)},
        exclude={"data"},
    )
    return fields


def recorded_model(model: Model, config: DaemonConfig) -> dict[str, Any]:
    """What tracks, as a segment has it: enough to track the same again."""
    return {
        "config": config.model.model_dump(mode="json"),
        "objects_per_stream": config.limits.objects_per_stream,
        "info": ModelInfo.of(model).model_dump(mode="json"),
        "torch": torch.__version__,
    }
