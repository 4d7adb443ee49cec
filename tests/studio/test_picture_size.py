"""Size of the large picture: by the window, and by how late pictures come."""

from itertools import pairwise

from tracker.studio.picture_size import (
    LATE_IN_A_ROW,
    LATE_S,
    SOON_FOR_S,
    PictureSize,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def noted(size: PictureSize, clock: Clock, took_s: float, seconds: float) -> list[str]:
    """Sizes after each of 25 pictures a second."""
    found = []
    for _ in range(round(25 * seconds)):
        clock.now_s += 0.04
        size.note(took_s)
        found.append(size.size.value)
    return found


def test_the_window_says_what_is_sent() -> None:
    size = PictureSize()
    chosen = []
    for side_px in (0, 480, 481, 1280, 1500, 3840):
        size.fit(side_px)
        chosen.append(size.size)
    assert chosen == ["small", "small", "medium", "medium", "large", "large"]


def test_late_pictures_get_smaller_and_one_late_picture_does_not() -> None:
    clock = Clock()
    size = PictureSize(clock)
    size.fit(1920)
    size.note(10.0)
    assert noted(size, clock, 0.05, 1.0)[-1] == "large"
    slow = noted(size, clock, LATE_S + 0.1, 1.0)
    assert slow[LATE_IN_A_ROW - 2] == "large" and slow[LATE_IN_A_ROW - 1] == "medium"
    assert slow[-1] == "small"  # and no smaller


def test_a_larger_size_is_tried_again_and_less_and_less_often() -> None:
    clock = Clock()
    size = PictureSize(clock)
    size.fit(1280)
    tries_s: list[float] = []
    for _ in range(3):
        noted(size, clock, 1.0, 0.2)
        assert size.size == "small"
        began_s = clock.now_s
        while size.size == "small":
            noted(size, clock, 0.01, 0.04)
        tries_s.append(clock.now_s - began_s)
    assert all(later > 1.5 * earlier for earlier, later in pairwise(tries_s))
    assert tries_s[0] >= SOON_FOR_S


def test_a_smaller_window_is_no_reason_to_shrink_twice() -> None:
    clock = Clock()
    size = PictureSize(clock)
    size.fit(1920)
    noted(size, clock, 1.0, 1.0)
    size.fit(400)
    assert size.size == "small"
    size.fit(1280)
    assert size.size == "medium"
