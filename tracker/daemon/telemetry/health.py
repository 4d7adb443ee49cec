"""Health checks behind `/healthz` and `/readyz`: faults and gaps, in words.

`/healthz` asks whether a restart would help: a thread is gone, or at one piece of work for longer
than any takes. `/readyz` asks whether the daemon does what it is there for: its state is kept, and
of the streams that should run at least one does. A full or hanging disk, and cameras that are off,
make it not ready but not ill, since a restart would only lose what it still tracks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tracker.daemon.telemetry.status import SavingStatus, SourceStatus
from tracker.protocol.replies import StreamState

#: The longest that the threads of the sockets are at one request or message.
SOCKETS_BUSY_S = 10.0
#: The tracker's longest turn, a prompt on an old frame, takes minutes where the processor is slow.
TRACKER_BUSY_S = 300.0

_DELIVERS = (StreamState.RUNNING, StreamState.CONNECTING)
_SHOULD_RUN = (*_DELIVERS, StreamState.RETRYING, StreamState.FAILED)
_NAMES = 8


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One of the daemon's threads: whether it runs, and how long it has been at one thing."""

    name: str
    runs: bool
    busy_s: float = 0.0
    busy_limit_s: float = SOCKETS_BUSY_S


@dataclass(frozen=True, slots=True)
class Health:
    """Faults, one line each without secrets; all is well where there are none.

    Attributes:
        faults: What a restart may fix.
        gaps: Why it is not ready.
    """

    faults: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def examine(
    parts: "list[PartStatus]",
    sources: Mapping[str, SourceStatus],
    saving: SavingStatus | None,
) -> Health:
    """Look at all parts of a daemon that runs."""
    faults = [*_stuck(parts), *_unwatched(sources)]
    if saving is not None and not saving.healthy:
        faults.append("saving: its thread is gone")
    gaps = [*faults, *_silent(sources)]
    if saving is not None and saving.problem:
        gaps.append(f"the state is not being saved: {saving.problem}")
    return Health(tuple(faults), tuple(gaps))


def _stuck(parts: "list[PartStatus]") -> Iterator[str]:
    for part in parts:
        if not part.runs:
            yield f"{part.name}: its thread is gone"
        elif part.busy_s > part.busy_limit_s:
            yield f"{part.name}: no sign of life for {part.busy_s:.0f} s"


def _unwatched(sources: Mapping[str, SourceStatus]) -> Iterator[str]:
    for stream, source in sources.items():
        if not source.healthy:
            yield f"stream {stream}: the thread that watches it is gone"


def _silent(sources: Mapping[str, SourceStatus]) -> Iterator[str]:
    """True if none of the sources that should run does.

    A source that gives no frame for `stall_timeout_s`, or is not open in time, is retrying: its
    state says whether it has the frames that are expected of it.
    """
    states = {name: one.state for name, one in sources.items() if one.state in _SHOULD_RUN}
    if states and not any(state in _DELIVERS for state in states.values()):
        shown = [f"{name} {state}" for name, state in list(states.items())[:_NAMES]]
        more = f" and {len(states) - _NAMES} more" if len(states) > _NAMES else ""
        yield f"no stream gives frames: {', '.join(shown)}{more}"
