"""Received messages as values, and the count of those lost, without any socket."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from tracker.client.errors import BadMessage, not_understood
from tracker.errors import UsageError
from tracker.protocol.data import EventMessage, FrameMessage, MasksMessage, ObjectMessage, Topic
from tracker.protocol.fields import PreviewSize
from tracker.protocol.masks import masks_of

if TYPE_CHECKING:
    import supervision as sv

MAX_TOPICS = 1024
_JSON_PART = 1
_FIRST_BLOB = 2


@dataclass(frozen=True, kw_only=True)
class _Received:
    """Any message of a subscription.

    Attributes:
        lost: Messages of this topic that were sent since the one before, and never came.
        restarted: The topic's numbers began again since the message before: the daemon was
            restarted, the stream removed and added, or another daemon is its owner now. What was
            lost then is not known.
    """

    lost: int = 0
    restarted: bool = False


@dataclass(frozen=True)
class Result(_Received):
    """All objects on one frame of a stream.

    Attributes:
        message: As sent.
        parts: The whole message; its binary parts are named by `message`.
    """

    message: MasksMessage
    parts: Sequence[bytes] = field(repr=False)

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.message.stream

    @property
    def objects(self) -> Sequence[ObjectMessage]:
        """The objects that are tracked, those out of sight included."""
        return self.message.objects

    @cached_property
    def _masks(self) -> dict[int, NDArray[np.bool_]]:
        return masks_of(self.message, self.parts)

    def masks(self) -> Mapping[int, NDArray[np.bool_]]:
        """The masks [H, W] of the objects that show one, by id.

        Raises:
            TrackdError: The message is damaged.
        """
        return self._masks

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """The mask [H, W] of one object; no pixel where it is out of sight or had no turn.

        Raises:
            UsageError: No such object is tracked on this frame.
            TrackdError: The message is damaged.
        """
        if all(item.id != object_id for item in self.objects):
            ids = ", ".join(str(item.id) for item in self.objects) or "none"
            raise UsageError(f"{self.stream}: no object {object_id} on this frame", f"has {ids}")
        frame = self.message.frame
        mask_hw = self._masks.get(object_id)
        return np.zeros((frame.height, frame.width), np.bool_) if mask_hw is None else mask_hw

    def to_supervision(self) -> "sv.Detections":
        """The objects that show a mask, as supervision has them.

        `tracker_id` is the object's id, `confidence` its score; `data` holds "class_name" (its
        label, or "") and "state". There are no classes, so `class_id` is None: let annotators
        colour by `ColorLookup.TRACK`.
        """
        import supervision as sv  # takes seconds

        masks = self.masks()
        shown = [item for item in self.objects if item.id in masks and item.box is not None]
        frame = self.message.frame
        stacked_nhw = np.zeros((len(shown), frame.height, frame.width), np.bool_)
        for row, item in enumerate(shown):
            stacked_nhw[row] = masks[item.id]
        return sv.Detections(
            xyxy=np.array([item.box for item in shown], np.float32).reshape(-1, 4),
            mask=stacked_nhw,
            confidence=np.array([item.score for item in shown], np.float32),
            tracker_id=np.array([item.id for item in shown], np.int64),
            data={
                "class_name": np.array([item.label or "" for item in shown], np.str_),
                "state": np.array([item.state.value for item in shown], np.str_),
            },
        )


@dataclass(frozen=True)
class Event(_Received):
    """A change of a stream or of an object."""

    message: EventMessage


@dataclass(frozen=True)
class Picture(_Received):
    """A preview of a stream's frame.

    Attributes:
        message: As sent.
        jpeg: The picture, `message.scale` times the size of the source.
    """

    message: FrameMessage
    jpeg: bytes = field(repr=False)


Received = Result | Event | Picture
R = TypeVar("R", bound=Received)
M = TypeVar("M", bound=BaseModel)
Parts = Sequence[bytes]


def _read_result(parts: Parts) -> Result:
    """A message of topic `masks.<stream>`."""
    return Result(_message(MasksMessage, parts), parts)


def _read_event(parts: Parts) -> Event:
    """A message of topic `events.<stream>`."""
    return Event(_message(EventMessage, parts))


def _read_picture(parts: Parts) -> Picture:
    """A message of topic `frames.<stream>`."""
    if len(parts) <= _FIRST_BLOB:
        raise BadMessage("a preview came without its picture", "is this the data endpoint?")
    return Picture(_message(FrameMessage, parts), parts[_FIRST_BLOB])


def _message(model: type[M], parts: Parts) -> M:
    try:
        return model.model_validate_json(parts[_JSON_PART], extra="ignore")
    except ValidationError as error:
        raise not_understood(f"message on {parts[0].decode()}", error) from error


@dataclass(frozen=True, slots=True)
class Gap:
    """Gap between a message and the one before it; see `_Received`."""

    lost: int
    restarted: bool


@dataclass(frozen=True, slots=True)
class _Newest:
    seq: int
    at_ns: int
    owner_epoch: int


class Gaps:
    """Follows the numbers of topics, and the epochs of their owners.

    The topics that were silent longest are forgotten above `MAX_TOPICS`.

    Attributes:
        stale: Messages of daemons that had a stream before its owner of now.
    """

    def __init__(self) -> None:
        self._newest: OrderedDict[bytes, _Newest] = OrderedDict()
        self.stale = 0

    def note(
        self, topic: bytes, seq: int, at_ns: int, *, repeated: bool, owner_epoch: int = 0
    ) -> Gap | None:
        """Take note of a message; None for a copy of one that came before, and for a stale one.

        Args:
            topic: Where it came.
            seq: Its number.
            at_ns: Time that it reports on, by the daemon's wall clock: a copy that is newer than
                all before it is news, whatever its number.
            repeated: It is a copy.
            owner_epoch: Of the daemon that sent it.
        """
        newest = self._newest.get(topic)
        if newest is None:
            newest = _Newest(seq - 1, at_ns - 1, owner_epoch)
        if owner_epoch < newest.owner_epoch:
            self.stale += 1
            return None
        if owner_epoch > newest.owner_epoch:
            return self._keep(topic, _Newest(seq, at_ns, owner_epoch), Gap(0, restarted=True))
        if repeated and seq <= newest.seq and at_ns <= newest.at_ns:
            return None
        restarted = seq <= newest.seq
        gap = Gap(0 if restarted else seq - newest.seq - 1, restarted)
        return self._keep(topic, _Newest(seq, max(at_ns, newest.at_ns), owner_epoch), gap)

    def _keep(self, topic: bytes, newest: _Newest, gap: Gap) -> Gap:
        self._newest[topic] = newest
        self._newest.move_to_end(topic)
        if len(self._newest) > MAX_TOPICS:
            self._newest.popitem(last=False)
        return gap


class Tally:
    """Counts for several readers, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lost = 0

    def add(self, lost: int) -> None:
        """Count messages that were lost."""
        with self._lock:
            self.lost += lost


