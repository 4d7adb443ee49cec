"""Many cameras: results per second of all together, in one process and in workers.

Clips play in real time in daemons that are alike but for `workers`; all but one are paused while it
is measured, in turns. Then small streams without objects: what the processes hold and compute.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.models import daemon_model
from tools.bench.processor_time import processor_s
from tools.bench.record import Fact, Footage, Run, Series
from tools.serving import Daemon
from tracker.client import Client
from tracker.errors import TrackdError

HELP = "results per second of 1, 2, 4 and 8 cameras, in one process and in workers"
QUICK = {
    **{"model": "pico@128", "size": Size(320, 180), "rounds": 1, "seconds": 1.0, "settle": 0.5},
    **{"cameras": (1, 2), "small": 2},
}
ONE, MANY = "one process", "a worker for each processor"
_BOX = (0.3, 0.2, 0.6, 0.8)
_SMALL = "lavfi:testsrc2=size=160x120:rate=5"
_READY_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(640, 360))
    parser.add_argument("--cameras", type=common.wholes, default=(1, 2, 4, 8))
    parser.add_argument("--small", type=common.whole, default=64, help="streams of 160x120")
    parser.add_argument("--rounds", type=common.whole, default=3, help="turns of each, A B A B")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted in a turn")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds before each turn")


def measure(options: argparse.Namespace) -> Run:
    """Serve the clip many times.

    Raises:
        TrackdError: A stream does not run within two minutes.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    facts: list[Fact] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        model = daemon_model(options.model, options.device, conditions.dtype)
        with _daemons(folder, model, max(options.cameras)) as daemons:
            for client in daemons.values():
                _add_cameras(client, folder / "clip.mp4", max(options.cameras))
            rates = _take_turns(daemons, options)
        for kind in (ONE, MANY):
            print(f"small streams {options.small}, {kind}", file=sys.stderr, flush=True)
            facts += _small(folder / "small", kind, model, options)
    return conditions.run(
        suite="scale",
        setting=f"{options.model} {conditions.dtype}, {size.width}x{size.height}, an object each; "
        f"load average {os.getloadavg()[0]:.1f} at the end",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        series=tuple(
            Series(
                name=f"results per second, {kind}",
                case={"cameras": cameras},
                unit="1/s",
                rounds=tuple((round(rate, 2),) for rate in found),
            )
            for (kind, cameras), found in rates.items()
        ),
        facts=(*_ratios(rates, options.cameras), *facts),
    )


def _take_turns(
    daemons: Mapping[str, Client], options: argparse.Namespace
) -> dict[tuple[str, int], list[float]]:
    """Results per second of each kind of daemon and number of cameras, a round each."""
    rates: dict[tuple[str, int], list[float]] = {
        (kind, cameras): [] for cameras in options.cameras for kind in (ONE, MANY)
    }
    for turn in range(1, options.rounds + 1):
        for kind, cameras in rates:
            print(f"round {turn}: cameras {cameras}, {kind}", file=sys.stderr, flush=True)
            rates[kind, cameras].append(_rate(daemons[kind], cameras, options))
    return rates


def _ratios(rates: dict[tuple[str, int], list[float]], cameras: Sequence[int]) -> Iterator[Fact]:
    """Median over the rounds of workers' results by those of one process in the same round."""
    for count in cameras:
        pairs = zip(rates[MANY, count], rates[ONE, count], strict=True)
        ratio = median(many / max(one, 0.01) for many, one in pairs)
        name = "workers' results by those of one process"
        yield Fact(name=name, case={"cameras": count}, unit="", value=round(ratio, 2))


def _workers(kind: str) -> int:
    return 0 if kind == ONE else len(os.sched_getaffinity(0))


@contextmanager
def _daemons(
    folder: Path, model: Mapping[str, object], streams: int
) -> Iterator[dict[str, Client]]:
    """Clients of both daemons, which run side by side."""
    with ExitStack() as stack:
        clients = {}
        for kind in (ONE, MANY):
            config = {
                "model": model,
                "workers": _workers(kind),
                "limits": {"streams": max(8, streams)},
            }
            daemon = stack.enter_context(Daemon(folder / str(_workers(kind)), config))
            clients[kind] = stack.enter_context(daemon.client())
        yield clients


def _add_cameras(client: Client, clip: Path, cameras: int) -> None:
    for index in range(cameras):
        stream = _camera(index)
        client.add_stream(stream, str(clip), realtime=True, loop=True)
        client.prompt(stream, box=_BOX, normalized=True, wait_s=25)
        client.pause_stream(stream)


def _camera(index: int) -> str:
    return f"camera-{index}"


def _rate(client: Client, cameras: int, options: argparse.Namespace) -> float:
    """Results per second of so many cameras together, which are paused before and after."""
    streams = [_camera(index) for index in range(cameras)]
    for stream in streams:
        client.resume_stream(stream)
    try:
        _wait_running(client, streams)
        time.sleep(options.settle)
        begun_s, before = time.monotonic(), _tracked(client, streams)
        time.sleep(options.seconds)
        after = _tracked(client, streams)
        return (after - before) / (time.monotonic() - begun_s)
    finally:
        for stream in streams:
            client.pause_stream(stream)


def _tracked(client: Client, streams: Sequence[str]) -> int:
    return sum(one.tracked for one in client.streams() if one.stream in streams)


def _wait_running(client: Client, streams: Sequence[str]) -> None:
    until_s = time.monotonic() + _READY_S
    while any(one.state != "running" for one in client.streams() if one.stream in streams):
        if time.monotonic() > until_s:
            raise TrackdError(f"not all of {len(streams)} streams run within {_READY_S:g} s")
        time.sleep(0.1)


def _small(
    folder: Path, kind: str, model: Mapping[str, object], options: argparse.Namespace
) -> Iterator[Fact]:
    """What a daemon with many small streams, of which none has an object, holds and computes."""
    config = {
        "model": model,
        "workers": _workers(kind),
        "limits": {"streams": max(8, options.small)},
    }
    with Daemon(folder / str(_workers(kind)), config) as daemon, daemon.client() as client:
        streams = [f"small-{index}" for index in range(options.small)]
        for stream in streams:
            client.add_stream(stream, _SMALL, realtime=True)
        _wait_running(client, streams)
        time.sleep(options.settle)
        pids = [daemon.process.pid, *_children(daemon.process.pid)]
        before_s, begun_s = sum(map(processor_s, pids)), time.monotonic()
        time.sleep(options.seconds)
        used = (sum(map(processor_s, pids)) - before_s) / (time.monotonic() - begun_s)
        case = {"streams": options.small, "in": kind}
        mib = sum(map(_proportional_mib, pids))
        threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)  # noqa: PTH208
        yield Fact(name="memory of all processes", case=case, unit="MiB", value=round(mib))
        yield Fact(name="threads of all processes", case=case, unit="threads", value=threads)
        yield Fact(name="processors at work", case=case, unit="", value=round(used, 2))


def _children(pid: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    own = [int(child) for path in found for child in path.read_text().split()]
    return [*own, *(below for child in own for below in _children(child))]


def _proportional_mib(pid: int) -> float:
    """Memory of a process, what it shares divided by those who share it; resident where unknown."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    except (OSError, StopIteration):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
