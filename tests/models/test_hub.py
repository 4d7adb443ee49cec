"""`trackd models get`: repositories of a hub, by the hub's own client, from a local server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("transformers")

from tests.support import tiny_transformers as tiny
from tests.support.hub_server import HubServer, serving_hub
from tests.support.moving_square import picture

REPO, NAME = "PekingU/rtdetr_v2_r18vd", "rt-detr-r18"
OLD, NEW = "a" * 40, "b" * 40
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny.make(tiny.yolos, tmp_path_factory.mktemp("hub") / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    # The hub's client writes 10 MB at a time, so only a larger file is gone on with.
    large = {"other.safetensors": bytes(25_000_000)}
    return files | large | {"pytorch_model.bin": b"a pickle", "README.md": b"#"}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[HubServer]:
    newer = files | {"config.json": files["config.json"] + b"\n"}
    with serving_hub(REPO, {OLD: files, NEW: newer}, OLD) as server:
        yield server


def trackd(tmp_path: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "tracker.cli.main", *argv],
        env=inherited
        | {
            "HF_HOME": str(tmp_path / "hf"),
            "TRACKD_MODELS_DIR": str(tmp_path / "models"),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_DISABLE_XET": "1",
        }
        | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_repository_is_fetched_pinned_and_used_without_the_network(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.broken = {"other.safetensors"}  # breaks off in the middle, and is gone on with
    got = trackd(tmp_path, "models", "get", NAME, HF_ENDPOINT=hub.url)
    assert got.returncode == 0, got.stderr
    assert f"revision {OLD}" in got.stderr and "license of the weights: Apache-2.0" in got.stderr
    weights = [(method, asked) for method, path, asked in hub.requests if "other" in path]
    assert any(asked is not None for method, asked in weights if method == "GET")
    assert not any(name in path for _, path, _ in hub.requests for name in (".bin", "README"))

    hub.main = NEW
    again = trackd(tmp_path, "models", "get", NAME, HF_ENDPOINT=hub.url)
    assert f"revision {OLD}" in again.stderr, again.stderr

    listed = trackd(tmp_path, "models", "--json", HF_HUB_OFFLINE="1")
    (row,) = [row for row in json.loads(listed.stdout) if row["name"] == NAME]
    assert row["bytes"] > 10_000 and row["weights_license"] == "Apache-2.0"

    photo = tmp_path / "photo.png"
    Image.fromarray(picture(0)).save(photo)
    argv = ["find", str(photo), "--detect", f"{NAME}:dog", "--find-set", "threshold=0", "--json"]
    found = trackd(tmp_path, *argv, HF_HUB_OFFLINE="1")
    assert found.returncode == 0, found.stderr
    assert {item["label"] for item in json.loads(found.stdout)["proposals"]} == {"dog"}


def test_another_revision_is_taken_when_it_is_asked_for(hub: HubServer, tmp_path: Path) -> None:
    moved = trackd(tmp_path, "models", "get", NAME, "--revision", NEW, HF_ENDPOINT=hub.url)
    assert f"revision {NEW}" in moved.stderr
    record = json.loads((tmp_path / "models" / "revisions.json").read_text())
    assert record == {REPO: NEW}
    gone = trackd(tmp_path, "models", "get", NAME, "--revision", "c" * 40, HF_ENDPOINT=hub.url)
    assert gone.returncode == 1
    assert "check --revision" in gone.stderr and len(gone.stderr.splitlines()) == 2


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    *_, line = result.stderr.splitlines()
    assert result.returncode == 1, result.stderr
    assert line.startswith("trackd: error: ")
    assert "Traceback" not in result.stderr
    return line


def test_a_hub_that_cannot_be_reached_or_is_not_to_be_is_one_clear_line(tmp_path: Path) -> None:
    offline = trackd(tmp_path, "models", "get", NAME, HF_HUB_OFFLINE="1")
    assert f"cannot reach {REPO} of the hub: HF_HUB_OFFLINE is set" in one_line(offline)
    closed = trackd(tmp_path, "models", "get", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert f"cannot reach {REPO} of the hub" in one_line(closed)
    assert f"run `trackd models get {NAME}` again" in closed.stderr


def test_a_repository_that_is_not_there_is_one_clear_line(hub: HubServer, tmp_path: Path) -> None:
    gone = trackd(tmp_path, "models", "get", "detr-r50", HF_ENDPOINT=hub.url)
    assert "there is no facebook/detr-resnet-50 of the hub" in one_line(gone)
