"""A deadline kept while objects come and go.

`trackd serve` plays a clip in real time, in a loop, on a stream with a deadline; this process
subscribes, prompts one object after the other up to `--objects`, waits, removes all but one, and
waits for the full budget. Objects are boxes on a grid, whatever lies there: it is their cost that
counts. Daemon and subscriber share this machine. What is kept is every second's frames, objects and
quality level.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import find_clip, frames_of
from tools.bench.models import daemon_model
from tools.bench.record import Fact, Footage, Run, Series
from tools.bench.stats import percentiles
from tools.serving import Daemon
from tracker.client import Client, Result
from tracker.errors import TrackdError, UsageError
from tracker.protocol.fields import DeadlineSettings

HELP = "frames a second held with a deadline while objects go 1, 32, 1 (two minutes)"
QUICK = {"model": "pico@128", "objects": 2, "step_s": 0.2, "hold_s": 1.0}
STREAM = "clip"
GRID = (8, 4)  # boxes across and down
_PATIENCE_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, scaled=False)
    parser.add_argument("--fps", type=float, default=15.0, help="the deadline")
    parser.add_argument("--objects", type=common.whole, default=32, help="at the most, up to 32")
    parser.add_argument("--step-s", type=float, default=1.0, help="from one object to the next")
    parser.add_argument("--hold-s", type=float, default=20.0, help="with one, with all, with one")


def measure(options: argparse.Namespace) -> Run:
    """Serve, prompt, remove, and watch.

    Raises:
        UsageError: More objects were asked for than the grid has places.
        TrackdError: No result came, or a command was refused.
    """
    if options.objects > GRID[0] * GRID[1]:
        raise UsageError(f"{options.objects} objects", f"give at most {GRID[0] * GRID[1]}")
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    model = daemon_model(options.model, options.device, conditions.dtype)
    with (
        tempfile.TemporaryDirectory() as folder,
        Daemon(Path(folder), {"model": model}) as daemon,
    ):
        frames, commands = _run(daemon, clip, options)
    height, width, _ = next(frames_of(clip, None)).shape
    seconds = list(_seconds(frames))
    return conditions.run(
        suite="deadline",
        setting=f"{options.model} {conditions.dtype}, {options.fps:g} frames/s, "
        f"1 to {options.objects} objects and back",
        footage=Footage(clip=clip.name, width=width, height=height, decoding_timed=True),
        series=tuple(_series(seconds)),
        facts=tuple(_facts(frames, seconds, commands, options.fps)),
        notes=("Each sample is a second; a quality level of 0 is the full budget.",),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as it came, `at_s` after the first."""

    at_s: float
    objects: int
    fresh: int
    quality_level: int
    input_size: int
    total_ms: float


@dataclass(frozen=True, slots=True)
class Second:
    """A second of the run: frames that came, and what the last of them says."""

    fps: int
    objects: int
    fresh: int
    quality_level: int
    input_size: int


@dataclass(frozen=True, slots=True)
class Commands:
    """Time when the last object had gone, as `Seen.at_s`."""

    removed_s: float


def _run(daemon: Daemon, clip: Path, options: argparse.Namespace) -> tuple[list[Seen], Commands]:
    """Follow the stream while a thread prompts and removes."""
    deadline = DeadlineSettings(fps=options.fps)
    frames: list[Seen] = []
    with daemon.client() as client, client.results(STREAM) as results:
        url = str(clip.resolve())
        client.add_stream(STREAM, url, realtime=True, loop=True, deadline=deadline)
        if results.receive(_PATIENCE_S) is None:
            raise TrackdError(f"the clip gave no frame within {_PATIENCE_S:g} s")
        begun_s = time.monotonic()
        script = _Script(daemon.client, options, begun_s)
        script.start()
        while script.is_alive():
            result = results.receive(_PATIENCE_S)
            if result is None:
                raise TrackdError(f"no result within {_PATIENCE_S:g} s")
            frames.append(_seen(result, time.monotonic() - begun_s))
    if script.commands is None:
        raise TrackdError("the objects could not be prompted and removed; see above")
    return frames, script.commands


