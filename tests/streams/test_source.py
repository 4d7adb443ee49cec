"""Reading files, test patterns and cameras, and what a source says about itself."""

import gc
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest

import streams.sources.camera
import streams.sources.ffmpeg
from streams import SourceTimeout, SourceUnreadable, open_source
from streams.address import Address
from streams.sources.camera import camera_address
from tests.support.streams_clips import (
    big_buck_bunny,
    corners,
    damage,
    gray,
    read_corners,
    write_clip,
    write_pattern,
)


@pytest.mark.slow
def test_a_real_file_gives_every_frame_in_order() -> None:
    clip = big_buck_bunny()
    before_ns = time.time_ns()
    with open_source(str(clip), stream="cam") as source:
        frames = [(f.stream, f.seq, f.pts, f.time_base, f.captured_ns) for f in source]
    assert source.info.url == str(clip)
    assert (source.info.width, source.info.height) == (1280, 720)
    assert (source.info.fps, source.info.frame_count) == (Fraction(25), 132)
    assert not source.info.live
    assert [frame[:2] for frame in frames] == [("cam", seq) for seq in range(132)]
    assert [frame[2] for frame in frames] == [512 * seq for seq in range(132)]
    assert {frame[3] for frame in frames} == {Fraction(1, 12800)}
    assert all(before_ns <= frame[4] <= time.time_ns() for frame in frames)
    assert (source.stats.frames, source.stats.corrupt_packets) == (132, 0)
    assert source.stats.decode_s > 0


def test_pixels_are_those_of_the_plain_decoder_and_the_same_every_time() -> None:
    clip = str(big_buck_bunny())
    with av.open(clip) as container:
        expected = [next(container.decode(video=0)).to_ndarray(format="rgb24") for _ in range(3)]
    for _ in range(2):
        with open_source(clip) as source:
            images = [frame.image for frame, _ in zip(source, range(3), strict=False)]
        for image, reference in zip(images, expected, strict=True):
            assert image.dtype == np.uint8
            assert image.flags.c_contiguous
            np.testing.assert_array_equal(image, reference)


def test_a_width_that_needs_padding_inside_ffmpeg_comes_out_contiguous() -> None:
    with open_source("lavfi:testsrc2=size=150x50:rate=30:duration=0.1") as source:
        frame = next(iter(source))
    assert frame.image.shape == (50, 150, 3)
    assert frame.image.flags.c_contiguous


def test_a_lavfi_pattern_runs_for_its_duration() -> None:
    with open_source("lavfi:testsrc2=size=64x48:rate=30:duration=0.5") as source:
        times_s = [frame.time_s for frame in source]
    assert times_s == pytest.approx([index / 30 for index in range(15)])
    assert source.info.fps == 30
    assert source.info.frame_count is None
    assert not source.info.live


@pytest.mark.parametrize(
    ("rotation", "seen"),
    [
        ((0, False, False), "RGBK"),
        ((90, False, False), "GKRB"),
        ((-90, False, False), "BRKG"),
        ((180, False, False), "KBGR"),
        ((0, True, False), "GRKB"),
        ((90, True, False), "KGBR"),
    ],
)
def test_rotation_metadata_turns_the_picture_upright(
    tmp_path: Path, rotation: tuple[int, bool, bool], seen: str
) -> None:
    clip = write_clip(tmp_path / "phone.mp4", [corners()] * 2, rotation=rotation)
    with open_source(str(clip)) as source:
        images = [frame.image for frame in source]
    assert [read_corners(image) for image in images] == [seen, seen]
    sideways = abs(rotation[0]) == 90
    assert images[0].shape == ((160, 96, 3) if sideways else (96, 160, 3))
    assert (source.info.height, source.info.width) == images[0].shape[:2]
    assert all(image.flags.c_contiguous for image in images)


def test_variable_frame_rate_passes_through(tmp_path: Path) -> None:
    pts = [0, 40, 200, 240, 1000]
    clip = write_clip(tmp_path / "vfr.mkv", [gray(100)] * 5, pts=pts, time_base=Fraction(1, 1000))
    with open_source(str(clip)) as source:
        assert [frame.time_s for frame in source] == pytest.approx([t / 1000 for t in pts])


def test_missing_pts_stay_missing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "raw.h264", [gray(100), gray(120), gray(140)])
    with open_source(str(clip)) as source:
        frames = list(source)
    assert [frame.pts for frame in frames] == [None] * 3
    assert [frame.time_s for frame in frames] == [None] * 3
    assert all(frame.captured_ns > 0 for frame in frames)


