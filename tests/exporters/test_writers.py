"""What the writers leave on disk."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streams import Frame
from tests.support.moving_square import HEIGHT, WIDTH, ColourSession, frames
from tracker.effects.overlay import Overlay
from tracker.errors import OutputError
from tracker.exporters.base import ExportSource
from tracker.exporters.coco import CocoFramesWriter
from tracker.exporters.davis import DavisWriter
from tracker.exporters.label_map import label_map
from tracker.exporters.palette import davis_palette
from tracker.exporters.video import EffectVideoWriter
from tracker.exporters.youtube_vis import CocoWriter
from tracker.types import ObjectResult, ObjectState, Prompt, StageTimes, TrackResult

RED_PROMPT = Prompt(1, box_xyxy=(4, 10, 24, 30), label="red")
GREEN_PROMPT = Prompt(2, points_xy=((100, 70),), point_labels=(1,))


def tracked(count: int, prompts: dict[int, Prompt]) -> list[tuple[Frame, TrackResult]]:
    session = ColourSession()
    pairs = []
    for frame in frames(count):
        session.step(frame.image)
        if frame.seq in prompts:
            session.prompt(prompts[frame.seq])
        pairs.append((frame, session.result()))
    return pairs


def result_of(*objects: tuple[int, float, float, np.ndarray]) -> TrackResult:
    found = tuple(
        ObjectResult(object_id, None, ObjectState.VISIBLE, score, iou, (0, 0, 1, 1), mask_hw)
        for object_id, score, iou, mask_hw in objects
    )
    return TrackResult(0, found, StageTimes(0, 0))


def test_the_palette_is_that_of_davis():
    colours = np.frombuffer(davis_palette(), np.uint8).reshape(256, 3)
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[[8, 15, 255]].tolist() == [[64, 0, 0], [192, 128, 128], [224, 224, 192]]


def test_davis_pngs_hold_the_ids(tmp_path: Path):
    folder = tmp_path / "masks"
    writer = DavisWriter(folder)
    assert not folder.exists()
    pairs = tracked(8, {0: RED_PROMPT, 3: GREEN_PROMPT})
    for frame, result in pairs:
        writer.write(frame, result)
    writer.close()
    assert sorted(p.name for p in folder.iterdir()) == [f"{i:05d}.png" for i in range(8)]
    for index, ids in ((0, [0, 1]), (3, [0, 1, 2]), (7, [0, 1])):
        with Image.open(folder / f"{index:05d}.png") as image:
            assert image.mode == "P"
            assert image.getpalette()[:12] == list(davis_palette()[:12])
            pixels = np.asarray(image)
        assert np.unique(pixels).tolist() == ids
        assert np.array_equal(pixels == 1, pairs[index][1].objects[0].mask_hw)


def test_where_masks_overlap_the_higher_score_wins_then_quality_then_the_lower_id():
    left, right = np.zeros((1, 3), np.bool_), np.zeros((1, 3), np.bool_)
    left[:, :2], right[:, 1:] = True, True
    cases = [
        ((0.9, 0.1), (0.8, 0.9), [1, 1, 2]),
        ((0.8, 0.9), (0.9, 0.1), [1, 2, 2]),
        ((0.9, 0.1), (0.9, 0.2), [1, 2, 2]),
        ((0.9, 0.2), (0.9, 0.2), [1, 1, 2]),
        ((0.9, np.nan), (0.9, float("nan")), [1, 1, 2]),  # it is not known
    ]
    for first, second, expected in cases:
        result = result_of((1, *first, left), (2, *second, right))
        assert label_map(result, 1, 3).tolist() == [expected]


def test_coco_json_gives_every_mask_back(tmp_path: Path):
    path = tmp_path / "out.json"
    writer = CocoWriter(path, "clip")
    pairs = tracked(8, {0: RED_PROMPT, 3: GREEN_PROMPT})
    for frame, result in pairs[1:]:
        writer.write(frame, result)
        assert list(tmp_path.iterdir()) == []
    writer.close()
    assert list(tmp_path.iterdir()) == [path]

    content = json.loads(path.read_text())
    (video,) = content["videos"]
    assert (video["width"], video["height"], video["length"]) == (WIDTH, HEIGHT, 7)
    assert video["file_names"][0] == "clip/00001.jpg"
    assert len(video["file_names"]) == 7
    names = {c["id"]: c["name"] for c in content["categories"]}
    red, green = content["annotations"]
    assert (red["id"], names[red["category_id"]]) == (1, "red")
    assert (green["id"], names[green["category_id"]]) == (2, "object")
    assert (red["score"], green["score"]) == (pytest.approx(0.6), pytest.approx(0.7))
    absent = [True, True, False, False, False, True, True]
    for key in ("segmentations", "bboxes", "areas"):
        assert [value is None for value in green[key]] == absent
    for index, (_, result) in enumerate(pairs[1:]):
        item = result.objects[0]
        assert isinstance(red["segmentations"][index]["counts"], str)
        assert np.array_equal(coco_mask.decode(red["segmentations"][index]), item.mask_hw)
        x0, y0, x1, y1 = item.box_xyxy
        assert red["bboxes"][index] == [x0, y0, x1 - x0, y1 - y0]
        assert red["areas"][index] == item.mask_hw.sum()


def test_coco_frames_say_how_sure_it_is_that_an_object_is_the_same(tmp_path: Path):
    frame, result = tracked(1, {0: RED_PROMPT})[0]
    known = replace(result, objects=tuple(replace(o, identity=0.25) for o in result.objects))
    for name, shown in (("known", known), ("unknown", result)):
        writer = CocoFramesWriter(tmp_path / name, "shots")
        writer.write(frame, shown)
        writer.close()
    read = [json.loads((tmp_path / name).read_text()) for name in ("known", "unknown")]
    assert read[0]["annotations"][0]["identity"] == 0.25
    assert "identity" not in read[1]["annotations"][0]


def test_coco_tracks_longer_than_memory_go_to_disk(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tracker.exporters.spooled.SPOOL_BYTES", 100)
    path = tmp_path / "out.json"
    path.write_text("what was here before")
    writer = CocoWriter(path, "clip")
    for frame, result in tracked(12, {0: RED_PROMPT}):
        writer.write(frame, result)
        assert path.read_text() == "what was here before"
    writer.close()
    (red,) = json.loads(path.read_text())["annotations"]
    assert len(red["segmentations"]) == 12
    assert all(red["segmentations"])


def renamed(pairs: list[tuple[Frame, TrackResult]]) -> list[tuple[Frame, TrackResult]]:
    """The same frames as pictures of a folder, of which every third is damaged."""
    return [
        (replace(frame, name=f"50% {frame.seq * 5:05d}.v1.JPG", pts=None), result)
        for frame, result in pairs
        if frame.seq % 3 != 1
    ]


def test_outputs_are_named_by_the_pictures_and_lists_leave_out_damaged_ones(tmp_path: Path):
    pairs = renamed(tracked(8, {0: RED_PROMPT}))
    writers = (
        DavisWriter(tmp_path / "masks"),
        CocoWriter(tmp_path / "tracks.json", "shots.v2"),
        CocoFramesWriter(tmp_path / "frames.json", "shots.v2"),
    )
    for writer in writers:
        for frame, result in pairs:
            writer.write(frame, result)
        writer.close()
    numbers = [0, 2, 3, 5, 6]
    stems = [f"50% {number * 5:05d}.v1" for number in numbers]
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [f"{s}.png" for s in stems]
    (video,) = json.loads((tmp_path / "tracks.json").read_text())["videos"]
    names = [f"shots.v2/{stem}.JPG" for stem in stems]
    assert video["file_names"] == names
    assert (video["frames"], video["length"]) == (numbers, 5)
    assert "times_s" not in video
    images = json.loads((tmp_path / "frames.json").read_text())["images"]
    assert [(image["file_name"], image["frame"]) for image in images] == list(
        zip(names, numbers, strict=True)
    )
    assert all("time_s" not in image for image in images)


def test_frames_of_a_video_have_their_times(tmp_path: Path):
    pairs = [
        (replace(frame, pts=900 + 7 * frame.seq**2, time_base=Fraction(1, 90)), result)
        for frame, result in tracked(5, {0: RED_PROMPT})
    ]
    tracks = CocoWriter(tmp_path / "tracks.json", "clip")
    images = CocoFramesWriter(tmp_path / "frames.json", "clip")
    for writer in (tracks, images):
        for frame, result in pairs[1:]:
            writer.write(frame, result)
        writer.close()
    times_s = [10 + 7 * index**2 / 90 for index in range(1, 5)]
    (video,) = json.loads((tmp_path / "tracks.json").read_text())["videos"]
    assert video["times_s"] == pytest.approx(times_s)
    assert video["frames"] == [1, 2, 3, 4]
    content = json.loads((tmp_path / "frames.json").read_text())
    assert [image["time_s"] for image in content["images"]] == pytest.approx(times_s)
    assert content["images"][0]["file_name"] == "clip/00001.jpg"


@pytest.mark.parametrize("spool_bytes", [2**18, 100])
def test_coco_frames_load_and_evaluate_with_pycocotools(tmp_path: Path, monkeypatch, spool_bytes):
    monkeypatch.setattr("tracker.exporters.spooled.SPOOL_BYTES", spool_bytes)
    path, masks = tmp_path / "frames.json", tmp_path / "masks"
    pairs = renamed(tracked(12, {0: RED_PROMPT, 3: GREEN_PROMPT}))
    coco_writer, davis_writer = CocoFramesWriter(path, "shots"), DavisWriter(masks)
    for frame, result in pairs:
        coco_writer.write(frame, result)
        davis_writer.write(frame, result)
        assert not path.exists()
    coco_writer.close()

    coco = COCO(str(path))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["object", "red"]
    for image, (frame, result) in zip(coco.loadImgs(coco.getImgIds()), pairs, strict=True):
        assert image["file_name"] == f"shots/{frame.name}"
        assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
        with Image.open(masks / f"{Path(str(frame.name)).stem}.png") as png:
            ids = np.asarray(png)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [a["track_id"] for a in annotations] == [i for i in np.unique(ids) if i]
        for annotation in annotations:
            mask = coco.annToMask(annotation)
            assert np.array_equal(mask == 1, ids == annotation["track_id"])
            rows, columns = np.nonzero(mask)
            x0, y0 = int(columns.min()), int(rows.min())
            sides = [int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            assert annotation["bbox"] == [x0, y0, *sides]
            assert (annotation["area"], annotation["iscrowd"]) == (mask.sum(), 0)
            (item,) = (i for i in result.objects if i.id == annotation["track_id"])
            assert annotation["score"] == pytest.approx(item.score)
    for kind in ("segm", "bbox"):
        evaluation = COCOeval(coco, coco.loadRes(json.loads(path.read_text())["annotations"]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)


def test_writers_without_a_frame_leave_nothing(tmp_path: Path):
    for writer in (
        CocoWriter(tmp_path / "a.json", "clip"),
        CocoFramesWriter(tmp_path / "b.json", "clip"),
        DavisWriter(tmp_path / "masks"),
        EffectVideoWriter(tmp_path / "a.mp4", ExportSource("clip", None)),
    ):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanishes_is_one_clear_error(tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()
    coco, davis = CocoWriter(gone / "a.json", "clip"), DavisWriter(gone / "masks")
    ((frame, result),) = tracked(1, {0: RED_PROMPT})
    coco.write(frame, result)
    gone.rmdir()
    with pytest.raises(OutputError, match=r"cannot write .*a.json: No such file"):
        coco.close()
    with pytest.raises(OutputError, match=r"cannot write .*00000.png: No such file"):
        davis.write(frame, result)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (2160, 3840), (91, 121)])
def test_the_overlay_colours_the_object_and_leaves_the_rest(height: int, width: int):
    mask_hw = np.zeros((height, width), np.bool_)
    y0, y1, x0, x1 = height // 2, height * 3 // 4, width // 2, width * 3 // 4
    mask_hw[y0:y1, x0:x1] = True
    item = ObjectResult(3, "dog", ObjectState.VISIBLE, 0.87, 0.9, (x0, y0, x1, y1), mask_hw)
    image = np.full((height, width, 3), 90, np.uint8)
    painted = Overlay(height, width).draw(image, (item,))
    assert (image == 90).all()
    changed = (painted != image).any(axis=2)
    assert changed[mask_hw].all()
    assert not changed[: height // 8].any()
    assert not changed[:, : width // 8].any()
    name_rows = changed[:y0].any(axis=1).sum()
    assert name_rows >= min(height // 25, y0)


def test_an_object_keeps_its_colour_whoever_else_is_there():
    left, right = np.zeros((100, 100), np.bool_), np.zeros((100, 100), np.bool_)
    left[50:90, 10:40], right[50:90, 60:90] = True, True
    image = np.zeros((100, 100, 3), np.uint8)
    overlay = Overlay(100, 100)
    both = overlay.draw(image, result_of((4, 0.9, 0.9, left), (9, 0.9, 0.9, right)).objects)
    alone = overlay.draw(image, result_of((9, 0.9, 0.9, right)).objects)
    assert both[80, 75].tolist() == alone[80, 75].tolist()
    assert both[80, 75].tolist() != both[80, 25].tolist()


def test_colours_are_rgb():
    mask_hw = np.zeros((100, 100), np.bool_)
    mask_hw[50:90, 10:40] = True
    painted = Overlay(100, 100).draw(
        np.zeros((100, 100, 3), np.uint8), result_of((1, 0.9, 0.9, mask_hw)).objects
    )
    red, green, blue = (int(v) for v in painted[80, 25])
    assert blue > red > green  # the first colour is violet, D073FF


def test_an_object_out_of_sight_is_named_at_the_bottom():
    empty = np.zeros((200, 300), np.bool_)
    item = ObjectResult(2, "cat", ObjectState.OCCLUDED, 0.1, 0.2, None, empty)
    image = np.full((200, 300, 3), 90, np.uint8)
    painted = Overlay(200, 300).draw(image, (item,))
    changed = (painted != image).any(axis=2)
    assert changed[170:, :150].any()
    assert not changed[:150].any()


def test_the_overlay_video_keeps_size_frames_and_times(tmp_path: Path):
    path = tmp_path / "out.mp4"
    writer = EffectVideoWriter(path, ExportSource("clip", None))
    for frame, result in tracked(6, {1: RED_PROMPT}):
        writer.write(frame, result)
    writer.close()
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    assert [(f.width, f.height) for f in decoded] == [(WIDTH, HEIGHT)] * 6
    assert [round(f.time * 25) for f in decoded] == list(range(6))
