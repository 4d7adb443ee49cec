"""Edits of a project's prompts, and the first frame that they change."""

import json
from pathlib import Path

import pytest

from tracker.annotate.plan import FrameRange, PlacedPrompt, Removal
from tracker.annotate.prompts_file import load_prompts
from tracker.errors import PromptError
from tracker.project.prompts import ProjectPrompts, first_change
from tracker.rle import Rle
from tracker.types import Prompt

MASK = Rle(2, 2, "13")  # COCO text of the runs 1, 3


def click(object_id: int, frame: int, x: float, label: int = 1) -> PlacedPrompt:
    return PlacedPrompt(frame, Prompt(object_id, ((x, 1.0),), (label,)))


def box(object_id: int, frame: int) -> PlacedPrompt:
    return PlacedPrompt(frame, Prompt(object_id, box_xyxy=(1.0, 1.0, 9.0, 9.0)))


BOTH = ProjectPrompts().with_prompt(box(1, 2)).with_prompt(box(2, 5))


def test_clicks_on_a_frame_add_up_and_a_box_or_a_mask_starts_afresh() -> None:
    clicked = BOTH.with_prompt(click(1, 2, 3.0)).with_prompt(click(1, 2, 4.0, 0))
    found = clicked.at(1, 2)
    assert found is not None
    assert found.prompt.box_xyxy == (1, 1, 9, 9)
    assert (found.prompt.points_xy, found.prompt.point_labels) == (((3, 1), (4, 1)), (1, 0))
    again = clicked.with_prompt(box(1, 2)).at(1, 2)
    assert again is not None and again.prompt.points_xy == ()
    painted = clicked.with_prompt(PlacedPrompt(2, Prompt(1), MASK))
    assert painted.at(1, 2) == PlacedPrompt(2, Prompt(1), MASK)
    with pytest.raises(PromptError, match="painted mask on frame 2"):
        painted.with_prompt(click(1, 2, 3.0))


def test_an_edit_leaves_the_prompts_before_it_alone() -> None:
    before = BOTH.to_json()
    BOTH.with_prompt(click(1, 3, 1.0)).without_object(2).relabelled(1, "dog")
    assert BOTH.to_json() == before
    assert BOTH.object_ids == (1, 2)
    assert BOTH.free_id() == 3
    assert BOTH.without_object(1).free_id() == 1


def test_names_are_kept_by_later_prompts_and_change_no_frame() -> None:
    named = BOTH.relabelled(1, "dog")
    assert named.with_prompt(click(1, 7, 1.0)).label(1) == "dog"
    assert first_change(BOTH, named) is None


def test_the_first_change_is_that_of_the_earliest_prompt_that_differs() -> None:
    assert first_change(BOTH, BOTH.with_prompt(click(2, 7, 1.0))) == 7
    assert first_change(BOTH.with_prompt(click(2, 7, 1.0)), BOTH) == 7
    assert first_change(BOTH, BOTH.without_object(2)) == 5
    assert first_change(BOTH, BOTH.with_removal(Removal(4, 1))) == 4
    assert first_change(ProjectPrompts(), BOTH) == 2
    assert first_change(BOTH, BOTH) is None


def test_the_last_prompt_takes_the_object_along_and_none_that_is_needed_goes() -> None:
    ended = BOTH.with_removal(Removal(4, 1)).with_prompt(box(1, 6)).with_removal(Removal(8, 1))
    with pytest.raises(PromptError, match="removal of object 1 on frame 8"):
        ended.without_prompt(1, 6)
    assert BOTH.without_prompt(1, 2).object_ids == (2,)
    with pytest.raises(PromptError, match="no prompt on frame 3"):
        BOTH.without_prompt(1, 3)
    assert ended.with_removal(Removal(8, 1)).removals == (Removal(4, 1),)  # it goes on again


def test_an_object_is_tracked_into_a_frame_between_a_prompt_and_a_removal() -> None:
    ended = BOTH.with_removal(Removal(4, 1)).with_prompt(box(1, 6))
    into = [frame for frame in range(9) if ended.is_tracked_into(1, frame)]
    assert into == [3, 7, 8]


def test_the_file_is_a_prompts_file_and_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    prompts = (
        BOTH.with_prompt(click(1, 4, 0.1 + 0.2, 0))
        .with_prompt(PlacedPrompt(9, Prompt(2), MASK))
        .with_removal(Removal(7, 1))
        .relabelled(2, "Käfer")
    )
    prompts.save(path)
    assert ProjectPrompts.load(path) == prompts
    assert ProjectPrompts.from_json(prompts.to_json()) == prompts
    content = load_prompts(path)  # as trackd track reads it
    assert len(content.placed) == 4 and content.removals == (Removal(7, 1),)
    assert json.loads(path.read_text())["objects"][1]["label"] == "Käfer"
    ProjectPrompts().save(path)
    assert not path.exists()
    assert ProjectPrompts.load(path).plan(FrameRange()) is None
