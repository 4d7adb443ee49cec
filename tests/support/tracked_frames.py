"""Tracked frames with made masks, and a publisher that runs on free ports."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import zmq
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.daemon.access.authenticator import Authenticator
from tracker.daemon.config.schema import DataConfig
from tracker.daemon.messages import Event, LiveFrame, Tracked
from tracker.daemon.publish.publisher import Publisher
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult

HEIGHT, WIDTH = 48, 64
DEADLINE_S = 20.0


def disc(x: int, y: int, radius: int = 6, height: int = HEIGHT, width: int = WIDTH):
    """A round mask [H, W]."""
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def box_of(mask_hw: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    y, x = np.nonzero(mask_hw)
    if not len(y):
        return None
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def found(
    object_id: int,
    mask_hw: NDArray[np.bool_],
    *,
    label: str | None = "cup",
    state: ObjectState = ObjectState.VISIBLE,
    score: float = 0.9,
    identity: float | None = None,
) -> ObjectResult:
    box = box_of(mask_hw)
    return ObjectResult(object_id, label, state, score, 0.8, box, mask_hw, identity=identity)


def tracked(
    seq: int = 0,
    objects: tuple[ObjectResult, ...] | None = None,
    *,
    stream: str = "cam1",
    dropped: int = 0,
    image: NDArray[np.uint8] | None = None,
    tracked_s: float | None = None,
    **settings: object,
) -> Tracked:
    """A frame on its way out; without `objects` it shows a disc that moves with `seq`."""
    if objects is None:
        objects = (found(1, disc(10 + seq % 40, 20)),)
    if image is None:
        image = np.zeros((*objects[0].mask_hw.shape, 3), np.uint8)
    tracked_s = time.monotonic() if tracked_s is None else tracked_s
    frame = Frame(stream, seq, 3000 * seq, Fraction(1, 90000), 10**18 + seq, image)
    return Tracked(
        live=LiveFrame(frame, None, 0.004, tracked_s - 0.050, tracked_s - 0.040),
        result=TrackResult(seq, objects, StageTimes(0.020, 0.007)),
        settings=StreamSettings.model_validate({"url": "lavfi:testsrc2", **settings}),
        dropped=dropped,
        begun_s=tracked_s - 0.030,
        tracked_s=tracked_s,
    )


def event(name: EventName = EventName.STREAM_RUNNING, stream: str = "cam1", **more) -> Event:
    return Event(stream, name, at_ns=10**18, **more)


@contextmanager
def publishing(*, security: Authenticator | None = None, **config: object) -> Iterator[Publisher]:
    """A publisher that listens on ports of the system's choice."""
    free = {"bind": "tcp://127.0.0.1:0", "latest_bind": "tcp://127.0.0.1:0"}
    with zmq.Context() as context:
        if security is not None:
            security.start(context)
        settings = DataConfig.model_validate(free | config)
        publisher = Publisher(settings, security, context=context)
        publisher.start()
        try:
            yield publisher
        finally:
            publisher.stop(2)
            if security is not None:
                security.stop()


@contextmanager
def subscriber(endpoint: str, *topics: str) -> Iterator[zmq.Socket[bytes]]:
    """A socket that fails a test rather than wait for ever."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.rcvtimeo = round(1000 * DEADLINE_S)
        socket.connect(endpoint)
        for topic in topics:
            socket.subscribe(topic)
        yield socket


def wait_until(condition) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "never came true"
        time.sleep(0.01)
