"""Connections that fail: silent servers, readers that stop, waits between attempts."""

import functools
import gc
import os
import select
import signal
import socket
import ssl
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.certificates import self_signed
from tests.support.tracked_frames import wait_until
from tracker.bridges.restream import sender, session
from tracker.bridges.restream.destination import Destination, parse_destination
from tracker.bridges.restream.sender import FIRST_S, LONGEST_S, Sender
from tracker.bridges.restream.session import Progress, SendError, Session
from tracker.errors import TrackdError

PICTURE = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
BITRATE = 4_000_000


@pytest.fixture
def silent() -> Iterator[Destination]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield parse_destination(f"rtmp://127.0.0.1:{listener.getsockname()[1]}/live/key")


@pytest.mark.slow
def test_a_silent_server_is_given_up(silent: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_S", 0.3)
    sending = Sender(silent, BITRATE)
    with pytest.raises(TrackdError, match=r"no answer within 0\.3 s; check") as caught:
        wait_until(lambda: sending.send(PICTURE, Fraction(0)))
    assert silent.shown in str(caught.value)
    sending.close()
    assert sending.sent == 0


def is_live(one: Session) -> bool:
    return one.progress is Progress.LIVE


@pytest.mark.slow
def test_a_destination_that_takes_nothing_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STALL_S", 0.2)
    one = Session(parse_destination(str(tmp_path / "x.m3u8")), PICTURE, BITRATE)
    wait_until(functools.partial(is_live, one))
    os.kill(one._process.pid, signal.SIGSTOP)
    with pytest.raises(SendError, match=r"it took nothing for 0\.2 s"):
        for index in range(1, 1000):
            one.write(PICTURE, Fraction(index, 25))
    one.kill()
    pipes = [os.pipe() for _ in range(8)]  # one of them may have the number of the session's
    del one
    gc.collect()
    assert select.select([reads for reads, _ in pipes], [], [], 0)[0] == []
    for ends in pipes:
        os.close(ends[0])
        os.close(ends[1])


@pytest.mark.slow
def test_a_playlist_keeps_half_a_minute(tmp_path: Path) -> None:
    sending = Sender(parse_destination(str(tmp_path / "x.m3u8")), BITRATE)
    wait_until(lambda: sending.send(PICTURE, Fraction(0)) or sending.sent)
    for index in range(1, 100):
        sending.send(PICTURE, Fraction(index))
    sending.close()
    assert sending.sent >= 100
    lines = (tmp_path / "x.m3u8").read_text().splitlines()
    assert sum(line.endswith(".ts") for line in lines) == 15
    assert len(list(tmp_path.iterdir())) <= 18  # 15 of the list, one more, and the list itself


@pytest.mark.slow
def test_a_playlist_goes_on_where_it_ended_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Else players show old pieces of the same numbers from their caches."""
    mine = tmp_path / "x-holiday.ts"
    mine.touch()
    ends = []
    for _ in range(4):
        sending = Sender(parse_destination(str(tmp_path / "x.m3u8")), BITRATE)
        wait_until(functools.partial(has_sent, sending))
        for index in range(1, 50):
            sending.send(PICTURE, Fraction(index))
        sending.close()
        lines = (tmp_path / "x.m3u8").read_text().splitlines()
        ends.append(int(lines[-2].removeprefix("x").removesuffix(".ts")))
    assert ends == sorted(set(ends))
    assert ends[-1] >= 4 * 24 - 1  # two seconds each
    assert len(list(tmp_path.iterdir())) <= 19
    assert mine.exists()


def has_sent(sending: Sender) -> bool:
    sending.send(PICTURE, Fraction(0))
    return sending.sent > 0


@pytest.mark.slow
def test_a_server_of_rtsps_must_have_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    """It is told the path, often the key to publish, only then."""
    self_signed(tmp_path / "cert.pem", tmp_path / "key.pem", alternative="DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(20)
        one = Session(parse_destination(f"rtsps://localhost:{port}/x"), PICTURE, BITRATE)
        try:
            connection, _ = listener.accept()
            connection.settimeout(20)
            assert connection.recv(1, socket.MSG_PEEK) == b"\x16"  # a handshake of TLS
            with (
                pytest.raises((ssl.SSLError, ConnectionError)),
                context.wrap_socket(connection, server_side=True) as tls,
            ):
                if not tls.recv(100):
                    raise ConnectionError("it left")
        finally:
            one.kill()


class Scripted:
    """A session that is live for some pictures, and then ends."""

    live = 0
    opened_s: list[float]

    def __init__(self, to: object, image_hwc: np.ndarray, bitrate: int) -> None:
        self.size_hw = image_hwc.shape[:2]
        self.reason = "it went away"
        self.opened_s.append(sender.time.monotonic())
        self._left = self.live

    @property
    def progress(self) -> Progress:
        return Progress.LIVE if self._left else Progress.ENDED

    def write(self, image_hwc: np.ndarray, time_s: Fraction) -> None:
        self._left -= 1

    def kill(self) -> None:
        """It has ended."""

    close = kill


def test_attempts_are_farther_and_farther_apart_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(sender, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    monkeypatch.setattr(sender, "random", SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setattr(sender, "Session", Scripted)
    Scripted.opened_s, Scripted.live = [], 3
    sending = Sender(parse_destination("rtsp://127.0.0.1/x"), BITRATE)
    for index in range(4000):
        Scripted.live = 3 if index < 10 else 0 if clock.now_s < 200 else 1000
        sending.send(PICTURE, Fraction(index, 10))
        clock.now_s += 0.1
    *waits_s, last_s = np.diff(Scripted.opened_s)
    expected = [1.25 * min(FIRST_S * 2**step, LONGEST_S) for step in range(len(waits_s))]
    assert np.allclose(waits_s, expected, atol=0.6)  # and the time that they lived
    assert max(expected) == 1.25 * LONGEST_S
    assert last_s == pytest.approx(100 + 1.25 * FIRST_S, abs=0.3)  # it was healthy
    assert sending.reconnects == 2
    assert sending.sent + sending.dropped == 4000


def test_what_never_was_there_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "Session", Scripted)
    Scripted.opened_s, Scripted.live = [], 0
    sending = Sender(parse_destination("rtsp://me:secret@127.0.0.1/x"), BITRATE)
    sending.send(PICTURE, Fraction(0))
    with pytest.raises(TrackdError) as caught:
        sending.send(PICTURE, Fraction(1))
    assert str(caught.value) == (
        "cannot send to rtsp://127.0.0.1/***: it went away; "
        "check that it is there and takes a publisher"
    )
