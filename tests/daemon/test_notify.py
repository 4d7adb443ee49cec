"""Sinks of events: what reaches a real broker and a real HTTP server, and what waits for them."""

import hashlib
import hmac
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import self_signed
from tests.support.documents import ROOT
from tests.support.mosquitto import SKIP, Broker, Subscriber
from tests.support.tracked_frames import wait_until
from tests.support.webhooks import Receiver
from tracker.daemon.config.load import load_config
from tracker.daemon.config.schema import DaemonConfig, NotifyConfig, WebhookConfig
from tracker.daemon.notify import webhook
from tracker.daemon.notify.mqtt_topics import MqttTopics
from tracker.daemon.notify.notifier import Notifier
from tracker.daemon.notify.queue import EventQueue, QueuedEvent
from tracker.daemon.notify.retained import RetainedTopics
from tracker.daemon.notify.webhook import WebhookSink
from tracker.daemon.telemetry.status import SinkStatus
from tracker.errors import UsageError
from tracker.protocol.data import EventMessage, EventName, ZoneEvent

SECRET = b"0123456789abcdef-hunter2"


def event(number: int = 0, name: EventName = EventName.ZONE_ENTERED, **more: Any) -> EventMessage:
    zone = ZoneEvent(name="gate", count=number % 7)
    fields: dict[str, Any] = {"id": f"ab-{number}", "seq": number, "at_ns": 10**18, "zone": zone}
    return EventMessage(**{"stream": "door", "event": name, **fields, **more})


def queued(number: int, size: int = 100) -> QueuedEvent:
    return QueuedEvent(event(number), b"x" * size)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_RETRY", webhook.RetryConfig(first_s=0.01, longest_s=0.05))


@contextmanager
def notifying(config: dict[str, Any], *own_ports: int) -> Iterator[Notifier]:
    notifier = Notifier.from_config(NotifyConfig.model_validate(config), lambda: own_ports)
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.stop(5.0)


def status(notifier: Notifier) -> SinkStatus:
    (one,) = notifier.statuses()
    return one


# --- the queue


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    queue = EventQueue(max_events=3, max_bytes=1000)
    for number in range(5):
        queue.put(queued(number))
    assert (len(queue), queue.bytes, queue.dropped) == (3, 300, 2)
    taken = [queue.take() for _ in range(4)]
    assert [one and one.message.seq for one in taken] == [2, 3, 4, None]
    for number in range(3):
        queue.put(queued(number, size=400))
    assert (len(queue), queue.bytes, queue.dropped) == (2, 800, 3)
    queue.put(queued(9, size=1001))
    assert (len(queue), queue.bytes, queue.dropped) == (0, 0, 6)


def test_who_waits_for_a_queue_is_woken_by_an_event_and_by_its_end() -> None:
    queue, woken = EventQueue(9, 999), []
    thread = threading.Thread(
        target=lambda: woken.extend([queue.wait(), queue.take(), queue.wait()])
    )
    thread.start()
    queue.put(queued(1))
    queue.close()
    thread.join(20)
    assert woken == [True, queued(1), False]


# --- webhooks


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as running:
        yield running


def hook(receiver: Receiver, secret: Path, **more: Any) -> dict[str, Any]:
    one = {"url": receiver.url, "secret_file": secret, "allow_private": True, **more}
    return {"webhooks": [one]}


def test_an_event_is_posted_with_its_id_and_a_signature_that_others_can_check(
    receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    with notifying(hook(receiver, secret)) as notifier:
        notifier.put(event(7, label="naïve"))
        wait_until(lambda: status(notifier).sent == 1)
    (request,) = receiver.requests(204)
    headers, body = request["headers"], request["body"]
    assert request["path"] == "/hook?token=hunter2"
    assert EventMessage.model_validate_json(body) == event(7, label="naïve")
    assert (headers["X-Trackd-Event"], headers["Content-Type"]) == ("ab-7", "application/json")
    signed = tmp_path / "signed"
    signed.write_bytes(f"{headers['X-Trackd-Timestamp']}.{body}".encode())
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET.decode(), str(signed)]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    assert headers["X-Trackd-Signature"] == f"sha256={digest}"
    assert hmac.new(SECRET, signed.read_bytes(), hashlib.sha256).hexdigest() == digest


