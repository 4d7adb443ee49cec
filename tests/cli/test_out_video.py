"""The video of `--out`, as other readers see it: its times, its size, the shape of its pixels."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from streams import open_source
from tests.support.moving_square import open_fake_session, picture
from tests.support.streams_clips import write_clip
from tracker.cli.main import main

POINT = ("--point", "1:20,20")


@pytest.fixture(autouse=True)
def colour_model(monkeypatch):
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)


def write_source(
    path: Path,
    pts_ms: Sequence[int],
    durations_ms: Sequence[int] = (),
    *,
    pixel: Fraction | None = None,
    degrees: int = 0,
    b_frames: int = 0,
) -> Path:
    """Write H.264 with times in milliseconds; without durations the packets do not state any."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        video.options = {"bf": str(b_frames)}
        video.codec_context.time_base = Fraction(1, 1000)
        if pixel is not None:
            video.codec_context.sample_aspect_ratio = pixel
        video.set_display_rotation(degrees)
        packets = []
        for index, time_ms in enumerate(pts_ms):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        stated = dict(zip(pts_ms, durations_ms, strict=False))
        for packet in packets:
            packet.duration = stated.get(packet.pts, 0)
            container.mux(packet)
    return path


def packets(path: Path) -> list[tuple[Fraction, Fraction]]:
    """Time and duration of each packet, in seconds, as FFmpeg's own demuxer reads them."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        base = video.time_base
        return [(p.pts * base, p.duration * base) for p in container.demux(video) if p.size]


def seconds(*times_ms: int) -> list[Fraction]:
    return [Fraction(time_ms, 1000) for time_ms in times_ms]


def track(source: Path | str, out: Path, *options: str) -> Path:
    assert main(["track", str(source), *POINT, "--out", str(out), "--quiet", *options]) == 0
    return out


IRREGULAR_MS = (0, 40, 90, 300, 350, 1000, 1033)


@pytest.mark.parametrize("last_ms", [20, 100, 3000])
@pytest.mark.parametrize("pts_ms", [(0, 10_000), IRREGULAR_MS, tuple(range(0, 400, 40))])
def test_every_frame_lasts_as_long_as_in_the_source(tmp_path: Path, pts_ms, last_ms):
    lasting = [
        *(after - before for before, after in pairwise(pts_ms)),
        last_ms,
    ]
    source = write_source(tmp_path / "source.mp4", pts_ms, lasting)
    out = track(source, tmp_path / "out.mp4")
    assert packets(out) == list(zip(seconds(*pts_ms), seconds(*lasting), strict=True))
    with av.open(str(out)) as container:
        assert container.duration == (pts_ms[-1] + last_ms) * 1000


def test_pictures_that_are_decoded_out_of_order_keep_their_times(tmp_path: Path):
    source = write_source(tmp_path / "source.mkv", IRREGULAR_MS, b_frames=3)
    shown = packets(track(source, tmp_path / "out.mp4"))
    assert [time for time, _ in shown] == seconds(*IRREGULAR_MS)
    assert [lasting for _, lasting in shown[:-1]] == seconds(40, 50, 210, 50, 650, 33)


@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".ts"])
def test_a_last_frame_of_unknown_duration_lasts_one_tick_of_the_frame_rate(tmp_path: Path, suffix):
    source = write_source(tmp_path / f"source{suffix}", range(0, 400, 40))
    shown = packets(track(source, tmp_path / "out.mp4"))
    assert shown == [(time, Fraction(40, 1000)) for time in seconds(*range(0, 400, 40))]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_guessed_duration_does_not_go_beyond_the_end_of_the_file(tmp_path: Path):
    """The Matroska files of some FFmpegs state the mean distance of their pictures and the end."""
    source, copy = tmp_path / "source.mp4", tmp_path / "copy.mkv"
    write_source(source, (0, 10_000), (10_000, 100))
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-c", "copy", copy], check=True)
    assert packets(track(copy, tmp_path / "out.mp4"))[-1] == (10, Fraction(1, 10))


def shape(path: Path) -> tuple[int, int, Fraction]:
    """Width and height in pixels, and width over height as it is to be seen."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return video.width, video.height, video.sample_aspect_ratio * video.width / video.height


@pytest.mark.parametrize("pixel", [Fraction(64, 45), Fraction(10, 11), Fraction(1), None])
def test_the_picture_keeps_its_shape(tmp_path: Path, pixel: Fraction | None):
    source = write_source(tmp_path / "source.mp4", (0, 40, 80), pixel=pixel)
    assert shape(track(source, tmp_path / "out.mp4")) == (128, 96, Fraction(4, 3) * (pixel or 1))


