"""`python -m tools.fleet kill|hang`: seconds without masks when a node of a fleet dies.

Two daemons and a head, each in a process of its own, and a square that moves. The node that has the
stream is killed (SIGKILL) and started again, or stopped (SIGSTOP) and let go on (SIGCONT), and a
subscriber waits for the next mask of the object. Then the node must give up what it still has.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import yaml

from tools.fuzz.workers import write_clip
from tools.serving import Daemon, free_ports
from tracker.client import FleetClient, Result
from tracker.client.fleet import FleetSubscription

STREAM = "square"
BOX = (40, 80, 220, 140)
PATIENCE_S = 120.0
_EVERY_S = 2.0  # between snapshots


class Fleet:
    """Two daemons, `a` and `b`, and a head; a context manager that ends them.

    Args:
        folder: Where their files are.
        config: Of both daemons, beside what they need here.

    Attributes:
        daemons: By name.
        head: The head's process.
        log: File that it logs to.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        given = {"state": {"dir": "state", "every_s": 1.0}, **(config or {})}
        self.daemons = {name: Daemon(folder / name, given) for name in ("a", "b")}
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
            "streams": {STREAM: source},
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


def wait_for_snapshot(fleet: Fleet) -> None:
    """Wait until one more snapshot is in the store."""
    folder = fleet.folder / "store" / STREAM

    def names() -> set[str]:
        return {path.name for path in folder.glob("*.json")}

    before = names()
    wait_until(lambda: bool(names() - before), "a snapshot")


def wait_until_fenced(fleet: Fleet, node: str) -> None:
    """Wait until a node that came back has no stream any more."""
    with fleet.daemons[node].client() as back:
        wait_until(lambda: back.streams() == [], f"the end of the stream on node {node}")


def _failures(times: int, *, hang: bool) -> list[float]:
    """Seconds from each failure of a node to the next mask."""
    found_s = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Fleet(Path(folder)) as fleet,
        fleet.client() as client,
        client.results(STREAM) as results,
    ):
        object_id = client.prompt(STREAM, box=BOX, wait_s=25).object.id
        for _ in range(times):
            epoch = next_mask(results, object_id).message.owner_epoch
            wait_for_snapshot(fleet)
            owner = client.places()[STREAM].node
            daemon = fleet.daemons[owner]
            if hang:
                daemon.process.send_signal(signal.SIGSTOP)
            else:
                daemon.kill()
            failed_s = time.monotonic()
            next_mask(results, object_id, above=epoch)
            found_s.append(time.monotonic() - failed_s)
            print(f"node {owner}: {found_s[-1]:.2f} s", flush=True)
            if hang:
                daemon.process.send_signal(signal.SIGCONT)
            else:
                daemon.start()
            wait_until_fenced(fleet, owner)
    return found_s


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.fleet", description=__doc__)
    parser.add_argument("what", choices=["kill", "hang"])
    parser.add_argument("--times", type=int, default=10)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    found_s = np.array(_failures(args.times, hang=args.what == "hang"))
    print(
        f"{args.what}: {len(found_s)} times on {os.cpu_count()} processors, seconds to the next "
        f"mask: median {np.median(found_s):.2f}, {found_s.min():.2f} to {found_s.max():.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
