"""Head of a fleet: watches nodes, places streams, keeps their objects, and says who has them."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tracker.client import Client, DaemonError
from tracker.errors import TrackdError, UsageError
from tracker.fleet.assignments import Assignments, Fence, Place
from tracker.fleet.config import FleetConfig
from tracker.fleet.directory import server_key_of
from tracker.fleet.keeper import SnapshotKeeper
from tracker.fleet.node import Node
from tracker.fleet.placement import Placement
from tracker.fleet.store import SnapshotStore
from tracker.fleet.transfer import Snapshot, fetch_snapshot, give_snapshot, restore_given
from tracker.protocol.fleet import (
    FleetDrain,
    FleetRequest,
    FleetStatus,
    FleetStatusResult,
    FleetStreams,
    FleetStreamsResult,
    NodeStatus,
    SnapshotsStatus,
    StreamPlace,
)
from tracker.protocol.replies import ErrorCode

CLOSE_TIMEOUT_S = 5.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
_LOG = logging.getLogger("trackd.fleet")


@dataclass(frozen=True, slots=True)
class _Retry:
    """When a stream that could not be placed is placed again, by the monotonic clock."""

    at_s: float
    wait_s: float

    @classmethod
    def after(cls, before: "_Retry | None", now_s: float) -> "_Retry":
        """Each wait is twice the one before, up to `LONGEST_RETRY_S`."""
        wait_s = FIRST_RETRY_S if before is None else min(LONGEST_RETRY_S, 2 * before.wait_s)
        return cls(now_s + wait_s, wait_s)


class Head:
    """Places streams on nodes and moves them from those that die; ends without touching them.

    Each node is asked in one thread, its snapshots are fetched in another, and what is done to it
    in a third: a node or a store that hangs holds up nobody else.

    Args:
        config: Nodes, streams and times.
        placement: Where nodes come from, and which of them gets a stream.
    """

    def __init__(self, config: FleetConfig, placement: Placement) -> None:
        self._config = config
        timeout_s = config.head.timeout_s
        self._nodes = {
            one.name: Node(one, config.streams, timeout_s=timeout_s) for one in placement.nodes()
        }
        self._keys = {one.name: server_key_of(one) for one in placement.nodes()}
        self._assignments = Assignments(list(config.streams), placement)
        store = config.snapshots.store
        self._keeper = SnapshotKeeper(
            None if store is None else SnapshotStore(store, keep=config.snapshots.keep)
        )
        self._placed = 0
        self._lock = threading.Lock()  # guards the assignments and what is in progress
        self._in_progress: set[str] = set()
        self._retries: dict[str, _Retry] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"node-{name}") for name in self._nodes
        }

    def start(self) -> None:
        """Begin to watch the nodes."""
        head, every_s = self._config.head, self._config.snapshots.every_s
        for node in self._nodes.values():
            self._repeat(f"heartbeat-{node.name}", node.ask, head.heartbeat_s)
            self._repeat(f"snapshots-{node.name}", partial(self._fetch, node), every_s)
        self._repeat("head", self._tick, head.heartbeat_s / 2)

    def stop(self) -> None:
        """End; the nodes go on, and a later head finds them."""
        self._stop.set()
        for worker in self._workers.values():
            worker.shutdown(cancel_futures=True)
        for thread in self._threads:
            thread.join(CLOSE_TIMEOUT_S)
        if not self._keeper.close(CLOSE_TIMEOUT_S):
            _LOG.error("the store of snapshots hangs; what waited for it was not written")
        for node in self._nodes.values():
            node.close()

    def answer(self, request: FleetRequest) -> FleetStreamsResult | FleetStatusResult:
        """Answer a request; from any thread, never waits.

        Raises:
            UsageError: There is no such node.
        """
        match request:
            case FleetStreams():
                return FleetStreamsResult(streams=self._places(request.stream))
            case FleetStatus():
                return self._status()
            case FleetDrain():
                node = self._nodes.get(request.node)
                if node is None:
                    known = ", ".join(self._nodes)
                    raise UsageError(f"there is no node {request.node}", f"there are {known}")
                node.draining = request.drain
                return self._status()

    def _repeat(self, name: str, do: Callable[[], object], every_s: float) -> None:
        """Do something now and every so often, in a thread of its own."""

        def run() -> None:
            while True:
                try:
                    do()
                except Exception:
                    _LOG.exception("%s failed by an error of the fleet's own", name)
                if self._stop.wait(every_s):
                    return

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tick(self) -> None:
        """Begin whatever is to be done."""
        with self._lock:
            views = [node.view() for node in self._nodes.values()]
            now_s = time.monotonic()
            waiting = {name for name, one in self._retries.items() if one.at_s > now_s}
            for action in self._assignments.plan(views, self._in_progress | waiting):
                if action.stream not in self._in_progress and not self._stop.is_set():
                    self._in_progress.add(action.stream)
                    done = self._workers[action.node].submit(self._do, action)
                    done.add_done_callback(partial(self._end, action.stream))

    def _do(self, action: Fence | Place) -> None:
        node = self._nodes[action.node]
        try:
            if isinstance(action, Fence):
                _remove(node.client, action.stream, action.owner_epoch)
                _LOG.info("node %s has stream %s no more", node.name, action.stream)
            else:
                self._place(action, node)
        except TrackdError as err:
            _LOG.warning("stream %s, node %s: %s", action.stream, node.name, err)
        node.ask()

    def _end(self, stream: str, done: "Future[None]") -> None:
        with self._lock:
            self._in_progress.discard(stream)
        if not done.cancelled() and done.exception() is not None:
            _LOG.error("stream %s: an error of the fleet's own", stream, exc_info=done.exception())

    def _place(self, action: Place, node: Node) -> None:
        """Give a stream and its objects to a node, and then end it where it was."""
        stream, epoch = action.stream, action.owner_epoch
        source = None if action.source is None else self._nodes[action.source]
        try:
            if source is not None:  # alive: nothing is to change any more after the snapshot
                source.client.pause_stream(stream)
                self._keep(source, stream)
            self._open(stream, epoch, node.client)
        except TrackdError:
            with self._lock:
                self._assignments.give_up(stream, epoch)
                before = self._retries.get(stream)
                self._retries[stream] = _Retry.after(before, time.monotonic())
            if source is not None:
                source.client.resume_stream(stream)
            raise
        with self._lock:
            self._assignments.own(stream, node.name, epoch)
            self._retries.pop(stream, None)
            self._placed += 1
        _LOG.info("stream %s is on node %s, owner epoch %d", stream, node.name, epoch)
        if source is not None:
            _remove(source.client, stream, epoch)
            source.ask()

    def _open(self, stream: str, owner_epoch: int, client: Client) -> None:
        """Add a stream with the newest of its snapshots that the daemon takes, then open it."""
        snapshot = self._keeper.newest(stream)
        settings = self._config.streams[stream].settings
        if snapshot is not None:
            snapshot = self._given(client, stream, snapshot)
        fields = {"stream": stream, "owner_epoch": owner_epoch, "paused": True, **settings}
        client.call("stream.add", **fields)
        if snapshot is not None:
            try:
                restore_given(client, stream, snapshot)
            except DaemonError as err:
                _LOG.error("stream %s goes on without its objects: %s", stream, err)
        client.resume_stream(stream)

    def _given(self, client: Client, stream: str, snapshot: Snapshot) -> Snapshot | None:
        try:
            give_snapshot(client, stream, snapshot)
        except DaemonError as err:
            _LOG.error("stream %s goes on without its objects: %s", stream, err)
            return None
        return snapshot

    def _fetch(self, node: Node) -> None:
        """Keep a snapshot of each stream that a node owns."""
        with self._lock:
            owners = self._assignments.owners.items()
            owned = [stream for stream, one in owners if one.node == node.name]
            owned = [stream for stream in owned if stream not in self._in_progress]
        for stream in owned:
            if node.view().alive:
                try:
                    self._keep(node, stream)
                except TrackdError as err:
                    _LOG.warning("no snapshot of stream %s: %s", stream, err)

    def _keep(self, node: Node, stream: str) -> None:
        with self._lock:
            owner = self._assignments.owners[stream]
        snapshot = fetch_snapshot(node.client, stream, owner.owner_epoch)
        with self._lock:
            still = self._assignments.owners[stream] == owner
        if still:
            self._keeper.keep(stream, snapshot)

    def _places(self, stream: str | None) -> list[StreamPlace]:
        with self._lock:
            owners = dict(self._assignments.owners)
        return [
            StreamPlace(
                stream=name,
                node=owner.node,
                control=self._nodes[owner.node].config.control,
                data=self._nodes[owner.node].config.data,
                server_key=self._keys[owner.node],
                owner_epoch=owner.owner_epoch,
            )
            for name, owner in owners.items()
            if stream in (None, name)
        ]

    def _status(self) -> FleetStatusResult:
        counts = self._keeper.counts
        with self._lock:
            unplaced = [one for one in self._config.streams if one not in self._assignments.owners]
        return FleetStatusResult(
            nodes=[_node_status(node) for node in self._nodes.values()],
            unplaced=unplaced,
            placed=self._placed,
            snapshots=SnapshotsStatus(
                problem=self._keeper.problem,
                written=counts.written,
                failed=counts.failed,
                skipped=counts.skipped,
                forgotten=counts.forgotten,
            ),
        )


def _remove(client: Client, stream: str, owner_epoch: int) -> None:
    """Remove a stream of an older owner; it may be gone already.

    Raises:
        TrackdError: The daemon refuses or is gone.
    """
    try:
        client.remove_stream(stream, owner_epoch=owner_epoch)
    except DaemonError as err:
        if err.code is not ErrorCode.UNKNOWN_STREAM:
            raise


def _node_status(node: Node) -> NodeStatus:
    view = node.view()
    if not view.settled:
        state = "unknown"
    elif not view.alive:
        state = "dead"
    elif view.draining:
        state = "draining" if view.streams else "drained"
    else:
        state = "alive"
    streams = view.streams if view.alive else {}
    return NodeStatus.model_validate(
        {
            "node": node.name,
            "state": state,
            "error": node.error,
            "streams": sorted(streams),
            "frame_ms": round(sum(one.frame_ms for one in streams.values()), 3),
            "headroom": round(max(0.0, 1 - sum(one.busy for one in streams.values())), 3),
        }
    )
