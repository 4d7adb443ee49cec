"""The thread that encodes what was tracked and sends it to whoever subscribes."""

import logging
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.config.schema import DataConfig
from tracker.daemon.messages import Event, Tracked
from tracker.daemon.net.wakeup import Wakeup
from tracker.daemon.publish.encode import (
    DataMessage,
    encode_objects,
    event_message,
    frame_message,
    masks_message,
    to_json,
)
from tracker.daemon.publish.preview import PreviewPace, encode_preview
from tracker.daemon.publish.queue import Forget, PublishQueue
from tracker.daemon.publish.xpub import XpubSocket
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.telemetry.histogram import HistogramCounts, LatencyHistogram
from tracker.daemon.telemetry.latency import Latency, LatencyWindow
from tracker.protocol.data import EventName, MasksMessage, Topic

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

_FLOOD_PAUSE_S = 0.01
_SENDING_SHARE = 0.5  # of the time to stop in
_NEEDS_PARTS = ("bits", "labelmap-png")


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """How publishing goes; counters only grow.

    Attributes:
        healthy: The thread runs and the sockets listen.
        busy_s: Seconds that it has been at one piece of work.
        waiting: Frames and events in the outbox.
        dropped_frames: Tracked frames that were never sent, because newer ones came too fast.
        dropped_events: Likewise for events.
        failed: Frames and events that could not be encoded, by our own mistake.
        sent: Messages by topic, "masks", "events" and "frames", and "latest" for those of the
            latest-only socket with its repeats; each once, however many subscribe.
        sent_bytes: Of all messages, once each.
        subscriptions: Different topics, or beginnings of topics, subscribed to on both sockets.
        resets: How often a socket was opened anew because subscriptions were too many.
        wire: Seconds from tracked to encoded, of all streams.
    """

    healthy: bool
    busy_s: float
    waiting: int
    dropped_frames: int
    dropped_events: int
    failed: int
    sent: dict[str, int]
    sent_bytes: int
    subscriptions: int
    resets: int
    wire: Latency


@dataclass(frozen=True, slots=True)
class WireStatus:
    """How long publishing a stream's masks takes.

    Attributes:
        wire: From tracked to encoded.
        total: From the arrival of the packet to encoded.
    """

    wire: Latency
    total: HistogramCounts


@dataclass(slots=True)
class _Channel:
    """What is kept of one stream: the next numbers of its messages, pace and times."""

    seq: dict[Topic, int] = field(default_factory=lambda: dict.fromkeys(Topic, 0))
    pace: PreviewPace = field(default_factory=PreviewPace)
    wire: LatencyWindow = field(default_factory=LatencyWindow)
    total: LatencyHistogram = field(default_factory=LatencyHistogram)

    def number(self, topic: Topic) -> int:
        """The next number of a topic."""
        seq = self.seq[topic]
        self.seq[topic] += 1
        return seq


