"""Recordings exported: the masks that were sent, on the pictures that they are of."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from tests.replay.test_recording import record
from tests.support.numbered_clip import number_of
from tests.support.recorded_run import PROMPT, RecordedRun
from tests.support.recordings import FPS, reordered_clip
from tracker.annotate.outputs import Outputs
from tracker.cli.main import main
from tracker.daemon.messages import PromptCommand, RelabelCommand
from tracker.errors import TrackdError, UsageError
from tracker.replay.export import RecordingSummary, export_recording
from tracker.replay.recording import open_recording
from tracker.replay.span import parse_moment
from tracker.replay.times import ContinuousClock, FrameRate
from tracker.types import ObjectState, TrackResult

FRAMES = 40  # in two segments
OTHER = PromptCommand(object_id=None, box=(40.0, 60.0, 260.0, 200.0), labels=())  # over the first
COMMANDS: dict[int, list[Any]] = {2: [PROMPT, OTHER], 10: [RelabelCommand(1, "disc")]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


@pytest.fixture(scope="module")
def recorded(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecordedRun]:
    folder = tmp_path_factory.mktemp("recorded")
    return folder / "cam", RecordedRun(clip, folder, commands=COMMANDS)


def export(folder: Path, settings: dict[str, Any] | None = None, **paths: Path) -> RecordingSummary:
    named = {name.replace("_", "-"): path for name, path in paths.items()}
    return export_recording(open_recording(folder), Outputs.of(named, settings=settings))


def shown(result: TrackResult) -> dict[int, NDArray[np.bool_]]:
    """The masks that are sent of what was tracked."""
    hidden = (ObjectState.OCCLUDED, ObjectState.LOST)
    return {
        item.id: item.mask_hw
        for item in result.objects
        if item.box_xyxy is not None and item.state not in hidden
    }


def assert_same(coco_path: Path, run: RecordedRun) -> int:
    """Check the masks of a COCO file with COCO's own reader; returns how many there are."""
    coco, masks = COCO(str(coco_path)), 0
    assert len(coco.imgs) == len(run.tracked)
    for image_id, tracked in zip(sorted(coco.imgs), run.tracked, strict=True):
        found = {
            item["track_id"]: coco.annToMask(item).astype(bool)
            for item in coco.loadAnns(coco.getAnnIds(image_id))
        }
        expected = shown(tracked.result)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[key], expected[key]) for key in found)
        masks += len(found)
    return masks


