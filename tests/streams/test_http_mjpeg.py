"""MJPEG cameras over HTTP: bodies as cameras really send them, and the times of their pictures."""

import io
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streams import SourceTimeout, SourceUnreadable, open_source
from streams.sources.multipart import MAX_PICTURE_BYTES, MultipartReader, boundary_of
from tests.support.http_server import Answer, Handler, serving
from tests.support.moving_square import open_fake_session
from tracker.cli.main import main

LEVELS = tuple(range(20, 240, 20))


def picture(level: int, *, size: tuple[int, int] = (64, 48), thumbnail: bytes = b"") -> bytes:
    """A gray JPEG; a thumbnail inside of it also ends as a JPEG does."""
    out = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(out, "JPEG", quality=90)
    data = out.getvalue()
    if thumbnail:
        segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
        data = data[:2] + segment + data[2:]
    return data


def level_of(jpeg: bytes) -> int:
    return round(float(np.asarray(Image.open(io.BytesIO(jpeg)).convert("L")).mean()))


def sized(data: bytes, *, end: str = "\r\n", kind: str = "image/jpeg") -> bytes:
    return f"Content-Type: {kind}{end}Content-Length: {len(data)}{end}{end}".encode() + data


BODIES = {
    # name: (Content-Type, body of the parts)
    "as the standard has it": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"\r\n--frame\r\n" + sized(picture(level)) for level in LEVELS],
    ),
    "boundary after each picture": (
        "multipart/x-mixed-replace;boundary=frame",
        [sized(picture(level)) + b"\r\n--frame\r\n" for level in LEVELS],
    ),
    "boundary after each picture, no length": (
        "multipart/x-mixed-replace;boundary=frame",
        [b"Content-Type: image/jpeg\r\n\r\n" + picture(x) + b"\r\n--frame\r\n" for x in LEVELS],
    ),
    "dashes in the header": (
        "multipart/x-mixed-replace; boundary=--frame",
        [b"--frame\r\n" + sized(picture(level)) + b"\r\n" for level in LEVELS],
    ),
    "dashes in the header, doubled in the body": (
        "multipart/x-mixed-replace; boundary=--frame",
        [b"----frame\r\n" + sized(picture(level)) + b"\r\n" for level in LEVELS],
    ),
    "a length, and what looks like a boundary in the metadata": (
        "multipart/x-mixed-replace; boundary=frame",
        [
            b"--frame\r\n" + sized(picture(level, thumbnail=b"\r\n--frame\r\n")) + b"\r\n"
            for level in LEVELS
        ],
    ),
    "quotes": (
        'multipart/x-mixed-replace; boundary="a frame"; charset=x',
        [b"--a frame\r\n" + sized(picture(level)) + b"\r\n" for level in LEVELS],
    ),
    "no dashes in the body": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture(x) + b"\r\n" for x in LEVELS],
    ),
    "another boundary than the header's": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"--other\r\nContent-Type: image/jpeg\r\n\r\n" + picture(x) + b"\r\n" for x in LEVELS],
    ),
    "no boundary in the header": (
        "multipart/x-mixed-replace",
        [b"--frame\r\n\r\n" + picture(level) + b"\r\n" for level in LEVELS],
    ),
    "line feeds only": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"--frame\n" + sized(picture(level), end="\n") + b"\n" for level in LEVELS],
    ),
    "further headers, in lower case": (
        "Multipart/X-Mixed-Replace; Boundary=frame",
        [
            b"--frame\r\nX-Timestamp: 12.5\r\ncontent-length:%d\r\ncontent-type:image/jpeg\r\n\r\n"
            % len(picture(level))
            + picture(level)
            for level in LEVELS
        ],
    ),
    "text before the first boundary": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"This is a camera.\r\nNote: it is old.\r\n\r\n"]
        + [b"--frame\r\n" + sized(picture(level)) + b"\r\n" for level in LEVELS],
    ),
    "no headers at all": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"--frame\r\n" + picture(level) + b"\r\n" for level in LEVELS],
    ),
    "a thumbnail inside, no length": (
        "multipart/x-mixed-replace",
        [b"--frame\r\n\r\n" + picture(x, thumbnail=picture(250)) + b"\r\n" for x in LEVELS],
    ),
    "lengths that are too large": (
        "multipart/x-mixed-replace; boundary=frame",
        [
            b"--frame\r\nContent-Length: %d\r\n\r\n" % (len(picture(level)) + 30)
            + picture(level)
            + b"\r\n"
            for level in LEVELS
        ]
        + [b"--frame--\r\n" + bytes(64)],
    ),
    "lengths that are too small": (
        "multipart/x-mixed-replace; boundary=frame",
        [b"--frame\r\nContent-Length: 99\r\n\r\n" + picture(x) + b"\r\n" for x in LEVELS],
    ),
    "parts of another kind between": (
        "multipart/x-mixed-replace; boundary=frame",
        [
            b"--frame\r\n" + sized(b"motion=1\xff\xd8\xff", kind="text/plain") + b"\r\n"
            b"--frame\r\n" + sized(picture(level)) + b"\r\n"
            for level in LEVELS
        ],
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("step", [1, 997, 1 << 16])
def test_pictures_are_found_in_whatever_a_camera_sends(name: str, step: int) -> None:
    kind, parts = BODIES[name]
    body = io.BytesIO(b"".join(parts))
    reader = MultipartReader(lambda size: body.read(min(size, step)), boundary_of(kind), "cam")
    found = []
    while (jpeg := reader.picture()) is not None:
        found.append(level_of(jpeg))
    assert found == pytest.approx(LEVELS, abs=1)


def sending(kind: str, parts: Iterable[bytes], *, chunked: bool = False) -> Answer:
    def answer(handler: Handler) -> None:
        headers = {"Transfer_Encoding": "chunked"} if chunked else {}
        handler.begin(kind, **headers)
        for part in parts:
            handler.chunk(part) if chunked else handler.wfile.write(part)
        if chunked:
            handler.chunk(b"")

    return answer


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_a_camera_is_opened_whatever_its_body_is_like(name: str, chunked: bool) -> None:
    kind, parts = BODIES[name]
    with (
        serving({"/video": sending(kind, parts, chunked=chunked)}) as server,
        open_source(f"{server.url}/video") as source,
    ):
        frames = list(source)
    assert source.info.live
    assert [frame.image.mean() for frame in frames] == pytest.approx(LEVELS, abs=2)


@pytest.mark.slow
def test_a_camera_that_does_not_name_what_it_sends() -> None:
    _, parts = BODIES["as the standard has it"]
    raw = [picture(level) for level in LEVELS]

    def paced(handler: Handler) -> None:
        handler.begin("video/x-motion-jpeg")
        for jpeg in raw * 20:  # for longer than a file that comes at once takes
            handler.wfile.write(jpeg)
            handler.server.ending.wait(0.01)

    answers = {"/parts": sending("application/octet-stream", parts), "/raw": paced}
    with serving(answers) as server:
        with open_source(f"{server.url}/parts") as source:
            assert len(list(source)) == len(LEVELS)
        with open_source(f"{server.url}/raw") as source:
            frames = list(source)
    assert source.info.live
    assert [frame.image.mean() for frame in frames] == pytest.approx(LEVELS * 20, abs=2)


@pytest.mark.slow
def test_times_are_those_of_the_arrival() -> None:
    """The camera sends at least 0.1 s apart; FFmpeg would say 0.04 s."""
    kind, parts = BODIES["as the standard has it"]

    def slow(handler: Handler) -> None:
        handler.begin(kind)
        for part in parts:
            handler.wfile.write(part)
            handler.server.ending.wait(0.1)

    with serving({"/video": slow}) as server, open_source(f"{server.url}/video") as source:
        frames = list(source)
    times_s = [frame.time_s or 0.0 for frame in frames]
    captured_s = [frame.captured_ns / 1e9 for frame in frames]
    assert source.info.fps is None
    assert times_s[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(times_s))
    assert times_s[-1] >= 0.1 * (len(LEVELS) - 2)
    assert times_s[-1] == pytest.approx(captured_s[-1] - captured_s[0], abs=0.05)


def test_a_camera_is_asked_for_pictures_when_the_model_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Pictures that wait while a model is loaded would seem to have come all at once."""
    kind, parts = BODIES["as the standard has it"]
    done = []

    def asked(handler: Handler) -> None:
        done.append("asked")
        sending(kind, parts)(handler)

    def loaded(*asked: object) -> object:
        done.append("loaded")
        return open_fake_session(*asked)

    monkeypatch.setattr("tracker.annotate.run.open_session", loaded)
    with serving({"/video": asked}) as server:
        options = ["--box", "1:5,5,20,20", "--coco", str(tmp_path / "out.json"), "--quiet"]
        assert main(["track", f"{server.url}/video", *options]) == 0
    assert done == ["loaded", "asked"]


def test_a_damaged_picture_is_skipped_and_counted() -> None:
    kind = "multipart/x-mixed-replace; boundary=frame"
    good = [b"--frame\r\n" + sized(picture(level)) + b"\r\n" for level in LEVELS]
    jpeg = picture(99)
    bad = b"--frame\r\n" + sized(jpeg[:2] + bytes(200) + jpeg[-2:]) + b"\r\n"
    with (
        serving({"/video": sending(kind, [*good[:3], bad, *good[3:]])}) as server,
        open_source(f"{server.url}/video") as source,
    ):
        frames = list(source)
    assert [frame.image.mean() for frame in frames] == pytest.approx(LEVELS, abs=2)
    assert source.stats.corrupt_packets == 1


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([b"--frame\r\nContent-Length: %d\r\n\r\n" % (MAX_PICTURE_BYTES + 1)], "more than 32 MiB"),
        ([b"x" * 5000 + b"\n"] * 1000, "no pictures in what"),
        ([b"x" * (1 << 16)] * 100, "no pictures in what"),
        ([b"--frame\r\n" + sized(b"\0\0\0\1", kind="video/x-h264")] * 200, "'video/x-h264'"),
    ],
)
def test_what_is_no_mjpeg_is_left_soon(parts: list[bytes], says: str) -> None:
    answer = sending("multipart/x-mixed-replace; boundary=frame", parts)
    with serving({"/v": answer}) as server, pytest.raises(SourceUnreadable, match=says):
        open_source(f"{server.url}/v")


def test_a_picture_that_never_ends_is_left() -> None:
    def endless(handler: Handler) -> None:
        handler.begin("multipart/x-mixed-replace; boundary=frame")
        handler.wfile.write(b"--frame\r\n\r\n" + picture(9)[:-2])
        while not handler.server.ending.is_set():
            handler.wfile.write(bytes(1 << 20))

    with serving({"/v": endless}) as server, pytest.raises(SourceUnreadable, match="32 MiB"):
        open_source(f"{server.url}/v", open_timeout_s=60)


def test_a_camera_that_stalls_times_out() -> None:
    kind, parts = BODIES["as the standard has it"]

    def stalling(handler: Handler) -> None:
        handler.begin(kind)
        for part in [*parts[:3], parts[3][:50]]:
            handler.wfile.write(part)
        handler.server.ending.wait(60)

    with (
        serving({"/v": stalling}) as server,
        open_source(f"{server.url}/v", read_timeout_s=0.5) as source,
        pytest.raises(SourceTimeout, match=r"no answer from .* within 0\.5 s"),
    ):
        for frame in source:
            assert frame.seq < 3


def test_a_camera_that_sends_a_byte_at_a_time_times_out() -> None:
    kind, parts = BODIES["as the standard has it"]

    def dripping(handler: Handler) -> None:
        handler.begin(kind)
        handler.wfile.write(parts[0])
        for byte in parts[1]:
            handler.wfile.write(bytes([byte]))
            if handler.server.ending.wait(0.1):
                return

    with (
        serving({"/v": dripping}) as server,
        open_source(f"{server.url}/v", read_timeout_s=0.5) as source,
        pytest.raises(SourceTimeout),
    ):
        list(source)
