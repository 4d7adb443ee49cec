"""A tracker whose results are kept, so that an interrupted run goes on."""

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
    """What keeping a run needs of `tracker.engine.Session`."""

    def save(self, path: Path, /) -> None:
        """Write a snapshot."""


class RecordedTracker:
    """Keeps what another tracker finds; what was kept before is not tracked again."""

    def __init__(
        self,
        tracker: FrameTracker,
        session: SavedSession,
        plan: PromptPlan,
        state: RunState,
        journal: Journal,
        resumed_at: int,
    ) -> None:
        """Go on at frame `resumed_at`, before which `session` stands.

        Raises:
            SnapshotError: The journal does not reach so far.
        """
        self.resumed_at = resumed_at
        self._tracker = tracker
        self._session = session
        self._first_prompt = plan.placed[0].frame
        self._journal = journal
        self._state = state
        self._start = plan.frames.start
        self._next = self._start
        self._saved_at = resumed_at
        journal.keep(resumed_at - self._start)

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame, from the journal or tracked.

        Raises:
            SnapshotError: The journal is damaged, or of another source, or a snapshot cannot be
                written.
            OutputError: The journal cannot be written.
        """
        if frame.seq < self.resumed_at:
            result = self._kept(frame)
        else:
            result = self._tracker.track(frame)
            self._journal.append(frame.seq, result)
        self._next = frame.seq + 1
        if (self._next - self._start) % SNAPSHOT_EVERY == 0:
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
