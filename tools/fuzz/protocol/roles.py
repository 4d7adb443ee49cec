"""Clients of every role, and strangers, ask a daemon with keys for what is not theirs.

    python -m tools.fuzz.protocol.roles --minutes 30 --report strangers.md

A daemon with keys tracks a stream. Clients with the roles `watch`, `prompt` and `admin`, one that
may see some streams only, and one whose key is not allowed send requests, proper and spoiled, and
ask again and again for what is above their role. Subscribers take whatever comes. Meanwhile bytes
of ZMTP, nearly right, knock at all sockets of this daemon and of one without keys. Nothing above a
role may be done or seen, both daemons must go on, and their memory stay.
"""

import argparse
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from tools.fuzz.protocol.attack import resident_mb
from tools.fuzz.protocol.campaign import LEAST_WARM_S, MAX_BYTES, SOURCE, WARM_PART
from tools.fuzz.protocol.role_clients import CLIENTS, FENCED, OTHERS, Guest, Visits, set_up
from tools.fuzz.protocol.seeds import STEADY
from tools.fuzz.protocol.zmtp import Knocker
from tools.serving import Daemon
from tracker.daemon.access.key_files import read_keys, write_keys

MOST_GROWTH_MB = 128
_SILENCE_S = 60.0
_COUNTERS = (
    "trackd_refused_connections_total{",
    "trackd_undelivered_replies_total",
    "trackd_unanswerable_messages_total",
    "trackd_unread_bytes",
)


@dataclass
class Outcome:
    """Outcome of a campaign with roles.

    Attributes:
        minutes: How long it took.
        seed: Of the messages.
        visits: What came of each client.
        knocks: Connections by how they went.
        masks: Messages of data that came to the one who watches over it all.
        resident_mb: Memory of both daemons, in turn, at each check.
        warm: Which of these are before the measurement.
        counted: What the daemon with keys counted of refused connections and lost replies, newest.
        most_unread_bytes: That it held of messages nobody had read, at any check.
        faults: What should not have happened.
    """

    minutes: float
    seed: int
    visits: dict[str, Visits] = field(default_factory=dict)
    knocks: Counter[str] = field(default_factory=Counter)
    masks: int = 0
    resident_mb: list[tuple[float, float]] = field(default_factory=list)
    warm: int = 0
    counted: dict[str, float] = field(default_factory=dict)
    most_unread_bytes: float = 0.0
    faults: list[str] = field(default_factory=list)


def run(folder: Path, *, minutes: float, seed: int) -> Outcome:
    """Ask two daemons for everything, for so many minutes."""
    outcome = Outcome(minutes, seed)
    keys, options = _make_keys(folder)
    guarded = Daemon(folder / "guarded", keys | {"limits": {"streams": 3, "objects_per_stream": 4}})
    guarded.config["control"] |= {
        "max_message_bytes": MAX_BYTES,
        "requests_per_s": 1e6,
        "burst": 10**6,
    }
    plain = Daemon(folder / "plain")
    with guarded, plain:
        with guarded.client(
            client_key=folder / "theirs" / "admin.key_secret", server_key=folder / "server.key"
        ) as admin:
            admin.add_stream(STEADY, SOURCE, realtime=True)
        with _working(guarded, plain, options, outcome):
            _watch(guarded, plain, options["admin"], outcome)
        for name, visits in outcome.visits.items():
            outcome.faults += [f"{name}: {fault}" for fault in visits.faults]
        for daemon in (guarded, plain):
            if daemon.process.poll() is None and daemon.stop() != 0:
                outcome.faults.append(f"the daemon in {daemon.folder.name}/ did not end well")
            text = daemon.log.read_text(errors="replace")
            outcome.faults += [f"log: {line}" for line in text.splitlines() if "Traceback" in line]
    return outcome


def _make_keys(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, bytes]]]:
    """Keys on disk: what the daemon's configuration says of them, and each client's options."""
    server = write_keys(folder, "server")
    allowed, options = folder / "allowed", {}
    for client, name in ((c, name) for c in CLIENTS for name in c.keys):
        files = write_keys(folder / "theirs", name)
        if client.folder is not None:
            (allowed / client.folder).mkdir(parents=True, exist_ok=True)
            files.public.rename(allowed / client.folder / f"{name}.key")
        public, secret = read_keys(files.secret)
        assert secret is not None
        options[name] = {
            "CURVE_SERVERKEY": read_keys(server.public)[0],
            "CURVE_PUBLICKEY": public,
            "CURVE_SECRETKEY": secret,
        }
    security = {
        "server_key": str(server.secret),
        "client_keys": str(allowed),
        "streams": {key: [f"{OTHERS}*"] for key in FENCED.keys},
    }
    return {"security": security}, options


@contextmanager
def _working(
    guarded: Daemon, plain: Daemon, options: dict[str, dict[str, bytes]], outcome: Outcome
) -> Iterator[None]:
    """All clients at work, each in a thread of its own."""
    stop = threading.Event()
    works: list[Callable[[], None]] = [lambda: _knock(guarded, plain, stop, outcome)]
    for number, client in enumerate(CLIENTS):
        own = outcome.visits.setdefault(client.name, Visits())
        guest = Guest(guarded, client, options, outcome.seed + number, stop, own)
        works += [guest.ask if client.folder is not None else guest.ask_in_vain, guest.subscribe]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _knock(guarded: Daemon, plain: Daemon, stop: threading.Event, outcome: Outcome) -> None:
    endpoints = [
        bind
        for daemon in (guarded, plain)
        for bind in (daemon.config["control"]["bind"], *daemon.config["data"].values())
    ]
    knocker = Knocker(endpoints, outcome.seed)
    while not stop.wait(0.01):
        knocker.knock()
    knocker.close()
    outcome.knocks += knocker.counts


