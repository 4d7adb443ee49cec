"""Directory of a fleet, and the clients that follow it from one daemon to the next."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.support.fake_daemon import FakeDaemon, daemon, free_endpoint, unknown_stream
from tests.support.tracked_frames import tracked, wait_until
from tracker.client import DaemonError, DaemonUnreachable, FleetClient
from tracker.client.directory import DirectoryClient
from tracker.daemon.access.curve import write_keys
from tracker.errors import TrackdError, UsageError
from tracker.fleet.config import HeadConfig
from tracker.fleet.directory import Directory
from tracker.protocol.fleet import (
    FleetDrain,
    FleetRequest,
    FleetStatusResult,
    FleetStreams,
    FleetStreamsResult,
    SnapshotsStatus,
    StreamPlace,
)
from tracker.protocol.replies import ErrorCode

PATIENCE_S = 20.0
STATUS = FleetStatusResult(
    nodes=[],
    unplaced=[],
    placed=0,
    snapshots=SnapshotsStatus(problem="", written=0, failed=0, skipped=0, forgotten=0),
)


class Places:
    """The owner of stream cam1, as a head would tell it."""

    def __init__(self) -> None:
        self.owner: StreamPlace | None = None
        self.drained: list[str] = []

    def give_to(self, fake: FakeDaemon, owner_epoch: int) -> None:
        fake.publisher.own("cam1", owner_epoch)
        self.owner = StreamPlace(
            stream="cam1",
            node="n",
            control=fake.control,
            data=fake.data,
            owner_epoch=owner_epoch,
        )

    def answer(self, request: FleetRequest) -> BaseModel:
        if isinstance(request, FleetDrain):
            if request.node == "nobody":
                raise UsageError("there is no node nobody", "there are n")
            self.drained.append(request.node)
        if isinstance(request, FleetStreams):
            return FleetStreamsResult(streams=[self.owner] if self.owner else [])
        return STATUS


@contextmanager
def serving(folder: Path, places: Places, **keys: Path) -> Iterator[Directory]:
    config = HeadConfig(bind="tcp://127.0.0.1:*", admin=folder / "fleet.sock", **keys)
    directory = Directory(config, places.answer)
    try:
        yield directory
    finally:
        directory.stop()


@pytest.mark.slow
def test_a_subscription_follows_its_stream(tmp_path: Path) -> None:
    places = Places()
    with (
        serving(tmp_path, places) as directory,
        daemon() as old,
        daemon() as new,
        FleetClient(directory.endpoint, timeout_s=PATIENCE_S) as client,
        client.results("cam1", timeout_s=PATIENCE_S) as results,
    ):
        assert results.receive(0) is None, "it has no owner yet"
        places.give_to(old, 1)
        old.publisher.tracked(tracked(70))
        assert next(results).message.frame.seq == 70
        new.publisher.own("cam1", 2)
        new.publisher.tracked(tracked(3))
        places.give_to(new, 2)
        moved = next(results)
        assert (moved.message.owner_epoch, moved.message.frame.seq) == (2, 3)
        assert (moved.restarted, moved.lost) == (True, 0)
        wait_until(lambda: old.publisher.status().subscriptions == 0)
        places.owner = None
        new.publisher.tracked(tracked(4))
        assert next(results).message.frame.seq == 4, "without an owner, the one of before"


def test_requests_follow_their_stream(tmp_path: Path) -> None:
    places = Places()
    with serving(tmp_path, places) as directory, daemon() as old, daemon() as new:
        places.give_to(old, 1)
        with FleetClient(directory.endpoint, timeout_s=PATIENCE_S) as client:
            client.objects("cam1")
            assert [one.op for one in old.requests] == ["object.list"]
            old.refuse = unknown_stream("cam1")
            answer = places.answer

            def move(request: FleetRequest) -> BaseModel:
                if len(old.requests) > 1:
                    places.give_to(new, 2)
                return answer(request)

            directory._answer = move
            client.objects("cam1")
            assert [one.op for one in new.requests] == ["object.list"]
            new.refuse = unknown_stream("cam1")
            client.timeout_s = 0.0
            with pytest.raises(DaemonError, match="there is no stream cam1"):
                client.objects("cam1")
            with pytest.raises(UsageError, match="is about a daemon, and a fleet has several"):
                client.ping()


@pytest.mark.slow
def test_a_request_goes_to_the_owner_of_before_while_the_head_is_dead(tmp_path: Path) -> None:
    places = Places()
    with daemon() as fake:
        with serving(tmp_path, places) as directory:
            places.give_to(fake, 1)
            client = FleetClient(directory.endpoint, timeout_s=1.0)
            client.objects("cam1")
        with client:
            assert client.objects("cam1") == fake.objects
            client.timeout_s = 0.0
            assert client.objects("cam1") == fake.objects, "it is not asked again so soon"


def test_masks_come_on_while_the_head_is_dead(tmp_path: Path) -> None:
    places = Places()
    with daemon() as fake:
        with serving(tmp_path, places) as directory:
            places.give_to(fake, 1)
            client = FleetClient(directory.endpoint, timeout_s=1.0)
            results = client.results("cam1", timeout_s=PATIENCE_S)
            fake.publisher.tracked(tracked(0))
            next(results)
        with client, results:
            for seq in range(1, 40):
                fake.publisher.tracked(tracked(seq))
                assert next(results).message.frame.seq == seq
            assert results.lost == 0


def test_without_a_head_or_an_owner_it_is_said(tmp_path: Path) -> None:
    with (
        FleetClient(free_endpoint(), timeout_s=0.2) as client,
        pytest.raises(DaemonUnreachable, match="no answer from the directory"),
    ):
        client.objects("cam1")
    with (
        serving(tmp_path, Places()) as directory,
        FleetClient(directory.endpoint, timeout_s=0.2) as client,
        pytest.raises(DaemonUnreachable, match="stream cam1 has no owner in the fleet"),
    ):
        client.objects("cam1")


def test_only_who_runs_the_head_drains(tmp_path: Path) -> None:
    places = Places()
    with serving(tmp_path, places) as directory:
        client = DirectoryClient(directory.endpoint, None, PATIENCE_S)
        assert client.status() == STATUS
        with pytest.raises(DaemonError, match="clients drain no nodes") as refused:
            client.drain("n")
        assert refused.value.code is ErrorCode.FORBIDDEN
        client.close()
        socket = tmp_path / "fleet.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        admin = DirectoryClient(f"ipc://{socket}", None, PATIENCE_S)
        admin.drain("n")
        with pytest.raises(DaemonError, match="there is no node nobody; there are n"):
            admin.drain("nobody")
        admin.close()
    assert places.drained == ["n"]


def test_with_keys_only_those_that_were_let_in_are_answered(tmp_path: Path) -> None:
    allowed = tmp_path / "clients"
    allowed.mkdir()
    head, known, stranger = (write_keys(tmp_path, name) for name in ("head", "known", "stranger"))
    (allowed / known.public.name).write_bytes(known.public.read_bytes())
    keys = {"server_key": head.secret, "client_keys": allowed}
    with serving(tmp_path, Places(), **keys) as directory:
        for files, timeout_s in ((known, PATIENCE_S), (stranger, 0.5)):
            given = {"client_key": files.secret, "directory_key": head.public}
            with FleetClient(directory.endpoint, timeout_s=timeout_s, **given) as client:
                if files is known:
                    assert client.places() == {}
                else:
                    with pytest.raises(DaemonUnreachable):
                        client.places()


def test_a_second_head_is_refused(tmp_path: Path) -> None:
    endpoint = free_endpoint()
    config = HeadConfig(bind=endpoint, admin=tmp_path / "one.sock")
    directory = Directory(config, Places().answer)
    with pytest.raises(TrackdError, match="is another head running"):
        Directory(config.model_copy(update={"admin": tmp_path / "two.sock"}), Places().answer)
    directory.stop()
