"""A camera beside other programs: results per second with 0, 1 and 2 of them always computing.

The clip plays in real time in a daemon as it is, which chooses its number of threads while it runs,
and in one that was given a single thread; they take turns beside the same busy programs. Neither is
to fall below 90 % of what the other gives for long.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.models import daemon_model
from tools.bench.record import Fact, Footage, Run, Series
from tools.serving import Daemon
from tracker.client import Client
from tracker.errors import TrackdError

HELP = "results per second beside 0, 1 and 2 busy programs, and with one thread alone (7 minutes)"
QUICK = {"model": "pico@128", "size": Size(320, 180), "rounds": 1, "seconds": 1.0, "settle": 0.5}
BUSY = (0, 1, 2)
OURS, ONE_THREAD = "as it is", "one thread"
LEAST_SHARE = 0.9
_STREAM = "camera"
_SPIN = "while True: pass"
_BOX = (0.3, 0.2, 0.6, 0.8)
_PATIENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(1280, 720))
    parser.add_argument("--rounds", type=common.whole, default=5, help="turns of each, A B A B")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted in a turn")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds before each turn")


def measure(options: argparse.Namespace) -> Run:
    """Serve the clip, beside others.

    Raises:
        TrackdError: Nothing came within a minute.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    rates: dict[tuple[str, int], list[float]] = {
        (name, busy): [] for busy in BUSY for name in (OURS, ONE_THREAD)
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        model = {"model": daemon_model(options.model, options.device, conditions.dtype)}
        clients = {}
        for name, environment in ((OURS, {}), (ONE_THREAD, {"OMP_NUM_THREADS": "1"})):
            daemon = Daemon(folder / name, dict(model), environment)
            stack.enter_context(daemon)
            clients[name] = stack.enter_context(daemon.client())
            _add(clients[name], folder / "clip.mp4")
        for _ in range(options.rounds):
            for name, busy in rates:
                with _busy(busy):
                    rates[name, busy].append(_rate(clients[name], options))
    shares = {busy: median(rates[OURS, busy]) / median(rates[ONE_THREAD, busy]) for busy in BUSY}
    low = [f"{share:.2f} beside {busy}" for busy, share in shares.items() if share < LEAST_SHARE]
    return conditions.run(
        suite="busy",
        setting=f"{options.model} {conditions.dtype}, {size.width}x{size.height}, one object",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        series=tuple(
            Series(
                name=f"results per second, {name}",
                case={"busy programs": busy},
                unit="1/s",
                rounds=tuple((round(rate, 2),) for rate in found),
            )
            for (name, busy), found in rates.items()
        ),
        facts=tuple(
            Fact(
                name="share of what one thread gives",
                case={"busy programs": busy},
                unit="",
                value=round(share, 3),
            )
            for busy, share in shares.items()
        ),
        failure="" if not low else f"less than one thread gives: {', '.join(low)} busy programs",
    )


@contextmanager
def _busy(count: int) -> Iterator[None]:
    programs = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _add(client: Client, clip: Path) -> None:
    client.add_stream(_STREAM, str(clip), realtime=True, loop=True)
    with client.results(_STREAM) as results:
        first(results.receive)
    client.prompt(_STREAM, box=_BOX, normalized=True)
    client.pause_stream(_STREAM)


def _rate(client: Client, options: argparse.Namespace) -> float:
    """Results per second of the stream, which is paused before and after."""
    client.resume_stream(_STREAM)
    try:
        with client.results(_STREAM) as results:
            first(results.receive)
            results_in(results.receive, options.settle)
            return results_in(results.receive, options.seconds) / float(options.seconds)
    finally:
        client.pause_stream(_STREAM)


def first(receive: Callable[[float], object]) -> None:
    """Wait for a result.

    Raises:
        TrackdError: None came within a minute.
    """
    if receive(_PATIENCE_S) is None:
        raise TrackdError(f"no result within {_PATIENCE_S:g} s")


def results_in(receive: Callable[[float], object], seconds: float) -> int:
    """Number of results that come within a time."""
    end_s, count = time.monotonic() + seconds, 0
    while (left_s := end_s - time.monotonic()) > 0:
        count += receive(left_s) is not None
    return count
