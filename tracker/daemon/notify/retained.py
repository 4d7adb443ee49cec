"""Retained topics of a broker: the newest value of each, sent again with each connection."""

import threading


class RetainedTopics:
    """Values by topic, and which of them the broker was not sent; from any thread.

    While the broker is away no more is kept than the topics that it was sent and those that have
    a value: one that comes and goes meanwhile is forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}  # in their order
        self._sent: set[str] = set()  # those that the broker may know

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
                if topic in self._sent:
                    self._unsent[topic] = None
                else:
                    self._unsent.pop(topic, None)

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
            if topic in self._values:
                self._sent.add(topic)
            else:
                self._sent.discard(topic)
            return topic, self._values.get(topic, b"")
