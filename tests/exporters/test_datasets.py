"""What the folder formats, CVAT and Parquet leave on disk."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.support import exported
from tests.support.exported import COUNT, HEIGHT, WIDTH, expected, export
from tests.support.tracked_frames import disc, found
from tracker.annotate.outputs import Outputs
from tracker.errors import OutputError, UsageError
from tracker.exporters import spooled
from tracker.exporters.base import ExportSource, Layout
from tracker.exporters.davis import DavisWriter
from tracker.exporters.registry import EXPORTERS

FOLDERS = [spec.name for spec in EXPORTERS.built_in if spec.layout is Layout.DATASET]


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_mot_counts_frames_and_pixels_from_one(tmp_path: Path):
    export("mot", tmp_path / "out")
    assert files(tmp_path) == ["out/gt/gt.txt", "out/gt/labels.txt", "out/seqinfo.ini"]
    assert (tmp_path / "out/gt/labels.txt").read_text() == "pedestrian\ncar\nobject\n"
    lines = (tmp_path / "out/gt/gt.txt").read_text().splitlines()
    ring = expected()[0, 1]
    assert (np.nonzero(ring)[1].min(), np.nonzero(ring)[0].min()) == (7, 7)
    assert lines[0] == "1,1,8,8,27,27,1,1,1"
    assert sum(line.split(",")[1] == "2" for line in lines) == COUNT - 2
    assert f"seqLength={COUNT}\nimWidth={WIDTH}" in (tmp_path / "out/seqinfo.ini").read_text()


def test_mots_pngs_hold_class_and_id(tmp_path: Path):
    export("mots", tmp_path / "out")
    names = (tmp_path / "out/instances/labels.txt").read_text().split()
    assert names == ["car", "pedestrian", "object"]
    with Image.open(tmp_path / "out/instances/000001.png") as image:
        values = np.asarray(image)
    assert np.unique(values).tolist() == [0, 1002, 2001, 3007]
    assert np.array_equal(values == 2001, expected()[0, 1])
    first = (tmp_path / "out/gt/gt.txt").read_text().split()
    assert first[:5] == ["1", "2001", "2", str(HEIGHT), str(WIDTH)]


@pytest.mark.slow
def test_yolo_keeps_the_last_frames_for_validation(tmp_path: Path):
    export("yolo-seg", tmp_path / "out", yolo_val=0.3)
    val = ["images/val/00005.jpg", "labels/val/00005.txt"]
    assert [name for name in files(tmp_path / "out") if "/val/" in name] == val
    content = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert content["names"] == {0: "car", 1: "object", 2: "pedestrian"}
    line = (tmp_path / "out/labels/train/00000.txt").read_text().splitlines()[0]
    kind, *numbers = line.split()
    assert kind == "2"
    assert all(0 <= float(number) <= 1 for number in numbers)


@pytest.mark.slow
@pytest.mark.parametrize("shapes", ["polygon", "mask"])
def test_cvat_tracks_say_when_an_object_is_out_of_sight(tmp_path: Path, shapes: str):
    export("cvat", tmp_path / "out.xml", shapes=shapes)
    root = ElementTree.parse(tmp_path / "out.xml").getroot()
    assert root.findtext("meta/task/size") == str(COUNT)
    assert [label.findtext("name") for label in root.iter("label")] == [
        "car", "object", "pedestrian"]  # fmt: skip
    tracks = {int(track.get("id")): track for track in root.iter("track")}
    assert tracks.keys() == {1, 2, 7}
    states = [(int(s.get("frame")), s.get("keyframe"), s.get("outside")) for s in tracks[2]]
    # Still on frames 0 and 1, away on 2 and 3, then back.
    assert states == [(0, "1", "0"), (1, "0", "0"), (2, "1", "1"), (4, "1", "0"), (5, "0", "0")]
    assert {shape.tag for shape in tracks[1]} == {shapes}


def test_cvat_masks_are_runs_along_the_rows_of_their_box(tmp_path: Path):
    export("cvat", tmp_path / "out.xml", shapes="mask")
    track = ElementTree.parse(tmp_path / "out.xml").getroot().find("track")
    shape = track[0]
    box = {key: int(shape.get(key)) for key in ("left", "top", "width", "height")}
    runs = list(map(int, shape.get("rle").split(",")))
    assert sum(runs) == box["width"] * box["height"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    rows = slice(box["top"], box["top"] + box["height"])
    mask[rows, box["left"] : box["left"] + box["width"]] = flat.reshape(box["height"], -1)
    assert np.array_equal(mask, expected()[0, 1])


@pytest.mark.slow
def test_labelme_groups_the_parts_of_an_object(tmp_path: Path):
    export("labelme", tmp_path / "out")
    content = json.loads((tmp_path / "out/00000.json").read_text())
    assert (content["imagePath"], content["imageHeight"]) == ("00000.jpg", HEIGHT)
    groups = [shape["group_id"] for shape in content["shapes"]]
    assert groups[:3] == [1, 2, 2]
    export("labelme", tmp_path / "masks", shapes="mask")
    content = json.loads((tmp_path / "masks/00000.json").read_text())
    assert [shape["shape_type"] for shape in content["shapes"]] == ["mask"] * 3
    assert content["shapes"][0]["points"] == [[7, 7], [33, 33]]


def test_label_studio_ends_a_track_where_the_object_goes(tmp_path: Path):
    export("label-studio", tmp_path / "out")
    (task,) = json.loads((tmp_path / "out/video.json").read_text())
    second = task["annotations"][0]["result"][1]
    assert second["value"]["labels"] == ["car"]
    shown = [(place["frame"], place["enabled"]) for place in second["value"]["sequence"]]
    assert shown == [(1, True), (2, False), (5, True), (6, True)]
    assert second["value"]["sequence"][0]["x"] == pytest.approx(100 * 8 / WIDTH)


def test_parquet_has_a_row_for_what_is_out_of_sight_too(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export("parquet", tmp_path / "out.parquet")
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(rows) == COUNT * 3
    gone = next(row for row in rows if (row["frame"], row["object_id"]) == (2, 2))
    assert (gone["state"], gone["x0"], gone["counts"]) == ("lost", None, None)
    assert (rows[0]["x0"], rows[0]["y0"], rows[0]["area"]) == (7, 7, int(expected()[0, 1].sum()))


def test_davis_has_16_bits_for_large_ids(tmp_path: Path):
    writer = DavisWriter(tmp_path / "out", 300)
    frame, result = next(exported.pairs())
    first, second, noisy = result.objects
    writer.write(frame, replace(result, objects=(first, replace(second, id=300), noisy)))
    with Image.open(tmp_path / "out/00000.png") as image:
        values = np.asarray(image)
    assert values.dtype == np.uint16
    assert set(np.unique(values)) == {0, 1, 7, 300}
    for object_id, was in ((1, 1), (300, 2), (7, 7)):
        assert np.array_equal(values == object_id, exported.masks(0)[was])


def test_davis_has_16_bits_on_the_frames_with_a_large_id_that_nobody_announced(tmp_path: Path):
    writer = DavisWriter(tmp_path / "out", 3)
    small, large = found(2, disc(20, 20, 9, 60, 90)), found(258, disc(60, 30, 9, 60, 90))
    for seq, objects in enumerate([(small,), (small, large)]):
        frame, result = next(exported.pairs())
        writer.write(replace(frame, seq=seq), replace(result, objects=objects))
    with Image.open(tmp_path / "out/00000.png") as first:
        assert first.mode == "P"
        assert np.array_equal(np.asarray(first) == 2, small.mask_hw)
    with Image.open(tmp_path / "out/00001.png") as second:
        values = np.asarray(second)
    assert np.unique(values).tolist() == [0, 2, 258]
    assert np.array_equal(values == 258, large.mask_hw)


@pytest.mark.parametrize("name", ["cvat", "label-studio", "youtube-vis"])
def test_objects_share_one_file_for_their_records(tmp_path: Path, monkeypatch, name: str):
    opened = []

    def counted(*given, **named):
        opened.append(given)
        return temporary(*given, **named)

    temporary = spooled.tempfile.SpooledTemporaryFile
    monkeypatch.setattr(spooled.tempfile, "SpooledTemporaryFile", counted)
    monkeypatch.setattr(spooled, "SPOOL_BYTES", 2000)  # so that they go to disk
    suffix = EXPORTERS.find(name).suffix
    outputs = Outputs.of({name: tmp_path / f"out{suffix}"}, settings={})
    (writer,) = outputs.open(ExportSource("clip", Fraction(25), {}))
    for frame, result in exported.pairs():
        objects = tuple(found(i, disc(20, 20, 9, 60, 90)) for i in range(1, 40))
        writer.write(frame, replace(result, objects=objects))
    writer.close()
    assert 1 <= len(opened) <= 2  # and one for the frames


def test_overlaps_are_counted_where_a_pixel_holds_one_object(tmp_path: Path):
    frame, result = next(exported.pairs())
    over = found(9, disc(20, 20, 13, HEIGHT, WIDTH), score=0.5)  # over the ring of object 1
    writer = DavisWriter(tmp_path / "out")
    writer.write(frame, replace(result, objects=(*result.objects, over)))
    (note,) = writer.notes
    ring = int(expected()[0, 1].sum())
    assert f"of {ring} overlapping pixels on 1 frame the object with the higher score" in note
    with Image.open(tmp_path / "out/00000.png") as image:
        assert np.array_equal(np.asarray(image) == 1, expected()[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_takes_its_name_when_it_is_complete(tmp_path: Path, name: str):
    outputs = Outputs.of({name: tmp_path / "out"})
    (writer,) = outputs.open(exported.ExportSource("clip", None, exported.LABELS))
    assert list(tmp_path.iterdir()) == []
    for frame, result in exported.pairs():
        writer.write(frame, result)
        assert [path.name for path in tmp_path.iterdir()] == ["out.part"]
    with pytest.raises(OutputError, match="an unfinished folder"):
        outputs.check((), exported.LABELS)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(OutputError, match="holds files already"):
        outputs.check((), exported.LABELS)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path, name: str):
    outputs = Outputs.of({name: tmp_path / "gone" / "out"})
    (writer,) = outputs.open(exported.ExportSource("clip", None, exported.LABELS))
    frame, result = next(exported.pairs())
    with pytest.raises(OutputError, match="cannot write"):
        writer.write(frame, result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "labels", "settings", "says"),
    [
        ("mot", {1: "red car"}, {}, "no label with spaces or commas: red car of object 1"),
        ("mots", {1000: None}, {}, "holds ids up to 999, not 1000"),
        ("mots", {i: f"kind {i}" for i in range(1, 80)}, {}, "classes, the labels make more"),
        ("cvat", {1: "a\x02"}, {}, "no control characters"),
        ("cvat", {1: None}, {"shapes": "circle"}, "there are polygon and mask"),
        ("labelme", {1: None}, {"polygon_tolerance": -1.0}, "no distance in pixels"),
        ("yolo-seg", {1: None}, {"yolo_val": 1.5}, "--yolo-val 1.5 is no share"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_first(tmp_path, name, labels, settings, says):
    spec = EXPORTERS.find(name)
    suffix = spec.suffix if spec.layout is Layout.FILE else ""
    outputs = Outputs.of({name: tmp_path / f"out{suffix}"}, settings=settings)
    with pytest.raises(UsageError, match=says):
        outputs.check((), labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "lines"),
    [
        ("mot", "gt/labels.txt", ["car", "pedestrian", "object"]),
        ("mots", "instances/labels.txt", ["car", "pedestrian", "object"]),
        ("yolo-seg", "data.yaml", ["  0: car", "  1: pedestrian", "  2: object"]),
        ("label-studio", "video.xml", ["car", "object", "pedestrian"]),
    ],
)
def test_classes_that_nobody_announced_are_added(
    tmp_path: Path, name: str, file: str, lines: list[str]
):
    """As of a finder of another package, whose labels are known when it has found something."""
    outputs = Outputs.of({name: tmp_path / "out"})
    known = {2: "car"}
    (writer,) = outputs.open(exported.ExportSource("clip", Fraction(25), known))
    for frame, result in exported.pairs():
        writer.write(frame, result)
    writer.close()
    text = (tmp_path / "out" / file).read_text()
    places = [text.index(line) for line in lines]
    assert places == sorted(places)
