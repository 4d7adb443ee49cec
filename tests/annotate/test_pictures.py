"""Frames addressed by the names of their pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tracker.annotate.pictures import Pictures
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan, Removal
from tracker.annotate.prompts_file import PromptsFile, load_prompts
from tracker.cli.prompt_options import PromptOptions
from tracker.errors import PromptError, UsageError
from tracker.types import Prompt

NAMES = ("-1.jpg", "00005.jpg", "50%d@3.jpg", "a.jpg", "a.png", "a.png.jpg", "ö b.c.JPG")
PICTURES = Pictures("shots", [Path("shots") / name for name in NAMES])


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("-1", 0),
        ("00005", 1),
        ("00005.jpg", 1),
        ("50%d@3", 2),
        ("a.jpg", 3),
        ("a.png", 4),  # a whole name comes before another file's stem
        ("ö b.c", 6),
        ("ö b.c.JPG", 6),
    ],
)
def test_a_picture_is_found_by_its_name_with_the_suffix_or_without(name: str, number: int):
    options = PromptOptions(
        boxes=[f"1:4,10,24,30@name:{name}"],
        points=[f"2:5,6@name:{name}", f"2:5,6,0@name:{name}"],
        removals=[f"1@name:{name}"],
        pictures=PICTURES,
    )
    assert [item.frame for item in options.prompts(0)] == [number] * 3
    assert options.removed() == (Removal(number, 1),)


def test_a_mask_file_may_have_an_at_sign_in_its_name_too(tmp_path: Path):
    path = tmp_path / "mask@2.png"
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(path)
    options = PromptOptions(masks=[f"1:{path}@name:50%d@3", f"2:{path}@3"], pictures=PICTURES)
    assert [item.frame for item in options.prompts(0)] == [2, 3]


def test_the_prompts_file_takes_names_as_well(tmp_path: Path):
    prompts = [{"frame": "name:00005", "box": [1, 2, 3, 4]}, {"frame": 4, "box": [1, 2, 3, 4]}]
    objects = [{"id": 7, "prompts": prompts, "removed_at": [2, "name:a.jpg"]}]
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": objects}))
    content = load_prompts(path, PICTURES)
    assert [item.frame for item in content.placed] == [1, 4]
    assert content.removals == (Removal(2, 7), Removal(3, 7))


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("name:zebra", "no picture of shots is called zebra; give the name of its file"),
        ("name:a", "a may be a.jpg or a.png; give the whole name of the file"),
        ("name:", "frame: give a frame number from 0, or name: and a picture's name"),
        ("zebra", "frame: give a frame number from 0, or name: and a picture's name"),
        (-1, "frame: give a frame number from 0, or name: and a picture's name"),
        (1.5, "frame: give a frame number from 0, or name: and a picture's name"),
        (True, "frame: give a frame number from 0, or name: and a picture's name"),
    ],
)
def test_what_is_no_name_of_one_picture_is_told(tmp_path: Path, frame: object, says: str):
    path = tmp_path / "prompts.json"
    for key in ("frame", "removed_at"):
        prompt = {"frame": frame if key == "frame" else 0, "box": [1, 2, 3, 4]}
        item = {"id": 7, "prompts": [prompt], "removed_at": [frame] if key == "removed_at" else []}
        path.write_text(json.dumps({"version": 1, "objects": [item]}))
        where = says if key == "frame" else says.replace("frame:", "removed_at[0]:")
        with pytest.raises(UsageError) as caught:
            load_prompts(path, PICTURES)
        assert where in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_option_that_names_no_picture_says_which_option(tmp_path: Path):
    with pytest.raises(PromptError, match=r"^--remove 1@name:zebra: no picture of shots"):
        PromptOptions(removals=["1@name:zebra"], pictures=PICTURES).removed()
    with pytest.raises(PromptError, match=r"^--box 1:1,2,3,4@name:a: a may be a.jpg or a.png"):
        PromptOptions(boxes=["1:1,2,3,4@name:a"], pictures=PICTURES).prompts(0)
    with pytest.raises(PromptError, match=r"the frames of clip.mp4 have no names"):
        PromptOptions(boxes=["1:1,2,3,4@name:a"], pictures=Pictures("clip.mp4")).prompts(0)


def test_masks_of_one_name_are_refused_within_the_range():
    with pytest.raises(UsageError, match=r"masks of a.jpg and a.png would both be a.png"):
        PICTURES.check_stems(FrameRange(), "--davis", ".png")
    PICTURES.check_stems(FrameRange(0, 4), "--davis", ".png")
    PICTURES.check_stems(FrameRange(4), "--davis", ".png")


def test_a_prompt_on_a_damaged_picture_names_it(tmp_path: Path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:-20])
    pictures = Pictures.of(str(tmp_path))
    box = Prompt(3, box_xyxy=(1, 2, 3, 4))
    pictures.check_prompted(PromptPlan([PlacedPrompt(0, box)], FrameRange()))
    with pytest.raises(PromptError, match=r"object 3 on frame 1: the picture .*/1\.png is damaged"):
        pictures.check_prompted(PromptPlan([PlacedPrompt(1, box)], FrameRange()))


def test_the_schema_holds_both_kinds_of_address():
    frame = PromptsFile.model_json_schema()["$defs"]["FilePrompt"]["properties"]["frame"]
    number, name = frame["anyOf"]
    assert (number["type"], number["minimum"]) == ("integer", 0)
    assert (name["type"], name["pattern"][:6]) == ("string", "^name:")