def test_what_an_endpoint_fails_to_take_is_sent_again_in_order_until_it_does(
    receiver: Receiver, secret: Path
) -> None:
    receiver.answer(503)
    with notifying(hook(receiver, secret)) as notifier:
        for number in range(5):
            notifier.put(event(number))
        wait_until(lambda: len(receiver.requests(503)) > 2)
        assert status(notifier).waiting == 5
        assert (status(notifier).connected, status(notifier).error) == (0, "it answered 503")
        receiver.answer(None)
        wait_until(lambda: status(notifier).sent == 5)
        assert (status(notifier).waiting, status(notifier).connected) == (0, 1)
    taken = [json.loads(one["body"])["id"] for one in receiver.requests(204)]
    assert taken == [f"ab-{number}" for number in range(5)]


def test_an_event_that_is_only_ever_answered_with_failures_is_given_up(
    receiver: Receiver, secret: Path
) -> None:
    """Else it would hold up all others for ever; an endpoint that is away is waited for."""
    receiver.answer(503)
    here = WebhookConfig(url=receiver.url, secret_file=secret, allow_private=True)
    gone = here.model_copy(update={"url": "http://127.0.0.1:1/"})
    sinks = [WebhookSink(f"{n}", one, SECRET, give_up_s=0.0) for n, one in enumerate((here, gone))]
    notifier = Notifier(sinks)
    notifier.start()
    for number in range(2):
        notifier.put(event(number))
    wait_until(lambda: notifier.statuses()[0].refused == 2)
    wait_until(lambda: notifier.statuses()[1].failures >= 2)
    assert (notifier.statuses()[1].waiting, notifier.statuses()[1].refused) == (2, 0)
    notifier.stop(0.1)
    assert [json.loads(one["body"])["id"] for one in receiver.requests(503)] == ["ab-0", "ab-1"]


