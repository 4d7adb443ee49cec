"""Plan of a run: its range of frames, the prompts on them, and when objects are removed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tracker.errors import PromptError, UsageError
from tracker.rle import Rle, decode_rle
from tracker.types import Prompt

NAME_PREFIX = "name:"

#: The number of a frame in its source, or "name:" and the name of the picture's file, whole or
#: without its suffix.
FrameAddress = int | str


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Frames `start` to `stop` of the source, `stop` left out; None for its end."""

    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` where the range is empty."""
        if self.start < 0:
            raise UsageError(f"--start {self.start} is negative", "frames are numbered from 0")
        if self.stop is not None and self.stop <= self.start:
            raise UsageError(
                f"--stop {self.stop} is not after --start {self.start}",
                "the stop frame itself is left out",
            )

    def count(self, frame_count: int | None) -> int | None:
        """Frames in the range of a source of `frame_count` frames; None where nobody knows."""
        ends = [end for end in (self.stop, frame_count) if end is not None]
        return max(0, min(ends) - self.start) if ends else None


@dataclass(frozen=True, slots=True)
class PlacedPrompt:
    """A prompt and the frame of the source that it was drawn on.

    Attributes:
        frame: Frame number in the source, from 0.
        prompt: Points and box; its mask stays compressed in `mask` until it is due.
        mask: The mask, if that is what was drawn.
    """

    frame: int
    prompt: Prompt
    mask: Rle | None = None

    def resolve(self) -> Prompt:
        """The prompt as the engine takes it, its mask expanded.

        Raises:
            PromptError: The mask is not what its encoding says.
        """
        if self.mask is None:
            return self.prompt
        try:
            return replace(self.prompt, mask_hw=decode_rle(self.mask))
        except PromptError as error:
            raise PromptError(f"{self._who}: {error.message}", error.hint) from error

    def fitted(self, height: int, width: int) -> Prompt:
        """The same, checked against its frame of `height` x `width` pixels.

        Raises:
            PromptError: It does not fit, or as `resolve`.
        """
        try:
            prompt = self.resolve()
            prompt.validate(height, width)
        except PromptError as error:
            fault = error.message.removeprefix(self._who)
            message = f"{self._who} on frame {self.frame}{fault}"
            raise PromptError(message, error.hint) from error
        return prompt

    @property
    def _who(self) -> str:
        return f"prompt for object {self.prompt.object_id}"


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """From `frame` of the source on, before that frame is tracked, the object is gone."""

    frame: int
    object_id: int


class PromptPlan:
    """Plan of a run: the frames, the prompts on them, and the frames on which objects leave.

    At most one prompt per object and frame; `placed` and `removals` are in order of frame and
    id. A prompt after its removal brings an object back as a new one.
    """

    def __init__(
        self,
        placed: Iterable[PlacedPrompt],
        frames: FrameRange | None = None,
        removals: Iterable[Removal] = (),
        *,
        finds: bool = False,
    ) -> None:
        """Combine prompts that name the same object and frame; without a range, all are tracked.

        With `finds` a finder brings objects, and prompts need not be there.

        Raises:
            PromptError: There is none, two for one object and frame contradict each other, one
                lies outside the frames, or an object is removed while it is not there.
        """
        merged: dict[tuple[int, int], PlacedPrompt] = {}
        for item in placed:
            key = (item.frame, item.prompt.object_id)
            merged[key] = _combine(merged[key], item) if key in merged else item
        if not merged and not finds:
            raise PromptError(
                "nothing to track: no prompt was given",
                "add --box ID:X0,Y0,X1,Y1, --point ID:X,Y, --mask ID:FILE.png or --prompts FILE, "
                "or have objects found by --text, --everything, --motion or --detect",
            )
        self.finds = finds
        self.frames = frames or FrameRange()
        self.placed = tuple(merged[key] for key in sorted(merged))
        self._by_frame: dict[int, list[PlacedPrompt]] = {}
        for item in self.placed:
            self._by_frame.setdefault(item.frame, []).append(item)
        self.removals = tuple(sorted(set(removals)))
        self._removed_by_frame: dict[int, list[int]] = {}
        for removal in self.removals:
            self._removed_by_frame.setdefault(removal.frame, []).append(removal.object_id)
        self.check_range(None)
        self._check_removals()

    @property
    def first_frame(self) -> int:
        """The session's first frame: that of the first prompt, or of the range for a finder."""
        return self.frames.start if self.finds else self.placed[0].frame

    @property
    def first_frames(self) -> dict[int, int]:
        """Frame of the first prompt of each object."""
        frames: dict[int, int] = {}
        for item in self.placed:
            frames.setdefault(item.prompt.object_id, item.frame)
        return frames

    @property
    def most_at_once(self) -> int:
        """The largest number of objects that are tracked at the same time."""
        present: set[int] = set()
        most = 0
        for frame in sorted(self._by_frame.keys() | self._removed_by_frame.keys()):
            present -= set(self.removed(frame))
            present |= {item.prompt.object_id for item in self.due(frame)}
            most = max(most, len(present))
        return most

    @property
    def digest(self) -> str:
        """A hash, as hex, of all that is planned: equal for equal plans."""
        # Nothing but frozen dataclasses of numbers and text: masks are still compressed.
        return hashlib.sha256(repr((self.frames, self.placed, self.removals)).encode()).hexdigest()

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, ascending."""
        return tuple(sorted({item.prompt.object_id for item in self.placed}))

    @property
    def labels(self) -> dict[int, str | None]:
        """Label of each object, None where it has none."""
        return {item.prompt.object_id: item.prompt.label for item in self.placed}

    def due(self, frame: int) -> Sequence[PlacedPrompt]:
        """The prompts drawn on this frame."""
        return self._by_frame.get(frame, ())

    def removed(self, frame: int) -> Sequence[int]:
        """Ids of the objects that are gone from this frame on."""
        return self._removed_by_frame.get(frame, ())

    def check_size(self, height: int, width: int) -> None:
        """Check the prompts on the first frame of the range against its size in pixels.

        The others may be on frames of another size: what fits no frame at all is found here, the
        rest when their frame comes.

        Raises:
            PromptError: One does not fit.
        """
        for item in self.placed:
            if item.frame == self.frames.start:
                item.resolve().validate(height, width)
            else:
                item.resolve().validate()

    def check_range(self, frame_count: int | None) -> None:
        """Check prompts and removals against the range in a source of `frame_count` frames.

        Args:
            frame_count: Frames in the source; None where nobody knows.

        Raises:
            UsageError: No frame is left to track.
            PromptError: A prompt or a removal lies outside them.
        """
        start, stop = self.frames.start, self.frames.stop
        if frame_count is not None and start >= frame_count:
            raise UsageError(
                f"--start {start} is past the end of the source ({frame_count} frames)",
                f"frames are numbered 0..{frame_count - 1}",
            )
        named = [(item.frame, f"prompt for object {item.prompt.object_id}") for item in self.placed]
        named += [(item.frame, f"removal of object {item.object_id}") for item in self.removals]
        for frame, what in named:
            where = f"{what} on frame {frame}"
            if frame < start:
                raise PromptError(f"{where} is before --start {start}", "start there or earlier")
            if stop is not None and frame >= stop:
                raise PromptError(f"{where} is not before --stop {stop}", "stop later")
            if frame_count is not None and frame >= frame_count:
                raise PromptError(
                    f"{where} is past the end of the source ({frame_count} frames)",
                    f"frames are numbered 0..{frame_count - 1}",
                )

    def _check_removals(self) -> None:
        gone_since: dict[int, int] = {}
        for removal in self.removals:
            object_id, frame = removal.object_id, removal.frame
            prompted = [item.frame for item in self.placed if item.prompt.object_id == object_id]
            who = f"removal of object {object_id} on frame {frame}"
            if not prompted:
                raise PromptError(f"{who}: no prompt names this object", "check the id")
            if frame in prompted:
                raise PromptError(
                    f"{who}: it is prompted on the same frame", "remove it on an earlier frame"
                )
            if frame < prompted[0]:
                raise PromptError(
                    f"{who} is before its first prompt, on frame {prompted[0]}", "remove it later"
                )
            gone = gone_since.get(object_id)
            if gone is not None and not any(gone < other < frame for other in prompted):
                raise PromptError(f"{who}: it is gone since frame {gone}", "remove it once")
            gone_since[object_id] = frame


def _combine(first: PlacedPrompt, second: PlacedPrompt) -> PlacedPrompt:
    """One prompt from two for the same object and frame."""
    where = f"object {first.prompt.object_id} on frame {first.frame}"
    if first.mask is not None or second.mask is not None:
        raise PromptError(
            f"{where} has a mask and another prompt", "keep the mask or the clicks, not both"
        )
    if first.prompt.box_xyxy is not None and second.prompt.box_xyxy is not None:
        raise PromptError(f"{where} has two boxes", "keep one")
    prompt = replace(
        first.prompt,
        points_xy=first.prompt.points_xy + second.prompt.points_xy,
        point_labels=first.prompt.point_labels + second.prompt.point_labels,
        box_xyxy=first.prompt.box_xyxy or second.prompt.box_xyxy,
    )
    return replace(first, prompt=prompt)
