"""Bytes of ZMTP, the wire protocol of ZeroMQ (RFC 13, 15, 23, 37): right, nearly so, and wrong."""

import random
import socket
import struct
from collections import Counter
from contextlib import suppress

from tools.fuzz.protocol import mutate

_OPEN = 40  # connections left open, whatever they wait for
_PATIENCE_S = 5.0
_MORE, _LONG, _COMMAND = 1, 2, 4
_MECHANISMS = (b"NULL", b"CURVE", b"PLAIN", b"GSSAPI", b"", b"X" * 20)
_VERSIONS = (b"\x03\x00", b"\x03\x01", b"\x01\x00", b"\x00", b"\x7f\xff", b"\x02\x00")
_SOCKETS = (b"DEALER", b"REQ", b"SUB", b"XSUB", b"PAIR", b"ROUTER", b"", b"X" * 255)
_COMMANDS = (b"PING", b"PONG", b"SUBSCRIBE", b"CANCEL", b"ERROR", b"HELLO", b"WELCOME", b"READY")
_HTTP = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
_REQUEST = b'{"v":1,"id":"z","op":"shutdown"}'


class Knocker:
    """Opens connections, says something, and breaks off, resets or waits.

    Args:
        endpoints: Of the sockets to knock at.
        seed: Of the choices.

    Attributes:
        counts: Connections by how they went.
    """

    def __init__(self, endpoints: list[str], seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._addresses = [_address(endpoint) for endpoint in endpoints]
        self._open: list[socket.socket] = []

    def knock(self) -> None:
        """One connection."""
        chance = self._chance
        try:
            raw = socket.create_connection(chance.choice(self._addresses), _PATIENCE_S)
        except OSError as err:
            self.counts[f"not connected: {err.strerror or err}"] += 1
            return
        try:
            for said in _talk(chance):
                raw.sendall(said)
        except OSError:
            self.counts["closed by the daemon while it was talked to"] += 1
            raw.close()
            return
        self._leave(raw)

    def close(self) -> None:
        """Close what is open."""
        for raw in self._open:
            raw.close()
        self._open.clear()

    def _leave(self, raw: socket.socket) -> None:
        match self._chance.randrange(4):
            case 0:
                self.counts["closed"] += 1
                raw.close()
            case 1:
                self.counts["reset"] += 1
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.close()
            case 2:
                self.counts["closed for writing, then read"] += 1
                with suppress(OSError):
                    raw.shutdown(socket.SHUT_WR)
                    raw.settimeout(0.2)
                    raw.recv(4096)
                raw.close()
            case _:
                self.counts["left open"] += 1
                self._open.append(raw)
                if len(self._open) > _OPEN:
                    self._open.pop(self._chance.randrange(_OPEN)).close()


def _address(endpoint: str) -> tuple[str, int]:
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return host.strip("[]"), int(port)


def _talk(chance: random.Random) -> list[bytes]:
    """Bytes sent on a connection, in pieces."""
    whole = chance.choice((_conversation, _conversation, _old_conversation, _http))(chance)
    if chance.random() < 0.5:
        whole = mutate.raw(whole, chance)
    if chance.random() < 0.2:
        return [whole[at : at + 1] for at in range(min(len(whole), 200))]
    cut = chance.randrange(len(whole) + 1)
    return [whole[:cut], whole[cut:]]


def _conversation(chance: random.Random) -> bytes:
    """A greeting of ZMTP 3, a handshake, and frames."""
    mechanism = chance.choice(_MECHANISMS).ljust(20, b"\0")
    version = chance.choice(_VERSIONS).ljust(2, b"\0")
    said = b"\xff" + bytes(8) + b"\x7f" + version + mechanism + bytes([chance.randrange(2)])
    said += bytes(31)
    for _ in range(chance.randrange(4)):
        said += _handshake(chance)
    for _ in range(chance.choice((0, 1, 3, 30))):
        said += _frame(chance)
    return said


def _old_conversation(chance: random.Random) -> bytes:
    """Frames of ZMTP 1, which has no handshake, or the greeting of ZMTP 2."""
    body = chance.choice((_REQUEST, b"\x01", b"", chance.randbytes(20)))
    if chance.random() < 0.5:
        return bytes([len(body) + 1, 0]) + body
    return b"\xff" + struct.pack(">Q", len(body) + 1) + b"\x7f\x01\x05\x00\x00" + body


def _http(chance: random.Random) -> bytes:
    return _HTTP + bytes([1, 0, len(_REQUEST) + 1, 0]) + _REQUEST


def _handshake(chance: random.Random) -> bytes:
    """A command of a handshake: READY of NULL, HELLO or INITIATE of CURVE, HELLO of PLAIN."""
    match chance.randrange(4):
        case 0:
            kind = chance.choice(_SOCKETS)
            body = b"\x05READY" + _property(b"Socket-Type", kind)
            body += _property(b"Identity", chance.randbytes(chance.choice((0, 5, 255))))
        case 1:
            body = b"\x05HELLO\x01\x00" + bytes(72) + chance.randbytes(32 + 8 + 80)
        case 2:
            body = b"\x08INITIATE" + chance.randbytes(chance.choice((0, 96, 257, 3000)))
        case _:
            body = b"\x05HELLO\x04user\x04pass"
    return _framed(body, _COMMAND)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def _frame(chance: random.Random) -> bytes:
    """A message's part or a command, with the length that it has or claims to have."""
    match chance.randrange(4):
        case 0:
            name = chance.choice(_COMMANDS)
            body = bytes([len(name)]) + name + chance.randbytes(chance.randrange(40))
            return _framed(body, _COMMAND)
        case 1:
            topic = chance.choice((b"", b"masks.", chance.randbytes(300)))
            return _framed(bytes([chance.randrange(3)]) + topic, 0)
        case 2:
            claimed = chance.choice((2**63, 2**64 - 1, 2**32, 2**24, 0))
            return bytes([_LONG | chance.randrange(8)]) + struct.pack(">Q", claimed) + b"abc"
        case _:
            return _framed(chance.choice((b"", _REQUEST)), chance.choice((0, _MORE)))


def _framed(body: bytes, flags: int) -> bytes:
    if len(body) > 255:
        return bytes([flags | _LONG]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body
