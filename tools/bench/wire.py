"""Cost of sending: masks to bytes and back in every encoding, and more subscribers.

The masks are those of objects that were tracked in the clip. Run lengths are compared with those
of pycocotools, which reads the whole frame where ours reads the object's box. A subscriber's ms are
those from handing a tracked frame to the publisher until the last of the subscribers, which share a
process, has read the message.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import zmq
from pycocotools import mask as coco_mask

from streams.frame import Frame
from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Images, find_clip, first_frames, square_masks
from tools.bench.models import load
from tools.bench.record import Contender, Fact, Footage, Run, Series
from tools.bench.turns import Rounds, take_turns
from tracker.daemon.config.schema import DataConfig
from tracker.daemon.messages import LiveFrame, Tracked
from tracker.daemon.publish.encode import encode_objects, masks_message, to_json
from tracker.daemon.publish.publisher import Publisher
from tracker.engine import Policy, Session
from tracker.errors import TrackdError
from tracker.protocol.data import MasksMessage
from tracker.protocol.fields import Encoding, StreamSettings
from tracker.protocol.masks import masks_of
from tracker.rle import encode_rle_in_box
from tracker.types import ObjectResult, Prompt, TrackResult

HELP = "ms and bytes of every encoding, pycocotools beside ours, and more subscribers"
QUICK = {
    **{"model": "pico@128", "objects": (1, 2), "subscribers": (1, 2)},
    **{"rounds": 2, "frames": 3, "warm_up": 2},
}
OURS, THEIRS = "ours", "pycocotools"
_TRACKED_FRAMES = 4
_PACE_S = 0.02
_PATIENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser)
    common.add_rounds(parser, rounds=5, frames=20, warm_up=3, what="messages")
    parser.add_argument("--objects", type=common.wholes, default=(1, 8))
    parser.add_argument("--subscribers", type=common.wholes, default=(1, 4, 16))


def measure(options: argparse.Namespace) -> Run:
    """Encode, decode and publish.

    Raises:
        UsageError: Something of what was asked for is not to be had.
        TrackdError: The subscribers did not hear everything.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    frames_nhwc = first_frames(clip, 1 + _TRACKED_FRAMES, options.size)
    _, height, width, _ = frames_nhwc.shape
    series: list[Series] = []
    facts: list[Fact] = []
    for count in options.objects:
        tracked = _tracked(frames_nhwc, count, options)
        works = _encoding_and_decoding(tracked, facts, count)
        works["run lengths"] = _run_lengths(tracked.result.objects)
        for what, work in works.items():
            case: dict[str, int | str] = {"does": what, "objects": count}
            series += _series(take_turns(work, **_turns(options)), case)
    for count in options.subscribers:
        rounds = _publish(tracked, count, options)
        series.append(Series(name="publish", case={"subscribers": count}, unit="ms", rounds=rounds))
    return conditions.run(
        suite="wire",
        setting=f"{width}x{height}",
        footage=Footage(clip=clip.name, width=width, height=height, decoding_timed=False),
        warm_up=options.warm_up,
        contenders=(
            Contender(name=OURS, how="`encode_rle_in_box`"),
            Contender(name=THEIRS, how="`mask.encode` of the whole frame in Fortran order"),
        ),
        series=tuple(series),
        facts=tuple(facts),
    )


def _turns(options: argparse.Namespace) -> dict[str, int]:
    return {"rounds": options.rounds, "each": options.frames, "warm_up": options.warm_up}


def _series(times: dict[str, Rounds], case: dict[str, int | str]) -> list[Series]:
    return [Series(name=n, case=case, unit="ms", rounds=r) for n, r in times.items()]


def _tracked(frames_nhwc: Images, count: int, options: argparse.Namespace) -> Tracked:
    """A frame with so many objects on it, as the publisher is given it."""
    model, _ = load(options.model, options.device, options.dtype)
    session = Session(model, replace(Policy(), max_objects=count))
    session.step(frames_nhwc[0])
    for number, mask_hw in enumerate(square_masks(count, *frames_nhwc.shape[1:3]), start=1):
        session.prompt(Prompt(number, mask_hw=mask_hw))
    for image_hwc in frames_nhwc[1:]:
        result = session.step(image_hwc)
    return _as_tracked(frames_nhwc[-1], result)


