"""`python -m tools.fleet kill|hang`: seconds without masks when a node of a fleet dies.

Daemons and a head, each in a process of its own, and streams that show a square that moves. A node
that has streams is killed (SIGKILL) and started again, or stopped (SIGSTOP) and let go on
(SIGCONT), and a subscriber of each stream waits for the next mask of its object. Then the node must
give up what it still has, and no subscriber may ever be given a message of an owner of before.
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from string import ascii_lowercase
from types import TracebackType
from typing import Any, Self

import numpy as np
import yaml

from tools.bench.models import daemon_model
from tools.fuzz.workers import write_clip
from tools.serving import Daemon, free_ports
from tracker.client import FleetClient, Result
from tracker.client.fleet import FleetSubscription

STREAM = "square"
BOX = (40, 80, 220, 140)
PATIENCE_S = 120.0
_EVERY_S = 2.0  # between snapshots


class Fleet:
    """Daemons `a`, `b` and so on, and a head; a context manager that ends them.

    Args:
        folder: Where their files are.
        config: Of all daemons, beside what they need here.
        nodes: How many daemons.
        streams: How many streams; the first is `STREAM`.

    Attributes:
        streams: Their names.
        daemons: By name.
        head: The head's process.
        log: File that it logs to.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None = None,
        *,
        nodes: int = 2,
        streams: int = 1,
    ) -> None:
        self.folder = folder
        self.streams = (STREAM, *(f"{STREAM}-{number}" for number in range(2, streams + 1)))
        given = {"state": {"dir": "state", "every_s": 1.0}, **(config or {})}
        self.daemons = {name: Daemon(folder / name, given) for name in ascii_lowercase[:nodes]}
        (port,) = free_ports(1)
        self.directory = f"tcp://127.0.0.1:{port}"
        self.config = folder / "fleet.yaml"
        self.log = folder / "head.txt"
        write_clip(folder / "clip.mp4")
        source = {"url": str(folder / "clip.mp4"), "realtime": True, "loop": True}
        fleet = {
            "head": {"bind": self.directory, "heartbeat_s": 0.5, "timeout_s": 2.0},
            "snapshots": {"store": "store", "every_s": _EVERY_S},
            "nodes": [
                {
                    "name": name,
                    "control": one.config["control"]["bind"],
                    "data": one.config["data"]["bind"],
                }
                for name, one in self.daemons.items()
            ],
            "streams": dict.fromkeys(self.streams, source),
        }
        self.config.write_text(yaml.safe_dump(fleet))

    def start_head(self) -> None:
        """Start the head; it finds what an earlier one left."""
        command = [sys.executable, "-m", "tracker.cli.main", "fleet", "up"]
        with self.log.open("ab") as log:
            self.head = subprocess.Popen(
                [*command, "--config", str(self.config)], stdout=log, stderr=log
            )

    def kill_head(self) -> None:
        """End the head as a power cut would."""
        self.head.kill()
        self.head.wait()

    def client(self) -> FleetClient:
        """A client of the fleet."""
        return FleetClient(self.directory, timeout_s=PATIENCE_S)

    def __enter__(self) -> Self:
        try:
            for daemon in self.daemons.values():
                daemon.start()
            self.start_head()
        except BaseException as err:
            self.__exit__(type(err), err, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in [one.process for one in self.daemons.values() if hasattr(one, "process")]:
            if process.poll() is None:
                process.kill()
                process.wait()
        if hasattr(self, "head") and self.head.poll() is None:
            self.head.send_signal(signal.SIGTERM)
            self.head.wait(60)
        if error is not None and self.log.exists():
            print(self.log.read_text(), file=sys.stderr)


def wait_until(found: Callable[[], bool], what: str) -> None:
    """Wait for something that comes true; fails after `PATIENCE_S`."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.05)


def next_mask(results: "FleetSubscription[Result]", object_id: int, above: int = 0) -> Result:
    """The next result that shows an object's mask, of an owner above an epoch."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        result = results.receive(1.0)
        if result is None or result.message.owner_epoch <= above or result.message.repeated:
            continue
        if any(one.id == object_id and one.mask is not None for one in result.objects):
            return result
    raise AssertionError(f"no mask of object {object_id} came")


def wait_for_snapshot(fleet: Fleet, stream: str = STREAM) -> None:
    """Wait until one more snapshot of a stream is in the store."""
    folder = fleet.folder / "store" / stream

    def names() -> set[str]:
        return {path.name for path in folder.glob("*.json")}

    before = names()
    wait_until(lambda: bool(names() - before), "a snapshot")


def wait_until_fenced(fleet: Fleet, node: str) -> None:
    """Wait until a node that came back has no stream any more."""
    with fleet.daemons[node].client() as back:
        wait_until(lambda: back.streams() == [], f"the end of all streams on node {node}")


class _Follower(threading.Thread):
    """Subscriber of a stream.

    Attributes:
        owner_epoch: Of the newest mask of its object.
        since_s: When the first mask of that epoch came, by the monotonic clock.
        backward: Messages that came after one of a higher epoch.
        stale: That the subscription left out.
    """

    def __init__(self, fleet: Fleet, stream: str, object_id: int) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.owner_epoch, self.since_s, self.backward, self.stale = 0, 0.0, 0, 0
        self._fleet, self._object_id, self._end = fleet, object_id, threading.Event()

    def run(self) -> None:
        with self._fleet.client() as client, client.results(self.stream) as results:
            while not self._end.is_set():
                result = results.receive(0.5)
                self.stale = results.stale
                if result is not None and not result.message.repeated:
                    self._note(result)

    def _note(self, result: Result) -> None:
        epoch = result.message.owner_epoch
        self.backward += epoch < self.owner_epoch
        seen = any(one.id == self._object_id and one.mask is not None for one in result.objects)
        if epoch > self.owner_epoch and seen:
            self.since_s = time.monotonic()
            self.owner_epoch = epoch

    def end(self) -> None:
        self._end.set()
        self.join()


def _fail(fleet: Fleet, followers: Sequence[_Follower], node: str, *, hang: bool) -> list[float]:
    """Let a node fail and come back; seconds to the next mask of each of its streams."""
    before = {one: one.owner_epoch for one in followers}
    daemon = fleet.daemons[node]
    if hang:
        daemon.process.send_signal(signal.SIGSTOP)
    else:
        daemon.kill()
    failed_s = time.monotonic()
    wait_until(lambda: all(one.owner_epoch > before[one] for one in followers), "masks")
    if hang:
        daemon.process.send_signal(signal.SIGCONT)
    else:
        daemon.start()
    wait_until_fenced(fleet, node)
    return [one.since_s - failed_s for one in followers]


def _failures(fleet: Fleet, times: int, *, hang: bool) -> list[float]:
    """Seconds from each failure of a node to the next mask of each of its streams."""
    found_s: list[float] = []
    chance = random.Random(0)
    with fleet.client() as client, ExitStack() as stack:
        followers = {}
        for stream in fleet.streams:
            object_id = client.prompt(stream, box=BOX, wait_s=25).object.id
            followers[stream] = _Follower(fleet, stream, object_id)
            followers[stream].start()
            stack.callback(followers[stream].end)
        for number in range(times):
            wait_until(lambda: all(one.owner_epoch for one in followers.values()), "masks")
            node = client.places()[chance.choice(fleet.streams)].node
            on_it = [name for name, place in client.places().items() if place.node == node]
            for stream in on_it:
                wait_for_snapshot(fleet, stream)
            of_node_s = _fail(fleet, [followers[name] for name in on_it], node, hang=hang)
            found_s += of_node_s
            longest_s = max(of_node_s)
            print(f"{number + 1}: node {node}, {len(on_it)} streams: {longest_s:.2f} s", flush=True)
    backward = sum(one.backward for one in followers.values())
    stale = sum(one.stale for one in followers.values())
    print(f"messages of an owner of before: {backward} given to a subscriber, {stale} left out")
    return found_s


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.fleet", description=__doc__)
    parser.add_argument("what", choices=["kill", "hang"])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--model", default="pico", help="pico, or pico@PIXELS")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    model = {"model": daemon_model(args.model, "cpu", "auto")}
    with (
        tempfile.TemporaryDirectory() as folder,
        Fleet(Path(folder), model, nodes=args.nodes, streams=args.streams) as fleet,
    ):
        found_s = np.array(_failures(fleet, args.times, hang=args.what == "hang"))
    print(
        f"{args.what}: {args.times} times, {len(found_s)} streams, on {os.cpu_count()} processors, "
        f"seconds to the next mask: median {np.median(found_s):.2f}, "
        f"{found_s.min():.2f} to {found_s.max():.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
