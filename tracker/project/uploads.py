"""Uploads of videos in pieces: bounded, resumable, and named by us alone."""

import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tracker.errors import OutputError, TrackdError, UsageError
from tracker.project.folder import Project
from tracker.project.library import VIDEO_SUFFIXES, Library

MAX_BYTES = 4 * 2**30  # of one file
MAX_PIECE_BYTES = 16 * 2**20
MAX_UPLOADS = 4  # that are not whole yet
KEPT_S = 24 * 3600.0  # an upload that nobody goes on with
IDLE_S = 600.0  # the same, where another needs its place
SPARE_BYTES = 2**30  # that are left free on the disk
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{22}")


class TooLargeError(TrackdError):
    """An upload, or a piece of it, is larger than allowed, or than the disk holds."""


@dataclass(slots=True)
class Upload:
    """A file on its way.

    Attributes:
        id: Made here.
        title: Of the project that it becomes, for people.
        suffix: Of the file, one of those that are known, or "".
        size_bytes: When it is whole.
        received_bytes: So far.
    """

    id: str
    title: str
    suffix: str
    size_bytes: int
    received_bytes: int = 0
    touched_s: float = field(default_factory=time.monotonic)
    busy: bool = False


class Uploads:
    """The uploads into a library; those of an earlier start of the program are deleted."""

    def __init__(self, library: Library, max_bytes: int = MAX_BYTES) -> None:
        """Keep what is not whole in the library's own folder."""
        self._library = library
        self._folder = library.projects / ".uploads"
        self._uploads: dict[str, Upload] = {}
        self.max_bytes = max_bytes
        shutil.rmtree(self._folder, ignore_errors=True)

    def begin(self, name: str, size_bytes: int) -> Upload:
        """Begin an upload; nothing is on the disk before its first piece.

        Raises:
            TooLargeError: It is too large.
            UsageError: It is empty, or too many others are not whole.
        """
        self._forget_old()
        if size_bytes <= 0:
            raise UsageError("the file is empty", "choose a video")
        if size_bytes > self.max_bytes:
            raise TooLargeError(
                f"the file has {size_bytes / 2**30:.1f} GiB, the limit is "
                f"{self.max_bytes / 2**30:.1f} GiB",
                "put it into a folder of --folder, or raise --max-upload",
            )
        self._make_room()
        pending = sum(u.size_bytes - u.received_bytes for u in self._uploads.values())
        free = shutil.disk_usage(self._library.projects).free
        if size_bytes + pending + SPARE_BYTES > free:
            raise TooLargeError("the disk has no room for the file", "make space")
        path = PurePosixPath(name.replace("\\", "/"))
        suffix = path.suffix.lower() if path.suffix.lower() in VIDEO_SUFFIXES else ""
        upload = Upload(secrets.token_urlsafe(16), path.stem or "video", suffix, size_bytes)
        self._uploads[upload.id] = upload
        return upload

    def find(self, upload_id: str) -> Upload:
        """An upload that was begun.

        Raises:
            UsageError: There is none, or no more.
        """
        self._forget_old()
        if upload_id not in self._uploads:
            raise _gone()
        return self._uploads[upload_id]

    async def receive(self, upload: Upload, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Take in the bytes from `offset` on, which must be where it stands.

        Raises:
            UsageError: It stands elsewhere, or another request sends it.
            TooLargeError: There are more than announced.
            OutputError: The disk is full.
        """
        if upload.busy or offset != upload.received_bytes:
            raise UsageError(f"the upload stands at {upload.received_bytes}", "go on from there")
        upload.busy = True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path(upload).open("r+b" if offset else "wb") as file:
                file.seek(offset)
                async for piece in pieces:
                    if upload.received_bytes + len(piece) > upload.size_bytes:
                        raise TooLargeError("the file is larger than announced", "begin again")
                    file.write(piece)
                    upload.received_bytes += len(piece)
                    upload.touched_s = time.monotonic()
        except OSError as error:
            raise OutputError(f"cannot keep the upload: {error.strerror}", "make space") from error
        finally:
            upload.busy = False

    def finish(self, upload: Upload) -> Project:
        """Make a project of a whole upload, whose file moves into its folder.

        Raises:
            UsageError: It is not whole, or is made already.
            StreamError: It is no video; it is deleted then.
        """
        if upload.received_bytes != upload.size_bytes or upload.busy:
            raise UsageError(f"the upload stands at {upload.received_bytes}", "go on from there")
        if self._uploads.pop(upload.id, None) is None:
            raise _gone()
        try:
            with self._library.new_folder(upload.title) as folder:
                source = self._path(upload).rename(folder / f"source{upload.suffix}")
                return self._library.add(source, upload.title, folder)
        except OSError as error:
            raise OutputError(f"cannot keep the upload: {error.strerror}") from error
        finally:
            self._path(upload).unlink(missing_ok=True)

    def drop(self, upload: Upload) -> None:
        """Give an upload up."""
        self._uploads.pop(upload.id, None)
        self._path(upload).unlink(missing_ok=True)

    def _path(self, upload: Upload) -> Path:
        assert _UPLOAD_ID.fullmatch(upload.id)
        return self._folder / f"{upload.id}.part"

    def _idle(self, since_s: float) -> list[Upload]:
        """Those that nobody has gone on with for so long, the oldest first."""
        until_s = time.monotonic() - since_s
        idle = [u for u in self._uploads.values() if not u.busy and u.touched_s < until_s]
        return sorted(idle, key=lambda upload: upload.touched_s)

    def _forget_old(self) -> None:
        for upload in self._idle(KEPT_S):
            self.drop(upload)

    def _make_room(self) -> None:
        """Give the upload up that is idle for longest, where there are as many as may be."""
        if len(self._uploads) < MAX_UPLOADS:
            return
        idle = self._idle(IDLE_S)
        if not idle:
            raise UsageError(f"{MAX_UPLOADS} uploads are on their way", "wait for one to end")
        self.drop(idle[0])


def _gone() -> UsageError:
    return UsageError("there is no such upload, or no more", "begin again")
