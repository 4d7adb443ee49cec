"""Nodes of a Ray cluster: a daemon on each, kept there by a detached actor of Ray.

Ray makes an actor again that ended, by its constructor alone, so the constructor is all that starts
a daemon. Streams, objects and owners are the head's: Ray knows only that a process is to run.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tracker.client.reach import why_unreachable
from tracker.client.sockets import DEFAULT_CONTROL, DEFAULT_DATA
from tracker.errors import TrackdError, UsageError
from tracker.extras import import_extra
from tracker.fleet.config import FleetConfig, NodeConfig, RayConfig, is_local
from tracker.fleet.placement import StaticPlacement

NAMESPACE = "trackd"
START_S = 120.0

_LOOK_EVERY_S = 1.0
_ANY_HOST = ("tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:")


class DaemonKeeper:
    """Actor that has a daemon run on its node, and ends when that ends, to be made again.

    A daemon that is there already, which an actor that was killed left behind, is kept.

    Args:
        config: Path of the daemon's configuration, on the node.
    """

    def __init__(self, config: str) -> None:
        self._control, self._data = endpoints_of(Path(config))
        self._process: subprocess.Popen[bytes] | None = None
        if why_unreachable(self._control):
            command = [sys.executable, "-m", "tracker.cli.main", "serve", "--config", config]
            self._process = subprocess.Popen(command, env=_environment())
        threading.Thread(target=self._watch, daemon=True).start()

    def endpoints(self) -> tuple[str, str]:
        """Control and data endpoint, once the daemon listens."""
        while why_unreachable(self._control):
            time.sleep(_LOOK_EVERY_S)
        return self._control, self._data

    def _watch(self) -> None:
        while self._runs():
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    def _runs(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return not why_unreachable(self._control)


class RayPlacement(StaticPlacement):
    """The nodes of a Ray cluster as they are when the head starts; streams as `StaticPlacement`.

    The head leaves the cluster again: what it needs of Ray is done.

    Args:
        config: Its `ray` says which cluster.

    Raises:
        UsageError: Ray is not installed, or the daemons listen where nobody reaches them.
        TrackdError: The cluster cannot be reached, or a daemon does not start.
    """

    def __init__(self, config: FleetConfig) -> None:
        super().__init__(config)
        assert config.ray is not None
        ray = import_extra("ray", extra="ray", who="ray in fleet.yaml")
        try:
            ray.init(address=config.ray.address, namespace=NAMESPACE, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as err:
            text = f"cannot reach the Ray cluster {config.ray.address}: {type(err).__name__}"
            raise TrackdError(text, "start it with `ray start --head`") from err
        try:
            self._nodes = _nodes(ray, config.ray)
        finally:
            ray.shutdown()  # the actors stay; Ray would handle our signals

    def nodes(self) -> Sequence[NodeConfig]:
        """See `Placement`."""
        return self._nodes


def endpoints_of(config: Path) -> tuple[str, str]:
    """Control and data endpoint in a daemon's configuration; its defaults where they are not."""
    tree: Any = yaml.safe_load(config.read_bytes()) or {}
    control = tree.get("control", {}).get("bind", DEFAULT_CONTROL)
    data = tree.get("data", {}).get("bind", DEFAULT_DATA)
    return _local(str(control)), _local(str(data))


def _local(endpoint: str) -> str:
    """An endpoint on this machine."""
    for start in _ANY_HOST:
        if endpoint.startswith(start):
            return f"tcp://127.0.0.1:{endpoint.removeprefix(start)}"
    return endpoint


def _nodes(ray: Any, config: RayConfig) -> tuple[NodeConfig, ...]:
    """A node for each machine of the cluster, whose daemon is started if need be."""
    machines = {one["NodeID"]: one["NodeManagerAddress"] for one in ray.nodes() if one["Alive"]}
    keepers = [_keeper(ray, config, node_id) for node_id in machines]
    try:
        found = ray.get([keeper.endpoints.remote() for keeper in keepers], timeout=START_S)
    except Exception as err:  # a class of Ray's own for each way to fail
        text = f"a daemon of the Ray cluster does not start: {type(err).__name__}"
        raise TrackdError(text, f"try trackd serve --config {config.config} there") from err
    nodes = []
    for (node_id, host), (control, data) in zip(machines.items(), found, strict=True):
        if len(machines) > 1:
            control, data = _reached_at(host, control), _reached_at(host, data)
        nodes.append(
            NodeConfig(
                name=f"ray-{node_id[:8]}",
                control=control,
                data=data,
                client_key=config.client_key,
                server_key=config.server_key,
            )
        )
    return tuple(nodes)


def _keeper(ray: Any, config: RayConfig, node_id: str) -> Any:
    """The actor of a machine: the one that is there, or a new one."""
    strategies = import_extra("ray.util.scheduling_strategies", extra="ray", who="fleet.yaml")
    here = strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
    return (
        ray.remote(DaemonKeeper)
        .options(
            name=f"trackd-{node_id}",
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
            scheduling_strategy=here,
        )
        .remote(str(config.config))
    )


def _reached_at(host: str, endpoint: str) -> str:
    """An endpoint as other machines reach it.

    Raises:
        UsageError: It is of a socket file.
    """
    if endpoint.startswith("ipc:"):
        raise UsageError(f"no other machine reaches {endpoint}", "let daemons listen on tcp://")
    if not is_local(endpoint):
        return endpoint
    return f"tcp://{host}:{endpoint.rpartition(':')[2]}"


def _environment() -> dict[str, str]:
    """Ours, without the limits on threads and GPUs that Ray sets for actors."""
    kept = dict(os.environ)
    kept.pop("OMP_NUM_THREADS", None)
    if kept.get("CUDA_VISIBLE_DEVICES") == "":
        del kept["CUDA_VISIBLE_DEVICES"]
    return kept
