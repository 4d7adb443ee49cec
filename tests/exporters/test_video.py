"""Videos keep what their source has, by ffprobe: frames, times, sound, rotation, colours."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from streams import open_source
from streams.source_extras import Appearance, read_appearance
from streams.video_formats import FORMATS, hardware_mp4
from tests.support.moving_square import (
    HEIGHT,
    WIDTH,
    ColourSession,
    open_fake_session,
    picture,
    square_xy,
)
from tracker.cli.main import main

FRAMES = 12
TITLE = "A red square"
BOX = ("--box", "1:4,10,24,30", "--quiet")

pytestmark = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")


def write_source(path: Path, rotation_deg: int = 0) -> None:
    """A clip with sound, uneven times, BT.601 primaries and a title."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = TITLE
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        video.color_primaries, video.color_trc = 6, 6
        if rotation_deg:
            video.set_display_rotation(rotation_deg)
        sound = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = 40 * index + (index % 3), Fraction(1, 1000)
            container.mux(video.encode(frame))
        for index in range(22):
            tone = np.sin(np.arange(1024 * index, 1024 * index + 1024) / 20)[None].astype("f4")
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.rate, samples.pts, samples.time_base = 48000, 1024 * index, Fraction(1, 48000)
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def probe(path: Path, stream: str) -> dict:
    argv = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_streams", "-show_packets"]
    text = subprocess.check_output([*argv, "-of", "json", str(path)], text=True)
    content = json.loads(text)
    (info,) = content["streams"] or [{}]
    times = sorted(float(packet["pts_time"]) for packet in content.get("packets", ()))
    return info | {"times": times}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("out", ["out.mp4", "out.mov", "out.webm"])
def test_frames_times_sound_and_colours_are_those_of_the_source(folder: Path, out: str):
    write_source(folder / "clip.mp4")
    assert main(["track", "clip.mp4", *BOX, "--effect", "spotlight", "--out", out]) == 0
    before, after = probe(folder / "clip.mp4", "v"), probe(folder / out, "v")
    assert after["times"] == pytest.approx(before["times"], abs=1e-3)
    assert (after["width"], after["height"]) == (WIDTH, HEIGHT)
    for key in ("color_primaries", "color_transfer"):
        assert after[key] == before[key] == "smpte170m"
    heard, kept = probe(folder / "clip.mp4", "a"), probe(folder / out, "a")
    assert kept["codec_name"] == ("opus" if out.endswith("webm") else "aac")
    assert kept["times"][-1] == pytest.approx(heard["times"][-1], abs=0.05)
    if not out.endswith("webm"):
        assert kept["times"] == pytest.approx(heard["times"], abs=1e-3)
    with av.open(out) as container:
        titles = {key.lower(): value for key, value in container.metadata.items()}
    assert titles["title"] == TITLE


@pytest.mark.slow
def test_the_sound_begins_with_the_first_frame_of_a_range(folder: Path):
    write_source(folder / "clip.mp4")
    argv = ["--box", "1:10,14,30,34@4", "--quiet", "--start", "4", "--stop", "9"]
    assert main(["track", "clip.mp4", *argv, "--out", "out.mp4"]) == 0
    video, sound = probe(folder / "out.mp4", "v"), probe(folder / "out.mp4", "a")
    assert len(video["times"]) == 5
    assert -0.045 < sound["times"][0] <= 0.03  # two packets of 21 ms before it at most
    assert sound["times"][-1] == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
