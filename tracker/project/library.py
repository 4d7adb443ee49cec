"""Library of projects: a folder of them, and the folders that sources may be opened from."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from streams.access.files import FileAccess
from streams.access.hosts import HostAccess, HostRules
from streams.access.policy import SourcePolicy
from streams.errors import SourceDenied, StreamError
from streams.sources.images import find_images
from tracker.errors import OutputError, TrackdError, UsageError
from tracker.project.folder import Project, ProjectSettings, described_source

MAX_ENTRIES = 2000  # of a folder that are listed
MAX_PROJECTS = 1000
_PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
#: Suffixes that are offered; whatever FFmpeg plays can be opened by its name.
VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "mts", "m2ts"),
        *("wmv", "flv", "ogv", "3gp", "gif", "webp"),
    )
)


def default_projects() -> Path:
    """Folder of a user's projects: trackd/projects in $XDG_DATA_HOME or in ~/.local/share.

    Raises:
        OutputError: This user has no home folder.
    """
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        try:
            data_home = Path.home() / ".local" / "share"
        except RuntimeError as error:
            raise OutputError(
                "there is no home folder to keep projects in", "give --projects"
            ) from error
    return data_home / "trackd" / "projects"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder that is browsed; `kind` is folder or video."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder that is browsed.

    Attributes:
        entries: Folders first, then videos, by name.
        pictures: Pictures in it, which can be annotated together.
        left_out: Names beyond `MAX_ENTRIES`.
    """

    entries: tuple[Entry, ...]
    pictures: int
    left_out: int


class Library:
    """The projects of a folder, made from files under others, and from no others."""

    def __init__(self, projects: Path, folders: Sequence[Path] = ()) -> None:
        """Use the folder `projects`, and sources under `folders`; links are followed once, here."""
        self.projects = Path(os.path.realpath(projects))
        self.folders = tuple(Path(os.path.realpath(folder)) for folder in folders)
        self._files = FileAccess((*self.folders, self.projects))
        self.access = SourcePolicy(self._files, HostAccess(HostRules.parse(())))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who changes these projects, for as long as the block lasts.

        Raises:
            TrackdError: The folder cannot be made, or another program has it.
        """
        try:
            self.projects.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.projects / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(f"cannot use {self.projects}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise TrackdError(
                f"another studio uses the projects in {self.projects}",
                "use that one, or give another --projects",
            ) from error
        finally:
            os.close(lock)

    def ids(self) -> list[str]:
        """Ids of all projects: the names of their folders, the newest first."""
        if not self.projects.is_dir():
            return []
        found = [
            item
            for item in self.projects.iterdir()
            if _PROJECT_ID.fullmatch(item.name) and (item / "project.json").is_file()
        ]
        found.sort(key=lambda item: (item / "project.json").stat().st_mtime, reverse=True)
        return [item.name for item in found[:MAX_PROJECTS]]

    def open(self, project_id: str) -> Project:
        """A project.

        Raises:
            UsageError: There is none of this id.
            SnapshotError: It cannot be read.
        """
        if not _PROJECT_ID.fullmatch(project_id):
            raise UsageError("that is no name of a project", "choose one of the list")
        project = Project.open(self.projects / project_id, self.access)
        self._files.resolve(Path(project.source))
        return project

    def browse(self, folder: int, path: str) -> Listing:
        """What may be opened in a folder under one of the allowed ones.

        Raises:
            UsageError: There is no such folder, or it is not under that one.
        """
        place = self._inside(folder, path)
        if not place.is_dir():
            raise UsageError("that is no folder", "choose one of the list")
        access = FileAccess((self.folders[folder],))
        entries = sorted(_entries(place, access), key=lambda item: (item.kind, item.name))
        try:
            pictures = len(find_images(place, access.open) or ())
        except (StreamError, OSError):
            pictures = 0
        left_out = max(0, len(entries) - MAX_ENTRIES)
        return Listing(tuple(entries[:MAX_ENTRIES]), pictures, left_out)

    def create(self, folder: int, path: str) -> Project:
        """A project of a video or a folder of pictures under one of the allowed folders.

        Raises:
            UsageError: There is no such folder, or it is not under that one.
            StreamError: There is nothing, or no video.
        """
        place = self._inside(folder, path)
        return self.add(place, place.name if place.is_dir() else place.stem)

    def add(self, source: Path, title: str, folder: Path | None = None) -> Project:
        """A project of a source, under a name for people; its id is made of it.

        Args:
            source: The video, or the folder of pictures.
            title: The name.
            folder: Of the project; None for a new one.

        Raises:
            TrackdError: The folder cannot be made.
            StreamError: The source is no video.
        """
        with self.new_folder(title) if folder is None else nullcontext(folder) as place:
            kept, content = described_source(str(source), place)
            shown = "".join(c for c in title if c.isprintable())[:200].strip() or "project"
            settings = ProjectSettings(source=kept, content=content, title=shown)
            project = Project(place, settings, self.access)
            with project.open_source():  # its first frame can be decoded
                pass
            return Project.create(place, settings, self.access)

    @contextmanager
    def new_folder(self, title: str) -> Iterator[Path]:
        """Make a folder for a project, under a name that is free; gone where the block fails.

        Raises:
            OutputError: It cannot be made.
        """
        try:
            folder = self._made_folder(title)
        except OSError as error:
            raise OutputError(f"cannot write into {self.projects}: {error.strerror}") from error
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _made_folder(self, title: str) -> Path:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:48] or "project"
        self.projects.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1
        while True:
            folder = self.projects / (stem if number == 1 else f"{stem}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                return folder
            number += 1

    def _inside(self, folder: int, path: str) -> Path:
        if not 0 <= folder < len(self.folders):
            raise UsageError("there is no such folder", "choose one of the list")
        root = self.folders[folder]
        try:
            return FileAccess((root,)).resolve(root / path)
        except SourceDenied as error:
            raise UsageError(
                "that lies outside of the folders that may be opened",
                "start trackd studio with --folder for it",
            ) from error


def _entries(place: Path, access: FileAccess) -> Iterator[Entry]:
    for item in place.iterdir():
        name = item.name
        if name.startswith(".") or not name.isprintable():
            continue
        try:
            real = access.resolve(item)  # a link out of the folder is not shown
        except StreamError:
            continue
        if real.is_dir():
            yield Entry(name, "folder")
        elif real.is_file() and item.suffix.lower() in VIDEO_SUFFIXES:
            yield Entry(name, "video")
