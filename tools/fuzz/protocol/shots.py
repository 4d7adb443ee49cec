"""Messages sent to a daemon, and what must come of each; a seed always gives the same ones."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tools.fuzz.protocol import mutate
from tools.fuzz.protocol.seeds import SEEDS, STEADY, URLS
from tracker.daemon.control.parse import MAX_STRUCTURE_BYTES, Rejected, parse
from tracker.protocol import requests as ask

READ_FACTOR = 4  # so many times more than is allowed is still answered
_HOP_BYTES, _HOPS = 255, 16  # so wide and long may a return address be

# The beginning of ZMTP 3: a signature, the version, and the mechanism without keys.
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


class Way(StrEnum):
    """Way in which a message is sent, which decides what must come of it."""

    DEALER = "dealer"  # one reply
    REQ = "req"  # one reply
    LOST = "lost"  # silence, and it is counted: its return address is no reasonable one
    CUT = "cut"  # the connection is closed, nothing is answered
    TCP = "tcp"  # whatever ZeroMQ does


@dataclass(frozen=True, slots=True)
class Shot:
    """One message.

    Attributes:
        way: How it is sent.
        parts: What is sent.
        id: The id that the reply must repeat; None where it may be "".
        envelope: What the reply must begin with.
    """

    way: Way
    parts: tuple[bytes, ...] = field(repr=False)
    id: str | None = None
    envelope: tuple[bytes, ...] = ()


class Shots:
    """Makes messages of all kinds.

    Args:
        seed: Of the choices.
        max_bytes: Of a request that the daemon allows.
    """

    def __init__(self, seed: int, max_bytes: int) -> None:
        self._chance = random.Random(seed)
        self._max_bytes = max_bytes
        self._seed = seed
        self._made = 0

    def next(self) -> Shot:
        """The next message; none asks for what would end the run."""
        kinds: tuple[tuple[Callable[[], Shot], int], ...] = (
            (self._proper, 15),
            (self._spoiled_fields, 45),
            (self._spoiled_text, 10),
            (self._spoiled_bytes, 15),
            (self._noise, 5),
            (self._large, 1),
            (self._cut, 1),
            (self._parts, 10),
            (self._lost, 2),
            (self._tcp, 4),
        )
        while True:
            self._made += 1
            (make,) = self._chance.choices(*zip(*kinds, strict=True))
            shot: Shot = make()
            if all(_harmless(part) for part in shot.parts):
                return shot

    def _request(self) -> dict[str, Any]:
        request = dict(self._chance.choice(SEEDS))
        if "url" in request:
            request["url"] = self._chance.choice(URLS)
        return {"v": 1, "id": f"{self._seed}-{self._made}", **request}

    def _answered(self, payload: bytes, request_id: str | None = None) -> Shot:
        if len(payload) > READ_FACTOR * self._max_bytes:
            return Shot(Way.CUT, (payload,))
        way = self._chance.choice((Way.DEALER, Way.REQ))
        if way is Way.DEALER and self._chance.random() < 0.3:
            return Shot(way, (b"", payload), request_id, (b"",))
        return Shot(way, (payload,), request_id)

    def _proper(self) -> Shot:
        request = self._request()
        return self._answered(json.dumps(request).encode(), request["id"])

    def _spoiled_fields(self) -> Shot:
        spoiled = mutate.fields(self._request(), self._chance)
        payload = json.dumps(spoiled).encode()
        read = len(payload) <= min(self._max_bytes, MAX_STRUCTURE_BYTES)
        return self._answered(payload, _repeatable_id(payload) if read else None)

    def _spoiled_text(self) -> Shot:
        return self._answered(mutate.text(json.dumps(self._request()), self._chance))

    def _spoiled_bytes(self) -> Shot:
        return self._answered(mutate.raw(json.dumps(self._request()).encode(), self._chance))

    def _noise(self) -> Shot:
        if self._chance.random() < 0.3:
            return self._answered(mutate.deep(self._chance))
        return self._answered(self._chance.randbytes(self._chance.randrange(300)))

    def _large(self) -> Shot:
        """About as large as is allowed, or several times larger."""
        size = self._chance.randint(self._max_bytes // 2, READ_FACTOR * self._max_bytes)
        start = self._chance.choice((b"", b'{"id":"a","op":"ping","x":"', b"[0"))
        filler = self._chance.choice((b" ", b"x", b"0", b"[", b"\xff", b'"'))
        return Shot(Way.DEALER, ((start + filler * size)[:size],))

    def _cut(self) -> Shot:
        """Larger than ZeroMQ reads."""
        most = READ_FACTOR * self._max_bytes
        return Shot(Way.CUT, (b" " * self._chance.randint(most + 1, 2 * most),))

    def _parts(self) -> Shot:
        """Messages in parts that are neither a request nor a delimiter and a request."""
        request = json.dumps(self._request()).encode()
        choices = (b"", b"x", request, self._chance.randbytes(40))
        count = self._chance.choice((2, 2, 3, 3, 4, 7, 1000))
        parts = tuple(self._chance.choice(choices) for _ in range(count))
        if self._chance.random() < 0.3:
            return Shot(Way.REQ, parts)
        envelope = _envelope(parts)
        if len(envelope) > _HOPS or (envelope == (b"",) and count == 2):
            return Shot(Way.DEALER, (b"x", b"y"))
        return Shot(Way.DEALER, parts, envelope=envelope)

    def _lost(self) -> Shot:
        many = (b"hop",) * self._chance.randint(_HOPS, 500)
        return Shot(Way.LOST, (*many, b"", b'{"op":"ping"}'))

    def _tcp(self) -> Shot:
        """Bytes that are not ZeroMQ, or begin as if they were, or break off on the way."""
        chance = self._chance
        whole = _GREETING + _READY + b"\x00\x05hello"
        start = chance.choice(
            (
                b"",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00",  # of TLS
                _GREETING.replace(b"NULL", b"NOPE"),
                _GREETING.replace(b"NULL", b"CURVE"[:4]),
                _GREETING + _READY.replace(b"DEALER", b"XXXXXX"),
                mutate.raw(whole, chance),
                whole[: chance.randrange(len(whole))],
            )
        )
        header = chance.choice((b"", b"\x02\x7f" + b"\xff" * 7, b"\x00\xff", b"\x06" + b"\xff" * 8))
        return Shot(Way.TCP, (start + header + chance.randbytes(chance.randrange(200)),))


def _envelope(parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Parts up to and with the first empty one, as long as another part follows."""
    empty = parts[:-1].index(b"") + 1 if b"" in parts[:-1] else 0
    return () if any(len(hop) > _HOP_BYTES for hop in parts[:empty]) else parts[:empty]


def _repeatable_id(payload: bytes) -> str | None:
    """The id of a request that any parser reads alike; None where the reply may have none."""
    request_id = json.loads(payload).get("id")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= 64:
        return None
    # What is not JSON by the letter is not read at all.
    doubtful = (b"\\ud", b"NaN", b"Infinity")
    return None if any(text in payload for text in doubtful) else request_id


def _harmless(payload: bytes) -> bool:
    """True if a payload asks for nothing that ends the daemon or the steady stream, or goes out."""
    request = parse(payload, len(payload))
    match request:
        case Rejected():
            return True
        case ask.Shutdown():
            return False
        case ask.StreamAdd():
            return request.url in URLS and request.stream != STEADY
        case ask.StreamRemove() | ask.StreamPause():
            return request.stream != STEADY
    return True
