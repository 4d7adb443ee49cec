"""The WebSocket of a page that shows a project: its edits in, status and answers out."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket

from tracker.errors import UsageError
from tracker.project.messages import DrawnPrompt
from tracker.studio.open_project import OpenProject
from tracker.studio.page_socket import PageSocket

MAX_TEXT = 6 * 2**20  # a painted mask is the longest
_Id = Annotated[int, Field(ge=1, le=10**9)]
_FrameNumber = Annotated[int, Field(ge=0, le=10**9)]
_Label = Annotated[str, Field(min_length=1, max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DraftRequest(_Strict):
    """The mask that a prompt would give; `object` is None for a new one."""

    op: Literal["draft"]
    object: _Id | None = None
    prompt: DrawnPrompt


class PromptRequest(_Strict):
    """A prompt to keep."""

    op: Literal["prompt"]
    object: _Id | None = None
    prompt: DrawnPrompt


class AtFrame(_Strict):
    """What concerns an object on a frame."""

    op: Literal["remove_prompt", "end_object"]
    object: _Id
    frame: _FrameNumber


class OfObject(_Strict):
    """What concerns an object."""

    op: Literal["remove_object"]
    object: _Id


class Relabel(_Strict):
    """A name for an object; None takes it away."""

    op: Literal["relabel"]
    object: _Id
    label: _Label | None


class Plain(_Strict):
    """What concerns the project."""

    op: Literal["undo", "track", "stop"]


class Backward(_Strict):
    """Whether objects are tracked towards the start, too."""

    op: Literal["backward"]
    on: bool


ProjectRequest = Annotated[
    DraftRequest | PromptRequest | AtFrame | OfObject | Relabel | Plain | Backward,
    Field(discriminator="op"),
]


class Call(_Strict):
    """A request, and the number by which it is answered."""

    type: Literal["call"]
    id: Annotated[int, Field(ge=0)]
    request: ProjectRequest


_CALL: TypeAdapter[Call] = TypeAdapter(Call)


class ProjectSession:
    """Serves one page until it goes."""

    def __init__(self, socket: WebSocket, opened: OpenProject) -> None:
        self._page = PageSocket(socket, MAX_TEXT)
        self._opened = opened

    async def serve(self) -> None:
        """Until the page goes, or breaks the rules."""
        self._opened.join(self)
        try:
            await self._page.serve(self._take)
        finally:
            self._opened.leave(self)

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""
        self._page.tell(message)

    def _take(self, text: str) -> None:
        call = _CALL.validate_json(text)
        self._page.call(call.id, lambda: self._do(call.request))

    async def _do(self, request: ProjectRequest) -> Any:
        try:
            return await self._result(request)
        except ValidationError as error:
            raise UsageError("that is no prompt", "draw it again") from error

    async def _result(self, request: ProjectRequest) -> Any:
        opened = self._opened
        match request:
            case DraftRequest():
                return await opened.draft(request.object, request.prompt)
            case PromptRequest():
                return await opened.prompt(request.object, request.prompt)
            case AtFrame(op="remove_prompt"):
                return await opened.remove_prompt(request.object, request.frame)
            case AtFrame():
                return await opened.end_object(request.object, request.frame)
            case OfObject():
                return await opened.remove_object(request.object)
            case Relabel():
                return await opened.relabel(request.object, request.label)
            case Backward():
                return await opened.track_backward(request.on)
            case Plain(op="undo"):
                return await opened.undo()
            case Plain(op="track"):
                return await opened.worker.track()
            case _:
                return await opened.worker.pause()
