"""Prompts: the file, and how prompts combine and fit a source."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan, Removal
from tracker.annotate.prompts_file import PromptsFile, load_prompts
from tracker.errors import PromptError, UsageError
from tracker.rle import encode_rle
from tracker.types import Prompt

BOX = {"frame": 0, "box": [1, 2, 30, 40]}


def write(folder: Path, *objects: dict, **more: object) -> Path:
    path = folder / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": objects, **more}))
    return path


def test_a_file_with_every_kind_of_prompt(tmp_path: Path):
    mask_hw = np.zeros((48, 64), np.bool_)
    mask_hw[5:9, 10:20] = True
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask_hw).save(tmp_path / "masks" / "dog.png")
    rle = encode_rle(mask_hw)
    path = write(
        tmp_path,
        {
            "id": 1,
            "label": "dog",
            "prompts": [
                {"frame": 0, "box": [1, 2, 30, 40], "points": [[5, 6], [7.5, 8]], "labels": [1, 0]},
                {"frame": 9, "points": [[3, 4]]},
            ],
        },
        {"id": 2, "prompts": [{"frame": 3, "mask": "masks/dog.png"}]},
        {
            "id": 3,
            "prompts": [{"frame": 4, "mask": {"size": [48, 64], "counts": rle.counts}}],
        },
    )
    plan = PromptPlan(load_prompts(path).placed, FrameRange())
    plan.check_size(48, 64)
    assert [(item.frame, item.prompt.object_id) for item in plan.placed] == [
        (0, 1),
        (3, 2),
        (4, 3),
        (9, 1),
    ]
    first = plan.due(0)[0].resolve()
    assert first == Prompt(1, ((5, 6), (7.5, 8)), (1, 0), (1, 2, 30, 40), None, "dog")
    assert plan.due(9)[0].resolve().point_labels == (1,)
    for frame in (3, 4):
        assert np.array_equal(plan.due(frame)[0].resolve().mask_hw, mask_hw)
    assert plan.due(5) == ()
    assert plan.labels == {1: "dog", 2: None, 3: None}


def test_a_byte_order_mark_does_no_harm(tmp_path: Path):
    path = write(tmp_path, {"id": 1, "prompts": [BOX]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_prompts(path).placed) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Invalid JSON: EOF .* at line 1"),
        ('{"version": 1,\n "objects": [}', "line 2 column 14"),
        ("[" * 100_000, "Invalid JSON"),
        ("[]", "valid dictionary|object"),
        ('{"version": 2, "objects": []}', "version: Input should be 1"),
        ('{"version": 1, "objects": []}', "objects: "),
        ({"id": 0, "prompts": [BOX]}, r"objects\[0\].id: "),
        ({"id": "1", "prompts": [BOX]}, r"objects\[0\].id: .*integer"),
        ({"id": 1, "prompts": []}, r"objects\[0\].prompts: "),
        ({"id": 1, "prompts": [BOX], "name": "x"}, r"objects\[0\].name: Extra inputs"),
        ({"id": 1, "prompts": [{"frame": -1, "box": [0, 0, 1, 1]}]}, r"prompts\[0\].frame: "),
        ({"id": 1, "prompts": [{"frame": 0}]}, r"prompts\[0\]: give points, a box or a mask"),
        ({"id": 1, "prompts": [{"frame": 0, "box": [1, 2, 3]}]}, r"prompts\[0\].box"),
        ({"id": 1, "prompts": [{"frame": 0, "points": [[1, 2]], "labels": [2]}]}, r"labels\[0\]"),
        ({"id": 1, "prompts": [{"frame": 0, "points": [[1, 2]], "labels": []}]}, "1 points but 0"),
        ({"id": 1, "prompts": [{**BOX, "mask": "a.png"}]}, "a mask goes without points and box"),
        ({"id": 1, "prompts": [{"frame": 0, "mask": 5}]}, r"prompts\[0\].mask"),
        ({"id": 1, "prompts": [{"frame": 0, "mask": {"size": [4, 4]}}]}, "mask.rle.counts: "),
        ({"id": 1, "prompts": [{"frame": 0, "mask": "absent.png"}]}, "absent.png: no such mask"),
    ],
)
def test_a_fault_is_named_in_one_line(tmp_path: Path, content: str | dict, says: str):
    path = tmp_path / "prompts.json"
    path.write_text(
        content if isinstance(content, str) else json.dumps({"version": 1, "objects": [content]})
    )
    with pytest.raises(UsageError, match=says) as caught:
        load_prompts(path)
    assert "\n" not in str(caught.value)


def test_an_id_twice_in_one_file(tmp_path: Path):
    path = write(tmp_path, {"id": 4, "prompts": [BOX]}, {"id": 4, "prompts": [BOX]})
    with pytest.raises(UsageError, match=r"objects\[1\] repeats id 4"):
        load_prompts(path)


def test_faults_beyond_the_first_are_counted(tmp_path: Path):
    path = write(tmp_path, {"id": 0, "prompts": []})
    with pytest.raises(UsageError, match=r"\(and 1 more\)"):
        load_prompts(path)


def test_the_schema_describes_every_key():
    schema = PromptsFile.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all("description" in p or "$ref" in str(p) for p in part["properties"].values())


def box(frame: int, object_id: int = 1) -> PlacedPrompt:
    return PlacedPrompt(frame, Prompt(object_id, box_xyxy=(1, 2, 30, 40)))


def click(frame: int, x: float, label: int = 1) -> PlacedPrompt:
    return PlacedPrompt(frame, Prompt(1, ((x, 5),), (label,)))


def mask(frame: int) -> PlacedPrompt:
    return PlacedPrompt(frame, Prompt(1), encode_rle(np.ones((48, 64), np.bool_)))


def test_clicks_and_a_box_on_one_frame_are_one_prompt():
    plan = PromptPlan([click(2, 3), box(2), click(2, 4, 0), box(2, object_id=7)], FrameRange())
    assert [item.prompt for item in plan.due(2)] == [
        Prompt(1, ((3, 5), (4, 5)), (1, 0), (1, 2, 30, 40)),
        Prompt(7, box_xyxy=(1, 2, 30, 40)),
    ]
    assert plan.object_ids == (1, 7)


@pytest.mark.parametrize(
    ("placed", "says"),
    [
        ([], "no prompt was given"),
        ([box(0), box(0)], "two boxes"),
        ([mask(0), click(0, 1)], "a mask and another prompt"),
        ([box(0), mask(0)], "a mask and another prompt"),
        ([mask(0), mask(0)], "a mask and another prompt"),
    ],
)
def test_prompts_that_contradict_each_other(placed: list[PlacedPrompt], says: str):
    with pytest.raises(PromptError, match=says):
        PromptPlan(placed, FrameRange())


def test_a_mask_on_one_frame_and_a_click_on_another_are_fine():
    assert len(PromptPlan([mask(0), click(1, 5)], FrameRange()).placed) == 2


def test_prompts_outside_the_frames():
    with pytest.raises(PromptError, match="frame 4 is before --start 5"):
        PromptPlan([box(4)], FrameRange(5))
    with pytest.raises(PromptError, match="frame 9 is not before --stop 9"):
        PromptPlan([box(9)], FrameRange(5, 9))
    plan = PromptPlan([box(9)], FrameRange(5, 20))
    plan.check_range(10)
    with pytest.raises(PromptError, match=r"frame 9 is past the end of the source \(9 frames\)"):
        plan.check_range(9)
    with pytest.raises(UsageError, match="--start 5 is past the end"):
        plan.check_range(5)


def test_empty_ranges_and_counts():
    for start, stop in ((5, 5), (5, 4), (-1, None)):
        with pytest.raises(UsageError):
            FrameRange(start, stop)
    assert FrameRange(3).count(None) is None
    assert FrameRange(3, 8).count(None) == 5
    assert FrameRange(3, 8).count(6) == 3


def test_a_damaged_rle_names_its_object():
    rle = encode_rle(np.ones((4, 4), np.bool_))
    plan = PromptPlan(
        [PlacedPrompt(0, Prompt(3), type(rle)(rle.height, 5, rle.counts))], FrameRange()
    )
    with pytest.raises(PromptError, match="object 3: RLE mask counts 16 pixels"):
        plan.check_size(4, 5)


def test_a_file_says_where_an_object_leaves(tmp_path: Path):
    path = write(tmp_path, {"id": 4, "prompts": [BOX, {**BOX, "frame": 9}], "removed_at": [5, 20]})
    content = load_prompts(path)
    plan = PromptPlan(content.placed, FrameRange(), content.removals)
    assert plan.removals == (Removal(5, 4), Removal(20, 4))
    assert [list(plan.removed(frame)) for frame in (4, 5, 6)] == [[], [4], []]


@pytest.mark.parametrize(
    ("removal", "says"),
    [
        (Removal(5, 2), "no prompt names this object"),
        (Removal(1, 1), "before its first prompt, on frame 3"),
        (Removal(3, 1), "prompted on the same frame"),
        (Removal(12, 1), "is not before --stop 12"),
        (Removal(0, 1), "is before --start 1"),
        (Removal(7, 1), "gone since frame 6"),
    ],
)
def test_a_removal_that_makes_no_sense(removal: Removal, says: str):
    with pytest.raises(PromptError, match=says):
        PromptPlan([box(3), box(9)], FrameRange(1, 12), [Removal(6, 1), removal])


def test_objects_that_leave_make_room():
    placed = [box(0), box(0, 2), box(5, 3), box(7, 1)]
    assert PromptPlan(placed, FrameRange()).most_at_once == 3
    assert PromptPlan(placed, FrameRange(), [Removal(5, 1), Removal(7, 2)]).most_at_once == 2


def test_the_digest_tells_plans_apart():
    def digest(*placed: PlacedPrompt, stop: int = 20, removals: tuple[Removal, ...] = ()) -> str:
        return PromptPlan(placed, FrameRange(0, stop), removals).digest

    plans = [digest(box(0)), digest(box(1)), digest(mask(0)), digest(box(0), stop=9)]
    plans.append(digest(box(0), removals=(Removal(4, 1),)))
    assert len(set(plans)) == 5
    assert digest(box(0), click(3, 1)) == digest(click(3, 1), box(0))
