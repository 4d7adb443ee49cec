"""Writing video: timestamps, sizes, colours, and what is left after a failure."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streams import Frame, VideoWriter, WriterError, open_source
from tests.support.streams_clips import big_buck_bunny, corners, gray, read_corners, write_clip

FPS = Fraction(25)


def read(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        return list(source)


def write(
    path: Path,
    pts: list[int | None],
    time_base: Fraction | None,
    *,
    fps: Fraction = FPS,
) -> list[float | None]:
    """Write one gray frame per pts and return the times that a reader sees."""
    with VideoWriter(path, width=64, height=48, fps=fps) as writer:
        for value in pts:
            writer.write(gray(90), value, time_base)
    return [frame.time_s for frame in read(path)]


@pytest.mark.slow
def test_a_real_clip_keeps_its_frames_and_times(tmp_path: Path) -> None:
    target = tmp_path / "copy.mp4"
    originals: list[NDArray[np.uint8]] = []
    with (
        open_source(str(big_buck_bunny())) as source,
        VideoWriter(target, width=1280, height=720, fps=Fraction(25)) as writer,
    ):
        for frame, _ in zip(source, range(30), strict=False):
            originals.append(frame.image)
            writer.write(frame.image, frame.pts, frame.time_base)
    copies = read(target)
    assert [(f.pts, f.time_base) for f in copies] == [
        (512 * index, Fraction(1, 12800)) for index in range(30)
    ]
    for copy, original in zip(copies, originals, strict=True):
        difference = copy.image.astype(int) - original
        assert np.sqrt((difference**2).mean()) < 6


def test_colours_survive_the_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "colours.mp4"
    with VideoWriter(path, width=160, height=96, fps=FPS) as writer:
        writer.write(corners(), 0, Fraction(1, 25))
    image = read(path)[0].image
    assert read_corners(image) == "RGBK"
    assert np.abs(image[24, 40].astype(int) - (255, 0, 0)).max() <= 3


def test_variable_times_are_kept_and_start_at_zero(tmp_path: Path) -> None:
    times_s = write(tmp_path / "vfr.mp4", [1000, 1040, 1200, 1233, 2000], Fraction(1, 1000))
    assert times_s == pytest.approx([0, 0.04, 0.2, 0.233, 1.0], abs=1e-6)


def test_missing_times_come_at_the_frame_rate(tmp_path: Path) -> None:
    fps = Fraction(30000, 1001)
    times_s = write(tmp_path / "none.mp4", [None] * 5, None, fps=fps)
    assert times_s == pytest.approx([float(index / fps) for index in range(5)], abs=1e-6)


def test_a_missing_or_repeated_time_takes_the_next_tick(tmp_path: Path) -> None:
    pts = [10, None, 10, 5, 1000, 2000]
    times_s = write(tmp_path / "odd.mp4", pts, Fraction(1, 1000))
    assert times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.99, 1.99], abs=1e-6)


def test_times_that_begin_late_go_on_from_the_ticks(tmp_path: Path) -> None:
    times_s = write(tmp_path / "late.mp4", [None, None, 9000, 9040], Fraction(1, 1000))
    assert times_s == pytest.approx([0, 0.04, 0.08, 0.12], abs=1e-6)


def test_times_stay_right_when_the_clock_changes_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "units.mp4"
    with VideoWriter(path, width=64, height=48, fps=FPS) as writer:
        writer.write(gray(90), 90000, Fraction(1, 90000))
        writer.write(gray(90), 1500, Fraction(1, 1000))
    assert [frame.time_s for frame in read(path)] == pytest.approx([0, 0.5])


def test_a_long_pause_on_a_fine_clock_is_kept(tmp_path: Path) -> None:
    second = 10**9
    times_s = write(tmp_path / "ns.mp4", [0, 10 * second, 30 * second], Fraction(1, second))
    assert times_s == pytest.approx([0, 10, 30], abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (33, 17), (1, 1)])
def test_odd_sizes_are_padded_by_repeating_the_edge(
    tmp_path: Path, width: int, height: int
) -> None:
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, width=width, height=height, fps=FPS) as writer:
        writer.write(gray(180, width=width, height=height), None, None)
    image = read(path)[0].image
    assert image.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(image.astype(int) - 180).max() <= 3


def test_a_frame_of_another_size_is_stretched(tmp_path: Path) -> None:
    path = tmp_path / "sizes.mp4"
    with VideoWriter(path, width=160, height=96, fps=FPS) as writer:
        writer.write(corners(), None, None)
        writer.write(corners(width=80, height=120), None, None)
        writer.write(corners(width=301, height=99), None, None)
    frames = read(path)
    assert [frame.image.shape for frame in frames] == [(96, 160, 3)] * 3
    assert [read_corners(frame.image) for frame in frames] == ["RGBK"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_a_whole_video(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "stopped.mp4"
    with pytest.raises(error), VideoWriter(path, width=64, height=48, fps=FPS) as writer:
        for level in (50, 100, 150):
            writer.write(gray(level), None, None)
        assert not path.exists()
        raise error
    assert [round(float(frame.image.mean()), -1) for frame in read(path)] == [50, 100, 150]
    assert [entry.name for entry in tmp_path.iterdir()] == ["stopped.mp4"]


def test_no_frame_leaves_nothing_and_spares_an_older_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "new.mp4", width=64, height=48, fps=FPS):
        pass
    assert list(tmp_path.iterdir()) == []
    old = write_clip(tmp_path / "old.mp4", [gray(90)] * 3)
    before = old.read_bytes()
    with VideoWriter(old, width=64, height=48, fps=FPS):
        pass
    assert old.read_bytes() == before


def test_the_index_comes_before_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write(path, [None] * 3, None)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    with open_source("lavfi:testsrc2=size=160x120:rate=25:duration=1") as source:
        images = [frame.image for frame in source]
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, width=160, height=120, fps=FPS) as writer:
            for image in images:
                writer.write(image, None, None)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_name_with_a_colon_is_only_a_name(tmp_path: Path) -> None:
    assert write(tmp_path / "a:b.mp4", [None, None], None) == pytest.approx([0, 0.04])


def test_targets_that_cannot_be_written_say_why(tmp_path: Path) -> None:
    with pytest.raises(WriterError, match="it is a folder; give the name of a file"):
        VideoWriter(tmp_path, width=64, height=48, fps=FPS)
    nowhere = tmp_path / "nowhere" / "out.mp4"
    with pytest.raises(WriterError, match=r"cannot write .*out\.mp4: No such file") as caught:
        VideoWriter(nowhere, width=64, height=48, fps=FPS)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    (tmp_path / "file").touch()
    with pytest.raises(WriterError, match="Not a directory"):
        VideoWriter(tmp_path / "file" / "out.mp4", width=64, height=48, fps=FPS)


def test_sizes_that_no_video_has_are_refused(tmp_path: Path) -> None:
    for width, height, fps in [(0, 48, FPS), (64, -1, FPS), (64, 48, Fraction(0))]:
        with pytest.raises(ValueError, match="bad video"):
            VideoWriter(tmp_path / "out.mp4", width=width, height=height, fps=fps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.mp4.part").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    writer = VideoWriter(tmp_path / "out.mp4", width=320, height=240, fps=FPS)
    with pytest.raises(WriterError, match="No space left on device"), writer:
        for _ in range(80):
            writer.write(noise, None, None)
    with pytest.raises(WriterError, match="it is closed"):
        writer.write(noise, None, None)
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_writer_takes_no_more_frames(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    writer = VideoWriter(path, width=64, height=48, fps=FPS)
    writer.write(gray(90), None, None)
    writer.close()
    writer.close()
    with pytest.raises(WriterError, match="it is closed"):
        writer.write(gray(90), None, None)
    assert len(read(path)) == 1
