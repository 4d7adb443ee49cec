"""Parser of requests: from bytes to a typed request, or to the error that answers it."""

import re
from dataclasses import dataclass
from typing import Any

import pydantic_core
from pydantic import ValidationError

from tracker.protocol.fields import VERSION
from tracker.protocol.replies import ErrorBody, ErrorCode
from tracker.protocol.requests import OPERATIONS, REQUEST, Request

_KNOWN_OPS = f"one of {', '.join(sorted(OPERATIONS))}"
_ID_CHARS = 64
_PLAIN_NAME = re.compile(r"[\w.-]{1,40}")
_GLANCE_BYTES = 4 * 1024
#: Bytes of a request besides its longest text, the run lengths of a mask: ten times what 64 clicks
#: take. What JSON costs to read is in its values, not in the bytes of one of them.
MAX_STRUCTURE_BYTES = 16 * 1024


_TOO_MUCH_STRUCTURE = ErrorBody(
    code=ErrorCode.TOO_LARGE,
    message=f"the request has more than {MAX_STRUCTURE_BYTES} bytes besides its longest text",
    hint="only the counts of a mask may be long; look at describe for the limits of the rest",
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that was not understood; `id` is "" where it could not be read."""

    id: str
    error: ErrorBody


def parse(payload: bytes, max_bytes: int) -> Request | Rejected:
    """Read one request. Whatever the bytes are, this returns.

    Args:
        payload: A JSON object in UTF-8.
        max_bytes: A longer payload is rejected without a look at it.
    """
    if len(payload) > max_bytes:
        return too_large(len(payload), max_bytes)
    if _has_too_much_structure(payload):
        return Rejected(glance_at_id(payload), _TOO_MUCH_STRUCTURE)
    try:
        return REQUEST.validate_json(payload)
    except ValidationError as err:
        return _explain(payload, err)
    except RecursionError:
        return _bad("", "the JSON is nested too deep")


def too_large(size: int, max_bytes: int) -> Rejected:
    """The answer to a request of `size` bytes, which nobody reads."""
    return Rejected(
        "",
        ErrorBody(
            code=ErrorCode.TOO_LARGE,
            message=f"the request has {size} bytes, {max_bytes} are allowed",
            hint="send less, or raise control.max_message_bytes in the daemon's configuration",
        ),
    )


def glance_at_id(payload: bytes) -> str:
    """The id of a request that is not served, where it stands near the beginning; else ""."""
    return _id_of(_read(payload[:_GLANCE_BYTES], cut=len(payload) > _GLANCE_BYTES))


def _has_too_much_structure(payload: bytes) -> bool:
    """True if there is more JSON around the longest text than any request has.

    Only bytes are counted. What is between two quotes and holds no comma is one value, whatever
    it is.
    """
    if len(payload) <= MAX_STRUCTURE_BYTES:
        return False
    if payload.count(b'"') > MAX_STRUCTURE_BYTES:
        return True
    longest = max(payload.split(b'"'), key=len)
    return b"," in longest or len(payload) - len(longest) > MAX_STRUCTURE_BYTES


def _explain(payload: bytes, err: ValidationError) -> Rejected:
    """Find what to say: the version first, then the op, then the first field that is wrong."""
    first = err.errors(include_url=False, include_input=False, include_context=False)[0]
    fields = _read(payload)
    if first["type"] == "json_invalid" or fields is None:
        return _bad("", str(first["msg"]), "a request is one JSON object in UTF-8")
    request_id = _id_of(fields)
    version = fields.get("v", VERSION)
    if isinstance(version, int) and version != VERSION:
        error = ErrorBody(
            code=ErrorCode.UNSUPPORTED_VERSION,
            message="this daemon does not speak that version of the protocol",
            hint=f'send "v":{VERSION}',
        )
        return Rejected(request_id, error)
    op = fields.get("op")
    if not isinstance(op, str):
        return _bad(request_id, "op: give a name", _KNOWN_OPS)
    if op not in OPERATIONS:
        error = ErrorBody(
            code=ErrorCode.UNKNOWN_OP, message=f"unknown op {_shown(op)}", hint=_KNOWN_OPS
        )
        return Rejected(request_id, error)
    more = f" (and {err.error_count() - 1} more)" if err.error_count() > 1 else ""
    place = ".".join(_shown(part) for part in first["loc"][1:])
    what = str(first["msg"]).removeprefix("Value error, ")
    return _bad(request_id, f"{op}: {place + ': ' if place else ''}{what}{more}")


def _read(payload: bytes, *, cut: bool = False) -> dict[str, Any] | None:
    """The JSON object in `payload`, or what is whole of one that was cut; None for none."""
    try:
        value = pydantic_core.from_json(payload, allow_partial=cut)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _id_of(fields: dict[str, Any] | None) -> str:
    """The request's id; "" where it has none that a reply could repeat."""
    value = None if fields is None else fields.get("id")
    return value if isinstance(value, str) and len(value) <= _ID_CHARS else ""


def _shown(part: object) -> str:
    """A name that the client chose, for a message to people; "?" for what may hold anything."""
    text = str(part)
    return text if _PLAIN_NAME.fullmatch(text) else "?"


def _bad(request_id: str, message: str, hint: str = "") -> Rejected:
    return Rejected(request_id, ErrorBody(code=ErrorCode.BAD_REQUEST, message=message, hint=hint))
