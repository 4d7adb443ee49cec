"""Encoder of tracked frames: from masks and pictures to the bytes of messages.

What the worker knows is encoded where the frame was tracked; the numbers of the messages, which
the publisher gives, are put before it when they are sent.
"""

import json
import time
from dataclasses import dataclass

from tracker.daemon.messages import Tracked
from tracker.daemon.publish.encode import (
    encode_objects,
    frame_message,
    masks_message,
)
from tracker.daemon.publish.measures import Measures
from tracker.daemon.publish.preview import PreviewPace, encode_preview
from tracker.protocol.data import FrameMessage, MasksMessage, Topic
from tracker.protocol.fields import PREVIEW_SIZES, Preview

_NEEDS_PARTS = ("bits", "labelmap-png")
_SIZES = {Topic.frames(size): size for size in PREVIEW_SIZES}
_NUMBERING = {"v", "type", "stream", "owner_epoch", "seq", "repeated", "dropped"}


@dataclass(frozen=True, slots=True)
class EncodedPreview:
    """A preview: the JSON of its message, without its numbers, and the JPEG file."""

    topic: Topic
    body: bytes
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A tracked frame on its way to the subscribers, encoded.

    Attributes:
        stream: Its name.
        frame_seq: Number of the frame.
        dropped: Frames of the stream dropped since the one before.
        body: JSON of the `masks` message, without its numbers.
        blobs: Binary parts of the message.
        latest: JSON for those who take messages of one part; None where `body` serves them too.
        previews: Those that were wanted and due.
        wire_s: Seconds from tracked to encoded.
        total_s: Seconds from the arrival of the packet to encoded.
        owner_epoch: Of its stream; the publisher knows it.
    """

    stream: str
    frame_seq: int
    dropped: int
    body: bytes
    blobs: tuple[bytes, ...]
    latest: bytes | None
    previews: tuple[EncodedPreview, ...]
    wire_s: float
    total_s: float
    owner_epoch: int = 0


class FrameEncoder:
    """Encodes the frames of some streams; belongs to one thread.

    Args:
        latest: There are subscribers that take messages of one part.
    """

    def __init__(self, *, latest: bool) -> None:
        self._latest = latest
        self._paces: dict[tuple[str, Topic], PreviewPace] = {}

    def encode(self, tracked: Tracked, previews: frozenset[Topic]) -> EncodedFrame:
        """Encode a frame's masks, and those of its `previews` that are due."""
        frame, encoding = tracked.live.frame, tracked.settings.encoding
        height, width = frame.image.shape[:2]
        objects = tracked.result.objects
        measured = _measures(tracked).of(objects)
        encoded = encode_objects(objects, encoding, height, width, measured)
        encoded_s = time.monotonic()
        message = masks_message(tracked, encoded, seq=0, encoded_s=encoded_s)
        latest = None
        if self._latest and encoding in _NEEDS_PARTS:
            rle = encode_objects(objects, "rle", height, width, measured)
            latest = _body(masks_message(tracked, rle, seq=0, encoded_s=encoded_s))
        return EncodedFrame(
            frame.stream,
            frame.seq,
            tracked.dropped,
            _body(message),
            encoded.blobs,
            latest,
            tuple(self._preview(tracked, topic) for topic in self._due(tracked, previews)),
            encoded_s - tracked.tracked_s,
            encoded_s - tracked.live.arrived_s,
            tracked.owner_epoch,
        )

    def forget(self, stream: str) -> None:
        """Keep nothing of a removed stream."""
        for key in [key for key in self._paces if key[0] == stream]:
            del self._paces[key]

    def _due(self, tracked: Tracked, previews: frozenset[Topic]) -> list[Topic]:
        if tracked.settings.preview.fps <= 0:
            return []
        return [one for one in Topic if one in previews and self._is_due(tracked, one)]

    def _is_due(self, tracked: Tracked, topic: Topic) -> bool:
        pace = self._paces.setdefault((tracked.stream, topic), PreviewPace())
        return pace.is_due(tracked.tracked_s, _settings(tracked, topic).fps)

    def _preview(self, tracked: Tracked, topic: Topic) -> EncodedPreview:
        jpeg, scale = encode_preview(tracked.live.frame.image, _settings(tracked, topic))
        message = frame_message(tracked, seq=0, scale=scale, size=_SIZES.get(topic))
        return EncodedPreview(topic, _body(message), jpeg)


def _measures(tracked: Tracked) -> Measures:
    live = tracked.live
    ahead_s = time.monotonic() - live.arrived_s
    return Measures(tracked.settings.measure, tracked.motions, live.frame.captured_ns, ahead_s)


def _settings(tracked: Tracked, topic: Topic) -> Preview:
    """How the previews of a topic are made: by its size, or as the stream's settings have it."""
    size = _SIZES.get(topic)
    return tracked.settings.preview if size is None else PREVIEW_SIZES[size]


def _body(message: MasksMessage | FrameMessage) -> bytes:
    return message.model_dump_json(exclude=_NUMBERING).encode()


def numbered(
    kind: Topic, frame: EncodedFrame, body: bytes, *, seq: int, repeated: bool = False
) -> bytes:
    """JSON of a message: its numbers, then the body that the encoder made."""
    kind_name = "masks" if kind is Topic.MASKS else "frame"
    numbers: dict[str, object] = {"v": 1, "type": kind_name, "stream": frame.stream}
    numbers |= {"owner_epoch": frame.owner_epoch, "seq": seq}
    if kind is Topic.MASKS:
        numbers |= {"repeated": repeated, "dropped": frame.dropped}
    head = json.dumps(numbers, separators=(",", ":")).encode()
    return head[:-1] + b"," + body[1:]
