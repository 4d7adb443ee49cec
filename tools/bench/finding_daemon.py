"""A finder beside tracking: results per second without one, with motion, and with a slow one.

One daemon has the clip three times, a file that is played as fast as it is tracked, with an object
each and a finder whose proposals are one too many, so that all track the same. All but one are
paused while it is measured, in turns. The slow finder sleeps for two seconds at each picture.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.models import daemon_model
from tools.bench.record import Fact, Footage, Run, Series
from tools.serving import Daemon
from tracker.client import Client
from tracker.errors import TrackdError
from tracker.protocol.fields import FindSettings

HELP = "results per second of a stream without a finder, with motion, and with a slow finder"
QUICK = {"model": "pico@128", "size": Size(320, 180), "rounds": 1, "seconds": 1.0, "settle": 0.5}
OFF, MOTION, SLOW = "no finder", "motion", "a finder that sleeps for 2 s"
_FINDERS: dict[str, dict[str, Any]] = {
    OFF: {},
    MOTION: {"find": FindSettings(finder="motion", max_objects=1)},
    SLOW: {"find": FindSettings(finder="sleeper", max_objects=1, every_frames=1)},
}
_STREAMS = {OFF: "off", MOTION: "motion", SLOW: "slow"}
_BOX = (0.3, 0.2, 0.6, 0.8)
_READY_S = 120.0
_SLEEPER = """\
import time
from tracker.finders.base import FinderSpec

class Sleeper:
    def find(self, image_hwc, phrases):
        time.sleep(2)
        return []

SLEEPER = FinderSpec("sleeper", "sleeps", lambda model, settings: Sleeper(), needs_model=False)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(640, 360))
    parser.add_argument("--rounds", type=common.whole, default=5, help="turns of each, A B C A B C")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted in a turn")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds before each turn")


def measure(options: argparse.Namespace) -> Run:
    """Serve the clip three times.

    Raises:
        TrackdError: A stream does not run within two minutes.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    rates: dict[str, list[float]] = {kind: [] for kind in _FINDERS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        config = {"model": daemon_model(options.model, options.device, conditions.dtype)}
        environment = {"PYTHONPATH": _with_sleeper(folder / "package")}
        with Daemon(folder / "daemon", config, environment) as daemon, daemon.client() as client:
            for kind, find in _FINDERS.items():
                _add(client, _STREAMS[kind], folder / "clip.mp4", find)
            for _ in range(options.rounds):
                for kind in rates:
                    rates[kind].append(_rate(client, _STREAMS[kind], options))
            searches = {one.stream: one.finding for one in client.streams()}
    return conditions.run(
        suite="finding-daemon",
        setting=f"{options.model} {conditions.dtype}, {size.width}x{size.height}, one object; "
        f"load average {os.getloadavg()[0]:.1f} at the end",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        series=tuple(
            Series(
                name=f"results per second, {kind}",
                unit="1/s",
                rounds=tuple((round(rate, 2),) for rate in found),
            )
            for kind, found in rates.items()
        ),
        facts=tuple(_facts(rates, searches)),
    )


def _facts(rates: dict[str, list[float]], searches: dict[str, Any]) -> Iterator[Fact]:
    """Medians over the rounds of results by those without a finder in the same round."""
    for kind in (MOTION, SLOW):
        pairs = zip(rates[kind], rates[OFF], strict=True)
        ratio = median(some / max(none, 0.01) for some, none in pairs)
        yield Fact(name=f"results by those of no finder, {kind}", unit="", value=round(ratio, 3))
        finding = searches[_STREAMS[kind]]
        yield Fact(name=f"searches, {kind}", unit="", value=finding.searches)
        median_ms = round(1000 * finding.median_s, 1)
        yield Fact(name=f"search, p50, {kind}", unit="ms", value=median_ms)


def _with_sleeper(folder: Path) -> str:
    """PYTHONPATH with a package that brings the slow finder."""
    info = folder / "sleeper-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "sleeper.py").write_text(_SLEEPER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sleeper\nVersion: 1.0\n")
    entry = "[trackd.finders]\nsleeper = sleeper:SLEEPER\n"
    (info / "entry_points.txt").write_text(entry)
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def _add(client: Client, stream: str, clip: Path, find: dict[str, Any]) -> None:
    client.add_stream(stream, str(clip), loop=True, **find)
    client.prompt(stream, box=_BOX, normalized=True, wait_s=25)
    client.pause_stream(stream)


def _rate(client: Client, stream: str, options: argparse.Namespace) -> float:
    """Results per second of one stream, which is paused before and after."""
    client.resume_stream(stream)
    try:
        until_s = time.monotonic() + _READY_S
        while _status(client, stream).state != "running":
            if time.monotonic() > until_s:
                raise TrackdError(f"stream {stream} does not run within {_READY_S:g} s")
            time.sleep(0.1)
        time.sleep(options.settle)
        begun_s, before = time.monotonic(), _status(client, stream).tracked
        time.sleep(options.seconds)
        after = _status(client, stream).tracked
        return float(after - before) / (time.monotonic() - begun_s)
    finally:
        client.pause_stream(stream)


def _status(client: Client, stream: str) -> Any:
    return next(one for one in client.streams() if one.stream == stream)
