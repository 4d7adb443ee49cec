"""Segmenters: the tracking model as one, those of packages, and what becomes of their masks."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streams import VideoWriter
from tests.support import moving_scene as scene
from tests.support.installed import install
from tests.support.moving_square import (
    HEIGHT,
    WIDTH,
    ColourSession,
    frames,
    open_fake_session,
    picture,
    write_clip,
)
from tracker.annotate.backward import BackwardPass
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan, Removal
from tracker.annotate.trackers import PlanTracker
from tracker.cli.main import main
from tracker.errors import ModelError, PromptError
from tracker.models import load_model
from tracker.rle import Rle, decode_rle
from tracker.segmenters.base import Segmentation
from tracker.segmenters.registry import SEGMENTERS
from tracker.types import Prompt, Prompted

RED = Prompt(1, box_xyxy=(4, 10, 24, 30), label="red")
GREEN = Prompt(2, points_xy=((100, 70),), point_labels=(1,))
RED_MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
RED_MASK[10:30, 4:24] = True


class WholeBox:
    """Segments the box, or 5 pixels around a click; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        self.asked.append([prompt.object_id for prompt in prompts])
        masks_nhw = np.zeros((len(prompts), *image_hwc.shape[:2]), np.bool_)
        for mask_hw, prompt in zip(masks_nhw, prompts, strict=True):
            x, y = prompt.points_xy[0] if prompt.points_xy else (0, 0)
            x0, y0, x1, y1 = map(int, prompt.box_xyxy or (x - 5, y - 5, x + 5, y + 5))
            mask_hw[y0:y1, x0:x1] = True
        return Segmentation(masks_nhw, np.ones(len(prompts), np.float32))


