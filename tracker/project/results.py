"""Results of a project in SQLite: what was tracked, by direction, frame and object.

Masks are COCO run lengths, in a table of their own, so that a timeline is read without them. A row
of `frames` says that a frame was tracked. Frames before `tracked_to` are as the present prompts
have them; those after it are left from earlier prompts until they are tracked again.
"""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from tracker.errors import OutputError, SnapshotError
from tracker.rle import Rle, decode_rle, encode_rle
from tracker.types import ObjectResult, ObjectState, TrackResult

RESULTS_VERSION = 1
COMMIT_EVERY_S = 0.5  # of tracking, which is what a crash may lose
_BUSY_S = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frames (
    direction INTEGER, frame INTEGER, step INTEGER NOT NULL,
    PRIMARY KEY (direction, frame)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    direction INTEGER, frame INTEGER, object INTEGER, state TEXT NOT NULL,
    score REAL NOT NULL, iou REAL NOT NULL, identity REAL,
    x0 INTEGER, y0 INTEGER, x1 INTEGER, y1 INTEGER, area INTEGER NOT NULL,
    PRIMARY KEY (direction, frame, object)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS masks (
    direction INTEGER, frame INTEGER, object INTEGER,
    height INTEGER NOT NULL, width INTEGER NOT NULL, counts TEXT NOT NULL,
    PRIMARY KEY (direction, frame, object)) WITHOUT ROWID;
"""
_INSERT_OBJECT = "INSERT INTO objects VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"


class Direction(IntEnum):
    """Direction in time in which results were tracked."""

    FORWARD = 0
    BACKWARD = 1


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object on one frame, without its mask.

    Attributes:
        frame: Number of the frame in the source.
        id: Of the object.
        state: By the model.
        score: Probability that the object is there, 0..1.
        iou: The model's own estimate of the mask's quality, 0..1.
        identity: How sure it is that the mask is still of the same object, 0..1; None as in
            `ObjectResult`.
        area: Of the mask, in pixels.
    """

    frame: int
    id: int
    state: ObjectState
    score: float
    iou: float
    identity: float | None
    area: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object on one frame, its mask still compressed; fields as in `ObjectResult`."""

    id: int
    state: ObjectState
    score: float
    iou: float
    identity: float | None
    box_xyxy: tuple[int, int, int, int] | None
    mask: Rle

    def result(self, label: str | None) -> ObjectResult:
        """The same as the session gave it, under a name."""
        return ObjectResult(
            self.id,
            label,
            self.state,
            self.score,
            self.iou,
            self.box_xyxy,
            decode_rle(self.mask),
            identity=self.identity,
        )


class ResultStore:
    """One database, of one thread; what is written is committed every `COMMIT_EVERY_S`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open it, and make it where it is missing.

        Raises:
            OutputError: It cannot be made.
            SnapshotError: It is damaged, of a newer version, or missing where it is only read.
        """
        self._path = path
        self._committed_s = time.monotonic()
        try:
            where = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._database = sqlite3.connect(where, uri=True, timeout=_BUSY_S)
        except sqlite3.Error as error:
            raise OutputError(f"cannot open {path}: {error}", "check the folder") from error
        try:
            if not read_only:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.executescript(_TABLES)
                self._database.execute(
                    "INSERT OR IGNORE INTO meta VALUES ('version', ?)", (str(RESULTS_VERSION),)
                )
                self._database.commit()
            version = self._meta("version")
        except sqlite3.Error as error:
            self._database.close()
            raise self._damaged(error) from error
        if version != str(RESULTS_VERSION):
            self._database.close()
            raise SnapshotError(
                f"{path} has version {version}, this trackd reads {RESULTS_VERSION}",
                "open the project with the trackd that made it",
            )

    # --- what the results belong to

    @property
    def identity(self) -> str:
        """Model, policy and range that the results were tracked with, as text."""
        return self._meta("identity")

    @property
    def prompts_json(self) -> str:
        """The prompts that the results were tracked with; "" for none."""
        return self._meta("prompts")

    @property
    def settings_json(self) -> str:
        """The project's settings that the results were tracked with."""
        return self._meta("settings")

    @property
    def tracked_to(self) -> int:
        """The first frame that is not tracked with these prompts."""
        return int(self._meta("tracked_to") or 0)

    @property
    def is_forward_done(self) -> bool:
        """True if the source was tracked to its end."""
        return self._meta("forward_done") == "1"

    @property
    def backward_of(self) -> str:
        """Digest of the first prompts from which the backward pass ran to its end; "" for none."""
        return self._meta("backward_of")

    def begin(self, identity: str, tracked_to: int) -> None:
        """Begin to track something else; results before the frame `tracked_to` hold for it, too."""
        self._set("identity", identity)
        self._set("tracked_to", str(min(self.tracked_to, tracked_to)))
        self._set("forward_done", "0")

    def note(self, prompts_json: str, settings_json: str) -> None:
        """Note the prompts and settings of what is tracked, and have all of it on the disk."""
        self._set("prompts", prompts_json)
        self._set("settings", settings_json)
        self.commit()

    def end_forward(self) -> None:
        """Note that the source was tracked to its end, and drop what lies beyond it."""
        self._delete(Direction.FORWARD, since=self.tracked_to)
        self._set("forward_done", "1")
        self.commit()

    def begin_backward(self) -> None:
        """Drop what the backward pass found before."""
        self._delete(Direction.BACKWARD, since=0)
        self._set("backward_of", "")
        self.commit()

    def end_backward(self, digest: str) -> None:
        """Note the first prompts from which the backward pass ran to its end."""
        self._set("backward_of", digest)
        self.commit()

    def clear(self) -> None:
        """Forget all results and what they belonged to."""
        for direction in Direction:
            self._delete(direction, since=0)
        self._execute("DELETE FROM meta WHERE key != 'version'")
        self.commit()

    # --- results

    def put(self, direction: Direction, frame: int, result: TrackResult) -> None:
        """Keep what was found on a frame, in place of what was there.

        Raises:
            OutputError: The disk is full.
        """
        self._delete(direction, since=frame, before=frame + 1)
        self._execute("INSERT INTO frames VALUES (?,?,?)", (direction, frame, result.step))
        for item in result.objects:
            key = (direction, frame, item.id)
            rle = encode_rle(item.mask_hw)
            box = item.box_xyxy or (None,) * 4
            facts = (item.state.value, item.score, item.iou, item.identity, *box)
            area = int(item.mask_hw.sum())
            self._execute(_INSERT_OBJECT, (*key, *facts, area))
            mask = (rle.height, rle.width, rle.counts)
            self._execute("INSERT INTO masks VALUES (?,?,?,?,?,?)", (*key, *mask))
        if direction is Direction.FORWARD:
            self._set("tracked_to", str(max(self.tracked_to, frame + 1)))
        if time.monotonic() - self._committed_s >= COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Have what was written survive the end of the process.

        Raises:
            OutputError: The disk is full.
        """
        try:
            self._database.commit()
        except sqlite3.Error as error:
            raise self._refused(error) from error
        self._committed_s = time.monotonic()

    def step(self, direction: Direction, frame: int) -> int | None:
        """Step of the session on a frame; None where it was not tracked."""
        rows = self._rows(
            "SELECT step FROM frames WHERE direction=? AND frame=?", (direction, frame)
        )
        return next((step for (step,) in rows), None)

    def objects(self, direction: Direction, frame: int) -> list[StoredObject]:
        """All objects on a frame, by id."""
        rows = self._rows(
            "SELECT o.object, state, score, iou, identity, x0, y0, x1, y1, height, width, counts "
            "FROM objects o JOIN masks m USING (direction, frame, object) "
            "WHERE o.direction=? AND o.frame=? ORDER BY o.object",
            (direction, frame),
        )
        return [
            StoredObject(
                number,
                ObjectState(state),
                score,
                iou,
                identity,
                None if x0 is None else (x0, y0, x1, y1),
                Rle(height, width, counts),
            )
            for number, state, score, iou, identity, x0, y0, x1, y1, height, width, counts in rows
        ]

    def facts(self, direction: Direction) -> Iterator[ObjectFacts]:
        """All objects on all frames, in order of frames, without their masks."""
        rows = self._rows(
            "SELECT frame, object, state, score, iou, identity, area FROM objects "
            "WHERE direction=? ORDER BY frame, object",
            (direction,),
        )
        for frame, number, state, score, iou, identity, area in rows:
            yield ObjectFacts(frame, number, ObjectState(state), score, iou, identity, area)

    def close(self) -> None:
        """Commit and close; the file holds all of it then."""
        self._database.commit()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _meta(self, key: str) -> str:
        rows = self._rows("SELECT value FROM meta WHERE key=?", (key,))
        return next((value for (value,) in rows), "")

    def _set(self, key: str, value: str) -> None:
        self._execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def _delete(self, direction: Direction, *, since: int, before: int = 2**62) -> None:
        for table in ("frames", "objects", "masks"):
            self._execute(
                f"DELETE FROM {table} WHERE direction=? AND frame>=? AND frame<?",
                (direction, since, before),
            )

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _rows(self, statement: str, values: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def _refused(self, error: sqlite3.Error) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error}", "make space")

    def _damaged(self, error: sqlite3.Error) -> SnapshotError:
        return SnapshotError(
            f"{self._path} cannot be read: {error}", "delete it: the prompts stay, track again"
        )
