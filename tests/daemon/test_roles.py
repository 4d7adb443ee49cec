"""What clients with keys may do: each role, each operation, and each topic, over real sockets."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.support.authenticators import Keyring, publishing_behind, watching
from tests.support.control_clients import Client, running
from tests.support.fake_daemon import stream_info
from tests.support.tracked_frames import event, tracked, wait_until
from tracker.daemon.access.allowed_clients import AllowedClients
from tracker.daemon.access.curve import CurveAuthenticator, write_keys
from tracker.daemon.access.permissions import Permissions
from tracker.daemon.config.schema import SecurityConfig
from tracker.daemon.control.operations import then
from tracker.daemon.control.socket import Control
from tracker.daemon.messages import RequestError
from tracker.daemon.publish.publisher import Publisher
from tracker.errors import UsageError
from tracker.protocol.data import EventName
from tracker.protocol.replies import ErrorCode, FindingInfo, RecordingInfo
from tracker.protocol.requests import OPERATIONS, Request

CAM = {"stream": "cam1"}
OBJECT = CAM | {"object": 3}
BOX = {"box": [1, 1, 9, 9]}
REQUESTS: dict[str, dict[str, Any]] = {
    "ping": {},
    "describe": {},
    "metrics": {},
    "stream.list": {},
    "object.list": CAM,
    "prompt": CAM | BOX,
    "find": CAM,
    "object.correct": OBJECT | BOX,
    "object.accept": OBJECT,
    "object.remove": OBJECT,
    "object.reset": OBJECT,
    "object.relabel": OBJECT | {"label": "cup"},
    "stream.add": CAM | {"url": "lavfi:testsrc2"},
    "stream.remove": CAM,
    "stream.pause": CAM,
    "stream.resume": CAM,
    "stream.move": CAM | {"worker": "1"},
    "zone.set": CAM | {"zone": "gate", "line": [[0, 0], [9, 9]]},
    "zone.remove": CAM | {"zone": "gate"},
    "zone.list": CAM,
    "stream.record": CAM | {"on": False},
    "snapshot.save": CAM,
    "snapshot.restore": CAM,
    "snapshot.read": CAM,
    "snapshot.write": CAM | {"digest": "0" * 64, "size": 3, "offset": 0, "data": "AAAA"},
    "shutdown": {},
}
SEE, CHANGE, RUN = ("yes", "yes", "yes"), ("no", "yes", "yes"), ("no", "no", "yes")
# Whether a key in watch/, in prompt/ and in admin/ may.
MAY = {
    "ping": SEE,
    "describe": SEE,
    "metrics": SEE,
    "stream.list": SEE,
    "object.list": SEE,
    "prompt": CHANGE,
    "find": CHANGE,
    "object.correct": CHANGE,
    "object.accept": CHANGE,
    "object.remove": CHANGE,
    "object.reset": CHANGE,
    "object.relabel": CHANGE,
    "stream.add": RUN,
    "stream.remove": RUN,
    "stream.pause": RUN,
    "stream.resume": RUN,
    "stream.move": RUN,
    "zone.set": RUN,
    "zone.remove": RUN,
    "zone.list": SEE,
    "stream.record": RUN,
    "snapshot.save": RUN,
    "snapshot.restore": RUN,
    "snapshot.read": RUN,
    "snapshot.write": RUN,
    "shutdown": RUN,
}
ROLES = ("watch", "prompt", "admin")
STREAMS = ("cam1", "cam10", "yard-1", "yard-2")


class Answering:
    """Answers as a daemon with four streams would, and keeps what was asked."""

    def __init__(self) -> None:
        self.ops: list[str] = []

    def __call__(self, request: Request) -> "dict[str, Any] | Future[dict[str, Any]]":
        self.ops.append(request.op)
        match request.op:
            case "stream.list" | "metrics":
                secret = {"url": "rtsp://***@10.9.8.7/main", "error": "10.9.8.7 refused"}
                failed = FindingInfo(
                    finder="text",
                    error="no /srv/10.9.8.7/weights",
                    searches=1,
                    failures=1,
                    found=0,
                    expired=0,
                    median_s=0.1,
                )
                recording = RecordingInfo(
                    state="failed",
                    error="Permission denied: /srv/10.9.8.7/cam",
                    segments=0,
                    removed_segments=0,
                    bytes=0,
                    dropped_packets=0,
                    dropped_messages=0,
                )
                more = {"finding": failed, "recording": recording}
                infos = [stream_info(name, **secret, **more).model_dump() for name in STREAMS]
                return {"streams": infos}
            case "prompt":
                done: Future[dict[str, Any]] = Future()
                done.set_result({"object": {"id": 7}})
                return then(done, lambda result: result)
            case "object.remove":
                raise RequestError(ErrorCode.UNKNOWN_OBJECT, "no object 3")
            case _:
                return {}


class Served:
    """A control socket with keys and roles."""

    def __init__(
        self, keys: Keyring, authenticator: CurveAuthenticator, control: Control, handle: Answering
    ) -> None:
        self.keys = keys
        self.authenticator = authenticator
        self.control = control
        self.handle = handle

    def client(self, name: str, role: str = "") -> Client:
        options = self.keys.add(name, role)
        self.authenticator.clients.reload()  # as it is within a second anyway
        return Client(self.control, zmq.DEALER, **options)


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


@pytest.fixture
def served(keys: Keyring) -> Iterator[Served]:
    for role in ROLES:
        (keys.clients / role).mkdir()
    handle = Answering()
    authenticator = keys.authenticator(streams={"narrow": ["cam1", "yard-*"]})
    with running(handle, security=authenticator, permissions=Permissions()) as control:
        yield Served(keys, authenticator, control, handle)


def ask(client: Client, op: str, request_id: str = "", **fields: Any) -> dict[str, Any]:
    number = getattr(client, "asked", 0) + 1
    client.asked = number  # type: ignore[attr-defined]
    body = {"id": request_id or f"{op}-{number}", "op": op} | (fields or REQUESTS[op])
    return client.ask(body)


def code(reply: dict[str, Any]) -> str:
    return "ok" if reply["ok"] else str(reply["error"]["code"])


def becomes(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


# --- operations


def test_the_table_names_every_operation() -> None:
    assert set(MAY) == set(REQUESTS) == set(OPERATIONS)


@pytest.mark.parametrize("column", range(3), ids=ROLES)
def test_each_role_may_do_what_it_is_for(served: Served, column: int) -> None:
    with served.client("anna", ROLES[column]) as client:
        for op, may in MAY.items():
            before = served.handle.ops.count(op)
            reply = ask(client, op)
            allowed = may[column] == "yes"
            assert (code(reply) != "forbidden") == allowed, op
            assert served.handle.ops.count(op) - before == allowed, op
            if not allowed:
                assert "needs the role" in reply["error"]["message"]
                assert reply["error"]["hint"]


def test_a_key_in_no_role_s_folder_may_watch_unless_the_configuration_says_more(
    served: Served, keys: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client("anna") as client:
        assert code(ask(client, "stream.list")) == "ok"
        assert code(ask(client, "prompt")) == "forbidden"
    caplog.set_level(logging.INFO)
    handle = Answering()
    with (
        running(
            handle, security=keys.authenticator(default_role="prompt"), permissions=Permissions()
        ) as control,
        Client(control, zmq.DEALER, **keys.add("ben")) as client,
    ):
        assert code(ask(client, "prompt")) == "ok"
        assert code(ask(client, "shutdown")) == "forbidden"
    assert "2 client keys in" in caplog.text or "1 client keys in" in caplog.text
    assert "in the folder of no role, and have the role prompt" in caplog.text


def test_describe_tells_the_client_its_role(served: Served) -> None:
    for role in ROLES:
        with served.client(f"a-{role}", role) as client:
            assert ask(client, "describe")["result"]["role"] == role


@pytest.mark.slow
def test_a_role_that_changes_counts_at_the_next_request(served: Served) -> None:
    with served.client("anna", "watch") as client:
        assert code(ask(client, "prompt")) == "forbidden"
        served.keys.place("anna", "prompt")
        becomes(lambda: code(ask(client, "prompt")) == "ok")
        served.keys.place("anna", "watch")
        becomes(lambda: code(ask(client, "prompt")) == "forbidden")


@pytest.mark.slow
def test_a_removed_key_is_refused_on_the_connection_that_it_had(served: Served) -> None:
    with served.client("anna", "admin") as client, served.client("ben", "watch") as other:
        first = ask(client, "stream.pause", "once")
        assert code(first) == "ok"
        served.keys.place("anna", "none")
        becomes(lambda: code(ask(client, "ping")) == "forbidden")
        done = len(served.handle.ops)
        for op in OPERATIONS:
            reply = ask(client, op)
            assert code(reply) == "forbidden", op
            assert "no longer allowed" in reply["error"]["message"]
        assert code(ask(client, "stream.pause", "once")) == "forbidden"  # not even the old reply
        assert len(served.handle.ops) == done
        assert code(ask(other, "ping")) == "ok"


@pytest.mark.slow
def test_another_key_of_the_same_name_is_another_client(served: Served, tmp_path: Path) -> None:
    """As after a key was lost and a new one made."""
    with served.client("anna", "admin") as client:
        assert code(ask(client, "stream.pause")) == "ok"
        new = write_keys(tmp_path / "new", "anna")
        shutil.copy(new.public, served.keys.clients / "admin" / "anna.key")
        becomes(lambda: code(ask(client, "stream.pause")) == "forbidden")


# --- streams


def test_a_client_may_touch_only_the_streams_it_may_see(served: Served) -> None:
    with served.client("narrow", "admin") as client:
        for op, fields in REQUESTS.items():
            if "stream" not in fields:
                continue
            for name, allowed in {
                "cam1": True,
                "yard-1": True,
                "yard-9": True,
                "cam10": False,
                "cam": False,
                "yard": False,
                "authenticator": False,
            }.items():
                reply = ask(client, op, **fields | {"stream": name})
                assert (code(reply) != "forbidden") == allowed, (op, name)
        assert code(ask(client, "shutdown")) == "forbidden"  # it would end all streams


def test_lists_and_metrics_hold_only_the_streams_a_client_may_see(served: Served) -> None:
    def names(reply: dict[str, Any]) -> list[str]:
        return [info["stream"] for info in reply["result"]["streams"]]

    with served.client("narrow", "watch") as client, served.client("all", "watch") as other:
        for op in ("stream.list", "metrics"):
            assert names(ask(client, op)) == ["cam1", "yard-1", "yard-2"]
            assert names(ask(other, op)) == list(STREAMS)


def test_where_a_stream_comes_from_is_for_admins(served: Served) -> None:
    for role, shown in (("watch", False), ("prompt", False), ("admin", True)):
        with served.client(f"a-{role}", role) as client:
            for op in ("stream.list", "metrics"):
                told = str(ask(client, op))
                assert ("10.9.8.7" in told) == shown
                assert "'url': 'rtsp:" in told
                assert "'finder': 'text'" in told


# --- the record


def test_every_change_and_who_made_it_is_logged_and_counted(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trackd.audit")
    with served.client("anna", "admin") as admin, served.client("ben", "watch") as watcher:
        for op in ("ping", "stream.list", "prompt", "object.remove", "stream.add"):
            ask(admin, op)
        ask(watcher, "stream.remove")
    lines = [r.getMessage() for r in caplog.records if r.name == "trackd.audit"]
    assert lines == [
        "audit: key anna (admin) prompt stream=cam1 object=7: ok",
        "audit: key anna (admin) object.remove stream=cam1 object=3: unknown_object",
        "audit: key anna (admin) stream.add stream=cam1: ok",
        "audit: key ben stream.remove stream=cam1: stream.remove needs the role admin, "
        "key ben has watch",
    ]
    assert served.control.status().changes == {
        "prompt": {"ok": 1},
        "object.remove": {"unknown_object": 1},
        "stream.add": {"ok": 1},
        "stream.remove": {"forbidden": 1},
    }


# --- topics


def stream_of(message: list[bytes]) -> str:
    return message[0].split(b" ")[0].decode().partition(".")[2]


def publish(publisher: Publisher, seq: int, *streams: str) -> None:
    for stream in streams:
        publisher.tracked(tracked(seq, stream=stream))
        publisher.event(event(EventName.STREAM_RUNNING, stream))


def received_until(socket: "zmq.Socket[bytes]", stream: str, seq: int) -> set[str]:
    """The streams of all messages up to the masks of a frame of one of them."""
    seen = set()
    while True:
        message = socket.recv_multipart()
        seen.add(stream_of(message))
        text = b" ".join(message)
        if stream_of(message) == stream and b'"frame":{"seq":%d,' % seq in text:
            return seen


@pytest.mark.parametrize("topics", [("",), ("masks.", "events."), ("masks.cam1", "masks.cam10")])
@pytest.mark.parametrize("latest", [False, True])
def test_a_client_sees_only_the_streams_it_may(
    keys: Keyring, topics: tuple[str, ...], latest: bool
) -> None:
    narrow, wide = keys.add("narrow", "watch"), keys.add("wide", "watch")
    with publishing_behind(keys.authenticator(streams={"narrow": ["cam10"]})) as publisher:
        endpoint = publisher.latest_endpoint if latest else publisher.endpoint
        publish(publisher, 0, *STREAMS)
        with watching(endpoint, narrow, *topics) as mine, watching(endpoint, wide, "") as other:
            assert received_until(mine, "cam10", 0) == {"cam10"}
            assert received_until(other, "yard-2", 0) <= set(STREAMS)
            for seq in range(1, 20):
                publish(publisher, seq, *STREAMS)
            assert received_until(mine, "cam10", 19) == {"cam10"}
            assert received_until(other, "yard-2", 19) == set(STREAMS)


def test_a_stream_that_comes_later_is_seen_by_those_who_may(keys: Keyring) -> None:
    narrow = keys.add("narrow", "watch")
    with (
        publishing_behind(keys.authenticator(streams={"narrow": ["yard-*"]})) as publisher,
        watching(publisher.endpoint, narrow, "masks.") as socket,
    ):
        publish(publisher, 0, "yard-1", "cam1")
        assert received_until(socket, "yard-1", 0) == {"yard-1"}
        publish(publisher, 1, "cam1", "yard-2")  # it connects again, and gets what it may see
        assert received_until(socket, "yard-2", 1) <= {"yard-1", "yard-2"}
        publish(publisher, 2, *STREAMS)
        assert received_until(socket, "yard-2", 2) <= {"yard-1", "yard-2"}


@pytest.mark.slow
def test_a_stream_whose_name_goes_on_where_another_ends_stays_hidden(keys: Keyring) -> None:
    """To ZeroMQ a subscription to masks.cam1 is one to masks.cam10 as well."""
    narrow = keys.add("narrow", "watch")
    with (
        publishing_behind(keys.authenticator(streams={"narrow": ["cam1"]})) as publisher,
        watching(publisher.endpoint, narrow, "masks.cam1", "events.yard-1") as socket,
    ):
        publish(publisher, 0, "cam1")
        assert received_until(socket, "cam1", 0) == {"cam1"}
        for seq in range(1, 30):
            publish(publisher, seq, "cam10", "yard-1")
        socket.rcvtimeo = 1000
        with pytest.raises(zmq.Again):
            while stream_of(socket.recv_multipart()) == "cam1":
                pass
            pytest.fail("it saw a stream that it may not see")


def test_previews_of_a_size_are_those_of_the_streams_that_a_key_may_see(keys: Keyring) -> None:
    """A stream that nobody who may see it asks for is not even encoded."""
    narrow = keys.add("narrow", "watch")
    topics = ("masks.", "frames-tile.cam1", "frames-medium.yard-1", "frames-small.")
    with (
        publishing_behind(keys.authenticator(streams={"narrow": ["cam1"]})) as publisher,
        watching(publisher.endpoint, narrow, *topics) as socket,
    ):
        socket.rcvtimeo = 100
        received: set[bytes] = set()
        for seq in range(300):
            publish(publisher, seq, "cam1", "yard-1")
            with suppress(zmq.Again):
                while True:
                    received.add(socket.recv_multipart()[0])
            if b"frames-tile.cam1" in received:
                break
        assert b"frames-tile.cam1" in received
        assert received <= {b"masks.cam1", b"frames-tile.cam1"}
        sent = publisher.status().sent
        assert sent["frames-tile"] > 0
        assert (sent["frames-medium"], sent["frames-small"]) == (0, 0)


@pytest.mark.slow
def test_a_removed_key_receives_nothing_more_and_others_do(keys: Keyring) -> None:
    anna, ben = keys.add("anna", "watch"), keys.add("ben", "watch")
    with (
        publishing_behind(keys.authenticator()) as publisher,
        watching(publisher.endpoint, anna, "masks.cam1") as gone,
        watching(publisher.endpoint, ben, "masks.") as stays,
    ):
        wait_until(lambda: publisher.status().subscriptions == 2)
        publish(publisher, 0, "cam1")
        for socket in (gone, stays):
            assert received_until(socket, "cam1", 0) == {"cam1"}
        monitor = gone.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        keys.place("anna", "none")
        assert monitor.poll(20_000), "its connection is still there"
        publish(publisher, 1, "cam1")
        assert received_until(stays, "cam1", 1) == {"cam1"}
        gone.rcvtimeo = 1000
        with pytest.raises(zmq.Again):
            gone.recv_multipart()
        gone.disable_monitor()
        monitor.close()


def test_events_do_not_say_where_streams_come_from(keys: Keyring) -> None:
    anna = keys.add("anna", "watch")
    with (
        publishing_behind(keys.authenticator()) as publisher,
        watching(publisher.endpoint, anna, "events.") as socket,
    ):
        wait_until(lambda: publisher.status().subscriptions == 1)
        publisher.event(event(EventName.STREAM_ADDED, text="rtsp://10.9.8.7/main"))
        assert b"10.9.8.7" not in b" ".join(socket.recv_multipart())


def test_what_is_no_subscription_gives_nobody_the_subscription_of_another(
    keys: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    """libzmq mistakes the senders of subscriptions after a message that is none."""
    narrow, wide = keys.add("narrow", "watch"), keys.add("wide", "watch")
    authenticator = keys.authenticator(streams={"narrow": ["yard-*"]})
    with (
        publishing_behind(authenticator) as publisher,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as rude,
        watching(publisher.endpoint, wide, "masks.cam1") as other,
    ):
        rude.linger, rude.rcvtimeo = 0, 500
        for name, value in narrow.items():
            rude.setsockopt(getattr(zmq, name), value)
        rude.connect(publisher.endpoint)
        wait_until(lambda: publisher.status().subscriptions == 1)
        rude.send(b"\x07 is no subscription")
        rude.send(b"\x01masks.cam1")
        wait_until(lambda: publisher.status().resets >= 1)
        for seq in range(20):
            publish(publisher, seq, "cam1")
        assert received_until(other, "cam1", 19) == {"cam1"}
        with pytest.raises(zmq.Again):
            rude.recv_multipart()
        wait_until(lambda: authenticator.refused_for["shut out"] >= 1)
        assert publisher.status().resets == 1, "it comes back, and is not let in"
    assert "key narrow is shut out" in caplog.text
    assert "key narrow sent what is no subscription" in caplog.text


# --- the folder


def test_a_key_with_two_roles_has_the_lesser(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_keys(tmp_path / "made", "anna")
    for role in ("admin", "watch", "prompt"):
        (tmp_path / role).mkdir()
        shutil.copy(files.public, tmp_path / role / "anna.key")
    clients = AllowedClients(tmp_path)
    clients.reload()
    (found,) = clients._clients.values()
    assert (found.name, found.grant.role, len(clients)) == ("anna", "watch", 1)
    assert "has two roles; the lesser one counts" in caplog.text


def test_a_folder_that_others_can_write_to_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    AllowedClients(tmp_path).reload()
    assert "other users can add keys" in caplog.text


@pytest.mark.parametrize(
    ("config", "keyed", "said"),
    [
        ({"streams": {"anna": ["cam1"]}}, False, "streams does nothing without server_key"),
        ({"allow_users": ["root"]}, True, "allow_users does nothing with server_key"),
    ],
)
def test_what_does_nothing_is_refused(
    tmp_path: Path, config: dict[str, Any], keyed: bool, said: str
) -> None:
    if keyed:
        config = config | {"server_key": write_keys(tmp_path, "s").secret, "client_keys": tmp_path}
    with pytest.raises(UsageError, match=said):
        CurveAuthenticator.from_config(SecurityConfig.model_validate(config), [])
