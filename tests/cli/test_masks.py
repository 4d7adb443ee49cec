"""PNGs that hold several objects, as options, in a prompts file and for the daemon."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_daemon import daemon
from tests.support.moving_square import HEIGHT, WIDTH, open_fake_session, square_xy, write_clip
from tracker.cli.main import main
from tracker.rle import Rle, decode_rle


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The ids in `two.png`: 1 on the red square of frame 0, 3 on the green one, 255 at the edge."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 5)
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = square_xy(0)
    ids[y : y + 20, x : x + 20], ids[60:80, 90:110], ids[-1] = 1, 3, 255
    image = Image.fromarray(ids, mode="P")
    image.putpalette([part for index in range(256) for part in (index, 0, 255 - index)])
    image.save(tmp_path / "two.png")
    return ids


def tracked(*options: str) -> dict[int, list[list[int] | None]]:
    """Boxes of each object, by its id."""
    argv = ["track", "clip.mp4", *options, "--coco", "out.json", "--quiet"]
    assert main(argv) == 0
    annotations = json.loads(Path("out.json").read_text())["annotations"]
    return {item["id"]: item["bboxes"] for item in annotations}


@pytest.mark.usefixtures("ids")
def test_all_objects_of_a_file_are_tracked_by_their_ids(capsys):
    boxes = tracked("--masks", "two.png", "--label", "3:green")
    assert list(boxes) == [1, 3]
    assert np.allclose(boxes[1][4], [*square_xy(4), 20, 20], atol=2)
    assert np.allclose(boxes[3][4], [90, 60, 20, 20], atol=2)
    assert "object 3 green: on 5 of 5 frames" in capsys.readouterr().out
    later = tracked("--masks", "two.png@2")
    assert [box is None for box in later[3]] == [True, True, False, False, False]


@pytest.mark.usefixtures("ids")
def test_one_object_of_a_file(tmp_path: Path):
    assert np.allclose(tracked("--mask", "7:two.png#3@1")[7][4], [90, 60, 20, 20], atol=2)
    prompts = {"version": 1, "objects": [{"id": 5, "prompts": [{"frame": 0, "mask": "two.png#3"}]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    assert np.allclose(tracked("--prompts", "prompts.json")[5][4], [90, 60, 20, 20], atol=2)


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--mask", "1:two.png"), "two.png holds several objects: ids 1, 3, 255; name one, as in"),
        (("--mask", "1:two.png#2"), "two.png has no object 2; it holds ids 1, 3, 255"),
        (("--masks", "absent.png"), "absent.png: no such mask file"),
        (("--masks", "two.png@9"), "on frame 9 is past the end of the source"),
        (("--masks", "two.png", "--box", "3:90,60,110,80"), "object 3 on frame 0 has a mask and"),
    ],
)
def test_what_is_wrong_is_one_line(options, says, capsys):
    assert main(["track", "clip.mp4", *options, "--coco", "out.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not Path("out.json").exists()


def test_one_object_of_a_file_goes_to_the_daemon(ids, capsys):
    with daemon() as fake:
        endpoints = ("--control", fake.control, "--data", fake.data)
        assert main(["prompt", "cam1", "--mask", "two.png#3", *endpoints]) == 0
        (sent,) = fake.requests
        assert np.array_equal(decode_rle(Rle(*sent.mask.size, sent.mask.counts)), ids == 3)
        capsys.readouterr()
        assert main(["prompt", "cam1", "--mask", "two.png", *endpoints]) == 2
        assert "two.png holds several objects" in capsys.readouterr().err
