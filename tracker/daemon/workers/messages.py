"""Messages between the daemon and a worker process, and their bytes.

The first part of each is the JSON of one of these models; the parts that follow hold what is not
looked at on the way, or is no JSON.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.messages import Command, Event, RestoreCommand
from tracker.daemon.publish.encoder import EncodedFrame, EncodedPreview
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus, WorkerStatus
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers.channel import ChannelError
from tracker.daemon.workers.model_info import ModelInfo
from tracker.protocol.data import Topic
from tracker.protocol.fields import Epoch, Message, StreamName, StreamSettings
from tracker.protocol.recording import NoteTopic
from tracker.protocol.replies import ErrorBody


class Setup(Message):
    """First message to a worker: what it is, and the daemon's configuration without streams."""

    type: Literal["setup"] = "setup"
    name: str
    config: DaemonConfig
    epoch: Epoch
    threads: int


class SetThreads(Message):
    """Compute with so many threads at most from now on."""

    type: Literal["threads"] = "threads"
    threads: int


class AddStream(Message):
    """See `Worker.add`; `own_ports` are those that the daemon listens on."""

    type: Literal["add"] = "add"
    stream: StreamName
    settings: StreamSettings
    first_seq: int
    paused: bool
    trusted: bool
    own_ports: tuple[int, ...]


class PauseStream(Message):
    """See `Worker.pause`."""

    type: Literal["pause"] = "pause"
    stream: StreamName


class ResumeStream(Message):
    """See `Worker.resume`."""

    type: Literal["resume"] = "resume"
    stream: StreamName


class RecordStream(Message):
    """See `Worker.record`."""

    type: Literal["record"] = "record"
    stream: StreamName
    on: bool


class RemoveStream(Message):
    """See `Worker.remove`; answered with `Done`."""

    type: Literal["remove"] = "remove"
    id: int
    stream: StreamName


class SetPreviews(Message):
    """Previews of a stream that are wanted from now on."""

    type: Literal["previews"] = "previews"
    stream: StreamName
    topics: tuple[Topic, ...]


class Submit(Message):
    """Command for a stream, whose JSON is in part 1 and its data in part 2; answered with `Done`.

    Attributes:
        client: Of the request, in hexadecimal digits.
        command: Name of its class.
    """

    type: Literal["submit"] = "submit"
    id: int
    stream: StreamName
    client: str
    command: str


class Cancel(Message):
    """Do not apply a command that waits."""

    type: Literal["cancel"] = "cancel"
    id: int


class LetGo(Message):
    """See `Worker.let_go`; answered with `Done`, after which no frame is numbered."""

    type: Literal["let_go"] = "let_go"
    id: int


class CloseSources(Message):
    """See `Worker.close_sources`; answered with `Done`, or an error where a thread hangs."""

    type: Literal["close"] = "close"
    id: int
    timeout_s: float


class Ping(Message):
    """Are you there? Answered with `Pong`."""

    type: Literal["ping"] = "ping"


class PixelsGiven(Message):
    """Answer to `AskPixels`: how many pixels a frame of the stream may have."""

    type: Literal["pixels"] = "pixels"
    id: int
    room: int
    fits: bool


class Ready(Message):
    """The model is warm."""

    type: Literal["ready"] = "ready"
    model: ModelInfo


class Failed(Message):
    """The worker cannot start."""

    type: Literal["failed"] = "failed"
    message: str
    hint: str


class Done(Message):
    """Result of a command or another request; its bytes are in part 1.

    Attributes:
        result: Name of its class, "bytes", or "" for nothing.
        error: Why there is none.
        next_seq: Of a removed stream, as in `Report`.
    """

    type: Literal["done"] = "done"
    id: int
    next_seq: int = 0
    result: str = ""
    error: ErrorBody | None = None


class Pong(Message):
    """Status of the worker."""

    type: Literal["pong"] = "pong"
    status: WorkerStatus


class Report(Message):
    """Status of a stream: of its source in part 1, of its objects in part 2.

    Attributes:
        next_seq: Number of the next frame; none so high was given out.
    """

    type: Literal["report"] = "report"
    stream: StreamName
    next_seq: int


class Happened(Message):
    """An event, in part 1."""

    type: Literal["event"] = "event"


class FrameDone(Message):
    """A tracked frame: body, `latest`, blobs, and then body and JPEG of each of the previews."""

    type: Literal["frame"] = "frame"
    stream: StreamName
    frame_seq: int
    dropped: int
    latest: bool
    previews: tuple[Topic, ...]
    wire_s: float
    total_s: float


class Noted(Message):
    """A note for the recording of a stream, in part 1 and those after it."""

    type: Literal["noted"] = "noted"
    stream: StreamName
    topic: NoteTopic


class AskPixels(Message):
    """How many pixels may a frame have? With `pixels` that many are taken, where they fit."""

    type: Literal["ask_pixels"] = "ask_pixels"
    id: int
    stream: StreamName
    pixels: int | None = None


class LeavePixels(Message):
    """The pixels of a stream are free again."""

    type: Literal["leave_pixels"] = "leave_pixels"
    stream: StreamName


