"""Nodes, streams, and which node a stream is placed on: the one with the most headroom."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.simulate.fifo import FifoServer

_ENTRIES_PER_NODE = 8  # of the heap, before those that no longer hold are thrown away


@dataclass(slots=True)
class Stream:
    """A stream.

    Attributes:
        objects: 1 or 4.
        core_ms_per_s: Processor time that it needs.
        epoch: Of its ownership; one more each time that it is placed.
        node: Its owner; None while it waits for one.
        on_since_s: When it began to give results.
        down_since_s: When it ceased to; None while it gives them.
        snapshot_s: When the newest snapshot in the store was taken, as of `down_since_s`.
    """

    name: int
    objects: int
    core_ms_per_s: float
    epoch: int = 0
    node: "Node | None" = None
    on_since_s: float = 0.0
    down_since_s: float | None = None
    snapshot_s: float = 0.0


@dataclass(slots=True)
class Node:
    """A node.

    Attributes:
        rack: Number of its rack.
        core_ms_per_s: Processor time for streams.
        max_streams: That its memory holds.
        up: It runs, and the head knows.
        member: The head places streams on it.
        deaths: How often it failed.
        up_at_s: When it runs again with its model loaded, while it does not.
    """

    name: int
    rack: int
    core_ms_per_s: float
    max_streams: int
    up: bool = True
    member: bool = True
    deaths: int = 0
    up_at_s: float = 0.0
    streams: dict[int, Stream] = field(default_factory=dict)
    link: FifoServer = field(default_factory=FifoServer)
    used_core_ms_per_s: float = 0.0

    @property
    def headroom(self) -> float:
        """Processor time that is left, in ms/s; 0 where memory is full."""
        if len(self.streams) >= self.max_streams:
            return 0.0
        return self.core_ms_per_s - self.used_core_ms_per_s


class Placement:
    """Places streams on the member with the most headroom (worst fit), of equals the first.

    Worst fit spreads the streams of a dead node, so that many links and workers restore them.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self._rebuild()

    def place(self, stream: Stream) -> Node | None:
        """Give a stream without a node to one, with a new epoch; None where none has room."""
        node = self._roomiest()
        if node is None or node.headroom < stream.core_ms_per_s:
            return None
        node.streams[stream.name] = stream
        node.used_core_ms_per_s += stream.core_ms_per_s
        stream.node, stream.epoch = node, stream.epoch + 1
        self._push(node)
        return node

    def expel(self, node: Node) -> list[Stream]:
        """Take all streams of a dead node from it, in the order of their names."""
        streams = sorted(node.streams.values(), key=lambda stream: stream.name)
        for stream in streams:
            stream.node = None
        node.streams.clear()
        node.used_core_ms_per_s, node.member = 0.0, False
        return streams

    def admit(self, node: Node) -> None:
        """Take a node that runs again, and is empty."""
        node.member = True
        self._push(node)

    def _push(self, node: Node) -> None:
        heapq.heappush(self._heap, (-node.headroom, node.name))
        if len(self._heap) > _ENTRIES_PER_NODE * len(self.nodes):
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(-node.headroom, node.name) for node in self.nodes if node.member]
        heapq.heapify(self._heap)

    def _roomiest(self) -> Node | None:
        """The member with the most headroom; entries of the heap that no longer hold go."""
        while self._heap:
            negative, name = self._heap[0]
            node = self.nodes[name]
            if node.member and -negative == node.headroom:
                return node
            heapq.heappop(self._heap)
        return None
