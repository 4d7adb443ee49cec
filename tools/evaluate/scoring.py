"""Tracks one sequence from its first masks and scores every frame but the first and the last."""

import statistics as stats
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.sources.registry import open_source
from tools.evaluate.dataset import Annotation, Labels, Sequence
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
    """Scores of one object of a sequence.

    Attributes:
        name: Of the sequence; of the object too where each is scored: `street#2`.
        frames: Frames from the one on which it was prompted to the end.
        step_ms: Median time of a step that tracks all objects, without warm-up.
    """

    name: str
    frames: int
    j: Statistics
    f: Statistics
    step_ms: float
    worst: WorstFrame


class _ObjectScores:
    """J and F of one object, frame by frame."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._j: list[float] = []
        self._f: list[float] = []
        self._worst: WorstFrame | None = None

    def add(
        self,
        index: int,
        image_hwc: NDArray[np.uint8],
        predicted_hw: NDArray[np.bool_],
        true_hw: NDArray[np.bool_],
    ) -> None:
        j = region_j(predicted_hw, true_hw)
        self._j.append(j)
        self._f.append(boundary_f(predicted_hw, true_hw))
        if self._worst is None or j < self._worst.j:
            self._worst = WorstFrame(index, j, image_hwc, predicted_hw, true_hw)

    def total(self, name: str, frames: int, step_ms: float) -> SequenceScore | None:
        """The scores; None where no frame was scored."""
        if self._worst is None:
            return None
        j, f = statistics(np.array(self._j)), statistics(np.array(self._f))
        return SequenceScore(name, frames - self.first, j, f, step_ms, self._worst)


@dataclass(frozen=True, slots=True, eq=False)
class _Tracked:
    image_hwc: NDArray[np.uint8]
    masks_hw: Mapping[int, NDArray[np.bool_]]
    true: Annotation
    step_s: float


def score_sequence(
    session: Session,
    sequence: Sequence,
    kind: PromptKind,
    on_frame: Callable[[], None],
    labels: Labels = Labels(),  # noqa: B008
) -> tuple[SequenceScore, ...]:
    """Track a sequence from its annotations and compare with them.

    Each object is prompted on the first frame that shows it, and scored on those that follow but
    the last: the protocols of DAVIS 2016 and 2017 (Pont-Tuset et al., arXiv:1704.00675).

    Args:
        session: A fresh one.
        sequence: Pictures and annotations.
        kind: Kind of the prompts.
        on_frame: Called after each frame.
        labels: Meaning of the annotations.

    Returns:
        One score for each object that any frame could be scored of.

    Raises:
        TrackdError: The first annotation is empty where all is one object, or none shows one, or
            an annotation has another size.
        StreamError: A picture cannot be read.
    """
    found: dict[int, _ObjectScores] = {}
    seconds: list[float] = []
    last = len(sequence.annotations) - 1
    for index, tracked in enumerate(_track(session, sequence, kind, labels)):
        seconds.append(tracked.step_s)
        for object_id, predicted_hw in tracked.masks_hw.items():
            scores = found.setdefault(object_id, _ObjectScores(index))
            if scores.first < index < last:
                shown_hw = predicted_hw & tracked.true.scored_hw
                true_hw = tracked.true.masks_hw.get(object_id, np.zeros_like(shown_hw))
                scores.add(index, tracked.image_hwc, shown_hw, true_hw)
        on_frame()
    step_ms = stats.median(seconds[WARM_UP_FRAMES:] or seconds) * 1000
    totals = [
        found[each].total(_named(sequence, each, labels), len(seconds), step_ms)
        for each in sorted(found)
    ]
    scored = tuple(total for total in totals if total is not None)
    if not scored:
        raise TrackdError(
            f"sequence {sequence.name}: no object can be scored",
            "its annotations must show one before the last but one frame",
        )
    return scored


def _named(sequence: Sequence, object_id: int, labels: Labels) -> str:
    return f"{sequence.name}#{object_id}" if labels.per_object else sequence.name


def _track(
    session: Session, sequence: Sequence, kind: PromptKind, labels: Labels
) -> Iterator[_Tracked]:
    """Step through the sequence; objects are prompted as they first appear."""
    expected = len(sequence.annotations)
    known: set[int] = set()
    with open_source(str(sequence.frames_dir)) as source:
        for index, frame in enumerate(source):
            start = time.perf_counter()
            result = session.step(frame.image)
            step_s = time.perf_counter() - start
            true = _annotation(sequence, index, labels, frame.image.shape[:2])
            if index == 0 and not (true.masks_hw or labels.per_object):
                raise TrackdError(
                    f"sequence {sequence.name}: the first annotation is empty",
                    "the object must be marked on the first frame",
                )
            masks_hw = {each.id: each.mask_hw for each in result.objects}
            for object_id in true.masks_hw.keys() - known:
                prompt = prompt_from_mask(true.masks_hw[object_id], kind, object_id)
                masks_hw[object_id] = session.prompt(prompt).object.mask_hw
                known.add(object_id)
            yield _Tracked(frame.image, masks_hw, true, step_s)
        if source.stats.frames != expected:
            raise TrackdError(
                f"sequence {sequence.name}: {source.stats.frames} of {expected} frames readable",
                "replace the damaged ones",
            )


def _annotation(
    sequence: Sequence, index: int, labels: Labels, shape_hw: tuple[int, ...]
) -> Annotation:
    annotation = sequence.annotation(index, labels)
    if annotation.scored_hw.shape != shape_hw:
        got, want = (
            "x".join(str(n) for n in s[::-1]) for s in (annotation.scored_hw.shape, shape_hw)
        )
        raise TrackdError(
            f"annotation {sequence.annotations[index]} is {got}, its frame is {want}",
            "they must have the same size",
        )
    return annotation
