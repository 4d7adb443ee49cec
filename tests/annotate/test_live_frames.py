"""Frames of a camera are read when they come, not when they are tracked."""

import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from streams.errors import SourceTimeout
from streams.frame import Frame
from tracker.annotate.live_frames import LiveFrames

PATIENCE_S = 20.0


def frame(seq: int) -> Frame:
    return Frame("main", seq, seq, Fraction(1, 25), 0, np.zeros((4, 4, 3), np.uint8))


def test_frames_are_read_while_none_is_taken() -> None:
    all_read = threading.Event()

    def camera() -> Iterator[Frame]:
        yield from map(frame, range(20))
        all_read.set()

    with LiveFrames(camera(), frame_bytes=48) as frames:
        assert all_read.wait(PATIENCE_S)
        assert [taken.seq for taken in frames] == list(range(20))


def test_no_more_are_read_than_may_wait() -> None:
    read: list[int] = []
    full = threading.Event()

    def camera() -> Iterator[Frame]:
        for seq in range(1000):
            read.append(seq)
            if seq == 3:  # two wait, and this one has no room
                full.set()
            yield frame(seq)

    with LiveFrames(camera(), frame_bytes=2**30) as frames:
        assert next(iter(frames)).seq == 0
        assert full.wait(PATIENCE_S)
        assert len(read) == 4
    assert len(read) < 10


def test_an_error_of_the_source_comes_after_its_frames() -> None:
    def camera() -> Iterator[Frame]:
        yield from map(frame, range(3))
        raise SourceTimeout("no picture")

    seen = []
    with (
        LiveFrames(camera(), frame_bytes=48) as frames,
        pytest.raises(SourceTimeout, match="no picture"),
    ):
        for taken in frames:
            seen.append(taken.seq)
    assert seen == [0, 1, 2]


def test_leaving_ends_the_reading() -> None:
    ended = threading.Event()

    def camera() -> Iterator[Frame]:
        try:
            for seq in range(10**9):
                yield frame(seq)
        finally:
            ended.set()

    source = camera()
    with LiveFrames(source, frame_bytes=48):
        pass
    source.close()  # would raise, were it still being read
    assert ended.is_set()
