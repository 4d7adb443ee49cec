"""Tracking of a project: the bytes of a whole run, and no more work than the change needs."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.frame import Frame
from streams.random_access import FrameReader
from tests.support.small_pico import small_pico
from tests.support.three_discs import box, centre, write_clip
from tracker.annotate.job import Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import FrameRange, PlacedPrompt, Removal
from tracker.annotate.run import run
from tracker.errors import SnapshotError, TrackdError, UsageError
from tracker.project import tracking as tracking_module
from tracker.project.draft import Drafts, NotTrackedYetError
from tracker.project.folder import Project, ProjectSettings, described_source
from tracker.project.frames import ProjectFrames
from tracker.project.prompts import ProjectPrompts
from tracker.project.run import run_project
from tracker.project.tracking import LoadedModel, ProjectTracking
from tracker.types import Prompt

pytestmark = pytest.mark.slow

FRAMES = 8
BOXES = ProjectPrompts().with_prompt(PlacedPrompt(1, Prompt(1, box_xyxy=box(0, 1), label="red")))
BOXES = BOXES.with_prompt(PlacedPrompt(3, Prompt(2, box_xyxy=box(1, 3))))


def click(object_id: int, disc: int, frame: int) -> PlacedPrompt:
    x, y = centre(disc, frame)
    return PlacedPrompt(frame, Prompt(object_id, ((x, y), (x + 40.0, y)), (1, 0)))


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.annotate.run.load_model", lambda *_, **__: small_pico())
    monkeypatch.setattr(tracking_module, "SNAPSHOT_FRAMES", 2)
    monkeypatch.setattr(tracking_module, "SNAPSHOT_EVERY_S", math.inf)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "discs.mp4", FRAMES)


@pytest.fixture
def make(clip: Path, tmp_path: Path) -> Callable[..., Project]:
    def made(prompts: ProjectPrompts = BOXES, **settings: object) -> Project:
        folder = tmp_path / "project"
        source, content = described_source(str(clip), folder)
        fields = {"source": source, "content": content, "title": "discs"} | settings
        project = Project.create(folder, ProjectSettings.model_validate(fields))
        prompts.save(project.prompts_path)
        return project

    return made


def outputs_in(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    return {
        "davis": folder / "masks",
        "coco-frames": folder / "frames.json",
        "coco": folder / "objects.json",
    }


def exported(project: Project, folder: Path) -> dict[str, bytes]:
    run_project(project, Outputs.of(outputs_in(folder)))
    return contents(folder)


def whole_run(project: Project, prompts: ProjectPrompts, folder: Path) -> dict[str, bytes]:
    plan = prompts.plan(FrameRange())
    assert plan is not None
    run(project.source, plan, outputs_in(folder), backward=project.settings.backward)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def track(project: Project, stop_after: int | None = None) -> int:
    """Frames that were tracked onward, until it is stopped or done."""
    asked = itertools.count()
    frames = 0

    def count(tally: Tally) -> None:
        nonlocal frames
        frames = tally.frames

    with project.lock(), project.results() as store:
        tracking = ProjectTracking(project, LoadedModel(project), store)
        tracking.plan()
        tracking.track(
            on_forward=count,
            on_backward=lambda tally: None,
            stop_asked=lambda: stop_after is not None and next(asked) >= stop_after,
        )
    return frames


@pytest.mark.parametrize("backward", [False, True])
def test_after_corrections_it_exports_what_a_whole_run_writes(
    make: Callable[..., Project], tmp_path: Path, backward: bool
) -> None:
    project = make(backward=backward)
    first = exported(project, tmp_path / "first")
    assert first == whole_run(project, BOXES, tmp_path / "first-run")
    corrected = (
        BOXES.with_prompt(click(1, 0, 5))
        .with_prompt(PlacedPrompt(4, Prompt(3, box_xyxy=box(2, 4))))
        .with_removal(Removal(6, 2))
        .relabelled(1, "rot")
    )
    corrected.save(project.prompts_path)
    second = exported(project, tmp_path / "second")
    assert second == whole_run(project, corrected, tmp_path / "second-run")
    assert second["frames.json"] != first["frames.json"]


def test_only_the_frames_from_the_change_on_are_tracked_again(
    make: Callable[..., Project],
) -> None:
    project = make()
    assert track(project) == FRAMES
    assert track(project) == 0
    BOXES.relabelled(1, "rot").save(project.prompts_path)
    assert track(project) == 0  # a name changes no mask
    BOXES.with_prompt(click(1, 0, 6)).save(project.prompts_path)
    assert track(project) == FRAMES - 5  # from the snapshot before: one every two frames
    BOXES.with_prompt(click(1, 0, 7)).save(project.prompts_path)
    assert track(project) == FRAMES - 5  # the prompt on frame 6 is gone
    BOXES.without_object(2).save(project.prompts_path)
    assert track(project) == FRAMES - 3


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(
    make: Callable[..., Project], tmp_path: Path
) -> None:
    project = make()
    assert track(project, stop_after=5) == 5
    with project.results(read_only=True) as store:
        assert store.tracked_to == 5
    assert track(project, stop_after=1) <= 1
    assert exported(project, tmp_path / "out") == whole_run(project, BOXES, tmp_path / "run")


def test_without_results_and_snapshots_it_is_tracked_anew(
    make: Callable[..., Project], tmp_path: Path
) -> None:
    project = make()
    track(project)
    project.results_path.unlink()
    assert track(project) == FRAMES
    damaged = project.snapshots.path(7)
    damaged.write_bytes(b"damaged")
    BOXES.with_prompt(click(1, 0, 7)).save(project.prompts_path)
    with pytest.raises(SnapshotError):
        track(project)


def test_a_draft_is_the_mask_that_is_tracked_once_it_is_kept(make: Callable[..., Project]) -> None:
    project = make()
    loaded = LoadedModel(project)
    with project.lock(), project.results() as store:
        tracking = ProjectTracking(project, loaded, store)
        plan = tracking.plan()
        drafts = Drafts(project, loaded, ProjectFrames(project))
        new = PlacedPrompt(4, Prompt(3, box_xyxy=box(2, 4)))
        seen = {new: drafts.mask(new, BOXES, plan, store.tracked_to)}
        correction = click(1, 0, 6)
        with pytest.raises(NotTrackedYetError, match="frame 6 is not tracked yet"):
            drafts.mask(correction, BOXES, plan, store.tracked_to)
        tracking.track(
            on_forward=lambda tally: None, on_backward=lambda tally: None, stop_asked=lambda: False
        )
        seen[correction] = drafts.mask(correction, BOXES, plan, store.tracked_to)
    for item, draft in seen.items():
        BOXES.with_prompt(item).save(project.prompts_path)
        track(project)
        with project.results(read_only=True) as store:
            kept = {o.id: o.result(None) for o in store.objects(0, item.frame)}  # type: ignore[arg-type]
        assert (kept[draft.id].mask_hw == draft.mask_hw).all()
        assert kept[draft.id].score == draft.score


def test_more_clicks_on_a_frame_read_it_once(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make()
    loaded = LoadedModel(project)
    decoded: list[int] = []
    read = FrameReader.read

    def counted(reader: FrameReader, number: int) -> Frame:
        decoded.append(number)
        return read(reader, number)

    track(project)
    monkeypatch.setattr(FrameReader, "read", counted)
    with project.lock(), project.results() as store:
        plan = project.prompts().plan(project.frames)
        drafts = Drafts(project, loaded, ProjectFrames(project))
        for disc in (0, 1, 0):
            drafts.mask(click(1, disc, 6), BOXES, plan, store.tracked_to)
        assert decoded == [5, 6]  # from the snapshot before
        drafts.forget()  # a click was kept
        drafts.mask(PlacedPrompt(6, Prompt(3, box_xyxy=box(2, 6))), BOXES, plan, store.tracked_to)
        assert decoded == [5, 6]


def test_another_source_a_second_tracker_and_too_late_prompts_are_refused(
    make: Callable[..., Project], clip: Path, tmp_path: Path
) -> None:
    project = make()
    with project.lock(), pytest.raises(TrackdError, match="another program tracks"):
        track(project)
    BOXES.with_prompt(click(1, 0, 99)).save(project.prompts_path)
    with pytest.raises(UsageError, match="frame 99 is past the end"):
        track(project)
    other = Project(project.folder, project.settings.model_copy(update={"content": "0" * 64}), None)
    with pytest.raises(UsageError, match="is not what it was"):
        track(other)
