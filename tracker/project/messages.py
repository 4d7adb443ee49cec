"""Messages between a program that shows a project and the worker that tracks it.

One JSON object on each line: requests on the worker's standard input, its answers and status on its
standard output. The end of the input ends the worker.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tracker.annotate.plan import PlacedPrompt
from tracker.annotate.prompts_file import RleMask
from tracker.rle import Rle
from tracker.types import Prompt

MAX_LINE_BYTES = 8 * 2**20
_Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DrawnPrompt(_Strict):
    """What was drawn for an object on a frame; as in a prompts file, but no names of files."""

    frame: Annotated[int, Field(ge=0, le=10**9)]
    points: Annotated[tuple[tuple[_Coordinate, _Coordinate], ...], Field(max_length=64)] = ()
    labels: Annotated[tuple[Literal[0, 1], ...], Field(max_length=64)] = ()
    box: tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate] | None = None
    mask: RleMask | None = None

    def placed(self, object_id: int) -> PlacedPrompt:
        """The prompt for an object."""
        prompt = Prompt(object_id, self.points, self.labels, self.box)
        mask = None if self.mask is None else Rle(*self.mask.size, self.mask.counts)
        return PlacedPrompt(self.frame, prompt, mask)


class Draft(_Strict):
    """Asks for the mask that a prompt would give."""

    op: Literal["draft"] = "draft"
    id: int
    object: Annotated[int, Field(ge=1, le=10**9)]
    prompt: DrawnPrompt


class Changed(_Strict):
    """The prompts on the disk have changed, or in which directions they are tracked."""

    op: Literal["changed"] = "changed"


class Track(_Strict):
    """Tracking may go on, or begin again after a failure."""

    op: Literal["track"] = "track"


class Stop(_Strict):
    """Tracking is to stop until it is asked for; what was tracked is kept."""

    op: Literal["stop"] = "stop"


Request = Draft | Changed | Track | Stop
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])


class DraftMask(_Strict):
    """The mask that a prompt would give."""

    event: Literal["draft"] = "draft"
    id: int
    object: int
    score: float
    mask: RleMask


class DraftRefused(_Strict):
    """Why there is no mask."""

    event: Literal["refused"] = "refused"
    id: int
    message: str
    hint: str = ""


class Status(_Strict):
    """How far the worker is.

    Attributes:
        state: "loading" the model, "tracking" onward, "backward", "idle" with all tracked,
            "stopped" by request, "failed" as `error` says.
        tracked_to: The first frame that is not tracked with the present prompts.
        done: Everything is tracked.
        fps: Frames a second of what is under way.
    """

    event: Literal["status"] = "status"
    state: Literal["loading", "tracking", "backward", "idle", "stopped", "failed"]
    tracked_to: int = 0
    done: bool = False
    fps: float = 0.0
    error: str = ""


Event = DraftMask | DraftRefused | Status
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
