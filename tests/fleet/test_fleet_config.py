"""`fleet.yaml`: what is read, and in which words it is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tracker.errors import UsageError
from tracker.fleet.config import load_fleet

A = {"name": "a", "control": "tcp://10.0.0.1:5570", "data": "tcp://10.0.0.1:5571"}
B = {"name": "b", "control": "tcp://10.0.0.2:5570", "data": "tcp://10.0.0.2:5571"}


def written(folder: Path, tree: object) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def test_paths_start_at_the_file_and_variables_are_filled_in(tmp_path: Path) -> None:
    keys = {"client_key": "head.key_secret", "server_key": "a.key"}
    tree = {
        "nodes": [A | keys, B],
        "streams": {"door": {"url": "rtsp://u:${PASSWORD}@h/1", "node": "b"}},
        "snapshots": {"store": "snapshots"},
    }
    fleet = load_fleet(written(tmp_path, tree), {"PASSWORD": "hunter2"})
    assert fleet.nodes[0].client_key == tmp_path / "head.key_secret"
    assert fleet.snapshots.store == str(tmp_path / "snapshots")
    assert fleet.head.admin == tmp_path / "fleet.sock"
    assert fleet.streams["door"].settings == {"url": "rtsp://u:hunter2@h/1"}
    store = load_fleet(written(tmp_path, {"nodes": [A], "snapshots": {"store": "s3://b/f"}}))
    assert store.snapshots.store == "s3://b/f"


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"nodes": [A, B | {"name": "a"}]}, "nodes: 2 nodes have the name a"),
        ({"nodes": [A, B | {"control": A["control"]}]}, "nodes: 2 nodes have the control tcp://10"),
        ({"nodes": [A], "noods": []}, "noods: Extra inputs are not permitted"),
        ({"nodes": []}, "give nodes, or ray"),
        ({"nodes": [A], "ray": {"config": "trackd.yaml"}}, "give nodes, or ray"),
        ({"nodes": [A | {"client_key": "k"}]}, "give client_key and server_key, or neither"),
        ({"nodes": [A], "streams": {"x": {"url": "u", "node": "z"}}}, "x goes to node z, which"),
        ({"nodes": [A], "head": {"bind": "tcp://0.0.0.0:5580"}}, "is not of this machine: give"),
        ({"nodes": [A], "streams": {"x": {"url": "rtsp://${NO}@h"}}}, "no variable NO"),
        ("nodes: [", r"fleet.yaml \(line 1\) is no YAML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, tree: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        load_fleet(written(tmp_path, tree), {})
    assert "\n" not in str(refused.value)


def test_a_secret_is_in_no_error(tmp_path: Path) -> None:
    tree = {"nodes": [A], "streams": {"x": {"url": "rtsp://u:hunter2@h", "policy": "best"}}}
    with pytest.raises(UsageError) as refused:
        load_fleet(written(tmp_path, tree), {})
    assert "hunter2" not in str(refused.value)
