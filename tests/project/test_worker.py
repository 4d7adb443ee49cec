"""The worker of a project, asked while it tracks."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_pico import small_pico
from tests.support.three_discs import box, centre, write_clip
from tracker.annotate.plan import PlacedPrompt
from tracker.project.folder import Project, ProjectSettings, described_source
from tracker.project.messages import (
    Changed,
    Draft,
    DraftMask,
    DraftRefused,
    DrawnPrompt,
    Event,
    Request,
    Status,
    Stop,
    Track,
)
from tracker.project.prompts import ProjectPrompts
from tracker.project.results import Direction, ResultStore
from tracker.project.stored import is_tracked
from tracker.project.tracking import LoadedModel, ProjectTracking
from tracker.project.worker import Worker
from tracker.types import Prompt

pytestmark = pytest.mark.slow

FRAMES = 6
BOXES = ProjectPrompts().with_prompt(PlacedPrompt(0, Prompt(1, box_xyxy=box(0, 0))))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("tracker.annotate.run.load_model", lambda *_, **__: small_pico())
    monkeypatch.setattr("tracker.project.worker.STATUS_EVERY_S", 0.0)
    clip = write_clip(tmp_path / "discs.mp4", FRAMES)
    folder = tmp_path / "project"
    source, content = described_source(str(clip), folder)
    made = Project.create(folder, ProjectSettings(source=source, content=content, title="discs"))
    BOXES.save(made.prompts_path)
    return made


class Asking:
    """Runs a worker, and asks what `answer` says to each of its events; None ends it."""

    def __init__(self, answer: Callable[[Event], list[Request | None]]) -> None:
        self.events: list[Event] = []
        self.tracked_to: list[int] = []  # when each event came
        self._answer = answer
        self._read, self._write = os.pipe()

    def run(self, project: Project, *first: Request) -> None:
        self._send(list(first))
        with store_of(project) as store, os.fdopen(self._read, "rb") as requests:
            loaded = LoadedModel(project)

            def emit(event: Event) -> None:
                self.events.append(event)
                self.tracked_to.append(store.tracked_to)
                self._send(self._answer(event))

            tracking = ProjectTracking(project, loaded, store)
            Worker(tracking, loaded, store, emit).run(requests)

    def _send(self, requests: list[Request | None]) -> None:
        for request in requests:
            if request is None:
                os.close(self._write)
            else:
                os.write(self._write, request.model_dump_json().encode() + b"\n")


@contextmanager
def store_of(project: Project) -> Iterator[ResultStore]:
    with project.lock(), project.results() as store:
        yield store


def click(frame: int) -> DrawnPrompt:
    return DrawnPrompt(frame=frame, points=(centre(0, frame),), labels=(1,))


def is_idle(event: Event) -> bool:
    return isinstance(event, Status) and event.state == "idle"


def test_drafts_are_answered_while_it_tracks_or_once_their_frame_is_reached(
    project: Project,
) -> None:
    asking = Asking(lambda event: [None] if is_idle(event) else [])
    new = DrawnPrompt(frame=4, box=box(1, 4))
    asking.run(project, Draft(id=1, object=1, prompt=click(5)), Draft(id=2, object=2, prompt=new))
    answers = {
        event.id: at
        for event, at in zip(asking.events, asking.tracked_to, strict=True)
        if isinstance(event, DraftMask)
    }
    assert answers.keys() == {1, 2}
    assert answers[1] >= 5  # a correction needs what was tracked up to it
    assert answers[2] < FRAMES  # a new object does not wait for the end
    assert is_idle(asking.events[-1])


def test_it_stops_and_goes_on_when_it_is_asked(project: Project) -> None:
    stopped: list[int] = []

    def answer(event: Event) -> list[Request | None]:
        if isinstance(event, DraftRefused):
            return [Track()]
        if not isinstance(event, Status):
            return []
        if event.state == "tracking" and not stopped:
            stopped.append(event.tracked_to)
            return [Stop(), Draft(id=1, object=1, prompt=click(5))]
        return [None] if event.state == "idle" else []

    asking = Asking(answer)
    asking.run(project)
    (refused,) = (event for event in asking.events if isinstance(event, DraftRefused))
    assert "frame 5 is not tracked yet" in refused.message
    assert asking.tracked_to[asking.events.index(refused)] <= stopped[0] + 1
    assert asking.tracked_to[-1] == FRAMES


def test_changed_prompts_are_tracked_and_wrong_ones_are_said(project: Project) -> None:
    corrected = BOXES.with_prompt(PlacedPrompt(3, Prompt(2, box_xyxy=box(1, 3))))
    steps = iter((corrected, None))

    def answer(event: Event) -> list[Request | None]:
        if isinstance(event, Status) and event.state == "failed":
            return [None]
        if not is_idle(event):
            return []
        prompts = next(steps)
        if prompts is None:
            project.prompts_path.write_text("no prompts")
        else:
            prompts.save(project.prompts_path)
        return [Changed()]

    asking = Asking(answer)
    asking.run(project)
    last = asking.events[-1]
    assert isinstance(last, Status) and "prompts.json" in last.error
    with project.results(read_only=True) as store:
        assert store.prompts_json == corrected.to_json()
        assert [item.id for item in store.objects(0, FRAMES - 1)] == [1, 2]  # type: ignore[arg-type]


def test_the_way_back_is_tracked_once_the_settings_say_so(project: Project) -> None:
    BOXES.with_prompt(PlacedPrompt(3, Prompt(2, box_xyxy=box(1, 3)))).save(project.prompts_path)
    steps = iter((True, False, None))

    def answer(event: Event) -> list[Request | None]:
        if not is_idle(event):
            return []
        backward = next(steps)
        if backward is None:
            return [None]
        project.with_settings(project.settings.model_copy(update={"backward": backward}))
        return [Changed()]

    asking = Asking(answer)
    asking.run(project)
    states = [event.state for event in asking.events if isinstance(event, Status)]
    assert [state for state, _ in itertools.groupby(states)][-4:] == [
        "tracking",
        "idle",
        "backward",
        "idle",
    ]
    with project.results(read_only=True) as store:
        assert [item.id for item in store.objects(Direction.BACKWARD, 2)] == [2]
        assert is_tracked(Project.open(project.folder), project.prompts(), store)


def test_a_new_name_does_not_interrupt_tracking(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[ProjectTracking] = []
    track = ProjectTracking.track

    def counted(tracking: ProjectTracking, **asked: Any) -> bool:
        runs.append(tracking)
        return track(tracking, **asked)

    monkeypatch.setattr(ProjectTracking, "track", counted)
    renamed = BOXES.relabelled(1, "red")

    def answer(event: Event) -> list[Request | None]:
        if isinstance(event, Status) and event.state == "tracking" and event.tracked_to == 2:
            renamed.save(project.prompts_path)
            return [Changed()]
        return [None] if is_idle(event) else []

    asking = Asking(answer)
    asking.run(project)
    assert len(runs) == 1
    with project.results(read_only=True) as store:
        assert is_tracked(project, renamed, store)
