"""Clients of every role, and a stranger, who ask and subscribe to what is not theirs."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import zmq

from tools.fuzz.protocol.attack import Attack
from tools.fuzz.protocol.campaign import MAX_BYTES
from tools.fuzz.protocol.seeds import STEADY
from tools.fuzz.protocol.shots import Shot, Shots, Way
from tools.serving import Daemon
from tracker.protocol.requests import Request

OTHERS = "hostile-"
"""Prefix of the streams that the client behind the fence may see."""

_WATCH = ("ping", "describe", "metrics", "stream.list", "object.list", "zone.list")
_PROMPT = (
    *_WATCH,
    "prompt",
    "find",
    "object.correct",
    "object.accept",
    "object.remove",
    "object.reset",
    "object.relabel",
)
_LARGE = b"frames-large." + STEADY.encode()
_NEVER = ("shutdown",)  # but by admin, who does not ask for it here
_FORBIDDEN: tuple[dict[str, Any], ...] = (
    {"op": "shutdown"},
    {"op": "stream.remove", "stream": STEADY},
    {"op": "stream.pause", "stream": STEADY},
    {"op": "stream.move", "stream": STEADY, "worker": "1"},
    {"op": "stream.record", "stream": STEADY, "on": False},
    {"op": "stream.add", "stream": "mine", "url": "/etc/passwd"},
    {"op": "snapshot.restore", "stream": STEADY},
    {"op": "snapshot.read", "stream": STEADY},
    {
        "op": "snapshot.write",
        "stream": STEADY,
        "digest": "0" * 64,
        "size": 3,
        "offset": 0,
        "data": "AAAA",
    },
    {"op": "prompt", "stream": STEADY, "box": [1, 1, 30, 30]},
    {"op": "find", "stream": STEADY, "finder": "everything"},
    {"op": "object.list", "stream": STEADY},
    {"op": "zone.set", "stream": STEADY, "zone": "mine", "line": [[0, 0], [9, 9]]},
    {"op": "zone.list", "stream": STEADY},
)


@dataclass(frozen=True, slots=True)
class Client:
    """A client with keys.

    Attributes:
        name: Of the key that it asks with.
        folder: In the daemon's folder of keys; None for nowhere.
        may: Whether it may have a request done.
        sees: Whether it may see what comes from a stream.
    """

    name: str
    folder: str | None
    may: Callable[[Request], bool]
    sees: Callable[[str], bool] = lambda _: True

    @property
    def keys(self) -> tuple[str, str]:
        """It subscribes with another: who subscribes rudely is shut out for some time."""
        return self.name, f"{self.name}-sub"


def _fenced(request: Request) -> bool:
    stream = getattr(request, "stream", None)
    return request.op not in _NEVER and (stream is None or stream.startswith(OTHERS))


FENCED = Client("fenced", "admin", _fenced, lambda stream: stream.startswith(OTHERS))
CLIENTS = (
    Client("watcher", "watch", lambda request: request.op in _WATCH),
    Client("prompter", "prompt", lambda request: request.op in _PROMPT),
    Client("admin", "admin", lambda request: True),
    FENCED,
    Client("stranger", None, lambda request: False, lambda stream: False),
)


@dataclass
class Visits:
    """Outcome of a client's visits.

    Attributes:
        counts: Replies by error code or "ok".
        forbidden: Requests sent on purpose though some roles may not have them done.
        received: Messages of data.
        faults: What should not have happened.
    """

    counts: Counter[str] = field(default_factory=Counter)
    forbidden: int = 0
    received: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Guest:
    """A client at work; each method runs in a thread of its own until `stop` is set.

    Attributes:
        options: Of its sockets, by key.
        seed: Of its choices.
        visits: Is filled.
    """

    daemon: Daemon
    client: Client
    options: Mapping[str, Mapping[str, bytes]]
    seed: int
    stop: threading.Event
    visits: Visits

    def ask(self) -> None:
        """Send requests, and every tenth time one that some roles may not have done."""
        shots, chance, fired = Shots(self.seed, MAX_BYTES), random.Random(self.seed), 0
        options = self.options[self.client.name]
        attack = Attack(self._control, options=options, may=self.client.may)
        with attack:
            while not self.stop.is_set():
                attack.fire(shots.next())
                fired += 1
                if fired % 10 == 0 and self.client.name != "admin":
                    request = {"v": 1, "id": f"f{fired}", **chance.choice(_FORBIDDEN)}
                    self.visits.forbidden += 1
                    attack.fire(Shot(Way.DEALER, (json.dumps(request).encode(),), f"f{fired}"))
                if fired % 100 == 0 and not attack.check():
                    break
            attack.clean_up()
        self.visits.counts.update(attack.counts)
        self.visits.faults += attack.faults

    def ask_in_vain(self) -> None:
        """Ask without an allowed key, or without any: nothing may come back."""
        counts = self.visits.counts
        while not self.stop.is_set():
            with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
                set_up(asking, self.options[self.client.name] if counts["no reply"] % 2 else {})
                asking.connect(self._control)
                asking.send(b'{"v":1,"id":"s","op":"ping"}')
                if asking.poll(300):
                    self.visits.faults.append(f"it was answered: {asking.recv()[:100]!r}")
                counts["no reply"] += 1

    def subscribe(self) -> None:
        """Subscribe to all and to nonsense, and look at what comes."""
        chance = random.Random(self.seed)
        while not self.stop.is_set():
            with zmq.Context() as context, context.socket(zmq.XSUB) as taking:
                set_up(taking, self.options[self.client.keys[1]])
                taking.connect(self.daemon.config["data"][chance.choice(("bind", "latest_bind"))])
                for _ in range(chance.choice((1, 3, 100))):
                    taking.send(_subscription(chance))
                self._take(taking, time.monotonic() + chance.uniform(0.1, 5.0))

    def _take(self, taking: "zmq.Socket[bytes]", end_s: float) -> None:
        while not self.stop.is_set() and time.monotonic() < end_s:
            if not taking.poll(100):
                continue
            topic = taking.recv_multipart()[0]
            self.visits.received += 1
            stream = topic.partition(b".")[2].rstrip().decode(errors="replace")
            if not self.client.sees(stream):
                self.visits.faults.append(f"it received {topic!r}")

    @property
    def _control(self) -> str:
        return str(self.daemon.config["control"]["bind"])


def set_up(socket: "zmq.Socket[bytes]", options: Mapping[str, bytes]) -> None:
    """Set the options of a socket, keys for instance, by the names that libzmq gives them."""
    socket.setsockopt(zmq.LINGER, 0)
    for name, value in options.items():
        socket.setsockopt(getattr(zmq, name), value)


def _subscription(chance: random.Random) -> bytes:
    topic = chance.choice((b"", b"masks.", b"masks." + STEADY.encode(), b"events.", b"fr", _LARGE))
    match chance.randrange(500):
        case 0:
            return chance.randbytes(chance.choice((0, 1, 2, 300)))
        case number if number < 100:
            return b"\x00" + topic
        case _:
            return b"\x01" + topic
