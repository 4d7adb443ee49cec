"""A fleet whose nodes a Ray cluster gives: a daemon that dies is there again, with its objects."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.support.small_pico import small_pico_of
from tools.fleet import BOX, STREAM, next_mask, wait_until
from tools.fuzz.workers import write_clip
from tools.serving import free_ports
from tracker.client import Client, FleetClient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
]
RAY = str(Path(sys.executable).with_name("ray"))


def own_address() -> str:
    """The address that this machine sends from; Ray waits for ever when it is told 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])


@contextmanager
def cluster() -> Iterator[str]:
    """A Ray cluster of this machine alone, and its address."""
    (port,) = free_ports(1)
    host = own_address()
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # paths of sockets
        options = {
            "node-ip-address": host,
            "port": str(port),
            "num-cpus": "1",
            "object-store-memory": "100000000",
            "include-dashboard": "false",
            "temp-dir": folder,
        }
        command = [RAY, "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (Path(folder) / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield f"{host}:{port}"
            finally:
                for pid in [*descendants(process.pid), process.pid]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # by itself Ray takes half a minute to end
                process.wait(60)


def written(folder: Path, address: str) -> tuple[Path, str]:
    """The configuration of a fleet on a cluster, and the address of its directory."""
    control, data, directory = free_ports(3)
    write_clip(folder / "clip.mp4")
    daemon = {
        "model": small_pico_of(folder / "model"),
        "control": {"bind": f"tcp://127.0.0.1:{control}"},
        "data": {"bind": f"tcp://127.0.0.1:{data}", "latest_bind": None},
        "http": {"port": 0},
    }
    (folder / "trackd.yaml").write_text(yaml.safe_dump(daemon))
    source = {"url": str(folder / "clip.mp4"), "realtime": True, "loop": True}
    fleet = {
        "head": {"bind": f"tcp://127.0.0.1:{directory}", "heartbeat_s": 0.5, "timeout_s": 2.0},
        "snapshots": {"every_s": 1.0},
        "ray": {"address": address, "config": "trackd.yaml"},
        "streams": {STREAM: source},
    }
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet))
    return path, f"tcp://127.0.0.1:{directory}"


@contextmanager
def head(config: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tracker.cli.main", "fleet", "up", "--config", str(config)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def found(*by: str) -> list[int]:
    """Processes that pgrep finds."""
    said = subprocess.run(["pgrep", *by], capture_output=True, text=True, check=False)
    return [int(pid) for pid in said.stdout.split()]


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    children = found("-P", str(pid))
    return [*children, *(one for child in children for one in descendants(child))]


def daemons(config: Path) -> list[int]:
    """Processes of daemons with a configuration, which is of one test."""
    return found("-f", str(config))


def test_ray_starts_a_daemon_again_and_its_objects_go_on(tmp_path: Path) -> None:
    with cluster() as address:
        config, directory = written(tmp_path, address)
        with (
            head(config),
            FleetClient(directory, timeout_s=120) as client,
            client.results(STREAM) as results,
        ):
            object_id = client.prompt(STREAM, box=BOX, object=41, wait_s=25).object.id
            first = next_mask(results, object_id).message
            control = client.places()[STREAM].control
            with Client(control) as daemon:
                kept = daemon.metrics()["uptime_s"] + 2.5
                wait_until(lambda: daemon.metrics()["uptime_s"] > kept, "a snapshot")
            (pid,) = daemons(tmp_path / "trackd.yaml")
            os.kill(pid, signal.SIGKILL)
            second = next_mask(results, object_id, above=first.owner_epoch).message
            assert second.frame.epoch != first.frame.epoch
            assert [one.id for one in client.objects(STREAM)] == [41]
            assert daemons(tmp_path / "trackd.yaml") != [pid]
