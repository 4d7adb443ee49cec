"""Bytes to typed requests, or to typed errors."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.daemon.control.parse import Rejected, glance_at_id, parse
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import OPERATIONS, PromptObject, StreamAdd

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
        b'{"a":' * 3_000,
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
    assert all(op in found.error.hint for op in OPERATIONS)
    assert {"ping", "stream.add", "object.correct", "snapshot.restore"} <= set(OPERATIONS)


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
    assert glance_at_id(b'{"id":"a","x":"' + b"x" * 70_000 + b'"}') == "a"
    assert glance_at_id(b'{"x":"' + b"x" * 70_000 + b'","id":"a"}') == ""


HEAD = b'{"v":1,"id":"b","op":"prompt","stream":"cam",'
MANY = 150_000
BOMBS = {
    "labels": HEAD + b'"labels":[' + b",".join([b"9"] * MANY) + b"]}",
    "points": HEAD + b'"points":[' + b",".join([b'["",""]'] * MANY) + b"]}",
    "nested lists": HEAD + b'"points":[' + b",".join([b"[" * 150 + b"]" * 150] * 5_000) + b"]}",
    "empty objects": HEAD + b'"box":[' + b",".join([b"{}"] * MANY) + b"]}",
    "other keys": HEAD + b",".join(b'"%x":1' % i for i in range(MANY)) + b"}",
    "one key again and again": HEAD + b",".join([b'"box":1'] * MANY) + b"}",
    "counts as a list": HEAD + b'"mask":{"counts":[' + b",".join([b"1"] * MANY) + b"]}}",
    "a list after a long text": HEAD
    + b'"label":"%s","labels":[' % (b"a" * 900_000)
    + b",".join([b"9"] * MANY)
    + b"]}",
    "a list behind quotes in a text": HEAD
    + rb'"label":"\"","labels":['
    + b",".join([b"9"] * MANY)
    + b"]}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_many_values_are_refused_before_any_is_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.daemon.control.parse.REQUEST", None)
    found = rejected(BOMBS[name], max_bytes=2**21)
    assert (found.id, found.error.code) == ("b", ErrorCode.TOO_LARGE)
    assert len(found.error.message) < 200


@pytest.mark.parametrize(
    "field",
    [
        b'"object":' + b"1" * 1_900_000,
        b'"wait_s":0.' + b"1" * 1_900_000,
        b'"wait_s":1e' + b"9" * 1_900_000,
        b'"label":"' + b"a" * 1_900_000 + b'"',
        b'"label":"' + rb"\u00e9" * 300_000 + b'"',
        b'"x":' + b"[" * 1_900_000,
        b'"labels":[' + b",".join([b"9"] * 7_000) + b"]",
        b",".join(b'"%x":1' % i for i in range(1_500)),
    ],
)
def test_one_long_value_gets_a_short_error(field: bytes) -> None:
    found = rejected(HEAD + field + b"}", max_bytes=2**21)
    assert found.error.code is ErrorCode.BAD_REQUEST
    assert len(found.error.message) < 200


def test_the_largest_proper_requests_are_read() -> None:
    point = (-123456.78901234567, 123456.78901234567)
    clicks = {"points": [point] * 64, "labels": [0] * 64, "label": "\U0001f4f7" * 200}
    mask = {"size": [2160, 3840], "counts": "\\" * 1_000_000}
    url = "/media/" + "\u5b57" * 4_000 + "/clip.mp4"
    for fields in (
        {"op": "prompt", "stream": "cam", **clicks},
        {"op": "prompt", "stream": "cam", "mask": mask, "label": "\U0001f4f7" * 200},
        {"op": "stream.add", "stream": "cam", "url": url},
    ):
        for indent in (None, 4):
            payload = json.dumps({"v": 1, "id": "a", **fields}, indent=indent).encode()
            assert not isinstance(parse(payload, 2**22), Rejected), payload[:200]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=15,
)
FIELDS = st.sampled_from(["stream", "object", "points", "labels", "box", "mask", "frame", "url"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    payload=st.binary(max_size=200)
    | st.builds(
        lambda op, fields: json.dumps({"v": 1, "id": "a", **fields, "op": op}).encode(),
        st.sampled_from(sorted(OPERATIONS)) | st.text(max_size=10),
        st.dictionaries(FIELDS, JSON),
    )
)
def test_every_payload_gives_a_request_or_a_typed_error(payload: bytes) -> None:
    found = parse(payload, MAX_BYTES)
    if isinstance(found, Rejected):
        assert found.error.code in (ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_OP)
        assert found.error.message
    else:
        assert found.op in OPERATIONS
