"""Objects that a finder adds to a run: when they begin and end, and what the summary says."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.installed import install
from tests.support.moving_square import (
    HEIGHT,
    SIDE,
    WIDTH,
    ColourSession,
    frames,
    open_fake_session,
    square_xy,
    write_clip,
)
from tracker.annotate.finding import FinderChoice, FindingTracker
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan
from tracker.annotate.trackers import PlanTracker
from tracker.cli.main import main
from tracker.errors import UsageError
from tracker.finders.base import FinderSpec, Proposal
from tracker.finders.births import BirthPolicy
from tracker.finders.guard import GuardedFinder
from tracker.segmenters.base import Segmentation
from tracker.types import Prompt

GREEN_BOX = (90, 60, 110, 80)
EXAMPLE = Path(__file__).parents[2] / "examples" / "colour_finder.py"


class Scripted:
    """Proposes or raises what a function of the search's number says."""

    def __init__(self, script: Callable[[int], list[Proposal]]) -> None:
        self.script, self.searches = script, 0

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        self.searches += 1
        return self.script(self.searches)


def red_box(index: int) -> tuple[int, int, int, int]:
    x, y = square_xy(index)
    return (x, y, x + SIDE, y + SIDE)


def both(index: int) -> list[Proposal]:
    return [Proposal(red_box(index), 0.9, "red"), Proposal(GREEN_BOX, 0.8, "green")]


def tracking(
    script: Callable[[int], list[Proposal]],
    *,
    every: int | None = None,
    every_frame: bool = False,
    policy: BirthPolicy | None = None,
    plan: PromptPlan | None = None,
    first_masks: FirstMasks | None = None,
    last_id: int | None = None,
) -> FindingTracker:
    session, plan = ColourSession(), plan or PromptPlan([], finds=True)
    spec = FinderSpec("scripted", "", lambda model, settings: None, every_frame=every_frame)
    phrases = ("red", "green")
    choice = FinderChoice(spec, phrases, every=every, policy=policy or BirthPolicy(min_area=0))
    return FindingTracker(
        PlanTracker(session, plan),
        session,
        GuardedFinder(Scripted(script), "scripted"),
        choice,
        plan,
        first_masks=first_masks,
        last_id=last_id,
    )


def ids_by_frame(tracker: FindingTracker, count: int) -> list[list[int]]:
    ids = [[item.id for item in tracker.track(frame).objects] for frame in frames(count)]
    tracker.close()
    return ids


def test_without_every_objects_are_looked_for_on_the_first_frame_alone():
    tracker = tracking(lambda search: both(search - 1))
    assert ids_by_frame(tracker, 3) == [[1, 2]] * 3
    found = tracker.summary()
    assert (found.searches, found.births_in_all, found.failures) == (1, 2, 0)
    assert [(b.id, b.label, b.frame, b.score) for b in found.births] == [
        (1, "red", 0, 0.9),
        (2, "green", 0, 0.8),
    ]


def test_new_objects_appear_later_and_known_ones_are_not_taken_twice():
    tracker = tracking(lambda search: both(2 * search - 2)[: 1 + (search > 2)], every=2)
    assert ids_by_frame(tracker, 6) == [[1]] * 4 + [[1, 2]] * 2
    found = tracker.summary()
    assert found.searches == 3
    assert found.births[1].frame == 4
    assert found.refused == {"tracked already": 2}


def test_a_search_whose_frame_is_damaged_comes_on_the_next_one():
    tracker = tracking(lambda search: both(search - 1), every=2)
    for frame in frames(7):
        if frame.seq not in (2, 3):
            tracker.track(frame)
    tracker.close()
    assert tracker.summary().searches == 3  # frames 0, 4 and 6


def test_a_finder_of_every_frame_sees_those_between_searches_too():
    tracker = tracking(lambda search: both(search - 1), every=3, every_frame=True)
    ids_by_frame(tracker, 5)
    assert tracker.summary().searches == 5