class Publisher:
    """Sends frames and events on the data sockets, in a thread of its own.

    Two sockets: `config.bind` carries all topics in several parts; `config.latest_bind` carries
    masks alone in one part, `TOPIC JSON`. Encodings with binary parts cannot be sent in one: their
    masks are sent there as RLE.

    The numbers of a topic start at 0 when a stream is first seen, or seen again after `forget`.
    """

    def __init__(
        self,
        config: DataConfig,
        security: "Authenticator | None",
        *,
        context: zmq.Context[zmq.Socket[bytes]],
    ) -> None:
        def outlet(address: str) -> XpubSocket:
            return XpubSocket(address, security, context=context, send_hwm=config.send_hwm)

        self._tells_sources = security is None or security.tells_sources
        self._data = outlet(config.bind)
        self._latest = None if config.latest_bind is None else outlet(config.latest_bind)
        self._outlets = [self._data] if self._latest is None else [self._data, self._latest]
        self._outbox = PublishQueue(frames_per_stream=config.outbox_frames)
        self._channels: dict[str, _Channel] = {}
        self._activity = Activity()
        self._bell = Wakeup()
        self._stop_by_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._sent: dict[str, int] = dict.fromkeys(Topic, 0)
        self._failed = 0
        self._wire = LatencyWindow()

    # --- called from any thread

    def start(self) -> None:
        """Listen and begin to send; called once.

        Raises:
            TrackdError: An address cannot be listened on.
        """
        try:
            for outlet in self._outlets:
                outlet.bind()
        except BaseException:
            self._close(linger_s=0)
            raise
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Send what waits, and close the sockets; False where the thread hangs."""
        self._stop_by_s = time.monotonic() + _SENDING_SHARE * timeout_s
        if self._thread.ident is None:
            self._close(linger_s=0)
            return True
        self._bell.ring()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def endpoint(self) -> str:
        """Where the data socket listens."""
        return self._data.endpoint

    @property
    def latest_endpoint(self) -> str | None:
        """Where the latest-only socket listens; None where there is none."""
        return None if self._latest is None else self._latest.endpoint

    def tracked(self, tracked: Tracked) -> None:
        """Send a frame's masks, and its preview where one is due. Never waits."""
        self._outbox.put_tracked(tracked)
        self._bell.ring()

    def event(self, event: Event) -> None:
        """Send an event, before any frame that waits. Never waits."""
        self._outbox.put_event(event)
        self._bell.ring()

    def forget(self, stream: str) -> None:
        """Keep nothing of a removed stream; call it after its last event."""
        self._outbox.put_forget(stream)
        self._bell.ring()

    def status(self) -> PublisherStatus:
        """How it goes."""
        outlets = self._outlets
        latest = 0 if self._latest is None else self._latest.sent
        return PublisherStatus(
            healthy=self._thread.is_alive() and all(outlet.is_open for outlet in outlets),
            busy_s=self._activity.busy_s,
            waiting=len(self._outbox),
            dropped_frames=self._outbox.dropped_frames,
            dropped_events=self._outbox.dropped_events,
            failed=self._failed,
            sent=self._sent | {"latest": latest},
            sent_bytes=sum(outlet.sent_bytes for outlet in outlets),
            subscriptions=sum(outlet.subscriptions for outlet in outlets),
            resets=sum(outlet.resets for outlet in outlets),
            wire=self._wire.summary(),
        )

    def wire_status(self, stream: str) -> WireStatus | None:
        """How long the masks of a stream take; None before its first message."""
        channel = self._channels.get(stream)
        if channel is None:
            return None
        return WireStatus(channel.wire.summary(), channel.total.read())

    # --- in the publisher's thread

    def _run(self) -> None:
        stop_by_s = None
        try:
            while True:
                stop_by_s = self._stop_by_s  # read first: what was put before it still leaves
                read_all = [outlet.serve() for outlet in self._outlets]
                more = self._publish_next()
                if stop_by_s is not None and (not more or time.monotonic() >= stop_by_s):
                    return
                self._wait(0.0 if more else None, flooded=not all(read_all))
        finally:
            self._close(0.0 if stop_by_s is None else stop_by_s - time.monotonic())

    def _wait(self, timeout_s: float | None, *, flooded: bool) -> None:
        """Wait for a ring, a subscription, or the next repeat; after a flood, not for floods."""
        waits_s = [timeout_s, *(outlet.wait_s() for outlet in self._outlets)]
        watched: list[tuple[zmq.Socket[bytes] | int, int]] = [(self._bell.fileno(), zmq.POLLIN)]
        if flooded:
            waits_s.append(_FLOOD_PAUSE_S)
        else:
            sockets = (outlet.socket for outlet in self._outlets)
            watched += [(sock, zmq.POLLIN) for sock in sockets if sock is not None]
        known_s = [wait_s for wait_s in waits_s if wait_s is not None]
        self._activity.end()
        zmq.zmq_poll(watched, int(1000 * min(known_s) + 0.999) if known_s else -1)
        self._activity.begin()
        self._bell.silence()

    def _publish_next(self) -> bool:
        """Send the next of the outbox; False where it was empty."""
        item = self._outbox.take()
        try:
            match item:
                case None:
                    return False
                case Forget():
                    self._forget(item.stream)
                case Event():
                    self._publish_event(item)
                case Tracked():
                    self._publish_masks(item)
                    self._publish_preview(item)
        except Exception:
            # One frame that cannot be encoded must not end the streams of all others.
            self._failed += 1
            _log.exception("a message could not be published")
        return True

    def _channel(self, stream: str) -> _Channel:
        return self._channels.setdefault(stream, _Channel())

    def _forget(self, stream: str) -> None:
        self._channels.pop(stream, None)
        for topic in Topic:
            self._data.forget(topic.of(stream))
        if self._latest is not None:
            self._latest.forget(_latest_topic(stream))

    def _publish_event(self, event: Event) -> None:
        if event.object_id is None and not self._tells_sources:
            event = replace(event, text="")
        message = event_message(event, seq=self._channel(event.stream).number(Topic.EVENTS))
        keep = event.name.startswith("stream.") and event.name is not EventName.STREAM_REMOVED
        self._send(Topic.EVENTS, message, (), keep=keep)

    def _publish_masks(self, tracked: Tracked) -> None:
        frame, encoding = tracked.live.frame, tracked.settings.encoding
        height, width = frame.image.shape[:2]
        encoded = encode_objects(tracked.result.objects, encoding, height, width)
        encoded_s = time.monotonic()
        channel = self._channel(frame.stream)
        seq = channel.number(Topic.MASKS)
        message = masks_message(tracked, encoded, seq=seq, encoded_s=encoded_s)
        for window in (self._wire, channel.wire):
            window.add(encoded_s - tracked.tracked_s)
        channel.total.record(encoded_s - tracked.live.arrived_s)
        self._send(Topic.MASKS, message, encoded.blobs, keep=True)
        if self._latest is not None:
            if encoding in _NEEDS_PARTS:
                rle = encode_objects(tracked.result.objects, "rle", height, width)
                message = masks_message(tracked, rle, seq=seq, encoded_s=encoded_s)
            self._send_latest(self._latest, message)

    def _publish_preview(self, tracked: Tracked) -> None:
        frame, preview = tracked.live.frame, tracked.settings.preview
        channel = self._channel(frame.stream)
        if not self._data.wants(Topic.FRAMES.of(frame.stream)):
            return
        if not channel.pace.is_due(tracked.tracked_s, preview.fps):
            return
        jpeg, scale = encode_preview(frame.image, preview)
        message = frame_message(tracked, seq=channel.number(Topic.FRAMES), scale=scale)
        self._send(Topic.FRAMES, message, (jpeg,), keep=False)

    def _send(
        self, kind: Topic, message: DataMessage, blobs: tuple[bytes, ...], *, keep: bool
    ) -> None:
        topic = kind.of(message.stream)

        def repeat() -> list[bytes]:
            return [topic, to_json(_repeated(message)), *blobs]

        self._data.send(topic, [topic, to_json(message), *blobs], repeat if keep else None)
        self._sent[kind] += 1

    def _send_latest(self, latest: XpubSocket, message: MasksMessage) -> None:
        topic = _latest_topic(message.stream)

        def single(message: DataMessage) -> list[bytes]:
            return [topic + to_json(message)]

        latest.send(topic, single(message), lambda: single(_repeated(message)))

    def _close(self, linger_s: float) -> None:
        for outlet in self._outlets:
            outlet.close(linger_s)
        self._bell.close()


def _latest_topic(stream: str) -> bytes:
    """With the space after it, so that it can be told from a longer name of a stream."""
    return Topic.MASKS.of(stream) + b" "


def _repeated(message: DataMessage) -> DataMessage:
    return message.model_copy(update={"repeated": True})
