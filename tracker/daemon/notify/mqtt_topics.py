"""Topics of an MQTT broker: of events, counts and availability, and Home Assistant's discovery."""

import json
import re
from typing import Any

from tracker.daemon.notify.retained import RetainedTopics
from tracker.protocol.data import EventMessage, EventName

ONLINE, OFFLINE = b"online", b"offline"


class MqttTopics:
    """Names of topics, and the retained ones that follow from events.

    `PREFIX/status` is online or offline; `PREFIX/STREAM/events/NAME` has the events of a name;
    `PREFIX/STREAM/zones/ZONE/count` the objects in a zone.

    Args:
        prefix: Of all topics but those of the discovery.
        discovery_prefix: As Home Assistant has it; None for no discovery.
    """

    def __init__(self, prefix: str, discovery_prefix: str | None) -> None:
        self._prefix = prefix
        self._discovery_prefix = discovery_prefix
        self.status = f"{prefix}/status"

    def of(self, event: EventMessage) -> str:
        """Topic of an event."""
        return f"{self._prefix}/{event.stream}/events/{event.event}"

    def retain(self, event: EventMessage, retained: RetainedTopics) -> None:
        """Take in what an event says of zones."""
        stream = event.stream
        if event.event is EventName.STREAM_REMOVED:
            retained.clear(f"{self._prefix}/{stream}/zones/")
            for component in ("binary_sensor", "sensor"):
                retained.clear(self._discovery(component, stream, ""))
        if event.zone is None:
            return
        zone = event.zone.name
        is_line = event.event is EventName.ZONE_SET and event.zone.count is None
        if event.event is EventName.ZONE_REMOVED or is_line:  # which may have been a polygon
            retained.clear(self._count(stream, zone))
            for component, what in (("binary_sensor", "occupancy"), ("sensor", "count")):
                retained.clear(self._discovery(component, stream, f"{zone}_{what}/"))
        elif event.event is EventName.ZONE_SET:
            self._announce(stream, zone, retained)
        elif event.event is EventName.ZONE_COUNT:
            retained.set(self._count(stream, zone), str(event.zone.count).encode())

    def _count(self, stream: str, zone: str) -> str:
        return f"{self._prefix}/{stream}/zones/{zone}/count"

    def _discovery(self, component: str, stream: str, rest: str) -> str:
        node = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self._prefix}_{stream}")
        return f"{self._discovery_prefix}/{component}/{node}/{rest}"

    def _announce(self, stream: str, zone: str, retained: RetainedTopics) -> None:
        """Describe the two sensors of a zone, as MQTT discovery of Home Assistant has it."""
        if self._discovery_prefix is None:
            return
        occupied = "{{ 'ON' if value | int(0) > 0 else 'OFF' }}"
        occupancy = {"device_class": "occupancy", "value_template": occupied}
        count = {"state_class": "measurement", "unit_of_measurement": "objects"}
        for component, what, own in (
            ("binary_sensor", "occupancy", occupancy),
            ("sensor", "count", count),
        ):
            sensor = self._sensor(stream, zone, what) | own
            topic = self._discovery(component, stream, f"{zone}_{what}/config")
            retained.set(topic, json.dumps(sensor).encode())

    def _sensor(self, stream: str, zone: str, what: str) -> dict[str, Any]:
        device = f"{self._prefix}.{stream}"
        return {
            "name": f"{zone} {what}",
            "unique_id": f"{device}.{zone}.{what}",
            "state_topic": self._count(stream, zone),
            "availability_topic": self.status,
            "device": {"identifiers": [device], "name": f"trackd {stream}"},
            "origin": {"name": "trackd"},
        }
