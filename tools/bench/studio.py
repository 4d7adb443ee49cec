"""What pages of the studio cost the daemon, and how soon a person sees a mask.

Results per second of a stream with one object while 0, 1 and 8 pages show it, in turns: at the pace
of a camera, and as fast as the daemon can. The pages take each picture at once, in one process, as
browsers on other machines do; their process, the studio and the daemon share this machine. Then a
page in a real Chromium: milliseconds from a click on a picture that was held to its mask, and how
old a picture is when it is on the screen.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tools.bench import options as common
from tools.bench.busy import first, results_in
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.models import daemon_model
from tools.bench.processor_time import processor_s
from tools.bench.record import Fact, Footage, Run, Series
from tools.bench.studio_latency import PageTimes, page_times
from tools.serving import Daemon
from tools.studio_process import Studio, chromium
from tracker.client import Client
from tracker.errors import TrackdError

HELP = "results per second while 0, 1 and 8 pages look, and from a click to its mask (8 minutes)"
QUICK = {
    "model": "pico@128",
    "size": Size(320, 180),
    "rounds": 1,
    "seconds": 1.0,
    "settle": 0.5,
    "pages": (0, 2),
    "clicks": 1,
}
PACES = {"a camera's": True, "its own": False}
LEAST_SHARE = 0.9
_STREAM = "camera"
_BOX = (0.3, 0.2, 0.6, 0.8)


@dataclass(slots=True)
class Cost:
    """What was counted at one pace with so many pages, turn by turn.

    Attributes:
        rates: Results per second.
        daemon_ms: Processor time of the daemon, in ms a result.
        studio_ms: Likewise, of the studio.
    """

    rates: list[float] = field(default_factory=list)
    daemon_ms: list[float] = field(default_factory=list)
    studio_ms: list[float] = field(default_factory=list)


Costs = dict[tuple[str, int], Cost]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(1280, 720))
    parser.add_argument("--pages", type=_counts, default=(0, 1, 8), help="how many, in turns")
    parser.add_argument("--rounds", type=common.whole, default=5, help="turns of each, A B A B")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted in a turn")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before each turn")
    parser.add_argument("--clicks", type=common.whole, default=20, help="in the Chromium page")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds before each click")


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def measure(options: argparse.Namespace) -> Run:
    """Serve the clip, and look at it.

    Raises:
        TrackdError: Nothing came within a minute.
    """
    conditions = conditions_of(options)
    load_before = os.getloadavg()[0]
    clip = find_clip(options.clip)
    costs: Costs = {(pace, pages): Cost() for pace in PACES for pages in options.pages}
    notes: tuple[str, ...] = ()
    times = PageTimes((), ())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        model = {"model": daemon_model(options.model, options.device, conditions.dtype)}
        daemon = stack.enter_context(Daemon(folder / "daemon", model))
        client = stack.enter_context(daemon.client())
        studio = stack.enter_context(Studio.of(daemon))
        for pace, realtime in PACES.items():
            client.add_stream(_STREAM, str(folder / "clip.mp4"), realtime=realtime, loop=True)
            _prompt(client)
            _count_in_turns(costs, pace, daemon, studio, options)
            client.remove_stream(_STREAM)
        client.add_stream(_STREAM, str(folder / "clip.mp4"), realtime=True, loop=True)
        try:
            browser = stack.enter_context(chromium())
        except TrackdError as error:
            notes = (f"No page in a browser: {error}.",)
        else:
            times = page_times(browser, studio.address, clicks=options.clicks, hold_s=options.hold)
    return conditions.run(
        suite="studio",
        setting=f"{options.model} {conditions.dtype}, {size.width}x{size.height}, one object",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        series=(*_series(costs), *_times(times, options.hold)),
        facts=(
            *_shares(costs),
            Fact(name="load average before", unit="", value=round(load_before, 2)),
        ),
        notes=notes,
        failure=_failure(costs),
    )


def _prompt(client: Client) -> None:
    with client.results(_STREAM) as results:
        first(results.receive)
    client.prompt(_STREAM, box=_BOX, normalized=True)


def _count_in_turns(
    costs: Costs, pace: str, daemon: Daemon, studio: Studio, options: argparse.Namespace
) -> None:
    pids = (daemon.process.pid, studio.process.pid)
    with daemon.client() as client:
        for number in range(options.rounds):
            for pages in options.pages:
                with _looking(studio, pages), client.results(_STREAM) as results:
                    first(results.receive)
                    results_in(results.receive, options.settle)
                    before_s = [processor_s(pid) for pid in pids]
                    count = results_in(results.receive, options.seconds)
                    spent_s = [processor_s(p) - s for p, s in zip(pids, before_s, strict=True)]
                cost, rate = costs[pace, pages], count / options.seconds
                cost.rates.append(rate)
                cost.daemon_ms.append(1000 * spent_s[0] / max(1, count))
                cost.studio_ms.append(1000 * spent_s[1] / max(1, count))
                line = f"{pace} pace, round {number + 1}, {pages} pages: {rate:.1f}/s"
                print(line, file=sys.stderr, flush=True)


@contextmanager
def _looking(studio: Studio, pages: int) -> Iterator[None]:
    """Pages that show the stream."""
    if not pages:
        yield
        return
    command = [sys.executable, "-m", "tools.bench.studio_pages"]
    command += [studio.origin, studio.cookie(), str(pages), _STREAM]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise TrackdError("the pages got no picture")
        yield
    finally:
        process.communicate(timeout=60)


def _series(costs: Costs) -> list[Series]:
    return [
        Series(
            name=f"{name}, {pace} pace",
            case={"pages": pages},
            unit=unit,
            rounds=tuple((round(value, 2),) for value in values),
        )
        for (pace, pages), cost in costs.items()
        for name, unit, values in (
            ("results per second", "1/s", cost.rates),
            ("processor time of the daemon", "ms/result", cost.daemon_ms),
            ("processor time of the studio", "ms/result", cost.studio_ms),
        )
    ]


def _times(times: PageTimes, hold_s: float) -> list[Series]:
    found = {
        f"from a click to its mask, picture held {hold_s:g} s": times.click_to_mask,
        "age of a picture on the screen": times.picture_age,
    }
    return [
        Series(name=name, unit="ms", rounds=(tuple(round(ms, 1) for ms in samples),))
        for name, samples in found.items()
        if samples
    ]


def _share(costs: Costs, pace: str, pages: int) -> float:
    """Median over the rounds of the part of the results without pages."""
    alone = costs[pace, min(count for _, count in costs)].rates
    found = zip(costs[pace, pages].rates, alone, strict=True)
    return median(rate / max(rate_alone, 1e-9) for rate, rate_alone in found)


def _shares(costs: Costs) -> list[Fact]:
    return [
        Fact(
            name=f"share of the results without pages, {pace} pace",
            case={"pages": pages},
            unit="",
            value=round(_share(costs, pace, pages), 3),
        )
        for pace, pages in costs
    ]


def _failure(costs: Costs) -> str:
    pace = next(iter(PACES))
    most = max(pages for _, pages in costs)
    share = _share(costs, pace, most)
    return "" if share >= LEAST_SHARE else f"{most} pages leave {share:.2f} of the results"
