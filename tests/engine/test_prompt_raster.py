"""Prompts drawn as a rough mask: what is drawn, and who is shown it."""

import cv2
import numpy as np
import pytest
import torch

from tests.support.small_pico import small_pico
from tracker.engine import OFFICIAL, Policy, Session
from tracker.engine.prompt_raster import IN_BOX, SURE, carry_over, rasterize_prompts
from tracker.models import Model
from tracker.models.base import Clicks, Decoded
from tracker.types import Prompt

SIZE, SIDE = 128, 32
BOX = Prompt(1, box_xyxy=(30.0, 40.0, 90.0, 100.0))


def clicks(*points: tuple[float, float, int]) -> Clicks:
    table = torch.tensor([points])
    return Clicks(table[..., :2], table[..., 2].to(torch.int32))


def test_a_box_says_where_nothing_is() -> None:
    drawn = raster(clicks((32, 16, 2), (64, 80, 3)), None, SIZE)
    assert drawn.shape == (1, 1, 32, 32)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[4:20, 8:16] = True
    assert torch.equal(drawn[0, 0], torch.where(inside, IN_BOX, -SURE))


def test_clicks_say_what_is_there_and_less_of_what_is_far() -> None:
    drawn = raster(clicks((34, 34, 1), (290, 34, 0)), None, 512)[0, 0]
    assert drawn[8, 8] > 0.9 * SURE
    assert drawn[8, 72] < -0.9 * SURE
    assert 0.1 * SURE < drawn[24, 8] < 0.3 * SURE
    assert drawn[100].abs().max() < 0.01


def test_clicks_are_drawn_on_the_mask_that_they_correct_and_a_box_is_not() -> None:
    before = torch.full((1, 1, 32, 32), 4.0)
    corrected = raster(clicks((34, 34, 0)), before, SIZE)[0, 0]
    assert corrected[8, 8] < 0 and corrected[24, 24] > 1
    box = ((32, 16, 2), (64, 80, 3))
    assert torch.equal(raster(clicks(*box), before, SIZE), raster(clicks(*box), None, SIZE))
    both = raster(clicks(*box, (34, 34, 0)), before, SIZE)[0, 0]
    assert both[8, 8] < 0 and both[24, 24] > 1, "the mask of the box is what is corrected"


def test_each_object_has_its_own() -> None:
    two = Clicks(
        torch.tensor([[[20.0, 20.0]], [[90.0, 60.0]]]), torch.ones(2, 1, dtype=torch.int32)
    )
    drawn = raster(two, None, SIZE)
    assert [int(one.argmax()) for one in drawn] == [4 * 32 + 4, 14 * 32 + 22]


def raster(drawn: Clicks, previous: torch.Tensor | None, size: int) -> torch.Tensor:
    return rasterize_prompts(drawn, previous, size=size, side=size // 4)


def decoded(logit: float, *presence: float) -> Decoded:
    n = len(presence)
    return Decoded(
        logits_n1ss=torch.full((n, 1, 32, 32), logit),
        presence_n1=torch.tensor(presence)[:, None],
        iou_n=torch.ones(n),
        pointers_nc=torch.zeros(n, 4),
    )


def test_masks_are_carried_over_and_nothing_is_said_of_absent_objects() -> None:
    last = [decoded(3.0, 1.0), None, decoded(50.0, 2.0, -1.0)]
    carried = carry_over(last, SIDE, torch.device("cpu"))
    assert carried.shape == (4, 1, 32, 32)
    assert carried.flatten(1).unique(dim=1)[:, 0].tolist() == [3.0, 0.0, SURE, 0.0]


@pytest.fixture(scope="module")
def model() -> Model:
    return small_pico()


def first_logits(model: Model, policy: Policy) -> torch.Tensor:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    cv2.circle(image, (60, 70), 25, (220, 60, 40), -1)
    session = Session(model, policy)
    session.step(image)
    session.prompt(BOX)
    return session.state.objects.rows[0].outputs[-1].decoded.logits_n1ss


@pytest.mark.parametrize("draws", [True, False])
def test_only_a_network_that_was_trained_so_is_shown_rasterized_prompts(
    model: Model, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.network.module, "draws_prompts", draws)
    plain = Policy(draw_prompts=False)
    same = torch.equal(first_logits(model, Policy()), first_logits(model, plain))
    assert same is not draws
    assert not OFFICIAL.draw_prompts


def disc(x: int) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    return cv2.circle(image, (x, 70), 25, (220, 60, 40), -1)


def tracked_logits(model: Model, policy: Policy, *before: Decoded) -> torch.Tensor:
    """Logits of a frame, with an object whose mask on the frame before is replaced if need be."""
    session = Session(model, policy)
    session.step(disc(60))
    session.prompt(BOX)
    obj = session.state.objects.rows[0]
    for output in before:
        obj.put(0, output)
    session.step(disc(64))
    return obj.outputs[-1].decoded.logits_n1ss


@pytest.mark.slow
@pytest.mark.parametrize("follows", [True, False])
def test_only_a_network_that_was_trained_so_is_shown_the_mask_before(
    model: Model, follows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.network.module, "follows_masks", follows)
    nowhere = decoded(-9.0, 5.0)
    seen = not torch.equal(
        tracked_logits(model, Policy()), tracked_logits(model, Policy(), nowhere)
    )
    assert seen is follows
    plain = Policy(draw_prompts=False)
    assert torch.equal(tracked_logits(model, plain), tracked_logits(model, plain, nowhere))


def test_a_prompt_on_a_past_frame_is_followed_from_there(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.network.module, "follows_masks", True)
    late, at_once = Session(model, Policy()), Session(model, Policy())
    for step, x in enumerate((60, 62, 64, 66)):
        late.step(disc(x))
        at_once.step(disc(x))
        if step == 0:
            at_once.prompt(BOX)
    late.prompt(BOX, step=0)
    ours, theirs = (s.state.objects.rows[0].outputs[-1].decoded for s in (late, at_once))
    assert torch.equal(ours.logits_n1ss, theirs.logits_n1ss)
    assert int((ours.logits_n1ss > 0).sum()) > 0
