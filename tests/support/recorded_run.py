"""A recording of a stream that was tracked in this process, by a small model."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from streams import open_source
from tests.support.small_pico import small_pico
from tracker.daemon.messages import Command, LiveFrame, PromptCommand, Tracked
from tracker.daemon.publish.encode import encode_objects, masks_message
from tracker.daemon.publish.measures import Measures
from tracker.daemon.record.messages import MessageRecorder
from tracker.daemon.record.recorders import Recorders
from tracker.daemon.tracking.stream_tracker import CommandResult, StreamTracker
from tracker.engine import Policy
from tracker.models import Model
from tracker.protocol.fields import (
    Encoding,
    FrameAddress,
    MeasureSettings,
    RecordSettings,
    StreamSettings,
)
from tracker.protocol.recording import NoteTopic

POLICY = Policy(history_frames=10)
BOX = (210.0, 105.0, 290.0, 185.0)  # around the disc on the first frames
PROMPT = PromptCommand(object_id=None, box=BOX, labels=())
CORRECTION = PromptCommand(object_id=1, points=((250.0, 145.0),), labels=(1,))


class RecordedRun:
    """Tracks a clip and records it, as a daemon would.

    `every` frames are tracked; `commands` are applied after the frame of their number, and are
    noted where `notes` is True, and snapshots of their effects where `snapshots` is. `edit` changes
    the parts of a note. `tracked` has what came of each frame that was tracked.
    """

    def __init__(
        self,
        clip: Path,
        folder: Path,
        *,
        model: Model | None = None,
        every: int = 1,
        commands: dict[int, list[Command]] | None = None,
        encoding: Encoding = "rle",
        notes: bool = True,
        snapshots: bool = False,
        edit: Callable[[NoteTopic, tuple[bytes, ...]], tuple[bytes, ...]] | None = None,
    ) -> None:
        record = RecordSettings(dir=folder, segment_s=1, snapshots=snapshots)
        measure = MeasureSettings(rotated_box=True, velocity=True, prediction=True)
        settings = StreamSettings(url=str(clip), record=record, encoding=encoding, measure=measure)
        self.model = model or small_pico()
        self.messages = MessageRecorder()
        self.messages.add("cam", record)
        self.recorders = Recorders(on_note=self._note, on_event=lambda event: None, model={})
        self._edit = edit or (lambda topic, parts: parts)
        self._encoding: Encoding = encoding
        self._measure = settings.measure
        self._tracker = StreamTracker(
            "cam", settings, self.model, POLICY, on_event=lambda event: None
        )
        self._seq = 0
        self.tracked: list[Tracked] = []
        tap = self.recorders.add("cam", settings)
        self.recorders.follow("cam", self._tracker.snapshot)
        with open_source(str(clip), stream="cam", tap=tap) as source:
            for frame in source:
                if frame.seq % every == 0:
                    now_s = time.monotonic()
                    self._track(LiveFrame(frame, None, 0.0, now_s, now_s, "0a"))
                for command in (commands or {}).get(frame.seq, []):
                    self._apply(command, noted=notes)
        assert self.recorders.close(30) and self.messages.stop(30)

    def _note(self, stream: str, topic: NoteTopic, /, *parts: bytes) -> None:
        self.messages.note(stream, topic, *self._edit(topic, parts))

    def _track(self, live: LiveFrame) -> None:
        self.recorders.take_snapshots()
        tracked = self._tracker.track(replace(live, frame=replace(live.frame)), dropped=0)
        self.recorders.tracked(tracked)
        self.tracked.append(tracked)
        height, width = live.frame.image.shape[:2]
        measures = Measures(self._measure, tracked.motions, live.frame.captured_ns, 0.1)
        encoded = encode_objects(
            tracked.result.objects,
            self._encoding,
            height,
            width,
            measures.of(tracked.result.objects),
        )
        message = masks_message(tracked, encoded, seq=self._seq, encoded_s=time.monotonic())
        self._seq += 1
        text = message.model_dump_json().encode()
        self.messages.sent("cam", "masks.cam", [text, *encoded.blobs])

    def _apply(self, command: Command, *, noted: bool) -> None:
        done: Future[CommandResult] = Future()
        if noted:
            self.recorders.watch("cam", command, done)
        done.set_result(self._tracker.apply(command))


def on_frame(command: PromptCommand, seq: int) -> PromptCommand:
    """A prompt that names an older frame."""
    return replace(command, frame=FrameAddress(seq=seq))