def test_an_object_that_is_gone_for_long_expires_by_the_clock_of_the_video():
    policy = BirthPolicy(min_area=0, expire_after_s=0.08)  # two frames at 25 a second
    tracker = tracking(lambda search: both(search - 1), policy=policy)
    # The green square is gone from frame 6 on; it was seen on frame 5 last.
    assert ids_by_frame(tracker, 9) == [[1, 2]] * 7 + [[1]] * 2
    assert [(death.id, death.frame) for death in tracker.summary().deaths] == [(2, 7)]


def test_ids_go_on_after_those_of_prompts_and_end_at_what_the_outputs_hold():
    plan = PromptPlan([PlacedPrompt(0, Prompt(7, box_xyxy=red_box(0)))], finds=True)
    tracker = tracking(lambda search: both(search - 1), plan=plan, last_id=8)
    assert ids_by_frame(tracker, 2) == [[7, 8], [7, 8]]
    full = tracking(lambda search: both(search - 1), last_id=1)
    assert ids_by_frame(full, 1) == [[1]]
    assert full.summary().refused == {"no id left": 1}


def test_labels_that_nobody_asked_for_are_dropped():
    tracker = tracking(lambda search: [Proposal(GREEN_BOX, 0.8, "tree"), both(0)[0]])
    ids_by_frame(tracker, 1)
    assert [birth.label for birth in tracker.summary().births] == ["red", None]


def test_prompted_objects_do_not_expire():
    plan = PromptPlan([PlacedPrompt(0, Prompt(1, box_xyxy=GREEN_BOX))], finds=True)
    tracker = tracking(lambda search: [], plan=plan, policy=BirthPolicy(expire_after_s=0.04))
    assert ids_by_frame(tracker, 9)[-1] == [1]


def failing(search: int) -> list[Proposal]:
    if search == 2:
        raise RuntimeError("no weights")
    return [Proposal((float("nan"), 0, 1, 1), 0.5), *both(search - 1)]


def test_tracking_goes_on_after_a_failure_which_the_summary_tells():
    tracker = tracking(failing, every=1)
    assert ids_by_frame(tracker, 4) == [[1, 2]] * 4
    found = tracker.summary()
    assert (found.failures, found.invalid) == (1, 3)
    expected = "frame 1: finder scripted failed: RuntimeError: no weights"
    assert found.first_failure == expected
    assert found.gave_up is None