def rotation(path: Path) -> int:
    """Degrees by which a player turns the pictures."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).rotation


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_stored_and_turned_as_in_the_source(tmp_path: Path, degrees: int):
    pixel = Fraction(64, 45)
    source = write_source(tmp_path / "source.mp4", (0, 40), pixel=pixel, degrees=degrees)
    out = track(source, tmp_path / "out.mp4")
    assert shape(out) == (128, 96, Fraction(4, 3) * pixel)
    assert rotation(out) == rotation(source) != 0


def test_a_shape_that_changes_is_that_of_the_first_frame_tracked(tmp_path: Path):
    parts = [
        write_source(tmp_path / f"{name}.ts", range(start, start + 400, 40), pixel=pixel)
        for name, start, pixel in (("a", 0, Fraction(64, 45)), ("b", 400, Fraction(16, 15)))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_source(str(joined)) as source:
        shapes = [frame.sample_aspect_ratio for frame in source]
    assert shapes == [Fraction(64, 45)] * 10 + [Fraction(16, 15)] * 10
    wide = Fraction(4, 3)
    assert shape(track(joined, tmp_path / "a.mp4")) == (128, 96, wide * Fraction(64, 45))
    late = track(joined, tmp_path / "b.mp4", "--start", "12")
    assert shape(late) == (128, 96, wide * Fraction(16, 15))


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_ffprobe_sees_the_same_shape_and_times(tmp_path: Path):
    pixel = Fraction(64, 45)
    source = write_source(tmp_path / "in.mp4", (0, 10_000), (10_000, 100), pixel=pixel)
    out = track(source, tmp_path / "out.mp4")
    entries = "stream=sample_aspect_ratio,display_aspect_ratio:packet=pts_time,duration_time"
    command = ["ffprobe", "-v", "error", "-show_entries", f"{entries}:format=duration"]
    found = [
        subprocess.run([*command, "-of", "json", path], capture_output=True, check=True).stdout
        for path in (source, out)
    ]
    assert json.loads(found[0]) == json.loads(found[1])


@pytest.mark.parametrize(("width", "expected"), [(64, (64, 48)), (256, (256, 192)), (50, (50, 38))])
def test_a_scaled_video_keeps_the_shape_of_the_picture(tmp_path: Path, width: int, expected):
    pixel = Fraction(64, 45)
    source = write_source(tmp_path / "source.mp4", (0, 40, 80), pixel=pixel)
    out = track(source, tmp_path / "out.mp4", "--out-width", str(width))
    assert shape(out) == (*expected, Fraction(4, 3) * pixel)
    with open_source(str(out)) as scaled:
        image = next(iter(scaled)).image
    assert image.shape == (expected[1], width, 3)
    assert image[image.shape[0] * 20 // 96, width * 14 // 128, 0] > 150  # the red square


@pytest.mark.slow
def test_a_picture_too_large_for_the_video_is_told_before_any_is_tracked(tmp_path, capsys):
    out = tmp_path / "out.mp4"
    for size, width in (("16400x64", 16384), ("64x32772", 30)):
        argv = ["track", f"lavfi:testsrc2=size={size}:rate=10", *POINT, "--stop", "1"]
        assert main([*argv, "--out", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{size} pixels, H.264 holds 16384 a side; --out-width {width} scales it" in line
        assert list(tmp_path.iterdir()) == []
        assert main([*argv, "--quiet"]) == 0
        capsys.readouterr()
    argv = ["track", "lavfi:testsrc2=size=16400x64:rate=10", *POINT, "--stop", "1", "--quiet"]
    assert main([*argv, "--out", str(out), "--out-width", "4100"]) == 0
    assert shape(out) == (4100, 16, Fraction(16400, 64))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--out-width", "641"), "give an even number from 2 to 16384"),
        (("--out-width", "0"), "give an even number from 2 to 16384"),
        (("--out-width", "16386"), "give an even number from 2 to 16384"),
    ],
)
def test_a_width_that_no_video_has(tmp_path, capsys, options, says):
    source = write_clip(tmp_path / "source.mp4", [picture(0)])
    out = tmp_path / "out.mp4"
    assert main(["track", str(source), *POINT, "--out", str(out), *options]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_a_width_without_a_video(tmp_path, capsys):
    source = write_clip(tmp_path / "source.mp4", [picture(0)])
    assert main(["track", str(source), *POINT, "--out-width", "64"]) == 2
    assert "give --out as well" in capsys.readouterr().err
