"""A daemon whose stream has a finder: objects appear, are followed and expire by themselves."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streams import VideoWriter
from tests.support import odd_finders
from tests.support.installed import install
from tests.support.small_pico import small_pico_of
from tools.serving import Daemon
from tracker.client import Client, DaemonError, Event, Result
from tracker.protocol.data import EventName
from tracker.protocol.replies import ErrorCode

pytestmark = pytest.mark.slow
HEIGHT, WIDTH, SIDE, FPS, FRAMES = 240, 320, 44, 25, 170
#: First and last frame of each square, its left edge there, pixels a frame, and its top.
SQUARES = ((30, 100, 10, 2, 50), (50, 120, 260, -2, 150))


def left_of(square: tuple[int, ...], seq: int) -> int | None:
    """Left edge of a square on a frame; None where it is not there."""
    first, last, left, speed, _ = square
    return left + speed * (seq - first) if first <= seq < last else None


def write_clip(path: Path) -> None:
    """Two bright squares that cross the picture, one after the other, on noise."""
    noise = np.random.default_rng(0).integers(60, 110, (HEIGHT, WIDTH, 3), np.uint8)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(FPS)) as video:
        for seq in range(FRAMES):
            picture = noise.copy()
            for square in SQUARES:
                if (x := left_of(square, seq)) is not None:
                    picture[square[4] : square[4] + SIDE, x : x + SIDE] = (230, 60, 40)
            video.write(picture, seq, Fraction(1, FPS))


@pytest.fixture(params=[0, 1], ids=["in the daemon's process", "in a worker"])
def daemon(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Daemon]:
    folder = tmp_path / "package"
    install(folder, monkeypatch, Path(odd_finders.__file__), "trackd.finders", *odd_finders.ENTRIES)
    write_clip(tmp_path / "clip.mp4")
    environment = {"PYTHONPATH": str(folder)}
    config = {"model": small_pico_of(tmp_path), "workers": request.param}
    with Daemon(tmp_path, config, environment) as running:
        yield running
        assert running.stop() == 0


def wait_until(found: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.05)


def box_iou(box: tuple[int, ...], square: tuple[int, ...], seq: int) -> float:
    """Overlap of a box with where a square is drawn on a frame."""
    left = left_of(square, seq)
    if left is None:
        return 0.0
    drawn = np.zeros((HEIGHT, WIDTH), np.bool_)
    drawn[square[4] : square[4] + SIDE, left : left + SIDE] = True
    boxed = np.zeros_like(drawn)
    boxed[box[1] : box[3], box[0] : box[2]] = True
    return float((drawn & boxed).sum() / (drawn | boxed).sum())


def follow(daemon: Daemon, client: Client) -> list[Event]:
    """Events until an object has followed each square, and two have expired.

    Every frame is tracked, and the clip begins again when it ends.
    """
    events: list[Event] = []
    best = dict.fromkeys(SQUARES, 0.0)
    find = {"finder": "motion", "expire_after_s": 1.0, "options": {"history": 2000}}
    url = str(daemon.folder / "clip.mp4")
    deadline_s = time.monotonic() + 240
    with client.results_and_events("yard") as both:
        client.call("stream.add", stream="yard", url=url, loop=True, find=find)
        while min(best.values()) < 0.7 or len(of(events, EventName.FIND_EXPIRED)) < 2:
            assert time.monotonic() < deadline_s, (best, [one.message.event for one in events])
            got = both.receive(60)
            assert got is not None, "nothing came any more"
            if isinstance(got, Event):
                events.append(got)
            else:
                take(got, best)
    return events


def of(events: list[Event], name: EventName) -> list[int | None]:
    """The objects that events of a name are about."""
    return [one.message.object for one in events if one.message.event is name]


def take(result: Result, best: dict[tuple[int, ...], float]) -> None:
    """Note how well the objects of a frame overlap the squares that are drawn there."""
    seq = result.message.frame.seq % FRAMES
    for obj in result.message.objects:
        for square in SQUARES if obj.box is not None else ():
            best[square] = max(best[square], box_iou(obj.box, square, seq))


def test_what_moves_is_found_followed_and_given_up(daemon: Daemon) -> None:
    with daemon.client() as client:
        events = follow(daemon, client)
        born, died = of(events, EventName.FIND_ACCEPTED), of(events, EventName.FIND_EXPIRED)
        assert set(died) <= set(born) <= set(of(events, EventName.OBJECT_ADDED))
        assert set(died) <= set(of(events, EventName.OBJECT_REMOVED))
        client.pause_stream("yard")
        finding = _stream(client, "yard").finding
        assert (finding.finder, finding.error) == ("motion", "")
        assert finding.found >= len(born)
        assert "trackd_stream_searches_total" in daemon.http("/metrics")[1]
        words_are_for_finders_that_take_them(client)
        a_finder_that_ends_its_process_ends_nothing_else(daemon, client)


def words_are_for_finders_that_take_them(client: Client) -> None:
    with pytest.raises(DaemonError, match="takes no words") as refused:
        client.prompt("yard", text="square")
    assert refused.value.code is ErrorCode.BAD_REQUEST
    found = client.find("yard", finder="red", text="square")
    assert found.finder == "red"
    assert all(one.label == "square" for one in found.proposals)


def a_finder_that_ends_its_process_ends_nothing_else(daemon: Daemon, client: Client) -> None:
    url = str(daemon.folder / "clip.mp4")
    find = {"finder": "dies", "every_frames": 1}
    client.call("stream.add", stream="gate", url=url, realtime=True, loop=True, find=find)
    wait_until(lambda: _failures(client, "gate") > 1, "failures")
    tracked = _stream(client, "gate").tracked
    wait_until(lambda: _stream(client, "gate").tracked > tracked, "frames")
    client.remove_stream("gate")
    client.call("stream.add", stream="lane", url=url, realtime=True, loop=True)
    wait_until(lambda: prompted(client), "an object")


def prompted(client: Client) -> bool:
    try:
        result = client.prompt("lane", text="square", finder="red", wait_s=20)
    except DaemonError as refused:  # between two rounds of the clip, or two lives of the process
        assert refused.code in (ErrorCode.BAD_PROMPT, ErrorCode.FINDER), refused
        return False
    return result.object.label == "square" and not result.object.found


def _failures(client: Client, name: str) -> int:
    finding = _stream(client, name).finding  # a worker has yet to report it
    return 0 if finding is None else int(finding.failures)


def _stream(client: Client, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in client.streams() if one.stream == name)
