"""Difference between two configurations, for a daemon that runs."""

from dataclasses import dataclass

from tracker.daemon.config.schema import DaemonConfig
from tracker.protocol.fields import StreamSettings

_LIVE = ("log", "streams")


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes to make, and those that only a restart makes.

    Attributes:
        added: Streams to open.
        removed: Streams to close.
        changed: Streams to close and open again, their objects with them.
        rezoned: Streams of which only the zones change; they go on.
        restart: Keys whose new values wait for a restart.
    """

    added: dict[str, StreamSettings]
    removed: tuple[str, ...]
    changed: dict[str, StreamSettings]
    rezoned: dict[str, StreamSettings]
    restart: tuple[str, ...]

    def __str__(self) -> str:
        """One line for the log."""
        parts = [
            f"{word} {', '.join(names)}"
            for word, names in (
                ("added", self.added),
                ("removed", self.removed),
                ("changed", self.changed),
                ("zones of", self.rezoned),
            )
            if names
        ]
        if self.restart:
            parts.append(f"after a restart: {', '.join(self.restart)}")
        return "; ".join(parts) or "nothing changed"


def compare(before: DaemonConfig, after: DaemonConfig) -> Changes:
    """Changes that lead from one configuration to another."""
    old, new = before.streams, after.streams
    differ = {name: new[name] for name in new if name in old and new[name] != old[name]}
    rezoned: dict[str, StreamSettings] = {
        name: settings
        for name, settings in differ.items()
        if settings == old[name].model_copy(update={"zones": settings.zones})
    }
    return Changes(
        added={name: new[name] for name in new if name not in old},
        removed=tuple(name for name in old if name not in new),
        changed={name: one for name, one in differ.items() if name not in rezoned},
        rezoned=rezoned,
        restart=tuple(
            name
            for name in DaemonConfig.model_fields
            if name not in _LIVE and getattr(before, name) != getattr(after, name)
        ),
    )
