"""MQTT sink: events with QoS 1 in a session that the broker keeps, and retained counts."""

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from tracker.daemon.config.schema import MqttConfig
from tracker.daemon.notify.mqtt_topics import OFFLINE, ONLINE, MqttTopics
from tracker.daemon.notify.queue import EventQueue, QueuedEvent
from tracker.daemon.notify.retained import RetainedTopics
from tracker.daemon.notify.sink import matches
from tracker.daemon.telemetry.status import SinkStatus
from tracker.errors import UsageError

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion
except ModuleNotFoundError as missing:
    raise UsageError("notify.mqtt needs paho-mqtt", "pip install 'trackd[mqtt]'") from missing

_LOG = logging.getLogger("trackd.notify")
_WINDOW = 20  # messages that the broker has not confirmed
_KEEPALIVE_S = 30
_LONGEST_RETRY_S = 15
_QOS = 1  # at least once


class MqttSink:
    """Publishes events on one broker; paho's own thread connects, and connects again.

    What the broker has not confirmed is sent again with the next connection, under the same id: an
    event may come twice, and is not lost while the queue has room.

    Args:
        config: The broker, and what it is sent.
        client_id: Names the session on the broker.
        password: For `config.username`.

    Raises:
        UsageError: A file of `config.tls` cannot be used.
    """

    name = "mqtt"

    def __init__(self, config: MqttConfig, client_id: str, password: bytes | None) -> None:
        self._config = config
        self._topics = MqttTopics(config.topic_prefix, config.discovery_prefix)
        self._queue = EventQueue(config.queue_events, config.queue_bytes)
        self._retained = RetainedTopics()
        self._retained.set(self._topics.status, ONLINE)
        self._unconfirmed: dict[int, QueuedEvent | None] = {}  # by message id; None: no event
        self._confirmed: deque[int] = deque()
        self._resuming = False
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._status = SinkStatus(self.name, connected=0)
        self._client = self._new_client(client_id, password)
        self._thread = threading.Thread(target=self._run, name="notify-mqtt", daemon=True)

    def _new_client(self, client_id: str, password: bytes | None) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False)
        client.max_inflight_messages_set(_WINDOW)
        client.reconnect_delay_set(1, _LONGEST_RETRY_S)
        client.will_set(self._topics.status, OFFLINE, _QOS, retain=True)
        if self._config.username is not None:
            secret = None if password is None else password.decode(errors="surrogateescape")
            client.username_pw_set(self._config.username, secret)
        tls = self._config.tls
        if tls is not None:
            try:
                authorities, certificate, key = (str(p) if p else None for p in tls.files)
                client.tls_set(authorities, certificate, key)
            except (OSError, ValueError) as error:
                raise UsageError(f"notify.mqtt.tls: {error}", "give PEM files") from error
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    # --- from any thread

    def start(self) -> None:
        """See `Sink`."""
        self._thread.start()

    def put(self, event: QueuedEvent) -> None:
        """See `Sink`."""
        self._topics.retain(event.message, self._retained)
        if matches(event.message.event, self._config.events):
            self._queue.put(event)
        self._work.set()

    def status(self) -> SinkStatus:
        """See `Sink`."""
        queue, unconfirmed = self._queue, list(self._unconfirmed.values())
        sent = [event for event in unconfirmed if event is not None]
        return replace(
            self._status,
            waiting=len(queue) + len(sent),
            waiting_bytes=queue.bytes + sum(len(event.body) for event in sent),
            dropped=queue.dropped,
        )

    def stop(self, timeout_s: float) -> None:
        """See `Sink`; a broker that is not there is not waited for."""
        until_s = time.monotonic() + timeout_s
        while self._status.connected and self._waits() and time.monotonic() < until_s:
            time.sleep(0.01)
        self._stopping.set()
        self._work.set()
        self._thread.join(max(0.1, until_s - time.monotonic()))

    def _waits(self) -> bool:
        return bool(len(self._queue) or self._unconfirmed)

    # --- in paho's thread

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, more: Any) -> None:
        if code.is_failure:
            self._fail(f"the broker refuses: {code}")
            return
        self._resuming = True
        self._retained.send_all_again()
        self._status.connected, self._status.error = 1, ""
        self._work.set()
        _LOG.info("mqtt: connected to %s", self._config.shown)

    def _on_connect_fail(self, client: Any, userdata: Any) -> None:
        self._fail("no connection")

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, more: Any) -> None:
        if self._status.connected and not self._stopping.is_set():  # else it was told already
            self._fail(f"disconnected: {code}")

    def _fail(self, why: str) -> None:
        if self._status.error != why:
            _LOG.warning("mqtt: %s: %s; tried again", self._config.shown, why)
        self._status.failures += 1
        self._status.connected, self._status.error = 0, why

    def _on_publish(self, client: Any, userdata: Any, mid: int, code: Any, more: Any) -> None:
        self._confirmed.append(mid)
        self._work.set()

    # --- in its own thread

    def _run(self) -> None:
        try:
            self._client.connect_async(self._config.host, self._config.port, _KEEPALIVE_S)
            self._client.loop_start()
        except (OSError, ValueError, RuntimeError) as error:
            self._fail(str(error))
            return
        while not self._stopping.is_set():
            self._work.wait()
            self._work.clear()
            self._note_confirmed()
            while self._may_publish() and self._publish_next():
                pass
        self._say_goodbye()

    def _may_publish(self) -> bool:
        """True if there is room; after a new connection, once paho sent again what it had.

        Otherwise an older count could overtake a newer one.
        """
        if self._resuming and not self._unconfirmed:
            self._resuming = False
        room = len(self._unconfirmed) < _WINDOW
        return bool(self._status.connected) and room and not self._resuming

    def _note_confirmed(self) -> None:
        while self._confirmed:
            if self._unconfirmed.pop(self._confirmed.popleft(), None) is not None:
                self._status.sent += 1

    def _publish_next(self) -> bool:
        """Publish a retained value, or else the oldest event; False where there is neither."""
        retained = self._retained.take_unsent()
        if retained is not None:
            topic, value = retained
            self._publish(topic, value, None, retain=True)
            return True
        event = self._queue.take()
        if event is None:
            return False
        self._publish(self._topics.of(event.message), event.body, event, retain=False)
        return True

    def _publish(self, topic: str, body: bytes, event: QueuedEvent | None, *, retain: bool) -> None:
        # Without a connection paho keeps it for the next one.
        info = self._client.publish(topic, body, _QOS, retain=retain)
        self._unconfirmed[info.mid] = event

    def _say_goodbye(self) -> None:
        if self._status.connected:
            info = self._client.publish(self._topics.status, OFFLINE, _QOS, retain=True)
            try:
                info.wait_for_publish(0.5)
            except (ValueError, RuntimeError) as error:
                _LOG.debug("mqtt: %s", error)
        self._client.disconnect()
