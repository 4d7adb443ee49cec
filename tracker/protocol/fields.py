"""Fields that several messages share."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from streams.options import SourceOptions

VERSION = 1
MAX_LABEL = 200
MAX_ZONES = 32  # of a stream
MAX_VERTICES = 64
MAX_RLE_CHARS = 1_000_000
PIECE_BYTES = 384 * 1024  # of a snapshot; its base64 is half of the longest usual request

StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
ZoneName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
ObjectId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Label = Annotated[str, Field(max_length=MAX_LABEL)]
Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
XY = tuple[Coordinate, Coordinate]
Encoding = Literal["rle", "bits", "labelmap-png", "polygon"]


Epoch = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
"""Number of the run of the daemon that a frame's number is of."""

OwnerEpoch = Annotated[int, Field(ge=0, le=2**53)]
"""Fencing token of a stream's owner: who takes a stream over has a higher one than all before.

See Kleppmann, "How to do distributed locking" (2016), and the epochs of Raft and ZooKeeper.
"""

_DIGITS = re.compile(r"-?[0-9]{1,19}")


def _exact(value: object) -> object:
    """An integer that may come as text, for languages whose numbers are doubles."""
    if isinstance(value, bool) or (isinstance(value, str) and not _DIGITS.fullmatch(value)):
        raise ValueError("give an integer, or one as text of digits")
    return value


_AnyInteger = BeforeValidator(
    _exact, json_schema_input_type=int | Annotated[str, Field(pattern=f"^{_DIGITS.pattern}$")]
)


def renamed(name: str, before: str, **given: Any) -> Any:
    """A field that is also read by the name that it had `before`, from peers of version 0.1."""
    return Field(validation_alias=AliasChoices(name, before), **given)


