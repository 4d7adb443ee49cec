"""Stored results as trackers give them, so that a project is exported as it would be tracked."""

from collections.abc import Mapping

from streams.frame import Frame
from tracker.annotate.backward import KeptResults, MergedTracker
from tracker.annotate.plan import PromptPlan
from tracker.annotate.trackers import FrameTracker
from tracker.errors import SnapshotError
from tracker.project.results import Direction, ResultStore
from tracker.types import StageTimes, TrackResult

Labels = Mapping[int, str | None]


class StoredBackward(KeptResults):
    """Results of the backward pass."""

    def __init__(self, store: ResultStore, labels: Labels) -> None:
        """Keep them in `store`; `labels` are the names of the objects."""
        self._store = store
        self._labels = labels

    def put(self, frame: int, result: TrackResult) -> None:
        """Keep the results of a frame.

        Raises:
            OutputError: The disk is full.
        """
        self._store.put(Direction.BACKWARD, frame, result)

    def get(self, frame: int) -> TrackResult | None:
        """The results of a frame; None where there are none."""
        return _result(self._store, Direction.BACKWARD, frame, self._labels)

    def close(self) -> None:
        """They stay."""


class StoredTracker:
    """Gives what was tracked before."""

    def __init__(self, store: ResultStore, labels: Labels) -> None:
        """Read from `store`; `labels` are the names of the objects."""
        self._store = store
        self._labels = labels

    def track(self, frame: Frame) -> TrackResult:
        """All objects on a frame.

        Raises:
            SnapshotError: It was not tracked, or had another size.
        """
        result = _result(self._store, Direction.FORWARD, frame.seq, self._labels)
        if result is None:
            raise SnapshotError(f"frame {frame.seq} was not tracked", "track the project again")
        size_hw = frame.image.shape[:2]
        if any(item.mask_hw.shape != size_hw for item in result.objects):
            raise SnapshotError(
                f"frame {frame.seq} had another size when it was tracked",
                "give the source as it was",
            )
        return result


def stored_tracker(store: ResultStore, plan: PromptPlan, *, backward: bool) -> FrameTracker:
    """The tracker that gives what was tracked in one direction, or in both."""
    forward = StoredTracker(store, plan.labels)
    if not backward:
        return forward
    return MergedTracker(forward, StoredBackward(store, plan.labels), plan)


def _result(
    store: ResultStore, direction: Direction, frame: int, labels: Labels
) -> TrackResult | None:
    step = store.step(direction, frame)
    if step is None:
        return None
    stored = store.objects(direction, frame)
    objects = tuple(item.result(labels.get(item.id)) for item in stored)
    return TrackResult(step, objects, StageTimes(0.0, 0.0))
