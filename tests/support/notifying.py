"""Events on their way to sinks, which a test starts and ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.webhooks import Receiver
from tracker.daemon.config.schema import NotifyConfig
from tracker.daemon.notify.notifier import Notifier
from tracker.daemon.notify.queue import QueuedEvent
from tracker.daemon.telemetry.status import SinkStatus
from tracker.protocol.data import EventMessage, EventName, ZoneEvent

SECRET = b"0123456789abcdef-hunter2"


def event(number: int = 0, name: EventName = EventName.ZONE_ENTERED, **more: Any) -> EventMessage:
    zone = ZoneEvent(name="gate", count=number % 7)
    fields: dict[str, Any] = {"id": f"ab-{number}", "seq": number, "at_ns": 10**18, "zone": zone}
    return EventMessage(**{"stream": "door", "event": name, **fields, **more})


def queued(number: int, size: int = 100) -> QueuedEvent:
    return QueuedEvent(event(number), b"x" * size)


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


def hook(receiver: Receiver, secret: Path, **more: Any) -> dict[str, Any]:
    one = {"url": receiver.url, "secret_file": secret, "allow_private": True, **more}
    return {"webhooks": [one]}
