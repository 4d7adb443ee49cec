"""The prompts of a project: a prompts file of `trackd track`, and the edits that people make."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan, Removal
from tracker.annotate.prompts_file import (
    FileObject,
    FilePrompt,
    PromptsFile,
    RleMask,
    load_prompts,
    parse_prompts,
)
from tracker.atomic import write_atomically
from tracker.errors import OutputError, PromptError
from tracker.rle import encode_rle


@dataclass(frozen=True, slots=True)
class ProjectPrompts:
    """Prompts and removals; an edit gives new ones, and leaves these for who wants them back."""

    placed: tuple[PlacedPrompt, ...] = ()
    removals: tuple[Removal, ...] = ()

    @classmethod
    def load(cls, path: Path, pictures: Pictures | None = None) -> Self:
        """Read a prompts file; without one there are no prompts.

        Raises:
            UsageError: As `load_prompts`.
        """
        if not path.exists():
            return cls()
        content = load_prompts(path, pictures)
        return cls.of(PromptPlan(content.placed, None, content.removals))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` made.

        Raises:
            UsageError: It is something else.
        """
        if not text:
            return cls()
        content = parse_prompts(text, Path("prompts.json"))
        return cls(content.placed, content.removals)

    @classmethod
    def of(cls, plan: PromptPlan) -> Self:
        """Those of a plan, its masks compressed."""
        return cls(tuple(map(_compressed, plan.placed)), plan.removals)

    def save(self, path: Path) -> None:
        """Write the prompts file, synced to the disk; without prompts there is none.

        Raises:
            OutputError: It cannot be written; what was there is still there.
            PromptError: There are more prompts than a file holds.
        """
        try:
            if self.placed:
                write_atomically(path, self.to_json().encode())
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", "make space") from error

    def plan(self, frames: FrameRange) -> PromptPlan | None:
        """The plan of a run over some frames; None without prompts.

        Raises:
            PromptError: The prompts contradict each other.
        """
        return PromptPlan(self.placed, frames, self.removals) if self.placed else None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, ascending."""
        return tuple(sorted({item.prompt.object_id for item in self.placed}))

    def label(self, object_id: int) -> str | None:
        """Name of an object; None where it has none."""
        labels = (p.prompt.label for p in self.placed if p.prompt.object_id == object_id)
        return next(labels, None)

    def free_id(self) -> int:
        """The lowest id that no object has."""
        return next(n for n in range(1, len(self.placed) + 2) if n not in self.object_ids)

    def at(self, object_id: int, frame: int) -> PlacedPrompt | None:
        """The prompt for an object on a frame."""
        for item in self.placed:
            if (item.prompt.object_id, item.frame) == (object_id, frame):
                return item
        return None

    def is_tracked_into(self, object_id: int, frame: int) -> bool:
        """True if an object is tracked from an earlier frame onto this one."""
        prompted = [p.frame for p in self.placed if p.prompt.object_id == object_id]
        begun = max((at for at in prompted if at < frame), default=None)
        removed = [r.frame for r in self.removals if r.object_id == object_id]
        return begun is not None and not any(begun < at <= frame for at in removed)

    # --- edits

    def with_prompt(self, item: PlacedPrompt) -> Self:
        """Prompt an object; on a frame with clicks more clicks add to them, all else starts afresh.

        Raises:
            PromptError: It is removed on this frame, or clicks are to correct a mask drawn there.
        """
        before = self.at(item.prompt.object_id, item.frame)
        if before is not None and item.mask is None and item.prompt.box_xyxy is None:
            if before.mask is not None:
                raise PromptError(
                    f"object {item.prompt.object_id} has a painted mask on frame {item.frame}",
                    "paint it again, or remove the mask before you click",
                )
            item = replace(item, prompt=item.prompt.following(before.prompt))
        label = item.prompt.label or self.label(item.prompt.object_id)
        item = replace(item, prompt=replace(item.prompt, label=label))
        return self._with((*(p for p in self.placed if p is not before), item))

    def without_prompt(self, object_id: int, frame: int) -> Self:
        """Take the prompt for an object on a frame away; with its last prompt the object goes.

        Raises:
            PromptError: There is none, or a removal would be left without anything to remove.
        """
        found = self.at(object_id, frame)
        if found is None:
            raise PromptError(
                f"object {object_id} has no prompt on frame {frame}", "choose another"
            )
        left = tuple(item for item in self.placed if item is not found)
        if all(item.prompt.object_id != object_id for item in left):
            return self.without_object(object_id)
        return self._with(left)

    def without_object(self, object_id: int) -> Self:
        """Forget an object.

        Raises:
            PromptError: There is no such object.
        """
        self._check_known(object_id)
        placed = (item for item in self.placed if item.prompt.object_id != object_id)
        removals = (item for item in self.removals if item.object_id != object_id)
        return replace(self, placed=tuple(placed), removals=tuple(removals))

    def relabelled(self, object_id: int, label: str | None) -> Self:
        """Rename an object.

        Raises:
            PromptError: There is no such object.
        """
        self._check_known(object_id)
        return replace(
            self,
            placed=tuple(
                replace(item, prompt=replace(item.prompt, label=label))
                if item.prompt.object_id == object_id
                else item
                for item in self.placed
            ),
        )

    def with_removal(self, removal: Removal) -> Self:
        """End an object on a frame, or, where it ends there already, let it go on.

        Raises:
            PromptError: It is not there on this frame.
        """
        self._check_known(removal.object_id)
        if removal in self.removals:
            return replace(self, removals=tuple(r for r in self.removals if r != removal))
        return self._with(self.placed, (*self.removals, removal))

    def to_json(self) -> str:
        """The prompts file; "" without prompts.

        Raises:
            PromptError: There are more prompts than a file holds.
        """
        if not self.placed:
            return ""
        try:
            file = PromptsFile(version=1, objects=[self._object(i) for i in self.object_ids])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise PromptError(f"the prompts do not fit a file: {first}", "use fewer") from error
        return file.model_dump_json(indent=1, exclude_defaults=True) + "\n"

    @property
    def unnamed(self) -> frozenset[PlacedPrompt | Removal]:
        """All of them, the names of the objects left out."""
        bare = (replace(item, prompt=replace(item.prompt, label=None)) for item in self.placed)
        return frozenset((*bare, *self.removals))

    def _object(self, object_id: int) -> FileObject:
        mine = sorted(
            (item for item in self.placed if item.prompt.object_id == object_id),
            key=lambda item: item.frame,
        )
        removed_at = sorted(r.frame for r in self.removals if r.object_id == object_id)
        return FileObject(
            id=object_id,
            label=self.label(object_id),
            prompts=[file_prompt(item) for item in mine],
            removed_at=list(removed_at),
        )

    def _check_known(self, object_id: int) -> None:
        if object_id not in self.object_ids:
            known = ", ".join(map(str, self.object_ids)) or "none"
            raise PromptError(f"there is no object {object_id}", f"objects: {known}")

    def _with(
        self, placed: Iterable[PlacedPrompt], removals: tuple[Removal, ...] | None = None
    ) -> Self:
        """The same with other prompts, checked as a run would."""
        changed = replace(
            self,
            placed=tuple(sorted(placed, key=lambda item: (item.frame, item.prompt.object_id))),
            removals=self.removals if removals is None else removals,
        )
        changed.plan(FrameRange())
        return changed


def _compressed(item: PlacedPrompt) -> PlacedPrompt:
    mask_hw = item.prompt.mask_hw
    if mask_hw is None:
        return item
    return replace(item, prompt=replace(item.prompt, mask_hw=None), mask=encode_rle(mask_hw))


def file_prompt(item: PlacedPrompt) -> FilePrompt:
    """A prompt as a prompts file has it."""
    prompt, mask = item.prompt, item.mask
    return FilePrompt(
        frame=item.frame,
        points=list(prompt.points_xy),
        labels=None if not prompt.points_xy else [1 if n else 0 for n in prompt.point_labels],
        box=prompt.box_xyxy,
        mask=None if mask is None else RleMask(size=(mask.height, mask.width), counts=mask.counts),
    )


def first_change(before: ProjectPrompts, after: ProjectPrompts) -> int | None:
    """First frame on which two sets of prompts differ; None where they are the same.

    Results of the frames before it are the same with both: prompts work onward in time only. Names
    do not count, since they change no mask.
    """
    differing = before.unnamed ^ after.unnamed
    return min((item.frame for item in differing), default=None)


def first_prompts_digest(plan: PromptPlan) -> str:
    """Digest of what a backward pass depends on: the first prompt of each object."""
    first = plan.first_frames
    begun = [p for p in plan.placed if first[p.prompt.object_id] == p.frame]
    bare = [replace(item, prompt=replace(item.prompt, label=None)) for item in begun]
    return hashlib.sha256(repr(bare).encode()).hexdigest()
