"""One stream in the tracker: which frame a prompt means, which id an object gets, what is told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.live_scene import NS_STEP, PTS_STEP, SETTINGS, drawn, iou, live, masks, rle
from tests.support.moving_scene import HEIGHT, WIDTH, frame, square
from tests.support.small_pico import small_pico
from tracker.daemon.messages import (
    Command,
    Event,
    ListCommand,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
    RestoreCommand,
    SaveCommand,
    SetZonesCommand,
)
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.frame_history import HistoryFrame
from tracker.daemon.tracking.prompting import prompt_on
from tracker.daemon.tracking.quality import QualityController, Spent
from tracker.daemon.tracking.stream_tracker import StreamTracker
from tracker.engine import Policy
from tracker.engine.object_update import ObjectUpdate
from tracker.engine.session import Session
from tracker.models import Model, load_model
from tracker.protocol.data import EventName
from tracker.protocol.fields import (
    BudgetInfo,
    DeadlineSettings,
    FrameAddress,
    MeasureSettings,
    RleMask,
    StreamSettings,
    ZoneSettings,
)
from tracker.protocol.replies import ErrorCode, ObjectInfo, ObjectsResult, PromptResult
from tracker.types import ObjectState, StageTimes, TrackResult

POLICY = Policy(history_frames=4, max_objects=3, lost_after=2)
NOWHERE = frame(0)[:, :40].repeat(4, axis=1)  # the ground of the scene, without the square


class Stream:
    """A tracker and all that it told."""

    def __init__(
        self,
        policy: Policy = POLICY,
        settings: StreamSettings = SETTINGS,
        model: Model | None = None,
    ) -> None:
        self.events: list[Event] = []
        model = model or small_pico()
        self.tracker = StreamTracker("cam", settings, model, policy, on_event=self.events.append)
        self.memory_maps = small_pico().network.memory.recent

    def status(self) -> TrackingStatus:
        return self.tracker.status()

    def see(self, *seqs: int) -> None:
        for seq in seqs:
            self.newest = self.tracker.track(live(seq), dropped=0)

    def save(self, path: Path) -> None:
        data = self.tracker.apply(SaveCommand())
        assert isinstance(data, bytes)
        path.write_bytes(data)

    def prompt(self, command: PromptCommand) -> PromptResult:
        result = self.tracker.apply(command)
        assert isinstance(result, PromptResult)
        return result

    def objects(self) -> list[ObjectInfo]:
        result = self.tracker.apply(ListCommand())
        assert isinstance(result, ObjectsResult)
        return result.objects

    def refusal(self, command: Command) -> RequestError:
        """Why a command is refused, which then changed nothing."""
        before, told = self.objects(), len(self.events)
        with pytest.raises(RequestError) as refused:
            self.tracker.apply(command)
        assert (self.objects(), len(self.events)) == (before, told)
        return refused.value

    def told(self) -> list[tuple[EventName, int | None]]:
        """Events since this was last called."""
        told = [(event.name, event.object_id) for event in self.events]
        self.events.clear()
        return told


@pytest.fixture
def stream() -> Stream:
    return Stream()


def with_deadline(deadline: DeadlineSettings) -> Stream:
    return Stream(settings=SETTINGS.model_copy(update={"deadline": deadline}))


class TestFrameAddresses:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "address",
        [
            FrameAddress(seq=12),
            FrameAddress(pts=12 * PTS_STEP),
            FrameAddress(captured_ns=12 * NS_STEP),
            FrameAddress(captured_ns=12 * NS_STEP - NS_STEP // 2 + 1),
            FrameAddress(captured_ns=12 * NS_STEP + NS_STEP // 2 - 1),
            FrameAddress(seq=12, epoch="ab"),
        ],
        ids=["seq", "pts", "captured_ns", "captured_ns before", "captured_ns after", "epoch"],
    )
    def test_a_prompt_on_a_past_frame_is_as_if_drawn_then(
        self, stream: Stream, address: FrameAddress
    ) -> None:
        then = Stream()
        then.see(10, 11, 12)
        then.prompt(drawn(12))
        then.see(13, 14)
        stream.see(10, 11, 12, 13, 14)
        result = stream.prompt(drawn(12, frame=address))
        assert (result.frame_seq, result.newest_seq, result.replayed_frames) == (12, 14, 2)
        assert result.object.box == then.objects()[0].box
        for one in (then, stream):
            one.see(15)
        assert masks(stream.newest)[0].any()
        assert iou(masks(stream.newest)[0], masks(then.newest)[0]) > 0.999

    @pytest.mark.slow
    @pytest.mark.parametrize("start_ns", [1_790_000_000_000_000_077, 2**60 - 5 * NS_STEP])
    def test_a_time_that_was_read_as_a_double_means_its_frame(
        self, stream: Stream, start_ns: int
    ) -> None:
        """As JavaScript, Lua and jq read it; Lua's cjson writes 14 of its digits."""
        for seq in range(10, 15):
            one = live(seq, pts=start_ns + seq * NS_STEP)
            frame = replace(one.frame, captured_ns=start_ns + seq * NS_STEP)
            stream.tracker.track(replace(one, frame=frame), dropped=0)
            read = float(frame.captured_ns)
            for text in (f"{read:.0f}", f'"{read:.0f}"', f"{read:.13e}"):
                for name in ("captured_ns", "pts"):
                    address = FrameAddress.model_validate_json(f'{{"{name}": {text}}}')
                    assert stream.prompt(drawn(seq, 1, frame=address)).frame_seq == seq

    def test_one_frame_alone_is_named_by_its_time(self, stream: Stream) -> None:
        one, at_ns = live(10), 1_790_000_000_000_000_077
        frame = replace(one.frame, captured_ns=at_ns)
        stream.tracker.track(replace(one, frame=frame), dropped=0)
        assert stream.prompt(drawn(10, frame=FrameAddress(captured_ns=at_ns + 128))).created
        late = FrameAddress(captured_ns=at_ns + NS_STEP)
        assert stream.refusal(drawn(10, frame=late)).code is ErrorCode.FRAME_GONE

    def test_a_pause_of_the_camera_is_no_frame_interval(self, stream: Stream) -> None:
        for seq, at_ns in ((10, 0), (11, NS_STEP), (12, 99 * NS_STEP), (13, 100 * NS_STEP)):
            one = live(seq)
            frame = replace(one.frame, captured_ns=at_ns)
            stream.tracker.track(replace(one, frame=frame), dropped=0)
        meanwhile = FrameAddress(captured_ns=20 * NS_STEP)
        assert stream.refusal(drawn(11, frame=meanwhile)).code is ErrorCode.FRAME_GONE

    def test_without_an_address_the_newest_frame_is_meant(self, stream: Stream) -> None:
        stream.see(10, 11)
        result = stream.prompt(drawn(11))
        assert (result.frame_seq, result.newest_seq, result.replayed_frames) == (11, 11, 0)

    def test_a_repeated_pts_means_its_newest_frame(self, stream: Stream) -> None:
        for seq in (10, 11, 12):
            stream.tracker.track(live(seq, pts=700), dropped=0)
        assert stream.prompt(drawn(12, frame=FrameAddress(pts=700))).frame_seq == 12

    def test_before_the_first_frame_there_is_nothing_to_prompt_on(self, stream: Stream) -> None:
        assert stream.refusal(drawn(0)).code is ErrorCode.NO_FRAME
        address = FrameAddress(seq=0)
        assert stream.refusal(drawn(0, frame=address)).code is ErrorCode.NO_FRAME

    @pytest.mark.parametrize(
        ("address", "says"),
        [
            (FrameAddress(seq=11), "seq 12..17"),  # older than the history
            (FrameAddress(seq=15), "seq 15 is gone or was never tracked"),  # it was dropped
            (FrameAddress(seq=18), "seq 12..17"),  # still to come
            (FrameAddress(pts=5), f"pts {12 * PTS_STEP}..{17 * PTS_STEP}"),
            (FrameAddress(pts=12 * PTS_STEP + 1), f"pts {12 * PTS_STEP}..{17 * PTS_STEP}"),
            (FrameAddress(captured_ns=11 * NS_STEP), f"captured_ns {12 * NS_STEP}"),
            (FrameAddress(captured_ns=15 * NS_STEP), "gone or was never tracked"),  # dropped
            (FrameAddress(captured_ns=18 * NS_STEP), f"..{17 * NS_STEP}"),
            (FrameAddress(seq=16, epoch="cd"), "of epoch cd, the daemon is in ab"),
        ],
    )
    def test_other_frames_are_gone(self, stream: Stream, address: FrameAddress, says: str) -> None:
        stream.see(10, 11, 12, 13, 14, 16, 17)
        refused = stream.refusal(drawn(12, frame=address))
        assert refused.code is ErrorCode.FRAME_GONE
        assert says in refused.message

    def test_the_history_ends_where_the_session_forgot(self) -> None:
        """Whose bound in bytes may be reached before that in frames."""
        one_frame = Stream(replace(POLICY, history_bytes=1))
        one_frame.see(10, 11)
        refused = one_frame.refusal(drawn(10, frame=FrameAddress(seq=10)))
        assert "seq 11..11" in refused.message

    @pytest.mark.slow
    def test_coordinates_are_those_of_the_addressed_frame(self) -> None:
        """Half as large as the newest, after which the camera changed its resolution.

        At its own size pico follows the square to the pixel.
        """
        stream = Stream(model=load_model("pico", device="cpu", dtype="fp32"))
        small = np.ascontiguousarray(frame(10)[::2, ::2])
        stream.tracker.track(live(10, small), dropped=0)
        stream.see(11)
        corner = PromptCommand(None, points=((WIDTH - 10.0, 10.0),), frame=FrameAddress(seq=10))
        assert "80x60 frame" in stream.refusal(corner).message
        half = rle(square(10)[::2, ::2])
        result = stream.prompt(PromptCommand(None, mask=half, frame=FrameAddress(seq=10)))
        assert result.object.box is not None
        assert result.object.box[2] == pytest.approx(101, abs=6), "told in pixels of the newest"


