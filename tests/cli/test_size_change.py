"""Sources whose size changes: each prompt is measured by the frame that it was drawn on."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streams import open_source
from tests.support.moving_square import HEIGHT, WIDTH, open_fake_session, picture, square_xy
from tests.support.streams_clips import write_clip
from tracker.cli.main import main

CHANGE, FRAMES = 5, 10
SMALL_BOX = "1:4,10,24,30"


def doubled(index: int) -> np.ndarray:
    return np.repeat(np.repeat(picture(index), 2, axis=0), 2, axis=1)


def large_box(object_id: int, frame: int) -> str:
    """A box around the red square on a frame of twice the size."""
    x, y = square_xy(frame)
    return f"{object_id}:{2 * x},{2 * y},{2 * x + 40},{2 * y + 40}@{frame}"


def refused(capsys: pytest.CaptureFixture) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Five frames of 128x96 pixels, then five of 256x192, joined as broadcasters do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    base = Fraction(1, 25)
    small = [picture(index) for index in range(CHANGE)]
    large = [doubled(index) for index in range(CHANGE, FRAMES)]
    parts = [
        write_clip(tmp_path / "a.ts", small, pts=range(CHANGE), time_base=base),
        write_clip(tmp_path / "b.ts", large, pts=range(CHANGE, FRAMES), time_base=base),
    ]
    (tmp_path / "clip.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return "clip.ts"


def test_each_output_follows_the_size_of_its_frame(clip: str):
    boxes = ("--box", SMALL_BOX, "--box", large_box(2, 7))
    outputs = ("--out", "out.mp4", "--davis", "masks", "--coco", "out.json")
    assert main(["track", clip, *boxes, *outputs, "--quiet"]) == 0
    sizes = [Image.open(f"masks/{index:05d}.png").size for index in range(FRAMES)]
    assert sizes == [(WIDTH, HEIGHT)] * CHANGE + [(2 * WIDTH, 2 * HEIGHT)] * CHANGE
    first, second = json.loads(Path("out.json").read_text())["annotations"]
    for index, box in enumerate(first["bboxes"]):
        scale = 1 if index < CHANGE else 2
        expected = [scale * value for value in (*square_xy(index), 20, 20)]
        assert np.allclose(box, expected, atol=2 * scale)
    assert [box is None for box in second["bboxes"]] == [True] * 7 + [False] * 3
    with open_source("out.mp4") as video:
        shown = [frame.image for frame in video]
    assert {image.shape for image in shown} == {(HEIGHT, WIDTH, 3)}
    for index, image in enumerate(shown):  # the square is where it is, whatever the size
        x, y = square_xy(index)
        assert image[y + 14, x + 10, 0] > image[y + 50, x + 60, 0] + 60


def test_a_later_prompt_that_does_not_fit_leaves_what_was_tracked(clip: str, capsys):
    argv = ["track", clip, "--box", SMALL_BOX, "--box", "2:100,60,180,193@7", "--davis", "masks"]
    assert main([*argv, "--out", "out.mp4", "--coco", "out.json", "--quiet"]) == 2
    assert refused(capsys) == (
        "trackd: error: prompt for object 2 on frame 7: box 100,60,180,193 is outside the 256x192 "
        "frame; keep x in 0..256 and y in 0..192"
    )
    assert len(list(Path("masks").iterdir())) == 7
    with open_source("out.mp4") as video:
        assert len(list(video)) == 7
    assert json.loads(Path("out.json").read_text())["videos"][0]["length"] == 7


def test_a_mask_is_measured_by_its_frame(clip: str, capsys):
    mask = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    x, y = square_xy(7)
    mask[2 * y : 2 * y + 40, 2 * x : 2 * x + 40] = 255
    Image.fromarray(mask).save("mask.png")
    assert main(["track", clip, "--mask", "1:mask.png@7", "--coco", "out.json", "--quiet"]) == 0
    (annotation,) = json.loads(Path("out.json").read_text())["annotations"]
    assert annotation["areas"][:7] == [None] * 7
    assert np.allclose(annotation["areas"][7:], 1600, rtol=0.1)
    capsys.readouterr()
    assert main(["track", clip, "--mask", "1:mask.png@3", "--quiet"]) == 2
    assert "on frame 3: mask is 256x192, the frame is 128x96" in refused(capsys)


def test_the_first_frame_of_a_range_is_measured_before_anything_is_written(clip: str, capsys):
    outputs = ("--out", "out.mp4", "--davis", "masks", "--resume", "state", "--quiet")
    assert main(["track", clip, "--start", "6", "--box", "1:9,9,30,193@6", *outputs]) == 2
    assert "box 9,9,30,193 is outside the 256x192 frame" in refused(capsys)
    assert main(["track", clip, "--box", "1:9,9,30,97", *outputs]) == 2
    assert "box 9,9,30,97 is outside the 128x96 frame" in refused(capsys)
    assert [path.name for path in Path().iterdir()] == ["clip.ts"]
    argv = ["track", clip, "--start", "6", "--box", large_box(1, 6), "--out", "out.mp4", "--quiet"]
    assert main(argv) == 0
    with open_source("out.mp4") as video:
        assert [frame.image.shape for frame in video] == [(2 * HEIGHT, 2 * WIDTH, 3)] * 4


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (("--box", "2:-1,6,18,12@7"), "box -1,6,18,12 is outside of any frame"),
        (("--box", "2:18,6,1,12@7"), "reversed or empty"),
        (("--point", "2:5,-3@7"), "point 5,-3 is outside of any frame"),
        (("--point", "2:nan,3@7"), "is not a number"),
    ],
)
def test_what_fits_no_frame_is_told_before_anything_is_written(clip: str, capsys, prompt, says):
    assert main(["track", clip, "--box", SMALL_BOX, *prompt, "--davis", "masks", "--quiet"]) == 2
    assert says in refused(capsys)
    assert not Path("masks").exists()
