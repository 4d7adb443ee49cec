"""Registry of exporters: options, checks and summary come from the rows; packages add formats."""

import json
from pathlib import Path

import pytest

from tests.support.installed import install
from tests.support.moving_square import open_fake_session, square_xy, write_clip
from tracker.annotate.outputs import Outputs
from tracker.cli.main import main
from tracker.errors import UsageError
from tracker.exporters.registry import EXPORTERS

EXAMPLE = Path(__file__).parents[2] / "examples" / "boxes_csv.py"
BOX = ("--box", "1:4,10,24,30", "--label", "1:red", "--quiet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 4)
    return tmp_path


def track(*options: str) -> int:
    return main(["track", "clip.mp4", *BOX, *options])


def test_the_format_of_a_package_is_written_checked_and_summed_up(folder, monkeypatch, capsys):
    site = folder / "site"
    entry = "boxes-csv = boxes_csv:BOXES_CSV"
    install(site, monkeypatch, EXAMPLE, "trackd.exporters", entry)
    assert track("--export", "boxes-csv:boxes.csv", "--coco", "out.json", "--json") == 0
    outputs = json.loads(capsys.readouterr().out)["outputs"]
    assert outputs == {"coco": "out.json", "boxes_csv": "boxes.csv"}
    head, first, *_, last = (folder / "boxes.csv").read_text().splitlines()
    assert head == "frame,id,label,x0,y0,x1,y1"
    assert first.startswith("0,1,red,")
    x, y = square_xy(3)
    frame, object_id, _, *box = last.split(",")
    assert (frame, object_id) == ("3", "1")
    assert [int(v) for v in box] == pytest.approx([x, y, x + 20, y + 20], abs=2)
    assert not list(folder.glob("*.part"))

    assert track("--export", "boxes-csv:boxes.txt") == 2
    assert "--export boxes-csv boxes.txt does not end in .csv" in capsys.readouterr().err


def test_a_built_in_format_has_two_ways_to_be_asked_for(folder, capsys):
    assert (
        track("--export", "davis:a", "--export", "coco-frames:a.json", "--export=coco:c.json") == 0
    )
    assert track("--davis", "b", "--coco-frames", "b.json", "--coco", "d.json") == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    assert (folder / "c.json").read_bytes() == (folder / "d.json").read_bytes()
    names = sorted(path.name for path in (folder / "a").iterdir())
    assert names == [f"{index:05d}.png" for index in range(4)]
    shown = [line.split(":")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert shown.count("davis") == shown.count("coco_frames") == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--export", "masks"), "--export masks is not FORMAT:PATH"),
        (("--export", "davis:"), "--export davis: is not FORMAT:PATH"),
        (("--export", "avi:out.avi"), "no exporter is called avi; there are video, davis, coco"),
        (("--export", "coco:a.json", "--coco", "b.json"), "coco is given twice"),
        (("--export", "coco:a.json", "--export", "coco:b.json"), "coco is given twice"),
        (("--coco", "a.json", "--out-width", "64"), "--out-width scales the video of --out"),
        (("--coco", "a.json", "--effect", "blur"), "--effect draws on the video of --out"),
        (("--out", "a.mp4", "--effect", "sepia"), "no effect is called sepia; there are overlay"),
        (("--segmenter", "sam9"), "no segmenter is called sam9; there are tracker"),
    ],
)
def test_what_no_row_has_is_one_line_and_nothing_is_written(folder, capsys, options, says):
    assert track(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert [path.name for path in folder.iterdir()] == ["clip.mp4"]


def test_the_help_lists_every_row(capsys):
    with pytest.raises(SystemExit):
        main(["track", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for spec in EXPORTERS.built_in:
        assert f"{spec.shorthand} " in shown
        assert spec.help in shown
        assert all(setting.option in shown for setting in spec.settings)


def test_python_users_name_formats_and_settings_too():
    outputs = Outputs.of({"video": "a.mp4"}, settings={"effect": "blur", "out_width": None})
    assert outputs.by_key == {"video": "a.mp4"}
    assert outputs.settings == {"effect": "blur"}
    with pytest.raises(UsageError, match="no output has a setting colour"):
        Outputs.of({"video": "a.mp4"}, settings={"colour": "red"})
