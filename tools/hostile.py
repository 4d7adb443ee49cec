"""Sends nonsense to a running daemon: `python -m tools.hostile --messages 10000`.

Random, truncated, huge and well-formed-but-wrong messages, messages in parts that mean nothing,
and bytes that are not ZeroMQ at all. Every message that a reply can be given to must get one typed
reply, the others silence, and the daemon must answer a ping after every hundred. Streams that it
adds on the way are named `hostile-N` and removed at the end. The messages are the same each time.
"""

import argparse
import json
import re
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tracker.daemon.requests import OPS
from tracker.protocol.replies import Reply

PING_EVERY = 100
READ_FACTOR = 4  # so many times more than is allowed is still answered
STREAMS = ("hostile-1", "hostile-2")
PATIENCE_MS = 20_000
SHOWN_FAULTS = 10

# The beginning of ZMTP 3: a signature, the version, and the mechanism without keys.
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
_OPS = tuple(op for op in OPS if op != "shutdown")  # the daemon would do it
_URLS = ("gopher://a/", "", "/no/such/file", "rtsp://u:secret@127.0.0.1:1/", "lavfi:nonsense", 7)


class Way(StrEnum):
    """How a message is sent, and so what must come of it."""

    DEALER = "dealer"  # one reply
    REQ = "req"  # one reply
    PARTS = "parts"  # silence
    CUT = "cut"  # the connection is closed, nothing is answered
    TCP = "tcp"  # whatever ZeroMQ does


@dataclass(frozen=True, slots=True)
class Shot:
    """One message.

    Attributes:
        way: How it is sent.
        parts: What is sent.
        id: The id that the reply must repeat; None where it may be "".
    """

    way: Way
    parts: tuple[bytes, ...] = field(repr=False)
    id: str | None = None


def shots(max_bytes: int) -> st.SearchStrategy[Shot]:
    """All kinds of messages, for a daemon that allows requests of `max_bytes`."""
    weights = {
        _requests(): 10,
        _wrong_requests(): 3,
        _no_requests(): 3,
        _nested(): 1,
        _large(max_bytes): 1,
        _parts(): 2,
        _cut(max_bytes): 1,
        _tcp(): 2,
    }
    kinds = [kind for kind, weight in weights.items() for _ in range(weight)]
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def _ids() -> st.SearchStrategy[str]:
    return st.integers(0, 2**60).map(str)


def _answered(payload: bytes, way: Way, request_id: str | None = None) -> Shot:
    return Shot(way, (payload,), request_id)


_ANSWERED = st.sampled_from((Way.DEALER, Way.REQ))
_COORDINATES = st.floats(-10, 2000)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
_JSON_LISTS = st.lists(_JSON, max_size=2)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.sampled_from((*STREAMS, *STREAMS, *STREAMS, "nobody", "../../etc", "a" * 65)),
    "url": st.sampled_from(_URLS),
    "object": st.integers(-1, 5) | st.just(2**31),
    "points": st.lists(st.tuples(_COORDINATES, _COORDINATES), max_size=66),
    "labels": st.lists(st.integers(0, 2), max_size=3),
    "box": st.lists(_COORDINATES, min_size=4, max_size=4) | st.lists(st.floats(), max_size=5),
    "mask": st.fixed_dictionaries(
        {
            "size": st.tuples(st.integers(0, 20_000), st.integers(1, 500)),
            "counts": st.text(max_size=50),
        }
    ),
    "frame": st.dictionaries(st.sampled_from(("seq", "pts", "captured_ns")), st.integers()),
    "label": st.none() | st.text(max_size=250),
    "normalized": st.booleans(),
    "policy": st.sampled_from(("latest", "every", "all")),
}
# What the ops need; the other fields come now and then.
_NEEDED = {
    "stream.add": ("stream", "url"),
    "prompt": ("stream", "points"),
    "object.correct": ("stream", "object", "box"),
    "object.remove": ("stream", "object"),
    "object.reset": ("stream", "object"),
    "object.relabel": ("stream", "object", "label"),
} | dict.fromkeys(("ping", "describe", "metrics", "stream.list"), ())


@st.composite
def _requests(draw: st.DrawFn) -> Shot:
    """Requests of a known op whose fields are nearly right, now and then all of them."""
    op = draw(st.sampled_from(_OPS))
    names = set(_NEEDED.get(op, ("stream",)))
    if draw(st.integers(0, 3)) == 0:
        names ^= {draw(st.sampled_from(sorted(_VALUES)))}  # one too many, or one too few
    request: dict[str, Any] = {"v": 1, "id": draw(_ids()), "op": op}
    request |= {name: draw(_VALUES[name]) for name in sorted(names)}
    return _answered(json.dumps(request).encode(), draw(_ANSWERED), request["id"])