class TestPlaces:
    def test_normalized_coordinates_are_parts_of_the_frame(self) -> None:
        command = PromptCommand(
            None, points=((0.5, 0.25),), box=(0.125, 0.25, 0.75, 1.0), normalized=True
        )
        prompt = prompt_on(command, 3, HistoryFrame(0, 0, None, 0, HEIGHT, WIDTH))
        assert prompt.object_id == 3
        assert prompt.points_xy == ((80.0, 30.0),)
        assert prompt.box_xyxy == (20.0, 30.0, 120.0, 120.0)

    def test_the_far_corner_is_on_the_frame(self, stream: Stream) -> None:
        stream.see(0)
        stream.prompt(PromptCommand(None, points=((1.0, 1.0),), normalized=True))
        stream.prompt(PromptCommand(None, box=(0.5, 0.5, 1.0, 1.0), normalized=True))
        assert len(stream.objects()) == 2

    def test_points_without_labels_are_on_the_object(self) -> None:
        command = PromptCommand(None, points=((70.0, 60.0), (80.0, 60.0)))
        prompt = prompt_on(command, 1, HistoryFrame(0, 0, None, 0, HEIGHT, WIDTH))
        assert prompt.point_labels == (1, 1)

    @pytest.mark.parametrize(
        ("command", "says"),
        [
            (PromptCommand(None, points=((WIDTH, 5.0),)), "outside the 160x120 frame"),
            (PromptCommand(None, points=((1.5, 0.5),), normalized=True), "outside"),
            (PromptCommand(None, points=((5.0, 5.0),), labels=(1, 0)), "2 labels"),
            (PromptCommand(None, box=(9, 9, 3, 3)), "reversed"),
            (PromptCommand(None), "empty"),
            (PromptCommand(None, mask=rle(square(0)[:, :99])), "mask is 99x120"),
            (PromptCommand(None, mask=rle(square(0) & False)), "mask is empty"),
            (PromptCommand(None, mask=RleMask(size=(120, 160), counts="zzz")), "RLE counts"),
        ],
    )
    def test_what_does_not_fit_the_frame_is_a_bad_prompt(
        self, stream: Stream, command: PromptCommand, says: str
    ) -> None:
        stream.see(0)
        refused = stream.refusal(command)
        assert refused.code is ErrorCode.BAD_PROMPT
        assert says in refused.message