def _watch(guarded: Daemon, plain: Daemon, options: dict[str, bytes], outcome: Outcome) -> None:
    """Until the time is over, or a daemon ends; masks must come meanwhile."""
    began_s = newest_s = time.monotonic()
    end_s = began_s + 60 * outcome.minutes
    next_check_s = began_s
    with zmq.Context() as context, context.socket(zmq.SUB) as taking:
        set_up(taking, options)
        taking.subscribe("masks.")
        taking.connect(guarded.config["data"]["bind"])
        while (now_s := time.monotonic()) < end_s:
            if taking.poll(1000):
                taking.recv_multipart()
                outcome.masks += 1
                newest_s = now_s
            if now_s - newest_s > _SILENCE_S:
                outcome.faults.append(f"no mask for {_SILENCE_S:g} s")
                newest_s = now_s
            if now_s < next_check_s:
                continue
            next_check_s = now_s + 5.0
            for daemon in (guarded, plain):
                if daemon.process.poll() is not None:
                    code, name = daemon.process.returncode, daemon.folder.name
                    outcome.faults.append(f"the daemon in {name}/ ended with {code}")
                    return
            outcome.resident_mb.append(_memory(guarded, plain))
            _read_counters(guarded, outcome)
            if now_s - began_s < WARM_PART * 60 * outcome.minutes:
                outcome.warm = len(outcome.resident_mb)
    _check_growth(outcome)


def _memory(guarded: Daemon, plain: Daemon) -> tuple[float, float]:
    return (
        resident_mb(guarded.process.pid) or 0.0,
        resident_mb(plain.process.pid) or 0.0,
    )


def _read_counters(guarded: Daemon, outcome: Outcome) -> None:
    """Take in what the daemon counts; 30 s without an answer are a fault."""
    address = f"http://127.0.0.1:{guarded.config['http']['port']}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=30.0) as response:
            lines = response.read().decode().splitlines()
    except OSError as err:
        outcome.faults.append(f"no metrics: {err}")
        return
    for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith(_COUNTERS)):
        outcome.counted[name] = float(value)
    unread_bytes = outcome.counted.get("trackd_unread_bytes", 0.0)
    outcome.most_unread_bytes = max(outcome.most_unread_bytes, unread_bytes)


def _check_growth(outcome: Outcome) -> None:
    if 60 * outcome.minutes * WARM_PART < LEAST_WARM_S or not outcome.warm:
        return
    warm, last = outcome.resident_mb[outcome.warm - 1], outcome.resident_mb[-1]
    for name, before_mb, after_mb in zip(("guarded", "plain"), warm, last, strict=True):
        if after_mb - before_mb > MOST_GROWTH_MB:
            outcome.faults.append(f"the daemon in {name}/ grew by {after_mb - before_mb:.0f} MB")


def page(outcome: Outcome) -> str:
    """Report of the outcome, in Markdown."""
    counts = {name: visits.counts for name, visits in outcome.visits.items()}
    codes = sorted({code for one in counts.values() for code in one})
    rows = [
        f"| {code} | " + " | ".join(str(c[code]) for c in counts.values()) + " |" for code in codes
    ]
    knocks = "\n".join(f"| {how} | {count} |" for how, count in outcome.knocks.most_common())
    sent = ", ".join(f"{name} {one.forbidden}" for name, one in outcome.visits.items())
    received = ", ".join(f"{name} {one.received}" for name, one in outcome.visits.items())
    first, warm = outcome.resident_mb[0], outcome.resident_mb[max(0, outcome.warm - 1)]
    most = tuple(max(column) for column in zip(*outcome.resident_mb, strict=True))
    memory = "; ".join(
        f"{name} {first[i]:.0f} MB at the start, {warm[i]:.0f} once warm, {most[i]:.0f} at most, "
        f"{outcome.resident_mb[-1][i]:.0f} at the end"
        for i, name in enumerate(("with keys", "without"))
    )
    counted = "\n".join(f"| `{name}` | {value:.0f} |" for name, value in outcome.counted.items())
    faults = "\n".join(f"- {fault}" for fault in outcome.faults[:50]) or "No fault."
    return f"""# Clients that ask for more than is theirs, and bytes that are nearly ZeroMQ

`python -m tools.fuzz.protocol.roles --minutes {outcome.minutes:g} --seed {outcome.seed}`

| reply | {" | ".join(counts)} |
|---|{"---:|" * len(counts)}
{chr(10).join(rows)}

Of these, asked on purpose for what some roles may not have done: {sent}.
Messages of data received: {received}; by the one who watches over it all {outcome.masks}.

| connections with bytes of ZMTP to both daemons | |
|---|---:|
{knocks}

| counted by the daemon with keys | |
|---|---:|
{counted}

Bytes that nobody had read, at most at any look: {outcome.most_unread_bytes:.0f}.
Resident memory of the daemons: {memory}.

{faults}
"""


def main() -> int:
    """Run it, print the page; 1 where something was done or seen that should not have been."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.protocol.roles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of the messages")
    parser.add_argument("--report", type=Path, help="write the page there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), minutes=args.minutes, seed=args.seed)
    print(page(outcome))
    if args.report is not None:
        args.report.write_text(page(outcome), encoding="utf-8")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