class NotingSession(ColourSession):
    """Notes the prompts that reach the tracker."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[Prompt] = []

    def prompt(self, prompt: Prompt) -> Prompted:
        self.prompts.append(prompt)
        return super().prompt(prompt)


def kinds(session: NotingSession) -> list[tuple[int, str]]:
    return [(p.object_id, "drawn" if p.mask_hw is None else "mask") for p in session.prompts]


def test_the_segmenter_makes_the_first_mask_of_each_object_and_no_later_one():
    again = Prompt(1, points_xy=((20, 20),), point_labels=(1,))
    placed = [PlacedPrompt(0, RED), PlacedPrompt(2, GREEN), PlacedPrompt(2, again)]
    placed += [PlacedPrompt(5, GREEN)]
    plan = PromptPlan(placed, FrameRange(), [Removal(4, 2)])
    session, segmenter = NotingSession(), WholeBox()
    tracker = PlanTracker(session, plan, first_masks=FirstMasks(segmenter, "whole-box"))
    for frame in frames(6):
        tracker.track(frame)
    assert segmenter.asked == [[1], [2], [2]]
    assert kinds(session) == [(1, "mask"), (1, "drawn"), (2, "mask"), (2, "mask")]
    first = session.prompts[0]
    assert np.array_equal(first.mask_hw, RED_MASK)
    assert (first.label, first.box_xyxy, first.points_xy) == ("red", None, ())


def test_a_mask_that_was_drawn_stays_what_it_is():
    session, segmenter = NotingSession(), WholeBox()
    plan = PromptPlan([PlacedPrompt(0, Prompt(1, mask_hw=RED_MASK))])
    PlanTracker(session, plan, first_masks=FirstMasks(segmenter, "x")).track(frames(1)[0])
    assert segmenter.asked == []
    assert session.prompts[0].mask_hw is RED_MASK


def test_the_backward_pass_begins_with_the_same_masks():
    from contextlib import nullcontext

    session, segmenter = NotingSession(), WholeBox()
    plan = PromptPlan([PlacedPrompt(1, GREEN), PlacedPrompt(2, GREEN)])
    back = BackwardPass(session, plan, FirstMasks(segmenter, "whole-box"))
    back.run(lambda: nullcontext(frames(4)), on_frame=lambda tally: None, stop_asked=lambda: False)
    assert segmenter.asked == [[2]]
    assert kinds(session) == [(2, "mask")]


class Wrong:
    """Gives whatever it is told to."""

    def __init__(self, masks_nhw: NDArray) -> None:
        self.masks_nhw = masks_nhw

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        return Segmentation(self.masks_nhw, np.ones(1, np.float32))


@pytest.mark.parametrize(
    ("masks_nhw", "error", "says"),
    [
        (np.zeros((1, HEIGHT, WIDTH), np.bool_), PromptError, "wrong finds nothing .* on frame 0"),
        (np.ones((2, HEIGHT, WIDTH), np.bool_), ModelError, r"gives bool \[2, 96, 128\], not bool"),
        (np.ones((1, 9, 9), np.bool_), ModelError, r"not bool \[1, 96, 128\]"),
        (np.ones((1, HEIGHT, WIDTH), np.float32), ModelError, "gives float32"),
    ],
)
def test_masks_that_are_none_are_one_clear_error(masks_nhw, error, says):
    plan = PromptPlan([PlacedPrompt(0, RED)])
    tracker = PlanTracker(NotingSession(), plan, first_masks=FirstMasks(Wrong(masks_nhw), "wrong"))
    with pytest.raises(error, match=says):
        tracker.track(frames(1)[0])


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.sum(first & second) / np.sum(first | second))


@pytest.mark.slow
def test_the_tracking_model_segments_a_picture_without_a_trace():
    segmenter = SEGMENTERS.find("tracker").make(load_model("pico", device="cpu"))
    box = Prompt(4, box_xyxy=(50, 40, 90, 80))
    click = Prompt(9, points_xy=((70, 60),), point_labels=(1,))
    both = segmenter.segment(scene.frame(), [box, click])
    assert both.masks_nhw.shape == (2, scene.HEIGHT, scene.WIDTH)
    assert both.masks_nhw.dtype == np.bool_
    assert (both.scores_n.shape, both.scores_n.dtype) == ((2,), np.float32)
    assert iou(both.masks_nhw[0], scene.square()) > 0.8
    alone = segmenter.segment(scene.frame(), [box])
    assert np.array_equal(alone.masks_nhw[0], both.masks_nhw[0])
    assert segmenter.segment(scene.frame(), []).masks_nhw.shape == (0, scene.HEIGHT, scene.WIDTH)


@pytest.mark.slow
def test_a_run_with_the_model_as_segmenter_follows_the_object(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with VideoWriter(
        Path("clip.mp4"), width=scene.WIDTH, height=scene.HEIGHT, fps=Fraction(25)
    ) as video:
        for index in range(5):
            video.write(scene.frame(3 * index), index, Fraction(1, 25))
    argv = ["track", "clip.mp4", "--box", "1:50,40,90,80", "--quiet", "--coco", "out.json"]
    argv += ["--segmenter", "tracker", "--resume", "state"]
    assert main(argv) == 0
    (annotation,) = json.loads(Path("out.json").read_text())["annotations"]
    for index, mask in enumerate(annotation["segmentations"]):
        found_hw = decode_rle(Rle(*mask["size"], mask["counts"]))
        assert iou(found_hw, scene.square(3 * index)) > 0.8
    description = Path("state/run.json")
    assert json.loads(description.read_text())["segmenter"] == "tracker"

    content = json.loads(description.read_text()) | {"finished": False}
    description.write_text(json.dumps(content))
    assert main([*argv[:-4], "--resume", "state"]) == 2
    assert "state holds another run: it differs in segmenter" in capsys.readouterr().err


def test_the_segmenter_of_a_package_prompts_the_tracker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sessions: list[NotingSession] = []

    def open_session(*asked: object) -> tuple[object, NotingSession]:
        sessions.append(NotingSession())
        return open_fake_session()[0], sessions[-1]

    monkeypatch.setattr("tracker.annotate.run.open_session", open_session)
    write_clip(tmp_path / "clip.mp4", 3)
    example = Path(__file__).parents[2] / "examples" / "grabcut.py"
    install(
        tmp_path / "site", monkeypatch, example, "trackd.segmenters", "grabcut = grabcut:GRABCUT"
    )
    argv = ["track", "clip.mp4", "--box", "1:1,7,30,34", "--point", "1:14,20", "--quiet"]
    assert main([*argv, "--segmenter", "grabcut", "--coco", "out.json"]) == 0
    (prompt,) = sessions[0].prompts
    assert iou(prompt.mask_hw, RED_MASK) > 0.95
    assert (picture(0)[prompt.mask_hw][:, 0] > 200).mean() > 0.95
