"""Recordings tracked again, and compared with what was sent."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.daemon.messages import RequestError, Tracked
from tracker.daemon.publish.encode import encode_objects, masks_message
from tracker.daemon.publish.measures import Measures
from tracker.errors import SnapshotError
from tracker.protocol.data import EventName, MasksMessage, ObjectMessage
from tracker.protocol.masks import masks_of
from tracker.protocol.recording import CommandNote, FrameNote, NoteTopic, SegmentNote
from tracker.replay.pictures import RecordedPictures
from tracker.replay.recording import RecordedMessage, Recording, segment_note
from tracker.replay.retracking import Retracking, load_recorded
from tracker.replay.snapshots import RecordedSnapshot, newest_snapshot

_MOST_WAITING = 64  # tracked frames whose message did not come yet
_OBJECTS = b'"objects":'
_ADDED = f'"event":"{EventName.STREAM_ADDED}"'.encode()
_MOST_REASONS = 8


@dataclass(slots=True)
class Comparison:
    """Outcome of a recording that was tracked again.

    Attributes:
        stream: Its name.
        frames: Frames that were compared.
        same_bytes: Of these, those whose objects have the same bytes.
        same_masks: Of these, those whose masks are the same; so are those of `same_bytes`.
        first_different: `seq` of the first frame whose bytes differ; None where none does.
        lowest_iou: Of a mask that was sent and the one now.
        missing: Frames that were tracked and are not in the video.
        from_snapshot: `seq` of the frame whose snapshot it began from; None for no snapshot.
        skipped: Frames before that, with objects that came before the recording.
        underived: Frames after objects were put back, up to the next snapshot.
        restored: Snapshots, but for the first, whose state was not what was computed.
        reasons: Why they may differ.
        stopped_early: It was asked to stop.
    """

    stream: str
    frames: int = 0
    same_bytes: int = 0
    same_masks: int = 0
    first_different: int | None = None
    lowest_iou: float = 1.0
    missing: int = 0
    from_snapshot: int | None = None
    skipped: int = 0
    underived: int = 0
    restored: int = 0
    reasons: list[str] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def is_equal(self) -> bool:
        """True if all from where it began is the same, byte for byte."""
        compared = self.frames > 0 or not self.skipped
        return compared and self.frames == self.same_bytes and not self.underived

    def say(self, reason: str) -> None:
        """Add a reason, once."""
        if reason not in self.reasons and len(self.reasons) < _MOST_REASONS:
            self.reasons.append(reason)


class Recomputation:
    """Tracks one recording again, note by note, and compares message by message.

    A snapshot that is not what was computed takes its place. Up to the first one, frames with
    objects that the recording does not tell of are skipped.

    Args:
        recording: What is tracked.
        begin_ns: Where to begin, by the wall clock: the newest snapshot before it. None for the
            beginning of the recording.

    Raises:
        TrackdError: A file is damaged.
    """

    def __init__(self, recording: Recording, begin_ns: int | None = None) -> None:
        self.comparison = Comparison(recording.stream)
        begin = None if begin_ns is None else newest_snapshot(recording, begin_ns)
        if begin is not None:
            recording, begin_ns = begin
        self._begins_ns = None if begin is None else begin_ns  # None once it has
        self._recording = recording
        self._pictures = RecordedPictures(recording)
        # Messages that came before the first segment had a file are before its note.
        notes = (segment_note(segment) for segment in recording.segments)
        self._segment = next((note for note in notes if note is not None), None)
        self._loaded: tuple[object, ...] = ()
        self._retracking: Retracking | None = None
        self._epoch: str | None = None
        self._has_begun = False  # from no objects, or a snapshot
        self._put_back = ""  # objects by what, where no snapshot of them came yet
        self._snapshot_ns = 0
        self._waiting: dict[tuple[str | None, int], Tracked] = {}
        self._next_message: int | None = None

    def run(
        self,
        *,
        on_frame: Callable[[Comparison], None] = lambda comparison: None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> Comparison:
        """Track it again.

        Args:
            on_frame: Called after each frame.
            stop_asked: Asked before each message.

        Raises:
            TrackdError: The model cannot be loaded, or a file is damaged.
            StreamError: A video cannot be read.
        """
        try:
            for message in self._recording.messages():
                if stop_asked():
                    self.comparison.stopped_early = True
                    break
                if self._take_in(message):
                    on_frame(self.comparison)
        finally:
            self._pictures.close()
        return self.comparison

    def _take_in(self, message: RecordedMessage) -> bool:
        """Take in a message or a note; True for one that was compared."""
        data = message.parts[0]
        if self._is_before(message):
            return False
        match message.topic:
            case NoteTopic.SEGMENT:
                self._segment = SegmentNote.model_validate_json(data)
            case NoteTopic.FRAMES:
                self._track(FrameNote.model_validate_json(data))
            case NoteTopic.COMMANDS:
                self._apply(CommandNote.model_validate_json(data))
            case NoteTopic.SNAPSHOTS:
                self._resume(message)
            case topic if topic.startswith("events."):
                if _ADDED in data and json.loads(data)["at_ns"] > self._snapshot_ns:
                    self._begin_anew()
            case topic if topic.startswith("masks."):
                return self._compare(message)
        return False

    def _is_before(self, message: RecordedMessage) -> bool:
        """True for what comes before the snapshot that it is to begin from."""
        if self._begins_ns is None or message.topic == NoteTopic.SEGMENT:
            return False
        if message.topic != NoteTopic.SNAPSHOTS or message.at_ns < self._begins_ns:
            return True
        self._begins_ns = None
        return False

    def _begin_anew(self) -> None:
        """Go on without objects."""
        self._retracking, self._epoch = None, None
        self._has_begun, self._put_back = True, ""

    def _resume(self, message: RecordedMessage) -> None:
        """Go on from a snapshot, where the state is another, or not known."""
        retracking = self._begun()
        if retracking is None:
            return
        found = self.comparison
        try:
            snapshot = RecordedSnapshot.of(message)
            was_same = retracking.resume(snapshot)
        except (SnapshotError, RequestError) as err:
            found.say(err.message)
            return
        if not self._has_begun:
            found.from_snapshot = snapshot.note.after_seq
            found.skipped += len(self._waiting)
            self._waiting.clear()
        elif not was_same and not self._put_back:
            found.restored += 1
            found.say(f"the state {snapshot.name} was another than in its snapshot, which is used")
        frame = snapshot.note.state.frame
        self._has_begun, self._put_back = True, ""
        self._epoch = None if frame is None else frame.epoch
        self._snapshot_ns = snapshot.note.at_ns

    def _begun(self) -> Retracking | None:
        """The tracker; a new one where the stream began anew."""
        if self._segment is None:
            return None
        if self._retracking is None:
            if not self._loaded or self._loaded[0] != self._segment.model:
                model, policy, differences = load_recorded(self._segment)
                self._loaded = (self._segment.model, model, policy)
                for difference in differences:
                    self.comparison.say(difference)
            stream, settings = self._recording.stream, self._segment.settings
            self._retracking = Retracking(stream, settings, *self._loaded[1:])  # type: ignore[arg-type]
        return self._retracking

    def _track(self, note: FrameNote) -> None:
        if self._epoch not in (None, note.epoch):  # another run of the daemon
            self._begin_anew()
        self._epoch = note.epoch
        if self._put_back:
            self.comparison.underived += 1
            self.comparison.say(self._put_back)
            return
        retracking = self._begun()
        picture = None if retracking is None else self._pictures.find(note)
        if retracking is None or picture is None:
            self.comparison.missing += 1
            self.comparison.say(f"frame {note.seq} is not in the video")
            return
        self._waiting[note.epoch, note.seq] = retracking.track(note, picture.image)
        if len(self._waiting) > _MOST_WAITING:  # it was never sent
            del self._waiting[next(iter(self._waiting))]

    def _apply(self, note: CommandNote) -> None:
        if note.command == "restore":
            lost = note.fields.get("lost")
            self._put_back = "" if lost else "objects were put back from outside the recording"
            self._has_begun = self._has_begun or bool(lost)
        retracking = None if self._put_back else self._begun()
        if retracking is not None and (reason := retracking.apply(note)) and self._has_begun:
            self.comparison.say(reason)

    def _compare(self, sent: RecordedMessage) -> bool:
        message = MasksMessage.model_validate_json(sent.parts[0])
        self._note_gap(message)
        tracked = self._waiting.pop((message.frame.epoch, message.frame.seq), None)
        if tracked is None:
            return False
        found = self.comparison
        if not self._has_begun and self._strangers(message):
            found.skipped += 1
            self._explain(message)
            return False
        self._has_begun = True
        found.frames += 1
        ours, blobs = _encoded(tracked, message)
        if ours == _sent_objects(message, sent.parts[0]) and blobs == sent.parts[1:]:
            found.same_bytes += 1
            found.same_masks += 1
            return True
        if found.first_different is None:
            found.first_different = message.frame.seq
            self._explain(message)
        parts = (b"", *sent.parts)
        iou = _lowest_iou(tracked, masks_of(message, parts), message.objects)
        found.same_masks += iou == 1.0
        found.lowest_iou = min(found.lowest_iou, iou)
        return True

    def _note_gap(self, message: MasksMessage) -> None:
        """Say where messages are missing, such as of a time when nothing was recorded."""
        expected, self._next_message = self._next_message, message.seq + 1
        if expected not in (None, message.seq) and message.seq > 0:
            self.comparison.say(
                f"messages {expected} to {message.seq - 1} are not in the recording"
            )

    def _explain(self, message: MasksMessage) -> None:
        if strangers := self._strangers(message):
            ids = ", ".join(map(str, strangers))
            self.comparison.say(f"no prompt of object {ids} is in the recording")

    def _strangers(self, message: MasksMessage) -> list[int]:
        """Ids of objects that were sent, and of which the recording does not tell up to here."""
        known = set() if self._retracking is None else self._retracking.known
        return [item.id for item in message.objects if item.id not in known]


def _encoded(tracked: Tracked, like: MasksMessage) -> tuple[bytes, tuple[bytes, ...]]:
    """The objects of a frame as bytes, encoded as those of a message are."""
    frame = tracked.live.frame
    height, width = frame.image.shape[:2]
    settings = tracked.settings.measure.model_copy(update={"prediction": False})
    measures = Measures(settings, tracked.motions, frame.captured_ns)
    encoded = encode_objects(
        tracked.result.objects, like.encoding, height, width, measures.of(tracked.result.objects)
    )
    message = masks_message(tracked, encoded, seq=0, encoded_s=tracked.tracked_s)
    return _objects(message.model_dump_json().encode()), encoded.blobs


def _sent_objects(message: MasksMessage, text: bytes) -> bytes:
    """The objects that were sent as bytes, without predictions, which are made by the clock."""
    if all(item.predicted is None for item in message.objects):
        return _objects(text)
    objects = [item.model_copy(update={"predicted": None}) for item in message.objects]
    return _objects(message.model_copy(update={"objects": objects}).model_dump_json().encode())


def _objects(text: bytes) -> bytes:
    """The list of objects, which is the last field of a message."""
    return text.partition(_OBJECTS)[2]


def _lowest_iou(
    tracked: Tracked, sent: dict[int, NDArray[np.bool_]], objects: Sequence[ObjectMessage]
) -> float:
    """The lowest overlap of a mask that was sent, or should have been, with the one now."""
    now = {item.id: item.mask_hw for item in tracked.result.objects if item.box_xyxy is not None}
    shown = {item.id for item in objects if item.box is not None}
    return min((_iou(sent.get(i), now.get(i)) for i in shown | now.keys()), default=1.0)


def _iou(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> float:
    if one is None or other is None or one.shape != other.shape:
        return 0.0
    union = int((one | other).sum())
    return 1.0 if union == 0 else int((one & other).sum()) / union