def _as_tracked(image_hwc: Images, result: TrackResult) -> Tracked:
    now_s = time.monotonic()
    frame = Frame("bench", 0, None, None, time.time_ns(), image_hwc)
    live = LiveFrame(frame, None, 0.0, now_s, now_s)
    return Tracked(live, result, StreamSettings(url="bench"), 0, now_s, now_s)


def _encoding_and_decoding(
    tracked: Tracked, facts: list[Fact], count: int
) -> dict[str, dict[str, Callable[[], object]]]:
    """The work of either direction by encoding; the sizes of the messages become facts."""
    works: dict[str, dict[str, Callable[[], object]]] = {"encode": {}, "decode": {}}
    for encoding in get_args(Encoding):
        parts = _parts(tracked, encoding)
        works["encode"][encoding] = partial(_parts, tracked, encoding)
        works["decode"][encoding] = partial(_masks, parts)
        case: dict[str, int | str] = {"objects": count}
        size = sum(len(part) for part in parts)
        facts.append(Fact(name=f"message as {encoding}", case=case, unit="bytes", value=size))
    return works


def _parts(tracked: Tracked, encoding: Encoding) -> list[bytes]:
    height, width = tracked.live.frame.image.shape[:2]
    encoded = encode_objects(tracked.result.objects, encoding, height, width)
    message = masks_message(tracked, encoded, seq=0, encoded_s=tracked.tracked_s)
    return [b"masks.bench", to_json(message), *encoded.blobs]


def _masks(parts: Sequence[bytes]) -> object:
    return masks_of(MasksMessage.model_validate_json(parts[1]), parts)


def _run_lengths(objects: Sequence[ObjectResult]) -> dict[str, Callable[[], object]]:
    shown = [(item.mask_hw, item.box_xyxy) for item in objects if item.box_xyxy is not None]
    return {
        OURS: lambda: [encode_rle_in_box(mask_hw, box) for mask_hw, box in shown],
        THEIRS: lambda: [
            coco_mask.encode(np.asfortranarray(mask_hw, dtype=np.uint8)) for mask_hw, _ in shown
        ],
    }


def _publish(tracked: Tracked, subscribers: int, options: argparse.Namespace) -> Rounds:
    """Ages of the messages at the last of the subscribers."""
    count = options.rounds * options.frames
    with _publishing() as publisher:
        command = ["-m", "tools.bench.subscriber", publisher.endpoint, str(subscribers)]
        listening = subprocess.Popen(
            [sys.executable, *command, str(count)], stdout=subprocess.PIPE, text=True
        )
        try:
            return _spoken(publisher, listening, tracked, options)
        finally:
            listening.kill()
            listening.communicate()


def _spoken(
    publisher: Publisher,
    listening: "subprocess.Popen[str]",
    tracked: Tracked,
    options: argparse.Namespace,
) -> Rounds:
    assert listening.stdout is not None
    image_hwc, result = tracked.live.frame.image, tracked.result
    publisher.tracked(tracked)  # kept for those who come late
    if listening.stdout.readline() != "ready\n":
        raise TrackdError("the subscribers ended before they heard anything")
    for _ in range(options.rounds * options.frames):
        time.sleep(_PACE_S)
        publisher.tracked(_as_tracked(image_hwc, result))
    try:
        text, _ = listening.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired as err:
        raise TrackdError("the subscribers did not hear every message") from err
    ages_ms = json.loads(text)
    starts = range(0, len(ages_ms), options.frames)
    return tuple(tuple(ages_ms[start : start + options.frames]) for start in starts)


@contextmanager
def _publishing() -> Iterator[Publisher]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    config = DataConfig(bind="tcp://127.0.0.1:*", latest_bind=None)
    publisher = Publisher(config, None, context=context)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop(1.0)
        context.term()
