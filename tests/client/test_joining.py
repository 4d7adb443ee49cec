"""Pairs of pictures and masks: what is kept does not grow with what is done to a pair."""

import numpy as np

from tests.support.received import picture, result
from tests.support.tracked_frames import found
from tracker.client.joining import FrameJoiner


def test_masks_that_are_decoded_go_with_their_pair() -> None:
    joiner = FrameJoiner()
    image = np.full((40, 60, 3), 90, np.uint8)
    mask_hw = np.zeros((40, 60), np.bool_)
    mask_hw[5:20, 10:30] = True
    kept = result(7, (found(1, mask_hw),), image)
    assert joiner.add(kept) is None
    pair = joiner.add(picture(kept, image))
    assert pair is not None
    assert pair[1] == kept
    assert np.array_equal(pair[1].masks()[1], mask_hw)
    assert "_masks" not in vars(kept)