class Reader(Generic[R]):
    """Turns what a subscription receives into values.

    Args:
        topics: What to subscribe to, and how to read it.
        streams: The streams; none for all.
        tally: Counts what this and other readers lost.
    """

    def __init__(
        self, topics: Mapping[Topic, Callable[[Parts], R]], streams: Sequence[str], tally: Tally
    ) -> None:
        self._topics = topics
        self._streams = frozenset(streams)
        self._tally = tally
        self._gaps = Gaps()
        self.lost = 0

    @property
    def stale(self) -> int:
        """Messages left out since the stream has an owner of a higher epoch."""
        return self._gaps.stale

    @property
    def prefixes(self) -> list[bytes]:
        """Topics to subscribe to. More may match: cam1 is the start of cam10."""
        if not self._streams:
            return [topic.of("") for topic in self._topics]
        return [topic.of(stream) for topic in self._topics for stream in sorted(self._streams)]

    def read(self, parts: Parts) -> R | None:
        """The value of a message; None where it is not for this reader, or came before.

        Raises:
            BadMessage: It is no message of this version of the protocol.
        """
        read = self._reader_of(parts)
        if read is None:
            return None
        received = read(parts)
        message = received.message
        at_ns = message.at_ns if isinstance(message, EventMessage) else message.frame.captured_ns
        repeated = not isinstance(message, FrameMessage) and message.repeated
        gap = self._gaps.note(
            parts[0], message.seq, at_ns, repeated=repeated, owner_epoch=message.owner_epoch
        )
        if gap is None:
            return None
        self.lost += gap.lost
        self._tally.add(gap.lost)
        return replace(received, lost=gap.lost, restarted=gap.restarted)

    def _reader_of(self, parts: Parts) -> Callable[[Parts], R] | None:
        kind, _, stream = parts[0].partition(b".")
        if len(parts) <= _JSON_PART or kind not in [topic.encode() for topic in self._topics]:
            raise BadMessage("a message without a known topic came", "is this the data endpoint?")
        if self._streams and stream.decode(errors="replace") not in self._streams:
            return None
        return self._topics[Topic(kind.decode())]


def results(stream: str | None, tally: Tally) -> Reader[Result]:
    """Reads `masks` of a stream, or of all."""
    return Reader({Topic.MASKS: _read_result}, _named(stream), tally)


def events(stream: str | None, tally: Tally) -> Reader[Event]:
    """Reads `events` of a stream, or of all."""
    return Reader({Topic.EVENTS: _read_event}, _named(stream), tally)


def frames(stream: str | None, size: PreviewSize | None, tally: Tally) -> Reader[Picture]:
    """Reads the `frames` of a size, of a stream or of all.

    Raises:
        UsageError: A size without a stream: nobody is sent the previews of all.
    """
    if size is not None and stream is None:
        raise UsageError(f"previews of size {size} are those of one stream", "name the stream")
    return Reader({Topic.frames(size): _read_picture}, _named(stream), tally)


def scenes(
    stream: str, sizes: Sequence[PreviewSize | None], tally: Tally
) -> Reader[Result | Picture]:
    """Reads `masks` of a stream, and its `frames` of some sizes."""
    pictures = {Topic.frames(size): _read_picture for size in sizes}
    return Reader({Topic.MASKS: _read_result, **pictures}, (stream,), tally)


def results_and_events(streams: Sequence[str], tally: Tally) -> Reader[Result | Event]:
    """Reads `masks` and `events` of some streams, or of all."""
    return Reader({Topic.MASKS: _read_result, Topic.EVENTS: _read_event}, streams, tally)


def _named(stream: str | None) -> tuple[str, ...]:
    return () if stream is None else (stream,)
