"""Durability of a daemon's state: reports while it cannot be written, and losses after kills.

    python -m tools.fuzz.durability --report losses.md       as root on Linux, which may mount

The disk of the state folder is full, the folder is deleted, or can only be read, while the daemon
runs: a stream is added, and what its reply, the metrics, the events and `/readyz` say is noted;
then all is put right, and the daemon killed. And it is killed over and over at the moment of a
reply. After each kill, whatever was said to be durable must be there again.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import zmq

from tools.serving import Daemon
from tracker.client.client import Subscription
from tracker.client.received import Event

_SOURCE = "lavfi:testsrc2=size=64x48:rate=5"
_NOTICED_S = 30.0  # by when a fault, and its end, should have been noticed
_DISK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """Report of the daemon on its state: in metrics, events, and to those who ask for health."""

    saved: str
    failures: str
    ready: int
    healthy: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one fault.

    Attributes:
        fault: What was wrong.
        reply: Of a stream that was added meanwhile.
        during, after: What the daemon said while it lasted, and once it was put right.
        events: Names of the events about the state, in order.
        lost: Streams that had been said to be durable, and were not there after a kill.
    """

    fault: str
    reply: str
    during: Said
    after: Said
    events: tuple[str, ...]
    lost: tuple[str, ...]


class Asker:
    """A client that hands over replies as they are."""

    def __init__(self, daemon: Daemon) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(daemon.config["control"]["bind"])
        self._asked = 0

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Ask, and wait for the reply.

        Raises:
            TimeoutError: There was none within half a minute.
        """
        self._asked += 1
        request = {"v": 1, "id": str(self._asked), "op": op} | fields
        self._socket.send(json.dumps(request).encode())
        if not self._socket.poll(30_000):
            raise TimeoutError(f"no reply to {op}")
        reply: dict[str, Any] = json.loads(self._socket.recv_multipart()[-1])
        return reply

    def close(self) -> None:
        """Hang up."""
        self._context.destroy(linger=0)


@contextlib.contextmanager
def asking(daemon: Daemon) -> Iterator[Asker]:
    """An `Asker` for the block."""
    asker = Asker(daemon)
    try:
        yield asker
    finally:
        asker.close()


# --- killed at the reply


def killed_at_the_reply(daemon: Daemon, times: int) -> list[str]:
    """Kill the daemon as soon as it said that a change is durable; return the changes lost."""
    wanted: set[str] = set()
    lost = []
    for number in range(times):
        name = f"cam-{number // 2}"
        with asking(daemon) as asker:
            if number % 2:
                reply = asker.ask("stream.remove", stream=name)
            else:
                reply = asker.ask("stream.add", stream=name, url=_SOURCE, realtime=True)
            daemon.kill()
        if reply["ok"] and reply["result"]["durable"]:
            wanted ^= {name}
        daemon.start()
        lost += sorted(listed(daemon) ^ wanted)
    return lost


def listed(daemon: Daemon) -> set[str]:
    """The streams that it has."""
    with daemon.client() as client:
        return {info.stream for info in client.streams()}


# --- faults of the state folder


def full(state: Path) -> Callable[[], None]:
    """Fill the disk; returns what makes room again."""
    filler = state / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler.unlink


def deleted(state: Path) -> Callable[[], None]:
    """Delete the folder; nothing has to put that right."""
    shutil.rmtree(state)
    return lambda: None


def read_only(state: Path) -> Callable[[], None]:
    """Mount the folder over itself, read-only for root too; returns what takes that away again."""
    mount("--bind", str(state), str(state))
    mount("-o", "remount,bind,ro", str(state))
    return lambda: unmount(state)


FAULTS: tuple[tuple[str, bool, Callable[[Path], Callable[[], None]]], ...] = (
    ("the disk is full", True, full),
    ("the folder is deleted", False, deleted),
    ("the folder is read-only", False, read_only),
)


def mount(*arguments: str) -> None:
    """Mount something, or raise."""
    subprocess.run(["mount", *arguments], check=True)


def unmount(place: Path) -> None:
    """Take away what was mounted last there."""
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def faulty(
    folder: Path, name: str, on_a_disk: bool, fault: Callable[[Path], Callable[[], None]]
) -> Outcome:
    """Outcome of a fault: what a daemon says before, during and after it."""
    state = folder / "state"
    state.mkdir(parents=True)
    if on_a_disk:
        mount("-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(state))
    daemon = Daemon(folder, {"state": {"dir": str(state), "every_s": 1.0}})
    try:
        with daemon, daemon.client() as client, client.events("before", timeout_s=1.0) as events:
            return _faulty(daemon, events, name, lambda: fault(state))
    finally:
        if on_a_disk:
            unmount(state)


def _faulty(
    daemon: Daemon, events: Subscription[Event], name: str, begin: Callable[[], Callable[[], None]]
) -> Outcome:
    with asking(daemon) as asker:
        durable = {"before"} if _add(asker, "before")["durable"] else set()
        put_right = begin()
        result = _add(asker, "meanwhile")
        durable |= {"meanwhile"} if result["durable"] else set()
        during = _said_when(daemon, saved=bool(result["durable"]))
        put_right()
        after = _said_when(daemon, saved=True)
        time.sleep(2.5)  # the list is written again every second
        durable.add("meanwhile")  # for it is said that the state is saved
        daemon.kill()
    names = tuple(_state_events(events))
    daemon.start()
    lost = tuple(sorted(durable - listed(daemon)))
    reply = "durable" if result["durable"] else f"not durable: {result['reason']}"
    shown = re.sub(r"/\S*/state", "STATE", reply)
    return Outcome(name, shown, during, after, names, lost)


def _add(asker: Asker, name: str) -> dict[str, Any]:
    reply = asker.ask("stream.add", stream=name, url=_SOURCE, realtime=True)
    result: dict[str, Any] = reply["result"] if reply["ok"] else {"durable": False, "reason": ""}
    return result


def _said_when(daemon: Daemon, *, saved: bool) -> Said:
    """Report once all of it says that the state is saved, or is not; or after a while."""
    until_s = time.monotonic() + _NOTICED_S
    while time.monotonic() < until_s:
        said = _said(daemon)
        if said.saved == str(float(saved)) and (said.ready == HTTPStatus.OK) is saved:
            break
        time.sleep(0.5)
    return said


def _said(daemon: Daemon) -> Said:
    metrics = daemon.http("/metrics")[1]

    def value(name: str) -> str:
        found = re.search(rf"^{name} (\S+)", metrics, re.MULTILINE)
        return "" if found is None else found[1]

    return Said(
        value("trackd_state_saved"),
        value("trackd_state_save_failures_total"),
        daemon.http("/readyz")[0],
        daemon.http("/healthz")[0],
    )


def _state_events(events: Subscription[Event]) -> Iterator[str]:
    while (event := events.receive(1.0)) is not None:
        if str(event.message.event).startswith("state."):
            yield str(event.message.event)


# --- the page


def page(outcomes: list[Outcome], times: int, lost: list[str]) -> str:
    """All of it, in Markdown."""
    rows = "\n".join(
        f"| {one.fault} | {one.reply} | {_shown(one.during)} | {_shown(one.after)} "
        f"| {', '.join(one.events) or 'none'} | {', '.join(one.lost) or 'nothing'} |"
        for one in outcomes
    )
    lost_text = f": {', '.join(lost)}" if lost else ""
    return f"""# State that cannot be written, and kills