class Message(BaseModel):
    """A message or a part of one: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RleMask(Message):
    """A mask as COCO run lengths.

    Attributes:
        size: [height, width] in pixels.
        counts: Run lengths down the columns, background first, in COCO's compressed text form.
    """

    size: tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]]
    counts: Annotated[str, Field(max_length=MAX_RLE_CHARS)]


class SavedObject(Message):
    """An object that was tracked or listed; `found` as in `ObjectInfo`."""

    id: ObjectId
    label: Label | None
    found: bool = False


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""


class FrameAddress(Message):
    """The frame that a prompt was drawn on: one of its names in the `masks` messages.

    Each is an integer, or its digits as text. A time means the nearest frame within half a frame
    interval, so that one which was read as a double, and is up to 128 ns off, means its frame.

    Attributes:
        seq: `frame.seq` of the message.
        pts: `frame.pts` of the message; the exact one where it is below 2^53, as most are.
        captured_ns: `frame.captured_ns` of the message, a wall-clock time.
        epoch: `frame.epoch` of the message: then a frame of another run of the daemon that had the
            same name is not meant. May be left out.
    """

    seq: Annotated[int, Field(ge=0, lt=2**63), _AnyInteger] | None = None
    pts: Annotated[int, Field(ge=-(2**63), lt=2**63), _AnyInteger] | None = None
    captured_ns: Annotated[int, Field(ge=0, lt=2**63), _AnyInteger] | None = None
    epoch: Epoch | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if sum(value is not None for value in (self.seq, self.pts, self.captured_ns)) != 1:
            raise ValueError("give one of seq, pts, captured_ns")
        return self


class Preview(Message):
    """The JPEG pictures of topic `frames.<stream>`, made only while someone subscribes.

    Attributes:
        fps: At most so many a second; 0 for none, not even those of `PREVIEW_SIZES`.
        max_side_px: The longer side is shrunk to this.
        quality: JPEG quality.
    """

    fps: Annotated[float, Field(ge=0, le=60)] = 5.0
    max_side_px: Annotated[int, Field(ge=16, le=8192)] = 640
    quality: Annotated[int, Field(ge=1, le=100)] = 80


class PreviewSize(StrEnum):
    """Size of previews that a subscriber chooses by its topic, `frames-<size>.<stream>`."""

    TILE = "tile"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


PREVIEW_SIZES: dict[PreviewSize, Preview] = {
    PreviewSize.TILE: Preview(fps=2, max_side_px=320, quality=70),
    PreviewSize.SMALL: Preview(fps=30, max_side_px=480, quality=60),
    PreviewSize.MEDIUM: Preview(fps=30, max_side_px=1280, quality=75),
    PreviewSize.LARGE: Preview(fps=30, max_side_px=1920, quality=80),
}
"""The pictures of each size. A stream has each of them once, however many subscribe."""


class DeadlineSettings(Message):
    """Target that a live stream is kept to, at the price of quality where need be; one of the two.

    Attributes:
        fps: Frames tracked per second, where the source gives as many; no more are tracked.
        latency_ms: From the arrival of a frame's packet until it is tracked.
    """

    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    latency_ms: Annotated[float, Field(gt=0, le=60_000)] | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.fps is None) == (self.latency_ms is None):
            raise ValueError("give one of fps, latency_ms")
        return self

    @property
    def budget_s(self) -> float:
        """Seconds that a frame may take."""
        if self.fps is not None:
            return 1 / self.fps
        assert self.latency_ms is not None
        return self.latency_ms / 1000


Share = Annotated[float, Field(ge=0, le=1)]
FinderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
FinderQuery = Annotated[str, Field(max_length=4096)]
FinderOption = bool | int | float | Annotated[str, Field(max_length=1024)]
_OptionName = Annotated[str, Field(max_length=64)]


class FindSettings(Message):
    """A finder that adds objects to a stream, and when those are removed again.

    Attributes:
        finder: Its name: everything, motion, text, detector, or that of an installed package.
        query: What it looks for, for one that takes words: phrases or classes, as in
            "cat . red car".
        every_frames: Frames from one search to the next; 1 for motion.
        every_s: Seconds from one search to the next; 2 where both are left out.
        min_score: Least score of a proposal.
        min_area: Least area of a proposal, as a share of the picture.
        max_overlap: IoU with an object, from which a proposal is taken for the same.
        max_cover: Likewise, the share of the smaller of the two that lies in the other.
        max_objects: Objects at a time, those that were prompted included.
        expire_after_s: Seconds without a mask after which an object that was found is removed; null
            for never.
        timeout_s: A search that takes longer is ended, and the finder is started again.
        options: The finder's own settings. Clients may give numbers and switches, and names of
            `trackd models`: no folders and no functions.
    """

    finder: FinderName
    query: FinderQuery = ""
    every_frames: Annotated[int, Field(ge=1, le=10**6)] | None = None
    every_s: Annotated[float, Field(gt=0, le=86400)] | None = None
    min_score: Share = 0.0
    min_area: Share = 0.0005
    max_overlap: Share = 0.3
    max_cover: Share = 0.7
    max_objects: Annotated[int, Field(ge=1, le=1024)] = 16
    expire_after_s: Annotated[float, Field(gt=0, le=86400)] | None = 5.0
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    options: Annotated[dict[_OptionName, FinderOption], Field(max_length=64)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_pace(self) -> Self:
        if self.every_frames is not None and self.every_s is not None:
            raise ValueError("give every_frames or every_s, not both")
        return self


class BudgetInfo(Message):
    """The compute that a stream with a deadline spends on a frame.

    Attributes:
        quality_level: Steps down from full quality, which is 0.
        input_size: Side in pixels of the square that the network sees.
        memories: Recent memories that an object recalls.
        objects_per_frame: Objects tracked on a frame, in turns; None for all.
    """

    quality_level: int = renamed("quality_level", before="rung")
    input_size: int
    memories: int
    objects_per_frame: int | None


class Anchor(StrEnum):
    """Point of an object that stands for it, as `supervision.Position` names them.

    All but the last are points of its box; the last is the centroid of its mask.
    """

    CENTER = "CENTER"
    CENTER_LEFT = "CENTER_LEFT"
    CENTER_RIGHT = "CENTER_RIGHT"
    TOP_CENTER = "TOP_CENTER"
    TOP_LEFT = "TOP_LEFT"
    TOP_RIGHT = "TOP_RIGHT"
    BOTTOM_LEFT = "BOTTOM_LEFT"
    BOTTOM_CENTER = "BOTTOM_CENTER"
    BOTTOM_RIGHT = "BOTTOM_RIGHT"
    CENTER_OF_MASS = "CENTER_OF_MASS"


class ZoneSettings(Message):
    """A polygon or a line on the picture of a stream, and the objects that it watches.

    Attributes:
        polygon: Corners (x, y); what is inside by the even-odd rule, the edge included, is the
            zone.
        line: Its ends (x, y) in place of a polygon. Seen from the first to the second, an object
            that goes to the left of it on the picture crosses `in`, else `out`.
        normalized: Coordinates are parts of the width and height, 0..1, in place of pixels.
        labels: It watches objects of these labels; all for none.
        objects: It watches objects of these ids; all for none.
        anchor: The point of an object that must be inside, or cross: a name of
            `supervision.Position`, such as CENTER, BOTTOM_CENTER or CENTER_OF_MASS.
        dwell_s: An object that is inside for so long is an event; null for none.
        min_frames: Frames in a row that an object must be on the other side for it to count.
    """

    polygon: Annotated[tuple[XY, ...], Field(min_length=3, max_length=MAX_VERTICES)] | None = None
    line: tuple[XY, XY] | None = None
    normalized: bool = False
    labels: Annotated[tuple[Label, ...], Field(max_length=64)] = ()
    objects: Annotated[tuple[ObjectId, ...], Field(max_length=64)] = ()
    anchor: Anchor = Anchor.BOTTOM_CENTER
    dwell_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    min_frames: Annotated[int, Field(ge=1, le=1000)] = 2

    @model_validator(mode="after")
    def _is_one_shape(self) -> Self:
        if (self.polygon is None) == (self.line is None):
            raise ValueError("give one of polygon, line")
        if self.polygon is not None and _are_on_a_line(self.polygon):
            raise ValueError("the polygon has no area")
        if self.line is not None and self.line[0] == self.line[1]:
            raise ValueError("the line has no length")
        if self.line is not None and self.dwell_s is not None:
            raise ValueError("dwell_s is for polygons")
        points = self.polygon or self.line or ()
        if self.normalized and not all(0 <= value <= 1 for point in points for value in point):
            raise ValueError("normalized coordinates are 0..1")
        return self


def _are_on_a_line(points: tuple[XY, ...]) -> bool:
    """True if all points lie on one line; a polygon that crosses itself may have no signed area."""
    x0, y0 = points[0]
    x1, y1 = next((point for point in points if point != points[0]), points[0])
    return all((x1 - x0) * (y - y0) == (x - x0) * (y1 - y0) for x, y in points)


Zones = Annotated[dict[ZoneName, ZoneSettings], Field(max_length=MAX_ZONES)]


class MeasureSettings(Message):
    """Measures of each object that its messages hold, beside box and mask.

    Attributes:
        shape: `area` and `centroid` of the mask.
        rotated_box: The rectangle of least area around the mask.
        velocity: `velocity`, by the centroids of the newest frames.
        prediction: `predicted`, the box moved to where it is when the message is made.
    """

    shape: bool = True
    rotated_box: bool = False
    velocity: bool = False
    prediction: bool = False


class RecordSettings(Message):
    """Recording of a stream: its packets as they come, and the messages that are sent.

    Attributes:
        dir: Folder; the files are in a folder of the stream's name in it.
        segment_s: Length of a segment, which ends at the next key frame.
        keep_h: Older segments are removed; null for no limit.
        keep_gib: Where a stream has more, its oldest segments are removed; null for no limit but
            the disk. Where that is full, too, its oldest segments are removed, and then recording
            stops.
        start: "always" records from the beginning, "request" once `stream.record` asks for it.
        pre_roll_s: Seconds before a request that are recorded, too, as far as 64 MiB reach.
        snapshots: Record the state of the objects in each segment, and after they were put back,
            so that `trackd replay --recompute` can begin there.
    """

    dir: Path
    segment_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    keep_h: Annotated[float, Field(gt=0, le=100_000)] | None = None
    keep_gib: Annotated[float, Field(gt=0, le=1_000_000)] | None = 10.0
    start: Literal["always", "request"] = "always"
    pre_roll_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    snapshots: bool = True


class StreamSettings(Message):
    """A source and how it is read.

    Attributes:
        url: A file, an image folder, `file:`, `rtsp(s)://`, `http(s)://`, `rtmp(s)://`, `udp://`,
            `rtp://`, `tcp://`, `webcam:N`, `lavfi:GRAPH`. May hold credentials: it is never sent
            back or written to a log.
        options: How its camera or server is spoken to; which there are depends on the url.
        policy: "latest" drops stale frames so that the newest is tracked, "every" tracks each
            frame and lets the source wait; "auto" is "latest" for live sources, for files
            played in real time and with a deadline, else "every".
        realtime: Play a file at its own pace.
        loop: Begin a file again when it ends.
        encoding: How masks are sent.
        preview: The JPEG preview.
        open_timeout_s: Longest wait for each step of opening, in seconds.
        stall_timeout_s: A live source that gives no frame for so long is opened again.
        deadline: What tracking is kept to, whatever the number of objects; None for none, and
            all that the model can. Not with policy "every".
        find: The finder that adds objects; null for none.
        measure: Measures of objects that are sent.
        zones: Zones and lines whose events are sent, by name; at most 32.
        record: Where and how it is recorded; None for not at all.
    """

    url: Annotated[str, Field(min_length=1, max_length=4096, repr=False)]
    options: SourceOptions = SourceOptions()
    policy: Literal["auto", "latest", "every"] = "auto"
    realtime: bool = False
    loop: bool = False
    encoding: Encoding = "rle"
    preview: Preview = Preview()
    open_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    stall_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    deadline: DeadlineSettings | None = None
    find: FindSettings | None = None
    measure: MeasureSettings = MeasureSettings()
    zones: Zones = Field(default_factory=dict)
    record: RecordSettings | None = None

    @model_validator(mode="after")
    def _deadline_drops_frames(self) -> Self:
        if self.deadline is not None and self.policy == "every":
            raise ValueError("a deadline drops frames, policy every keeps them: leave one out")
        return self

    def recorded(self, *, on: bool) -> Self:
        """The same, recorded from the start, or on request."""
        assert self.record is not None
        record = self.record.model_copy(update={"start": "always" if on else "request"})
        return self.model_copy(update={"record": record})
