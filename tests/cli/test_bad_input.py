"""Bad input: one clear line, the right exit code, no traceback, nothing half-written."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.moving_square import open_fake_session, write_clip
from tracker.cli.main import main

BOX = ("--box", "1:4,10,24,30")
OUTPUTS = ("--out", "out.mp4", "--davis", "masks", "--coco", "out.json")


def nothing(folder: Path) -> None:
    """Most cases need only the clip."""


@dataclass(frozen=True)
class Case:
    """A command line, run in a folder with `clip.mp4` of 12 frames of 128x96 pixels."""

    name: str
    argv: tuple[str, ...]
    code: int
    says: str
    prepare: Callable[[Path], None] = field(default=nothing)


def prompts(*objects: dict) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        text = json.dumps({"version": 1, "objects": objects})
        (folder / "prompts.json").write_text(text)

    return prepare


def picture(name: str, height: int, width: int, value: int = 255) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((height, width), value, np.uint8)).save(folder / name)

    return prepare


def text(name: str, content: str = "this is no video\n" * 50) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def folder_with_file(folder: Path) -> None:
    (folder / "masks").mkdir()
    (folder / "masks" / "notes.txt").write_text("mine")


def hard_link(folder: Path) -> None:
    (folder / "link.mp4").hardlink_to(folder / "clip.mp4")


def partial_download(folder: Path) -> None:
    (folder / "clip.mp4").rename(folder / "out.mp4.part")


CLIP = ("clip.mp4",)
OBJECT = {"id": 1, "prompts": [{"frame": 0, "box": [4, 10, 24, 30]}]}
CASES = [
    Case("missing file", ("absent.mp4", *BOX), 1, "no such file: absent.mp4"),
    Case("text as mp4", ("text.mp4", *BOX), 1, "not a video", text("text.mp4")),
    Case(
        "empty folder",
        ("empty", *BOX),
        1,
        "folder is empty: empty",
        lambda folder: (folder / "empty").mkdir(),
    ),
    Case("unknown kind of source", ("gopher://host/clip", *BOX), 2, "unknown kind of source"),
    Case("box outside", (*CLIP, "--box", "1:4,10,24,97"), 2, "outside the 128x96 frame"),
    Case("box left of the frame", (*CLIP, "--box", "1:-4,10,24,30"), 2, "keep x in 0..128"),
    Case("box reversed", (*CLIP, "--box", "1:24,10,4,30"), 2, "reversed or empty"),
    Case("box with NaN", (*CLIP, "--box", "1:4,nan,24,30"), 2, "not made of numbers"),
    Case("box with three numbers", (*CLIP, "--box", "1:4,10,24"), 2, "is not ID:X0,Y0,X1,Y1"),
    Case("box without an id", (*CLIP, "--box", "4,10,24,30"), 2, "is not ID:X0,Y0,X1,Y1"),
    Case("box on no frame", (*CLIP, "--box", "1:4,10,24,30@-2"), 2, "is not ID:X0,Y0,X1,Y1"),
    Case("point outside", (*CLIP, "--point", "1:128,10"), 2, "outside the 128x96 frame"),
    Case("point label 2", (*CLIP, "--point", "1:8,10,2"), 2, "use 1 (object) or 0 (not)"),
    Case("too many clicks", (*CLIP, *("--point", "1:8,10") * 65), 2, "65 clicks on frame 0"),
    Case("id 0", (*CLIP, "--box", "0:4,10,24,30"), 2, "ids start at 1"),
    Case("two boxes", (*CLIP, *BOX, *BOX), 2, "object 1 on frame 0 has two boxes"),
    Case(
        "mask of another size",
        (*CLIP, "--mask", "1:mask.png"),
        2,
        "mask is 64x96, the frame is 128x96",
        picture("mask.png", 96, 64),
    ),
    Case(
        "empty mask",
        (*CLIP, "--mask", "1:mask.png"),
        2,
        "mask is empty",
        picture("mask.png", 96, 128, 0),
    ),
    Case("missing mask", (*CLIP, "--mask", "1:absent.png"), 2, "absent.png: no such mask file"),
    Case(
        "mask and box",
        (*CLIP, *BOX, "--mask", "1:mask.png"),
        2,
        "has a mask and another prompt",
        picture("mask.png", 96, 128),
    ),
    Case("prompt past the end", (*CLIP, *BOX, "--point", "1:9,9@12"), 2, "past the end"),
    Case("prompt before the start", (*CLIP, *BOX[:1], f"{BOX[1]}@2", "--start", "3"), 2, "before"),
    Case("prompt at the stop", (*CLIP, *BOX[:1], f"{BOX[1]}@3", "--stop", "3"), 2, "not before"),
    Case("start past the end", (*CLIP, *BOX, "--start", "12"), 2, "--start 12 is past the end"),
    Case("stop before start", (*CLIP, *BOX, "--start", "5", "--stop", "5"), 2, "is not after"),
    Case(
        "duplicate id in the file",
        (*CLIP, "--prompts", "prompts.json"),
        2,
        "repeats id 1",
        prompts(OBJECT, OBJECT),
    ),
    Case(
        "id in file and options",
        (*CLIP, "--prompts", "prompts.json", "--point", "1:9,9@3"),
        2,
        "object 1 is in prompts.json and in the options",
        prompts(OBJECT),
    ),
    Case(
        "broken prompts file",
        (*CLIP, "--prompts", "prompts.json"),
        2,
        "prompts.json: Invalid JSON",
        text("prompts.json", '{"version": 1,'),
    ),
    Case("missing prompts file", (*CLIP, "--prompts", "absent.json"), 2, "absent.json: No such"),
    Case("no prompt", CLIP, 2, "no prompt was given"),
    Case("label without prompt", (*CLIP, *BOX, "--label", "2:dog"), 2, "without a prompt"),
    Case("two labels", (*CLIP, *BOX, *("--label", "1:dog") * 2), 2, "has a label"),
    Case("label without a name", (*CLIP, *BOX, "--label", "1:"), 2, "is not ID:NAME"),
    Case(
        "too many objects",
        (*CLIP, *(a for i in range(1, 66) for a in ("--point", f"{i}:9,9"))),
        2,
        "65 objects",
    ),
    Case("removal without a frame", (*CLIP, *BOX, "--remove", "1"), 2, "is not ID@FRAME"),
    Case("removal of nobody", (*CLIP, *BOX, "--remove", "2@5"), 2, "no prompt names this object"),
    Case("removal past the end", (*CLIP, *BOX, "--remove", "1@12"), 2, "is past the end"),
    Case("removal at the prompt", (*CLIP, *BOX, "--remove", "1@0"), 2, "on the same frame"),
    Case("removal at the stop", (*CLIP, *BOX, "--remove", "1@3", "--stop", "3"), 2, "not before"),
    Case(
        "id too large for DAVIS", (*CLIP, "--point", "65535:9,9"), 2, "ids up to 65534, not 65535"
    ),
]
OUTPUT_CASES = [
    Case("no folder", (*BOX, "--out", "absent/out.mp4"), 1, "no folder absent"),
    Case(
        "out is a folder",
        (*BOX, "--out", "d.mp4"),
        1,
        "is not a file",
        picture("d.mp4/a.png", 1, 1),
    ),
    Case("no right to write", (*BOX, "--coco", "/proc/1/x.json"), 1, "/proc/1"),
    Case("out is no mp4", (*BOX, "--out", "out.avi"), 2, "does not end in .mp4"),
    Case("coco is no json", (*BOX, "--coco", "out.txt"), 2, "does not end in .json"),
    Case("davis is a file", (*BOX, "--davis", "clip.txt"), 1, "not a folder", text("clip.txt")),
    Case("davis is not empty", (*BOX, "--davis", "masks"), 1, "holds files", folder_with_file),
    Case("out is the input", (*BOX, "--out", "./clip.mp4"), 2, "would overwrite the input"),
    Case("out links to the input", (*BOX, "--out", "link.mp4"), 2, "overwrite", hard_link),
    Case(
        "coco is the prompts file",
        ("--prompts", "prompts.json", "--coco", "prompts.json"),
        2,
        "would overwrite the input prompts.json",
        prompts(OBJECT),
    ),
    Case(
        "two outputs are one",
        (*BOX, "--davis", "same.json", "--coco", "./same.json"),
        2,
        "--davis and --coco are both same.json",
    ),
]


def run(case: Case, argv: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Run the case and check the line, the code and that the folder is as it was."""
    before = snapshot(folder)
    code = main(["track", *argv])
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("trackd: error: ")
    assert case.says in line
    assert code == case.code
    assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 12)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_source_or_prompt(case: Case, folder: Path, capsys):
    case.prepare(folder)
    run(case, (*case.argv, *OUTPUTS), folder, capsys)


