"""Nonsense at the control socket: it stays up, every reply is typed, memory stays flat."""

import itertools
import os
from concurrent.futures import Future
from typing import Any

import pytest
from control_clients import running

from tools.hostile import Attack, bombard, resident_mb
from tracker.daemon.values import Refused
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import AnyRequest, Ping

MAX_BYTES = 64 * 1024


def a_careless_daemon() -> Any:
    """Does each request in another way: well, by a refusal, by a mistake, later, or never."""
    ways = itertools.cycle(range(5))

    def handle(request: AnyRequest) -> "dict[str, Any] | Future[dict[str, Any]]":
        way = 0 if isinstance(request, Ping) else next(ways)
        future: Future[dict[str, Any]] = Future()
        if way == 0:
            return {"version": "0"}
        if way == 1:
            raise Refused(ErrorCode.UNKNOWN_STREAM, "no such stream")
        if way == 2:
            raise ZeroDivisionError
        if way == 3:
            future.set_result({})
        return future

    return handle


def test_the_control_socket_survives_a_hostile_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trackd.control")  # its mistakes are logged, hundreds of times
    with (
        running(a_careless_daemon(), max_message_bytes=MAX_BYTES, timeout_s=0.02) as control,
        Attack(control.endpoint) as attack,
    ):
        bombard(attack, messages=150, max_bytes=MAX_BYTES)
        before_mb = resident_mb(os.getpid())
        bombard(attack, messages=450, max_bytes=MAX_BYTES)
        after_mb = resident_mb(os.getpid())
        status = control.status()

    assert attack.faults == []
    assert attack.pings >= 6
    assert status.healthy and status.in_progress == 0
    assert status.unanswerable > 0
    told = {code for code, count in status.replies.items() if count}
    assert told >= {"ok", "bad_request", "unknown_op", "unsupported_version", "too_large"}
    assert told >= {"unknown_stream", "internal", "timeout"}
    if before_mb is not None and after_mb is not None:
        assert after_mb - before_mb < 64


def test_a_flood_from_one_client_is_refused_in_kind_and_others_are_served() -> None:
    with (
        running(
            lambda _: {}, max_message_bytes=MAX_BYTES, requests_per_s=0.01, burst=20
        ) as control,
        Attack(control.endpoint) as attack,
    ):
        bombard(attack, messages=150, max_bytes=MAX_BYTES)
    assert attack.faults == []
    assert attack.counts["rate_limited"] > 30