class _Script(threading.Thread):
    """Prompts and removes objects; `commands` says when, once it is through."""

    def __init__(
        self, connect: Callable[[], Client], options: argparse.Namespace, begun_s: float
    ) -> None:
        super().__init__(daemon=True)
        self.commands: Commands | None = None
        self._connect = connect
        self._options = options
        self._begun_s = begun_s

    def run(self) -> None:
        """Prompt, wait, remove, wait."""
        options = self._options
        with self._connect() as client:
            for object_id in range(1, options.objects + 1):
                box = _box(object_id)
                client.prompt(STREAM, object=object_id, box=box, normalized=True)
                time.sleep(options.hold_s if object_id == 1 else options.step_s)
            time.sleep(options.hold_s)
            for object_id in range(options.objects, 1, -1):
                client.remove_object(STREAM, object_id)
                time.sleep(options.step_s)
            removed_s = time.monotonic() - self._begun_s
            time.sleep(options.hold_s)
        self.commands = Commands(removed_s)


def _box(object_id: int) -> tuple[float, float, float, float]:
    """A box of the grid, 0..1; the first lies in the middle of the picture."""
    across, down = GRID
    place = (object_id - 1 + across * (down // 2) + across // 2) % (across * down)
    column, row = place % across, place // across
    return (column + 0.1) / across, (row + 0.1) / down, (column + 0.9) / across, (row + 0.9) / down


def _seen(result: Result, at_s: float) -> Seen:
    message = result.message
    assert message.budget is not None
    return Seen(
        at_s=at_s,
        objects=len(message.objects),
        fresh=sum(item.updated for item in message.objects),
        quality_level=message.budget.quality_level,
        input_size=message.budget.input_size,
        total_ms=message.timings.total_ms,
    )


def _seconds(frames: list[Seen]) -> Iterator[Second]:
    """The whole seconds of a run."""
    for start_s in range(int(frames[-1].at_s)):
        within = [seen for seen in frames if start_s <= seen.at_s < start_s + 1]
        if within:
            last = within[-1]
            yield Second(len(within), last.objects, last.fresh, last.quality_level, last.input_size)
        else:
            yield Second(0, 0, 0, 0, 0)


def _series(seconds: Sequence[Second]) -> Iterator[Series]:
    """Series of one sample a second."""
    for name, unit, values in (
        ("tracked", "frames/s", [s.fps for s in seconds]),
        ("objects", "objects", [s.objects for s in seconds]),
        ("tracked on the frame", "objects", [s.fresh for s in seconds]),
        ("quality level", "level", [s.quality_level for s in seconds]),
        ("side of the input", "px", [s.input_size for s in seconds]),
    ):
        yield Series(name=name, unit=unit, rounds=(tuple(float(value) for value in values),))


def _facts(
    frames: Sequence[Seen], seconds: Sequence[Second], commands: Commands, target_fps: float
) -> Iterator[Fact]:
    """Facts: how well the deadline was kept, and how soon the full budget was back."""
    fps = np.array([second.fps for second in seconds])
    levels = [seen.quality_level for seen in frames]
    latency = percentiles([seen.total_ms for seen in frames])
    kept = int((fps >= target_fps - 1).sum())
    changes = int(np.count_nonzero(np.diff(levels)))
    back = [s.at_s for s in frames if s.at_s >= commands.removed_s and s.quality_level == 0]
    yield Fact(name="deadline", unit="frames/s", value=target_fps)
    yield Fact(name="mean", unit="frames/s", value=round(len(frames) / frames[-1].at_s, 2))
    yield Fact(name="seconds", unit="s", value=len(seconds))
    yield Fact(name="seconds within a frame of the deadline", unit="s", value=kept)
    yield Fact(name="worst second", unit="frames/s", value=int(fps.min()))
    yield Fact(name="lowest quality level", unit="level", value=max(levels))
    yield Fact(name="changes of quality level", unit="changes", value=changes)
    yield Fact(name="age of a mask, p50", unit="ms", value=round(latency.p50, 1))
    yield Fact(name="age of a mask, p95", unit="ms", value=round(latency.p95, 1))
    if back:
        after_s = round(back[0] - commands.removed_s, 1)
        yield Fact(name="full budget again after", unit="s", value=after_s)
