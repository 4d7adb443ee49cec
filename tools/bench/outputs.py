"""Price of each output of a live stream: frames per second with it and without, in turns.

A daemon tracks one object on a file that is played as fast as it is tracked, over and over, so that
all processors are at work and an output shows in the rate. Each turn adds the stream again, with a
subscriber of its masks. A turn without other outputs stands before and after each with one, and the
ratio is to the mean of the two. Sinks of events have daemons of their own, which wait meanwhile.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.footage import Size, find_clip, write_scaled
from tools.bench.live_outputs import NOTHING, OUTPUTS, STREAM, Attached, Output, reader
from tools.bench.models import daemon_model
from tools.bench.processor_time import processor_s
from tools.bench.program import Program
from tools.bench.record import Contender, Fact, Footage, Run, Series
from tools.serving import Daemon
from tracker.client import Client
from tracker.errors import TrackdError, UsageError

HELP = "frames/s of a live stream with each output and without, in turns (20 minutes)"
QUICK = {
    **{"model": "pico@128", "size": Size(320, 180), "rounds": 1, "seconds": 1.0, "settle": 0.5},
    **{"outputs": ("previews", "zones and measures")},
}
RATE, DAEMON_MS, OWN_MS = "tracked", "processor time of the daemon", "processor time of the output"
PASSED_ON, IN_SIGHT = "passed on", "in sight at the end"
_BOX = (0.27, 0.11, 0.46, 0.83)
_PROMPT_S = 25.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, size=Size(1280, 720))
    names = [name for name in OUTPUTS if name != NOTHING]
    parser.add_argument("--outputs", type=common.names, default=tuple(names))
    parser.add_argument("--rounds", type=common.whole, default=3, help="turns of each")
    parser.add_argument("--seconds", type=float, default=10.0, help="counted in a turn")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before each turn")


def measure(options: argparse.Namespace) -> Run:
    """Serve the clip, once without outputs before and after each of them.

    Raises:
        UsageError: There is no such output.
        TrackdError: An output, or the stream, does not run within two minutes.
    """
    chosen = _chosen(options.outputs)
    there = [name for name, output in chosen.items() if not output.problem]
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    load = os.getloadavg()[0]
    turns: dict[str, Rounds] = {name: [] for name in (NOTHING, *there)}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        size = write_scaled(clip, folder / "clip.mp4", options.size)
        model = daemon_model(options.model, options.device, conditions.dtype)
        scene = Scene(stack, folder, {"model": model}, options)
        for _ in range(options.rounds):
            without = [scene.turn(NOTHING)]
            for name in there:
                turns[name].append([scene.turn(name)])
                without.append(scene.turn(NOTHING))
            turns[NOTHING].append(without)
    return conditions.run(
        suite="outputs",
        setting=f"{options.model} {conditions.dtype}, {size.width}x{size.height}, one object, "
        "a file as fast as it is tracked",
        footage=Footage(clip=clip.name, width=size.width, height=size.height, decoding_timed=True),
        contenders=tuple(
            Contender(name=name, how=output.how, problem=output.problem)
            for name, output in {NOTHING: OUTPUTS[NOTHING], **chosen}.items()
        ),
        series=tuple(_series(turns)),
        facts=(
            Fact(name="load average before", unit="", value=round(load, 1)),
            Fact(name="load average after", unit="", value=round(os.getloadavg()[0], 1)),
        ),
    )


def _chosen(names: tuple[str, ...]) -> dict[str, Output]:
    for name in names:
        if name not in OUTPUTS or name == NOTHING:
            known = ", ".join(f"{one!r}" for one in OUTPUTS if one != NOTHING)
            raise UsageError(f"there is no output {name!r}", f"choose of {known}")
    return {name: OUTPUTS[name] for name in names}


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch of tracking with an output.

    Attributes:
        rate: Frames tracked per second.
        daemon_ms: Processor time of the daemon for each of them.
        own_ms: Likewise of the output's own process; None where it has none.
        passed_on: What the output passed on in a second.
        unit: Of what it passed on.
        in_sight: The object has a mask at the end.
    """

    rate: float
    daemon_ms: float
    own_ms: float | None
    passed_on: float
    unit: str
    in_sight: bool

    @classmethod
    def of(cls, spent: "Counters", passed_on: float, attached: Attached, in_sight: bool) -> Self:
        """The turn in which so much was done.

        Raises:
            TrackdError: Nothing was tracked.
        """
        if not spent.tracked:
            raise TrackdError("no frame was tracked", "give --seconds more")
        return cls(
            rate=spent.tracked / spent.at_s,
            daemon_ms=1000 * spent.daemon_s / spent.tracked,
            own_ms=None if attached.pid is None else 1000 * spent.own_s / spent.tracked,
            passed_on=passed_on,
            unit=attached.unit,
            in_sight=in_sight,
        )


