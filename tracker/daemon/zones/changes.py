"""Changes of zones and lines, before they are made into events."""

from dataclasses import dataclass
from typing import Literal

from tracker.protocol.data import EventName, Leaving


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one object in a zone, or at a line; fields as in `ZoneEvent`."""

    name: EventName
    object_id: int
    direction: Literal["in", "out"] | None = None
    dwell_s: float | None = None
    reason: Leaving | None = None
