"""Messages on the data sockets, and their topics."""

from enum import StrEnum
from typing import Literal

from tracker.protocol.fields import (
    BudgetInfo,
    Encoding,
    Epoch,
    Message,
    PreviewSize,
    RleMask,
    renamed,
)
from tracker.types import ObjectState


class Topic(StrEnum):
    """First part of a topic; the name of the stream follows a dot."""

    MASKS = "masks"
    EVENTS = "events"
    FRAMES = "frames"
    FRAMES_TILE = "frames-tile"
    FRAMES_SMALL = "frames-small"
    FRAMES_MEDIUM = "frames-medium"
    FRAMES_LARGE = "frames-large"

    @classmethod
    def frames(cls, size: PreviewSize | None) -> "Topic":
        """Kind of the previews of a size; of those that the stream's settings name for None."""
        return cls.FRAMES if size is None else cls(f"{cls.FRAMES}-{size}")

    def of(self, stream: str) -> bytes:
        """The topic as sent, such as b"masks.cam1"."""
        return f"{self}.{stream}".encode()


class FrameStamp(Message):
    """Identity and times of a frame; the three clocks never mix.

    A program whose numbers are doubles reads a time in nanoseconds up to 128 ns off; what it reads
    names the same frame (see `FrameAddress`). `seq` is exact in every language.

    Attributes:
        seq: Number of the frame on its stream, counted as decoded: a gap is dropped frames. Only
            grows, also over reconnects and where the stream is removed and added again; over
            restarts, too, where the daemon has a state folder.
        epoch: Which run of the daemon gave the number: both together never name another frame.
        pts: Presentation time in units of `time_base`, as the source gives it.
        time_base: [numerator, denominator] in seconds.
        captured_ns: Wall clock of the daemon when the packet arrived, in ns since 1970.
        sender_ns: Wall clock of the camera when it took the frame, where RTCP gives it.
        width: Of the frame, in pixels.
        height: Likewise.
    """

    seq: int
    epoch: Epoch | None = None
    pts: int | None
    time_base: tuple[int, int] | None
    captured_ns: int
    sender_ns: int | None
    width: int
    height: int


class Timings(Message):
    """Milliseconds spent on a frame, by the monotonic clock.

    Attributes:
        decode_ms: Decoding and converting to RGB.
        queue_ms: Waiting for the tracker, its time in the image encoder left out.
        encode_ms: The image encoder, which may be at a frame while the one before is tracked.
        track_ms: Memory attention, masks, new memories, commands not included.
        wire_ms: From tracked to encoded for sending.
        total_ms: From the arrival of the packet to encoded for sending.
    """

    decode_ms: float
    queue_ms: float
    encode_ms: float
    track_ms: float
    wire_ms: float
    total_ms: float


class BitsMask(Message):
    """A mask cropped to the object's box, one bit a pixel, in a binary part of the message.

    Rows one after the other without padding, eight pixels a byte, the first in the highest bit
    (numpy's `packbits`).

    Attributes:
        part: Which part of the message, counted from 0; parts 0 and 1 are topic and JSON.
        size: [height, width] of the crop; its corner is the corner of `box`.
    """

    part: int
    size: tuple[int, int]


class PolygonMask(Message):
    """Outer contours of a mask in pixels: [[x0, y0, x1, y1, ...], ...]; holes are left out."""

    polygons: list[list[int]]


class RotatedBox(Message):
    """Rectangle of least area around a mask, as `cv2.RotatedRect` has it.

    Attributes:
        center: (x, y) in pixels.
        size: (width, height) in pixels.
        angle_deg: From the x axis to the side of `width`, clockwise on the picture, in degrees.
    """

    center: tuple[float, float]
    size: tuple[float, float]
    angle_deg: float


class Velocity(Message):
    """Velocity of the centroid in pixels a second, by `captured_ns`; x to the right, y down.

    Attributes:
        age_ms: Since the frame that the object was last seen on, 0 where that is this one.
    """

    x: float
    y: float
    age_ms: float


class PredictedBox(Message):
    """Box where the object is when the message is made, if it goes on as it did.

    Attributes:
        box: Edges x0, y0, x1, y1 in pixels, which may be beyond the picture.
        ahead_ms: Since the arrival of the frame's packet.
    """

    box: tuple[float, float, float, float]
    ahead_ms: float


class ObjectMessage(Message):
    """One object on one frame.

    Attributes:
        box: Edges x0, y0, x1, y1 of the mask in pixels; None where there is no mask.
        mask: By the stream's encoding; None where the object is not visible, and for
            "labelmap-png", whose picture is in part `labelmap_part`.
        value: Value of the object's pixels in the label map; None for the other encodings.
        updated: Whether the object was looked for on this frame. If not, because it had no turn,
            `state` and `score` are those of its last turn, and it has no box and no mask.
        identity: How sure it is that the mask is still of the object that was prompted and not of
            its like, 0..1; None without a mask, and where the policy keeps no galleries.
        area: Pixels of the mask. This and what follows is None where there is no mask, or the
            stream's `measure` leaves it out.
        centroid: Mean (x, y) of the mask; the middle of the first pixel is at (0.5, 0.5).
        rotated_box: Around the mask.
        velocity: None, too, until it was seen on three frames of the newest two seconds; it stays
            for as long while the object is out of sight.
        predicted: None, too, without a velocity.
    """

    id: int
    label: str | None
    state: ObjectState
    score: float
    box: tuple[int, int, int, int] | None
    mask: RleMask | BitsMask | PolygonMask | None
    value: int | None = None
    updated: bool = renamed("updated", before="fresh", default=True)
    identity: float | None = None
    area: int | None = None
    centroid: tuple[float, float] | None = None
    rotated_box: RotatedBox | None = None
    velocity: Velocity | None = None
    predicted: PredictedBox | None = None


