"""Shows that the daemon neither grows nor starves anyone: `python -m tools.bench.live CLIP`.

Two cameras (GStreamer's RTSP server) and a file in real time, an object prompted on each, and eight
subscribers in processes of their own, of which two never read. What counts: the daemon's resident
memory after a warm-up, in which the history fills and the libraries fill their caches, and at the
end; and what each subscriber received.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from tools.rtsp_camera import RtspCamera
from tools.serving import Daemon, resident_mb
from tracker.client import Client
from tracker.protocol.replies import StreamInfo

RESULT = Path(__file__).parent / "results" / "live.md"
STREAMS = ("camera-1", "camera-2", "file")
READERS, SLEEPERS = 6, 2
SAMPLES = 60

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


def main() -> int:
    """Run, write the result, print it, and return 1 where memory grew or somebody starved."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.live", description=__doc__)
    parser.add_argument("clip", type=Path, help="H.264 in MP4")
    parser.add_argument("--minutes", type=float, default=10.0, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes")
    parser.add_argument("--box", default="0.3,0.2,0.6,0.8", help="of the objects, 0..1")
    parser.add_argument("--within-mb", type=float, default=20.0, help="allowed growth")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with ExitStack() as stack:
        run = Run(stack, args)
        samples = run.sample()
        received = run.received()
        with run.daemon.client() as client:
            streams = client.streams()
    args.out.write_text(_markdown(args, samples, received, streams))
    print(args.out.read_text())
    grown_mb = samples[-1].resident_mb - _warm(args, samples).resident_mb
    starved = any(one["received"] == 0 for one in received)
    return int(grown_mb > args.within_mb or starved)


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of the daemon, at a time since the start."""

    at_s: float
    resident_mb: float


class Run:
    """Everything in its own process; all of it ends with `stack`."""

    def __init__(self, stack: ExitStack, args: argparse.Namespace) -> None:
        self._seconds = 60 * (args.warm_up + args.minutes)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cameras = [stack.enter_context(RtspCamera(args.clip)) for _ in range(2)]
        self.daemon = stack.enter_context(Daemon(folder, {"state": {"dir": "state"}}))
        with self.daemon.client() as client:
            for name, camera in zip(STREAMS, cameras, strict=False):
                client.add_stream(name, camera.url)
            client.add_stream("file", str(args.clip.resolve()), realtime=True, loop=True)
            for name in STREAMS:
                _prompt(client, name, args.box)
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
            samples.append(Sample(at_s, resident_mb(self.daemon.process.pid)))
            print(samples[-1], file=sys.stderr, flush=True)
        return samples

    def received(self) -> list[dict[str, object]]:
        """What each subscriber says at its end."""
        return [json.loads(reader.communicate(timeout=60)[0]) for reader in self._readers]


def _prompt(client: Client, stream: str, box: str) -> None:
    with client.results(stream) as results:
        if results.receive(60) is None:
            raise SystemExit(f"{stream} gave no frame within a minute")
    x0, y0, x1, y1 = (float(edge) for edge in box.split(","))
    client.prompt(stream, box=(x0, y0, x1, y1), normalized=True)


def _warm(args: argparse.Namespace, samples: list[Sample]) -> Sample:
    """The first sample after the warm-up."""
    return next(sample for sample in samples if sample.at_s >= 60 * args.warm_up)


def _markdown(
    args: argparse.Namespace,
    samples: list[Sample],
    received: list[dict[str, object]],
    streams: list[StreamInfo],
) -> str:
    early, late = _warm(args, samples), samples[-1]
    lines = [
        "# Two cameras, a file, eight subscribers",
        "",
        f"`python -m tools.bench.live {args.clip.name} --minutes {args.minutes:g} "
        f"--warm-up {args.warm_up:g}`",
        "",
        f"pico, one object on each of three streams, {os.cpu_count()} CPUs shared by cameras, "
        f"daemon and subscribers, torch {torch.__version__}; {SLEEPERS} more subscribers took all "
        "topics and never read.",
        "",
        f"Resident memory of the daemon after {early.at_s:.0f} s {early.resident_mb:.1f} MiB, "
        f"after {late.at_s:.0f} s {late.resident_mb:.1f} MiB: "
        f"{late.resident_mb - early.resident_mb:+.1f} MiB, allowed {args.within_mb:g}; highest "
        f"{max(sample.resident_mb for sample in samples):.1f} MiB.",
        "",
        "| after, s | " + " | ".join(f"{sample.at_s:.0f}" for sample in samples[5::6]) + " |",
        "|---|" + "---:|" * len(samples[5::6]),
        "| MiB | " + " | ".join(f"{sample.resident_mb:.0f}" for sample in samples[5::6]) + " |",
        "",
        "| stream | frames | tracked | dropped | frames tracked per second |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {s.stream} | {s.frames} | {s.tracked} | {s.dropped} | {s.tracked / late.at_s:.1f} |"
        for s in streams
    ]
    lines += ["", "| subscriber of | received | lost | longest wait, s |", "|---|---:|---:|---:|"]
    lines += [
        f"| {one['stream']} | {one['received']} | {one['lost']} | {one['longest_s']} |"
        for one in received
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
