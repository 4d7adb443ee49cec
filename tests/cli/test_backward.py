"""`trackd track --backward` with the packaged model, at 256 pixels."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streams import VideoWriter
from tests.support.moving_scene import HEIGHT, WIDTH, frame, square
from tests.support.small_pico import small_pico
from tracker.cli.main import main
from tracker.rle import Rle, decode_rle

FRAMES, PROMPTED = 8, 4


def shift(index: int) -> int:
    """How far the square has moved on a frame."""
    return 3 * index


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tracker.annotate.run.load_model", lambda *_, **__: small_pico(256))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(25)) as video:
        for index in range(FRAMES):
            video.write(frame(shift(index)), index, Fraction(1, 25))
    return path


def track(clip: Path, *options: str) -> list[Any]:
    Image.fromarray(square(shift(PROMPTED))).save("square.png")
    mask = f"1:square.png@{PROMPTED}"
    argv = ["track", str(clip), "--mask", mask, "--coco", "out.json", *options]
    assert main(argv) == 0
    (annotation,) = json.loads(Path("out.json").read_text())["annotations"]
    masks: list[Any] = annotation["segmentations"]
    return masks


def iou(mask: dict[str, Any], index: int) -> float:
    found = decode_rle(Rle(*mask["size"], mask["counts"]))
    there = square(shift(index))
    return float(np.sum(found & there) / np.sum(found | there))


@pytest.mark.slow
def test_an_object_prompted_in_the_middle_is_found_before(clip, capsys):
    forward, both = track(clip, "--quiet"), track(clip, "--backward", "--json")
    shown = capsys.readouterr()
    assert forward[:PROMPTED] == [None] * PROMPTED
    assert all(iou(mask, index) > 0.8 for index, mask in enumerate(both))
    assert both[PROMPTED:] == forward[PROMPTED:]
    assert shown.err.splitlines()[0].startswith(f"backward 1/{PROMPTED + 1}, ")
    summary = json.loads(shown.out.splitlines()[-1])
    assert (summary["frames"], summary["backward"]) == (FRAMES, PROMPTED + 1)


@pytest.mark.slow
def test_it_goes_back_to_the_start_of_the_range_only(clip, capsys):
    both = track(clip, "--backward", "--start", "2", "--stop", "6")
    assert len(both) == 4
    assert all(iou(mask, index) > 0.8 for index, mask in enumerate(both, start=2))
    assert "tracked backward over 3 frames" in capsys.readouterr().out


def test_it_does_not_go_with_resume(clip, capsys):
    argv = ["track", str(clip), "--box", "1:50,40,90,80", "--backward", "--resume", "state"]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--backward and --resume do not go together" in line
    assert [p.name for p in clip.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("option", [["--backward"], ["--resume", "state"]])
def test_a_live_source_cannot_be_read_again(clip, capsys, monkeypatch, option):
    from dataclasses import replace

    from streams import open_source as really_open

    def open_live(url: str, **more: Any) -> Any:
        source = really_open(url, **more)
        source.info = replace(source.info, live=True)
        return source

    monkeypatch.setattr("tracker.annotate.run.open_source", open_live)
    argv = ["track", str(clip), "--box", "1:50,40,90,80", *option]
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{option[0]} reads the source again, a live one cannot be" in line
    assert [p.name for p in clip.parent.iterdir()] == ["clip.mp4"]
