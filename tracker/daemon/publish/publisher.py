"""Publisher thread: encodes what was tracked and sends it to whoever subscribes."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import zmq

from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.config.schema import DataConfig
from tracker.daemon.messages import Event, Tracked
from tracker.daemon.net.wakeup import Wakeup
from tracker.daemon.publish.encode import event_message, to_json
from tracker.daemon.publish.encoder import EncodedFrame, FrameEncoder, numbered
from tracker.daemon.publish.queue import Forget, PublishQueue
from tracker.daemon.publish.xpub import XpubSocket
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.telemetry.histogram import LatencyHistogram
from tracker.daemon.telemetry.latency import LatencyWindow
from tracker.daemon.telemetry.status import DataStatus, PublishingStatus
from tracker.protocol.data import EventMessage, EventName, Topic
from tracker.protocol.fields import PREVIEW_SIZES

_log = logging.getLogger(__name__)

_FLOOD_PAUSE_S = 0.01
_SENDING_SHARE = 0.5  # of the time to stop in


@dataclass(slots=True)
class _Channel:
    """State of one stream: the next numbers of its messages, its times, and wanted previews."""

    seq: dict[Topic, int] = field(default_factory=lambda: dict.fromkeys(Topic, 0))
    wanted: frozenset[Topic] = frozenset()
    wire: LatencyWindow = field(default_factory=LatencyWindow)
    total: LatencyHistogram = field(default_factory=LatencyHistogram)

    def number(self, topic: Topic) -> int:
        """The next number of a topic."""
        seq = self.seq[topic]
        self.seq[topic] += 1
        return seq


class Publisher:
    """Sends frames and events on the data sockets, in a thread of its own.

    Frames that are not encoded yet it encodes.

    Two sockets: `config.bind` carries all topics in several parts; `config.latest_bind` carries
    masks alone in one part, `TOPIC JSON`. Encodings with binary parts cannot be sent in one: their
    masks are sent there as RLE.

    The numbers of a topic start at 0 when a stream is first seen, or seen again after `forget`.

    Attributes:
        on_event: Called, by its thread, with each event as it is sent; must not wait.
        on_wanted: Called, by its thread, when other previews of a stream are wanted of those who
            encode its frames; must not wait.
        on_sent: Called, by its thread, with the stream, the topic and the other parts of each
            message of masks or events, repeats aside; must not wait.
    """

    def __init__(
        self,
        config: DataConfig,
        security: "Authenticator | None",
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        epoch: str = "0",
    ) -> None:
        def xpub(address: str) -> XpubSocket:
            return XpubSocket(address, security, context=context, send_hwm=config.send_hwm)

        self._tells_sources = security is None or security.tells_sources
        self._data = xpub(config.bind)
        self._latest = None if config.latest_bind is None else xpub(config.latest_bind)
        self._xpubs = [self._data] if self._latest is None else [self._data, self._latest]
        self._encoder = FrameEncoder(latest=self._latest is not None)
        self._epoch = epoch
        self._event_numbers = count()
        self.on_event: Callable[[EventMessage], None] = lambda message: None
        self.on_wanted: Callable[[str, frozenset[Topic]], None] = lambda stream, wanted: None
        self.on_sent: Callable[[str, str, Sequence[bytes]], None] = lambda stream, topic, rest: None
        self._queue = PublishQueue(frames_per_stream=config.outbox_frames)
        self._channels: dict[str, _Channel] = {}
        self._owner_epochs: dict[str, int] = {}  # of streams that have one
        self._activity = Activity()
        self._wakeup = Wakeup()
        self._stop_by_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._status = DataStatus(sent=dict.fromkeys(Topic, 0))
        self._wire = LatencyWindow()

    # --- called from any thread

    def start(self) -> None:
        """Listen and begin to send; called once.

        Raises:
            TrackdError: An address cannot be listened on.
        """
        try:
            for xpub in self._xpubs:
                xpub.bind()
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
        self._wakeup.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def endpoint(self) -> str:
        """Address that the data socket listens on."""
        return self._data.endpoint

    @property
    def latest_endpoint(self) -> str | None:
        """Address that the latest-only socket listens on; None where there is none."""
        return None if self._latest is None else self._latest.endpoint

    def own(self, stream: str, owner_epoch: int) -> None:
        """Send this epoch with what is put of a stream from now on, until it is forgotten."""
        if owner_epoch:
            self._owner_epochs[stream] = owner_epoch

    def tracked(self, tracked: Tracked | EncodedFrame) -> None:
        """Send a frame's masks, and its preview where one is due. Never waits."""
        owner_epoch = self._owner_epochs.get(tracked.stream, 0)
        self._queue.put_tracked(replace(tracked, owner_epoch=owner_epoch))
        self._wakeup.wake()

    def event(self, event: Event) -> None:
        """Send an event, before any frame that waits. Never waits."""
        owner_epoch = self._owner_epochs.get(event.stream, 0)
        self._queue.put_event(replace(event, owner_epoch=owner_epoch))
        self._wakeup.wake()

    def forget(self, stream: str) -> None:
        """Keep nothing of a removed stream; call it after its last event."""
        self._owner_epochs.pop(stream, None)
        self._queue.put_forget(stream)
        self._wakeup.wake()

    def status(self) -> DataStatus:
        """Current status; from any thread."""
        xpubs, queue = self._xpubs, self._queue
        latest = 0 if self._latest is None else self._latest.sent
        return replace(
            self._status,
            healthy=self._thread.is_alive() and all(xpub.is_open for xpub in xpubs),
            busy_s=self._activity.busy_s,
            waiting=len(queue),
            dropped={"frame": queue.dropped_frames, "event": queue.dropped_events},
            sent=self._status.sent | {"latest": latest},
            sent_bytes=sum(xpub.sent_bytes for xpub in xpubs),
            subscriptions=sum(xpub.subscriptions for xpub in xpubs),
            resets=sum(xpub.resets for xpub in xpubs),
            wire=self._wire.summary(),
        )

    def stream_status(self, stream: str) -> PublishingStatus | None:
        """Times of publishing the masks of a stream; None before its first message."""
        channel = self._channels.get(stream)
        if channel is None:
            return None
        return PublishingStatus(channel.wire.summary(), channel.total.read())

    # --- in the publisher's thread

    def _run(self) -> None:
        stop_by_s = None
        try:
            while True:
                stop_by_s = self._stop_by_s  # read first: what was put before it still leaves
                read_all = [xpub.serve() for xpub in self._xpubs]
                more = self._publish_next()
                if stop_by_s is not None and (not more or time.monotonic() >= stop_by_s):
                    return
                self._wait(0.0 if more else None, flooded=not all(read_all))
        finally:
            self._close(0.0 if stop_by_s is None else stop_by_s - time.monotonic())

    def _wait(self, timeout_s: float | None, *, flooded: bool) -> None:
        """Wait for a wake-up, a subscription, or the next repeat; after a flood, not for floods."""
        waits_s = [timeout_s, *(xpub.wait_s() for xpub in self._xpubs)]
        watched: list[tuple[zmq.Socket[bytes] | int, int]] = [(self._wakeup.fileno(), zmq.POLLIN)]
        if flooded:
            waits_s.append(_FLOOD_PAUSE_S)
        else:
            sockets = (xpub.socket for xpub in self._xpubs)
            watched += [(sock, zmq.POLLIN) for sock in sockets if sock is not None]
        known_s = [wait_s for wait_s in waits_s if wait_s is not None]
        self._activity.end()
        zmq.zmq_poll(watched, int(1000 * min(known_s) + 0.999) if known_s else -1)
        self._activity.begin()
        self._wakeup.clear()

    def _publish_next(self) -> bool:
        """Send the next of the queue; False where it was empty."""
        item = self._queue.take()
        try:
            match item:
                case None:
                    return False
                case Forget():
                    self._forget(item.stream)
                case Event():
                    self._publish_event(item)
                case Tracked():
                    wanted = self._wanted_previews(item.stream)
                    self._publish_frame(self._encoder.encode(item, wanted))
                case EncodedFrame():
                    self._publish_frame(item)
                    self._tell_wanted(item.stream)
        except Exception:
            # One frame that cannot be encoded must not end the streams of all others.
            self._status.failed += 1
            _log.exception("a message could not be published")
        return True

    def _channel(self, stream: str) -> _Channel:
        return self._channels.setdefault(stream, _Channel())

    def _forget(self, stream: str) -> None:
        self._channels.pop(stream, None)
        self._encoder.forget(stream)
        for topic in Topic:
            self._data.forget(topic.of(stream))
        if self._latest is not None:
            self._latest.forget(_latest_topic(stream))

    def _publish_event(self, event: Event) -> None:
        if event.object_id is None and not self._tells_sources:
            event = replace(event, text="")
        message = event_message(
            event,
            seq=self._channel(event.stream).number(Topic.EVENTS),
            epoch=self._epoch,
            number=next(self._event_numbers),
        )
        topic = Topic.EVENTS.of(event.stream)

        def repeat() -> list[bytes]:
            return [topic, to_json(message.model_copy(update={"repeated": True}))]

        keep = event.name.startswith("stream.") and event.name is not EventName.STREAM_REMOVED
        parts = [topic, to_json(message)]
        self._send(Topic.EVENTS, event.stream, parts, repeat if keep else None)
        self.on_event(message)

    def _publish_frame(self, frame: EncodedFrame) -> None:
        """Send a frame's masks and previews."""
        channel = self._channel(frame.stream)
        for window in (self._wire, channel.wire):
            window.add(frame.wire_s)
        channel.total.record(frame.total_s)
        seq = channel.number(Topic.MASKS)

        def masks(*, repeated: bool = False) -> list[bytes]:
            text = numbered(Topic.MASKS, frame, frame.body, seq=seq, repeated=repeated)
            return [Topic.MASKS.of(frame.stream), text, *frame.blobs]

        self._send(Topic.MASKS, frame.stream, masks(), lambda: masks(repeated=True))
        if self._latest is not None:
            self._send_latest(self._latest, frame, seq)
        for preview in frame.previews:
            number = channel.number(preview.topic)
            text = numbered(preview.topic, frame, preview.body, seq=number)
            parts = [preview.topic.of(frame.stream), text, preview.jpeg]
            self._send(preview.topic, frame.stream, parts)

    def _wanted_previews(self, stream: str) -> frozenset[Topic]:
        """Kinds of the previews of a stream that someone subscribes to.

        Those of a size are asked for by their whole topic: who takes everything asks for none.
        """
        own = [Topic.FRAMES] if self._data.wants(Topic.FRAMES.of(stream)) else []
        sizes = (Topic.frames(size) for size in PREVIEW_SIZES)
        return frozenset([*own, *(one for one in sizes if self._data.names(one.of(stream)))])

    def _tell_wanted(self, stream: str) -> None:
        """Let whoever encodes the frames of a stream know which previews are wanted."""
        wanted, channel = self._wanted_previews(stream), self._channel(stream)
        if wanted != channel.wanted:
            channel.wanted = wanted
            self.on_wanted(stream, wanted)

    def _send(
        self,
        kind: Topic,
        stream: str,
        parts: list[bytes],
        repeat: Callable[[], list[bytes]] | None = None,
    ) -> None:
        if kind in (Topic.MASKS, Topic.EVENTS):
            self.on_sent(stream, kind.of(stream).decode(), parts[1:])
        self._data.send(kind.of(stream), parts, repeat)
        self._status.sent[kind] += 1

    def _send_latest(self, latest: XpubSocket, frame: EncodedFrame, seq: int) -> None:
        topic = _latest_topic(frame.stream)
        body = frame.body if frame.latest is None else frame.latest

        def single(*, repeated: bool = False) -> list[bytes]:
            return [topic + numbered(Topic.MASKS, frame, body, seq=seq, repeated=repeated)]

        latest.send(topic, single(), lambda: single(repeated=True))

    def _close(self, linger_s: float) -> None:
        for xpub in self._xpubs:
            xpub.close(linger_s)
        self._wakeup.close()


def _latest_topic(stream: str) -> bytes:
    """With the space after it, so that it can be told from a longer name of a stream."""
    return Topic.MASKS.of(stream) + b" "
