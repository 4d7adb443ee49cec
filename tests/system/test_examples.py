"""The programs of examples/ do what they say."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.documents import ROOT
from tests.support.moving_square import SIDE, square_xy, write_clip
from tests.support.warm_python import python
from tools.serving import Daemon

EXAMPLES = ROOT / "examples"
PATTERN = "lavfi:testsrc2=size=320x240:rate=10"

pytestmark = pytest.mark.slow


def run(name: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*python(), str(EXAMPLES / name), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_an_object_is_prompted_drawn_and_reached_for(
    documented_daemon: Daemon, door: dict[str, str], tmp_path: Path
) -> None:
    with documented_daemon.client() as client:
        client.add_stream("cam", PATTERN)
    prompted = run("prompt_stream.py", "cam", "60,60,160,160", "cup", **door)
    assert prompted.returncode == 0, prompted.stderr
    assert prompted.stdout.startswith("1 cup ")

    drawn = run("subscribe_and_draw.py", "cam", str(tmp_path / "drawn"), "2", **door)
    assert drawn.returncode == 0, drawn.stderr
    paths = drawn.stdout.split()
    assert paths
    assert all(cv2.imread(path).shape == (240, 320, 3) for path in paths)

    reached = run("robot_reach.py", "cam", "1", "3", **door)
    assert reached.returncode == 0, reached.stderr
    lines = [json.loads(line) for line in reached.stdout.splitlines()]
    assert len(lines) == 3
    assert all("stop" in line or {"x_px", "y_px", "width_px"} <= set(line) for line in lines)

    refused = run("prompt_stream.py", "cam", "60,60,60,60", **door)
    assert refused.returncode == 1
    assert "bad_prompt" in refused.stderr or "box" in refused.stderr


def test_a_folder_of_videos_is_annotated_and_goes_on(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    write_clip(videos / "square.mp4", 6)
    write_clip(videos / "unprompted.mp4", 2)
    x, y = square_xy(0)
    prompts = [{"frame": 0, "box": [x, y, x + SIDE, y + SIDE]}]
    objects = [{"id": 1, "label": "square", "prompts": prompts}]
    (videos / "square.json").write_text(json.dumps({"version": 1, "objects": objects}))
    for _ in range(2):
        done = run("annotate_folder.py", str(videos), str(out))
        assert done.returncode == 0, done.stderr
        assert "no unprompted.json" in done.stderr
        masks = sorted((out / "square" / "masks").glob("*.png"))
        assert [path.name for path in masks] == [f"{index:05}.png" for index in range(6)]
        first_hw = cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED)
        assert np.count_nonzero(first_hw) > SIDE * SIDE / 2
        assert (out / "square" / "masks.json").is_file()