ToWorker = (
    Setup
    | SetThreads
    | AddStream
    | PauseStream
    | ResumeStream
    | RecordStream
    | RemoveStream
    | SetPreviews
    | Submit
    | Cancel
    | LetGo
    | CloseSources
    | Ping
    | PixelsGiven
)
FromWorker = (
    Ready | Failed | Done | Pong | Report | Happened | FrameDone | Noted | AskPixels | LeavePixels
)
_TO_WORKER: TypeAdapter[Any] = TypeAdapter(Annotated[ToWorker, Field(discriminator="type")])
_FROM_WORKER: TypeAdapter[Any] = TypeAdapter(Annotated[FromWorker, Field(discriminator="type")])

_COMMANDS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(Command)
}
_RESULTS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in get_args(CommandResult) if issubclass(kind, Message)
}
_SOURCE = TypeAdapter(SourceStatus)
_TRACKING = TypeAdapter(TrackingStatus)
_EVENT = TypeAdapter(Event)


def packed(message: BaseModel, *parts: bytes) -> list[bytes]:
    """Parts of a message."""
    return [message.model_dump_json().encode(), *parts]


def to_worker(parts: Sequence[bytes]) -> ToWorker:
    """What the daemon says to a worker.

    Raises:
        ChannelError: It is no such message.
    """
    return cast(ToWorker, _read(_TO_WORKER, parts[0]))


def from_worker(parts: Sequence[bytes]) -> FromWorker:
    """What a worker says; raises as `to_worker`."""
    return cast(FromWorker, _read(_FROM_WORKER, parts[0]))


def pack_command(number: int, stream: str, client: bytes, command: Command) -> list[bytes]:
    """Parts of a `Submit`."""
    name, data = type(command).__name__, getattr(command, "data", None)
    submit = Submit(id=number, stream=stream, client=client.hex(), command=name)
    text = _COMMANDS[name].dump_json(command, exclude={"data"})
    return packed(submit, text, *([] if data is None else [data]))


def read_command(submit: Submit, parts: Sequence[bytes]) -> Command:
    """The command of a `Submit`."""
    command = _read(_COMMANDS[submit.command], parts[1])
    if isinstance(command, RestoreCommand) and len(parts) > 2:
        object.__setattr__(command, "data", parts[2])
    return cast(Command, command)


def pack_result(number: int, result: CommandResult) -> list[bytes]:
    """Parts of a `Done`."""
    if result is None:
        return packed(Done(id=number))
    if isinstance(result, bytes):
        return packed(Done(id=number, result="bytes"), result)
    done = Done(id=number, result=type(result).__name__)
    return packed(done, result.model_dump_json().encode())


def read_result(done: Done, parts: Sequence[bytes]) -> CommandResult:
    """The result of a `Done` without an error; raises as `to_worker`."""
    if not done.result:
        return None
    if len(parts) < 2:
        raise ChannelError("a result without its bytes")
    if done.result == "bytes":
        return parts[1]
    try:
        return cast(CommandResult, _RESULTS[done.result].model_validate_json(parts[1]))
    except (KeyError, ValidationError) as err:
        raise ChannelError(f"no result: {err}") from err


def pack_report(
    stream: str, next_seq: int, source: SourceStatus, tracking: TrackingStatus
) -> list[bytes]:
    """Parts of a `Report`."""
    report = Report(stream=stream, next_seq=next_seq)
    return packed(report, _SOURCE.dump_json(source), _TRACKING.dump_json(tracking))


def read_report(parts: Sequence[bytes]) -> tuple[SourceStatus, TrackingStatus]:
    """The statuses of a `Report`; raises as `to_worker`."""
    return _read(_SOURCE, parts[1]), _read(_TRACKING, parts[2])


def pack_event(event: Event) -> list[bytes]:
    """Parts of a `Happened`."""
    return packed(Happened(), _EVENT.dump_json(event))


def read_event(parts: Sequence[bytes]) -> Event:
    """The event of a `Happened`; raises as `to_worker`."""
    return cast(Event, _read(_EVENT, parts[1]))


def pack_frame(frame: EncodedFrame) -> list[bytes]:
    """Parts of a `FrameDone`."""
    done = FrameDone(
        stream=frame.stream,
        frame_seq=frame.frame_seq,
        dropped=frame.dropped,
        latest=frame.latest is not None,
        previews=tuple(preview.topic for preview in frame.previews),
        wire_s=frame.wire_s,
        total_s=frame.total_s,
    )
    latest = [] if frame.latest is None else [frame.latest]
    previews = [part for preview in frame.previews for part in (preview.body, preview.jpeg)]
    return packed(done, frame.body, *latest, *frame.blobs, *previews)


def read_frame(done: FrameDone, parts: Sequence[bytes]) -> EncodedFrame:
    """The frame of a `FrameDone`; raises as `to_worker`."""
    begin, end = 2 + done.latest, len(parts) - 2 * len(done.previews)
    if end < begin:
        raise ChannelError("a frame without its parts")
    pictures = zip(done.previews, parts[end::2], parts[end + 1 :: 2], strict=True)
    return EncodedFrame(
        done.stream,
        done.frame_seq,
        done.dropped,
        parts[1],
        tuple(parts[begin:end]),
        parts[2] if done.latest else None,
        tuple(EncodedPreview(topic, body, jpeg) for topic, body, jpeg in pictures),
        done.wire_s,
        done.total_s,
    )


def _read(adapter: TypeAdapter[Any], data: bytes) -> Any:
    try:
        return adapter.validate_json(data)
    except ValidationError as err:
        raise ChannelError(f"no message: {err.errors(include_input=False)[:1]}") from err
