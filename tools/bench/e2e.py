"""The daemon as a whole: `trackd serve` in a process of its own, and a subscriber.

`--mode file`: a file is decoded, its objects tracked and their masks published as RLE, as fast as
it goes, nothing drawn; ms from one result to the next at the subscriber. `--mode camera`: a camera
(GStreamer's RTSP server) plays the clip in real time; how old the picture is when the subscriber
has its mask, from the arrival of its packet and, where RTCP gives it, from the camera's own stamp.
All of them share this machine and its clock, so their times can be subtracted.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, square_masks, write_scaled
from tools.bench.models import daemon_model
from tools.bench.record import UNTIL_READY, Case, Fact, Footage, Run, Series
from tools.bench.turns import Rounds
from tools.rtsp_camera import RtspCamera
from tools.serving import Daemon
from tracker.client import Client, Result
from tracker.errors import TrackdError
from tracker.protocol.data import Timings
from tracker.protocol.replies import StreamInfo

HELP = "frames per second of a file, or the age of a camera's mask, through the daemon"
QUICK = {
    **{"model": "pico@128", "mode": "file", "objects": (1,), "size": Size(320, 180)},
    **{"rounds": 2, "frames": 5, "warm_up": 3},
}
STAGES = tuple(Timings.model_fields)
PATIENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(854, 480))
    common.add_rounds(parser, rounds=5, frames=40, warm_up=30, what="results")
    parser.add_argument("--mode", choices=["file", "camera"], default="file")
    parser.add_argument("--objects", type=common.wholes, default=(1, 8))


def measure(options: argparse.Namespace) -> Run:
    """Serve, subscribe and count.

    Raises:
        UsageError: Something of what was asked for is not to be had.
        TrackdError: Nothing came within a minute.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        model = daemon_model(options.model, options.device, conditions.dtype)
        daemon = stack.enter_context(Daemon(folder, {"model": model}))
        ready_s = round(daemon.ready_s, 2)
        client = stack.enter_context(daemon.client())
        watched = [_watch(stack, client, folder, count, options) for count in options.objects]
    return conditions.run(
        suite="e2e",
        setting=f"{options.model} {conditions.dtype}, a {options.mode} of "
        f"{size.width}x{size.height}",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        warm_up=options.warm_up,
        series=tuple(series for one in watched for series in one.series(options)),
        facts=(
            Fact(name=UNTIL_READY, unit="s", value=ready_s),
            *(fact for one in watched for fact in one.facts()),
        ),
    )


@dataclass(frozen=True, slots=True)
class Received:
    """A result and the wall clock when it came, in ns."""

    result: Result
    at_ns: int


@dataclass(frozen=True, slots=True)
class Watched:
    """Results received for so many objects, and the stream's state in the end."""

    objects: int
    received: Sequence[Received]
    stream: StreamInfo

    def series(self, options: argparse.Namespace) -> list[Series]:
        """Ages and times of the results, by what they were spent on."""
        counted = self.received[options.warm_up :]
        messages = [one.result.message for one in counted]
        samples = {name: [getattr(m.timings, name) for m in messages] for name in STAGES}
        if options.mode == "file":
            before = self.received[options.warm_up - 1 : -1]
            gaps = [b.at_ns - a.at_ns for a, b in zip(before, counted, strict=True)]
            samples["frame to frame"] = [gap / 1e6 for gap in gaps]
        else:
            samples["from arrival to the subscriber"] = [
                (one.at_ns - one.result.message.frame.captured_ns) / 1e6 for one in counted
            ]
            stamped = [one for one in counted if one.result.message.frame.sender_ns is not None]
            if len(stamped) == len(counted):
                samples["from the camera's stamp to the subscriber"] = [
                    (one.at_ns - (one.result.message.frame.sender_ns or 0)) / 1e6 for one in stamped
                ]
        case: Case = {"objects": self.objects}
        return [
            Series(name=name, case=case, unit="ms", rounds=_rounds(values, options.frames))
            for name, values in samples.items()
        ]

    def facts(self) -> list[Fact]:
        """Facts: objects in sight, and frames lost on the way."""
        case: Case = {"objects": self.objects}
        last = self.received[-1].result.message
        shown = sum(item.box is not None for item in last.objects)
        dropped = sum(one.result.message.dropped for one in self.received)
        return [
            Fact(name="objects in sight at the end", case=case, unit="objects", value=shown),
            Fact(name="frames dropped for newer ones", case=case, unit="frames", value=dropped),
            Fact(name="frames tracked", case=case, unit="frames", value=self.stream.tracked),
        ]


def _rounds(values: Sequence[float], each: int) -> Rounds:
    rounded = [round(value, 3) for value in values]
    return tuple(tuple(rounded[at : at + each]) for at in range(0, len(rounded), each))


def _watch(
    stack: ExitStack, client: Client, folder: Path, count: int, options: argparse.Namespace
) -> Watched:
    """Add a stream, prompt on it, and take its results."""
    name = f"{options.mode}-{count}"
    clip = folder / "clip.mp4"
    with ExitStack() as until_watched:
        if options.mode == "camera":
            camera = until_watched.enter_context(RtspCamera(clip))
            client.add_stream(name, camera.url)
        else:
            client.add_stream(name, str(clip), loop=True)
        _prompt(client, name, count, options.size)
        received = _receive(client, name, count, options.warm_up + options.rounds * options.frames)
        (stream,) = client.streams()
        client.remove_stream(name)
    return Watched(count, received, stream)


def _prompt(client: Client, stream: str, count: int, size: Size) -> None:
    """Box as many objects as squares on a grid."""
    with client.results(stream) as results:
        if results.receive(PATIENCE_S) is None:
            raise TrackdError(f"{stream} gave no frame within {PATIENCE_S:g} s")
    for mask_hw in square_masks(count, size.height, size.width):
        (top, bottom), (left, right) = (_ends(mask_hw.any(axis=axis)) for axis in (1, 0))
        client.prompt(stream, box=(left, top, right, bottom))


def _ends(inside: Any) -> tuple[float, float]:
    at = inside.nonzero()[0]
    return float(at[0]), float(at[-1] + 1)


def _receive(client: Client, stream: str, objects: int, count: int) -> list[Received]:
    """Results with all the objects."""
    received: list[Received] = []
    with client.results(stream) as results:
        while len(received) < count:
            result = results.receive(PATIENCE_S)
            if result is None:
                raise TrackdError(f"{stream} gave no result within {PATIENCE_S:g} s")
            if len(result.message.objects) == objects and not result.message.repeated:
                received.append(Received(result, time.time_ns()))
    return received
