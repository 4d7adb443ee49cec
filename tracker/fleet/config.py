"""Configuration of a fleet, `fleet.yaml`: nodes, streams, and where snapshots go."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tracker.errors import UsageError
from tracker.protocol.fields import Message, StreamName, StreamSettings
from tracker.protocol.fleet import NodeName

MAX_CONFIG_BYTES = 2**20
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOCAL = re.compile(r"ipc://.+|tcp://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):.+")


def is_local(endpoint: str) -> bool:
    """True if only this machine reaches an endpoint."""
    return _LOCAL.fullmatch(endpoint) is not None


class NodeConfig(Message):
    """A daemon of the fleet.

    Attributes:
        name: Names it in the fleet.
        control: Its control endpoint, as the head and clients reach it.
        data: Likewise its data endpoint.
        client_key: The head's secret key file for it, of the role admin; null for none.
        server_key: File with its public key.
    """

    name: NodeName
    control: str
    data: str
    client_key: Path | None = None
    server_key: Path | None = None

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if (self.client_key is None) != (self.server_key is None):
            raise ValueError("give client_key and server_key, or neither")
        return self


class RayConfig(Message):
    """A Ray cluster that gives the nodes, a daemon on each of its machines.

    Attributes:
        address: As `ray.init` takes it; "auto" for the cluster that this machine is of.
        config: The daemons' configuration, at the same path on all machines.
        client_key: The head's secret key file, of the role admin; null for none.
        server_key: File with the daemons' public key.
    """

    address: str = "auto"
    config: Path
    client_key: Path | None = None
    server_key: Path | None = None


class FleetStreamConfig(StreamSettings):
    """A stream of the fleet: its source, and where it goes.

    Attributes:
        node: The node that it goes to whenever it is placed and that node is there; null for the
            one with the least to do.
    """

    node: NodeName | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a daemon is told of it."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"node"})


class HeadConfig(Message):
    """The head: the directory that it serves, and when it takes a node for dead.

    Attributes:
        bind: Where the directory listens. Off this machine only with keys.
        server_key: The head's secret key file, made by `trackd keys new`; null for none.
        client_keys: Folder of the public keys of the clients that may ask.
        admin: Socket file for `trackd fleet status` and `drain`, for the head's own user alone.
        heartbeat_s: Seconds between two questions to a node.
        timeout_s: A node that did not answer for so long is dead.
    """

    bind: str = "tcp://127.0.0.1:5580"
    server_key: Path | None = None
    client_keys: Path | None = None
    admin: Path = Path("fleet.sock")
    heartbeat_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    timeout_s: Annotated[float, Field(ge=0.5, le=600)] = 4.0

    @model_validator(mode="after")
    def _keys_off_this_machine(self) -> Self:
        if (self.server_key is None) != (self.client_keys is None):
            raise ValueError("give server_key and client_keys, or neither")
        if self.server_key is None and not is_local(self.bind):
            raise ValueError(f"bind {self.bind} is not of this machine: give keys")
        return self


class SnapshotsConfig(Message):
    """Snapshots of the objects, off the nodes.

    Attributes:
        store: A folder that all heads reach, or an address of fsspec such as `s3://bucket/fleet`;
            null keeps them in the head's memory alone.
        every_s: Seconds between two of a stream: what was prompted since is lost with a node.
        keep: Snapshots of a stream that stay in the store.
    """

    store: str | None = None
    every_s: Annotated[float, Field(ge=0.5, le=86400)] = 10.0
    keep: Annotated[int, Field(ge=1, le=1000)] = 3


class FleetConfig(Message):
    """A fleet.

    Attributes:
        head: The directory, and when a node is dead.
        snapshots: Where objects are kept.
        nodes: The daemons; names and control endpoints differ.
        ray: A Ray cluster that gives the nodes, in place of `nodes`.
        streams: By name.
    """

    head: HeadConfig = HeadConfig()
    snapshots: SnapshotsConfig = SnapshotsConfig()
    nodes: Annotated[tuple[NodeConfig, ...], Field(max_length=256)] = ()
    ray: RayConfig | None = None
    streams: Annotated[dict[StreamName, FleetStreamConfig], Field(max_length=4096)] = Field(
        default_factory=dict
    )

    @field_validator("nodes")
    @classmethod
    def _differ(cls, nodes: tuple[NodeConfig, ...]) -> tuple[NodeConfig, ...]:
        for what in ("name", "control"):
            counts = Counter(getattr(node, what) for node in nodes)
            value, times = max(counts.items(), key=lambda one: one[1], default=("", 0))
            if times > 1:
                raise ValueError(f"{times} nodes have the {what} {value}")
        return nodes

    @model_validator(mode="after")
    def _known_nodes(self) -> Self:
        if bool(self.nodes) == (self.ray is not None):
            raise ValueError("give nodes, or ray")
        if self.ray is not None:
            return self
        names = {node.name for node in self.nodes}
        for name, stream in self.streams.items():
            if stream.node is not None and stream.node not in names:
                raise ValueError(f"stream {name} goes to node {stream.node}, which there is not")
        return self


def load_fleet(path: Path, environ: Mapping[str, str] | None = None) -> FleetConfig:
    """Read and check a configuration; `${NAME}` stands for a variable of the environment.

    Relative paths of keys, of the admin socket and of the store start at the folder of the file.

    Raises:
        UsageError: One line with the file and the key, never with a value that may be a secret.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}", "check the path") from err
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(f"{path} is longer than {MAX_CONFIG_BYTES} bytes", "is it the right file?")
    try:
        tree = yaml.safe_load(data)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1})"
        raise UsageError(f"{path}{where} is no YAML", "see docs/how-to/fleet.md") from None
    try:
        filled = _filled(tree, os.environ if environ is None else environ)
        return _anchored(FleetConfig.model_validate(filled), path.absolute().parent)
    except KeyError as err:
        raise UsageError(f"{path}: there is no variable {err.args[0]}", "set it") from None
    except ValidationError as err:
        first = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where}: {said}", "see docs/how-to/fleet.md") from None


def _filled(tree: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(tree, str):
        return _VARIABLE.sub(lambda found: environ[found[1]], tree)
    if isinstance(tree, list):
        return [_filled(one, environ) for one in tree]
    if isinstance(tree, dict):
        return {key: _filled(value, environ) for key, value in tree.items()}
    return tree


def _anchored(config: FleetConfig, folder: Path) -> FleetConfig:
    """The same with absolute paths."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    head = config.head.model_copy(
        update={
            "server_key": at(config.head.server_key),
            "client_keys": at(config.head.client_keys),
            "admin": folder / config.head.admin,
        }
    )
    nodes = tuple(
        node.model_copy(
            update={"client_key": at(node.client_key), "server_key": at(node.server_key)}
        )
        for node in config.nodes
    )
    store = config.snapshots.store
    if store is not None and "://" not in store:
        store = str(folder / store)
    snapshots = config.snapshots.model_copy(update={"store": store})
    ray = config.ray
    if ray is not None:
        keys = {"client_key": at(ray.client_key), "server_key": at(ray.server_key)}
        ray = ray.model_copy(update={"config": folder / ray.config, **keys})
    update = {"head": head, "nodes": nodes, "snapshots": snapshots, "ray": ray}
    return config.model_copy(update=update)
