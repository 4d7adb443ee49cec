"""A daemon of its own under fire for minutes, and whether it does its work meanwhile."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.fuzz.protocol.attack import PING_EVERY, Attack, resident_mb
from tools.fuzz.protocol.seeds import STEADY
from tools.fuzz.protocol.shots import Shots
from tools.serving import Daemon
from tracker.client import Client

ATTACKERS = 8
MAX_BYTES = 256 * 1024
SOURCE = "lavfi:testsrc2=size=64x48:rate=5"
WARM_PART = 0.2  # of the time, after which memory may not grow much any more
MOST_GROWTH_MB = 128
LEAST_WARM_S = 60.0  # a shorter time shows nothing, as the history is still filling
_CHECK_EVERY_S = 5.0
_SILENCE_S = 60.0  # without a mask of the steady stream
_CONTROL: dict[str, Any] = {
    "max_message_bytes": MAX_BYTES,
    "requests_per_s": 1e6,
    "burst": 10**6,
    "timeout_s": 10.0,
}
_CONFIG: dict[str, Any] = {
    "limits": {"streams": 3, "objects_per_stream": 4},
    "state": {"dir": "state", "every_s": 10.0},
}


@dataclass
class Outcome:
    """Outcome of a campaign.

    Attributes:
        minutes: How long it took.
        seed: Of the first attacker; the others follow.
        counts: Replies by error code or "ok", and what got none.
        pings: Pings that were answered.
        masks: Messages of the steady stream.
        resident_mb: Memory of the daemon at each check.
        warm: Which of these are before the measurement.
        control: The daemon's own counts.
        faults: What should not have happened.
    """

    minutes: float
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    pings: int = 0
    masks: int = 0
    resident_mb: list[float] = field(default_factory=list)
    warm: int = 0
    control: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def run(folder: Path, *, minutes: float, seed: int) -> Outcome:
    """Fire at a daemon from several threads, and watch it.

    Args:
        folder: For its configuration, state and log.
        minutes: How long.
        seed: Of the messages.
    """
    outcome, daemon = Outcome(minutes, seed), Daemon(folder, _CONFIG)
    daemon.config["control"] |= _CONTROL
    with daemon:
        with daemon.client() as client:
            client.add_stream(STEADY, SOURCE, realtime=True)
            _fire(daemon, client, outcome)
            outcome.control = client.metrics()["control"]
        if daemon.process.poll() is None and daemon.stop() != 0:
            outcome.faults.append("the daemon did not end well")
        _read_log(daemon.log, outcome)
    return outcome


def _fire(daemon: Daemon, client: Client, outcome: Outcome) -> None:
    endpoint, stop = daemon.config["control"]["bind"], threading.Event()
    attacks = [Attack(endpoint) for _ in range(ATTACKERS)]
    threads = [
        threading.Thread(target=_attack, args=(attack, outcome.seed + number, stop))
        for number, attack in enumerate(attacks)
    ]
    for thread in threads:
        thread.start()
    try:
        _watch(daemon, client, outcome)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for attack in attacks:
        outcome.counts += attack.counts
        outcome.pings += attack.pings
        outcome.faults += attack.faults
    _settle(client, sum(attack.lost for attack in attacks), outcome)


def _attack(attack: Attack, seed: int, stop: threading.Event) -> None:
    shots, fired = Shots(seed, MAX_BYTES), 0
    with attack:
        while not stop.is_set():
            attack.fire(shots.next())
            fired += 1
            if fired % PING_EVERY == 0 and not attack.check():
                return
        attack.clean_up()


def _watch(daemon: Daemon, client: Client, outcome: Outcome) -> None:
    """Until the time is over, or the daemon ends."""
    began_s = newest_s = time.monotonic()
    end_s = began_s + 60 * outcome.minutes
    next_check_s = began_s
    with client.results(STEADY) as results:
        while (now_s := time.monotonic()) < end_s or not (outcome.masks or outcome.faults):
            if results.receive(1.0) is not None:
                outcome.masks += 1
                newest_s = now_s
            if now_s - newest_s > _SILENCE_S:
                outcome.faults.append(f"no mask for {_SILENCE_S:g} s")
                newest_s = now_s
            if now_s < next_check_s:
                continue
            next_check_s = now_s + _CHECK_EVERY_S
            if daemon.process.poll() is not None:
                outcome.faults.append(f"the daemon ended with {daemon.process.returncode}")
                return
            resident = resident_mb(daemon.process.pid)
            outcome.resident_mb += [] if resident is None else [resident]
            if now_s - began_s < WARM_PART * (end_s - began_s):
                outcome.warm = len(outcome.resident_mb)
    grown = _growth_mb(outcome)
    if grown > MOST_GROWTH_MB:
        outcome.faults.append(f"the daemon grew by {grown:.0f} MB")


def _growth_mb(outcome: Outcome) -> float:
    """By how much the daemon grew after it was warm; 0 where that is not known."""
    warm, rest = outcome.resident_mb[: outcome.warm], outcome.resident_mb[outcome.warm :]
    too_short = 60 * outcome.minutes * WARM_PART < LEAST_WARM_S
    return 0.0 if too_short or not warm or not rest else rest[-1] - warm[-1]


def _settle(client: Client, lost: int, outcome: Outcome) -> None:
    """Hold the daemon's own counts against what was sent."""
    control = client.metrics()["control"]
    if control["unanswerable"] != lost:
        outcome.faults.append(
            f"{lost} messages had no return address, {control['unanswerable']} were counted"
        )
    # The request that asks is in progress itself, but answered at once.
    if control["in_progress"]:
        outcome.faults.append(f"{control['in_progress']} requests are still in progress")


def _read_log(path: Path, outcome: Outcome) -> None:
    lines = path.read_text(errors="replace").splitlines()
    bad = ("Traceback", "a request failed", "was given up", "could not be", "hangs", "not reserved")
    outcome.faults += [f"log: {line}" for line in lines if any(word in line for word in bad)][:10]
    if "secret@" in path.read_text(errors="replace"):
        outcome.faults.append("log: it shows a password")
