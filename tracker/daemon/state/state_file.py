"""The file `streams.json` of the state folder: which streams there are, and their objects."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError

from streams.access.bounded_file import read_at_most
from tracker.atomic import write_atomically
from tracker.daemon.state.moment import Moment
from tracker.daemon.tracking.frame_numbers import RESERVED
from tracker.errors import OutputError, StateError, TrackdError
from tracker.protocol.fields import Message, OwnerEpoch, SavedObject, StreamName, StreamSettings

MAX_STATE_BYTES = 2**28
_COPIES = 8
Seq = Annotated[int, Field(ge=0, le=2**53)]


class SavedStream(Message):
    """A stream as it was.

    Attributes:
        settings: Its source; holds credentials.
        paused: It was not to run.
        configured: The configuration named it then.
        next_seq: Number of its first frame after a restart: all that it gave out are below.
        next_object_id: Ids below it are not given to new objects.
        objects: In the order of their ids.
        snapshot_at: When their snapshot was taken; None where that is not known.
        owner_epoch: As `stream.add` gave it.
    """

    settings: StreamSettings
    paused: bool
    configured: bool = False
    next_seq: Seq
    next_object_id: Annotated[int, Field(ge=1)]
    objects: tuple[SavedObject, ...]
    snapshot_at: Moment | None = None
    owner_epoch: OwnerEpoch = 0


class SavedState(Message):
    """All of it.

    Attributes:
        version: 2; in 1 the numbers of frames were those at the time, not bounds.
        saved_at_s: Wall clock, in seconds since 1970.
        first_seq: Number of the first frame of streams that are not among these.
        streams: By name.
    """

    version: Literal[1, 2] = 2
    saved_at_s: float
    first_seq: Seq = 0
    streams: dict[StreamName, SavedStream]


def read_state(path: Path) -> SavedState | None:
    """Read what `write_state` wrote; None where there is no such file.

    A file that cannot be understood stays where it is, so that every start is refused until
    somebody decides; a copy is kept beside it, of each such file one.

    Raises:
        StateError: It is damaged, or of another version.
        TrackdError: It cannot be read.
    """
    try:
        data = read_at_most(path, MAX_STATE_BYTES)
        return _upgraded(SavedState.model_validate_json(data))
    except FileNotFoundError:
        return None
    except OSError as err:
        raise TrackdError(
            f"cannot read the saved streams in {path}: {err.strerror}",
            "give the daemon's user the right to read it",
        ) from err
    except ValidationError as err:
        copy = _copied(path, data)
        kept = f"a copy is in {copy.name}" if copy else f"{_COPIES} copies are there, none was made"
        raise StateError(
            f"the saved streams in {path} {_fault(data, err)}",
            f"fix the file or use the trackd that wrote it; or start once with "
            f"--ignore-unreadable-state, without its streams; {kept}",
        ) from err


def _fault(data: bytes, err: ValidationError) -> str:
    """Fault in the file, without anything that it holds."""
    try:
        version = json.loads(data)["version"]
    except (ValueError, RecursionError, TypeError, KeyError):
        version = None
    newest = max(get_args(SavedState.model_fields["version"].annotation))
    if isinstance(version, int) and version > newest:
        return f"are of version {version}; this trackd reads up to {newest}"
    first = err.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return f"are damaged or of another version: {where}: {first['msg']}"


def _copied(path: Path, data: bytes) -> Path | None:
    """Keep a copy that no later one takes the place of; None where there is no room for it."""
    for number in range(1, _COPIES + 1):
        copy = path.with_name(path.name + (".broken" if number == 1 else f".broken-{number}"))
        try:
            if read_at_most(copy, MAX_STATE_BYTES) == data:
                return copy
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                write_atomically(copy, data, mode=0o600)
                return copy
        except OSError:
            continue
    return None


def _upgraded(state: SavedState) -> SavedState:
    """The same in version 2; a crash may have followed, so numbers begin a block later."""
    if state.version != 1:
        return state
    streams = {
        name: stream.model_copy(update={"next_seq": stream.next_seq + RESERVED})
        for name, stream in state.streams.items()
    }
    first_seq = max((stream.next_seq for stream in streams.values()), default=0)
    return state.model_copy(update={"version": 2, "first_seq": first_seq, "streams": streams})


def write_state(path: Path, state: SavedState) -> None:
    """Write atomically; only the owner can read it.

    Raises:
        OutputError: It cannot be written; what was at `path` is still there.
    """
    data = state.model_dump_json(indent=2).encode() + b"\n"
    try:
        write_atomically(path, data, mode=0o600)
    except OSError as err:
        raise OutputError(
            f"cannot write the streams to {path}: {err.strerror}",
            "make room, or choose another state.dir",
        ) from err
