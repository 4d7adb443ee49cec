"""A project that pages have open: its prompts, the way back, and the worker that tracks it."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from streams.errors import StreamError
from tracker.annotate.plan import Removal
from tracker.errors import TrackdError, UsageError
from tracker.project.folder import Project
from tracker.project.library import Library
from tracker.project.messages import DraftMask, DrawnPrompt, Status
from tracker.project.pictures import FramePicture, FramePictures, Scan, Thumbnails
from tracker.project.prompts import ProjectPrompts
from tracker.project.results import Direction
from tracker.project.stored import stored_objects
from tracker.project.timeline import spans_by_object
from tracker.studio.project_worker import ProjectWorker

MAX_UNDO = 100
_T = TypeVar("_T")
_LOG = logging.getLogger("trackd.studio")


class ProjectViewer(Protocol):
    """A page that shows a project; must not wait."""

    def tell(self, message: dict[str, Any]) -> None:
        """Take a message."""


class OpenProject:
    """One project, for all pages that show it.

    Each edit is on the disk before it is answered; the last `MAX_UNDO` can be taken back.

    Attributes:
        project: The project.
        worker: What tracks it.
        thumbnails: Its thumbnails.
    """

    def __init__(self, project: Project, library: Library) -> None:
        """Open it; `start` begins to work."""
        self.project = project
        roots = (*library.folders, library.projects)
        self.worker = ProjectWorker(project.folder, roots, self._told)
        self.thumbnails = Thumbnails(project)
        self._pictures = FramePictures(project, self._times)
        self._reading = asyncio.Lock()
        self._prompts = ProjectPrompts()
        self._undo: list[ProjectPrompts] = []
        self._scan: Scan | None = None
        self._viewers: set[ProjectViewer] = set()
        self._editing = asyncio.Lock()
        self._closing = threading.Event()
        self._scanning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the prompts, start the worker, and look through the source.

        Raises:
            TrackdError: The prompts cannot be read.
            StreamError: The source cannot be opened.
        """
        self._prompts = await asyncio.to_thread(self.project.prompts)
        self._scan = await asyncio.to_thread(self.thumbnails.load)
        if self._scan is None:
            self._scan = await asyncio.to_thread(self.thumbnails.claimed)
            self._scanning = asyncio.create_task(self._look_through())
        await self.worker.start()

    async def close(self) -> None:
        """Have the worker keep what it tracked, and end, once edits that were begun are made."""
        async with self._editing:
            self._closing.set()
            await self.worker.stop()
        if self._scanning is not None:
            await asyncio.gather(self._scanning, return_exceptions=True)
        await asyncio.to_thread(self._pictures.close)

    @property
    def is_needed(self) -> bool:
        """True while a page shows it, or something is left to track."""
        return bool(self._viewers) or self.worker.status.state in (
            "loading",
            "tracking",
            "backward",
        )

    def join(self, viewer: ProjectViewer) -> None:
        """Report to a page from now on."""
        self._viewers.add(viewer)
        viewer.tell(self.state())

    def leave(self, viewer: ProjectViewer) -> None:
        """Forget a page."""
        self._viewers.discard(viewer)

    def state(self) -> dict[str, Any]:
        """What a page needs to know at once, as a message."""
        scan, settings = self._scan, self.project.settings
        assert scan is not None
        return {
            "type": "project",
            "title": settings.title,
            "model": settings.model,
            "backward": settings.backward,
            "frames": scan.frame_count,
            "fps": scan.fps,
            "thumbnails_every": scan.every if scan.is_whole else 0,
            "can_undo": bool(self._undo),
            "status": self.worker.status.model_dump(exclude={"event"}),
            "objects": [self._object(i) for i in self._prompts.object_ids],
        }

    # --- what pages ask for

    async def draft(self, object_id: int | None, prompt: DrawnPrompt) -> dict[str, Any]:
        """The mask that a prompt would give, for an object or a new one.

        Raises:
            TrackdError: The prompt does not fit, or there is no mask.
        """
        chosen = self._prompts.free_id() if object_id is None else object_id
        self._check(prompt)
        found: DraftMask = await self.worker.draft(chosen, prompt)
        return {"object": found.object, "score": found.score, "mask": found.mask.model_dump()}

    async def prompt(self, object_id: int | None, prompt: DrawnPrompt) -> dict[str, Any]:
        """Keep a prompt, for an object or a new one.

        Raises:
            TrackdError: It does not fit, or cannot be written.
        """
        chosen = 0

        def prompted(before: ProjectPrompts) -> ProjectPrompts:
            nonlocal chosen
            chosen = before.free_id() if object_id is None else object_id
            return before.with_prompt(prompt.placed(chosen))

        self._check(prompt)
        await self._edit(prompted)
        return {"object": chosen}

    async def remove_prompt(self, object_id: int, frame: int) -> None:
        """Take the prompt for an object on a frame away.

        Raises:
            TrackdError: There is none, or the prompts cannot be written.
        """
        await self._edit(lambda before: before.without_prompt(object_id, frame))

    async def remove_object(self, object_id: int) -> None:
        """Forget an object.

        Raises:
            TrackdError: There is none, or the prompts cannot be written.
        """
        await self._edit(lambda before: before.without_object(object_id))

    async def relabel(self, object_id: int, label: str | None) -> None:
        """Rename an object.

        Raises:
            TrackdError: There is none, or the prompts cannot be written.
        """
        await self._edit(lambda before: before.relabelled(object_id, label))

    async def end_object(self, object_id: int, frame: int) -> None:
        """End an object on a frame, or let it go on where it ends there.

        Raises:
            TrackdError: It is not there, or the prompts cannot be written.
        """
        await self._edit(lambda before: before.with_removal(Removal(frame, object_id)))

    async def undo(self) -> bool:
        """Take the last edit back; False where there is none.

        Raises:
            TrackdError: The prompts cannot be written.
        """
        return await self._whole(self._take_back)

    async def track_backward(self, on: bool) -> None:
        """Track towards the start as well, or no more.

        Raises:
            TrackdError: The settings cannot be written.
        """
        await self._whole(lambda: self._set_backward(on))

    # --- pictures and results

    async def frame(self, number: int, side_px: int) -> FramePicture:
        """A frame whose longer side has at most `side_px` pixels; read in one thread at a time.

        Raises:
            StreamError: There is no such frame, or it cannot be read.
        """
        async with self._reading:
            return await asyncio.to_thread(self._pictures.jpeg, number, side_px)

    def timeline(self) -> dict[str, Any]:
        """The stretches of each object; may be called in any thread."""
        if not self.project.results_path.exists():
            return {"tracked_to": 0, "objects": {}}
        first = self._first_frames()
        with self.project.results(read_only=True) as store:
            facts = list(store.facts(Direction.FORWARD))
            if self.project.settings.backward:
                back = store.facts(Direction.BACKWARD)
                facts += [item for item in back if item.frame < first.get(item.id, 0)]
                facts.sort(key=lambda item: (item.frame, item.id))
            tracked_to = store.tracked_to
        spans = spans_by_object(item for item in facts if item.id in first)
        return {
            "tracked_to": tracked_to,
            "objects": {
                number: [[span.kind.value, span.start, span.stop] for span in mine]
                for number, mine in spans.items()
            },
        }

    def objects_on(self, frame: int) -> dict[str, Any]:
        """The objects on a frame with their masks; may be called in any thread."""
        if not self.project.results_path.exists():
            return {"objects": [], "is_current": False}
        first = self._first_frames()
        with self.project.results(read_only=True) as store:
            found = stored_objects(store, frame, first, backward=self.project.settings.backward)
            is_current = frame < store.tracked_to
        labels = {i: self._prompts.label(i) for i in first}
        return {
            "is_current": is_current,
            "objects": [
                {
                    "id": item.id,
                    "label": labels[item.id],
                    "state": item.state.value,
                    "score": item.score,
                    "box": item.box_xyxy,
                    "mask": item.mask.counts if item.box_xyxy else None,
                }
                for item in found
            ],
        }

    # ---

    def _object(self, object_id: int) -> dict[str, Any]:
        mine = (p for p in self._prompts.placed if p.prompt.object_id == object_id)
        removed = (r.frame for r in self._prompts.removals if r.object_id == object_id)
        return {
            "id": object_id,
            "label": self._prompts.label(object_id),
            "prompts": sorted(p.frame for p in mine),
            "removed_at": sorted(removed),
        }

    def _first_frames(self) -> dict[int, int]:
        first: dict[int, int] = {}
        for item in self._prompts.placed:
            number = item.prompt.object_id
            first[number] = min(item.frame, first.get(number, item.frame))
        return first

    def _check(self, prompt: DrawnPrompt) -> None:
        assert self._scan is not None
        if self._scan.is_whole and prompt.frame >= self._scan.frame_count:
            raise UsageError(
                f"there is no frame {prompt.frame}", f"the last is {self._scan.frame_count - 1}"
            )
        prompt.placed(1).resolve().validate()

    async def _edit(self, edited: Callable[[ProjectPrompts], ProjectPrompts]) -> None:
        def changed() -> Awaitable[None]:
            before = self._prompts
            return self._change(edited(before), [*self._undo, before][-MAX_UNDO:])

        await self._whole(changed)

    async def _whole(self, change: Callable[[], Awaitable[_T]]) -> _T:
        """Make a change after those before it, and to its end even if its page goes meanwhile."""

        async def alone() -> _T:
            async with self._editing:
                if self._closing.is_set():
                    raise TrackdError("the project is closed", "open it again")
                return await change()

        return await asyncio.shield(asyncio.create_task(alone()))

    async def _take_back(self) -> bool:
        if not self._undo:
            return False
        await self._change(self._undo[-1], self._undo[:-1])
        return True

    async def _set_backward(self, on: bool) -> None:
        settings = self.project.settings.model_copy(update={"backward": on})
        self.project = await asyncio.to_thread(self.project.with_settings, settings)
        await self._changed()

    async def _change(self, prompts: ProjectPrompts, undo: list[ProjectPrompts]) -> None:
        """Have other prompts on the disk, and tracked; raises where they contradict each other."""
        prompts.plan(self.project.frames)
        await asyncio.to_thread(prompts.save, self.project.prompts_path)
        self._prompts, self._undo = prompts, undo
        await self._changed()

    async def _changed(self) -> None:
        try:
            await self.worker.changed()
        finally:
            self._tell_all()

    def _times(self) -> tuple[int, ...]:
        return () if self._scan is None else self._scan.times

    async def _look_through(self) -> None:
        """Count the frames and make thumbnails."""
        with suppress(asyncio.CancelledError):
            try:
                scan = await asyncio.to_thread(self.thumbnails.make, self._closing)
            except (TrackdError, StreamError) as error:
                _LOG.warning("no thumbnails of %s: %s", self.project.folder.name, error)
                return
            if scan is not None:
                self._scan = scan
                self._tell_all()

    def _told(self, status: Status) -> None:
        for viewer in list(self._viewers):
            viewer.tell({"type": "status", **status.model_dump(exclude={"event"})})

    def _tell_all(self) -> None:
        state = self.state()
        for viewer in list(self._viewers):
            viewer.tell(state)
