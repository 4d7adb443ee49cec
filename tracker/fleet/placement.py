"""Placement: which nodes there are, and which of them gets a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracker.fleet.config import FleetConfig, NodeConfig


@dataclass(frozen=True, slots=True)
class SeenStream:
    """A stream of the fleet as a node lists it.

    Attributes:
        owner_epoch: Of its owner.
        ready: False where it was added and neither opened nor given objects yet.
        frame_ms: Median milliseconds that the node takes for a frame of it; 0 before the first.
        busy: Share of the node's time that it takes.
    """

    owner_epoch: int
    ready: bool = True
    frame_ms: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as it was last heard of.

    Attributes:
        name: Its name.
        alive: It answered lately.
        settled: It answered once, or had the time to.
        draining: It is to have no streams.
        streams: Of the fleet, on it.
    """

    name: str
    alive: bool = True
    settled: bool = True
    draining: bool = False
    streams: Mapping[str, SeenStream] = field(default_factory=dict)


class Placement(Protocol):
    """Source of nodes, and policy that spreads streams over them."""

    def nodes(self) -> Sequence[NodeConfig]:
        """The nodes that there are."""

    def choose(self, stream: str, loads_ms: Mapping[str, float]) -> str:
        """The node that gets a stream.

        Args:
            stream: Its name.
            loads_ms: Milliseconds that a frame of each of its streams takes together, of each node
                that may have it; at least one.
        """


class StaticPlacement:
    """The nodes of the configuration; a stream goes to its node, else to the least loaded one."""

    def __init__(self, config: FleetConfig) -> None:
        self._config = config

    def nodes(self) -> Sequence[NodeConfig]:
        """See `Placement`."""
        return self._config.nodes

    def choose(self, stream: str, loads_ms: Mapping[str, float]) -> str:
        """See `Placement`."""
        wanted = self._config.streams[stream].node
        if wanted is not None and wanted in loads_ms:
            return wanted
        return min(loads_ms, key=lambda node: loads_ms[node])
