"""State folder of a run, from which it goes on after an interruption.

It holds `run.json` (what the run is), `results.jsonl` (the results of every frame so far) and
`snapshot` (the session after a recent frame; gone when the run is finished). The snapshot is the
truth: results of frames after it are tracked again.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from streams.access.bounded_file import read_at_most
from tracker.annotate.journal import Journal
from tracker.atomic import write_atomically
from tracker.engine import Policy
from tracker.errors import OutputError, SnapshotError, UsageError

MAX_DESCRIPTION_BYTES = 16 * 2**20

#: Version of the folder's files. Another one is refused: its runs cannot be gone on with.
STATE_VERSION: Literal[2] = 2


class _Versioned(BaseModel):
    version: int


class RunDescription(BaseModel):
    """Identity of a run; it must be the same for the run to go on.

    Attributes:
        source: Address without credentials, an absolute path for files.
        content: Digest of what the source holds.
        width, height: Of the first frame, in pixels.
        frame_count: As the container claims.
        fingerprint: Of the model's weights.
        plan: Digest of prompts, removals and range.
        outputs: Absolute path of each output.
        segmenter: Name of what makes the first masks; None where the tracker does.
        finished: Nothing is left to do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] = STATE_VERSION
    source: str
    content: str
    width: int
    height: int
    frame_count: int | None
    model: str
    fingerprint: str
    device: str
    dtype: str
    policy: Policy
    plan: str
    outputs: dict[str, str]
    segmenter: str | None = None
    finished: bool = False


class RunState:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        """Look into `folder`, which need not exist; nothing is written.

        Raises:
            UsageError: Its run is finished.
            SnapshotError: What it says of its run cannot be read.
        """
        self.folder = folder
        self.snapshot_path = folder / "snapshot"
        self._description_path = folder / "run.json"
        self._previous = self._read()
        if self._previous is not None and self._previous.finished:
            raise UsageError(
                f"the run in {folder} is finished", "to run it again, delete the folder"
            )

    @property
    def begun(self) -> bool:
        """True where there is a run to go on with."""
        return self._previous is not None

    def begin(self, description: RunDescription) -> Journal:
        """Begin the run, or go on with it if it is the same one, and open its results.

        Raises:
            UsageError: The folder belongs to another run.
            OutputError: The folder cannot be written.
        """
        if self._previous is None:
            self._write(description)
        elif self._previous != description:
            raise self._differs(self._previous, description)
        self._previous = description
        path = self.folder / "results.jsonl"
        try:
            path.touch()
            return Journal(path.open("r+b"))
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def _differs(self, before: RunDescription, now: RunDescription) -> UsageError:
        fields = RunDescription.model_fields
        differing = [key for key in fields if getattr(before, key) != getattr(now, key)]
        if before.source == now.source and before.content != now.content:
            return UsageError(
                f"{now.source} is not what it was when the run in {self.folder} began: "
                f"it was exchanged or changed (differs in {', '.join(differing)})",
                "give the source as it was, or begin again with another folder",
            )
        return UsageError(
            f"{self.folder} holds another run: it differs in {', '.join(differing)}",
            "give the command of that run, or another folder",
        )

    def finish(self) -> None:
        """Note that nothing is left to do.

        Raises:
            OutputError: The note cannot be written.
        """
        assert self._previous is not None
        self._write(self._previous.model_copy(update={"finished": True}))
        self.snapshot_path.unlink(missing_ok=True)

    def _read(self) -> RunDescription | None:
        path = self._description_path
        try:
            text = read_at_most(path, MAX_DESCRIPTION_BYTES)
            version = _Versioned.model_validate_json(text).version
            if version == STATE_VERSION:
                return RunDescription.model_validate_json(text)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValidationError) as error:
            raise SnapshotError(f"{path} is damaged", "delete the folder to begin again") from error
        age = "an older" if version < STATE_VERSION else "a newer"
        raise SnapshotError(
            f"{self.folder} was written by {age} version of trackd "
            f"(state version {version}, this one reads {STATE_VERSION})",
            "finish the run with that version, or delete the folder to begin again",
        )

    def _write(self, description: RunDescription) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            data = description.model_dump_json(indent=2).encode() + b"\n"
            write_atomically(self._description_path, data)
        except OSError as error:
            raise OutputError(f"cannot write {self._description_path}: {error.strerror}") from error
