"""The studio does not grow: hundreds of thousands of frames with a page open.

A clip of small pictures is looped as fast as the daemon tracks it, while objects come and go, and a
real Chromium shows it. What counts is the resident memory of the daemon, of the studio and of the
browser's tab after a tenth of the frames and at the end. 720,000 frames are eight hours of a camera
of 25 frames a second. Ctrl-C ends it early and keeps what was measured.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.bench import options as common
from tools.bench.busy import first
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.memory import resident_mib
from tools.bench.models import daemon_model
from tools.bench.record import Fact, Footage, Run
from tools.serving import Daemon
from tools.studio_process import Studio, chromium, until
from tracker.client import Client

HELP = "memory of the daemon, the studio and a tab over hundreds of thousands of frames (hours)"
QUICK = {"model": "pico@64", "frames": 200, "every_s": 0.5, "within_mib": 1000.0}
_SIZE = Size(160, 90)
_STREAM = "clip"
_BOX = (0.3, 0.2, 0.6, 0.8)
_FACTS = 20
_OBJECTS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, scaled=False)
    parser.add_argument("--frames", type=common.whole, default=720_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="no longer than this")
    parser.add_argument("--every-s", type=float, default=10.0, help="between two samples")
    parser.add_argument("--within-mib", type=float, default=30.0, help="allowed growth of each")
    parser.set_defaults(model="pico@128")


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory after a number of frames, in MiB.

    Attributes:
        frames: Tracked so far.
        shown: Pictures that the page has drawn.
        daemon: Resident memory of the daemon.
        studio: Of the studio.
        tab: Of the browser's process that holds the page.
        heap: Of that, what JavaScript uses.
    """

    frames: int
    shown: int
    daemon: float
    studio: float
    tab: float
    heap: float


def measure(options: argparse.Namespace) -> Run:
    """Let it run.

    Raises:
        TrackdError: There is no Chromium, or no picture comes.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_scaled(clip, folder / "clip.mp4", _SIZE)
        model = {"model": daemon_model(options.model, options.device, conditions.dtype)}
        daemon = stack.enter_context(Daemon(folder / "daemon", model))
        client = stack.enter_context(daemon.client())
        client.add_stream(_STREAM, str(folder / "clip.mp4"), loop=True)
        studio = stack.enter_context(Studio.of(daemon))
        tab = _Tab(stack.enter_context(chromium()), studio.address)
        samples = _watch(daemon, client, studio, tab, options)
    first_mib, last_mib = asdict(samples[len(samples) // 10]), asdict(samples[-1])
    grown = {name: last_mib[name] - first_mib[name] for name in ("daemon", "studio", "tab")}
    grew = [
        f"the {name} grew by {mib:.1f} MiB"
        for name, mib in grown.items()
        if mib > options.within_mib
    ]
    return conditions.run(
        suite="studio-soak",
        setting=f"{options.model} {conditions.dtype}, {_SIZE.width}x{_SIZE.height}, a page open",
        footage=Footage(
            clip=clip.name, width=_SIZE.width, height=_SIZE.height, decoding_timed=True
        ),
        facts=(
            *(
                Fact(name=f"growth of the {name} after a tenth", unit="MiB", value=round(mib, 1))
                for name, mib in grown.items()
            ),
            Fact(name="allowed growth", unit="MiB", value=options.within_mib),
            Fact(name="frames tracked", unit="frames", value=samples[-1].frames),
            *_facts(samples),
        ),
        notes=_notes(samples, options),
        failure="; ".join(grew),
    )


class _Tab:
    """A page of the studio, and the browser's process that holds it."""

    def __init__(self, browser: Any, address: str) -> None:
        self._page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        self._page.goto(address)
        until(self._page, "document.getElementById('canvas').dataset.seq !== undefined")
        self._page.evaluate(
            """() => {
              const canvas = document.getElementById("canvas");
              window.shown = 0;
              new MutationObserver(() => { window.shown += 1; })
                .observe(canvas, { attributes: true, attributeFilter: ["data-seq"] });
            }"""
        )
        self._session = self._page.context.new_cdp_session(self._page)
        self._session.send("Performance.enable")
        processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        self._pids = [p["id"] for p in processes["processInfo"] if p["type"] == "renderer"]

    def shown(self) -> int:
        return int(self._page.evaluate("window.shown"))

    def resident_mib(self) -> float:
        """Of the largest of the browser's processes for pages."""
        return max(resident_mib(pid) for pid in self._pids)

    def heap_mib(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        used = next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")
        return float(used) / 2**20


def _watch(
    daemon: Daemon, client: Client, studio: Studio, tab: _Tab, options: argparse.Namespace
) -> list[Sample]:
    """Sample until all frames are tracked, the time is over, or Ctrl-C."""
    with client.results(_STREAM) as results:
        first(results.receive)
    samples: list[Sample] = []
    end_s = time.monotonic() + 60 * options.minutes
    try:
        while not samples or (samples[-1].frames < options.frames and time.monotonic() < end_s):
            _change_objects(client, len(samples))
            time.sleep(options.every_s)
            (stream,) = client.streams()
            studio_mib = resident_mib(studio.process.pid)
            mib = (resident_mib(daemon.process.pid), studio_mib, tab.resident_mib(), tab.heap_mib())
            samples.append(Sample(stream.tracked, tab.shown(), *mib))
            print(samples[-1], file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        if not samples:
            raise
    return samples


def _change_objects(client: Client, turn: int) -> None:
    """One object more, or none."""
    objects = client.objects(_STREAM)
    if len(objects) < _OBJECTS:
        client.prompt(_STREAM, box=_BOX, normalized=True, label=f"object {turn}")
        return
    for one in objects:
        client.remove_object(_STREAM, one.id)


def _facts(samples: Sequence[Sample]) -> list[Fact]:
    step = max(1, len(samples) // _FACTS)
    return [
        Fact(
            name="pictures shown" if name == "shown" else f"memory of the {name}",
            case={"frames": sample.frames},
            unit="" if name == "shown" else "MiB",
            value=round(value, 1),
        )
        for sample in samples[step - 1 :: step]
        for name, value in asdict(sample).items()
        if name != "frames"
    ]


def _notes(samples: Sequence[Sample], options: argparse.Namespace) -> tuple[str, ...]:
    ran = f"{samples[-1].frames:,} frames were tracked, {samples[-1].shown:,} pictures shown"
    if samples[-1].frames >= options.frames:
        return (f"{ran}.",)
    return (f"{ran}: fewer than the {options.frames:,} that were asked for, as the time was over.",)
