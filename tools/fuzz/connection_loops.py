"""One daemon and the same thing over and over: what is left of it afterwards.

    python -m tools.fuzz.connection_loops --report loops.md
    python -m tools.fuzz.connection_loops --part 0.02      a fiftieth of each, to try it

A thousand streams, subscribers and clients come and go, ten thousand prompts are given, and ten
thousand connections are opened that say nothing, or nonsense. Before and after each, once the
daemon has come to rest, its memory, threads and descriptors are read. All of them are done once in
small before the first reading, since the first time of anything takes memory that stays.
"""

import argparse
import contextlib
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from tools.fuzz.protocol.attack import resident_mb
from tools.serving import Daemon
from tracker.client import Client

STEADY = "steady"
_SOURCE = "lavfi:testsrc2=size=160x120:rate=5"
_WARM_UP = 0.02
_REST_S = 4.0  # longest that what was let go takes to be gone
_AT_ONCE = 100
_BOX_XYXY = (20, 20, 90, 80)
_CONFIG = {"limits": {"streams": 4, "objects_per_stream": 4}, "state": {"dir": "state"}}


@dataclass(frozen=True, slots=True)
class Taken:
    """Resources that a daemon takes up."""

    resident_mb: float
    threads: int
    descriptors: int

    @classmethod
    def by(cls, daemon: Daemon) -> "Taken":
        """Resources that a daemon takes up now."""
        process = Path(f"/proc/{daemon.process.pid}")
        resident = resident_mb(daemon.process.pid)
        assert resident is not None
        threads, descriptors = (len(os.listdir(process / part)) for part in ("task", "fd"))  # noqa: PTH208
        return cls(resident, threads, descriptors)


@dataclass(frozen=True, slots=True)
class Row:
    """One loop: how often, how long, and what was taken before and after."""

    name: str
    count: int
    took_s: float
    before: Taken
    after: Taken


Loop = Callable[[Daemon, Client, int], None]


def streams(daemon: Daemon, client: Client, count: int) -> None:
    """Add a stream and remove it."""
    for number in range(count):
        client.add_stream(f"loop-{number % 7}", _SOURCE, realtime=True)
        client.remove_stream(f"loop-{number % 7}")


def prompts(daemon: Daemon, client: Client, count: int) -> None:
    """Prompt an object again."""
    for _ in range(count):
        client.prompt(STEADY, box=_BOX_XYXY, object=1)


def subscribers(daemon: Daemon, client: Client, count: int) -> None:
    """Subscribe, wait for a message, and leave."""
    with zmq.Context() as context:
        for _ in range(count):
            with context.socket(zmq.SUB) as subscriber:
                subscriber.connect(daemon.config["data"]["bind"])
                subscriber.subscribe("masks.")
                subscriber.recv_multipart()


def clients(daemon: Daemon, client: Client, count: int) -> None:
    """Connect, ask, and leave."""
    for _ in range(count):
        with daemon.client() as other:
            other.ping()


def silent(daemon: Daemon, client: Client, count: int) -> None:
    """Open connections that say nothing, many at a time."""
    _connect(daemon, count, lambda: b"")


def garbage(daemon: Daemon, client: Client, count: int) -> None:
    """Open connections that say what is no ZMTP, many at a time."""
    chance = random.Random(0)
    _connect(daemon, count, lambda: chance.randbytes(chance.randint(1, 400)))


LOOPS: tuple[tuple[str, int, Loop], ...] = (
    ("streams added and removed", 1000, streams),
    ("subscribers that came and went", 1000, subscribers),
    ("clients that came and went", 1000, clients),
    ("TCP connections that said nothing", 5000, silent),
    ("TCP connections that said nonsense", 5000, garbage),
    ("prompts", 10_000, prompts),
)


def _connect(daemon: Daemon, count: int, says: Callable[[], bytes]) -> None:
    binds = (daemon.config["control"]["bind"], daemon.config["data"]["bind"])
    ports = [int(bind.rpartition(":")[2]) for bind in binds]
    opened: list[socket.socket] = []
    for number in range(count):
        one = socket.create_connection(("127.0.0.1", ports[number % 2]))
        opened.append(one)
        with contextlib.suppress(OSError):  # it was closed on us already
            one.sendall(says())
        if len(opened) == _AT_ONCE or number == count - 1:
            for one in opened:
                one.close()
            opened.clear()


def run(folder: Path, *, part: float) -> Iterator[Row]:
    """Do all loops, each `part` as often as it is usually done; gives each when it is done."""
    daemon = Daemon(folder, _CONFIG)
    daemon.config["control"] |= {"requests_per_s": 1e6, "burst": 10**6}
    with daemon, daemon.client() as client:
        client.add_stream(STEADY, _SOURCE, realtime=True)
        client.prompt(STEADY, box=_BOX_XYXY, object=1, wait_s=30)
        for _, count, loop in LOOPS:
            loop(daemon, client, _times(count, min(part, _WARM_UP)))
        before = _at_rest(daemon)
        for name, count, loop in LOOPS:
            times, begun_s = _times(count, part), time.monotonic()
            loop(daemon, client, times)
            took_s = time.monotonic() - begun_s
            after = _at_rest(daemon)
            yield Row(name, times, took_s, before, after)
            before = after


def _times(count: int, part: float) -> int:
    return max(1, round(count * part))


def _at_rest(daemon: Daemon) -> Taken:
    """Resources of a daemon once they are no longer less than a moment ago."""
    taken = Taken.by(daemon)
    until_s = time.monotonic() + _REST_S
    while time.monotonic() < until_s:
        time.sleep(_REST_S / 4)
        taken, before = Taken.by(daemon), taken
        if (taken.threads, taken.descriptors) < (before.threads, before.descriptors):
            until_s = time.monotonic() + _REST_S
    return taken


def page(rows: list[Row], part: float) -> str:
    """The table, in Markdown."""
    lines = "\n".join(
        f"| {row.name} | {row.count} | {row.took_s:.0f} s "
        f"| {row.before.resident_mb:.0f} → {row.after.resident_mb:.0f} "
        f"| {row.before.threads} → {row.after.threads} "
        f"| {row.before.descriptors} → {row.after.descriptors} |"
        for row in rows
    )
    return f"""# The same thing over and over

`python -m tools.fuzz.connection_loops --part {part:g}`: one `trackd serve` with one stream that is
tracked meanwhile, {os.cpu_count()} shared CPUs; before and after each loop, at rest.

| what | times | took | MB resident | threads | descriptors |
|---|---:|---:|---:|---:|---:|
{lines}
"""


def main() -> int:
    """Do the loops, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.connection_loops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", type=float, default=1.0, help="of the usual number of each")
    parser.add_argument("--report", type=Path, help="write the table there")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in run(Path(folder), part=args.part):
            rows.append(row)
            print(row, flush=True)
            if args.report is not None:
                args.report.write_text(page(rows, args.part), encoding="utf-8")
    print(page(rows, args.part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