def test_the_rotation_is_kept_and_the_picture_upright(folder: Path, rotation_deg: int):
    write_source(folder / "clip.mp4", rotation_deg)
    with open_source("clip.mp4") as source:
        upright = next(iter(source)).image
    y, x = (int(v.mean()) for v in np.nonzero(upright[..., 0] > 150))
    argv = ["--box", f"1:{x - 8},{y - 8},{x + 8},{y + 8}", "--quiet", "--effect", "colour-pop"]
    assert main(["track", "clip.mp4", *argv, "--out", "out.mp4"]) == 0
    before, after = (probe(folder / name, "v") for name in ("clip.mp4", "out.mp4"))
    assert (after["width"], after["height"]) == (before["width"], before["height"])
    turns = [
        [data["rotation"] for data in info["side_data_list"] if "rotation" in data]
        for info in (before, after)
    ]
    assert turns[0] == turns[1] != []
    with open_source("out.mp4") as source:
        shown = next(iter(source)).image
    assert shown.shape == upright.shape
    assert np.abs(shown[y, x].astype(int) - upright[y, x]).max() < 40


@pytest.mark.slow
def test_cutouts_have_alpha_as_mov_and_as_pngs(folder: Path):
    write_source(folder / "clip.mp4")
    argv = ["--effect", "cutout", "--out", "out.mov", "--export", "png:pngs"]
    assert main(["track", "clip.mp4", *BOX, *argv]) == 0
    assert probe(folder / "out.mov", "v")["pix_fmt"].startswith("yuva444p")
    with av.open("out.mov") as container:
        frames = [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]
    names = sorted(path.name for path in (folder / "pngs").iterdir())
    assert names == [f"{index:05d}.png" for index in range(FRAMES)]
    for index in (0, FRAMES - 1):
        x, y = square_xy(index)
        with Image.open(folder / "pngs" / names[index]) as image:
            assert image.mode == "RGBA"
            pictures = (frames[index], np.asarray(image))
        for rgba in pictures:
            assert rgba[y + 10, x + 10, 3] > 250
            assert rgba[y + 40, x + 60, 3] < 5
            assert np.abs(rgba[y + 10, x + 10, :3].astype(int) - (220, 30, 30)).max() < 25


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_cutouts_have_alpha_as_webm(folder: Path):
    write_source(folder / "clip.mp4")
    assert main(["track", "clip.mp4", *BOX, "--effect", "cutout", "--out", "out.webm"]) == 0
    argv = ["ffmpeg", "-v", "error", "-c:v", "libvpx-vp9", "-i", "out.webm", "-frames:v", "1"]
    argv += ["-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    raw = subprocess.check_output(argv)
    rgba = np.frombuffer(raw, np.uint8).reshape(HEIGHT, WIDTH, 4)
    x, y = square_xy(0)
    assert rgba[y + 10, x + 10, 3] > 250
    assert rgba[80, 60, 3] < 5


@pytest.mark.slow
def test_a_source_that_goes_while_it_is_read_costs_the_sound_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    class Removing(ColourSession):
        def step(self, image_hwc):
            (folder / "clip.mp4").unlink(missing_ok=True)
            return super().step(image_hwc)

    write_source(folder / "clip.mp4")
    before, heard = probe(folder / "clip.mp4", "v"), probe(folder / "clip.mp4", "a")
    model, _ = open_fake_session()
    monkeypatch.setattr("tracker.annotate.run.open_session", lambda *asked: (model, Removing()))
    assert main(["track", "clip.mp4", *BOX, "--out", "out.mp4"]) == 0
    assert not (folder / "clip.mp4").exists()
    assert probe(folder / "out.mp4", "v")["times"] == pytest.approx(before["times"], abs=1e-3)
    assert heard["times"] and not probe(folder / "out.mp4", "a")["times"]


def test_the_appearance_of_what_is_no_video_is_nothing_special(folder: Path):
    write_source(folder / "clip.mp4")
    (folder / "none.mp4").write_bytes(b"no video")
    assert read_appearance(folder / "none.mp4") == Appearance()
    assert read_appearance(folder / "clip.mp4").titles == {"title": TITLE}


def with_sound(path: Path, codec: str, layout: str) -> None:
    """A second of the clip, with sound of a codec and a layout."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        sound.layout = layout
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(video.encode(frame))
        for index in range(24):
            noise = np.random.default_rng(index).uniform(-0.5, 0.5, (sound.layout.nb_channels, 960))
            samples = av.AudioFrame.from_ndarray(noise.astype("f4"), format="fltp", layout=layout)
            samples.rate, samples.pts, samples.time_base = 48000, 960 * index, Fraction(1, 48000)
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def track_sound(capsys: pytest.CaptureFixture[str], out: str) -> tuple[dict, list[str]]:
    """What ffprobe says of the sound of a run's video, and the notes of its summary."""
    assert main(["track", "clip.mkv", *BOX, "--out", out, "--json"]) == 0
    assert len(probe(Path(out), "v")["times"]) == FRAMES
    return probe(Path(out), "a"), json.loads(capsys.readouterr().out)["notes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "layout", "out", "expected"),
    [
        ("ac3", "5.1(side)", "out.webm", ("opus", 2)),
        ("ac3", "mono", "out.webm", ("opus", 1)),
        ("ac3", "5.1(side)", "out.mp4", ("ac3", 6)),
        ("flac", "5.1", "out.mov", ("aac", 2)),
        ("pcm_s16le", "stereo", "out.mp4", ("aac", 2)),
    ],
)
def test_sound_that_a_container_refuses_is_encoded_again_as_mono_or_stereo(
    folder, capsys, codec: str, layout: str, out: str, expected: tuple[str, int]
):
    with_sound(folder / "clip.mkv", codec, layout)
    sound, notes = track_sound(capsys, out)
    assert (sound["codec_name"], sound["channels"]) == expected
    assert sound["times"][-1] == pytest.approx(0.46, abs=0.05)
    assert notes == []


@pytest.mark.slow
def test_sound_of_an_unknown_codec_is_left_out(folder, capsys):
    with_sound(folder / "clip.mkv", "pcm_s16le", "stereo")
    content = (folder / "clip.mkv").read_bytes()
    assert content.count(b"A_PCM/INT/LIT") == 1
    (folder / "clip.mkv").write_bytes(content.replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    sound, notes = track_sound(capsys, "out.mp4")
    assert "codec_name" not in sound
    assert notes == ["sound is left out: FFmpeg does not know its codec"]


@pytest.mark.slow
def test_a_damaged_packet_of_sound_costs_that_packet(folder, capsys):
    with_sound(folder / "clip.mkv", "aac", "stereo")
    with av.open(str(folder / "clip.mkv")) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size > 50]
    content = (folder / "clip.mkv").read_bytes()
    assert content.count(packets[9]) == 1
    damaged = content.replace(packets[9], b"\xff" * len(packets[9]))
    (folder / "clip.mkv").write_bytes(damaged)
    sound, notes = track_sound(capsys, "out.webm")
    assert sound["times"][-1] == pytest.approx(0.46, abs=0.05)
    assert notes == ["1 packet of sound left out: damaged, or without a time of its own"]


@pytest.mark.slow
@pytest.mark.parametrize("out", ["out.mp4", "out.webm"])
def test_packets_of_sound_without_a_time_are_left_out(folder, capsys, monkeypatch, out: str):
    from streams import source_extras

    def timeless(*asked):
        for index, packet in enumerate(demuxed(*asked)):
            packet.pts = None if index in (3, 4) else packet.pts
            yield packet

    demuxed = source_extras._demuxed
    monkeypatch.setattr(source_extras, "_demuxed", timeless)
    with_sound(folder / "clip.mkv", "aac", "stereo")
    sound, notes = track_sound(capsys, out)
    assert sound["times"][-1] == pytest.approx(0.46, abs=0.05)
    assert notes == ["2 packets of sound left out: damaged, or without a time of its own"]


def test_hardware_is_used_where_it_opens_and_refused_where_not(folder: Path, capsys):
    write_source(folder / "clip.mp4")
    code = main(["track", "clip.mp4", *BOX, "--encoder", "hardware", "--out", "out.mp4"])
    if hardware_mp4() is None:
        assert code == 2
        assert "no encoder of this machine opens" in capsys.readouterr().err
    else:
        assert code == 0
    assert set(FORMATS) == {".mp4", ".mov", ".webm"}
