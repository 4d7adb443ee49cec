"""Recordings tracked again: the same bytes, or from which frame on not, and why."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded_run import CORRECTION, POLICY, PROMPT, RecordedRun, on_frame
from tests.support.recordings import reordered_clip
from tracker.cli.main import main
from tracker.daemon.messages import RelabelCommand, RemoveCommand
from tracker.engine import Policy
from tracker.models import Model
from tracker.replay import recompute
from tracker.replay.recompute import Comparison, Recomputation
from tracker.replay.recording import open_recordings

FRAMES = 32  # in two segments
COMMANDS = {
    3: [PROMPT],
    12: [on_frame(CORRECTION, 8), RelabelCommand(1, "disc")],
    20: [on_frame(PROMPT, 16)],
    30: [RemoveCommand(1)],
}
Again = Callable[..., Comparison]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reordered_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES)


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Track what is recorded in the folder again with a model."""

    def run(model: Model, *differences: str, policy: Policy = POLICY) -> Comparison:
        loaded: Any = (model, policy, differences)
        monkeypatch.setattr(recompute, "load_recorded", lambda note: loaded)
        (recording,) = open_recordings(tmp_path)
        return Recomputation(recording).run()

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("every", "encoding"), [(1, "rle"), (3, "bits"), (2, "labelmap-png")])
def test_what_is_tracked_again_is_the_same_byte_for_byte(
    clip: Path, tmp_path: Path, again: Again, every: int, encoding: Any
) -> None:
    commands = {
        seq * every: [
            on_frame(one, one.frame.seq * every) if getattr(one, "frame", None) else one
            for one in some
        ]
        for seq, some in COMMANDS.items()
        if seq * every < FRAMES
    }
    run = RecordedRun(clip, tmp_path, every=every, commands=commands, encoding=encoding)
    found = again(run.model)
    assert found.frames == found.same_bytes == found.same_masks == -(-FRAMES // every)
    assert found.is_equal and found.first_different is None
    assert (found.missing, found.reasons) == (0, [])


@pytest.mark.slow
def test_an_object_whose_prompt_is_not_there_is_told(
    clip: Path, tmp_path: Path, again: Again
) -> None:
    run = RecordedRun(clip, tmp_path, every=2, commands={8: [PROMPT]}, notes=False)
    found = again(run.model)
    assert (found.frames, found.first_different) == (FRAMES // 2, 10)
    assert found.same_bytes == 5 and found.lowest_iou == 0
    assert found.reasons == ["no prompt of object 1 is in the recording"]


@pytest.mark.slow
def test_another_model_gives_other_masks_and_is_told(
    clip: Path, tmp_path: Path, again: Again, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RecordedRun(clip, tmp_path, every=2, commands={8: [PROMPT]})
    other = replace(POLICY, follow_edges=False)  # stands for other weights
    found = again(run.model, "fingerprint a, now b", policy=other)
    assert found.first_different == 10 and found.same_masks < FRAMES // 2
    assert found.reasons == ["fingerprint a, now b"]
    assert main(["replay", str(tmp_path), "--recompute"]) == 1
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "from frame 10 on they differ, lowest IoU 0." in told and "fingerprint" in told


@pytest.mark.slow
def test_a_frame_that_is_not_in_the_video_is_told(clip: Path, tmp_path: Path, again: Again) -> None:
    run = RecordedRun(clip, tmp_path, every=2, commands={4: [PROMPT]})
    videos = sorted((tmp_path / "cam").glob("*.mp4"))
    assert len(videos) == 2
    videos[1].unlink()
    found = again(run.model)
    assert found.frames + found.missing == FRAMES // 2
    assert found.reasons[0] == "frame 30 is not in the video"
    assert found.same_bytes == found.frames == 15