@st.composite
def _wrong_requests(draw: st.DrawFn) -> Shot:
    """Other versions, unknown ops, fields of any kind."""
    request: dict[str, Any] = {"v": draw(st.sampled_from((1, 1, 1, 0, 2, "1"))), "id": draw(_ids())}
    names = st.text(max_size=60).filter(lambda op: op != "shutdown")
    request["op"] = draw(st.sampled_from(_OPS) | names | _JSON_LISTS)
    request |= draw(st.dictionaries(st.sampled_from(sorted(_VALUES)), _JSON, max_size=3))
    return _answered(json.dumps(request).encode(), draw(_ANSWERED), request["id"])


@st.composite
def _no_requests(draw: st.DrawFn) -> Shot:
    """Random bytes, and requests that break off or have a byte changed."""
    if draw(st.booleans()):
        return _answered(draw(st.binary(max_size=300)), draw(_ANSWERED))
    whole = bytearray(draw(_requests()).parts[0])
    place = draw(st.integers(0, len(whole) - 1))
    if draw(st.booleans()):
        return _answered(bytes(whole[:place]), draw(_ANSWERED))
    whole[place] = draw(st.integers(0, 255))
    return _answered(bytes(whole), draw(_ANSWERED))


@st.composite
def _nested(draw: st.DrawFn) -> Shot:
    """JSON that is deep rather than long."""
    opening = draw(st.sampled_from((b"[", b'{"a":', b'{"id":[', b'{"op":"prompt","points":[[')))
    return _answered(opening * draw(st.integers(1, 5000)), draw(_ANSWERED))