def test_a_size_that_changes_mid_stream_goes_on(tmp_path: Path) -> None:
    # Without B-frames: H.264 drops pictures that still wait to be shown when the size changes.
    plain = {"bf": "0"}
    wide = write_clip(tmp_path / "wide.ts", [gray(200, width=128, height=64)] * 6, options=plain)
    tall = write_clip(tmp_path / "tall.ts", [gray(50, width=64, height=96)] * 6, options=plain)
    both = tmp_path / "both.ts"
    both.write_bytes(wide.read_bytes() + tall.read_bytes())
    with open_source(str(both)) as source:
        frames = list(source)
    assert [frame.image.shape for frame in frames] == [(64, 128, 3)] * 6 + [(96, 64, 3)] * 6
    assert [frame.seq for frame in frames] == list(range(12))
    assert frames[-1].image.mean() == pytest.approx(50, abs=3)


def test_corrupt_packets_are_counted_and_skipped(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "good.mp4")
    with open_source(str(damage(clip, range(20, 23), tmp_path / "bad.mp4"))) as source:
        pts = [frame.pts for frame in source]
    assert source.info.frame_count == 60
    assert (source.stats.frames, source.stats.corrupt_packets) == (57, 3)
    assert pts[-1] == 59 * 512


def test_a_truncated_file_gives_what_is_left_and_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = write_pattern(tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with open_source(str(whole)) as source:
        expected = [frame.image for frame in source]
    with open_source(str(cut)) as source:
        images = [frame.image for frame in source]
    assert source.info.frame_count == 60
    assert 10 < source.stats.frames == len(images) < 60
    for image, reference in zip(images, expected, strict=False):
        np.testing.assert_array_equal(image, reference)


def test_an_iterator_is_one_pass_and_ends_when_the_source_is_closed(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [gray(level) for level in (40, 80, 120, 160)])
    source = open_source(str(clip))
    assert next(iter(source)).seq == 0
    frames = iter(source)
    assert next(frames).seq == 1
    source.close()
    assert list(frames) == []
    source.close()
    assert source.stats.frames == 2


def fake_camera(url: str, camera: str, platform: str) -> Address:
    real = camera_address(url, camera, "linux")
    pattern = "testsrc2=size=64x48:rate=30:duration=0.2"
    return Address(real.kind, real.shown, pattern, "lavfi", real.options)


def test_a_camera_is_a_live_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.sources.camera, "camera_address", fake_camera)
    with open_source("webcam:0") as source:
        assert [frame.seq for frame in source] == list(range(6))
    assert source.info.live
    assert source.info.url == "webcam:0"


class HesitantContainer:
    """A container that has no packet yet, `pauses` times before each packet."""

    def __init__(self, container: Any, pauses: int) -> None:
        self._container = container
        self._packets: Iterator[Any] | None = None
        self._pauses = self._left = pauses

    def demux(self, video: Any) -> Iterator[Any]:
        self._packets = self._packets or self._container.demux(video)
        while True:
            if self._left:
                self._left -= 1
                raise av.error.BlockingIOError(11, "Resource temporarily unavailable")
            self._left = self._pauses
            packet = next(self._packets, None)
            if packet is None:
                return
            yield packet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)


def hesitate(monkeypatch: pytest.MonkeyPatch, pauses: int) -> None:
    open_container = streams.sources.ffmpeg._open

    def open_hesitant(address: Address, *more: Any) -> Any:
        return HesitantContainer(open_container(address, *more), pauses)

    monkeypatch.setattr(streams.sources.ffmpeg, "_open", open_hesitant)
    monkeypatch.setattr(streams.sources.camera, "camera_address", fake_camera)


def test_a_camera_that_has_no_picture_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hesitate(monkeypatch, pauses=2)
    with open_source("webcam:0") as source:
        assert [frame.seq for frame in source] == list(range(6))


def test_a_camera_that_never_has_a_picture_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    hesitate(monkeypatch, pauses=10**9)
    with pytest.raises(SourceTimeout, match=r"no answer from webcam:0 within 0\.05 s"):
        open_source("webcam:0", read_timeout_s=0.05)


def test_a_live_source_whose_data_cannot_be_decoded_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams.sources.camera, "camera_address", fake_camera)
    monkeypatch.setattr(streams.sources.ffmpeg.AvSource, "_decode", lambda source, packet: [])
    with pytest.raises(SourceTimeout, match="no picture from webcam:0"):
        open_source("webcam:0", read_timeout_s=0.0)


def test_a_file_of_which_nothing_can_be_decoded(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "good.mp4", [gray(level) for level in (40, 80, 120)])
    bad = damage(clip, range(3), tmp_path / "bad.mp4")
    with pytest.raises(SourceUnreadable, match=r"no frame of .*bad\.mp4 can be decoded"):
        open_source(str(bad))


@pytest.mark.slow
def test_frames_leave_no_cycles_of_references_behind(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [corners()] * 20, rotation=(90, False, False))
    gc.collect()
    gc.disable()
    try:
        with open_source(str(clip)) as source:
            for _ in source:
                pass
        found = gc.collect()
    finally:
        gc.enable()
    assert found < 20, "the memory of a picture waits for Python to look for cycles"
