"""`trackd track --project` and `trackd export` on the command line."""

import json
import math
from pathlib import Path

import pytest

from tests.support.small_pico import small_pico
from tests.support.three_discs import box, write_clip
from tracker.annotate.plan import PlacedPrompt
from tracker.cli.main import main
from tracker.project.folder import Project, ProjectSettings, described_source
from tracker.project.prompts import ProjectPrompts
from tracker.types import Prompt

BOX = f"1:{','.join(f'{edge:g}' for edge in box(0, 0))}"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.annotate.run.load_model", lambda *_, **__: small_pico())
    monkeypatch.setattr("tracker.project.tracking.SNAPSHOT_EVERY_S", math.inf)
    monkeypatch.chdir(tmp_path)
    write_clip(Path("discs.mp4"), 4)


@pytest.mark.slow
def test_a_project_is_made_gone_on_with_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["track", "discs.mp4", "--box", BOX, "--label", "1:red", "--project", "p", "--json"]
    assert main([*command, "--quiet", "--coco-frames", "tracked.json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["tracked"], summary["exported"]) == (4, 4)
    assert main(["export", "p", "--coco-frames", "again.json", "--quiet", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["tracked"], summary["outputs"]) == (0, {"coco_frames": "again.json"})
    assert Path("tracked.json").read_bytes() == Path("again.json").read_bytes()
    # A prompts file that another program wrote is tracked with the next export.
    prompts = json.loads(Path("p/prompts.json").read_text())
    prompts["objects"][0]["prompts"].append({"frame": 2, "box": box(0, 2)})
    Path("p/prompts.json").write_text(json.dumps(prompts))
    assert main(["export", "p", "--export", "coco-frames:new.json", "--quiet"]) == 0
    assert "tracked 4 frames" in capsys.readouterr().out
    typed = ["track", "discs.mp4", "--prompts", "p/prompts.json", "--coco-frames", "typed.json"]
    assert main([*typed, "--quiet"]) == 0
    assert Path("new.json").read_bytes() == Path("typed.json").read_bytes()


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["export", "nothing", "--davis", "m"], 2, "nothing holds neither a project nor a"),
        (["export", "empty"], 2, "nothing to write"),
        (["export", "empty", "--davis", "m", "--to", "9"], 2, "--to are for recordings"),
        (["export", "empty", "--davis", "m", "--to", "noon"], 2, "'noon' is no time"),
        (["export", "empty", "--davis", "m"], 2, "nothing is prompted in the project"),
        (["export", "empty", "--export", "no:x"], 2, "no exporter is called no"),
        (["export", "damaged", "--davis", "m"], 1, "project.json: version"),
        (["track", "discs.mp4", "--box", BOX, "--project", "other"], 2, "differs in model"),
        (["track", "lavfi:testsrc2", "--box", BOX, "--project", "x"], 2, "of a file or a folder"),
        (
            ["track", "discs.mp4", "--box", BOX, "--project", "x", "--resume", "s"],
            2,
            "--project and --resume do not go together",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_writes_nothing(
    command: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, model in (("empty", "pico"), ("other", "sam2.1-tiny")):
        source, content = described_source("discs.mp4", Path(name))
        settings = ProjectSettings(source=source, content=content, title="discs", model=model)
        Project.create(Path(name), settings)
    Path("damaged").mkdir()
    Path("damaged/project.json").write_text('{"version": 3}')
    assert main([*command, "--quiet"]) == code
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not Path("m").exists() and not Path("x").exists()


@pytest.fixture
def prompted() -> tuple[Project, bytes]:
    """A project that is prompted, not tracked; and its prompts file."""
    source, content = described_source("discs.mp4", Path("p"))
    project = Project.create(
        Path("p"), ProjectSettings(source=source, content=content, title="discs")
    )
    prompt = PlacedPrompt(0, Prompt(7, box_xyxy=box(0, 0), label="worked on"))
    ProjectPrompts().with_prompt(prompt).save(project.prompts_path)
    return project, project.prompts_path.read_bytes()


TRACK = ["track", "discs.mp4", "--box", BOX, "--project", "p", "--quiet"]


def test_prompts_that_another_program_tracks_are_not_replaced(
    prompted: tuple[Project, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    project, prompts = prompted
    with project.lock():
        assert main([*TRACK, "--coco-frames", "out.json"]) == 1
    assert "another program tracks the project" in capsys.readouterr().err
    assert project.prompts_path.read_bytes() == prompts


@pytest.mark.parametrize(
    "command",
    [
        [*TRACK, "--coco-frames", "no-folder/out.json"],
        [*TRACK, "--coco-frames", "p/prompts.json"],
        [*TRACK, "--coco-frames", "p/project.json"],
        [*TRACK[:2], "--prompts", "mine.json", *TRACK[4:], "--coco-frames", "mine.json"],
        ["export", "p", "--coco-frames", "p/prompts.json", "--quiet"],
        ["export", "p", "--coco-frames", "p/project.json", "--quiet"],
    ],
)
def test_an_output_that_cannot_be_written_leaves_prompts_and_settings(
    prompted: tuple[Project, bytes], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    project, prompts = prompted
    mine = ProjectPrompts().with_prompt(PlacedPrompt(0, Prompt(1, box_xyxy=box(0, 0))))
    mine.save(Path("mine.json"))
    kept = {path: path.read_bytes() for path in (Path("mine.json"), Path("p/project.json"))}
    assert main(command) in (1, 2)
    said = capsys.readouterr().err
    assert "would overwrite the input" in said or "no folder no-folder" in said
    assert project.prompts_path.read_bytes() == prompts
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.slow
def test_a_source_that_was_exchanged_is_not_exported(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["track", "discs.mp4", "--box", BOX, "--project", "p", "--quiet"]
    assert main(command) == 0
    write_clip(Path("discs.mp4"), 3)
    assert main(["export", "p", "--coco-frames", "out.json", "--quiet"]) == 2
    assert "is not what it was when the project p was made" in capsys.readouterr().err
    assert not Path("out.json").exists()
