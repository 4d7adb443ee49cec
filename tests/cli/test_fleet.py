"""`trackd fleet`: what it shows, and how it refuses."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tracker.cli.main import main
from tracker.errors import UsageError
from tracker.fleet.config import load_fleet
from tracker.fleet.directory import Directory
from tracker.protocol.fleet import (
    FleetDrain,
    FleetRequest,
    FleetStatusResult,
    NodeStatus,
    SnapshotsStatus,
)

NODES = [
    NodeStatus(node="a", state="alive", error="", streams=["door"], frame_ms=41.26, headroom=0.5),
    NodeStatus(node="b", state="dead", error="no answer", streams=[], frame_ms=0, headroom=1),
]
STATUS = FleetStatusResult(
    nodes=NODES,
    unplaced=["yard"],
    placed=2,
    snapshots=SnapshotsStatus(
        problem="the store is full", written=3, failed=1, skipped=0, forgotten=0
    ),
)


def answer(request: FleetRequest) -> BaseModel:
    if isinstance(request, FleetDrain) and request.node != "a":
        raise UsageError(f"there is no node {request.node}", "there are a, b")
    return STATUS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    node = {"name": "a", "control": "tcp://10.0.0.1:1", "data": "tcp://10.0.0.1:2"}
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"head": {"bind": "tcp://127.0.0.1:*"}, "nodes": [node]}))
    return path


def test_status_and_drain(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = Directory(load_fleet(config).head, answer)
    try:
        assert main(["fleet", "status", "--config", str(config)]) == 0
        shown = capsys.readouterr().out
        rows = [line.split() for line in shown.splitlines()]
        assert ["a", "alive", "door", "41.3", "50%"] in rows
        assert ["b", "dead", "0.0", "100%", "no", "answer"] in rows
        assert "without a node: yard" in shown
        assert "snapshots: the store is full" in shown
        assert main(["fleet", "status", "--json", "--config", str(config)]) == 0
        assert FleetStatusResult.model_validate(json.loads(capsys.readouterr().out)) == STATUS
        assert main(["fleet", "drain", "a", "--config", str(config)]) == 0
        assert main(["fleet", "drain", "z", "--config", str(config)]) == 1
        assert "there is no node z; there are a, b" in capsys.readouterr().err
    finally:
        directory.stop()


def test_a_missing_configuration_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("up", "status"):
        assert main(["fleet", action, "--config", str(tmp_path / "none.yaml")]) == 2
        assert "No such file" in capsys.readouterr().err
