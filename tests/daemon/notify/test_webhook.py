"""What reaches a real HTTP server."""

import hashlib
import hmac
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.notifying import SECRET, event, hook, notifying, status
from tests.support.tracked_frames import wait_until
from tests.support.webhooks import Receiver
from tracker.daemon.config.schema import WebhookConfig
from tracker.daemon.notify import webhook
from tracker.daemon.notify.notifier import Notifier
from tracker.daemon.notify.webhook import WebhookSink
from tracker.protocol.data import EventMessage, EventName


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


@pytest.mark.slow
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