`python -m tools.fuzz.durability`, {os.cpu_count()} shared CPUs. A stream was added while the state
could not be written; then all was put right, and the daemon killed (SIGKILL) and started again.
Numbers are `trackd_state_saved`, `trackd_state_save_failures_total`, and the status of `/readyz`
and `/healthz`.

| meanwhile | reply to `stream.add` | during | afterwards | events | durable and lost |
|---|---|---|---|---|---|
{rows}

Killed {times} times at the moment of the reply to `stream.add` or `stream.remove`:
{len(lost)} durable changes lost{lost_text}.
"""


def _shown(said: Said) -> str:
    return f"{said.saved}, {said.failures}, {said.ready}, {said.healthy}"


def main() -> int:
    """Bring all of it about, print the page; 1 where something durable was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.durability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--report", type=Path, help="write the page there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [
            faulty(Path(folder) / str(number), *fault) for number, fault in enumerate(FAULTS)
        ]
        daemon = Daemon(Path(folder) / "kills", {"state": {"dir": f"{folder}/kills/state"}})
        with daemon:
            lost = killed_at_the_reply(daemon, args.kills)
    text = page(outcomes, args.kills, lost)
    print(text)
    if args.report is not None:
        args.report.write_text(text, encoding="utf-8")
    return 1 if lost or any(one.lost for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
