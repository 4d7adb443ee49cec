"""A run from Python: resume, backward and stop without a command line."""

import itertools
import json
import subprocess
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from streams import VideoWriter
from tests.support.moving_scene import HEIGHT, WIDTH, frame
from tests.support.small_pico import small_pico
from tests.support.warm_python import python
from tracker.annotate.job import Tally
from tracker.annotate.plan import FrameRange, PlacedPrompt, PromptPlan
from tracker.annotate.run import ModelChoice, run
from tracker.cli.main import main
from tracker.errors import UsageError
from tracker.types import Prompt

ROOT = Path(__file__).parents[2]
FRAMES, PROMPTED = 8, 3
BOX = (50.0 + 2 * PROMPTED, 40.0, 90.0 + 2 * PROMPTED, 80.0)
PLAN = PromptPlan([PlacedPrompt(PROMPTED, Prompt(1, box_xyxy=BOX, label="red"))])


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(Path("clip.mp4"), width=WIDTH, height=HEIGHT, fps=Fraction(25)) as video:
        for index in range(FRAMES):
            video.write(frame(2 * index), index, Fraction(1, 25))
    return "clip.mp4"


@pytest.mark.slow
def test_the_example_tracks_both_ways_and_keeps_its_results_in_few_lines(clip: str):
    example = ROOT / "examples" / "annotate_file.py"
    code = example.read_text().rsplit('"""', 1)[1].split("\n")
    assert len([line for line in code if line.strip()]) <= 12
    box = [f"{value:g}" for value in BOX]
    done = subprocess.run(
        [*python(), str(example), clip, str(PROMPTED), *box],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    both, onward = map(json.loads, done.stdout.splitlines())
    assert (both["frames"], both["backward"]) == (FRAMES, PROMPTED + 1)
    assert both["objects"] == [{"id": 1, "label": "it", "frames": FRAMES}]
    assert onward["objects"][0]["frames"] == FRAMES - PROMPTED
    assert set(onward["outputs"]) == {"davis", "coco", "state"}
    assert json.loads(Path("state/run.json").read_text())["finished"]
    assert len(list(Path("masks").iterdir())) == FRAMES
    assert Path("both.mp4").stat().st_size > 0


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.annotate.run.load_model", lambda *_, **__: small_pico())


@pytest.mark.slow
def test_it_writes_what_the_command_writes(clip: str, small_model: None):
    box = f"1:{','.join(f'{value:g}' for value in BOX)}@{PROMPTED}"
    command = ["track", clip, "--box", box, "--label", "1:red", "--stop", "6", "--quiet"]
    assert main([*command, "--coco", "typed.json", "--out", "typed.mp4", "--out-width", "80"]) == 0
    plan = PromptPlan(PLAN.placed, FrameRange(stop=6))
    outputs = {"coco": "called.json", "video": Path("called.mp4")}
    summary = run(clip, plan, outputs, settings={"out_width": 80}, model=ModelChoice("pico"))
    assert (summary.frames, summary.stopped_early) == (6, False)
    assert summary.outputs == {"coco": "called.json", "video": "called.mp4"}
    for suffix in ("json", "mp4"):
        assert Path(f"typed.{suffix}").read_bytes() == Path(f"called.{suffix}").read_bytes()


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_and_ends_like_one_that_was_not(
    clip: str, small_model: None
):
    run(clip, PLAN, {"coco": "whole.json"})
    asked = itertools.count()
    stopped = run(
        clip, PLAN, {"coco": "out.json"}, resume="state", stop_asked=lambda: next(asked) >= 5
    )
    assert (stopped.frames, stopped.stopped_at, stopped.stopped_early) == (5, 4, True)
    whole = run(clip, PLAN, {"coco": "out.json"}, resume="state")
    assert (whole.frames, whole.replayed, whole.stopped_early) == (FRAMES, 5, False)
    assert Path("out.json").read_bytes() == Path("whole.json").read_bytes()
    with pytest.raises(UsageError, match="the run in state is finished"):
        run(clip, PLAN, {"coco": "out.json"}, resume="state")


@pytest.mark.slow
def test_progress_is_shown_pass_by_pass_and_threads_are_given_back(clip: str):
    shown: list[tuple[int | None, list[str]]] = []

    @contextmanager
    def progress(total, doing):
        words: list[str] = []

        def on_frame(tally: Tally) -> None:
            words.append(doing(tally))

        yield on_frame
        shown.append((total, words))

    threads = torch.get_num_threads()
    summary = run(clip, PLAN, {"davis": "masks"}, backward=True, progress=progress)
    assert shown == [
        (PROMPTED + 1, ["backward"] * (PROMPTED + 1)),
        (FRAMES, ["frame"] * FRAMES),
    ]
    assert summary.backward == PROMPTED + 1
    assert torch.get_num_threads() == threads


def test_what_is_wrong_is_found_before_anything_is_written(clip: str):
    for asked, says in (
        ({"outputs": {"coco": "a.txt"}}, "--coco a.txt does not end in .json"),
        ({"outputs": {"tiff": "a"}}, "no exporter is called tiff"),
        ({"outputs": {"coco": "a.json"}, "segmenter": "x"}, "no segmenter is called x"),
        ({"outputs": {}, "backward": True, "resume": "state"}, "do not go together"),
    ):
        with pytest.raises(UsageError, match=says):
            run(clip, PLAN, **asked)
    assert [path.name for path in Path.cwd().iterdir()] == [clip]