class TestObjects:
    def test_an_id_never_means_two_objects(self, stream: Stream) -> None:
        stream.see(0)
        assert stream.prompt(drawn(0)).object.id == 1
        assert stream.prompt(drawn(0)).object.id == 2
        stream.tracker.apply(RemoveCommand(2))
        assert stream.prompt(drawn(0)).object.id == 3
        stream.tracker.apply(RemoveCommand(3))
        assert stream.prompt(drawn(0, object_id=7)).created
        assert stream.prompt(drawn(0)).object.id == 8

    def test_a_refused_prompt_uses_up_no_id(self, stream: Stream) -> None:
        stream.see(0)
        stream.refusal(PromptCommand(None, box=(9, 9, 3, 3)))
        assert stream.prompt(drawn(0)).object.id == 1

    def test_the_highest_id_does_not_end_the_others(self, stream: Stream) -> None:
        stream.see(0)
        assert stream.prompt(drawn(0)).object.id == 1
        assert stream.prompt(drawn(0, object_id=2**31 - 1)).created
        stream.tracker.apply(RemoveCommand(1))
        assert stream.prompt(drawn(0)).object.id == 2

    def test_a_prompt_for_a_known_object_corrects_it(self, stream: Stream) -> None:
        stream.see(0)
        stream.prompt(drawn(0, label="cup"))
        stream.told()
        result = stream.prompt(drawn(20, object_id=1, must_exist=True))
        assert not result.created
        assert result.object.label == "cup"
        assert result.object.box is not None
        assert result.object.box[0] == pytest.approx(70, abs=4)
        assert stream.told() == [(EventName.OBJECT_CORRECTED, 1)]

    @pytest.mark.parametrize(
        "command",
        [
            drawn(0, object_id=9, must_exist=True),
            RemoveCommand(9),
            ResetCommand(9),
            RelabelCommand(9, "cup"),
        ],
        ids=["correct", "remove", "reset", "relabel"],
    )
    def test_an_object_must_be_there(self, stream: Stream, command: Command) -> None:
        stream.see(0)
        stream.prompt(drawn(0))
        refused = stream.refusal(command)
        assert refused.code is ErrorCode.UNKNOWN_OBJECT
        assert refused.hint == "its objects: 1"

    def test_there_is_room_for_so_many_objects(self, stream: Stream) -> None:
        stream.see(0)
        for _ in range(3):
            stream.prompt(drawn(0))
        assert stream.refusal(drawn(0)).code is ErrorCode.LIMIT
        assert not stream.prompt(drawn(0, object_id=2)).created

    def test_there_is_room_for_so_many_clicks_on_a_frame(self) -> None:
        stream = Stream(replace(POLICY, max_points=3))
        stream.see(0)
        click = PromptCommand(1, points=((70.0, 60.0),))
        for _ in range(3):
            stream.prompt(click)
        assert stream.refusal(click).code is ErrorCode.LIMIT
        stream.see(1)
        assert not stream.prompt(click).created

    def test_an_object_whose_catching_up_fails_is_not_there(
        self, stream: Stream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def out_of_memory(*_: object) -> None:
            raise RuntimeError("out of memory")

        stream.see(0, 1)
        with monkeypatch.context() as patch:
            patch.setattr(ObjectUpdate, "replay", out_of_memory)
            with pytest.raises(RuntimeError, match="out of memory"):
                stream.tracker.apply(drawn(0, frame=FrameAddress(seq=0)))
        assert stream.objects() == []
        stream.see(2)
        assert stream.told() == []


class TestEvents:
    def test_the_life_of_an_object_is_told(self, stream: Stream) -> None:
        stream.see(10)
        stream.prompt(drawn(10, label="cup"))
        (added,) = stream.events
        assert (added.stream, added.frame_seq, added.state, added.label) == (
            "cam",
            10,
            ObjectState.VISIBLE,
            "cup",
        )
        assert stream.told() == [(EventName.OBJECT_ADDED, 1)]
        stream.see(11)
        assert stream.told() == []
        relabelled = stream.tracker.apply(RelabelCommand(1, "mug"))
        assert isinstance(relabelled, ObjectInfo)
        assert (relabelled.id, relabelled.label) == (1, "mug")
        assert stream.tracker.apply(ResetCommand(1)) is None
        assert [event.state for event in stream.events] == [None, None, ObjectState.LOST]
        assert stream.told() == [
            (EventName.OBJECT_RELABELLED, 1),
            (EventName.OBJECT_RESET, 1),
            (EventName.OBJECT_STATE, 1),
        ]
        assert stream.tracker.apply(RemoveCommand(1)) is None
        assert stream.events[0].label == "mug"
        assert stream.told() == [(EventName.OBJECT_REMOVED, 1)]

    @pytest.mark.slow
    def test_an_object_that_leaves_and_comes_back_is_told_with_its_states(
        self, stream: Stream
    ) -> None:
        stream.see(10)
        stream.prompt(drawn(10))
        stream.see(11, 12)
        stream.events.clear()
        for seq in (13, 14, 15):
            stream.tracker.track(live(seq, NOWHERE), dropped=0)
        assert [event.state for event in stream.events] == [ObjectState.OCCLUDED, ObjectState.LOST]
        (absent,) = stream.objects()
        assert (absent.state, absent.box) == (ObjectState.LOST, None)
        stream.prompt(PromptCommand(1, mask=rle(square(15))))
        assert stream.events[-1].name is EventName.OBJECT_STATE
        assert stream.events[-1].state is ObjectState.VISIBLE


class TestDeadlines:
    """Targets that no machine reaches, and targets that all do."""

    @pytest.mark.slow
    def test_a_late_stream_gives_up_quality_and_says_so(self) -> None:
        late = with_deadline(DeadlineSettings(fps=1000))
        late.see(10)
        late.prompt(drawn(10))
        late.see(*range(11, 20))
        budget = late.newest.budget
        assert budget is not None
        assert budget.quality_level > 0
        assert budget.memories < late.memory_maps
        assert late.status().budget == budget

    def test_a_stream_in_time_gives_up_nothing(self) -> None:
        timely = with_deadline(DeadlineSettings(fps=1 / 3600))
        timely.see(*range(10, 20))
        assert timely.newest.budget == BudgetInfo(
            quality_level=0, input_size=128, memories=timely.memory_maps, objects_per_frame=None
        )

    @pytest.mark.slow
    def test_latency_counts_from_the_arrival_of_the_packet(self) -> None:
        """Which is long ago for the frames of the scene, though they are tracked fast."""
        late = with_deadline(DeadlineSettings(latency_ms=1000))
        late.see(10)
        late.prompt(drawn(10))
        late.see(*range(11, 20))
        assert late.newest.budget is not None
        assert late.newest.budget.quality_level > 0

    def test_what_a_frame_took_ahead_of_its_turn_is_not_counted_for_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted: list[Spent] = []
        monkeypatch.setattr(QualityController, "note", lambda _, spent: noted.append(spent))
        step = Session.step

        def ahead(self: Session, *args: Any) -> TrackResult:
            result = step(self, *args)
            return replace(result, times=StageTimes(3.0, 0.0, ahead_s=3.0))

        monkeypatch.setattr(Session, "step", ahead)
        stream = with_deadline(DeadlineSettings(fps=30))
        stream.see(10)
        assert noted[0].encode_s == 0
        assert noted[0].objects_s > 0
        newest = stream.newest
        assert newest.queue_s == newest.begun_s - newest.live.queued_s - 3.0

    def test_latency_is_not_made_longer_for_more_frames(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Session, "prefetches", True)
        deadlines = (None, DeadlineSettings(fps=30), DeadlineSettings(latency_ms=100))
        streams = [Stream() if one is None else with_deadline(one) for one in deadlines]
        assert not any(stream.tracker.prefetches for stream in streams)  # nothing was tracked yet
        for stream in streams:
            stream.see(10)
        assert [stream.tracker.prefetches for stream in streams] == [True, True, False]

    def test_without_a_deadline_nothing_is_told(self, stream: Stream) -> None:
        stream.see(10)
        assert stream.newest.budget is None
        assert stream.status().budget is None


class TestSnapshots:
    @pytest.mark.slow
    def test_a_restored_stream_goes_on_with_the_same_masks(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        stream.see(10)
        stream.prompt(drawn(10, object_id=5, label="cup"))
        stream.see(11, 12)
        stream.save(tmp_path / "s")
        other = Stream()
        other.tracker.apply(RestoreCommand(tmp_path / "s", next_object_id=9))
        assert other.told() == [(EventName.OBJECT_RESTORED, 5)]
        assert other.objects() == stream.objects()
        for one in (stream, other):
            one.see(13, 14)
        assert masks(other.newest)[0].any()
        assert np.array_equal(masks(other.newest), masks(stream.newest))
        assert other.told() == []
        assert other.prompt(drawn(14)).object.id == 9

    def test_no_prompt_is_drawn_on_the_frame_of_a_snapshot(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        """Nobody sees it any more."""
        stream.see(10)
        stream.save(tmp_path / "s")
        stream.see(11)
        stream.tracker.apply(RestoreCommand(tmp_path / "s"))
        assert stream.refusal(drawn(11)).code is ErrorCode.NO_FRAME
        stream.see(12)
        assert stream.prompt(drawn(12)).frame_seq == 12

    def test_restoring_takes_the_place_of_what_is_there(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        stream.see(10)
        stream.prompt(drawn(10))
        stream.save(tmp_path / "s")
        stream.prompt(drawn(10))
        stream.told()
        stream.tracker.apply(RestoreCommand(tmp_path / "s"))
        assert stream.told() == [(EventName.OBJECT_REMOVED, 2), (EventName.OBJECT_RESTORED, 1)]
        stream.see(11)
        assert stream.prompt(drawn(11)).object.id == 3

    def test_a_list_that_is_newer_than_the_snapshot_decides(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        stream.see(10)
        stream.prompt(drawn(10))
        stream.prompt(drawn(10))
        stream.save(tmp_path / "s")
        listed = ((2, "renamed"), (3, "new"))
        result = Stream().tracker.apply(RestoreCommand(tmp_path / "s", objects=listed))
        assert isinstance(result, ObjectsResult)
        assert [(obj.id, obj.label, obj.state) for obj in result.objects] == [
            (2, "renamed", ObjectState.VISIBLE),
            (3, "new", ObjectState.LOST),
        ]

    def test_lost_objects_are_listed_and_can_be_shown_again(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        nothing = tmp_path / "nothing"
        stream.tracker.apply(RestoreCommand(nothing, True, ((4, "cup"), (6, None)), 11))
        assert [(o.id, o.label, o.state) for o in stream.objects()] == [
            (4, "cup", ObjectState.LOST),
            (6, None, ObjectState.LOST),
        ]
        assert stream.events[0].state is ObjectState.LOST
        stream.see(10, 11)
        assert {obj.state for obj in stream.objects()} == {ObjectState.LOST}
        again = stream.prompt(drawn(11, object_id=4))
        assert not again.created
        assert (again.object.label, again.object.state) == ("cup", ObjectState.VISIBLE)
        assert stream.prompt(drawn(11)).object.id == 11

    def test_no_more_objects_come_back_than_are_allowed(self, stream: Stream) -> None:
        listed = tuple((i, None) for i in range(1, 6))
        stream.tracker.apply(RestoreCommand(Path("none"), True, listed, 6))
        assert [obj.id for obj in stream.objects()] == [1, 2, 3]

    def test_a_snapshot_that_cannot_be_used_changes_nothing(
        self, stream: Stream, tmp_path: Path
    ) -> None:
        stream.see(10)
        stream.prompt(drawn(10))
        other_history = Stream(replace(POLICY, history_frames=7))
        other_history.save(tmp_path / "other")
        (tmp_path / "damaged").write_bytes(b"nonsense")
        for name, says in [
            ("missing", "no snapshot"),
            ("damaged", "damaged"),
            ("other", "model.history_frames"),
        ]:
            refused = stream.refusal(RestoreCommand(tmp_path / name))
            assert refused.code is ErrorCode.SNAPSHOT
            assert says in refused.message

    def test_the_limit_of_objects_may_change_between(self, stream: Stream, tmp_path: Path) -> None:
        stream.see(10)
        stream.prompt(drawn(10))
        stream.prompt(drawn(10))
        stream.save(tmp_path / "s")
        smaller = Stream(replace(POLICY, max_objects=1))
        smaller.tracker.apply(RestoreCommand(tmp_path / "s"))
        smaller.see(11)
        assert [obj.id for obj in smaller.objects()] == [1]
        assert smaller.refusal(drawn(11)).code is ErrorCode.LIMIT


def test_status_shows_how_the_stream_stands(stream: Stream) -> None:
    before = stream.tracker.status()
    assert (before.width, before.newest_seq, before.tracked, before.fps) == (0, None, 0, 0.0)
    stream.see(10, 11)
    stream.prompt(drawn(11))
    stream.see(13)
    status = stream.tracker.status()
    assert (status.width, status.height) == (WIDTH, HEIGHT)
    assert (status.tracked, status.newest_seq, status.next_object_id) == (3, 13, 2)
    assert list(status.objects) == stream.objects()
    assert status.bank_bytes > 0
    assert list(status.stages) == ["decode", "queue", "encode", "track"]
    for stage in status.stages.values():
        assert stage.count == 3
        assert 0 < stage.p50_s <= stage.p99_s


class TestZones:
    """Zones as commands, corrections and snapshots change them; `test_zones` has the rest."""

    SQUARE = ZoneSettings(polygon=((0, 0), (160, 0), (160, 120), (0, 120)), min_frames=1)

    def watched(self) -> Stream:
        return Stream(settings=SETTINGS.model_copy(update={"zones": {"all": self.SQUARE}}))

    def zone_events(self, stream: Stream) -> list[EventName]:
        return [name for name, _ in stream.told() if name.startswith(("zone.", "line."))]

    def test_a_correction_of_an_old_frame_makes_no_event_twice(self) -> None:
        stream = self.watched()
        stream.see(10, 11)
        stream.prompt(drawn(11))
        stream.see(12)
        assert self.zone_events(stream) == [
            EventName.ZONE_SET,
            EventName.ZONE_COUNT,
            EventName.ZONE_ENTERED,
            EventName.ZONE_COUNT,
        ]
        stream.prompt(drawn(10, object_id=1, frame=FrameAddress(seq=10)))
        stream.see(13)
        assert self.zone_events(stream) == []
        assert stream.status().zones[0].count == 1
        assert stream.status().zone_events == 4

    def test_an_object_that_is_put_back_does_not_enter_and_is_counted(self, tmp_path: Path) -> None:
        stream = self.watched()
        stream.see(10)
        stream.prompt(drawn(10))
        stream.see(11)
        stream.save(tmp_path / "s")
        other = self.watched()
        other.tracker.apply(RestoreCommand(tmp_path / "s"))
        other.see(12, 13)
        assert self.zone_events(other) == [EventName.ZONE_SET, EventName.ZONE_COUNT]
        assert other.status().zones[0].count == 1

    def test_zones_that_are_set_take_the_place_of_those_before(self) -> None:
        stream = self.watched()
        line = ZoneSettings(line=((0, 0), (160, 120)))
        stream.tracker.apply(SetZonesCommand({"line": line}))
        assert self.zone_events(stream) == [
            EventName.ZONE_SET,
            EventName.ZONE_REMOVED,
            EventName.ZONE_SET,
        ]
        assert [one.zone for one in stream.status().zones] == ["line"]

    @pytest.mark.slow
    def test_a_velocity_is_not_worked_out_unless_it_is_sent(self) -> None:
        plain, measured = (
            Stream(settings=SETTINGS.model_copy(update={"measure": MeasureSettings(velocity=one)}))
            for one in (False, True)
        )
        for stream in (plain, measured):
            stream.see(10)
            stream.prompt(drawn(10))
            stream.see(11, 12, 13, 14)
        assert plain.newest.motions == {}
        assert list(measured.newest.motions) == [1]
