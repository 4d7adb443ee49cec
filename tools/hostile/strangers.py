"""Clients of every role, and strangers, ask a daemon with keys for what is not theirs.

    python -m tools.hostile.strangers --minutes 30 --report strangers.md

A daemon with keys tracks a stream. Clients with the roles `watch`, `prompt` and `admin`, one that
may see some streams only, and one whose key is not allowed send requests, proper and spoiled, and
ask again and again for what is above their role. Subscribers take whatever comes. Meanwhile bytes
of ZMTP, nearly right, knock at all sockets of this daemon and of one without keys. Nothing above a
role may be done or seen, both daemons must go on, and their memory stay.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from tools.hostile.attack import Attack, resident_mb
from tools.hostile.campaign import LEAST_WARM_S, MAX_BYTES, SOURCE, WARM_PART
from tools.hostile.seeds import STEADY
from tools.hostile.shots import Shot, Shots, Way
from tools.hostile.zmtp import Knocker
from tools.serving import Daemon
from tracker.daemon.keys import read_keys, write_keys
from tracker.protocol.requests import AnyRequest

MOST_GROWTH_MB = 128
_SILENCE_S = 60.0
_OTHERS = "hostile-"  # how the streams begin that the client behind the fence may see
_WATCH = ("ping", "describe", "metrics", "stream.list", "object.list")
_PROMPT = (
    *_WATCH,
    "prompt",
    "object.correct",
    "object.remove",
    "object.reset",
    "object.relabel",
)
_NEVER = ("shutdown",)  # but by admin, who does not ask for it here
_FORBIDDEN: tuple[dict[str, Any], ...] = (
    {"op": "shutdown"},
    {"op": "stream.remove", "stream": STEADY},
    {"op": "stream.pause", "stream": STEADY},
    {"op": "stream.add", "stream": "mine", "url": "/etc/passwd"},
    {"op": "snapshot.restore", "stream": STEADY},
    {"op": "prompt", "stream": STEADY, "box": [1, 1, 30, 30]},
    {"op": "object.list", "stream": STEADY},
)


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a key.

    Attributes:
        name: Of its key.
        folder: In the daemon's folder of keys; None for nowhere.
        may: Whether it may have a request done.
        sees: Whether it may see what comes from a stream.
    """

    name: str
    folder: str | None
    may: Callable[[AnyRequest], bool]
    sees: Callable[[str], bool] = lambda _: True


def _fenced(request: AnyRequest) -> bool:
    stream = getattr(request, "stream", None)
    return request.op not in _NEVER and (stream is None or stream.startswith(_OTHERS))