@pytest.mark.slow
def test_the_masks_that_were_sent_are_on_their_pictures(clip: Path, tmp_path: Path) -> None:
    every = 3  # the others are decoded, and not tracked
    commands = {number * every: some for number, some in COMMANDS.items()}
    run = RecordedRun(clip, tmp_path, every=every, commands=commands, encoding="bits")
    made = export(
        tmp_path / "cam",
        coco_frames=tmp_path / "masks.json",
        labelme=tmp_path / "labelme",
        video=tmp_path / "out.mp4",
    )
    count = -(-FRAMES // every)
    assert (made.exported, made.missing, made.notes) == (count, 0, ())
    assert assert_same(tmp_path / "masks.json", run) > count
    images = json.loads((tmp_path / "masks.json").read_text())["images"]
    assert [image["frame"] for image in images] == list(range(count))
    assert [image["time_s"] for image in images] == [
        pytest.approx(one.live.frame.time_s) for one in run.tracked
    ]
    for index in range(count):
        picture_hwc = np.array(Image.open(tmp_path / f"labelme/{index:05d}.jpg"))
        assert number_of(picture_hwc) == index * every
    with av.open(str(tmp_path / "out.mp4")) as video:
        times_s = [float(frame.time or 0) for frame in video.decode(video=0)]
    assert times_s == pytest.approx([index * every / FPS for index in range(count)])
    categories = json.loads((tmp_path / "masks.json").read_text())["categories"]
    assert [one["name"] for one in categories] == ["disc", "object"]


@pytest.mark.slow
def test_what_is_not_sent_is_null_in_parquet(
    recorded: tuple[Path, RecordedRun], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(recorded[0], parquet=tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["iou"].null_count == len(table) == 2 * (FRAMES - 3)  # prompted on frame 2
    assert table["score"].null_count == 0


@pytest.mark.slow
def test_a_label_map_is_as_it_was_sent(clip: Path, tmp_path: Path) -> None:
    run = RecordedRun(clip, tmp_path, every=5, commands={0: [PROMPT]}, encoding="labelmap-png")
    export(tmp_path / "cam", davis=tmp_path / "davis")
    for index, tracked in enumerate(run.tracked):
        ids_hw = np.array(Image.open(tmp_path / f"davis/{index:05d}.png"))
        expected_hw = np.zeros_like(ids_hw)
        for item in sorted(tracked.result.objects, key=lambda item: (item.score, item.iou)):
            expected_hw[shown(tracked.result).get(item.id, False)] = item.id
        assert np.array_equal(ids_hw, expected_hw)
        assert ids_hw.any() == (index > 0)


@pytest.mark.slow
def test_a_part_is_chosen_by_seconds_or_by_utc(
    recorded: tuple[Path, RecordedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = recorded
    captured_ns = [one.live.frame.captured_ns for one in run.tracked]
    seconds = [f"{(captured_ns[index] - captured_ns[0] - 1) / 1e9:.9f}" for index in (10, 20)]
    command = ["export", str(folder), "--quiet", "--json", "--coco-frames"]
    path = tmp_path / "part.json"
    export(folder, coco_frames=path)
    assert assert_same(path, run) > FRAMES
    capsys.readouterr()
    assert main([*command, str(path), "--from", seconds[0], "--to", seconds[1]]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["exported"], summary["missing"], summary["notes"]) == (10, 0, [])
    times_s = [image["time_s"] for image in json.loads(path.read_text())["images"]]
    assert times_s == [pytest.approx(one.live.frame.time_s) for one in run.tracked[10:20]]
    at_us = captured_ns[29] // 1000 + 1  # frame 30 came before it
    late = next(index for index, ns in enumerate(captured_ns) if ns >= 1000 * at_us)
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_us)
    assert main([*command, str(tmp_path / "late.json"), "--from", at.isoformat()]) == 0
    assert json.loads(capsys.readouterr().out)["exported"] == FRAMES - late
    tomorrow = (at + timedelta(days=1)).replace(tzinfo=None).isoformat()
    assert main([*command, str(tmp_path / "none.json"), "--from", tomorrow]) == 2
    said = capsys.readouterr().err
    assert "no frame of" in said and "its first segment is of 20" in said
    assert main([*command, str(tmp_path / "none.json"), "--from", "3", "--to", "2"]) == 2
    assert "--to 2 is not after --from 3" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()


@pytest.mark.slow
def test_what_was_cut_short_is_used_as_far_as_it_goes(
    recorded: tuple[Path, RecordedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(recorded[0], tmp_path / "cam")
    segments = open_recording(tmp_path).segments
    assert len(segments) == 2
    messages, video = segments[1].messages, segments[1].video
    assert messages is not None and video is not None
    messages.write_bytes(messages.read_bytes()[:-30])  # without the end of the footer
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 9 // 10])
    path = tmp_path / "masks.json"
    command = ["export", str(tmp_path), "--coco-frames", str(path)]
    assert main([*command, "--quiet"]) == 0
    said = capsys.readouterr().out
    images = len(COCO(str(path)).imgs)
    assert 25 <= images < FRAMES
    assert f"wrote {images} frames" in said
    assert f"{segments[1].stem}: still recorded, or cut short" in said
    left_out = "1 frame" if images == FRAMES - 1 else f"{FRAMES - images} frames"
    assert f"without a picture in the recording, and left out: {left_out}\n" in said
    video.write_bytes(b"")
    assert main([*command, "--quiet"]) == 0
    assert f"{video.name}: cannot be decoded" in capsys.readouterr().out
    messages.unlink()
    assert main([*command, "--quiet"]) == 0
    assert f"{segments[1].stem}: no masks, the .mcap is missing" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_is_stopped_leaves_a_whole_file(
    recorded: tuple[Path, RecordedRun], tmp_path: Path
) -> None:
    asked = iter([False] * FRAMES + [False] * 5 + [True])  # read first, then written
    path = tmp_path / "masks.json"
    made = export_recording(
        open_recording(recorded[0]),
        Outputs.of({"coco-frames": path}),
        stop_asked=asked.__next__,
    )
    assert (made.stopped_early, made.exported) == (True, 5)
    assert len(COCO(str(path)).imgs) == 5
    made = export_recording(
        open_recording(recorded[0]),
        Outputs.of({"coco-frames": tmp_path / "none.json"}),
        stop_asked=lambda: True,
    )
    assert made.stopped_early and not (tmp_path / "none.json").exists()


@pytest.fixture
def several(tmp_path: Path, recorded: tuple[Path, RecordedRun]) -> Iterator[Path]:
    for name in ("door", "yard"):
        (tmp_path / "records" / name).mkdir(parents=True)
        for path in recorded[0].iterdir():
            (tmp_path / "records" / name / path.name).hardlink_to(path)
    yield tmp_path / "records"


def test_what_cannot_be_exported_is_one_line(several: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"several streams: door, yard; give the folder of one"):
        export(several, davis=tmp_path / "davis")
    door = several / "door"
    video = next(door.glob("*.mp4"))
    with pytest.raises(UsageError, match="would overwrite the input"):
        export(door, video=video)
    for path in door.glob("*.mp4"):
        path.unlink()
    with pytest.raises(TrackdError, match=r"no picture of 40 frames with masks is in .*door; the"):
        export(door, davis=tmp_path / "davis")
    record(tmp_path, [("masks.cam", [b'{"v":2}'])])
    with pytest.raises(TrackdError, match=r"masks.cam in .* cannot be understood; read it with"):
        export(tmp_path / "cam", davis=tmp_path / "davis")
    assert not (tmp_path / "davis").exists()


def test_times_are_carried_on_over_breaks() -> None:
    rate = FrameRate()
    clock = ContinuousClock(Fraction(25))
    times_s = [10, 10.25, 10.5, 4, 4.25, 200, 200.5]  # began again; then silent for minutes
    for at_s in times_s:
        rate.add(Fraction(at_s))
    assert rate.fps == 4
    carried = [float(clock.carry_on(Fraction(at_s))) for at_s in times_s]
    assert carried == pytest.approx([10, 10.25, 10.5, 10.54, 10.79, 10.83, 11.33])


def test_a_moment_is_utc_or_seconds() -> None:
    assert parse_moment("12.5") == 12.5
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    for text in ("2026-11-28T12:00", "2026-11-28T12:00:00Z", "2026-11-28T13:00+01:00"):
        assert parse_moment(text) == noon
    for text in ("noon", "-1", "nan", ""):
        with pytest.raises(ValueError, match=r"seconds|isoformat"):
            parse_moment(text)
