"""RTSP cameras that send over TCP, over UDP, or say that they do and send nothing."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from streams import (
    SourceOptions,
    SourceTimeout,
    SourceUnreadable,
    open_source,
)
from tests.streams.test_network import Camera
from tests.support.rtsp import RtspCamera
from tests.support.streams_clips import write_pattern
from tests.support.supervised import watched
from tracker.protocol.replies import StreamState


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=50)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sends", "asked"),
    [
        ("udp", None),
        ("udp", "auto"),
        ("udp", "udp"),
        ("tcp", None),
        ("tcp", "auto"),
        ("tcp", "tcp"),
        (None, "udp"),
    ],
)
def test_a_camera_is_asked_for_the_transport_that_it_has(
    clip: Path, sends: str | None, asked: str | None
) -> None:
    options = SourceOptions.model_validate({"rtsp_transport": asked})
    with (
        RtspCamera(clip, transport=sends) as camera,  # type: ignore[arg-type]
        open_source(camera.url, options=options) as source,
    ):
        frames = [frame for frame, _ in zip(source, range(20), strict=False)]
    assert source.info.live
    assert [frame.image.shape for frame in frames] == [(120, 160, 3)] * 20


@pytest.mark.slow
@pytest.mark.parametrize(("sends", "asked"), [("udp", "tcp"), ("tcp", "udp")])
def test_a_camera_that_refuses_the_transport_says_so(clip: Path, sends: str, asked: str) -> None:
    options = SourceOptions.model_validate({"rtsp_transport": asked})
    with (
        RtspCamera(clip, transport=sends) as camera,  # type: ignore[arg-type]
        pytest.raises(SourceUnreadable, match=f"does not send over {asked.upper()}") as caught,
    ):
        open_source(camera.url, options=options)
    assert caught.value.hint == "set source option rtsp_transport=auto"


@pytest.mark.slow
def test_the_daemon_tracks_a_camera_that_sends_over_udp_only(clip: Path) -> None:
    with (
        RtspCamera(clip, user="me", password="right", transport="udp") as camera,
        watched(camera.url) as cam,
    ):
        cam.take(10)
        assert cam.supervisor.status().state is StreamState.RUNNING


class SilentCamera(Camera):
    """Agrees to send over TCP, but never does; counts who asks, and for which transport."""

    def run(self) -> None:
        self._server.settimeout(30)
        with self._server:
            for _ in range(2):
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Clients hang up when they like.
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            while request := self._read(lines):
                reply, body = self._reply(request)
                if "Transport" in request and "TCP" not in request["Transport"]:
                    reply = "RTSP/1.0 461 Unsupported Transport\r\n"
                head = f"{reply}CSeq: {request['CSeq']}\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall((head + body).encode())


@pytest.mark.slow
def test_a_camera_that_sends_nothing_is_asked_for_udp_too(clip: Path) -> None:
    camera = SilentCamera(clip, "")
    camera.start()
    with pytest.raises((SourceTimeout, SourceUnreadable)):
        open_source(f"rtsp://{camera.host}/live", open_timeout_s=0.5, read_timeout_s=0.5)
    camera.join()
    assert len(camera.transports) == 2
    assert "TCP" in camera.transports[0]
    assert "TCP" not in camera.transports[1]
