"""Mutations of a request: of its fields, of its text, and of its bytes."""

import copy
import json
import random
from typing import Any

_INTEGERS = [
    edge + step
    for edge in (0, 1, 255, 2**15, 2**31, 2**32, 2**53, 2**60, 2**63, 2**64, 10**30, -(2**63))
    for step in (-1, 0, 1)
]
_FLOATS = [0.5, -0.0, 1e-320, 1e308, -1e6, 1e6 + 1, float("nan"), float("inf"), float("-inf")]
_TEXTS = [
    "",
    " ",
    "\0",
    "1",
    "-1",
    "1e3",
    "steady\n",
    "../../etc/passwd",
    "%s%n{0}",
    "\x1b[2J",
    "ÿ",
    "\uff41\uff42",
    "a\u0301",
    "\u202eabc",
    "👩‍👩‍👧",
    "\ud800",
    "\uffff",
    "x" * 64,
    "x" * 65,
    "é" * 5000,
]
_WORDS = ["stream.list", "stream", "object", "latest", "rle", "seq", "__proto__", "__class__"]


def fields(request: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A copy with one to three of its fields, at any depth, changed, gone, or new."""
    spoiled = copy.deepcopy(request)
    for _ in range(chance.randint(1, 3)):
        place = chance.choice(_containers(spoiled))
        if isinstance(place, list):
            _spoil_list(place, chance)
        else:
            _spoil_object(place, chance)
    return spoiled


def text(payload: str, chance: random.Random) -> bytes:
    """The JSON as no JSON library would write it: doubled keys, other encodings, odd spaces."""
    match chance.randrange(7):
        case 0:  # each key twice, the second one wins or is refused
            return ("{" + payload[1:-1] + "," + payload[1:-1] + "}").encode(errors="surrogatepass")
        case 1:
            return payload.encode(chance.choice(("utf-16", "utf-32", "utf-16-be")), "surrogatepass")
        case 2:
            return b"\xef\xbb\xbf" + payload.encode(errors="surrogatepass")
        case 3:
            return payload.replace(",", ",\n\t ").replace(":", " :\r").encode(errors="replace")
        case 4:
            return payload.replace('"', chance.choice(("'", "“", "`"))).encode(errors="replace")
        case 5:
            return f"{payload}{chance.choice((',', '//', payload, '[', '0'))}".encode(
                errors="replace"
            )
        case _:
            number = chance.choice(("1" * 5000, "1e99999", "-0", "0x10", "01", "+1", ".5", "NaN"))
            return payload.replace("1", number).encode(errors="replace")


def raw(payload: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut off, doubled, or put in."""
    spoiled = bytearray(payload)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(spoiled) + 1)
        match chance.randrange(5):
            case 0 if place < len(spoiled):
                spoiled[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(spoiled):
                spoiled[place] = chance.randrange(256)
            case 2:
                del spoiled[place:]
            case 3:
                spoiled[place:place] = spoiled[:place][-chance.randint(1, 64) :]
            case _:
                spoiled[place:place] = chance.randbytes(chance.randint(1, 4))
    return bytes(spoiled)


def deep(chance: random.Random) -> bytes:
    """JSON that is deep rather than long."""
    opening = chance.choice((b"[", b'{"a":', b'{"id":[', b'{"op":"prompt","points":[['))
    return opening * chance.randint(1, 5000)


def _containers(value: Any) -> list[Any]:
    """All objects and lists in a JSON value, itself first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [found for one in inner for found in _containers(one)]


def _value(chance: random.Random) -> Any:
    match chance.randrange(8):
        case 0:
            return chance.choice(_INTEGERS)
        case 1:
            return chance.choice(_FLOATS)
        case 2 | 3:
            return chance.choice(_TEXTS)
        case 4:
            return chance.choice((None, True, False))
        case 5:
            return [chance.choice(_INTEGERS)] * chance.choice((0, 1, 2, 4, 64, 65, 3000))
        case 6:
            return {chance.choice(_TEXTS + _WORDS): chance.choice(_INTEGERS)}
        case _:
            return json.loads("[" * 50 + "]" * 50)


def _spoil_list(place: list[Any], chance: random.Random) -> None:
    match chance.randrange(4):
        case 0:
            place.clear()
        case 1:
            place.append(_value(chance))
        case 2:
            place.extend(place * chance.choice((1, 40)))
        case _ if place:
            place[chance.randrange(len(place))] = _value(chance)


def _spoil_object(place: dict[str, Any], chance: random.Random) -> None:
    if not place:
        place[chance.choice(_TEXTS + _WORDS)] = _value(chance)
        return
    name = chance.choice(list(place))
    match chance.randrange(6):
        case 0:
            del place[name]
        case 1:
            place[chance.choice(_TEXTS + _WORDS)] = _value(chance)
        case 2:
            place[name + chance.choice(("\u0301", " ", "s", "\0"))] = place.pop(name)
        case 3:
            other = chance.choice(list(place))
            place[name], place[other] = place[other], place[name]
        case _:
            place[name] = _value(chance)
