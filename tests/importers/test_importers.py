"""Importers: what the exporters wrote comes back, and what is none is one clear line."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.exported import COUNT, LABELS, expected, export
from tracker.annotate.prompts_file import load_prompts
from tracker.cli.main import main
from tracker.exporters.base import UNNAMED, Layout
from tracker.exporters.registry import EXPORTERS
from tracker.importers.registry import IMPORTERS

#: The importer of each exporter, and settings.
ROUND_TRIPS = [
    ("cvat", "cvat", {}),
    ("cvat", "cvat", {"shapes": "mask"}),
    ("coco-frames", "coco", {}),
    ("youtube-vis", "youtube-vis", {}),
    ("labelme", "labelme", {}),
    ("labelme", "labelme", {"shapes": "mask"}),
    ("yolo-seg", "yolo", {}),
    ("davis", "davis", {}),
]
WITHOUT_IDS, WITHOUT_LABELS = ("yolo-seg",), ("davis",)


def prompts(folder: Path, *argv: str) -> dict:
    out = folder / "prompts.json"
    assert main(["prompts", "from", *argv, "-o", str(out)]) == 0
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "importer", "settings"), ROUND_TRIPS)
def test_a_round_trip_gives_every_mask_back(tmp_path: Path, name, importer, settings):
    spec = EXPORTERS.find(name)
    path = tmp_path / (f"out{spec.suffix}" if spec.layout is Layout.FILE else "out")
    export(name, path, **settings)
    # By CVAT's keyframes alone an object that stands still would come back once.
    frames = ("--frames", f"0-{COUNT - 1}") if name == "cvat" else ()
    prompts(tmp_path, importer, str(path), "--by", "number", *frames)
    content = load_prompts(tmp_path / "prompts.json")
    left = expected()
    assert len(content.placed) == len(left)
    for item in content.placed:
        mask_hw = item.resolve().mask_hw
        if name in WITHOUT_IDS:
            keys = [k for k in left if k[0] == item.frame and np.array_equal(left[k], mask_hw)]
            key = keys[0]
        else:
            key = (item.frame, item.prompt.object_id)
        assert np.array_equal(left.pop(key), mask_hw)
        label = None if name in WITHOUT_LABELS else LABELS[key[1]] or UNNAMED
        assert item.prompt.label == label
    assert not left
    if name == "cvat":  # the only one that says when an object is gone
        assert [(r.frame, r.object_id) for r in content.removals] == [(2, 2)]


@pytest.mark.slow
def test_frames_are_chosen_by_number_and_first(tmp_path: Path):
    export("cvat", tmp_path / "a.xml")
    for choice, frames in (("first", {0}), ("1,4-5", {1, 4, 5}), ("0-5:3", {0, 3})):
        content = prompts(tmp_path, "cvat", str(tmp_path / "a.xml"), "--frames", choice)
        used = {entry["frame"] for item in content["objects"] for entry in item["prompts"]}
        assert used == frames


@pytest.mark.slow
def test_shapes_between_keyframes_are_taken_where_frames_name_them(tmp_path: Path):
    """A still object of a long video: more frames than a prompts file holds for one object."""
    shape = '<box frame="{}" keyframe="{}" outside="0" xtl="3" ytl="4" xbr="20.5" ybr="30"/>'
    shapes = "".join(shape.format(frame, int(frame == 0)) for frame in range(10_050))
    (tmp_path / "a.xml").write_text(SIZED.format(f'<track id="1" label="a">{shapes}</track>'))
    whole = prompts(tmp_path, "cvat", str(tmp_path / "a.xml"))
    assert [entry["frame"] for entry in whole["objects"][0]["prompts"]] == [0]
    some = prompts(tmp_path, "cvat", str(tmp_path / "a.xml"), "--frames", "5,10049")
    assert [entry["frame"] for entry in some["objects"][0]["prompts"]] == [5, 10049]


@pytest.mark.slow
def test_a_picture_of_a_label_that_is_too_large_is_one_line(tmp_path: Path, capsys, monkeypatch):
    export("yolo-seg", tmp_path / "out")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    assert main(["prompts", "from", "yolo", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not a readable picture" in line


@pytest.mark.slow
def test_a_label_that_is_no_number_is_one_line(tmp_path: Path, capsys):
    export("yolo-seg", tmp_path / "out")
    (first, *_) = sorted((tmp_path / "out").glob("labels/*/*.txt"))
    first.write_text("0 0.5 nan 0.5 0.5\n")
    assert main(["prompts", "from", "yolo", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{first}, line 1 is no label" in line


@pytest.mark.slow
def test_pictures_keep_their_names_unless_numbers_are_asked_for(tmp_path: Path):
    export("labelme", tmp_path / "out")
    by_name = prompts(tmp_path, "labelme", str(tmp_path / "out"), "--frames", "2")
    assert by_name["objects"][0]["prompts"][0]["frame"] == "name:00002"
    by_number = prompts(tmp_path, "labelme", str(tmp_path / "out"), "--by", "number")
    assert by_number["objects"][0]["prompts"][0]["frame"] == 0


def test_boxes_of_others_become_boxes(tmp_path: Path):
    (tmp_path / "a.xml").write_text(
        '<annotations><image id="0" name="a/b.jpg" width="90" height="60">'
        '<box label="dog" xtl="3" ytl="4" xbr="20.5" ybr="30"/></image></annotations>'
    )
    content = prompts(tmp_path, "cvat", str(tmp_path / "a.xml"))
    assert content["objects"] == [
        {"id": 1, "label": "dog", "prompts": [{"frame": "name:b.jpg", "box": [3, 4, 20.5, 30]}]}
    ]
    coco = {
        "images": [{"id": 5, "file_name": "b.jpg", "width": 90, "height": 60}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [{"image_id": 5, "category_id": 2, "bbox": [1, 2, 10, 20]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    content = prompts(tmp_path, "coco", str(tmp_path / "a.json"))
    assert content["objects"][0]["prompts"] == [{"frame": "name:b.jpg", "box": [1, 2, 11, 22]}]


def test_uncompressed_runs_of_coco_go_down_the_columns(tmp_path: Path):
    coco = {
        "images": [{"id": 1, "file_name": "b.jpg", "width": 3, "height": 2}],
        "categories": [],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": {"size": [2, 3], "counts": [1, 2, 3]}}
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    prompts(tmp_path, "coco", str(tmp_path / "a.json"))
    content = json.loads((tmp_path / "prompts.json").read_text())
    content["objects"][0]["prompts"][0]["frame"] = 0
    (tmp_path / "b.json").write_text(json.dumps(content))
    (item,) = load_prompts(tmp_path / "b.json").placed
    assert item.resolve().mask_hw.tolist() == [[False, True, False], [True, False, False]]


SIZED = (
    "<annotations><meta><task><original_size><width>90</width><height>60</height></original_size>"
    "</task></meta>{}</annotations>"
)
BOX = '<box frame="{}" xtl="{}" ytl="4" xbr="20.5" ybr="30"/>'
BOMB = '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'
TRACK = (
    "<annotations><meta><task><original_size><width>90</width><height>60</height></original_size>"
    '</task></meta><track id="1" label="a"><{}/></track></annotations>'
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("importer", "name", "text", "says"),
    [
        ("cvat", "a.xml", "<annotations>", "not XML"),
        ("cvat", "a.xml", "<a/>", "is not of CVAT"),
        ("cvat", "a.xml", BOMB, "declares a document type"),
        ("cvat", "a.xml", TRACK.format('polygon frame="3" points="1,2;3"'), "polygon"),
        ("cvat", "a.xml", TRACK.format('polygon frame="3" points="1,2;3,nan;4,4"'), "at nan"),
        ("cvat", "a.xml", TRACK.format('polygon frame="3" points="1,2;3,1e9;4,4"'), "at 1e+09"),
        (
            "cvat",
            "a.xml",
            TRACK.format('mask frame="3" rle="1,999999999" left="0" top="0" width="9" height="9"'),
            "run lengths of 1000000000 pixels",
        ),
        ("cvat", "a.xml", SIZED.format('<track label="a"><box/></track>'), "a track: no frame"),
        (
            "cvat",
            "a.xml",
            SIZED.format(f'<track label="a">{BOX.format(3, 1)}</track>'),
            "frame 3: no id of the track",
        ),
        (
            "cvat",
            "a.xml",
            SIZED.format(f'<track id="2" label="a">{BOX.format("x", 1)}</track>'),
            "frame 'x', no whole number",
        ),
        (
            "cvat",
            "a.xml",
            SIZED.format(f'<track id="2" label="a">{BOX.format(3, "nan")}</track>'),
            "frame 3: a box that is none",
        ),
        (
            "cvat",
            "a.xml",
            SIZED.format(f'<track id="-4" label="a">{BOX.format(3, 1)}</track>'),
            "object -4: id: Input should be greater than or equal to 1",
        ),
        (
            "cvat",
            "a.xml",
            SIZED.format(f'<track id="2" label="a">{BOX.format(-3, 1)}</track>'),
            "object 2, frame -3: frame: give a frame number from 0",
        ),
        (
            "cvat",
            "a.xml",
            SIZED.format(
                '<track id="2" label="a">'
                + "".join(BOX.format(frame, 1) for frame in range(10_001))
                + "</track>"
            ),
            "object 2: prompts: List should have at most 10000 items",
        ),
        (
            "cvat",
            "a.xml",
            '<annotations><image height="9" name="a.jpg"><box/></image></annotations>',
            "image a.jpg: no width",
        ),
        (
            "coco",
            "a.json",
            '{"images": [], "categories": [], '
            '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, NaN, 1, 1]}]}',
            "bbox.1: Input should be a finite number",
        ),
        (
            "labelme",
            "a.json",
            '{"imagePath": "a.jpg", "imageHeight": 9, "imageWidth": 9, "shapes": '
            '[{"label": "a", "shape_type": "rectangle", "points": [[0, NaN], [3, 3]]}]}',
            "finite number",
        ),
        ("coco", "a.json", '{"images": 3}', "images: Input should be a valid array"),
        ("coco", "a.json", "[", "Invalid JSON"),
        ("labelme", "a.json", "{}", "shapes: Field required"),
        ("labelme", "nowhere", None, "nowhere is not a folder"),
        ("yolo", "nowhere", None, "No such file"),
        ("davis", "nowhere", None, "nowhere is not a folder"),
        ("via", "a.json", "{}", "no importer is called via; there are cvat, coco"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, capsys, importer, name, text, says):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert main(["prompts", "from", importer, str(path), "-o", str(tmp_path / "p.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "p.json").exists()


def test_too_many_objects_and_wrong_choices_say_what_to_do(tmp_path: Path, capsys):
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3]}
    image = {"id": 1, "file_name": "b.jpg", "width": 9, "height": 9}
    coco = {"images": [image], "categories": [], "annotations": [box] * 300}
    (tmp_path / "a.json").write_text(json.dumps(coco))
    for options, says in (
        ((), "300 objects, a prompts file holds 256"),
        (("--frames", "x"), "--frames x is not N,N-M"),
        (("--frames", "name:c.jpg"), "nothing to prompt with on these frames"),
    ):
        assert main(["prompts", "from", "coco", str(tmp_path / "a.json"), *options]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "a.json").write_text(json.dumps(coco | {"annotations": [box]}))
    assert main(["prompts", "from", "coco", str(tmp_path / "a.json"), "--by", "number"]) == 2
    assert "frame b.jpg has no number" in capsys.readouterr().err


def test_the_help_lists_every_row(capsys):
    with pytest.raises(SystemExit):
        main(["prompts", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(row.help in shown for row in IMPORTERS.built_in)
