"""Messages between a worker and its finder process: one part each, JSON of one of these models.

The picture of a search lies in memory that both share, see `shared_picture`.
"""

from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter, ValidationError

from tracker.daemon.config.schema import ModelConfig
from tracker.daemon.workers.channel import ChannelError
from tracker.protocol.fields import (
    FinderName,
    FinderOption,
    Label,
    Message,
    RleMask,
    Share,
)

#: Proposals of one search that are sent, the best.
MAX_SENT = 64
#: Of one message; masks beyond are left out.
MAX_MESSAGE_BYTES = 16 * 2**20
_Edge = Annotated[float, Field(allow_inf_nan=False, ge=0, le=16384)]
_Count = Annotated[int, Field(ge=0)]


class Setup(Message):
    """First message to the process."""

    type: Literal["setup"] = "setup"
    model: ModelConfig


class Search(Message):
    """Look at the picture; answered with `Begun`, then with `Found` or `Failed`.

    Attributes:
        owner: The stream whose frames the finder learns from; "" for one that knows nothing of the
            frames before, which all streams share.
        height: Of the picture, in pixels.
        width: Likewise.
        wanted: The proposals are wanted, and not only to be learned from.
    """

    type: Literal["search"] = "search"
    id: int
    owner: str
    finder: FinderName
    options: dict[str, FinderOption]
    phrases: tuple[str, ...]
    height: int
    width: int
    wanted: bool


class Forget(Message):
    """A stream is gone; not answered."""

    type: Literal["forget"] = "forget"
    owner: str


class Begun(Message):
    """The finder is loaded, and looks."""

    type: Literal["begun"] = "begun"
    id: int


class FoundItem(Message):
    """A checked proposal; see `tracker.finders.base.Proposal`."""

    box: tuple[_Edge, _Edge, _Edge, _Edge]
    score: Share
    label: Label | None
    area: Annotated[float, Field(ge=0)]
    mask: RleMask | None


class Found(Message):
    """Proposals, the best first.

    Attributes:
        left_out: Nonsense, and more than are sent.
    """

    type: Literal["found"] = "found"
    id: int
    items: Annotated[tuple[FoundItem, ...], Field(max_length=MAX_SENT)]
    left_out: _Count


class Failed(Message):
    """The finder cannot be loaded, or raised."""

    type: Literal["failed"] = "failed"
    id: int
    message: str
    hint: str


ToFinder = Setup | Search | Forget
FromFinder = Begun | Found | Failed
_TO_FINDER: TypeAdapter[Any] = TypeAdapter(Annotated[ToFinder, Field(discriminator="type")])
_FROM_FINDER: TypeAdapter[Any] = TypeAdapter(Annotated[FromFinder, Field(discriminator="type")])


def packed(message: ToFinder | FromFinder) -> list[bytes]:
    """Parts of a message."""
    return [message.model_dump_json().encode()]


def to_finder(parts: list[bytes]) -> ToFinder:
    """The message to a finder process.

    Raises:
        ChannelError: It is no such message.
    """
    return cast(ToFinder, _read(_TO_FINDER, parts[0]))


def from_finder(parts: list[bytes]) -> FromFinder:
    """The message from a finder process; raises as `to_finder`."""
    return cast(FromFinder, _read(_FROM_FINDER, parts[0]))


def _read(adapter: TypeAdapter[Any], data: bytes) -> Any:
    try:
        return adapter.validate_json(data)
    except ValidationError as err:
        raise ChannelError(f"no message: {err.errors(include_input=False)[:1]}") from err