class MasksMessage(Message):
    """All objects on one frame; topic `masks.<stream>`.

    Attributes:
        seq: Counts this topic's messages without gaps: a gap seen by a subscriber is loss.
        repeated: A copy of an earlier message, sent because someone subscribed.
        dropped: Frames dropped since the message before.
        labelmap_part: Part with the PNG label map (8 bit, or 16 bit above 255 objects; 0 is
            background); None for other encodings.
        budget: What was spent on the frame; None where the stream has no deadline.
        owner_epoch: As `stream.add` gave it; of two daemons that send the stream, the one with the
            higher is its owner.
    """

    v: Literal[1] = 1
    type: Literal["masks"] = "masks"
    stream: str
    owner_epoch: int = 0
    seq: int
    repeated: bool = False
    dropped: int
    frame: FrameStamp
    timings: Timings
    encoding: Encoding
    labelmap_part: int | None = None
    budget: BudgetInfo | None = renamed("budget", before="effort", default=None)
    objects: list[ObjectMessage]


class EventName(StrEnum):
    """Names of the events of a stream or an object.

    Those of a finder are: new proposals on a frame, one that became an object, some that did not
    and why, an object that was removed since it was lost for long, and a search that failed. Of
    `find.proposed` and `find.refused` there is at most one a second.

    `state.unsaved` and `state.saved` are sent to every stream: from the one to the other a restart
    of the daemon would lose what was changed. After `zone.set` the counts of that zone begin at 0.
    """

    STREAM_ADDED = "stream.added"
    STREAM_CONNECTING = "stream.connecting"
    STREAM_RUNNING = "stream.running"
    STREAM_RETRYING = "stream.retrying"
    STREAM_FAILED = "stream.failed"
    STREAM_PAUSED = "stream.paused"
    STREAM_ENDED = "stream.ended"
    STREAM_REMOVED = "stream.removed"
    OBJECT_ADDED = "object.added"
    OBJECT_CORRECTED = "object.corrected"
    OBJECT_RESET = "object.reset"
    OBJECT_REMOVED = "object.removed"
    OBJECT_RELABELLED = "object.relabelled"
    OBJECT_STATE = "object.state"
    OBJECT_RESTORED = "object.restored"
    FIND_PROPOSED = "find.proposed"
    FIND_ACCEPTED = "find.accepted"
    FIND_REFUSED = "find.refused"
    FIND_EXPIRED = "find.expired"
    FIND_FAILED = "find.failed"
    ZONE_SET = "zone.set"
    ZONE_REMOVED = "zone.removed"
    ZONE_ENTERED = "zone.entered"
    ZONE_LEFT = "zone.left"
    ZONE_DWELLED = "zone.dwelled"
    ZONE_COUNT = "zone.count"
    LINE_CROSSED = "line.crossed"
    RECORD_STARTED = "record.started"
    RECORD_STOPPED = "record.stopped"
    RECORD_FAILED = "record.failed"
    STATE_UNSAVED = "state.unsaved"
    STATE_SAVED = "state.saved"


class Leaving(StrEnum):
    """Reason that an object is no longer in a zone."""

    MOVED = "moved"
    LOST = "lost"
    REMOVED = "removed"  # or its label is not one that the zone watches any more


class ZoneEvent(Message):
    """Zone or line of an event, as it stands after it.

    Attributes:
        name: Of the zone or line.
        count: Objects in the zone; None for a line.
        crossed_in: Crossings of the line in this direction so far; None for a zone.
        crossed_out: Likewise in the other.
        direction: Of this crossing.
        dwell_s: Seconds that the object was, or has been, in the zone.
        reason: Of `zone.left`.
    """

    name: str
    count: int | None = None
    crossed_in: int | None = None
    crossed_out: int | None = None
    direction: Literal["in", "out"] | None = None
    dwell_s: float | None = None
    reason: Leaving | None = None


class EventMessage(Message):
    """A change of a stream or of an object; topic `events.<stream>`.

    Attributes:
        id: Names the event for good, wherever it is sent: the epoch and a number.
        seq: Counts this topic's messages without gaps.
        repeated: A copy of the newest event of the stream itself, sent because someone subscribed.
        owner_epoch: As in the `masks` message.
        epoch: Which run of the daemon sent it.
        at_ns: Wall clock of the daemon, in ns since 1970.
        frame_seq: `frame.seq` of the newest frame then; None before the first.
        captured_ns: `frame.captured_ns` of that frame, for events of zones and lines.
        object: Id, for events of an object.
        state: The new state, for `object.state`, `object.added` and `object.restored`.
        label: The object's name, for events of an object.
        text: For people, one line, without credentials.
        zone: For events of zones and lines.
    """

    v: Literal[1] = 1
    type: Literal["event"] = "event"
    id: str | None = None
    stream: str
    owner_epoch: int = 0
    seq: int
    repeated: bool = False
    epoch: Epoch | None = None
    at_ns: int
    event: EventName
    frame_seq: int | None = None
    captured_ns: int | None = None
    object: int | None = None
    state: ObjectState | None = None
    label: str | None = None
    text: str = ""
    zone: ZoneEvent | None = None


class FrameMessage(Message):
    """A JPEG preview, in part 2 of the message; topics `frames.<stream>`, `frames-<size>.<stream>`.

    It follows the `masks` message of its frame.

    Attributes:
        owner_epoch: As in the `masks` message.
        size: Of the topic; None for the previews that the stream's settings name.
        scale: Preview pixels per source pixel; prompts are in source pixels.
    """

    v: Literal[1] = 1
    type: Literal["frame"] = "frame"
    stream: str
    owner_epoch: int = 0
    seq: int
    frame: FrameStamp
    size: PreviewSize | None = None
    scale: float
