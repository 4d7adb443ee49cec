"""JPEG addresses: a picture that is asked for again and again, or a still of one frame."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from streams import SourceOptions, SourceUnreadable, SourceUsageError, open_source
from tests.support.http_server import Handler, serving
from tests.support.supervised import watched
from tracker.protocol.replies import StreamState


def picture(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (level, level, level)).save(out, "JPEG")
    return out.getvalue()


class Snapshots:
    """A camera whose picture has another level each time, `same` times each."""

    def __init__(self, *, same: int = 1, tagged: bool = False, kind: str = "image/jpeg") -> None:
        self.asked = 0
        self.unchanged = 0
        self._same = same
        self._tagged = tagged
        self._kind = kind

    def __call__(self, handler: Handler) -> None:
        number = self.asked // self._same
        self.asked += 1
        tag = f'"{number}"'
        if self._tagged and handler.headers.get("If-None-Match") == tag:
            self.unchanged += 1
            handler.send_response(304)
            handler.send_header("ETag", tag)
            handler.end_headers()
            return
        headers = {"ETag": tag} if self._tagged else {}
        handler.send(picture(10 + number * 10 % 240), self._kind, **headers)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg", "application/octet-stream"])
def test_a_still_is_one_frame_for_who_does_not_poll(kind: str) -> None:
    camera = Snapshots(kind=kind)
    with serving({"/snap": camera}) as server, open_source(f"{server.url}/snap") as source:
        (frame,) = source
    assert not source.info.live
    assert frame.image.mean() == pytest.approx(10, abs=2)
    assert camera.asked == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"poll_s": 0.05}, {"poll_s": 0.05, "live": True}])
def test_a_picture_that_is_polled_is_a_live_source(how: dict[str, float]) -> None:
    options = SourceOptions.model_validate(how)
    with (
        serving({"/snap": Snapshots()}) as server,
        open_source(f"{server.url}/snap?pwd=x", options=options) as source,
    ):
        frames = [frame for frame, _ in zip(source, range(8), strict=False)]
    assert source.info.live
    levels = [frame.image.mean() for frame in frames]
    assert levels == pytest.approx([10 + 10 * number for number in range(8)], abs=2)
    times_s = [frame.time_s or 0.0 for frame in frames]
    assert times_s[-1] - times_s[0] >= 0.05 * 6  # the decoder may have had the first two at once


def test_options_can_make_it_a_still() -> None:
    with (
        serving({"/snap": Snapshots()}) as server,
        open_source(
            f"{server.url}/snap", options=SourceOptions(live=False), poll_stills=True
        ) as source,
    ):
        assert len(list(source)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("tagged", [False, True])
def test_a_picture_that_is_the_same_is_no_new_frame(tagged: bool) -> None:
    camera = Snapshots(same=3, tagged=tagged)
    with (
        serving({"/snap": camera}) as server,
        open_source(
            f"{server.url}/snap", options=SourceOptions(poll_s=0.02), read_timeout_s=60
        ) as source,
    ):
        levels = [frame.image.mean() for frame, _ in zip(source, range(5), strict=False)]
    assert levels == pytest.approx([10, 20, 30, 40, 50], abs=2)
    assert camera.asked >= 13
    assert (camera.unchanged >= 8) is tagged


@pytest.mark.slow
def test_a_picture_that_never_changes_shows_that_the_camera_is_there() -> None:
    with (
        serving({"/snap": Snapshots(same=10**9)}) as server,
        open_source(
            f"{server.url}/snap", options=SourceOptions(poll_s=0.05), read_timeout_s=0.4
        ) as source,
    ):
        frames = [frame for frame, _ in zip(source, range(3), strict=False)]
    assert len(frames) == 3


def test_the_daemon_polls_a_jpeg_and_tells_what_goes_wrong() -> None:
    camera = Snapshots()
    broken: list[Callable[[Handler], None]] = []

    def answer(handler: Handler) -> None:
        (broken[0] if broken else camera)(handler)

    options = SourceOptions(poll_s=0.05)
    with (
        serving({"/snap": answer}) as server,
        watched(f"{server.url}/snap", source_options=options) as cam,
    ):
        cam.take(3)
        broken.append(lambda handler: handler.send(b"<html>login</html>", "text/html"))
        cam.wait_for(StreamState.RETRYING)
        error = cam.supervisor.status().error
        broken.clear()
        cam.wait_for(StreamState.RUNNING)
        cam.take(2)
        status = cam.supervisor.status()
    assert error.startswith(f"no picture from {server.url}/snap, but text/html") or (
        error.startswith("the server sent a web page")
    )
    assert status.policy == "latest"
    assert status.reconnects >= 1


@pytest.mark.slow
def test_the_daemon_polls_without_being_told() -> None:
    camera = Snapshots()
    with serving({"/snap.jpg": camera}) as server, watched(f"{server.url}/snap.jpg") as cam:
        cam.take(2)
        assert cam.supervisor.status().policy == "latest"


def test_a_camera_that_is_rarely_asked_is_left_at_once() -> None:
    """At the end of the block no thread of it may be left, long before it asks again."""
    options = SourceOptions(poll_s=3600)
    with (
        serving({"/snap": Snapshots()}) as server,
        watched(f"{server.url}/snap", source_options=options) as cam,
    ):
        cam.take(1)


def test_a_damaged_picture_is_skipped() -> None:
    numbers = iter(range(10**6))

    def answer(handler: Handler) -> None:
        number = next(numbers)
        data = picture(10 + number)
        handler.send(data[:200] if number == 1 else data, "image/jpeg")

    with (
        serving({"/snap": answer}) as server,
        open_source(f"{server.url}/snap", options=SourceOptions(poll_s=0.02)) as source,
    ):
        frames = [frame for frame, _ in zip(source, range(4), strict=False)]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert frames[-1].image.mean() >= 12


def test_an_endless_picture_is_refused() -> None:
    def answer(handler: Handler) -> None:
        handler.begin("image/jpeg", Connection="close")
        handler.wfile.write(picture(10)[:-2])
        while not handler.server.ending.is_set():
            handler.wfile.write(bytes(1 << 20))

    with (
        serving({"/snap": answer}) as server,
        pytest.raises(SourceUnreadable, match="no picture from"),
    ):
        open_source(f"{server.url}/snap", options=SourceOptions(poll_s=1), open_timeout_s=60)


def test_only_http_is_polled() -> None:
    with pytest.raises(SourceUsageError, match="source option poll_s is not for rtsp://"):
        open_source("rtsp://127.0.0.1:1/x", options=SourceOptions(poll_s=1))
