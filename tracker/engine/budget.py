"""Compute budget of a frame: less of it is faster, and worse."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """Input size, memories and objects of a frame; by default all that the model was trained for.

    Attributes:
        input_size: Side in pixels of the square that a frame is resized to; None for the model's
            own. Only resizable models take another, see `tracker.models.resized`.
        memories: Recent maps that an object recalls, the newest ones, beside those of prompted
            frames; None for as many as the model knows.
        objects_per_frame: Objects tracked on a frame: those whose turn was longest ago. The
            others are shown as in `ObjectResult.fresh`. None for all.

    Raises:
        ValueError: Fewer than no memories, or than one object.
    """

    input_size: int | None = None
    memories: int | None = None
    objects_per_frame: int | None = None

    def __post_init__(self) -> None:
        if self.memories is not None and self.memories < 0:
            raise ValueError(f"an object cannot recall {self.memories} memories")
        if self.objects_per_frame is not None and self.objects_per_frame < 1:
            raise ValueError(f"a frame takes an object or more, not {self.objects_per_frame}")


FULL = ComputeBudget()
