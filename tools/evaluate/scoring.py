"""Tracks one sequence from its first mask and scores every frame but the first and the last."""

import statistics as stats
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.sources.registry import open_source
from tools.evaluate.dataset import Sequence
from tools.evaluate.metrics import Statistics, boundary_f, region_j, statistics
from tools.evaluate.prompting import PromptKind, prompt_from_mask
from tracker.engine import Session
from tracker.errors import TrackdError

WARM_UP_FRAMES = 5  # not timed: caches fill, kernels are chosen


@dataclass(frozen=True, slots=True, eq=False)
class WorstFrame:
    """The frame of a sequence with the lowest J.

    Attributes:
        index: Its number in the sequence, from 0.
        j: Its region score.
        image_hwc: The picture, RGB uint8 [H, W, 3].
        predicted_hw: The mask that was tracked, bool [H, W].
        true_hw: The annotation, bool [H, W].
    """

    index: int
    j: float
    image_hwc: NDArray[np.uint8]
    predicted_hw: NDArray[np.bool_]
    true_hw: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScore:
    """Scores of one sequence; `step_ms` is the median time of a tracking step without warm-up."""

    name: str
    frames: int
    j: Statistics
    f: Statistics
    step_ms: float
    worst: WorstFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Tracked:
    image_hwc: NDArray[np.uint8]
    mask_hw: NDArray[np.bool_]
    step_s: float


def score_sequence(
    session: Session, sequence: Sequence, kind: PromptKind, on_frame: Callable[[], None]
) -> SequenceScore:
    """Track a sequence from its first annotation and compare with the others.

    `session` is a fresh one; `on_frame` is called after each frame.

    Raises:
        TrackdError: The first annotation is empty, or an annotation has another size.
        StreamError: A picture cannot be read.
    """
    scored_j: list[float] = []
    scored_f: list[float] = []
    seconds: list[float] = []
    worst: WorstFrame | None = None
    last = len(sequence.annotations) - 1
    for index, tracked in enumerate(_track(session, sequence, kind)):
        seconds.append(tracked.step_s)
        if 0 < index < last:
            true_hw = _annotation(sequence, index, tracked.mask_hw.shape)
            j = region_j(tracked.mask_hw, true_hw)
            scored_j.append(j)
            scored_f.append(boundary_f(tracked.mask_hw, true_hw))
            if worst is None or j < worst.j:
                worst = WorstFrame(index, j, tracked.image_hwc, tracked.mask_hw, true_hw)
        on_frame()
    assert worst is not None  # a Sequence has at least three frames
    return SequenceScore(
        name=sequence.name,
        frames=len(seconds),
        j=statistics(np.array(scored_j)),
        f=statistics(np.array(scored_f)),
        step_ms=stats.median(seconds[WARM_UP_FRAMES:] or seconds) * 1000,
        worst=worst,
    )


def _track(session: Session, sequence: Sequence, kind: PromptKind) -> Iterator[_Tracked]:
    expected = len(sequence.annotations)
    with open_source(str(sequence.frames_dir)) as source:
        for index, frame in enumerate(source):
            start = time.perf_counter()
            result = session.step(frame.image)
            step_s = time.perf_counter() - start
            if index == 0:
                mask_hw = _annotation(sequence, 0, frame.image.shape[:2])
                if not mask_hw.any():
                    raise TrackdError(
                        f"sequence {sequence.name}: the first annotation is empty",
                        "the object must be marked on the first frame",
                    )
                tracked_hw = session.prompt(prompt_from_mask(mask_hw, kind)).object.mask_hw
            else:
                tracked_hw = result.objects[0].mask_hw
            yield _Tracked(frame.image, tracked_hw, step_s)
        if source.stats.frames != expected:
            raise TrackdError(
                f"sequence {sequence.name}: {source.stats.frames} of {expected} frames readable",
                "replace the damaged ones",
            )


def _annotation(sequence: Sequence, index: int, shape_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    mask_hw = sequence.mask(index)
    if mask_hw.shape != shape_hw:
        got, want = ("x".join(str(n) for n in s[::-1]) for s in (mask_hw.shape, shape_hw))
        raise TrackdError(
            f"annotation {sequence.annotations[index]} is {got}, its frame is {want}",
            "they must have the same size",
        )
    return mask_hw