CLIENTS = (
    Client("watcher", "watch", lambda request: request.op in _WATCH),
    Client("prompter", "prompt", lambda request: request.op in _PROMPT),
    Client("admin", "admin", lambda request: True),
    Client("fenced", "admin", _fenced, lambda stream: stream.startswith(_OTHERS)),
    Client("stranger", None, lambda request: False, lambda stream: False),
)


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        minutes: How long it took.
        seed: Of the messages.
        counts: By client, replies by error code or "ok".
        forbidden: Requests above a role that were sent on purpose, and refused.
        knocks: Connections by how they went.
        received: Messages of data by client.
        resident_mb: Memory of both daemons, in turn, at each check.
        warm: Which of these are before the measurement.
        faults: What should not have happened.
    """

    minutes: float
    seed: int
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    forbidden: Counter[str] = field(default_factory=Counter)
    knocks: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    resident_mb: list[tuple[float, float]] = field(default_factory=list)
    warm: int = 0
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
    for client, name in ((c, name) for c in CLIENTS for name in (c.name, _subscriber(c))):
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
        "streams": {"fenced": [f"{_OTHERS}*"], "fenced-sub": [f"{_OTHERS}*"]},
    }
    return {"security": security}, options


def _subscriber(client: Client) -> str:
    """The key that a client subscribes with: who subscribes rudely is shut out for some time."""
    return f"{client.name}-sub"


@contextmanager
def _working(
    guarded: Daemon, plain: Daemon, options: dict[str, dict[str, bytes]], outcome: Outcome
) -> Iterator[None]:
    """All clients at work, each in a thread of its own."""
    stop = threading.Event()
    works: list[Callable[[], None]] = [lambda: _knock(guarded, plain, stop, outcome)]
    for number, client in enumerate(CLIENTS):
        seed, own = outcome.seed + number, options[client.name]
        subscribing = options[_subscriber(client)]
        ask = _ask if client.folder is not None else _ask_in_vain
        works += [
            lambda c=client, o=own, s=seed, a=ask: a(guarded, c, o, s, stop, outcome),  # type: ignore[misc]
            lambda c=client, o=subscribing, s=seed: _subscribe(guarded, c, o, s, stop, outcome),  # type: ignore[misc]
        ]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ask(
    daemon: Daemon,
    client: Client,
    options: dict[str, bytes],
    seed: int,
    stop: threading.Event,
    outcome: Outcome,
) -> None:
    """Send requests, and every tenth time one that some roles may not have done."""
    shots, chance, fired = Shots(seed, MAX_BYTES), random.Random(seed), 0
    attack = Attack(daemon.config["control"]["bind"], options=options, may=client.may)
    with attack:
        while not stop.is_set():
            attack.fire(shots.next())
            fired += 1
            if fired % 10 == 0 and client.name != "admin":
                request = {"v": 1, "id": f"f{fired}", **chance.choice(_FORBIDDEN)}
                outcome.forbidden[client.name] += 1
                attack.fire(Shot(Way.DEALER, (json.dumps(request).encode(),), f"f{fired}"))
            if fired % 100 == 0 and not attack.check():
                break
        attack.clean_up()
    outcome.counts[client.name] = attack.counts
    outcome.faults += [f"{client.name}: {fault}" for fault in attack.faults]


def _ask_in_vain(
    daemon: Daemon,
    client: Client,
    options: dict[str, bytes],
    seed: int,
    stop: threading.Event,
    outcome: Outcome,
) -> None:
    """Ask without an allowed key: nothing may come back."""
    counts = outcome.counts.setdefault(client.name, Counter())
    while not stop.is_set():
        with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
            _set_up(asking, options if counts["no reply"] % 2 else {})
            asking.connect(daemon.config["control"]["bind"])
            asking.send(b'{"v":1,"id":"s","op":"ping"}')
            if asking.poll(300):
                outcome.faults.append(f"a stranger was answered: {asking.recv()[:100]!r}")
            counts["no reply"] += 1


def _subscribe(
    daemon: Daemon,
    client: Client,
    options: dict[str, bytes],
    seed: int,
    stop: threading.Event,
    outcome: Outcome,
) -> None:
    """Subscribe to all and to nonsense, and look at what comes."""
    chance = random.Random(seed)
    endpoints = [daemon.config["data"][name] for name in ("bind", "latest_bind")]
    while not stop.is_set():
        with zmq.Context() as context, context.socket(zmq.XSUB) as taking:
            _set_up(taking, options)
            taking.connect(chance.choice(endpoints))
            for _ in range(chance.choice((1, 3, 100))):
                taking.send(_subscription(chance))
            end_s = time.monotonic() + chance.uniform(0.1, 5.0)
            while not stop.is_set() and time.monotonic() < end_s:
                if not taking.poll(100):
                    continue
                topic = taking.recv_multipart()[0]
                outcome.received[client.name] += 1
                stream = topic.partition(b".")[2].decode(errors="replace")
                if not client.sees(stream):
                    outcome.faults.append(f"{client.name} received {topic!r}")


def _subscription(chance: random.Random) -> bytes:
    topic = chance.choice((b"", b"masks.", b"masks." + STEADY.encode(), b"events.", b"fr"))
    match chance.randrange(500):
        case 0:
            return chance.randbytes(chance.choice((0, 1, 2, 300)))
        case number if number < 100:
            return b"\x00" + topic
        case _:
            return b"\x01" + topic


def _set_up(taking: "zmq.Socket[bytes]", options: dict[str, bytes]) -> None:
    taking.setsockopt(zmq.LINGER, 0)
    for name, value in options.items():
        taking.setsockopt(getattr(zmq, name), value)


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
        _set_up(taking, options)
        taking.subscribe("masks.")
        taking.connect(guarded.config["data"]["bind"])
        while (now_s := time.monotonic()) < end_s:
            if taking.poll(1000):
                taking.recv_multipart()
                outcome.received["the one who watches"] += 1
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
            if now_s - began_s < WARM_PART * 60 * outcome.minutes:
                outcome.warm = len(outcome.resident_mb)
    _check_growth(outcome)


def _memory(guarded: Daemon, plain: Daemon) -> tuple[float, float]:
    return (
        resident_mb(guarded.process.pid) or 0.0,
        resident_mb(plain.process.pid) or 0.0,
    )


def _check_growth(outcome: Outcome) -> None:
    if 60 * outcome.minutes * WARM_PART < LEAST_WARM_S or not outcome.warm:
        return
    warm, last = outcome.resident_mb[outcome.warm - 1], outcome.resident_mb[-1]
    for name, before_mb, after_mb in zip(("guarded", "plain"), warm, last, strict=True):
        if after_mb - before_mb > MOST_GROWTH_MB:
            outcome.faults.append(f"the daemon in {name}/ grew by {after_mb - before_mb:.0f} MB")


def page(outcome: Outcome) -> str:
    """What came of it, in Markdown."""
    codes = sorted({code for counts in outcome.counts.values() for code in counts})
    head = "| reply | " + " | ".join(outcome.counts) + " |"
    rows = [
        f"| {code} | " + " | ".join(str(counts[code]) for counts in outcome.counts.values()) + " |"
        for code in codes
    ]
    knocks = "\n".join(f"| {how} | {count} |" for how, count in outcome.knocks.most_common())
    sent = ", ".join(f"{name} {count}" for name, count in outcome.forbidden.items())
    received = ", ".join(f"{name} {count}" for name, count in sorted(outcome.received.items()))
    first, warm = outcome.resident_mb[0], outcome.resident_mb[max(0, outcome.warm - 1)]
    most = tuple(max(column) for column in zip(*outcome.resident_mb, strict=True))
    memory = "; ".join(
        f"{name} {first[i]:.0f} MB at the start, {warm[i]:.0f} once warm, {most[i]:.0f} at most, "
        f"{outcome.resident_mb[-1][i]:.0f} at the end"
        for i, name in enumerate(("with keys", "without"))
    )
    faults = "\n".join(f"- {fault}" for fault in outcome.faults[:50]) or "No fault."
    return f"""# Clients that ask for more than is theirs, and bytes that are nearly ZeroMQ

`python -m tools.hostile.strangers --minutes {outcome.minutes:g} --seed {outcome.seed}`

{head}
|---|{"---:|" * len(outcome.counts)}
{chr(10).join(rows)}

Of these, asked on purpose for what some roles may not have done: {sent}.
Messages of data received: {received}.

| connections with bytes of ZMTP to both daemons | |
|---|---:|
{knocks}

Resident memory of the daemons: {memory}.

{faults}
"""


def main() -> int:
    """Run it, print the page; 1 where something was done or seen that should not have been."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.hostile.strangers",
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