@pytest.mark.parametrize("answer", [302, 404])
def test_a_redirect_is_not_followed_and_a_refusal_not_repeated(
    receiver: Receiver, secret: Path, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer(answer)
    with notifying(hook(receiver, secret)) as notifier:
        notifier.put(event())
        wait_until(lambda: status(notifier).refused == 1)
    assert [one["path"] for one in receiver.requests()] == ["/hook?token=hunter2"]
    assert f"webhook-1 refused an event: it answered {answer}" in caplog.text
    assert "hunter2" not in caplog.text


def test_only_events_of_its_patterns_are_sent(receiver: Receiver, secret: Path) -> None:
    names = ["zone.e*", "line.crossed"]
    with notifying(hook(receiver, secret, events=names)) as notifier:
        for number, name in enumerate(EventName):
            notifier.put(event(number, name))
        wait_until(lambda: status(notifier).sent == 2)
    sent = {json.loads(one["body"])["event"] for one in receiver.requests()}
    assert sent == {"zone.entered", "line.crossed"}


def test_a_private_host_is_not_posted_to_unless_that_is_allowed(secret: Path) -> None:
    url = "https://localhost/"  # a name is looked up when it is used
    with notifying({"webhooks": [{"url": url, "secret_file": secret}]}) as notifier:
        notifier.put(event())
        wait_until(lambda: status(notifier).failures > 1)
        assert status(notifier).error == "its host is not public, and not allowed"


def test_the_daemon_s_own_ports_are_not_posted_to(receiver: Receiver, secret: Path) -> None:
    with notifying(hook(receiver, secret), receiver.port) as notifier:
        notifier.put(event())
        wait_until(lambda: status(notifier).failures > 1)
    assert receiver.requests() == []


def test_an_endpoint_that_is_gone_does_not_hold_up_the_end(
    receiver: Receiver, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.stop()
    with notifying(hook(receiver, secret)) as notifier:
        for number in range(3):
            notifier.put(event(number))
        wait_until(lambda: status(notifier).failures > 0)
    assert "webhook-1: 3 events were not sent" in caplog.text
    assert "hunter2" not in caplog.text
    wait_until(lambda: all(one.name != "notify-webhook-1" for one in threading.enumerate()))
    assert status(notifier).waiting == 3, "the one that was being sent counts too"


def test_a_sink_that_takes_all_the_time_at_the_end_leaves_it_to_the_others() -> None:
    """The first is done only when the second has sent what it had."""
    sent = threading.Event()

    class Slow:
        name = "slow"
        given_s = 0.0

        def stop(self, timeout_s: float) -> None:
            assert sent.wait(timeout_s)
            self.given_s = timeout_s

        def status(self) -> SinkStatus:
            return SinkStatus(self.name)

    class Quick(Slow):
        def stop(self, timeout_s: float) -> None:
            self.given_s = timeout_s
            sent.set()

    sinks = Slow(), Quick()
    Notifier(sinks).stop(20.0)  # type: ignore[arg-type]
    assert [sink.given_s for sink in sinks] == [20.0, 20.0]


def test_the_certificates_are_read_once_for_all_posts(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    create = webhook.ssl.create_default_context
    counted = lambda: (reads.append(1), create())[1]  # noqa: E731
    monkeypatch.setattr(webhook.ssl, "create_default_context", counted)
    one = {"url": "https://localhost/", "secret_file": secret}
    with notifying({"webhooks": [one]}) as notifier:
        notifier.put(event())
        wait_until(lambda: status(notifier).failures > 2)
    assert reads == [1]


# --- MQTT topics


def test_home_assistant_is_told_of_a_zone_and_forgets_it_with_it() -> None:
    """The keys of homeassistant's components binary_sensor.mqtt and sensor.mqtt."""
    topics, retained = MqttTopics("house/trackd", "homeassistant"), RetainedTopics()
    for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
        topics.retain(event(3, name), retained)
    sent = dict(iter(retained.take_unsent, None))
    occupancy = "homeassistant/binary_sensor/house_trackd_door/gate_occupancy/config"
    number = "homeassistant/sensor/house_trackd_door/gate_count/config"
    count = "house/trackd/door/zones/gate/count"
    assert sent.keys() == {occupancy, number, count}
    assert sent[count] == b"3"
    for topic, name in ((occupancy, "occupancy"), (number, "count")):
        sensor = json.loads(sent[topic])
        assert sensor["state_topic"] == count
        assert sensor["availability_topic"] == "house/trackd/status"
        assert sensor["unique_id"] == f"house/trackd.door.gate.{name}"
    assert json.loads(sent[occupancy])["device_class"] == "occupancy"
    topics.retain(event(0, EventName.ZONE_REMOVED), retained)
    assert dict(iter(retained.take_unsent, None)) == dict.fromkeys(sent, b"")
    retained.send_all_again()
    assert retained.take_unsent() is None


def test_a_stream_that_is_removed_takes_its_topics_with_it_and_no_others() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    for stream in ("door", "door2"):
        for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
            topics.retain(event(1, name, stream=stream), retained)
    dict(iter(retained.take_unsent, None))
    topics.retain(event(0, EventName.STREAM_REMOVED, zone=None), retained)
    forgotten = dict(iter(retained.take_unsent, None))
    assert len(forgotten) == 3 and not any("door2" in topic for topic in forgotten)


def test_a_line_has_no_count() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    line = ZoneEvent(name="door", crossed_in=1, crossed_out=0)
    topics.retain(event(1, EventName.ZONE_SET, zone=line), retained)
    assert retained.take_unsent() is None


def test_a_polygon_that_becomes_a_line_loses_its_count_and_its_sensors() -> None:
    topics, retained = MqttTopics("trackd", "ha"), RetainedTopics()
    for name in (EventName.ZONE_SET, EventName.ZONE_COUNT):
        topics.retain(event(3, name), retained)
    sent = dict(iter(retained.take_unsent, None))
    line = ZoneEvent(name="gate", crossed_in=0, crossed_out=0)
    topics.retain(event(1, EventName.ZONE_SET, zone=line), retained)
    assert len(sent) == 3
    assert dict(iter(retained.take_unsent, None)) == dict.fromkeys(sent, b"")


def test_topics_that_come_and_go_while_the_broker_is_away_are_not_kept() -> None:
    retained = RetainedTopics()
    retained.set("sent", b"1")
    assert retained.take_unsent() == ("sent", b"1")
    for number in range(100):
        retained.set(f"zone-{number}", b"1")
        retained.clear(f"zone-{number}")
    retained.clear("sent")
    assert list(iter(retained.take_unsent, None)) == [("sent", b"")]
    retained.set("sent", b"2")
    retained.clear("sent")
    assert retained.take_unsent() is None


# --- a real broker


@SKIP
def test_events_reach_a_broker_that_was_away_each_once_and_counts_are_retained(
    tmp_path: Path,
) -> None:
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker") as broker, Subscriber(broker, "trackd/+/events/#") as got:
        config = {"host": "127.0.0.1", "port": broker.port, "client_id": "test"}
        with notifying({"mqtt": config}) as notifier:
            for number in range(30):
                notifier.put(event(number))
            wait_until(lambda: status(notifier).sent == 30)
            broker.stop()
            wait_until(lambda: not status(notifier).connected)
            for number in range(30, 90):
                notifier.put(event(number))
            notifier.put(event(90, EventName.ZONE_COUNT))
            assert status(notifier).waiting == 61
            broker.start()
            wait_until(lambda: status(notifier).sent == 91)
            wait_until(lambda: len(got.events()) >= 91)
            with Subscriber(broker, "trackd/#", "--retained-only") as kept:
                wait_until(lambda: len(kept.messages()) >= 2)
                values = {one["topic"]: one["payload"] for one in kept.messages()}
            assert values == {"trackd/status": "online", "trackd/door/zones/gate/count": "6"}
        wait_until(lambda: '"offline"' in _retained(broker, "trackd/status"))
        assert broker.taken("test") == 91
    # A subscriber whose own confirmation was on the way has one again.
    ids = dict.fromkeys(one["id"] for one in got.events())
    assert list(ids) == [f"ab-{number}" for number in range(91)]
    assert {one["topic"] for one in got.messages()} == {
        "trackd/door/events/zone.entered",
        "trackd/door/events/zone.count",
    }


def _retained(broker: Broker, topic: str) -> str:
    command = ["mosquitto_sub", "-p", str(broker.port), "-t", topic, "-C", "1", "-W", "5"]
    return subprocess.run([*command, "-F", "%j"], capture_output=True, text=True).stdout


@SKIP
def test_a_password_is_read_from_its_file_and_a_wrong_one_is_told_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "broker").mkdir()
    password = tmp_path / "password"
    with Broker(tmp_path / "broker", password="hunter2") as broker:
        config = {"host": "127.0.0.1", "port": broker.port, "username": "camera"}
        config |= {"password_file": password}
        password.write_text("wrong-hunter2\n")
        with notifying({"mqtt": config}) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).failures > 0)
            assert status(notifier).error == "the broker refuses: Not authorized"
        password.write_text("hunter2\n")
        with notifying({"mqtt": config}) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).sent == 1)
    assert "the password is sent to 127.0.0.1" in caplog.text
    assert "hunter2" not in caplog.text


