"""Snapshots in a recording, from which it is tracked again."""

from dataclasses import dataclass

from tracker.daemon.record.snapshots import MAX_SNAPSHOT_BYTES
from tracker.errors import SnapshotError
from tracker.protocol.recording import NoteTopic, SnapshotNote, segment_stem
from tracker.replay.recording import RecordedMessage, Recording, segment_messages
from tracker.replay.span import utc_text


@dataclass(frozen=True, slots=True)
class RecordedSnapshot:
    """A snapshot of a stream's tracker.

    Attributes:
        note: When it was taken, and what a session does not hold.
        session: Snapshot of the session, as in a state folder.
    """

    note: SnapshotNote
    session: bytes

    @classmethod
    def of(cls, message: RecordedMessage) -> "RecordedSnapshot":
        """Read a message of `NoteTopic.SNAPSHOTS`.

        Raises:
            SnapshotError: It is damaged, of another version, or too large.
        """
        try:
            text, session = message.parts
            note = SnapshotNote.model_validate_json(text, extra="ignore")
        except ValueError as error:
            at = utc_text(message.at_ns)
            raise SnapshotError(f"the snapshot of {at} cannot be understood") from error
        if len(session) > MAX_SNAPSHOT_BYTES:
            raise SnapshotError(f"the snapshot of {utc_text(message.at_ns)} is too large")
        return cls(note, session)

    @property
    def name(self) -> str:
        """Its place, for people."""
        after = self.note.after_seq
        return "before the first frame" if after is None else f"after frame {after}"


def newest_snapshot(recording: Recording, before_ns: int) -> tuple[Recording, int] | None:
    """The recording from its newest snapshot at a time or before it, and when that was stored.

    Raises:
        TrackdError: A file is damaged.
    """
    last = segment_stem(before_ns)
    segments = [one for one in recording.segments if one.stem <= last]
    for index in reversed(range(len(segments))):
        times_ns = [
            message.at_ns
            for message in segment_messages(segments[index])
            if message.topic == NoteTopic.SNAPSHOTS and message.at_ns <= before_ns
        ]
        if times_ns:
            return Recording(recording.folder, recording.segments[index:]), times_ns[-1]
    return None
