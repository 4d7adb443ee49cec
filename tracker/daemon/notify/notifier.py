"""Notifier: hands each event that is published to the sinks of the configuration."""

import logging
import platform
import re
import threading
from collections.abc import Callable, Collection, Sequence

from tracker.address_file import warning_of
from tracker.daemon.config.schema import MqttConfig, NotifyConfig
from tracker.daemon.notify.queue import QueuedEvent
from tracker.daemon.notify.sink import Sink, read_secret
from tracker.daemon.notify.webhook import WebhookSink
from tracker.daemon.telemetry.status import SinkStatus
from tracker.protocol.data import EventMessage

_LOG = logging.getLogger("trackd.notify")
_LEAST_SECRET_BYTES = 16


class Notifier:
    """The sinks; no method but `stop` waits, and no sink that fails is felt by others."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    @classmethod
    def from_config(
        cls, config: NotifyConfig, own_ports: Callable[[], Collection[int]] = lambda: ()
    ) -> "Notifier":
        """Read the secrets, and make the sinks.

        Raises:
            UsageError: A secret cannot be read, or a package is missing.
        """
        sinks: list[Sink] = [] if config.mqtt is None else [_mqtt_sink(config.mqtt)]
        for number, webhook in enumerate(config.webhooks, start=1):
            secret = read_secret(webhook.secret_file, _LEAST_SECRET_BYTES)
            if warning := warning_of(webhook.secret_file):
                _LOG.warning("%s", warning)
            sinks.append(WebhookSink(f"webhook-{number}", webhook, secret, own_ports))
        return cls(sinks)

    def start(self) -> None:
        """Begin to send."""
        for sink in self._sinks:
            sink.start()

    def put(self, message: EventMessage) -> None:
        """Send an event to every sink that takes it."""
        if self._sinks:
            event = QueuedEvent(message, message.model_dump_json().encode())
            for sink in self._sinks:
                sink.put(event)

    def statuses(self) -> tuple[SinkStatus, ...]:
        """Status of each sink; from any thread."""
        return tuple(sink.status() for sink in self._sinks)

    def stop(self, timeout_s: float) -> bool:
        """Send what waits and can be sent in that time, and end; what stays is logged.

        All sinks stop at the same time, so that one that takes all of it leaves it to the others.
        """
        stops = [threading.Thread(target=sink.stop, args=(timeout_s,)) for sink in self._sinks]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        for sink in self._sinks:
            status = sink.status()
            if status.waiting:
                _LOG.warning("%s: %d events were not sent", status.name, status.waiting)
        return True


def _mqtt_sink(config: MqttConfig) -> Sink:
    from tracker.daemon.notify.mqtt import MqttSink  # imports paho-mqtt, which is optional

    password = None
    if config.password_file is not None:
        password = read_secret(config.password_file)
        if warning := warning_of(config.password_file):
            _LOG.warning("%s", warning)
        if config.tls is None:
            _LOG.warning("mqtt: the password is sent to %s as it is: no tls", config.shown)
    host = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())
    return MqttSink(config, config.client_id or f"trackd-{host}", password)
