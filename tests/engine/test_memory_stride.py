"""Memories that keep the means of squares of tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tracker.engine import OFFICIAL, Policy, Session
from tracker.models import find_spec, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.pico.build import read_pico_config
from tracker.models.sam2.attention import _pooled_turns
from tracker.types import Prompt


@pytest.mark.slow
def test_a_pooled_memory_is_a_quarter_of_a_whole_one() -> None:
    model = load_model("pico", device="cpu", dtype="fp32")
    pooled, whole = Session(model), Session(model, OFFICIAL)
    assert (pooled.state.bank.shape.tokens, whole.state.bank.shape.tokens) == (13 * 13, 26 * 26)
    assert model.network.module.memory_stride == 2, "the caller's model is left as it was"


def test_a_configuration_may_say_it_by_its_older_name(tmp_path: Path) -> None:
    path = checkpoint_path(find_spec("pico")).with_suffix(".json")
    older = tmp_path / "older.json"
    older.write_text(path.read_text().replace('"memory_stride"', '"memory_pool"'))
    assert "memory_pool" in older.read_text()
    assert read_pico_config(older) == read_pico_config(path)


@pytest.mark.slow
def test_a_pooled_session_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    model = load_model("pico", device="cpu", dtype="fp32")
    frames = np.random.default_rng(0).integers(0, 255, (6, 90, 160, 3), np.uint8)
    session = Session(model, Policy(history_frames=0))
    session.step(frames[0])
    session.prompt(Prompt(1, box_xyxy=(40, 20, 120, 70)))
    for frame in frames[1:4]:
        session.step(frame)
    session.save(tmp_path / "state.safetensors")
    resumed = Session.load(tmp_path / "state.safetensors", model)
    for frame in frames[4:]:
        (ours,), (theirs,) = resumed.step(frame).objects, session.step(frame).objects
        assert ours.score == theirs.score
        assert np.array_equal(ours.mask_hw, theirs.mask_hw)


def test_a_pooled_token_lies_in_the_middle_of_its_square() -> None:
    """Places 0..3 by 0..3, one frequency each: the middle of the first square is at 0.5."""
    x, y = torch.arange(4.0).repeat(4), torch.arange(4.0).repeat_interleave(4)
    turns_qd = torch.polar(torch.ones(16, 2), torch.stack([x, 0.1 * y], dim=1))
    angles_kd = _pooled_turns(turns_qd, 4).angle()
    assert torch.allclose(angles_kd[:, 0], torch.tensor([0.5, 2.5, 0.5, 2.5]))
    assert torch.allclose(angles_kd[:, 1], torch.tensor([0.05, 0.05, 0.25, 0.25]))
