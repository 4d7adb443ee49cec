"""Nonsense at the control socket: it stays up, every reply is typed, memory stays flat."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.careless_daemon import MAX_BYTES, TIMEOUT_S, apart, careless
from tests.support.control_clients import running
from tests.support.small_pico import small_pico_of
from tools.fuzz.protocol import campaign, report, roles
from tools.fuzz.protocol.attack import Attack, bombard, resident_mb
from tools.fuzz.protocol.seeds import SEEDS, STEADY, URLS
from tools.fuzz.protocol.shots import Shot, Shots, Way
from tools.serving import Daemon
from tracker.daemon.control.parse import Rejected, parse
from tracker.protocol.requests import OPERATIONS


@pytest.fixture
def small_daemons(warm_daemons: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons with a small network; their memory is not judged in so short a time."""
    model = small_pico_of(tmp_path / "model", 64)

    def daemon(folder: Path, config: dict[str, Any] | None = None) -> Daemon:
        return Daemon(folder, {"model": model} | (config or {}))

    for program in (campaign, roles):
        monkeypatch.setattr(program, "Daemon", daemon)


@pytest.mark.slow
def test_the_control_socket_survives_a_hostile_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trackd.control")  # its mistakes are logged, hundreds of times
    with (
        running(careless(), max_message_bytes=MAX_BYTES, timeout_s=TIMEOUT_S) as control,
        Attack(control.endpoint) as attack,
    ):
        bombard(attack, messages=600, max_bytes=MAX_BYTES)
        status = control.status()

    own = [fault for fault in attack.faults if "ZeroDivisionError in the daemon" not in fault]
    assert own == []
    assert attack.pings >= 6
    assert status.healthy and status.in_progress == 0
    assert status.unanswerable == attack.lost > 0
    told = {code for code, count in status.replies.items() if count}
    assert told >= {"ok", "bad_request", "unknown_op", "unsupported_version", "too_large"}
    assert told >= {"unknown_stream", "internal", "timeout"}


@pytest.mark.slow
def test_nonsense_takes_no_memory() -> None:
    with apart() as (endpoint, pid), Attack(endpoint) as attack:
        bombard(attack, messages=150, max_bytes=MAX_BYTES)
        before_mb = resident_mb(pid)
        bombard(attack, messages=450, max_bytes=MAX_BYTES, seed=1)
        after_mb = resident_mb(pid)
    if before_mb is None or after_mb is None:
        pytest.skip("no /proc to read resident memory from")
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


@pytest.mark.slow
@pytest.mark.usefixtures("small_daemons")
def test_a_whole_daemon_goes_on_with_its_work_under_fire(tmp_path: Path) -> None:
    outcome = campaign.run(tmp_path, minutes=0.05, seed=3)
    assert outcome.faults == []
    assert outcome.masks > 0
    assert outcome.counts["bad_request"] > 0
    assert "No fault." in report.page(outcome)


def test_what_is_done_though_the_client_may_not_is_a_fault() -> None:
    with (
        running(lambda _: {}, max_message_bytes=MAX_BYTES) as control,
        Attack(control.endpoint, may=lambda request: request.op != "prompt") as attack,
    ):
        for op in ("ping", "prompt"):
            seed = next(seed for seed in SEEDS if seed["op"] == op)
            payload = json.dumps({"v": 1, "id": op, **seed}).encode()
            attack.fire(Shot(Way.DEALER, (payload,), op))
    assert attack.counts["ok"] == 2, attack.counts
    assert len(attack.faults) == 1 and "though it may not" in attack.faults[0]


@pytest.mark.slow
@pytest.mark.usefixtures("small_daemons")
def test_nothing_is_done_or_seen_above_a_role(tmp_path: Path) -> None:
    outcome = roles.run(tmp_path, minutes=0.05, seed=3)
    assert outcome.faults == []
    for client in ("watcher", "prompter", "fenced"):
        assert outcome.visits[client].counts["forbidden"] > 0
    assert outcome.visits["stranger"].counts.keys() == {"no reply"}
    assert outcome.visits["watcher"].received > 0 and not outcome.visits["stranger"].received
    assert sum(outcome.knocks.values()) > 0
    assert "No fault." in roles.page(outcome)


# --- what is sent


def test_there_is_a_proper_request_of_every_operation_to_be_spoiled() -> None:
    assert {seed["op"] for seed in SEEDS} == set(OPERATIONS) - {"shutdown"}
    for seed in SEEDS:
        read = parse(json.dumps({"v": 1, "id": "a", **seed}).encode(), MAX_BYTES)
        assert not isinstance(read, Rejected), read


@pytest.mark.slow
def test_the_same_seed_gives_the_same_messages_and_none_that_ends_the_run() -> None:
    one, same, another = Shots(5, MAX_BYTES), Shots(5, MAX_BYTES), Shots(6, MAX_BYTES)
    shots = [one.next() for _ in range(2000)]
    assert shots == [same.next() for _ in range(2000)]
    assert shots[:10] != [another.next() for _ in range(10)]
    assert {shot.way for shot in shots} == set(Way)
    sent = [parse(part, MAX_BYTES) for shot in shots for part in shot.parts]
    asked = [request for request in sent if not isinstance(request, Rejected)]
    assert {request.op for request in asked} == set(OPERATIONS) - {"shutdown"}
    for request in asked:
        if request.op in ("stream.add", "stream.remove", "stream.pause"):
            assert request.stream != STEADY
        if request.op == "stream.add":
            assert request.url in URLS
