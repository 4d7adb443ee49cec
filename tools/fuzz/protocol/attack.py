"""Sends messages one after the other, and holds what comes back against what must come."""

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import zmq
from pydantic import ValidationError

from tools.fuzz.protocol.seeds import STREAMS
from tools.fuzz.protocol.shots import Shot, Shots, Way
from tracker.daemon.control.parse import Rejected, parse
from tracker.protocol.replies import Reply
from tracker.protocol.requests import Request

PING_EVERY = 100
PATIENCE_MS = 60_000
SHOWN_FAULTS = 10
_IDLE_CONNECTIONS = 20  # left open, half-way through their greeting


class Attack:
    """A client that means no good.

    Args:
        endpoint: Of the control socket.
        options: Of its sockets, keys for instance, by the names that libzmq gives them.
        may: Whether the client may have a request done.

    Attributes:
        counts: Replies by error code or "ok", and what got none by how it was sent.
        lost: Messages whose return address is none, which the daemon must count.
        pings: Pings that were answered.
        faults: What should not have happened, the first few in words.
        fault_count: How often.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        options: Mapping[str, bytes] | None = None,
        may: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        self._endpoint = endpoint
        self._options = dict(options or {})
        self._may = may
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: dict[Way, zmq.Socket[Any]] = {}
        self._idle: list[socket.socket] = []
        self.counts: Counter[str] = Counter()
        self.lost = 0
        self.pings = 0
        self.faults: list[str] = []
        self.fault_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)
        for raw in self._idle:
            raw.close()

    def fire(self, shot: Shot) -> None:
        """Send a message and take the reply, where there must be one."""
        match shot.way:
            case Way.TCP:
                self._fire_tcp(shot.parts[0])
            case Way.CUT:
                self._fire_cut(shot.parts)
            case Way.LOST:
                self._socket(Way.LOST, zmq.DEALER).send_multipart(shot.parts)
                self.lost += 1
            case Way.DEALER | Way.REQ:
                kind = zmq.DEALER if shot.way is Way.DEALER else zmq.REQ
                self._fire_request(shot, self._socket(shot.way, kind))
                return
        self.counts[f"no reply ({shot.way})"] += 1

    def check(self) -> bool:
        """True if a ping is answered, and nothing came that should not have."""
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

    def clean_up(self) -> None:
        """Remove the streams that were added on the way."""
        for stream in STREAMS:
            self.ask({"op": "stream.remove", "stream": stream})

    def _fire_request(self, shot: Shot, client: zmq.Socket[Any]) -> None:
        client.send_multipart(shot.parts)
        if not client.poll(PATIENCE_MS):
            self._fault(f"no reply to {_shown(shot)}")
            client.close()
            del self._sockets[shot.way]
            return
        *envelope, payload = client.recv_multipart()
        reply = self._typed(payload)
        if reply is None:
            return
        self.counts["ok" if reply.error is None else reply.error.code.value] += 1
        if reply.error is not None and reply.error.code == "internal":
            self._fault(f"an error of the daemon's own: {reply.error.message}, by {_shown(shot)}")
        if tuple(envelope) != shot.envelope:
            self._fault(f"a reply to another address, to {_shown(shot)}")
        if reply.ok is (reply.error is not None):
            self._fault(f"a reply both good and bad to {_shown(shot)}")
        if reply.ok and not self._allowed(shot.parts[-1]):
            self._fault(f"done, though it may not: {_shown(shot)}")
        if shot.id is not None and reply.id != shot.id:
            self._fault(f"another id in the reply to {_shown(shot)}")

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
        raw = socket.create_connection((match[1], int(match[2])), PATIENCE_MS / 1000)
        try:
            raw.sendall(payload)
        except ConnectionError:  # it has seen enough
            raw.close()
            return
        self._idle.append(raw)
        if len(self._idle) > _IDLE_CONNECTIONS:
            self._idle.pop(0).close()

    def _typed(self, payload: bytes) -> Reply | None:
        try:
            return Reply.model_validate_json(payload)
        except ValidationError:
            self._fault(f"a reply of another form: {payload[:80]!r}")
            return None

    def _allowed(self, payload: bytes) -> bool:
        request = parse(payload, len(payload))
        return not isinstance(request, Rejected) and self._may(request)

    def _socket(self, way: Way, kind: int) -> zmq.Socket[Any]:
        if way not in self._sockets:
            self._sockets[way] = self._new_socket(kind)
        return self._sockets[way]

    def _new_socket(self, kind: int) -> zmq.Socket[Any]:
        client: zmq.Socket[Any] = self._context.socket(kind)
        client.setsockopt(zmq.LINGER, 0)
        for name, value in self._options.items():
            client.setsockopt(getattr(zmq, name), value)
        client.connect(self._endpoint)
        return client

    def _fault(self, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(text)


def bombard(attack: Attack, *, messages: int, max_bytes: int, seed: int = 0) -> None:
    """Fire `messages` shots, with a ping after every `PING_EVERY`, and remove what was added."""
    shots = Shots(seed, max_bytes)
    for fired in range(1, messages + 1):
        attack.fire(shots.next())
        if fired % PING_EVERY == 0:
            attack.check()
    attack.check()
    attack.clean_up()


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in megabytes; None where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text(encoding="ascii"))
    return None if match is None else int(match[1]) / 1024


def _shown(shot: Shot) -> str:
    whole = b"|".join(shot.parts)
    return f"{whole[:300]!r} ({len(shot.parts)} parts, {len(whole)} bytes, by {shot.way})"