def test_without_paho_the_configuration_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    monkeypatch.delitem(sys.modules, "tracker.daemon.notify.mqtt", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'trackd\[mqtt\]'"):
        Notifier.from_config(NotifyConfig.model_validate({"mqtt": {"host": "broker"}}))


# --- the configuration


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("ftp://example.org/hunter2", "", "no URL of http or https"),
        ("https://user:hunter2@example.org/", "", "holds a login"),
        ("http://example.org/hunter2", "", "is not https"),
        ("https://10.0.0.8/hunter2", "", "10.0.0.8 is no public address"),
        ("https://169.254.169.254/hunter2", "allow_private: true", "is no public address"),
        ("https://example.org:99999/hunter2", "", "no URL"),
    ],
)
def test_a_url_that_is_never_posted_to_is_refused_without_telling_it(
    tmp_path: Path, url: str, more: str, says: str
) -> None:
    path = tmp_path / "trackd.yaml"
    text = f"notify: {{webhooks: [{{url: '{url}', secret_file: secret, {more}}}]}}"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"notify\.webhooks\.0\.url: .*{says}") as refused:
        load_config(path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{webhooks: [{urll: x}]}", r"notify\.webhooks\.0\.urll: unknown key.*did you mean url"),
        ("{mqtt: {host: h, prot: 1}}", r"notify\.mqtt\.prot: unknown key.*did you mean port"),
        ("{mqtt: {host: h, events: [zones.*]}}", r"notify\.mqtt\.events: no event has a name like"),
        ("{mqtt: {host: h, password_file: f}}", "password_file goes with username"),
        ("{mqtt: {host: h, topic_prefix: 'a/#'}}", "topic_prefix"),
        ("{webhooks: [{url: 'https://é.org', secret_file: f}]}", "url: .*match pattern"),
    ],
)
def test_a_mistake_says_where_it_is(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(f"notify: {text}")
    with pytest.raises(UsageError, match=says):
        load_config(path)


def test_files_of_sinks_start_at_the_folder_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "trackd.yaml"
    path.write_text(
        "notify:\n"
        "  mqtt: {host: h, username: u, password_file: pass, tls: {ca_file: ca.pem}}\n"
        "  webhooks: [{url: 'https://example.org/', secret_file: key}]\n"
    )
    notify = load_config(path).notify
    assert notify.mqtt is not None and notify.mqtt.tls is not None
    assert notify.mqtt.password_file == tmp_path / "pass"
    assert notify.mqtt.tls.files == (tmp_path / "ca.pem", None, None)
    assert notify.webhooks[0].secret_file == tmp_path / "key"


def test_a_url_is_not_shown_where_a_configuration_is() -> None:
    hooks = {"webhooks": [{"url": "https://example.org/hunter2", "secret_file": "key"}]}
    assert "hunter2" not in repr(DaemonConfig.model_validate({"notify": hooks}))


@pytest.mark.parametrize(("content", "says"), [(None, "cannot read"), (b"short", "has 5 bytes")])
def test_a_secret_that_is_missing_or_short_is_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    hooks = [{"url": "https://example.org/", "secret_file": path}]
    with pytest.raises(UsageError, match=says):
        Notifier.from_config(NotifyConfig.model_validate({"webhooks": hooks}))


# --- the example


def test_the_receiver_of_the_examples_takes_what_is_signed_once_and_refuses_the_rest(
    secret: Path, tmp_path: Path
) -> None:
    program = ROOT / "examples" / "webhook_receiver.py"
    other = tmp_path / "other"
    other.write_bytes(b"another secret, of 16 bytes or more")
    with subprocess.Popen(
        [sys.executable, str(program), str(secret)], stdout=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stdout is not None
        url = f"http://127.0.0.1:{int(receiver.stdout.readline())}/"
        hooks = [{"url": url, "secret_file": one, "allow_private": True} for one in (secret, other)]
        with notifying({"webhooks": hooks}) as notifier:
            for number in (1, 1, 2):
                notifier.put(event(number, text=f"parcel {number}"))
            wait_until(lambda: [one.sent for one in notifier.statuses()] == [3, 0])
            wait_until(lambda: notifier.statuses()[1].refused == 3)
        receiver.terminate()
        assert receiver.stdout.read().splitlines() == [
            "door zone.entered parcel 1",
            "door zone.entered parcel 2",
        ]


# --- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(*paths, alternative="IP:127.0.0.1")
    return paths


@pytest.mark.slow
@SKIP
def test_a_broker_is_spoken_to_over_tls_if_its_certificate_is_trusted(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker", tls=certificate) as broker:
        config = {"host": "127.0.0.1", "port": broker.port, "tls": {}}
        with notifying({"mqtt": config}) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).failures > 0)
            assert status(notifier).sent == 0
        config["tls"] = {"ca_file": certificate[0]}
        with notifying({"mqtt": config}) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).sent == 1)


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    mqtt = {"host": "broker", "tls": {"ca_file": tmp_path / "ca.pem"}}
    with pytest.raises(UsageError, match=r"notify\.mqtt\.tls"):
        Notifier.from_config(NotifyConfig.model_validate({"mqtt": mqtt}))


def test_a_webhook_is_posted_over_tls_if_its_certificate_is_trusted(
    tmp_path: Path,
    secret: Path,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver(tmp_path, tls=certificate) as receiver:
        with notifying(hook(receiver, secret)) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).failures > 1)
            assert status(notifier).error == "no answer: SSLCertVerificationError"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with notifying(hook(receiver, secret)) as notifier:
            notifier.put(event())
            wait_until(lambda: status(notifier).sent == 1)
        assert len(receiver.requests()) == 1
