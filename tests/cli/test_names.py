"""`trackd track` on folders of pictures: one name for a picture, whatever becomes of the others."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.support.moving_square import open_fake_session, picture, square_xy
from tracker.cli.main import main

RED_BOX = "4,10,24,30"
NUMBERS = range(0, 50, 5)
DAMAGED = 4


@pytest.fixture(autouse=True)
def colour_model(monkeypatch):
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)


def save(path: Path, index: int) -> None:
    Image.fromarray(picture(index)).save(path, quality=100, subsampling=0)


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten pictures, the fifth of which is cut short."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shots.v1"
    folder.mkdir()
    for index, number in enumerate(NUMBERS):
        save(folder / f"{number:05d}.jpg", index)
    cut = folder / f"{NUMBERS[DAMAGED]:05d}.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return folder


def left_of_red(ids_hw: np.ndarray) -> int:
    return int(np.nonzero(ids_hw == 1)[1].min())


def read_ids(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def track(*argv: str) -> int:
    return main(["track", *argv, "--quiet"])


def usage_error(capsys: pytest.CaptureFixture, *argv: str) -> str:
    before = sorted(Path().iterdir())
    assert track(*argv) == 2
    assert sorted(Path().iterdir()) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("source", ["shots.v1", "shots.v1/%05d.jpg"])
def test_a_damaged_picture_shifts_nothing(shots, capsys, source):
    outputs = ["--davis", "masks", "--coco", "tracks.json", "--coco-frames", "frames.json"]
    assert track(source, "--box", f"1:{RED_BOX}", "--out", "o.mp4", *outputs, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["damaged_pictures"] == {"count": 1, "names": ["00020.jpg"]}
    assert (summary["frames"], summary["last_frame"]) == (9, 9)
    kept = [number for number in NUMBERS if number != 20]
    assert sorted(p.name for p in Path("masks").iterdir()) == [f"{n:05d}.png" for n in kept]
    tracks = json.loads(Path("tracks.json").read_text())
    assert tracks["videos"][0]["file_names"] == [f"shots.v1/{n:05d}.jpg" for n in kept]
    images = {i["id"]: i for i in json.loads(Path("frames.json").read_text())["images"]}
    assert [i["file_name"] for i in images.values()] == tracks["videos"][0]["file_names"]
    for place, number in enumerate(kept):
        ids = read_ids(Path("masks") / f"{number:05d}.png")
        assert abs(left_of_red(ids) - square_xy(number // 5)[0]) <= 1
        mask = coco_mask.decode(tracks["annotations"][0]["segmentations"][place])
        assert np.array_equal(mask == 1, ids == 1)


def test_the_summary_names_damaged_pictures_and_counts_the_rest(shots, capsys):
    assert track("shots.v1", "--box", f"1:{RED_BOX}") == 0
    assert "  left out 1 damaged picture: 00020.jpg\n" in capsys.readouterr().out
    for number in range(100, 130):
        (shots / f"{number:05d}.jpg").write_bytes(b"damaged")
    assert track("shots.v1", "--box", f"1:{RED_BOX}") == 0
    names = ", ".join(["00020.jpg", *(f"{number:05d}.jpg" for number in range(100, 119))])
    assert f"left out 31 damaged pictures: {names} and 11 more\n" in capsys.readouterr().out


def test_prompts_and_removals_by_name_are_those_by_number(shots):
    x, y = square_xy(6)
    box = f"{x},{y},{x + 20},{y + 20}"
    for folder, first, gone in (
        ("named", "name:00030", "name:00040.jpg"),
        ("numbered", "6", "8"),
    ):
        argv = ["--box", f"1:{box}@{first}", "--remove", f"1@{gone}", "--davis", folder]
        assert track("shots.v1", *argv) == 0
    for number in NUMBERS:
        if number == 20:
            continue
        named, numbered = (read_ids(Path(f) / f"{number:05d}.png") for f in ("named", "numbered"))
        assert np.array_equal(named, numbered)
        assert (named == 1).any() == (number in (30, 35))


def test_a_removal_on_a_damaged_picture_holds_from_the_next(shots):
    assert track("shots.v1", "--box", f"1:{RED_BOX}", "--remove", "1@4", "--davis", "masks") == 0
    seen = {n: (read_ids(Path("masks") / f"{n:05d}.png") == 1).any() for n in NUMBERS if n != 20}
    assert seen == {n: n < 20 for n in seen}


def test_damaged_pictures_at_the_ends_of_a_range_are_left_out(shots):
    for name in ("00005.jpg", "00045.jpg"):
        (shots / name).write_bytes(b"damaged")
    for stop, options in (("10", ["--remove", "1@9"]), ("5", [])):
        x, y = square_xy(2)
        box = ["--box", f"1:{x},{y},{x + 20},{y + 20}@2"]
        argv = ["shots.v1", *box, *options, "--start", "1", "--stop", stop, "--davis", stop]
        assert track(*argv) == 0
    assert sorted(p.name for p in Path("5").iterdir()) == ["00010.png", "00015.png"]
    assert [p.name for p in sorted(Path("10").iterdir())][-1] == "00040.png"


def test_wrong_names_are_one_line_and_nothing_is_written(shots, capsys):
    outputs = ("--davis", "masks", "--coco-frames", "frames.json")
    says = usage_error(capsys, "shots.v1", "--box", f"1:{RED_BOX}@name:00007", *outputs)
    assert "no picture of shots.v1 is called 00007" in says
    for frame in ("name:00020", "4"):
        says = usage_error(capsys, "shots.v1", "--box", f"1:{RED_BOX}@{frame}", *outputs)
        assert "the picture shots.v1/00020.jpg is damaged" in says
    save(shots / "00010.png", 2)
    says = usage_error(capsys, "shots.v1", "--box", f"1:{RED_BOX}@name:00010", *outputs)
    assert "00010 may be 00010.jpg or 00010.png" in says
    says = usage_error(capsys, "shots.v1", "--box", f"1:{RED_BOX}", *outputs)
    assert "the masks of 00010.jpg and 00010.png would both be 00010.png" in says
    assert track("shots.v1/%05d.jpg", "--box", f"1:{RED_BOX}@name:00010", *outputs) == 0


def test_names_of_every_kind_reach_every_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "50% of %05d.d"
    folder.mkdir()
    names = ["100%.png", "-dash.PNG", "a.b.c.Png", "snow ☃.png", "x%05d.png"]
    for index, name in enumerate(names):
        save(tmp_path / "picture.png", index)
        (tmp_path / "picture.png").rename(folder / name)
    argv = [folder.name, "--box", f"1:{RED_BOX}@name:100%", "--davis", "masks"]
    argv += ["--point", "2:100,70@name:-dash", "--remove", "2@name:x%05d"]
    assert track(*argv, "--coco", "tracks.json", "--coco-frames", "frames.json") == 0
    stems = [name.rpartition(".")[0] for name in names]
    assert sorted(p.name for p in Path("masks").iterdir()) == sorted(f"{s}.png" for s in stems)
    paths = [f"{folder.name}/{name}" for name in names]
    assert json.loads(Path("tracks.json").read_text())["videos"][0]["file_names"] == paths
    images = json.loads(Path("frames.json").read_text())["images"]
    assert [image["file_name"] for image in images] == paths
    assert all((tmp_path / path).is_file() for path in paths)


@pytest.mark.parametrize("source", ["a.b%.c.png", "../pictures/./", "."])
def test_file_names_are_relative_to_what_holds_the_folder(tmp_path, monkeypatch, source):
    folder = tmp_path / "pictures"
    folder.mkdir()
    save(folder / "a.b%.c.png", 0)
    monkeypatch.chdir(folder)
    assert track(source, "--box", f"1:{RED_BOX}", "--coco", "../tracks.json") == 0
    (video,) = json.loads((tmp_path / "tracks.json").read_text())["videos"]
    assert video["file_names"] == ["pictures/a.b%.c.png"]


def test_backward_leaves_out_damaged_pictures_too(shots, monkeypatch, capsys):
    from tests.support.moving_square import ColourSession

    monkeypatch.setattr("tracker.annotate.run.Session", lambda model, policy: ColourSession())
    monkeypatch.setattr("tracker.annotate.backward._HELD_BYTES", 2 * picture(0).nbytes)
    (shots / "00000.jpg").write_bytes(b"damaged")
    x, y = square_xy(8)
    box = f"1:{x},{y},{x + 20},{y + 20}@name:00040"
    assert track("shots.v1", "--box", box, "--backward", "--davis", "masks", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["backward"]) == (8, 7)
    for number in NUMBERS:
        if number not in (0, 20):
            ids = read_ids(Path("masks") / f"{number:05d}.png")
            assert abs(left_of_red(ids) - square_xy(number // 5)[0]) <= 1
