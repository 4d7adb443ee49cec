"""Faults of worker processes: what their streams lose, and what the others notice.

    python -m tools.fuzz.workers --rounds 5 --report workers.md        a C compiler for the faults

A daemon with two workers tracks an object on each of four streams. Over and over one worker is
killed, stopped, or crashed by a segmentation fault inside its decoder. After each fault every
stream must go on with its objects under their ids, and under new frame numbers.
"""

import argparse
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from streams.video_writer import VideoWriter
from tools.serving import Daemon
from tracker.client import Client
from tracker.client.received import Result

_SIZE, _FPS, _FRAMES, _SIDE = (320, 240), 10, 60, 60
_STREAMS = ("a", "b", "c", "d")
_HANG_S = 3.0
_PATIENCE_S = 300.0
_SETTLE_S = 2.0


@dataclass
class Seen:
    """What a subscriber saw of a stream; the thread that receives writes it.

    Attributes:
        at_s: When each message with the object came, by the monotonic clock.
        ids: Ids of the objects of the newest message.
        repeats: Numbers of frames that had been there before.
    """

    at_s: list[float] = field(default_factory=list)
    ids: tuple[int, ...] = ()
    newest_seq: int = -1
    repeats: int = 0

    def take(self, result: Result) -> None:
        """Take in a message."""
        if result.message.repeated:
            return
        seq = result.message.frame.seq
        self.repeats += seq <= self.newest_seq
        self.newest_seq = max(seq, self.newest_seq)
        self.ids = tuple(obj.id for obj in result.message.objects)
        if self.ids:
            self.at_s.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one fault.

    Attributes:
        fault: Its name.
        back_s: Until the next mask of each stream of the worker.
        others_s: Longest pause of the other streams meanwhile, and in as long before the fault.
        lost: Streams whose objects have other ids afterwards.
        repeats: Frames under a number that was there before.
    """

    fault: str
    back_s: tuple[float, ...]
    others_s: tuple[float, float]
    lost: tuple[str, ...]
    repeats: int


def write_clip(path: Path) -> None:
    """A bright square that goes to and fro on noise."""
    width, height = _SIZE
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    with VideoWriter(path, width=width, height=height, fps=Fraction(_FPS)) as writer:
        for index in range(_FRAMES):
            picture = noise.copy()
            left = 40 + abs(_FRAMES // 2 - index) * 4
            picture[80 : 80 + _SIDE, left : left + _SIDE] = (230, 60, 40)
            writer.write(picture, index, Fraction(1, _FPS))


@contextmanager
def watching(client: Client) -> Iterator[dict[str, Seen]]:
    """What subscribers see of all streams, for the block."""
    seen = {stream: Seen() for stream in _STREAMS}
    ends = threading.Event()

    def receive(stream: str) -> None:
        with client.results(stream) as results:
            while not ends.is_set():
                result = results.receive(0.2)
                if result is not None:
                    seen[stream].take(result)

    threads = [threading.Thread(target=receive, args=(one,), daemon=True) for one in _STREAMS]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def faults(flag: Path, *, crashes: bool) -> dict[str, Callable[[int], None]]:
    """What is done to a process, by name."""
    known: dict[str, Callable[[int], None]] = {
        "killed": lambda pid: os.kill(pid, signal.SIGKILL),
        "stopped": lambda pid: os.kill(pid, signal.SIGSTOP),
    }
    if crashes:
        known["crashed"] = lambda pid: flag.touch()
    return known


def run_round(
    client: Client, seen: dict[str, Seen], fault: str, do: Callable[[int], None]
) -> Outcome:
    """Do a fault to a worker, and see what comes of it.

    Raises:
        TimeoutError: A stream does not come back.
    """
    workers = {one["name"]: one for one in client.metrics()["workers"]}
    restarts = {name: one["restarts"] for name, one in workers.items()}
    begun_s = time.monotonic()
    do(workers["0"]["pid"])
    hit = _restarted(client, restarts)
    mine = [name for name, worker in stream_workers(client).items() if worker == hit]
    others = [name for name in _STREAMS if name not in mine]
    quiet_s = _when_quiet(seen, mine, begun_s)
    back_s = tuple(_first_after(seen[name], quiet_s) - begun_s for name in mine)
    took_s = max(back_s)
    time.sleep(_SETTLE_S)
    return Outcome(
        fault,
        back_s,
        (
            max(_longest_pause(seen[name], begun_s, begun_s + took_s) for name in others),
            max(_longest_pause(seen[name], begun_s - took_s, begun_s) for name in others),
        ),
        tuple(name for name in _STREAMS if seen[name].ids != (1,)),
        sum(one.repeats for one in seen.values()),
    )


def stream_workers(client: Client) -> dict[str, str]:
    """Name of the worker of each stream."""
    return {one.stream: one.worker or "" for one in client.streams()}


def _restarted(client: Client, before: dict[str, int]) -> str:
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        for one in client.metrics()["workers"]:
            if one["restarts"] > before[one["name"]]:
                return str(one["name"])
        time.sleep(0.1)
    raise TimeoutError("no worker was started again")


def _when_quiet(seen: dict[str, Seen], streams: Sequence[str], begun_s: float) -> float:
    """When the last message came that was on its way when the worker was found dead."""
    now_s = time.monotonic()
    return max([begun_s, *(at for name in streams for at in seen[name].at_s if at <= now_s)])


def _first_after(seen: Seen, at_s: float) -> float:
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        later = [one for one in seen.at_s[-100:] if one > at_s]
        if later:
            return later[0]
        time.sleep(0.05)
    raise TimeoutError("a stream did not come back")


def _longest_pause(seen: Seen, begin_s: float, end_s: float) -> float:
    times = [begin_s, *(at for at in seen.at_s if begin_s < at < end_s), end_s]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def crash_library(folder: Path) -> Path | None:
    """The library that crashes a decoder, compiled; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library, source = folder / "crash.so", Path(__file__).with_name("crash_at_flag.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def page(outcomes: Sequence[Outcome], load: tuple[float, float, float]) -> str:
    """The report, in Markdown."""
    lines = [
        "# Faults of worker processes",
        "",
        f"`python -m tools.fuzz.workers`, {os.cpu_count()} shared CPUs, load average "
        f"{load[0]:.1f} at the end: four streams of {_FPS} frames/s on two workers. Killed "
        f"(SIGKILL), stopped (SIGSTOP; found after {_HANG_S:g} s), or crashed by a segmentation "
        "fault inside a decoder. Seconds: median and worst.",
        "",
        "| fault | rounds | until the next mask | longest pause of other streams | "
        "in as long before | ids lost | numbers twice |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for fault in dict.fromkeys(one.fault for one in outcomes):
        ours = [one for one in outcomes if one.fault == fault]
        back = [s for one in ours for s in one.back_s]
        during, before = ([one.others_s[index] for one in ours] for index in (0, 1))
        shown = [f"{statistics.median(s):.1f}, {max(s):.1f}" for s in (back, during, before)]
        lost, twice = sum(len(one.lost) for one in ours), sum(one.repeats for one in ours)
        lines.append(f"| {fault} | {len(ours)} | {' | '.join(shown)} | {lost} | {twice} |")
    return "\n".join(lines) + "\n"


def campaign(folder: Path, rounds: int) -> list[Outcome]:
    """Outcomes of all faults, in turns."""
    clip, flag, library = folder / "clip.mp4", folder / "flag", crash_library(folder)
    write_clip(clip)
    preload = {} if library is None else {"LD_PRELOAD": str(library), "CRASH_AT_FLAG": str(flag)}
    workers = {"count": 2, "hang_timeout_s": _HANG_S}
    config = {"workers": workers, "state": {"dir": str(folder / "state"), "every_s": 1.0}}
    outcomes = []
    with Daemon(folder, config, preload) as daemon, daemon.client() as client:
        for stream in _STREAMS:
            client.add_stream(stream, str(clip), realtime=True, loop=True, policy="latest")
            client.prompt(stream, box=(40, 80, 220, 140), wait_s=25, object=1)
        with watching(client) as seen:
            time.sleep(_SETTLE_S)
            for number in range(rounds):
                for fault, do in faults(flag, crashes=library is not None).items():
                    outcomes.append(run_round(client, seen, fault, do))
                    print(f"round {number + 1} of {rounds}: {outcomes[-1]}", flush=True)
    return outcomes


def main() -> int:
    """Run the campaign; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trackd-workers-") as folder:
        outcomes = campaign(Path(folder), args.rounds)
    text = page(outcomes, os.getloadavg())
    print(text)
    if args.report is not None:
        args.report.write_text(text, encoding="utf-8")
    return int(any(one.lost or one.repeats for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
