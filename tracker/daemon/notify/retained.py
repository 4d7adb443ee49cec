"""Retained topics of a broker: the newest value of each, sent again with each connection."""

import threading


class RetainedTopics:
    """Values by topic, and which of them the broker was not sent; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}  # in their order

    def set(self, topic: str, value: bytes) -> None:
        """Set a value."""
        with self._lock:
            self._values[topic] = value
            self._unsent[topic] = None

    def clear(self, prefix: str) -> None:
        """Have the broker forget topics, by the start of their names."""
        with self._lock:
            for topic in [one for one in self._values if one.startswith(prefix)]:
                del self._values[topic]
                self._unsent[topic] = None

    def send_all_again(self) -> None:
        """Take all for unsent: the broker may have been started without what it knew."""
        with self._lock:
            self._unsent |= dict.fromkeys(self._values)

    def take_unsent(self) -> tuple[str, bytes] | None:
        """Take a topic to be sent, and its value, empty for one to be forgotten."""
        with self._lock:
            topic = next(iter(self._unsent), None)
            if topic is None:
                return None
            del self._unsent[topic]
            return topic, self._values.get(topic, b"")
