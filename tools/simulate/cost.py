"""Cost model: what streams, nodes and the head need, and at how many cameras a part is full.

All loads but those of one node are proportional to the number of cameras, so a part that has a
capacity C and a load L of one camera is full at C / L cameras.
"""

import math
from dataclasses import dataclass

from tools.simulate.constants import Constants
from tracker.errors import UsageError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class StreamCost:
    """Needs of a stream.

    Attributes:
        core_ms_per_s: Processor time of a node.
        gpu_core_ms_per_s: The same where a GPU tracks: decoding and messages.
        gpu_ms_per_s: Time of that GPU.
        snapshot_bytes: Of one snapshot.
        restore_ms: To read one.
        result_bytes_per_s: Masks to one viewer.
    """

    core_ms_per_s: float
    gpu_core_ms_per_s: float
    gpu_ms_per_s: float
    snapshot_bytes: float
    restore_ms: float
    result_bytes_per_s: float


def stream_cost(constants: Constants, objects: int) -> StreamCost:
    """Cost of a stream with 1 or 4 objects."""
    c = constants

    def of(name: str) -> float:
        return float(getattr(c, f"{name}_{objects}"))

    beside = c.camera_fps * c.decode_ms + c.tracked_fps * of("encode_ms")
    beside += of("snapshot_ms") / c.snapshot_every_s
    return StreamCost(
        core_ms_per_s=beside + c.tracked_fps * of("track_ms"),
        gpu_core_ms_per_s=beside,
        gpu_ms_per_s=c.tracked_fps * of("gpu_ms"),
        snapshot_bytes=of("snapshot_bytes"),
        restore_ms=of("restore_ms"),
        result_bytes_per_s=c.tracked_fps * of("masks_bytes"),
    )


def mean_cost(constants: Constants) -> StreamCost:
    """Cost of the mean stream."""
    share = constants.four_objects_share
    one, four = stream_cost(constants, 1), stream_cost(constants, 4)
    names = StreamCost.__dataclass_fields__
    return StreamCost(
        **{n: (1 - share) * getattr(one, n) + share * getattr(four, n) for n in names}
    )


def memory_streams(constants: Constants) -> int:
    """Streams that the memory of a node holds."""
    c = constants
    free_mib = c.node_mib - c.node_base_mib - c.node_cores * c.worker_mib
    return max(0, math.floor(free_mib / c.stream_mib))


def node_streams(constants: Constants) -> int:
    """Mean streams that a node holds, by processors, memory and its link.

    Raises:
        UsageError: A node holds none.
    """
    c = constants
    planned_core_ms_per_s = c.node_cores * 1000 * c.target_share
    by_processor = math.floor(planned_core_ms_per_s / mean_cost(c).core_ms_per_s)
    by_link = math.floor(c.node_link_bytes_per_s / max(c.camera_bytes_per_s, out_bytes_per_s(c)))
    streams = min(by_processor, memory_streams(c), by_link)
    if streams < 1:
        raise UsageError(
            "a node of these constants holds no stream",
            "give more node_cores, node_mib or node_link_bytes_per_s",
        )
    return streams


def node_count(constants: Constants, cameras: int) -> int:
    """Nodes for so many cameras: those needed and the spare ones, at least one of them."""
    needed = math.ceil(cameras / node_streams(constants))
    return needed + max(1, math.ceil(needed * constants.spare_share))


def memory_mib(constants: Constants, cameras: int, nodes: int) -> float:
    """Memory that nodes with all their workers and streams hold."""
    c = constants
    return nodes * (c.node_base_mib + c.node_cores * c.worker_mib) + cameras * c.stream_mib


def gpu_count(constants: Constants, cameras: int) -> int:
    """GPUs that track so many cameras in place of processors."""
    gpu_ms_per_s = cameras * mean_cost(constants).gpu_ms_per_s
    return math.ceil(gpu_ms_per_s / (1000 * constants.target_share))


def masks_bytes_per_s(constants: Constants) -> float:
    """Masks of a stream to all its viewers."""
    return mean_cost(constants).result_bytes_per_s * constants.viewers_per_stream


def previews_bytes_per_s(constants: Constants) -> float:
    """Mean bytes of pictures of a stream."""
    return constants.previews_share * constants.preview_fps * constants.preview_bytes


def snapshots_bytes_per_s(constants: Constants) -> float:
    """Snapshots of a stream to the store."""
    return mean_cost(constants).snapshot_bytes / constants.snapshot_every_s


def out_bytes_per_s(constants: Constants) -> float:
    """All that a node sends of a stream."""
    sent = (masks_bytes_per_s, previews_bytes_per_s, snapshots_bytes_per_s, control_bytes_per_s)
    return sum(part(constants) for part in sent)


def control_bytes_per_s(constants: Constants) -> float:
    """Heartbeats of a stream."""
    return constants.heartbeat_stream_bytes / constants.heartbeat_every_s


def lookups_per_s(constants: Constants) -> float:
    """Requests to the directory for a stream."""
    return constants.viewers_per_stream * constants.lookups_per_s


def heartbeats_ms_per_s(constants: Constants) -> float:
    """Time of the head for the heartbeats of a stream, and its part of a node's."""
    c = constants
    beat_ms = c.request_ms / node_streams(c) * (1 + c.spare_share) + c.heartbeat_stream_ms
    return beat_ms / c.heartbeat_every_s


def directory_ms_per_s(constants: Constants) -> float:
    """Time of the head for the clients of a stream."""
    return lookups_per_s(constants) * constants.request_ms


def head_ms_per_s(constants: Constants) -> float:
    """Time of the head for a stream that runs."""
    return heartbeats_ms_per_s(constants) + directory_ms_per_s(constants)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the fleet that all streams share.

    Attributes:
        load: Of one camera.
        capacity: In the same unit.
        remedy: The change that gives it more room.
    """

    name: str
    unit: str
    load: float
    capacity: float
    remedy: str

    @property
    def full_at_cameras(self) -> int:
        """Cameras at which it is full."""
        return math.floor(self.capacity / self.load)

    def share(self, cameras: int) -> float:
        """The part of it that so many cameras take; above 1 it cannot keep up."""
        return cameras * self.load / self.capacity


def shared_parts(constants: Constants) -> list[Part]:
    """Parts that all streams share, the one first that is full first."""
    c = constants
    beats, directory = heartbeats_ms_per_s(c), directory_ms_per_s(c)
    snapshots = snapshots_bytes_per_s(c)
    core = c.camera_bytes_per_s + out_bytes_per_s(c)
    parts = [
        Part("head: heartbeats and directory", "ms/s", beats + directory, 1000, _HEAD),
        Part("head: heartbeats alone", "ms/s", beats, 1000, _HEAD),
        Part("head: directory alone", "ms/s", directory, 1000, _DIRECTORY),
        Part("store: bytes of snapshots", "bytes/s", snapshots, c.store_bytes_per_s, _STORE),
        Part("store: objects", "1/s", 1 / c.snapshot_every_s, c.store_objects_per_s, _OBJECTS),
        Part("links between racks", "bytes/s", core, c.core_link_bytes_per_s, _LINKS),
    ]
    return sorted(parts, key=lambda part: part.full_at_cameras)


_HEAD = (
    "rows of streams that changed in place of all; heartbeats every few seconds; heads by region"
)
_DIRECTORY = (
    "answers that clients keep until a stream moves; directories beside the head that only read"
)
_STORE = "snapshots without the history; a store in each rack; more seconds between snapshots"
_OBJECTS = "one object for the snapshots of a node"
_LINKS = "cameras on the switch of the rack that tracks them; store and viewers likewise"