class UpperHalf:
    """Segments the upper half of boxes; nothing of the green one."""

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        masks_nhw = np.zeros((len(prompts), HEIGHT, WIDTH), np.bool_)
        for mask_hw, prompt in zip(masks_nhw, prompts, strict=True):
            x0, y0, x1, y1 = map(int, prompt.box_xyxy)
            if x0 < 80:
                mask_hw[y0 : (y0 + y1) // 2, x0:x1] = True
        return Segmentation(masks_nhw, np.ones(len(prompts), np.float32))


def test_boxes_become_masks_by_the_segmenter_and_those_without_one_no_objects():
    masks = FirstMasks(UpperHalf(), "upper-half")
    tracker = tracking(lambda search: both(search - 1), first_masks=masks)
    assert ids_by_frame(tracker, 1) == [[1]]
    assert tracker.summary().refused == {"no mask": 1}


def test_all_boxes_of_a_picture_go_to_the_segmenter_at_once():
    asked: list[int] = []

    class Noting(UpperHalf):
        def segment(self, image_hwc, prompts):
            asked.append(len(prompts))
            return super().segment(image_hwc, prompts)

    def three(search: int) -> list[Proposal]:
        mask_hw = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask_hw[90:, :20] = True
        masked = Proposal((0, 90, 20, HEIGHT), 0.85, "red", mask_hw)
        return [both(0)[1], masked, both(0)[0]]

    masks = FirstMasks(Noting(), "noting")
    tracker = tracking(three, first_masks=masks)
    assert ids_by_frame(tracker, 2) == [[1, 2]] * 2
    assert asked == [2]  # a proposal with a mask needs none
    assert [birth.score for birth in tracker.summary().births] == [0.9, 0.85]
    assert tracker.summary().refused == {"no mask": 1}


def test_boxes_are_padded_before_the_segmenter():
    seen: list[tuple[float, ...]] = []

    class Noting(UpperHalf):
        def segment(self, image_hwc, prompts):
            seen.append(prompts[0].box_xyxy)
            return super().segment(image_hwc, prompts)

    masks = FirstMasks(Noting(), "noting", box_padding=0.1)
    ids_by_frame(tracking(lambda search: both(0)[:1], first_masks=masks), 1)
    assert seen == [(2, 8, 26, 32)]
    with pytest.raises(UsageError, match=r"box padding 0\.6; give a number from 0 to 0\.5"):
        FirstMasks(UpperHalf(), "x", box_padding=0.6)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A clip in the present folder, and the example's finder as an installed package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    entry = "colour = colour_finder:COLOUR"
    install(tmp_path / "site", monkeypatch, EXAMPLE, "trackd.finders", entry)
    return write_clip(tmp_path / "clip.mp4", 8).name


def test_the_finder_of_a_package_begins_objects_of_a_run(clip: str, capsys):
    argv = ["track", clip, "--finder", "colour:red . green", "--min-area", "0", "--quiet"]
    argv += ["--export", "yolo-seg:yolo"]  # whose classes are written with the first frame
    assert main([*argv, "--davis", "masks", "--coco", "out.json", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert {(item["id"], item["label"]) for item in summary["objects"]} == {
        (1, "red"),
        (2, "green"),
    }
    assert summary["found"]["finder"] == "colour"
    annotations = json.loads(Path("out.json").read_text())["annotations"]
    assert len(annotations) == 2
    assert Path("yolo/data.yaml").read_text().count("red") == 1
    assert len(list(Path("masks").iterdir())) == 8


def test_the_summary_lists_births_and_what_was_not_taken(clip: str, capsys):
    argv = ["track", clip, "--finder", "colour:red . green", "--every", "2", "--quiet"]
    argv += ["--min-area", "0", "--expire-after", "0.05", "--max-objects", "1"]
    assert main(argv) == 0
    lines = capsys.readouterr().out
    assert "finder colour (red, green): 4 searches" in lines
    assert "1 objects began, 0 expired" in lines
    assert "began: 1 red on frame 0, score " in lines
    assert "too many objects" in lines and "tracked already" in lines


BROKEN = """
import threading
from tracker.finders.base import FinderSpec
class Hanging:
    def find(self, image_hwc, phrases):
        threading.Event().wait()
class Raising:
    def find(self, image_hwc, phrases):
        raise OSError("no such device")
HANGING = FinderSpec("hanging", "", lambda model, settings: Hanging())
RAISING = FinderSpec("raising", "", lambda model, settings: Raising())
"""


def test_a_finder_of_a_package_that_hangs_or_raises_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    entries = ("hanging = plugin:HANGING", "raising = plugin:RAISING")
    install(tmp_path / "site", monkeypatch, BROKEN, "trackd.finders", *entries)
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    clip = write_clip(tmp_path / "clip.mp4", 8).name
    argv = ["track", clip, "--box", "1:4,10,24,30", "--every", "1", "--quiet", "--coco"]
    assert main([*argv, "hung.json", "--finder", "hanging", "--find-timeout", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "object 1: on 8 of 8 frames" in out
    assert "1 searches failed, the first: frame 0: finder hanging gave no answer within 0.1" in out
    assert "the finder was given up: no answer within 0.1 s" in out
    assert main([*argv, "raised.json", "--finder", "raising"]) == 0
    out = capsys.readouterr().out
    assert "3 searches failed, the first: frame 0: finder raising failed: OSError: no such" in out
    assert "the finder was given up: 3 failures in a row" in out
    assert Path("hung.json").read_bytes() == Path("raised.json").read_bytes()
    sys.modules.pop("plugin", None)


NAMING = """
from tracker.finders.base import FinderSpec, Proposal
class Naming:
    labels = [f"kind{i}" for i in range(80)]
    def find(self, image_hwc, phrases):
        return [Proposal((4, 10, 24, 30), 0.9, "kind70"), Proposal((90, 60, 110, 80), 0.8, "kind3")]
class Spaced(Naming):
    labels = [*Naming.labels, "traffic light"]
NAMING = FinderSpec("naming", "", lambda model, settings: Naming())
SPACED = FinderSpec("spaced", "", lambda model, settings: Spaced())
"""


def test_formats_are_checked_against_the_labels_of_a_finder_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    entries = ("naming = plugin:NAMING", "spaced = plugin:SPACED")
    install(tmp_path / "site", monkeypatch, NAMING, "trackd.finders", *entries)
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    argv = ["track", write_clip(tmp_path / "clip.mp4", 3).name, "--min-area", "0", "--quiet"]
    assert main([*argv, "--finder", "naming", "--export", "mots:mots"]) == 0
    names = Path("mots/instances/labels.txt").read_text().split()
    assert names == ["car", "pedestrian", "kind70", "kind3"]  # in the order of their ids
    assert np.unique(np.asarray(Image.open("mots/instances/000001.png"))).tolist() == [
        0, 3001, 4002]  # fmt: skip
    capsys.readouterr()
    assert main([*argv, "--finder", "spaced", "--export", "mot:mot"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no label with spaces or commas: traffic light" in line
    assert "which finder spaced may find; name the classes to find" in line
    assert not list(tmp_path.glob("mot*.part"))
    sys.modules.pop("plugin", None)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--finder", "colour"], "finder colour needs words"),
        (["--finder", "nothing"], "no finder is called nothing; there are everything, motion"),
        (["--text", ""], "no phrase in ''"),
        (["--text", " . "], 'no phrase in .*; name what to find, as in "cat . red car"'),
        (["--text", "a", "--motion"], "not allowed with argument"),
        (["--finder", "motion:car"], "finder motion takes no words"),
        (["--motion", "--every", "0"], "--every 0; give 1 or more frames"),
        (["--motion", "--find-set", "min_area=2"], "finder motion: min_area=2: Input should be"),
        (["--motion", "--find-set", "size=2"], "finder motion: size=2: Extra .*; its settings: h"),
        (["--motion", "--find-set", "size"], "--find-set size is not KEY=VALUE"),
        (["--find-set", "min_area=2", "--box", "1:1,1,9,9"], "without a finder; add --text"),
        (["--motion", "--min-score", "3"], "min_score 3; give a number from 0 to 1"),
        (["--motion", "--max-objects", "65"], "--max-objects 65; a session tracks 64"),
        (["--motion", "--resume", "state"], "--resume goes with prompts, not with a finder"),
        (["--motion", "--backward"], "--backward goes with prompts"),
        (["--motion", "--find-timeout", "0"], "--find-timeout 0; give more than 0 seconds"),
        (["--detect", ":person"], "--detect :person is not MODEL"),
        (["--detect", "rt-detr-r99:person"], "unknown model 'rt-detr-r99' to find by class; did"),
        (["--text", "cat", "--find-set", "model=owl"], "unknown model 'owl' to find by words"),
        (["--motion", "--box-padding", "0.9", "--segmenter", "tracker"], "box padding 0.9"),
        ([], "or have objects found by --text, --everything, --motion or --detect"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(clip: str, capsys, argv, says):
    import re

    assert main(["track", clip, "--davis", "masks", "--quiet", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line), line
    assert not Path("masks").exists()


def test_models_that_are_not_here_say_how_to_get_them(clip: str, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path / "models"))
    assert main(["track", clip, "--text", "cat"]) == 1
    assert "run `trackd models get grounding-dino-tiny`" in capsys.readouterr().err


def test_a_plan_without_prompts_needs_a_finder():
    assert PromptPlan([], FrameRange(3), finds=True).first_frame == 3