def _large(max_bytes: int) -> st.SearchStrategy[Shot]:
    """About as large as is allowed, or several times larger."""
    sizes = st.integers(max_bytes // 2, READ_FACTOR * max_bytes)
    starts = st.sampled_from((b"", b'{"id":"a","op":"ping","x":"', b"[0"))
    fillers = st.sampled_from((b" ", b"x", b"0", b"[", b"\xff", b'"'))
    return st.builds(
        lambda size, start, filler: _answered((start + filler * size)[:size], Way.DEALER),
        sizes,
        starts,
        fillers,
    )


def _cut(max_bytes: int) -> st.SearchStrategy[Shot]:
    """Larger than ZeroMQ reads."""
    most = READ_FACTOR * max_bytes
    return st.integers(most + 1, 2 * most).map(lambda size: Shot(Way.CUT, (b" " * size,)))


def _parts() -> st.SearchStrategy[Shot]:
    """Messages in parts that are neither a request nor a delimiter and a request."""
    parts = st.lists(st.sampled_from((b"", b"x", b'{"id":"a","op":"ping"}')), min_size=2)
    meaningless = parts.filter(lambda drawn: len(drawn) > 2 or drawn[0] != b"")
    return meaningless.map(lambda drawn: Shot(Way.PARTS, tuple(drawn)))


def _tcp() -> st.SearchStrategy[Shot]:
    """Bytes that are not ZeroMQ, or begin as if they were."""
    starts = st.sampled_from(
        (b"", b"GET / HTTP/1.1\r\n\r\n", _GREETING[:10], _GREETING, _GREETING + _READY)
    )
    headers = st.sampled_from((b"", b"\x02\x7f" + b"\xff" * 7, b"\x00\xff", b"\x06" + b"\xff" * 8))
    return st.builds(
        lambda start, header, rest: Shot(Way.TCP, (start + header + rest,)),
        starts,
        headers,
        st.binary(max_size=200),
    )


class Attack:
    """Sends messages one after the other and keeps count of what comes back.

    Attributes:
        counts: Replies by error code or "ok", and what got none by how it was sent.
        pings: Pings that were answered.
        faults: What should not have happened, the first few in words.
        fault_count: How often.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: dict[Way, zmq.Socket[Any]] = {}
        self.counts: Counter[str] = Counter()
        self.pings = 0
        self.faults: list[str] = []
        self.fault_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def fire(self, shot: Shot) -> None:
        """Send a message and take the reply, where there must be one."""
        match shot.way:
            case Way.TCP:
                self._fire_tcp(shot.parts[0])
            case Way.CUT:
                self._fire_cut(shot.parts)
            case Way.PARTS:
                self._socket(Way.PARTS, zmq.DEALER).send_multipart(shot.parts)
            case Way.DEALER | Way.REQ:
                kind = zmq.DEALER if shot.way is Way.DEALER else zmq.REQ
                self._fire_request(shot, self._socket(shot.way, kind))
                return
        self.counts[f"no reply ({shot.way})"] += 1

    def check(self) -> bool:
        """Whether a ping is answered, and nothing came that should not have."""
        for way, open_socket in self._sockets.items():
            if way is not Way.REQ and open_socket.poll(0):
                self._fault(f"a reply too many to a message sent by {way}")
                open_socket.recv_multipart()
        reply = self.ask({"op": "ping"})
        if reply is None or not reply.ok:
            self._fault("a ping was not answered")
            return False
        self.pings += 1
        return True

    def ask(self, fields: dict[str, Any]) -> Reply | None:
        """Send a proper request as a new client; None where no reply comes."""
        with self._new_socket(zmq.REQ) as client:
            client.send(json.dumps({"v": 1, "id": "hostile", **fields}).encode())
            return self._typed(client.recv()) if client.poll(PATIENCE_MS) else None

    def _fire_request(self, shot: Shot, client: zmq.Socket[Any]) -> None:
        client.send(shot.parts[0])
        if not client.poll(PATIENCE_MS):
            self._fault(f"no reply to {shot.parts[0][:80]!r}")
            client.close()
            del self._sockets[shot.way]
            return
        reply = self._typed(client.recv())
        if reply is None:
            return
        self.counts["ok" if reply.error is None else reply.error.code.value] += 1
        if reply.ok is (reply.error is not None):
            self._fault(f"a reply both good and bad to {shot.parts[0][:80]!r}")
        if shot.id is not None and reply.id != shot.id:
            self._fault(f"another id in the reply to {shot.parts[0][:80]!r}")

    def _fire_cut(self, parts: tuple[bytes, ...]) -> None:
        with self._new_socket(zmq.DEALER) as client:
            monitor = client.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            client.send_multipart(parts)
            if not monitor.poll(PATIENCE_MS):
                self._fault(f"{len(parts[0])} bytes did not end the connection")
            client.disable_monitor()
            monitor.close()

    def _fire_tcp(self, payload: bytes) -> None:
        match = re.fullmatch(r"tcp://\[?([^\]]+)\]?:(\d+)", self._endpoint)
        if match is None:
            return
        with socket.create_connection((match[1], int(match[2])), PATIENCE_MS / 1000) as raw:
            raw.sendall(payload)

    def _typed(self, payload: bytes) -> Reply | None:
        try:
            return Reply.model_validate_json(payload)
        except ValidationError:
            self._fault(f"a reply of another form: {payload[:80]!r}")
            return None

    def _socket(self, way: Way, kind: int) -> zmq.Socket[Any]:
        if way not in self._sockets:
            self._sockets[way] = self._new_socket(kind)
        return self._sockets[way]

    def _new_socket(self, kind: int) -> zmq.Socket[Any]:
        client: zmq.Socket[Any] = self._context.socket(kind)
        client.setsockopt(zmq.LINGER, 0)
        client.connect(self._endpoint)
        return client

    def _fault(self, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(text)


def bombard(attack: Attack, *, messages: int, max_bytes: int) -> None:
    """Fire `messages` shots, with a ping after every `PING_EVERY`, and remove what was added."""
    fired = 0

    @settings(
        max_examples=messages,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(shots(max_bytes))
    def fire(shot: Shot) -> None:
        nonlocal fired
        attack.fire(shot)
        fired += 1
        if fired % PING_EVERY == 0:
            attack.check()

    fire()
    attack.check()
    for stream in STREAMS:
        attack.ask({"op": "stream.remove", "stream": stream})


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in megabytes; None where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text(encoding="ascii"))
    return None if match is None else int(match[1]) / 1024


def main() -> int:
    """Bombard a daemon, print what came back; 1 where something came that should not have."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:5570", help="its control socket")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument(
        "--max-bytes", type=int, default=2 * 2**20, help="control.max_message_bytes"
    )
    parser.add_argument("--pid", type=int, help="the daemon's; its memory is printed")
    args = parser.parse_args()
    with Attack(args.endpoint) as attack:
        if not attack.check():
            print(f"nobody answers at {args.endpoint}", file=sys.stderr)
            return 1
        bombard(attack, messages=max(1, args.messages // 10), max_bytes=args.max_bytes)
        before_mb = None if args.pid is None else resident_mb(args.pid)
        bombard(attack, messages=args.messages, max_bytes=args.max_bytes)
        after_mb = None if args.pid is None else resident_mb(args.pid)
    for outcome, count in attack.counts.most_common():
        print(f"{count:7d}  {outcome}")
    print(f"{attack.pings:7d}  pings answered")
    if before_mb is not None and after_mb is not None:
        print(f"resident memory of the daemon: {before_mb:.1f} MB, then {after_mb:.1f} MB")
    for text in attack.faults:
        print(f"fault: {text}", file=sys.stderr)
    print(f"{attack.fault_count:7d}  faults")
    return int(attack.fault_count > 0)


if __name__ == "__main__":
    raise SystemExit(main())
