"""Discrete-event simulation of a fleet: failures of nodes, racks, head and store.

A dead node is missed by its heartbeats. The head then places its streams on others, each with a new
epoch; each reads its newest snapshot from the store, over the link of its node, opens its camera,
and goes on with the next key frame. Head, store and links serve in turn, first come, first served.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

from tools.simulate.constants import Constants
from tools.simulate.cost import (
    head_ms_per_s,
    memory_streams,
    node_count,
    stream_cost,
)
from tools.simulate.fifo import FifoServer
from tools.simulate.outcome import DownCount, Outcome
from tools.simulate.placement import Node, Placement, Stream
from tools.simulate.store import Store
from tracker.errors import UsageError

HOUR_S = 3600.0
_MOST_SHARE = 0.95  # of the head that other work takes, in this model; beyond, it never ends


class FleetSimulation:
    """Simulation of so many cameras.

    Args:
        constants: Costs, settings and failures.
        cameras: One stream each, all up at time 0.
        seed: Of all that is drawn.

    Raises:
        UsageError: A node holds no stream.
    """

    def __init__(self, constants: Constants, cameras: int, seed: int) -> None:
        self.constants = constants
        self.now_s = 0.0
        self.nodes = _nodes(constants, cameras)
        self.streams = _streams(constants, cameras)
        self.down = DownCount()
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._numbers = count()
        self._placement = Placement(self.nodes)
        self._costs = {objects: stream_cost(constants, objects) for objects in (1, 4)}
        self._store = Store(constants, cameras)
        self._head = FifoServer()
        self._head_up_at_s = 0.0
        head_left = 1 - min(_MOST_SHARE, cameras * head_ms_per_s(constants) / 1000)
        self._placing_s = constants.placing_requests * constants.request_ms / 1000 / head_left
        self._waiting: list[Stream] = []
        self._seconds_to_go_on: Counter[float] = Counter()
        self._deaths = self._waits = self._too_old = self._since_snapshot = 0
        self._place_first()
        self._plan_failures()

    def run(self, hours: float) -> Outcome:
        """Simulate until so many hours have gone by, and sum up."""
        until_s = hours * HOUR_S
        while self._events[0][0] <= until_s:
            self.step()
        self.down.change(until_s, 0)
        return Outcome(
            cameras=len(self.streams),
            nodes=len(self.nodes),
            hours=hours,
            node_deaths=self._deaths,
            down_mean=self.down.mean(),
            down_p99=self.down.percentile(0.99),
            down_most=self.down.most,
            seconds_to_go_on=self._seconds_to_go_on,
            waits_for_room=self._waits,
            lost_too_old=self._too_old,
            lost_since_snapshot=self._since_snapshot,
        )

    def step(self) -> None:
        """Simulate the next event; failures never end."""
        self.now_s, _, handle, of = heapq.heappop(self._events)
        handle(*of)

    def stop_node(self, node: Node, repair_s: float) -> None:
        """A node is down, or longer than it would have been; then it loads its model."""
        node.up_at_s = max(node.up_at_s, self.now_s + repair_s + self.constants.model_load_s)
        self._at(node.up_at_s, self._start, node)
        if not node.up:
            return
        node.up, node.deaths = False, node.deaths + 1
        self._deaths += 1
        for stream in node.streams.values():
            self._lose(stream)
        c = self.constants
        silent_s = self._random.uniform(0, c.heartbeat_every_s)  # since its last heartbeat
        missed_s = self.now_s + c.heartbeat_timeout_s - min(silent_s, c.heartbeat_timeout_s)
        self._at(missed_s, self._miss, node, node.deaths)

    def stop_head(self, repair_s: float) -> None:
        """The head is down: streams go on, but nothing is placed."""
        self._head_up_at_s = self.now_s + repair_s

    def _at(self, at_s: float, handle: Callable[..., None], *of: object) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), handle, of))

    def _drawn_s(self, mean_h: float) -> float:
        """An exponential time in seconds."""
        return self._random.expovariate(1 / (mean_h * HOUR_S))

    def _place_first(self) -> None:
        for stream in self.streams:
            if self._placement.place(stream) is None:
                raise UsageError("the nodes do not hold the streams", "give a larger spare_share")

    def _plan_failures(self) -> None:
        c = self.constants
        for node in self.nodes:
            self._at(self._drawn_s(c.node_mtbf_h), self._fail_node, node)
        for rack in range(math.ceil(len(self.nodes) / c.rack_nodes)):
            self._at(self._drawn_s(c.rack_mtbf_h), self._fail_rack, rack)
        self._at(self._drawn_s(c.head_mtbf_h), self._fail_head)
        self._at(self._drawn_s(c.store_slow_mtbf_h), self._slow_store)

    def _fail_node(self, node: Node) -> None:
        if node.up:
            self.stop_node(node, self._drawn_s(self.constants.node_repair_h))
        self._at(self.now_s + self._drawn_s(self.constants.node_mtbf_h), self._fail_node, node)

    def _fail_rack(self, rack: int) -> None:
        repair_s = self._drawn_s(self.constants.rack_repair_h)
        for node in self.nodes:
            if node.rack == rack:
                self.stop_node(node, repair_s)
        self._at(self.now_s + self._drawn_s(self.constants.rack_mtbf_h), self._fail_rack, rack)

    def _fail_head(self) -> None:
        self.stop_head(self._drawn_s(self.constants.head_repair_s / HOUR_S))
        next_s = self._head_up_at_s + self._drawn_s(self.constants.head_mtbf_h)
        self._at(next_s, self._fail_head)

    def _slow_store(self) -> None:
        c = self.constants
        end_s = self.now_s + self._drawn_s(c.store_slow_h)
        self._store.slow_between(self.now_s, end_s)
        self._at(end_s + self._drawn_s(c.store_slow_mtbf_h), self._slow_store)

    def _lose(self, stream: Stream) -> None:
        """A stream gives no results, if it did; its newest snapshot is of some time before."""
        if stream.down_since_s is not None:
            return
        stream.down_since_s = self.now_s
        self.down.change(self.now_s, 1)
        taken_s = self.now_s - self._random.uniform(0, self._store.snapshots_every_s(self.now_s))
        if taken_s > stream.on_since_s:
            stream.snapshot_s = taken_s

    def _miss(self, node: Node, death: int) -> None:
        """The head takes a node for dead, unless it came back before."""
        if node.up or node.deaths != death or not node.member:
            return
        if self.now_s < self._head_up_at_s:
            again_s = self._head_up_at_s + self.constants.heartbeat_timeout_s
            self._at(again_s, self._miss, node, death)
            return
        self._place(self._placement.expel(node))

    def _start(self, node: Node) -> None:
        """A node runs again, if nothing else keeps it down, empty, and the head takes it."""
        if node.up or self.now_s < node.up_at_s:
            return
        if self.now_s < self._head_up_at_s:
            self._at(self._head_up_at_s, self._start, node)
            return
        node.up = True
        streams = self._placement.expel(node)  # those of a node that was not missed yet
        self._placement.admit(node)
        self._waiting = [stream for stream in self._waiting if not self._place_one(stream)]
        self._place(streams)

    def _place(self, streams: Sequence[Stream]) -> None:
        """The head places streams one after another; those without room wait for a node."""
        for stream in streams:
            if not self._place_one(stream):
                self._waiting.append(stream)
                self._waits += 1

    def _place_one(self, stream: Stream) -> bool:
        """Place a stream if there is room."""
        if self._placement.place(stream) is None:
            return False
        placed_s = self._head.finish_s(self.now_s, self._placing_s)
        self._at(placed_s, self._read, stream, stream.epoch)
        return True

    def _read(self, stream: Stream, epoch: int) -> None:
        """A stream's new owner reads its snapshot from the store."""
        if stream.epoch == epoch:
            size = self._costs[stream.objects].snapshot_bytes
            self._at(self._store.read_s(self.now_s, size), self._receive, stream, epoch)

    def _receive(self, stream: Stream, epoch: int) -> None:
        """The snapshot comes over the link of the node, and its camera is opened."""
        node, c = stream.node, self.constants
        if stream.epoch != epoch or node is None or not node.up:
            return
        cost = self._costs[stream.objects]
        came_s = node.link.finish_s(self.now_s, cost.snapshot_bytes / c.node_link_bytes_per_s)
        frame_s = (
            came_s + cost.restore_ms / 1000 + c.connect_s + self._random.uniform(0, c.key_frame_s)
        )
        self._at(frame_s, self._go_on, stream, epoch)

    def _go_on(self, stream: Stream, epoch: int) -> None:
        """The first result of a stream's new owner."""
        node = stream.node
        if stream.epoch != epoch or node is None or not node.up or stream.down_since_s is None:
            return
        self._seconds_to_go_on[float(f"{self.now_s - stream.down_since_s:.3g}")] += 1
        if self.now_s - stream.snapshot_s > self.constants.snapshot_max_age_s:
            self._too_old += stream.objects
        else:
            self._since_snapshot += self._prompts(stream.down_since_s - stream.snapshot_s)
        stream.on_since_s, stream.down_since_s = self.now_s, None
        self.down.change(self.now_s, -1)

    def _prompts(self, span_s: float) -> int:
        """Prompts of a stream within a time; a Poisson process."""
        prompts, at_s = 0, self._drawn_s(1 / self.constants.prompts_per_h)
        while at_s < span_s:
            prompts, at_s = prompts + 1, at_s + self._drawn_s(1 / self.constants.prompts_per_h)
        return prompts


def _nodes(constants: Constants, cameras: int) -> list[Node]:
    full_core_ms_per_s = constants.node_cores * 1000 * constants.full_share
    return [
        Node(name, name // constants.rack_nodes, full_core_ms_per_s, memory_streams(constants))
        for name in range(node_count(constants, cameras))
    ]


def _streams(constants: Constants, cameras: int) -> list[Stream]:
    """Streams, those with four objects spread evenly (Bresenham)."""
    share = constants.four_objects_share
    objects = [4 if int((i + 1) * share) > int(i * share) else 1 for i in range(cameras)]
    return [
        Stream(name, many, stream_cost(constants, many).core_ms_per_s)
        for name, many in enumerate(objects)
    ]