@pytest.mark.parametrize("case", OUTPUT_CASES, ids=lambda case: case.name)
def test_bad_output(case: Case, folder: Path, capsys):
    case.prepare(folder)
    run(case, (*CLIP, *case.argv), folder, capsys)


def test_outputs_that_would_go_into_the_folder_of_the_input_pictures(folder: Path, capsys):
    picture("pictures/00000.png", 96, 128)(folder)
    case = Case("", (*BOX, "--davis", "pictures"), 2, "would overwrite the input pictures")
    run(case, ("pictures", *case.argv), folder, capsys)
    run(case, ("pictures/%05d.png", *case.argv), folder, capsys)


def test_the_temporary_name_of_an_output_is_checked_as_well(folder: Path, capsys):
    partial_download(folder)
    case = Case("", (), 2, "would overwrite the input out.mp4.part")
    run(case, ("out.mp4.part", *BOX, "--out", "out.mp4"), folder, capsys)


def corrupt(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"\0" * 4096)


def mismatched(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"other.weight": torch.zeros(3)}, folder / "weights.safetensors")


@pytest.mark.parametrize(
    "case",
    [
        Case("unknown model", ("--model", "nano"), 2, "nano"),
        Case("no weights", ("--model", "sam2.1-large"), 1, "trackd checkpoints get sam2.1-large"),
        Case("missing", ("--checkpoint", "absent.safetensors"), 1, "absent.safetensors"),
        Case("corrupt", ("--checkpoint", "weights.safetensors"), 1, "weights", corrupt),
        Case("mismatched", ("--checkpoint", "weights.safetensors"), 1, "weights", mismatched),
        Case("unknown device", ("--device", "abacus"), 2, "abacus"),
    ],
    ids=lambda case: case.name,
)
def test_bad_model(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    write_clip(tmp_path / "clip.mp4", 2)
    case.prepare(tmp_path)
    run(case, (*CLIP, *BOX, *case.argv, *OUTPUTS), tmp_path, capsys)
