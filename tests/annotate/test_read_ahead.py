"""Reading a file one frame ahead changes neither what is tracked nor what is lost."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streams.errors import SourceUnreadable
from streams.frame import Frame
from tests.support.moving_scene import frame as picture
from tests.support.moving_scene import square
from tracker.annotate.read_ahead import read_ahead
from tracker.engine import Session
from tracker.engine.prefetch import can_prefetch
from tracker.helper import HelperThread
from tracker.models import load_model
from tracker.models.optim.fused_conv import can_fuse
from tracker.types import Prompt


def frames(count: int) -> list[Frame]:
    return [Frame("main", i, i, Fraction(1, 25), 0, picture(2 * i)) for i in range(count)]


class Notes:
    """Notes which pictures were begun with, and how many frames had been given by then."""

    def __init__(self, *, prefetches: bool = True) -> None:
        self.prefetches = prefetches
        self.given: list[int] = []
        self.begun: list[tuple[int, NDArray[np.uint8]]] = []

    def prefetch(self, image_hwc: NDArray[np.uint8], /) -> None:
        self.begun.append((len(self.given), image_hwc))

    def take(self, source: Iterator[Frame]) -> list[int]:
        for frame in read_ahead(source, self):
            self.given.append(frame.seq)
        return self.given


def test_the_next_frame_is_begun_with_before_one_is_given() -> None:
    notes, source = Notes(), frames(4)
    assert notes.take(iter(source)) == [0, 1, 2, 3]
    assert [given for given, _ in notes.begun] == [0, 1, 2]
    for (_, image_hwc), frame in zip(notes.begun, source[1:], strict=True):
        assert image_hwc is frame.image


def test_nothing_is_begun_where_it_does_not_pay() -> None:
    notes = Notes(prefetches=False)
    assert notes.take(iter(frames(3))) == [0, 1, 2]
    assert notes.begun == []


def test_an_empty_source_gives_nothing() -> None:
    assert Notes().take(iter([])) == []


def test_a_source_that_breaks_gives_its_whole_frames_first() -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(3)
        raise SourceUnreadable("the disk is gone")

    notes = Notes()
    with pytest.raises(SourceUnreadable, match="the disk is gone"):
        notes.take(broken())
    assert notes.given == [0, 1, 2]


@pytest.mark.slow
def test_masks_are_the_same_to_the_last_bit() -> None:
    model = load_model("pico", device="cpu", dtype="bf16" if can_fuse() else "fp32")
    helper, threads = HelperThread(), torch.get_num_threads()
    try:
        if model.dtype == torch.float32:  # whose sums are the same where each thread is alone
            torch.set_num_threads(1)
        assert can_prefetch(model, helper)
        plain, ahead = Session(model), Session(model, helper=helper)
        assert tracked(ahead, lambda source: read_ahead(source, ahead)) == tracked(plain, iter)
    finally:
        torch.set_num_threads(threads)
        helper.close()


def tracked(
    session: Session, reading: Callable[[list[Frame]], Iterator[Frame]]
) -> list[tuple[float, bytes]]:
    found = []
    for frame in reading(frames(6)):
        (obj,) = session.step(frame.image).objects or (None,)
        if frame.seq == 0:
            obj = session.prompt(Prompt(1, mask_hw=square())).object
        assert obj is not None
        found.append((obj.score, obj.mask_hw.tobytes()))
    return found
