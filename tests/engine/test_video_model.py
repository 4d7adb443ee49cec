"""Another family of models: a row of the registry and one file, tracked by the same engine."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.colour_model import ROW, ColourModel
from tests.support.live_scene import iou
from tests.support.moving_scene import frame, square
from tests.support.small_pico import small_pico
from tracker.engine import ComputeBudget, Policy, Session
from tracker.errors import UsageError
from tracker.models import REGISTRY, Model, load_model, registry
from tracker.models.base import VideoModel
from tracker.types import ObjectState, Prompt

PROMPTS = [
    Prompt(1, ((70.0, 60.0),), (1,)),
    Prompt(1, box_xyxy=(50, 40, 90, 80)),
    Prompt(1, mask_hw=square()),
]
SMALLER = ComputeBudget(input_size=96)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(registry, "REGISTRY", {**REGISTRY, ROW.name: ROW})
    return load_model("colour", device="cpu")


@pytest.fixture
def session(model: Model) -> Session:
    """The square, prompted on the first frame."""
    session = Session(model)
    session.step(frame())
    session.prompt(PROMPTS[0])
    return session


@pytest.mark.parametrize("prompt", PROMPTS, ids=["point", "box", "mask"])
def test_the_square_is_followed_from_every_kind_of_prompt(model: Model, prompt: Prompt) -> None:
    assert isinstance(model.network, ColourModel)
    session = Session(model)
    session.step(frame())
    assert iou(session.prompt(prompt).object.mask_hw, square()) > 0.9
    for shift in range(3, 30, 3):
        (obj,) = session.step(frame(shift)).objects
        assert obj.state is ObjectState.VISIBLE
        assert iou(obj.mask_hw, square(shift)) > 0.9


def test_an_object_is_occluded_and_comes_back(session: Session) -> None:
    (gone,) = session.step(np.zeros_like(frame())).objects
    assert (gone.state, gone.box_xyxy) == (ObjectState.OCCLUDED, None)
    (back,) = session.step(frame(8)).objects
    assert back.state is ObjectState.VISIBLE
    assert iou(back.mask_hw, square(8)) > 0.9


def test_a_prompt_on_a_past_frame_is_replayed(session: Session) -> None:
    session.step(frame(4))
    session.step(frame(8))
    prompted = session.prompt(Prompt(2, ((74.0, 60.0),), (1,)), step=1)
    assert prompted.caught_up == 1
    assert iou(prompted.object.mask_hw, square(8)) > 0.9


def test_a_snapshot_goes_on_alike_at_another_input_size(
    session: Session, model: Model, tmp_path: Path
) -> None:
    session.step(frame(2), SMALLER)
    session.save(tmp_path / "s")
    restored = Session.load(tmp_path / "s", model)
    for shift, budget in ((4, SMALLER), (6, ComputeBudget())):
        (ours,) = session.step(frame(shift), budget).objects
        (theirs,) = restored.step(frame(shift), budget).objects
        assert np.array_equal(ours.mask_hw, theirs.mask_hw)
        assert iou(ours.mask_hw, square(shift)) > 0.9


def test_a_policy_that_needs_more_than_the_model_can_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match="colour finds no distractors"):
        Session(model, Policy(keep_memories="distractors"))


@pytest.mark.parametrize("family", ["colour", "pico"])
def test_shapes_are_those_that_a_model_states(model: Model, family: str) -> None:
    either = model if family == "colour" else small_pico()
    network: VideoModel = either.network
    memory, size, side = network.memory, either.input.size, network.mask_side
    features = network.encode_image(np.zeros((size, size, 3), np.uint8))
    decoded = network.decode(features, network.condition(features, []), first=True)
    assert size % side == 0
    assert decoded.logits_n1ss.shape == (1, 1, side, side)
    assert decoded.pointers_nc.shape == (1, memory.pointer_channels)
    assert decoded.presence_n1.shape == (1, 1) and decoded.iou_n.shape == (1,)
    maps_nqm = network.encode_memory(features, decoded, from_prompt=False)
    assert maps_nqm.shape == (1, memory.tokens, memory.map_channels)
