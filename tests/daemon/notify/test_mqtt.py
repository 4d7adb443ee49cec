"""What reaches a real broker."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mosquitto import SKIP, Broker, Subscriber
from tests.support.notifying import event, notifying, status
from tests.support.tracked_frames import wait_until
from tracker.daemon.config.schema import NotifyConfig
from tracker.daemon.notify.notifier import Notifier
from tracker.errors import UsageError
from tracker.protocol.data import EventName


@pytest.mark.slow
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
