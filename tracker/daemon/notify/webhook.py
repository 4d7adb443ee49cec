"""Webhook: each event is a signed POST, sent again with a backoff until it is taken."""

import hashlib
import hmac
import http.client
import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from streams.errors import SourceDenied, StreamError
from streams.net.http_client import PatientConnection, PatientTlsConnection
from streams.net.patience import Patience
from tracker.daemon.config.schema import RetryConfig, WebhookConfig
from tracker.daemon.notify.hosts import webhook_hosts
from tracker.daemon.notify.queue import EventQueue, QueuedEvent
from tracker.daemon.notify.sink import matches
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.telemetry.status import SinkStatus

_LOG = logging.getLogger("trackd.notify")
_RETRY = RetryConfig(first_s=0.5, longest_s=30.0)
_TRY_AGAIN = (408, 425, 429)
#: An event that was answered with failures for so long is given up; others wait for it.
GIVE_UP_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an event is to be posted again, and whether its endpoint was there."""

    why: str
    answered: bool


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 of `TIMESTAMP.BODY`, as the header has it."""
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


class WebhookSink:
    """Posts events to one URL, one after the other, at least once each.

    A redirect is not followed. An answer of 4xx but 408, 425 and 429 refuses the event for good, as
    do other failures that are answered for `give_up_s`; without an answer it waits.

    Args:
        name: In metrics and the log, where the URL is not: it may hold a token.
        config: The URL, and what it is sent.
        secret: The key of the signatures.
        own_ports: The ports that the daemon listens on, which are not posted to.
        give_up_s: See above.
    """

    def __init__(
        self,
        name: str,
        config: WebhookConfig,
        secret: bytes,
        own_ports: Callable[[], Collection[int]] = lambda: (),
        *,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._config = config
        self._give_up_s = give_up_s
        self._secret = secret
        self._url = urlsplit(config.url)
        self._hosts = webhook_hosts(config.allow_private, own_ports)
        self._queue = EventQueue(config.queue_events, config.queue_bytes)
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        self._backoff = Backoff(_RETRY)
        self._stopping = threading.Event()
        self._status = SinkStatus(name)
        self._thread = threading.Thread(target=self._run, name=f"notify-{name}", daemon=True)

    def start(self) -> None:
        """See `Sink`."""
        self._thread.start()

    def put(self, event: QueuedEvent) -> None:
        """See `Sink`."""
        if matches(event.message.event, self._config.events):
            self._queue.put(event)

    def status(self) -> SinkStatus:
        """See `Sink`."""
        queue, own = self._queue, self._status
        waiting = len(queue) + own.waiting
        return replace(own, waiting=waiting, waiting_bytes=queue.bytes, dropped=queue.dropped)

    def stop(self, timeout_s: float) -> None:
        """See `Sink`; one that fails just now is not waited for."""
        self._queue.close()
        if self._status.connected:
            self._thread.join(timeout_s)
        self._stopping.set()

    def _run(self) -> None:
        while self._queue.wait() and not self._stopping.is_set():
            event = self._queue.take()
            if event is not None:
                self._status.waiting = 1
                if self._deliver(event):
                    self._status.waiting = 0

    def _deliver(self, event: QueuedEvent) -> bool:
        """Post until it is taken, refused or given up; False where the end comes before."""
        answered_s: float | None = None  # when it was first answered
        while not self._stopping.is_set():
            failure = self._try(event)
            if failure is None:
                return True
            now_s = time.monotonic()
            if failure.answered:
                answered_s = now_s if answered_s is None else answered_s
                if now_s - answered_s >= self._give_up_s:
                    self._refuse(failure.why)
                    return True
            self._fail(failure.why)
            self._stopping.wait(self._backoff.failed(0.0))
        return False

    def _try(self, event: QueuedEvent) -> _Failure | None:
        """Post once; the reason to try again, if there is one."""
        try:
            status = self._post(event)
        except SourceDenied:
            return _Failure("its host is not public, and not allowed", answered=False)
        except StreamError as error:
            return _Failure(error.message, answered=False)
        except (OSError, http.client.HTTPException, ValueError) as error:  # never says the URL
            return _Failure(f"no answer: {type(error).__name__}", answered=False)
        if status >= 500 or status in _TRY_AGAIN:
            return _Failure(f"it answered {status}", answered=True)
        if 200 <= status < 300:
            self._status.sent += 1
            self._reached()
        else:
            self._refuse(f"it answered {status}")
        return None

    def _fail(self, why: str) -> None:
        self._status.failures += 1
        if self._status.connected:
            _LOG.warning("%s: %s; tried again", self._status.name, why)
        self._status.connected, self._status.error = 0, why

    def _refuse(self, why: str) -> None:
        self._status.refused += 1
        _LOG.warning("%s refused an event: %s", self._status.name, why)
        self._reached()

    def _reached(self) -> None:
        self._backoff.reset()
        self._status.connected, self._status.error = 1, ""

    def _post(self, event: QueuedEvent) -> int:
        """The status of the answer.

        Raises:
            OSError: It could not be connected to, or did not answer in time.
            HTTPException: The answer is not HTTP.
            StreamError: Its host may not be reached.
        """
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "trackd",
            "X-Trackd-Event": event.message.id or "",
            "X-Trackd-Timestamp": timestamp,
            "X-Trackd-Signature": signature(self._secret, timestamp, event.body),
        }
        connection = self._connection()
        try:
            path = self._url._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request("POST", path, event.body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        assert self._url.hostname is not None
        options: dict[str, Any] = {
            "port": self._url.port,
            "patience": Patience(self._config.timeout_s),
            "connect": self._hosts.connect,
        }
        if self._tls is None:
            return PatientConnection(self._url.hostname, **options)
        return PatientTlsConnection(self._url.hostname, context=self._tls, **options)
