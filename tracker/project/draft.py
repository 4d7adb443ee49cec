"""Drafts: the mask that a prompt would give, before it is kept."""

from contextlib import suppress
from dataclasses import dataclass

from streams.errors import SourceUnreadable
from streams.frame import Frame
from tracker.annotate.plan import PlacedPrompt, PromptPlan
from tracker.annotate.thread_share import sharing_processors
from tracker.annotate.trackers import PlanTracker
from tracker.errors import PromptError
from tracker.project.folder import Project
from tracker.project.frames import ProjectFrames
from tracker.project.prompts import ProjectPrompts
from tracker.project.tracking import LoadedModel
from tracker.types import ObjectResult


class NotTrackedYetError(PromptError):
    """A correction is drawn on a frame that tracking has not reached."""


@dataclass(slots=True)
class _Base:
    """A session on a frame, before the prompts on it, as a snapshot; and the frame itself."""

    frame: Frame
    tracked_into: bool
    snapshot: bytes


class Drafts:
    """Masks of prompts on the frames of a project, which change nothing."""

    def __init__(self, project: Project, loaded: LoadedModel, frames: ProjectFrames) -> None:
        """Read the project's `frames`."""
        self._project = project
        self._loaded = loaded
        self._frames = frames
        self._base: _Base | None = None

    def forget(self) -> None:
        """Begin anew: the prompts have changed."""
        self._base = None

    def mask(
        self, item: PlacedPrompt, prompts: ProjectPrompts, plan: PromptPlan | None, tracked_to: int
    ) -> ObjectResult:
        """The object as it would be on the frame of a prompt.

        Args:
            item: The prompt, with all that is drawn for its object on this frame.
            prompts: Those that are kept.
            plan: Their plan.
            tracked_to: The first frame that is not tracked with them.

        Raises:
            NotTrackedYetError: The object is corrected on a frame that tracking has not reached.
            PromptError: The prompt does not fit.
            StreamError: The frame cannot be read.
        """
        into = prompts.is_tracked_into(item.prompt.object_id, item.frame)
        with sharing_processors(self._loaded.model, live=False):
            base = self._base
            if base is None or (base.frame.seq, base.tracked_into) != (item.frame, into):
                base = self._base = self._begun(item.frame, into, plan, tracked_to)
            height, width = base.frame.image.shape[:2]
            prompt = item.fitted(height, width)
            path = self._project.snapshots.path(item.frame)
            session = self._loaded.restored(path, base.snapshot)
            if not into and self._loaded.first_masks is not None:
                (prompt,) = self._loaded.first_masks.applied([prompt], base.frame, ())
            return session.prompt(prompt).object

    def _begun(self, number: int, into: bool, plan: PromptPlan | None, tracked_to: int) -> _Base:
        loaded, snapshots = self._loaded, self._project.snapshots
        if not into or plan is None:
            session = loaded.session()
        else:
            if number > tracked_to:
                raise NotTrackedYetError(
                    f"frame {number} is not tracked yet", "wait, or keep the correction unseen"
                )
            begin = snapshots.newest(number)
            session = loaded.session() if begin is None else loaded.restored(snapshots.path(begin))
            tracker = PlanTracker(session, plan, begin, loaded.first_masks)
            for earlier in range(plan.placed[0].frame if begin is None else begin, number):
                with suppress(SourceUnreadable):  # a damaged picture, which tracking leaves out
                    tracker.track(self._frames.read(earlier))
            for object_id in plan.removed(number):
                session.remove(object_id)
        frame = self._frames.read(number)
        session.step(frame.image)
        return _Base(frame, into, session.to_bytes())
