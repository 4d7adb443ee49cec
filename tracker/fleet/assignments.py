"""Assignments of streams to nodes: who owns what, and what is to be done about it."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tracker.fleet.placement import NodeView, Placement

_FIRST_MS = 1.0  # of a frame, as long as none was measured anywhere


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a stream."""

    node: str
    owner_epoch: int


@dataclass(frozen=True, slots=True)
class Fence:
    """Remove a stream from a node that does not own it: its epoch is below `owner_epoch`."""

    stream: str
    node: str
    owner_epoch: int


@dataclass(frozen=True, slots=True)
class Place:
    """Give a stream to a node, with its objects.

    Attributes:
        source: The node that has it and lives; None where it is dead, or none had it.
    """

    stream: str
    node: str
    owner_epoch: int
    source: str | None = None


class Assignments:
    """Table of owners, made of what the nodes list: a new head finds it as it was.

    Epochs are milliseconds since 1970, or one more than the highest that was seen: they grow also
    where the node with the highest one is dead when the head starts.

    Args:
        streams: Names of the streams.
        placement: Chooses nodes.
        now_ms: Wall clock.

    Attributes:
        owners: By stream.
    """

    def __init__(
        self,
        streams: Sequence[str],
        placement: Placement,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:
        self.owners: dict[str, Owner] = {}
        self._streams = streams
        self._placement = placement
        self._now_ms = now_ms
        self._highest: dict[str, int] = {}
        self._void: dict[str, int] = {}  # epochs up to here are of no owner but the one known

    def plan(self, nodes: Sequence[NodeView], in_progress: Collection[str]) -> list[Fence | Place]:
        """What is to be done now: stale streams are removed first.

        Args:
            nodes: As last heard of.
            in_progress: Streams at which something is being done already.
        """
        self._adopt(nodes, in_progress)
        fences = self._fences(nodes, in_progress)
        stale = {fence.node for fence in fences}
        if not all(node.settled for node in nodes):
            return list(fences)
        free = [one for one in nodes if one.alive and not one.draining and one.name not in stale]
        return [*fences, *self._places(nodes, free, in_progress)]

    def own(self, stream: str, node: str, owner_epoch: int) -> None:
        """Take note that a stream was placed."""
        self.owners[stream] = Owner(node, owner_epoch)

    def give_up(self, stream: str, owner_epoch: int) -> None:
        """Take note that it was not: what may be left of it is never taken for its owner."""
        self._void[stream] = owner_epoch

    def _adopt(self, nodes: Sequence[NodeView], in_progress: Collection[str]) -> None:
        """Take the node with the highest epoch for the owner of a stream."""
        for node in nodes:
            for stream, seen in node.streams.items():
                epoch = seen.owner_epoch
                self._highest[stream] = max(epoch, self._highest.get(stream, 0))
                owner = self.owners.get(stream)
                if stream in in_progress or not seen.ready or epoch <= self._void.get(stream, -1):
                    continue
                if node.alive and (owner is None or epoch > owner.owner_epoch):
                    self.owners[stream] = Owner(node.name, epoch)

    def _fences(self, nodes: Sequence[NodeView], in_progress: Collection[str]) -> list[Fence]:
        found = []
        for node in nodes:
            for stream, seen in node.streams.items():
                owner, epoch = self.owners.get(stream), seen.owner_epoch
                if stream in in_progress or not node.alive:
                    continue
                if owner is None:
                    found.append(Fence(stream, node.name, epoch + 1))
                elif owner != Owner(node.name, epoch):
                    found.append(Fence(stream, node.name, max(owner.owner_epoch, epoch + 1)))
        return found

    def _places(
        self, nodes: Sequence[NodeView], free: Sequence[NodeView], in_progress: Collection[str]
    ) -> list[Place]:
        homes = {node.name: node for node in nodes}
        loads_ms = self._loads_ms(nodes, free)
        found = []
        for stream in self._streams:
            owner = self.owners.get(stream)
            home = None if owner is None else homes.get(owner.node)
            has_it = home is not None and home.alive and stream in home.streams
            if stream in in_progress or not loads_ms:
                continue
            if has_it and home is not None and not home.draining:
                continue
            node = self._placement.choose(stream, loads_ms)
            loads_ms[node] += self._mean_ms(nodes)
            source = home.name if has_it and home is not None else None
            found.append(Place(stream, node, self._next_epoch(stream), source))
        return found

    def _next_epoch(self, stream: str) -> int:
        owner = self.owners.get(stream)
        highest = max(self._highest.get(stream, 0), 0 if owner is None else owner.owner_epoch)
        self._highest[stream] = max(highest + 1, self._now_ms())
        return self._highest[stream]

    def _loads_ms(self, nodes: Sequence[NodeView], free: Sequence[NodeView]) -> dict[str, float]:
        """What the streams of each node take, those without a measure as much as the mean."""
        mean_ms = self._mean_ms(nodes)
        return {
            node.name: sum(one.frame_ms or mean_ms for one in node.streams.values())
            for node in free
        }

    def _mean_ms(self, nodes: Sequence[NodeView]) -> float:
        measured = [one.frame_ms for node in nodes for one in node.streams.values() if one.frame_ms]
        return sum(measured) / len(measured) if measured else _FIRST_MS
