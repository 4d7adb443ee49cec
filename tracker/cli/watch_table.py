"""Live table of `trackd watch`, and its line for each message."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table

from tracker.cli.printable import printable
from tracker.cli.terminal import cells
from tracker.client import Event, Result
from tracker.protocol.data import EventMessage, EventName, MasksMessage, ObjectMessage

MAX_STREAMS = 256
MAX_EVENTS = 8
_FPS_FRAMES = 30
_SILENT_S = 2.0
_STATES = {
    EventName.STREAM_ADDED: "added",
    EventName.STREAM_CONNECTING: "connecting",
    EventName.STREAM_RUNNING: "running",
    EventName.STREAM_RETRYING: "retrying",
    EventName.STREAM_FAILED: "failed",
    EventName.STREAM_PAUSED: "paused",
    EventName.STREAM_ENDED: "ended",
}


def line(received: Result | Event) -> str:
    """One message as one line."""
    message = received.message
    text = _event(message) if isinstance(message, EventMessage) else _frame(message)
    return printable(text + (f"  lost {received.lost}" if received.lost else ""))


def _frame(message: MasksMessage) -> str:
    found = "; ".join(_object(item) for item in message.objects) or "nothing"
    return f"{message.stream} frame {message.frame.seq}  {_latency(message)}  {found}"


def _latency(message: MasksMessage) -> str:
    """From the frame's arrival to its masks, and what was given up for it."""
    budget = message.budget
    level = "" if budget is None else f", quality level {budget.quality_level}"
    return f"{message.timings.total_ms:.0f} ms{level}"


def _object(item: ObjectMessage) -> str:
    words = [str(item.id), item.label or "", _state(item), f"{item.score:.2f}", _box(item)]
    return " ".join(word for word in words if word)


def _state(item: ObjectMessage) -> str:
    return item.state.value if item.updated else f"{item.state.value}, no turn"


def _box(item: ObjectMessage) -> str:
    return "" if item.box is None else ",".join(str(edge) for edge in item.box)


def _event(message: EventMessage) -> str:
    parts = [message.stream, message.event.value]
    if message.object is not None:
        parts += ["object", str(message.object), message.label or ""]
    parts += [message.state.value if message.state is not None else "", message.text]
    return " ".join(part for part in parts if part)


@dataclass(slots=True)
class _Stream:
    """Row of a stream; `arrived_s` are the times of its newest messages."""

    state: str = ""
    newest: MasksMessage | None = None
    lost: int = 0
    arrived_s: "deque[float]" = field(default_factory=lambda: deque(maxlen=_FPS_FRAMES))

    @property
    def fps(self) -> float:
        """Messages per second, lately."""
        spent_s = self.arrived_s[-1] - self.arrived_s[0] if self.arrived_s else 0.0
        return (len(self.arrived_s) - 1) / spent_s if spent_s > 0 else 0.0

    def latency(self, now_s: float) -> str:
        """From a frame's arrival to its masks; or for how long there was none."""
        if self.newest is None:
            return ""
        silent_s = now_s - self.arrived_s[-1]
        if silent_s > _SILENT_S:
            return f"silent {silent_s:.0f} s"
        return _latency(self.newest)


class WatchTable:
    """Follows messages and draws what they say.

    Above `MAX_STREAMS` the stream that was silent longest is forgotten.
    """

    def __init__(self, *, show_events: bool) -> None:
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._events: deque[str] | None = deque(maxlen=MAX_EVENTS) if show_events else None

    def note(self, received: Result | Event, now_s: float) -> None:
        """Take note of a message that came at `now_s` on the monotonic clock."""
        name = received.message.stream
        stream = self._streams.setdefault(name, _Stream())
        self._streams.move_to_end(name)
        if len(self._streams) > MAX_STREAMS:
            self._streams.popitem(last=False)
        stream.lost += received.lost
        if isinstance(received, Event):
            self._note_event(received.message, stream)
        else:
            stream.newest = received.message
            stream.arrived_s.append(now_s)

    def _note_event(self, message: EventMessage, stream: _Stream) -> None:
        if self._events is not None:
            self._events.append(_event(message))
        if message.event is EventName.STREAM_REMOVED:
            del self._streams[message.stream]
        else:
            stream.state = _STATES.get(message.event, stream.state)

    def render(self, now_s: float) -> Group:
        """The table as it stands at `now_s`, and the newest events below it."""
        table = Table(
            "stream", "fps", "latency", "lost", "object", "label", "state", "score", "box"
        )
        for column in (1, 2, 3, 4, 7):
            table.columns[column].justify = "right"
        for name in sorted(self._streams):
            self._add(table, name, self._streams[name], now_s)
        return Group(table, *cells(*self._events or ()))

    def _add(self, table: Table, name: str, stream: _Stream, now_s: float) -> None:
        objects = stream.newest.objects if stream.newest is not None else []
        named = f"{name} {stream.state}".rstrip()
        of_stream = (named, f"{stream.fps:.1f}", stream.latency(now_s), str(stream.lost))
        if not objects:
            table.add_row(*cells(*of_stream), end_section=True)
        for row, item in enumerate(objects):
            of_object = (str(item.id), item.label or "", _state(item), f"{item.score:.2f}")
            table.add_row(
                *cells(*(of_stream if row == 0 else ("", "", "", "")), *of_object, _box(item)),
                end_section=row == len(objects) - 1,
            )
