"""Bytes to typed requests, or to typed errors."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.daemon.requests import OPS, Rejected, glance_at_id, parse
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import PromptObject, StreamAdd

MAX_BYTES = 100_000


def rejected(payload: bytes | dict[str, Any], max_bytes: int = MAX_BYTES) -> Rejected:
    if isinstance(payload, dict):
        payload = json.dumps(payload).encode()
    found = parse(payload, max_bytes)
    assert isinstance(found, Rejected), found
    return found


def test_a_request_is_typed() -> None:
    found = parse(
        b'{"v":1,"id":"7","op":"prompt","stream":"cam1","points":[[3,4.5]],"label":"cup"}',
        MAX_BYTES,
    )
    assert isinstance(found, PromptObject)
    assert (found.id, found.points, found.label) == ("7", ((3.0, 4.5),), "cup")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"hello",
        b"\xff\xfe{}",
        b'{"id":"a","op":"ping"',
        b'{"id":"\\ud800","op":"ping"}',
        b"[]",
        b"null",
        b'"ping"',
        b"1" * 50_000,
        b"[" * 90_000,
        b'{"a":' * 10_000,
    ],
)
def test_what_is_no_json_object_is_a_bad_request_without_an_id(payload: bytes) -> None:
    found = rejected(payload)
    assert (found.id, found.error.code) == ("", ErrorCode.BAD_REQUEST)
    assert "JSON object" in found.error.hint
    assert len(found.error.message) < 200


def test_a_request_that_is_too_large_is_not_read() -> None:
    found = rejected(b'{"v":1,"id":"a","op":"ping"}', max_bytes=20)
    assert (found.id, found.error.code) == ("", ErrorCode.TOO_LARGE)
    assert "28 bytes, 20 are allowed" in found.error.message


def test_another_version_is_named_before_anything_else() -> None:
    found = rejected({"v": 2, "id": "a", "op": "teleport", "where": "home"})
    assert (found.id, found.error.code) == ("a", ErrorCode.UNSUPPORTED_VERSION)
    assert '"v":1' in found.error.hint


def test_an_unknown_op_is_told_the_known_ones() -> None:
    found = rejected({"v": 1, "id": "a", "op": "teleport"})
    assert (found.id, found.error.code) == ("a", ErrorCode.UNKNOWN_OP)
    assert "teleport" in found.error.message
    assert all(op in found.error.hint for op in OPS)
    assert {"ping", "stream.add", "object.correct", "snapshot.restore"} <= set(OPS)


@pytest.mark.parametrize("op", [None, 5, ["ping"], {"ping": 1}])
def test_an_op_that_is_no_name_is_a_bad_request(op: object) -> None:
    found = rejected({"v": 1, "id": "a", "op": op})
    assert (found.id, found.error.code) == ("a", ErrorCode.BAD_REQUEST)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"op": "prompt", "stream": "c"}, "prompt: give points, a box or a mask"),
        ({"op": "prompt", "stream": "c", "points": [[1, 2], [3, "x"]]}, "points.1.1: "),
        ({"op": "object.remove", "stream": "c"}, "object.remove: object: Field required"),
        ({"op": "ping", "extra": 1, "more": 2}, "ping: extra: Extra inputs are not permitted (and"),
        ({"op": "stream.add", "stream": "../x", "url": "a"}, "stream: String should match"),
        ({"op": "ping", "v": "one"}, "ping: v: "),
    ],
)
def test_a_wrong_field_is_told_by_its_place(fields: dict[str, Any], said: str) -> None:
    found = rejected({"id": "a", **fields})
    assert (found.id, found.error.code) == ("a", ErrorCode.BAD_REQUEST)
    assert said in found.error.message
    assert "\n" not in found.error.message


@pytest.mark.parametrize("request_id", ["", "x" * 65, 5, None, ["a"]])
def test_an_id_that_cannot_be_repeated_is_left_empty(request_id: object) -> None:
    found = rejected({"v": 1, "id": request_id, "op": "ping"})
    assert (found.id, found.error.code) == ("", ErrorCode.BAD_REQUEST)
    assert "id" in found.error.message


def test_what_the_client_wrote_is_not_echoed() -> None:
    secret = "rtsp://admin:hunter2@10.0.0.9/" + "x" * 5000
    for fields in (
        {"op": secret},
        {"op": "stream.add", "stream": secret, "url": secret},
        {"op": "stream.add", "stream": "c", "url": [secret]},
        {"op": "ping", secret: secret},
        {"op": "prompt", "stream": "c", "points": [[secret, 1]]},
    ):
        error = rejected({"id": "a", **fields}).error
        assert "hunter2" not in error.model_dump_json()
        assert len(error.model_dump_json()) < 800


def test_an_url_with_credentials_stays_out_of_the_request_s_own_text() -> None:
    payload = b'{"id":"a","op":"stream.add","stream":"c","url":"rtsp://u:hunter2@h/"}'
    found = parse(payload, MAX_BYTES)
    assert isinstance(found, StreamAdd)
    assert "hunter2" not in repr(found)


def test_the_id_of_a_request_that_is_not_served_is_read_only_where_that_is_cheap() -> None:
    assert glance_at_id(b'{"op":"?","id":"a"}') == "a"
    assert glance_at_id(b"{") == ""
    assert glance_at_id(b'{"id":"a","x":"' + b"x" * 70_000 + b'"}') == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=15,
)
FIELDS = st.sampled_from(["stream", "object", "points", "labels", "box", "mask", "frame", "url"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    payload=st.binary(max_size=200)
    | st.builds(
        lambda op, fields: json.dumps({"v": 1, "id": "a", **fields, "op": op}).encode(),
        st.sampled_from(OPS) | st.text(max_size=10),
        st.dictionaries(FIELDS, JSON),
    )
)
def test_every_payload_gives_a_request_or_a_typed_error(payload: bytes) -> None:
    found = parse(payload, MAX_BYTES)
    if isinstance(found, Rejected):
        assert found.error.code in (ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_OP)
        assert found.error.message
    else:
        assert found.op in OPS
