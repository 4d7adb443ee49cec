"""Messages of a fleet's head: its directory, its status, and draining; replies are `Reply`."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from tracker.protocol.fields import Message, StreamName
from tracker.protocol.requests import Request

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class FleetStreams(Request):
    """Where the streams are, or one of them."""

    op: Literal["fleet.streams"]
    stream: StreamName | None = None


class FleetStatus(Request):
    """How the nodes and the streams are."""

    op: Literal["fleet.status"]


class FleetDrain(Request):
    """Move all streams of a node to others, and give it none; or give it streams again.

    Attributes:
        node: Its name.
        drain: False to give it streams again.
    """

    op: Literal["fleet.drain"]
    node: NodeName
    drain: bool = True


class StreamPlace(Message):
    """The owner of a stream.

    Attributes:
        node: Its name.
        control: Its control endpoint.
        data: Its data endpoint.
        server_key: Its public CURVE key, in Z85; None where it has none.
        owner_epoch: As its messages have it.
    """

    stream: str
    node: str
    control: str
    data: str
    server_key: str | None = None
    owner_epoch: int


class FleetStreamsResult(Message):
    """Result of `fleet.streams`; a stream that has no owner just now is not in it."""

    streams: list[StreamPlace]


class NodeStatus(Message):
    """A node.

    Attributes:
        state: "alive", "draining" while it has streams, "drained", "dead", or "unknown" as long as
            it was not heard of.
        error: Why it does not answer, one line; "" otherwise.
        streams: Streams of the fleet on it.
        frame_ms: Median milliseconds that one frame of each of its streams takes together.
        headroom: Share of its time that its streams leave, 0..1.
    """

    node: str
    state: Literal["alive", "draining", "drained", "dead", "unknown"]
    error: str
    streams: list[str]
    frame_ms: float
    headroom: float


class SnapshotsStatus(Message):
    """Snapshots of the fleet since its head runs.

    Attributes:
        problem: Why they do not reach the store, one line; "" otherwise.
        written: That reached the store.
        failed: That did not.
        skipped: That made room for newer ones.
        forgotten: That found no room in the head's memory.
    """

    problem: str
    written: int
    failed: int
    skipped: int
    forgotten: int


class FleetStatusResult(Message):
    """Result of `fleet.status`.

    Attributes:
        nodes: In the order of the configuration.
        unplaced: Streams without an owner.
        placed: Times that a stream was given to a node, since the head runs.
        snapshots: Of the streams' objects.
    """

    nodes: list[NodeStatus]
    unplaced: list[str]
    placed: int
    snapshots: SnapshotsStatus


FleetRequest = FleetStreams | FleetStatus | FleetDrain
FLEET_REQUEST: TypeAdapter[FleetRequest] = TypeAdapter(
    Annotated[FleetRequest, Field(discriminator="op")]
)
"""Reads a request to a head."""
