"""Subscriptions on an XPUB socket, checked against what each subscriber may see."""

import logging
from dataclasses import dataclass, field
from typing import Any

import zmq

from tracker.daemon.access.authenticator import GuardedSocket
from tracker.daemon.access.connections import Connection
from tracker.daemon.access.grants import Grant

_LOG = logging.getLogger("trackd.keys")
_TOPIC_OVERHEAD_BYTES = 64
_SUBSCRIBE, _CANCEL = b"\x01", b"\x00"


class OutOfStep(Exception):  # noqa: N818 - reads better than OutOfStepError
    """Mismatch: the one that libzmq takes for the sender of a subscription may no longer be it."""


class Subscriptions:
    """The subscriptions to a socket on which everybody may see everything.

    libzmq applies them by itself, and reports each.

    Attributes:
        nbytes: About what they take to keep.
    """

    def __init__(self, guarded: GuardedSocket | None) -> None:
        self.nbytes = 0
        self._guarded = guarded
        self._topics: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._topics)

    def wants(self, topic: bytes) -> bool:
        """True if someone subscribes to `topic` or to a beginning of it."""
        return any(topic[:length] in self._topics for length in range(len(topic) + 1))

    def names(self, topic: bytes) -> bool:
        """True if someone subscribes to just this `topic`, not to a beginning of it."""
        return topic in self._topics

    def take_in(self, notice: zmq.Frame) -> bytes | None:
        """Note a subscription or the end of one; anything else that a client sends is nothing.

        Returns:
            The topic, or the beginning of topics, that was subscribed to; None for the rest.
        """
        kind, topic = notice.bytes[:1], notice.bytes[1:]
        if self._guarded is not None:
            caller, connection = self._guarded.identify(notice)
            if caller.grant is None and connection is not None:  # its key was just removed
                self._guarded.cut(connection)
                return None
        size = len(topic) + _TOPIC_OVERHEAD_BYTES
        if kind == _SUBSCRIBE:
            if topic not in self._topics:
                self._topics.add(topic)
                self.nbytes += size
            return topic
        if kind == _CANCEL and topic in self._topics:
            self._topics.remove(topic)
            self.nbytes -= size
        return None

    def blame(self, notice: zmq.Frame) -> None:
        """Called where subscriptions became too many with the newest: its sender is shut out."""
        if self._guarded is not None:
            self._guarded.shut_out(notice)

    def before_sending(self, topic: bytes) -> None:
        """Called before each message."""

    def forget(self, topic: bytes) -> None:
        """There is no such topic any more."""


@dataclass(slots=True)
class _Subscriber:
    """A connection's subscriptions.

    Attributes:
        asked: What it subscribed to.
        applied: What libzmq sends it: topics, and beginnings of topics.
    """

    grant: Grant
    asked: set[bytes] = field(default_factory=set)
    applied: set[bytes] = field(default_factory=set)


class CheckedSubscriptions(Subscriptions):
    """The subscriptions to a socket on which some clients may see some streams only.

    With XPUB_MANUAL, libzmq applies to the sender of the newest notice what it is told to. A topic
    matches all topics that begin with it. So a client with a narrow grant gets the topics, out of
    those that it asked for, which it may see and which are no beginning of one it may not. A topic
    that is new may change this for a client: then its connection is closed, it connects again and
    subscribes again.

    Args:
        socket: An XPUB with XPUB_MANUAL.
        guarded: The same.
    """

    def __init__(self, socket: zmq.Socket[Any], guarded: GuardedSocket) -> None:
        super().__init__(guarded)
        self._socket = socket
        self._authenticator = guarded
        self._known: set[bytes] = set()
        self._subscribers: dict[Connection, _Subscriber] = {}

    def names(self, topic: bytes) -> bool:
        """As in `Subscriptions`; libzmq is told whole topics for beginnings that were asked for."""
        subscribers = self._subscribers.values()
        return any(topic in one.asked and topic in one.applied for one in subscribers)

    def take_in(self, notice: zmq.Frame) -> bytes | None:
        """As in `Subscriptions`.

        Raises:
            OutOfStep: The socket must be closed.
        """
        kind, topic = notice.bytes[:1], notice.bytes[1:]
        if kind not in (_SUBSCRIBE, _CANCEL) or notice.more:
            # For a message that is no subscription, libzmq keeps no sender; it takes that of the
            # next subscription instead, and so on for all that wait.
            caller, _ = self._authenticator.identify(notice)
            self._authenticator.shut_out(notice)
            raise OutOfStep(f"{caller.name} sent what is no subscription")
        caller, connection = self._authenticator.identify(notice)
        if connection is None:  # it has ended: libzmq says what it had, without saying whose
            self._drop_closed()
            return None
        if caller.grant is None:
            self._authenticator.cut(connection)
            return None
        subscriber = self._subscribers.setdefault(connection, _Subscriber(caller.grant))
        before = len(subscriber.asked)
        if kind == _SUBSCRIBE:
            subscriber.asked.add(topic)
        else:
            subscriber.asked.discard(topic)
        self.nbytes += (len(subscriber.asked) - before) * (len(topic) + _TOPIC_OVERHEAD_BYTES)
        self._apply(connection, subscriber)
        return topic if kind == _SUBSCRIBE else None

    def before_sending(self, topic: bytes) -> None:
        """Close the connections for which a topic that is new changes what they get."""
        if topic in self._known:
            return
        self._known.add(topic)
        for connection, subscriber in list(self._subscribers.items()):
            if self._allowed(subscriber) != subscriber.applied:
                self._authenticator.cut(connection)
                self._drop(connection)

    def forget(self, topic: bytes) -> None:
        """There is no such topic any more."""
        self._known.discard(topic)

    def _apply(self, connection: Connection, subscriber: _Subscriber) -> None:
        """Have libzmq send what is allowed, to the sender of the newest notice."""
        allowed = self._allowed(subscriber)
        gone, new = subscriber.applied - allowed, allowed - subscriber.applied
        for prefix in gone:
            self._socket.unsubscribe(prefix)
        for prefix in new:
            self._socket.subscribe(prefix)
        subscriber.applied = allowed
        self._count()
        if not self._authenticator.still_open([connection]):
            # Its place in libzmq may be that of a newer connection by now.
            for prefix in new:
                self._socket.unsubscribe(prefix)
            self._drop(connection)

    def _allowed(self, subscriber: _Subscriber) -> set[bytes]:
        grant = subscriber.grant
        if grant.streams is None:
            return set(subscriber.asked)
        hidden = [topic for topic in self._known if not grant.sees(_stream_of(topic))]
        seen = self._known.difference(hidden)
        found = {topic for topic in seen if topic.startswith(tuple(subscriber.asked))}
        found |= {asked for asked in subscriber.asked if grant.sees(_stream_of(asked))}
        return {t for t in found if not any(other.startswith(t) for other in hidden)}

    def _drop_closed(self) -> None:
        still_open = self._authenticator.still_open(self._subscribers)
        for connection in self._subscribers.keys() - still_open:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        subscriber = self._subscribers.pop(connection, None)
        if subscriber is not None:
            self.nbytes -= sum(len(topic) + _TOPIC_OVERHEAD_BYTES for topic in subscriber.asked)
            self._count()

    def _count(self) -> None:
        self._topics = set().union(*(one.applied for one in self._subscribers.values()))


def _stream_of(topic: bytes) -> str:
    """The stream that a whole topic, `KIND.STREAM`, is about; "" for a beginning of one."""
    return topic.partition(b".")[2].rstrip(b" ").decode("ascii", "replace")
