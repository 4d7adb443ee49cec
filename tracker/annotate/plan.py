"""Which prompt is due on which frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tracker.annotate.masks import Rle, decode_rle
from tracker.errors import PromptError, UsageError
from tracker.types import Prompt


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
            who = f"prompt for object {self.prompt.object_id}"
            raise PromptError(f"{who}: {error.message}", error.hint) from error


class PromptPlan:
    """What to track: the frames, and the prompts on them.

    At most one prompt per object and frame; `placed` is in order of frame and id.
    """

    def __init__(self, placed: Iterable[PlacedPrompt], frames: FrameRange) -> None:
        """Combine prompts that name the same object and frame.

        Raises:
            PromptError: There is none, two for one object and frame contradict each other, or
                one lies outside the frames.
        """
        merged: dict[tuple[int, int], PlacedPrompt] = {}
        for item in placed:
            key = (item.frame, item.prompt.object_id)
            merged[key] = _combine(merged[key], item) if key in merged else item
        if not merged:
            raise PromptError(
                "nothing to track: no prompt was given",
                "add --box ID:X0,Y0,X1,Y1, --point ID:X,Y, --mask ID:FILE.png or --prompts FILE",
            )
        self.frames = frames
        self.placed = tuple(merged[key] for key in sorted(merged))
        self._by_frame: dict[int, list[PlacedPrompt]] = {}
        for item in self.placed:
            self._by_frame.setdefault(item.frame, []).append(item)
        self.check_range(None)

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

    def check_size(self, height: int, width: int) -> None:
        """Check every prompt against the frame size in pixels.

        Raises:
            PromptError: One does not fit.
        """
        for item in self.placed:
            item.resolve().validate(height, width)

    def check_range(self, frame_count: int | None) -> None:
        """Check every prompt against the frames to track of a source of `frame_count` frames.

        Args:
            frame_count: Frames in the source; None where nobody knows.

        Raises:
            UsageError: No frame is left to track.
            PromptError: A prompt lies outside them.
        """
        start, stop = self.frames.start, self.frames.stop
        if frame_count is not None and start >= frame_count:
            raise UsageError(
                f"--start {start} is past the end of the source ({frame_count} frames)",
                f"frames are numbered 0..{frame_count - 1}",
            )
        for item in self.placed:
            where = f"prompt for object {item.prompt.object_id} on frame {item.frame}"
            if item.frame < start:
                raise PromptError(f"{where} is before --start {start}", "start there or earlier")
            if stop is not None and item.frame >= stop:
                raise PromptError(f"{where} is not before --stop {stop}", "stop later")
            if frame_count is not None and item.frame >= frame_count:
                raise PromptError(
                    f"{where} is past the end of the source ({frame_count} frames)",
                    f"frames are numbered 0..{frame_count - 1}",
                )


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
