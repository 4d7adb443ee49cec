"""Tracking from a prompt towards the start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from streams import Frame
from tests.support.moving_square import ColourSession, frames, picture, square_xy
from tracker.annotate import backward
from tracker.annotate.backward import BackwardPass, MergedTracker
from tracker.annotate.job import Tally
from tracker.annotate.journal import Journal
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan
from tracker.annotate.trackers import PlanTracker
from tracker.errors import PromptError, SnapshotError
from tracker.types import Prompt, TrackResult

X, Y = square_xy(7)
PLAN = PromptPlan(
    [
        PlacedPrompt(4, Prompt(2, points_xy=((100, 70),), point_labels=(1,), label="green")),
        PlacedPrompt(7, Prompt(1, points_xy=((X + 5, Y + 5),), point_labels=(1,))),
        PlacedPrompt(8, Prompt(1, points_xy=((0, 0),), point_labels=(1,))),
    ],
    FrameRange(1),
)


class Film:
    """Frames that can be opened again and again."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.opened = 0

    @contextmanager
    def open(self) -> Iterator[Iterator[Frame]]:
        self.opened += 1
        yield iter(frames(self.count))


def run(film: Film, plan: PromptPlan = PLAN, stop_after: int | None = None) -> BackwardPass:
    back = BackwardPass(ColourSession(), plan)
    shown: list[int] = []

    def on_frame(tally: Tally) -> None:
        assert tally.last_frame is not None
        shown.append(tally.last_frame)

    tally = back.run(
        film.open,
        on_frame=on_frame,
        stop_asked=lambda: stop_after is not None and back.tally.frames >= stop_after,
    )
    assert shown == list(range(7, 7 - tally.frames, -1))
    return back


@pytest.mark.parametrize(("held_frames", "opened"), [(100, 1), (3, 3), (0, 7)])
def test_objects_are_there_before_their_prompts(monkeypatch, held_frames: int, opened: int):
    monkeypatch.setattr(backward, "_HELD_BYTES", held_frames * picture(0).nbytes)
    film = Film(10)
    back = run(film)
    assert film.opened == opened
    assert (back.tally.frames, back.total, back.tally.stopped_early) == (7, 7, False)

    plain = PlanTracker(ColourSession(), PLAN)
    merged = MergedTracker(PlanTracker(ColourSession(), PLAN), back.results, PLAN)
    for frame in frames(10)[1:]:
        before, after = plain.track(frame), merged.track(frame)
        assert [item.id for item in after.objects] == [1, 2]
        kept = {item.id: item for item in after.objects}
        for item in before.objects:
            assert np.array_equal(kept[item.id].mask_hw, item.mask_hw)
        if frame.seq < 8:
            x, y = square_xy(frame.seq)
            assert kept[1].box_xyxy == (x, y, x + 20, y + 20)
        if frame.seq < 6:
            assert kept[2].box_xyxy == (90, 60, 110, 80)
            assert kept[2].label == "green"
    back.results.close()


def test_a_wish_to_stop_ends_it():
    back = run(Film(10), stop_after=2)
    assert back.tally.stopped_early
    assert back.tally.frames == 2
    back.results.close()


def test_a_source_that_ends_before_the_prompt_is_told():
    with pytest.raises(PromptError, match=r"object 1 on frame 7 is past the end .*\(6 frames\)"):
        run(Film(6))


def results(count: int) -> list[TrackResult]:
    tracker = PlanTracker(ColourSession(), PLAN)
    return [tracker.track(frame) for frame in frames(count)]


def test_a_journal_gives_back_what_it_was_given(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    with path.open("w+b") as file:
        journal = Journal(file)
        offsets = [journal.append(index, item) for index, item in enumerate(results(9))]
        for index, expected in enumerate(results(9)):
            for read in (journal.read(index), journal.read(index, offsets[index])):
                assert read.step == expected.step
                assert [
                    (i.id, i.label, i.state, i.score, i.iou, i.box_xyxy) for i in read.objects
                ] == [
                    (i.id, i.label, i.state, i.score, i.iou, i.box_xyxy) for i in expected.objects
                ]
                for ours, theirs in zip(read.objects, expected.objects, strict=True):
                    assert np.array_equal(ours.mask_hw, theirs.mask_hw)


def test_a_journal_is_cut_after_whole_lines(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    with path.open("w+b") as file:
        journal = Journal(file)
        for index, item in enumerate(results(5)):
            journal.append(index, item)
        file.write(b'{"frame":5')
        journal.keep(5)
        with pytest.raises(SnapshotError, match="frame 5 cannot be read"):
            journal.read(5, file.seek(0, 2))
        journal.keep(2)
        with pytest.raises(SnapshotError, match="it ends after 2 of 3 frames"):
            journal.keep(3)
        with pytest.raises(SnapshotError, match="frame 0 stands in place of 1"):
            journal.read(1)
    assert path.read_bytes().count(b"\n") == 2


def test_a_journal_is_cut_after_a_step_of_the_session_whatever_frames_are_left_out(tmp_path: Path):
    numbers = [1, 2, 4, 7, 8, 11, 12]  # of the frames that the source gave; the prompt is on 4
    for steps, resumed_at in ((1, 5), (2, 8), (4, 12), (5, 13)):
        with (tmp_path / "results.jsonl").open("w+b") as file:
            journal = Journal(file)
            for number, item in zip(numbers, results(7), strict=True):
                journal.append(number, item)
            assert journal.keep_session(4, steps) == resumed_at
            for number in numbers[: 2 + steps]:
                journal.read(number)
            with pytest.raises(SnapshotError, match="cannot be read"):
                journal.read(numbers[-1])
            with pytest.raises(SnapshotError, match=f"it ends after {2 + steps} of 8 frames"):
                journal.keep_session(4, 6)


def test_damaged_frames_before_the_prompt_are_left_out(monkeypatch):
    monkeypatch.setattr(backward, "_HELD_BYTES", 2 * picture(0).nbytes)

    class Gaps(Film):
        @contextmanager
        def open(self) -> Iterator[Iterator[Frame]]:
            with super().open() as whole:
                yield (frame for frame in whole if frame.seq not in (0, 1, 5, 6))

    back = BackwardPass(ColourSession(), PLAN)
    tracked: list[int | None] = []
    tally = back.run(
        Gaps(10).open,
        on_frame=lambda tally: tracked.append(tally.last_frame),
        stop_asked=lambda: False,
    )
    assert tracked == [7, 4, 3, 2]
    assert not tally.stopped_early
    found = [frame for frame in range(8) if back.results.get(frame) is not None]
    assert found == [2, 3, 4]  # on the frame of the prompt itself the other pass says what is there
    back.results.close()
