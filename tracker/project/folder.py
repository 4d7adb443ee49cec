"""Folder of a project, and what it says of its source.

It holds `project.json` (the source, and how it is tracked), `prompts.json` (a prompts file of
`trackd track`; missing while nothing is prompted), `results.sqlite` (what was tracked), `sessions/`
(snapshots to go on from) and `thumbnails/`. Only the first two cannot be made again.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.access.bounded_file import read_at_most
from streams.access.policy import SourcePolicy
from streams.address import local_path
from streams.content_digest import content_digest
from streams.sources.registry import Source, open_source
from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import FrameRange
from tracker.atomic import write_atomically
from tracker.errors import OutputError, SnapshotError, TrackdError, UsageError
from tracker.project.prompts import ProjectPrompts
from tracker.project.results import ResultStore
from tracker.project.snapshots import Snapshots

MAX_SETTINGS_BYTES = 64 * 1024
PROJECT_VERSION: Literal[1] = 1
_SETTINGS = "project.json"
_LOCK_EVERY_S = 0.1
_Name = Annotated[str, Field(min_length=1, max_length=4096)]


class ProjectSettings(BaseModel):
    """What `project.json` holds.

    Attributes:
        source: Path of the video or the pictures; relative to the folder where it lies in it.
        content: Digest of what the source held when the project was made.
        title: Name for people.
        start, stop: Range of frames that are tracked, `stop` left out; None for the end.
        model, checkpoint, device, dtype: As in `tracker.annotate.run.ModelChoice`.
        policy: A name of `tracker.engine.POLICIES`.
        segmenter, box_padding: As in `tracker.annotate.run.Annotation`.
        backward: Objects are tracked from their first prompt towards the start, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: Literal[1] = PROJECT_VERSION
    source: _Name
    content: str
    title: Annotated[str, Field(min_length=1, max_length=200)]
    start: Annotated[int, Field(ge=0)] = 0
    stop: int | None = None
    model: _Name = "pico"
    checkpoint: _Name | None = None
    device: _Name = "auto"
    dtype: _Name = "auto"
    policy: _Name = "default"
    segmenter: str | None = None
    box_padding: float = 0.0
    backward: bool = False


@dataclass(frozen=True)
class Project:
    """One such folder.

    Attributes:
        folder: Where it is.
        settings: What its file says.
        access: What its source may open; None for all that this user may.
    """

    folder: Path
    settings: ProjectSettings
    access: SourcePolicy | None = field(default=None, repr=False)

    @classmethod
    def create(
        cls, folder: Path, settings: ProjectSettings, access: SourcePolicy | None = None
    ) -> Self:
        """Make the folder, which must not hold a project yet.

        Raises:
            OutputError: It cannot be made, or there is one.
        """
        path = folder / _SETTINGS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise OutputError(f"{folder} holds a project already", "give a new folder")
            text = settings.model_dump_json(indent=1, exclude_none=True)
            write_atomically(path, f"{text}\n".encode())
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "the source's name is no text"
            raise OutputError(f"cannot write {path}: {why}", "give another folder") from error
        return cls(folder, settings, access)

    @classmethod
    def open(cls, folder: Path, access: SourcePolicy | None = None) -> Self:
        """Open a project.

        Raises:
            UsageError: There is none.
            SnapshotError: Its file is damaged, or of a newer version.
        """
        path = folder / _SETTINGS
        try:
            text = read_at_most(path, MAX_SETTINGS_BYTES)
            settings = ProjectSettings.model_validate_json(text)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(
                f"{folder} holds no project", "make one with trackd track --project, or the studio"
            ) from error
        except OSError as error:
            raise SnapshotError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise SnapshotError(
                f"{path}: {where}: {fault['msg']}", "open it with the trackd that made it"
            ) from error
        return cls(folder, settings, access)

    @cached_property
    def source(self) -> str:
        """Address of the source, as for `streams.open_source`."""
        return str(self.folder.absolute() / self.settings.source)

    @property
    def frames(self) -> FrameRange:
        """Range of frames that are tracked."""
        return FrameRange(self.settings.start, self.settings.stop)

    @property
    def settings_path(self) -> Path:
        """The file of the settings."""
        return self.folder / _SETTINGS

    @property
    def prompts_path(self) -> Path:
        """The prompts file."""
        return self.folder / "prompts.json"

    @property
    def snapshots(self) -> Snapshots:
        """Sessions to go on from."""
        return Snapshots(self.folder / "sessions")

    def prompts(self) -> ProjectPrompts:
        """The prompts as they are on the disk.

        Raises:
            UsageError: They cannot be read.
        """
        return ProjectPrompts.load(self.prompts_path, Pictures.of(self.source))

    @property
    def results_path(self) -> Path:
        """The database of results, which need not be there."""
        return self.folder / "results.sqlite"

    def results(self, *, read_only: bool = False) -> ResultStore:
        """The results; to be closed.

        Raises:
            TrackdError: As `ResultStore`.
        """
        return ResultStore(self.results_path, read_only=read_only)

    def open_source(self) -> Source:
        """The source, at its first frame.

        Raises:
            StreamError: It cannot be opened, or may not be.
        """
        return open_source(self.source, policy=self.access)

    def check_source(self) -> None:
        """Check that the source is what it was.

        Raises:
            UsageError: It was exchanged or changed.
            StreamError: It cannot be read.
        """
        if content_digest(self.source) != self.settings.content:
            raise UsageError(
                f"{self.source} is not what it was when the project {self.folder} was made",
                "give the source back, or make another project",
            )

    def with_settings(self, settings: ProjectSettings) -> "Project":
        """The same with other settings, which are written to its file.

        Raises:
            OutputError: They cannot be written.
        """
        text = settings.model_dump_json(indent=1, exclude_none=True)
        try:
            write_atomically(self.settings_path, f"{text}\n".encode())
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror}") from error
        return Project(self.folder, settings, self.access)

    def with_kept_backward(self) -> Self:
        """The same with `backward` as its file has it now.

        Raises:
            TrackdError: As `open`.
        """
        backward = self.open(self.folder).settings.backward
        return replace(self, settings=self.settings.model_copy(update={"backward": backward}))

    @contextmanager
    def lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one who tracks, for as long as the block lasts; wait for another to end.

        Raises:
            TrackdError: Another program tracks, and does not end in `wait_s`.
        """
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(f"cannot write into {self.folder}: {error.strerror}") from error
        try:
            if not _locked(descriptor, wait_s):
                raise TrackdError(
                    f"another program tracks the project {self.folder}",
                    "wait until it is done, or close the project there",
                )
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int, wait_s: float) -> bool:
    end_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end_s:
                return False
        time.sleep(_LOCK_EVERY_S)


def described_source(source: str, folder: Path) -> tuple[str, str]:
    """Path of a source as a project in `folder` keeps it, and the digest of what it holds.

    Raises:
        UsageError: It is no file.
        StreamError: It cannot be read.
    """
    path = local_path(source)
    if path is None:
        raise UsageError("a project is of a file or a folder", "record the source to a file first")
    digest = content_digest(source)
    absolute = path.parent.resolve() / path.name
    inside = absolute.is_relative_to(folder.resolve())
    return str(absolute.relative_to(folder.resolve()) if inside else absolute), digest