Rounds = list[list[Turn]]


class Scene:
    """Daemons that wait for their turns, one without sinks and one for each, with subscribers."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        config: Mapping[str, object],
        options: argparse.Namespace,
    ) -> None:
        self._folder = folder
        self._options = options
        self._daemons: dict[str, Daemon] = {}
        self._subscribers: dict[Path, Program] = {}
        for name in (NOTHING, *options.outputs):
            output = OUTPUTS[name]
            if name == NOTHING or (output.notify is not None and not output.problem):
                own = folder / name.replace(" ", "-")
                own.mkdir()
                sinks = {} if output.notify is None else {"notify": output.notify(stack, own)}
                daemon = Daemon(own, {**config, **sinks})
                self._daemons[name] = stack.enter_context(daemon)
                subscriber = reader("results", daemon.config["data"]["bind"], STREAM)
                self._subscribers[daemon.path] = stack.enter_context(subscriber)

    def turn(self, name: str) -> Turn:
        """Track for a while with an output."""
        output, daemon = OUTPUTS[name], self._daemons.get(name, self._daemons[NOTHING])
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            client = stack.enter_context(daemon.client())
            clip = str(self._folder / "clip.mp4")
            client.add_stream(STREAM, clip, loop=True, **output.settings(folder))
            stack.callback(client.remove_stream, STREAM)
            client.prompt(STREAM, box=_BOX, normalized=True, wait_s=_PROMPT_S)
            self._subscribers[daemon.path].wait_for("ready")
            attached = output.attach(stack, daemon, folder)
            time.sleep(self._options.settle)
            before = Counters.now(client, daemon, attached)
            time.sleep(self._options.seconds)
            spent = Counters.now(client, daemon, attached).since(before)
            (item,) = client.objects(STREAM)
            passed_on = attached.passed_on() / (time.monotonic() - attached.begun_s)
        turn = Turn.of(spent, passed_on, attached, item.box is not None)
        print(name, turn, file=sys.stderr, flush=True)
        return turn


@dataclass(frozen=True, slots=True)
class Counters:
    """What a stream and an output have done at a time, or within one; `own_s` is 0 without one."""

    at_s: float
    tracked: int
    daemon_s: float
    own_s: float

    @classmethod
    def now(cls, client: Client, daemon: Daemon, attached: Attached) -> Self:
        """Those of this moment."""
        (stream,) = client.streams()
        own_s = 0.0 if attached.pid is None else processor_s(attached.pid)
        return cls(time.monotonic(), stream.tracked, processor_s(daemon.process.pid), own_s)

    def since(self, before: Self) -> Self:
        """What was done since then."""
        return type(self)(
            self.at_s - before.at_s,
            self.tracked - before.tracked,
            self.daemon_s - before.daemon_s,
            self.own_s - before.own_s,
        )


def _series(turns: Mapping[str, Rounds]) -> Iterator[Series]:
    """Each quantity of each output, round by round."""
    for name, rounds in turns.items():
        unit = rounds[0][0].unit
        of_each: dict[tuple[str, str], Callable[[Turn], float]] = {
            (RATE, "frames/s"): lambda turn: turn.rate,
            (DAEMON_MS, "ms a frame"): lambda turn: turn.daemon_ms,
            (IN_SIGHT, ""): lambda turn: turn.in_sight,
        }
        if rounds[0][0].own_ms is not None:
            of_each[OWN_MS, "ms a frame"] = lambda turn: turn.own_ms or 0.0
        if unit:
            of_each[PASSED_ON, f"{unit} a second"] = lambda turn: turn.passed_on
        for (quantity, of), value in of_each.items():
            yield Series(
                name=quantity,
                case={"output": name},
                unit=of,
                rounds=tuple(tuple(round(value(turn), 3) for turn in one) for one in rounds),
            )
