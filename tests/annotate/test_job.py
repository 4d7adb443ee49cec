"""The job: frames through a session into writers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streams import Frame, SourceUnreadable
from tests.support.moving_square import ColourSession, frames
from tracker.annotate.job import Job, Tally
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan, Removal
from tracker.annotate.trackers import PlanTracker
from tracker.errors import OutputError, PromptError, UsageError
from tracker.exporters.base import Writer
from tracker.exporters.davis import DavisWriter
from tracker.exporters.youtube_vis import CocoWriter
from tracker.types import Prompt, TrackResult

RED = Prompt(1, box_xyxy=(4, 10, 24, 30))
GREEN = Prompt(2, points_xy=((100, 70),), point_labels=(1,))


class Notes:
    """A writer that notes which objects came with which frame."""

    def __init__(self, fail_on: int | None = None) -> None:
        self.rows: list[tuple[int, list[int]]] = []
        self.closed = False
        self._fail_on = fail_on

    def write(self, frame: Frame, result: TrackResult) -> None:
        if frame.seq == self._fail_on:
            raise OutputError("disk full")
        self.rows.append((frame.seq, [item.id for item in result.objects]))

    def close(self) -> None:
        self.closed = True


def plan_of(*placed: tuple[int, Prompt], start: int = 0, stop: int | None = None) -> PromptPlan:
    return PromptPlan([PlacedPrompt(f, p) for f, p in placed], FrameRange(start, stop))


def job_of(session: ColourSession, plan: PromptPlan, writers: Sequence[Writer]) -> Job:
    return Job(PlanTracker(session, plan), plan, writers)


def run(job: Job, source: Iterator[Frame], stop_after: int | None = None) -> Tally:
    return job.run(
        source,
        on_frame=lambda tally: None,
        stop_asked=lambda: stop_after is not None and job.tally.frames >= stop_after,
    )


def test_objects_appear_on_the_frame_of_their_prompt():
    session, notes = ColourSession(), Notes()
    job = job_of(session, plan_of((2, RED), (4, GREEN)), [notes])
    tally = run(job, iter(frames(8)))
    assert notes.rows == [
        (0, []),
        (1, []),
        (2, [1]),
        (3, [1]),
        (4, [1, 2]),
        (5, [1, 2]),
        (6, [1, 2]),
        (7, [1, 2]),
    ]
    assert notes.closed
    assert session.steps == 6  # nothing is encoded before the first prompt
    assert (tally.frames, tally.last_frame) == (8, 7)
    assert tally.frames_by_object == {1: 6, 2: 2}
    assert not tally.stopped_early
    stages_s = tally.decode_s + tally.encode_s + tally.track_s + tally.write_s
    assert 0 < stages_s <= tally.elapsed_s


def test_frames_are_numbered_as_in_the_source_and_the_stop_is_left_out():
    notes = Notes()
    source = iter(frames(12))
    run(job_of(ColourSession(), plan_of((4, RED), start=3, stop=6), [notes]), source)
    assert [seq for seq, _ in notes.rows] == [3, 4, 5]
    assert next(source).seq == 6  # no frame is read that is not needed


def test_the_session_gets_no_frame_before_the_last_is_written():
    alive: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames(5):
            assert alive == list(range(frame.seq))
            yield frame

    class Counting(Notes):
        def write(self, frame: Frame, result: TrackResult) -> None:
            alive.append(frame.seq)

    run(job_of(ColourSession(), plan_of((0, RED)), [Counting()]), source())
    assert alive == [0, 1, 2, 3, 4]


def test_a_wish_to_stop_ends_after_whole_frames():
    notes = Notes()
    tally = run(job_of(ColourSession(), plan_of((0, RED), (7, GREEN)), [notes]), iter(frames(9)), 3)
    assert tally.stopped_early
    assert (tally.frames, tally.last_frame) == (3, 2)
    assert notes.closed


def test_a_prompt_past_the_end_is_told_and_the_files_are_whole(tmp_path: Path):
    path = tmp_path / "out.json"
    job = job_of(ColourSession(), plan_of((0, RED), (5, GREEN)), [CocoWriter(path, "clip")])
    with pytest.raises(PromptError, match=r"object 2 on frame 5 is past the end .*\(5 frames\)"):
        run(job, iter(frames(5)))
    assert json.loads(path.read_text())["videos"][0]["length"] == 5


def test_a_source_that_ends_before_the_start_leaves_nothing(tmp_path: Path):
    job = job_of(ColourSession(), plan_of((9, RED), start=9), [DavisWriter(tmp_path / "masks")])
    with pytest.raises(UsageError, match="ended before --start 9"):
        run(job, iter(frames(5)))
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_breaks_leaves_whole_files(tmp_path: Path):
    def broken() -> Iterator[Frame]:
        yield from frames(4)
        raise SourceUnreadable("the disk is gone")

    path = tmp_path / "out.json"
    with pytest.raises(SourceUnreadable):
        run(job_of(ColourSession(), plan_of((0, RED)), [CocoWriter(path, "clip")]), broken())
    assert json.loads(path.read_text())["videos"][0]["length"] == 4


def test_one_writer_that_fails_does_not_spoil_the_others(tmp_path: Path):
    path, notes = tmp_path / "out.json", Notes()
    writers = [notes, Notes(fail_on=3), CocoWriter(path, "clip")]
    with pytest.raises(OutputError, match="disk full"):
        run(job_of(ColourSession(), plan_of((0, RED)), writers), iter(frames(9)))
    assert notes.closed
    assert json.loads(path.read_text())["videos"][0]["length"] == 3


def test_a_prompt_that_no_longer_fits_the_frame_is_told():
    small = frames(3)
    cut = Frame("main", 3, None, None, 0, small[0].image[:50, :60].copy())
    job = job_of(ColourSession(), plan_of((0, RED), (3, GREEN)), [])
    with pytest.raises(PromptError, match="outside the 60x50 frame"):
        run(job, iter([*small, cut]))


def test_a_removed_object_is_gone_until_it_is_prompted_again():
    session, notes = ColourSession(), Notes()
    placed = [PlacedPrompt(0, RED), PlacedPrompt(1, GREEN), PlacedPrompt(5, GREEN)]
    plan = PromptPlan(placed, FrameRange(), [Removal(3, 2), Removal(4, 1)])
    run(job_of(session, plan, [notes]), iter(frames(6)))
    assert [ids for _, ids in notes.rows] == [[1], [1, 2], [1, 2], [1], [], [2]]


def without(*damaged: int, count: int = 9) -> Iterator[Frame]:
    return (frame for frame in frames(count) if frame.seq not in damaged)


def test_damaged_frames_are_left_out_and_the_stop_holds():
    notes = Notes()
    tally = run(job_of(ColourSession(), plan_of((2, RED), start=1, stop=6), [notes]), without(1, 5))
    assert [seq for seq, _ in notes.rows] == [2, 3, 4]
    assert (tally.last_frame, tally.stopped_early) == (4, False)


def test_a_removal_on_a_damaged_frame_holds_from_the_next_but_a_prompt_is_not_lost():
    notes = Notes()
    placed = [PlacedPrompt(0, RED), PlacedPrompt(0, GREEN)]
    plan = PromptPlan(placed, FrameRange(), [Removal(2, 1), Removal(3, 2)])
    run(job_of(ColourSession(), plan, [notes]), without(2, 3, count=6))
    assert notes.rows == [(0, [1, 2]), (1, [1, 2]), (4, []), (5, [])]
    with pytest.raises(PromptError, match="a prompt on frame 3, which is damaged"):
        run(job_of(ColourSession(), plan_of((0, RED), (3, GREEN)), [Notes()]), without(3))


def test_a_removal_on_the_damaged_last_picture_is_within_the_folder():
    plan = PromptPlan([PlacedPrompt(0, RED)], FrameRange(), [Removal(4, 1)])
    tally = run(Job(PlanTracker(ColourSession(), plan), plan, [], 5), without(4, count=5))
    assert tally.frames == 4
    with pytest.raises(PromptError, match=r"past the end of the source \(4 frames\)"):
        run(job_of(ColourSession(), plan, []), iter(frames(4)))
