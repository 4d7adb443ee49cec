"""Recorded tracker: results are kept, so that an interrupted run goes on."""

from pathlib import Path
from typing import Protocol

from streams.frame import Frame
from tracker.annotate.journal import Journal
from tracker.annotate.plan import PromptPlan
from tracker.annotate.run_state import RunState
from tracker.annotate.trackers import FrameTracker
from tracker.errors import SnapshotError
from tracker.types import TrackResult

#: Frames between snapshots: what is tracked again, at most, after a crash.
SNAPSHOT_EVERY = 100


class SavedSession(Protocol):
    """The part of `tracker.engine.Session` that a recorded run needs."""

    def save(self, path: Path, /) -> None:
        """Write a snapshot."""


class RecordedTracker:
    """Keeps what another tracker finds; what was kept before is not tracked again.

    Attributes:
        resumed_at: The first frame that is tracked; the results of those before it are kept.
        replayed: Frames of the journal that were given again.
    """

    def __init__(
        self,
        tracker: FrameTracker,
        session: SavedSession,
        plan: PromptPlan,
        state: RunState,
        journal: Journal,
        resumed_at: int,
    ) -> None:
        """Go on at frame `resumed_at`, before which `session` and `journal` stand."""
        self.resumed_at = resumed_at
        self.replayed = 0
        self._tracker = tracker
        self._session = session
        self._first_prompt = plan.first_frame
        self._journal = journal
        self._state = state
        self._next = plan.frames.start
        self._frames = 0
        self._saved_at = resumed_at

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame, from the journal or tracked.

        Raises:
            SnapshotError: The journal is damaged, or of another source, or a snapshot cannot be
                written.
            OutputError: The journal cannot be written.
        """
        if frame.seq < self.resumed_at:
            result = self._kept(frame)
            self.replayed += 1
        else:
            result = self._tracker.track(frame)
            self._journal.append(frame.seq, result)
        self._next = frame.seq + 1
        self._frames += 1
        if self._frames % SNAPSHOT_EVERY == 0:
            self._save()
        return result

    def end(self, *, stopped_early: bool) -> None:
        """Keep what is needed to go on, or note that the run is finished.

        Raises:
            OutputError: The folder cannot be written.
            SnapshotError: The snapshot cannot be written, or the source is shorter than it was.
        """
        if stopped_early:
            self._save()
        elif self._next < self.resumed_at:
            raise SnapshotError(
                f"the source ended at frame {self._next}, before it had {self.resumed_at} frames",
                "give the source that the run began with",
            )
        else:
            self._journal.sync()
            self._state.finish()

    def _save(self) -> None:
        """Take a snapshot, unless nothing was tracked since the last."""
        if self._next <= max(self._saved_at, self._first_prompt):
            return
        self._journal.sync()
        self._session.save(self._state.snapshot_path)
        self._saved_at = self._next

    def _kept(self, frame: Frame) -> TrackResult:
        result = self._journal.read(frame.seq)
        size_hw = frame.image.shape[:2]
        if any(item.mask_hw.shape != size_hw for item in result.objects):
            raise SnapshotError(
                f"frame {frame.seq} has another size than when the run began",
                "give the source that the run began with",
            )
        return result
