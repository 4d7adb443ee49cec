"""Objects with holes, parts, gaps and names, and what every exporter makes of them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams import Frame
from tests.support.tracked_frames import disc, found
from tracker.annotate.outputs import Outputs
from tracker.exporters.base import ExportSource
from tracker.types import ObjectState, StageTimes, TrackResult

HEIGHT, WIDTH, COUNT = 60, 90, 6
LABELS = {1: "pedestrian", 2: "car", 7: None}


def masks(index: int) -> dict[int, NDArray[np.bool_]]:
    """A ring that moves, two parts that are gone on frames 2 and 3, and a noisy one at the edge."""
    ring = disc(20 + 2 * index, 20, 13, HEIGHT, WIDTH) & ~disc(20 + 2 * index, 20, 5, HEIGHT, WIDTH)
    parts = disc(15, 48, 7, HEIGHT, WIDTH) | disc(36, 47, 6, HEIGHT, WIDTH)
    noisy = np.random.default_rng(index).random((HEIGHT, WIDTH)) < 0.6
    noisy[:, :60] = False
    return {1: ring, 2: parts & (index not in (2, 3)), 7: noisy}


def pairs() -> Iterator[tuple[Frame, TrackResult]]:
    for index in range(COUNT):
        image = np.full((HEIGHT, WIDTH, 3), 40 + index, np.uint8)
        frame = Frame("main", index, index, Fraction(1, 25), 0, image)
        objects = tuple(
            found(
                object_id,
                mask,
                label=LABELS[object_id],
                state=ObjectState.VISIBLE if mask.any() else ObjectState.LOST,
                score=0.9 if mask.any() else 0.1,
            )
            for object_id, mask in masks(index).items()
        )
        yield frame, TrackResult(index, objects, StageTimes(0, 0))


def export(name: str, path: Path, **settings: Any) -> None:
    """Write them in a format, as `trackd track` would."""
    outputs = Outputs.of({name: path}, settings=settings)
    outputs.check((), LABELS)
    (writer,) = outputs.open(ExportSource("clip", Fraction(25), LABELS))
    for frame, result in pairs():
        writer.write(frame, result)
    writer.close()


def expected() -> dict[tuple[int, int], NDArray[np.bool_]]:
    """Each mask that is to be seen, by frame and id."""
    return {
        (index, object_id): mask
        for index in range(COUNT)
        for object_id, mask in masks(index).items()
        if mask.any()
    }
