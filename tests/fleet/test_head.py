"""The head, with daemons that answer but do not track."""

from collections.abc import Iterator

import pytest

from tests.support.fake_daemon import FakeDaemon, daemon, stream_info
from tests.support.tracked_frames import wait_until
from tracker.daemon.messages import RequestError
from tracker.fleet.config import FleetConfig
from tracker.fleet.head import Head, _Retry
from tracker.fleet.placement import StaticPlacement
from tracker.protocol.fleet import FleetStatus, FleetStatusResult, FleetStreams, FleetStreamsResult
from tracker.protocol.replies import ErrorCode


@pytest.fixture
def fakes() -> Iterator[tuple[FakeDaemon, FakeDaemon]]:
    with daemon() as one, daemon() as two:
        one.streams, two.streams = [], []
        yield one, two


def head_of(*fakes: FakeDaemon) -> Head:
    nodes = [
        {"name": name, "control": fake.control, "data": fake.data}
        for name, fake in zip("ab", fakes, strict=False)
    ]
    times = {"heartbeat_s": 0.05, "timeout_s": 5}
    tree = {"head": times, "nodes": nodes, "streams": {"cam1": {"url": "x"}}}
    config = FleetConfig.model_validate(tree)
    return Head(config, StaticPlacement(config))


def asked(fake: FakeDaemon) -> list[str]:
    watched = ("stream.list", "metrics", "describe")
    return [one.op for one in fake.requests if one.op not in watched]


def test_waits_for_a_stream_that_no_node_takes_grow_to_a_limit() -> None:
    retry, waits_s = None, []
    for _ in range(7):
        retry = _Retry.after(retry, 100.0)
        waits_s.append(retry.at_s - 100.0)
    assert waits_s == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.slow
def test_a_stream_that_its_node_refuses_waits(fakes: tuple[FakeDaemon, FakeDaemon]) -> None:
    one, _ = fakes
    head = head_of(one)
    head.start()
    try:
        wait_until(lambda: "stream.add" in asked(one))
        one.refuse = RequestError(ErrorCode.BAD_SOURCE, "it may not be opened")
        wait_until(lambda: bool(head._retries))
        one.refuse = None
        wait_until(lambda: not head._retries)
    finally:
        head.stop()


def test_a_new_head_finds_owners_and_fences_the_others(
    fakes: tuple[FakeDaemon, FakeDaemon],
) -> None:
    one, two = fakes
    one.streams = [stream_info("cam1", owner_epoch=5), stream_info("other")]
    two.streams = [stream_info("cam1", owner_epoch=9)]
    head = head_of(one, two)
    head.start()
    try:
        wait_until(lambda: "stream.remove" in asked(one))
        (removal,) = [r for r in one.requests if r.op == "stream.remove"][:1]
        assert (removal.stream, removal.owner_epoch) == ("cam1", 9)  # type: ignore[attr-defined]
        places = head.answer(FleetStreams(id="1", op="fleet.streams"))
        assert isinstance(places, FleetStreamsResult)
        assert [(p.stream, p.node, p.owner_epoch) for p in places.streams] == [("cam1", "b", 9)]
        assert "stream.remove" not in asked(two)
        assert "stream.add" not in asked(one) + asked(two)
    finally:
        head.stop()


def test_status_names_nodes_and_streams_without_one() -> None:
    with daemon() as fake:
        fake.streams = []
        fake.refuse = RequestError(ErrorCode.BUSY, "no")
        head = head_of(fake)
        status = head.answer(FleetStatus(id="1", op="fleet.status"))
        head.stop()
    assert isinstance(status, FleetStatusResult)
    assert [(node.node, node.state) for node in status.nodes] == [("a", "unknown")]
    assert status.unplaced == ["cam1"]
