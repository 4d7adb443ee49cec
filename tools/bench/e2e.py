"""Measures how old a mask is when a subscriber has it: `python -m tools.bench.e2e CLIP`.

A camera (GStreamer's RTSP server) plays a clip in real time, `trackd serve` tracks one object in
it, and this process subscribes. Camera, daemon and subscriber share this machine and its clock, so
their times can be subtracted. What is told: the age of the picture when the subscriber has the
mask, counted from the arrival of its packet and, where RTCP gives it, from the camera's own stamp;
and what that time was spent on.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from streams.source import open_source
from tools.rtsp_camera import RtspCamera
from tools.serving import Daemon
from tracker.client import Client, Result
from tracker.protocol.data import Timings

RESULT = Path(__file__).parent / "results" / "e2e.md"
STAGES = tuple(Timings.model_fields)


def main() -> int:
    """Measure, write the table and print it."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.e2e", description=__doc__)
    parser.add_argument("clip", type=Path, help="H.264 in MP4")
    parser.add_argument("--box", default="0.3,0.2,0.6,0.8", help="of the object, 0..1")
    parser.add_argument("--frames", type=int, default=300, help="results that are counted")
    parser.add_argument("--warm-up", type=int, default=30, help="results before them")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        RtspCamera(args.clip) as camera,
        Daemon(Path(folder)) as daemon,
        daemon.client() as client,
    ):
        client.add_stream("camera", camera.url)
        _prompt(client, tuple(float(edge) for edge in args.box.split(",")))
        received = _receive(client, args.warm_up, args.frames)
        (info,) = client.streams()
    with open_source(str(args.clip)) as source:
        fps = source.info.fps or Fraction(0)
    size = f"{info.width}x{info.height}"
    args.out.write_text(_markdown(received, f"{size}, {float(fps):.2f} frames per second", args))
    print(args.out.read_text())
    return 0


@dataclass(frozen=True, slots=True)
class Received:
    """A result and the wall clock when it came, in ns."""

    result: Result
    at_ns: int


def _prompt(client: Client, box: tuple[float, ...]) -> None:
    with client.results("camera") as results:
        first = results.receive(60)
    if first is None:
        raise SystemExit("the camera gave no frame within a minute")
    x0, y0, x1, y1 = box
    client.prompt("camera", box=(x0, y0, x1, y1), normalized=True)


def _receive(client: Client, warm_up: int, frames: int) -> list[Received]:
    received: list[Received] = []
    with client.results("camera") as results:
        while len(received) < warm_up + frames:
            result = results.receive(30)
            if result is None:
                raise SystemExit("no result within 30 s")
            received.append(Received(result, time.time_ns()))
    return received[warm_up:]


def _markdown(received: list[Received], camera: str, args: argparse.Namespace) -> str:
    messages = [one.result.message for one in received]
    rows = [(name, [getattr(m.timings, name) for m in messages]) for name in STAGES]
    arrival = [(one.at_ns - one.result.message.frame.captured_ns) / 1e6 for one in received]
    rows.append(("from arrival to the subscriber", arrival))
    stamped = [one for one in received if one.result.message.frame.sender_ns is not None]
    if stamped:
        ages = [(one.at_ns - (one.result.message.frame.sender_ns or 0)) / 1e6 for one in stamped]
        rows.append(("from the camera's stamp to the subscriber", ages))
    seconds = (received[-1].at_ns - received[0].at_ns) / 1e9
    dropped = sum(message.dropped for message in messages)
    lines = [
        "# From the camera to the subscriber",
        "",
        f"`python -m tools.bench.e2e {args.clip.name} --frames {args.frames}`",
        "",
        f"RTSP over TCP on this machine, {camera}; pico, one object, {os.cpu_count()} CPUs shared "
        f"by camera, daemon and subscriber, torch {torch.__version__}. "
        f"{len(received) / seconds:.1f} results per second; {dropped} frames were dropped because "
        f"a newer one was there, {len(received)} tracked.",
        "",
        "| ms | p50 | p95 | p99 |",
        "|---|---:|---:|---:|",
    ]
    for name, values in rows:
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {p99:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
