"""Frames by number, in any order: the same pictures as in order."""

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streams import SourceUnreadable, open_source
from streams.random_access import FrameReader
from streams.sources.registry import Source
from tests.support.numbered_clip import number_of, numbered, write_numbered

FRAMES = 130  # more than one group of pictures


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("clip") / "numbered.mp4", FRAMES)


class Opened:
    """Opens a source, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times = 0

    def __call__(self) -> Source:
        self.times += 1
        return open_source(str(self.path))


def in_some_order() -> list[int]:
    numbers = [0, FRAMES - 1, 1, 60, 59, 61, 125, 3]
    return numbers + random.Random(1).sample(range(FRAMES), 12)


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [False, True])
def test_any_order_gives_the_pictures_of_the_source(clip: Path, is_known: bool) -> None:
    with open_source(str(clip)) as source:
        frames = list(source)
    times = [frame.pts for frame in frames if frame.pts is not None]
    opened = Opened(clip)
    reader = FrameReader(opened, times if is_known else ())
    for number in in_some_order():
        found = reader.read(number)
        assert found.seq == number_of(found.image) == number
        assert np.array_equal(found.image, frames[number].image)
    assert (opened.times == 1) == is_known
    for number in (FRAMES, FRAMES + 500):
        with pytest.raises(SourceUnreadable, match=f"no frame {number}"):
            reader.read(number)
    assert reader.read(7).seq == 7
    reader.close()


@pytest.mark.slow
def test_wrong_times_lead_to_no_wrong_pictures(clip: Path) -> None:
    with open_source(str(clip)) as source:
        times = [frame.pts + 1 for frame in source if frame.pts is not None]
    reader = FrameReader(Opened(clip), times)
    assert [number_of(reader.read(number).image) for number in (100, 3, 90)] == [100, 3, 90]
    reader.close()


@pytest.mark.slow
def test_frames_of_a_real_video_are_found(bunny_clip: Path) -> None:
    times: list[int] = []
    wanted = {}
    with open_source(str(bunny_clip)) as source:
        for frame in source:
            assert frame.pts is not None
            times.append(frame.pts)
            if frame.seq in (131, 64, 2, 130):
                wanted[frame.seq] = frame
    opened = Opened(bunny_clip)
    reader = FrameReader(opened, times)
    for number in (131, 64, 2, 130):
        assert np.array_equal(reader.read(number).image, wanted[number].image)
    assert opened.times == 1
    reader.close()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[], Source]:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered(number)[..., ::-1])
    (tmp_path / "2.png").write_bytes(b"damaged")
    return Opened(tmp_path)


def test_pictures_of_a_folder_keep_their_places(folder: Callable[[], Source]) -> None:
    reader = FrameReader(folder)
    for number in (3, 0, 1):
        frame = reader.read(number)
        assert (frame.seq, number_of(frame.image), frame.name) == (number, number, f"{number}.png")
    for number in (2, 4, -1):
        with pytest.raises(SourceUnreadable, match=f"no picture {number}"):
            reader.read(number)
    reader.close()
