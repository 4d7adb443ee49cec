"""The daemon neither grows nor starves anyone: two cameras, a file, eight subscribers.

The cameras are GStreamer's RTSP servers, the file is played in real time, an object is prompted on
each. Six subscribers, in processes of their own, read; two never do. What counts: the daemon's
resident memory after a warm-up, in which the history fills and the libraries fill their caches, and
at the end; and what each subscriber received.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench import options as common
from tools.bench.conditions import Conditions, conditions_of
from tools.bench.footage import find_clip, frames_of
from tools.bench.memory import resident_mib
from tools.bench.record import Case, Fact, Footage, Run
from tools.rtsp_camera import RtspCamera
from tools.serving import Daemon
from tracker.client import Client
from tracker.errors import TrackdError
from tracker.protocol.replies import StreamInfo

HELP = "two cameras, a file and eight subscribers: memory, and who starves (13 minutes)"
QUICK = {"minutes": 0.2, "warm_up": 0.1, "within_mib": 1000.0}
STREAMS = ("camera-1", "camera-2", "file")
READERS, SLEEPERS = 6, 2
SAMPLES = 60
NORMALIZED_BOX = (0.3, 0.2, 0.6, 0.8)
_PATIENCE_S = 60.0

_READER = """
import json, sys, time
from tracker.client import Client
data, stream, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
until = time.monotonic() + seconds
count = longest = 0
last = time.monotonic()
with Client(data=data) as client, client.results(stream) as results:
    while time.monotonic() < until:
        if results.receive(1.0) is None:
            continue
        longest = max(longest, time.monotonic() - last)
        last = time.monotonic()
        count += 1
    print(json.dumps({"stream": stream, "received": count, "lost": results.lost,
                      "longest_s": round(longest, 2)}))
"""
_SLEEPER = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1])
socket.subscribe("")
time.sleep(float(sys.argv[3]))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_clip(parser, scaled=False)
    parser.add_argument("--minutes", type=float, default=10.0, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes")
    parser.add_argument("--within-mib", type=float, default=20.0, help="allowed growth")
    parser.set_defaults(model="pico", device="cpu", dtype="auto")


def measure(options: argparse.Namespace) -> Run:
    """Let it all run.

    Raises:
        TrackdError: A camera cannot be played, or gives no frame.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    with ExitStack() as stack:
        scene = Scene(stack, clip, 60 * (options.warm_up + options.minutes))
        samples = scene.sample()
        received = scene.received()
        with scene.daemon.client() as client:
            streams = client.streams()
    return _run(conditions, options, clip, samples, received, streams)


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of the daemon, at a time since the start."""

    at_s: float
    resident_mib: float


class Scene:
    """Everything in its own process; all of it ends with `stack`."""

    def __init__(self, stack: ExitStack, clip: Path, seconds: float) -> None:
        self._seconds = seconds
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cameras = [stack.enter_context(RtspCamera(clip)) for _ in range(2)]
        self.daemon = stack.enter_context(Daemon(folder, {"state": {"dir": "state"}}))
        with self.daemon.client() as client:
            for name, camera in zip(STREAMS, cameras, strict=False):
                client.add_stream(name, camera.url)
            client.add_stream("file", str(clip.resolve()), realtime=True, loop=True)
            for name in STREAMS:
                _prompt(client, name)
        data = self.daemon.config["data"]["bind"]
        self._readers = [
            self._subscriber(stack, _READER, data, STREAMS[i % len(STREAMS)])
            for i in range(READERS)
        ]
        for _ in range(SLEEPERS):
            self._subscriber(stack, _SLEEPER, data, "")

    def _subscriber(
        self, stack: ExitStack, program: str, data: str, stream: str
    ) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", program, data, stream, str(self._seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(process.kill)
        return process

    def sample(self) -> list[Sample]:
        """Watch the daemon's memory until the subscribers end."""
        samples = []
        begun_s = time.monotonic()
        for index in range(1, SAMPLES + 1):
            time.sleep(max(0.0, begun_s + index * self._seconds / SAMPLES - time.monotonic()))
            at_s = time.monotonic() - begun_s
            samples.append(Sample(at_s, resident_mib(self.daemon.process.pid)))
            print(samples[-1], file=sys.stderr, flush=True)
        return samples

    def received(self) -> list[dict[str, Any]]:
        """Report of each subscriber at its end."""
        return [json.loads(reader.communicate(timeout=60)[0]) for reader in self._readers]


def _prompt(client: Client, stream: str) -> None:
    with client.results(stream) as results:
        if results.receive(_PATIENCE_S) is None:
            raise TrackdError(f"{stream} gave no frame within {_PATIENCE_S:g} s")
    client.prompt(stream, box=NORMALIZED_BOX, normalized=True)


def _run(
    conditions: Conditions,
    options: argparse.Namespace,
    clip: Path,
    samples: Sequence[Sample],
    received: Sequence[dict[str, Any]],
    streams: Sequence[StreamInfo],
) -> Run:
    warm = next(sample for sample in samples if sample.at_s >= 60 * options.warm_up)
    grown_mib = samples[-1].resident_mib - warm.resident_mib
    starved = [str(one["stream"]) for one in received if one["received"] == 0]
    failures = [f"the daemon grew by {grown_mib:.1f} MiB"] * (grown_mib > options.within_mib)
    failures += [f"a subscriber of {stream} received nothing" for stream in starved]
    height, width, _ = next(frames_of(clip, None)).shape
    return conditions.run(
        suite="live",
        setting="two cameras, a file, eight subscribers",
        footage=Footage(clip=clip.name, width=width, height=height, decoding_timed=True),
        facts=(
            Fact(name="growth after the warm-up", unit="MiB", value=round(grown_mib, 1)),
            Fact(name="allowed growth", unit="MiB", value=options.within_mib),
            *_memory(samples),
            *_subscribers(received),
            *_streams(streams, samples[-1].at_s),
        ),
        notes=(f"{SLEEPERS} more subscribers took all topics and never read.",),
        failure="; ".join(failures),
    )


def _memory(samples: Sequence[Sample]) -> list[Fact]:
    """Every sixth sample."""
    return [
        Fact(
            name="resident memory of the daemon",
            case={"after s": round(sample.at_s)},
            unit="MiB",
            value=round(sample.resident_mib, 1),
        )
        for sample in samples[5::6]
    ]


def _subscribers(received: Sequence[dict[str, Any]]) -> list[Fact]:
    facts = []
    for number, one in enumerate(received, start=1):
        case: Case = {"subscriber": number, "of": str(one["stream"])}
        facts += [
            Fact(name="received", case=case, unit="messages", value=one["received"]),
            Fact(name="lost", case=case, unit="messages", value=one["lost"]),
            Fact(name="longest wait", case=case, unit="s", value=one["longest_s"]),
        ]
    return facts


def _streams(streams: Sequence[StreamInfo], seconds: float) -> list[Fact]:
    facts = []
    for one in streams:
        case: Case = {"stream": one.stream}
        rate = round(one.tracked / seconds, 2)
        facts += [
            Fact(name="frames", case=case, unit="frames", value=one.frames),
            Fact(name="tracked", case=case, unit="frames", value=one.tracked),
            Fact(name="dropped", case=case, unit="frames", value=one.dropped),
            Fact(name="tracked a second", case=case, unit="frames/s", value=rate),
        ]
    return facts
