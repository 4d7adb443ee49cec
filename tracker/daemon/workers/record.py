"""Record of a stream, from which the daemon has a worker process go on with it."""

import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from tracker.daemon.messages import RestoreCommand
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.daemon.workers.messages import AddStream, SetPreviews
from tracker.protocol.data import Topic
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ObjectInfo
from tracker.types import ObjectState

_LOG = logging.getLogger("trackd.worker")


@dataclass(slots=True)
class StreamRecord:
    """A stream of a worker process, as the daemon knows it.

    Attributes:
        stream: Its name.
        trusted: The configuration names it.
        source: As reported last.
        tracking: Likewise.
        previews: That are wanted.
        snapshot: Its objects, as they were saved last; None where they were not.
        saved_s: When, by `time.monotonic()`.
        is_too_large: There was no room for the one that was saved last.
    """

    stream: str
    settings: StreamSettings
    numbers: FrameNumbers
    paused: bool
    trusted: bool
    source: SourceStatus
    tracking: TrackingStatus = field(default_factory=TrackingStatus)
    previews: frozenset[Topic] = frozenset()
    snapshot: bytes | None = None
    saved_s: float = 0.0
    is_too_large: bool = False

    @property
    def had_objects(self) -> bool:
        """True if objects, or their ids, are to be put back into a new process."""
        return bool(self.tracking.objects) or self.tracking.next_object_id > 1

    def saving_is_due(self, every_s: float) -> bool:
        """True if its objects were not saved for so long; asking takes the turn."""
        if not self.tracking.objects or time.monotonic() < self.saved_s + every_s:
            return False
        self.saved_s = time.monotonic()
        return True

    def keep(self, data: CommandResult, room: int) -> None:
        """Take in a snapshot, where it is no larger than `room`; else a warning says so once."""
        if not isinstance(data, bytes):
            return
        self.saved_s = time.monotonic()
        was_too_large, self.is_too_large = self.is_too_large, len(data) > room
        self.snapshot = None if self.is_too_large else data
        if self.is_too_large and not was_too_large:
            _LOG.warning(
                "stream %s: no room for its snapshot of %d MiB; should its worker fail, its "
                "objects come back as lost",
                self.stream,
                len(data) >> 20,
            )

    def remember(self, command: RestoreCommand) -> None:
        """Take note of objects that are put back, in case the process does not confirm it."""
        if command.objects is None:
            return
        lost = (
            ObjectInfo(
                id=number,
                label=label,
                state=ObjectState.LOST,
                score=0.0,
                box=None,
                found=number in command.found,
            )
            for number, label in command.objects
        )
        next_id = max(command.next_object_id, self.tracking.next_object_id)
        self.tracking = replace(self.tracking, objects=tuple(lost), next_object_id=next_id)
        self.snapshot = command.data

    def restoring(self) -> RestoreCommand:
        """The command that puts its objects back; those that the snapshot lacks are lost."""
        objects = tuple((obj.id, obj.label) for obj in self.tracking.objects)
        path, next_id = Path(f"of stream {self.stream}"), self.tracking.next_object_id
        found = tuple(obj.id for obj in self.tracking.objects if obj.found)
        return RestoreCommand(path, self.snapshot is None, objects, next_id, self.snapshot, found)

    def adding(self, own_ports: set[int], *, paused: bool) -> AddStream:
        """The message that adds it to a process."""
        return AddStream(
            stream=self.stream,
            settings=self.settings,
            first_seq=self.numbers.next,
            paused=paused,
            trusted=self.trusted,
            own_ports=tuple(own_ports),
        )

    def wanting(self) -> SetPreviews:
        """The message that says which previews are wanted."""
        return SetPreviews(stream=self.stream, topics=tuple(sorted(self.previews)))
