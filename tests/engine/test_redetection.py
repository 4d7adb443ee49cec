"""A lost object is found again with its id, and what is merely like it is not taken for it."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.colour_model import MASK_STRIDE, ROW, ColourModel
from tests.support.live_scene import iou
from tests.support.moving_scene import frame, square
from tracker.engine import POLICIES, ComputeBudget, Policy, Session
from tracker.engine.memory_bank import MemoryBank
from tracker.engine.recognition import absent
from tracker.models import REGISTRY, Model, load_model, registry
from tracker.models.base import Clicks, Decoded
from tracker.types import ObjectResult, ObjectState, Prompt

POLICY = Policy(lost_after=6, history_frames=4)
NO_GALLERY = replace(POLICY, gallery_entries=0, redetect=False)
GONE = np.zeros_like(frame())
BLUE = (20, 40, 220)
RED, ALIKE = (220, 40, 40), (188, 76, 6)  # the model takes both for the prompted colour
OTHER = (180, 85, 50)  # which it takes for what is between the two, and looks different


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(registry, "REGISTRY", {**REGISTRY, ROW.name: ROW})
    return load_model("colour", device="cpu")


def scene(*squares: tuple[tuple[int, int, int], int, int]) -> NDArray[np.uint8]:
    """Squares of a colour, brighter and darker in stripes, at x, y on black."""
    image_hwc = GONE.copy()
    stripes_w1 = (8 * np.sin(np.arange(40) / 3))[:, None]
    for colour, x, y in squares:
        striped_w3 = np.clip(np.array(colour) + stripes_w1, 0, 255)
        image_hwc[y : y + 40, x : x + 40] = striped_w3.astype(np.uint8)
    return image_hwc


def begun(model: Model, policy: Policy = POLICY) -> Session:
    """A session in which a red square was seen for some frames."""
    session = Session(model, policy)
    session.step(scene((RED, 50, 40)))
    session.prompt(Prompt(1, mask_hw=square()))
    for shift in range(8):
        session.step(scene((RED, 50 + shift, 40)))
    return session


def steps(session: Session, image_hwc: NDArray[np.uint8], count: int) -> ObjectResult:
    for _ in range(count):
        (obj,) = session.step(image_hwc).objects
    return obj


def test_identity_is_high_while_the_object_is_seen_and_none_while_it_is_not(model: Model) -> None:
    session = begun(model)
    seen = steps(session, scene((RED, 60, 40)), 1)
    gone = steps(session, GONE, 1)
    assert seen.identity is not None
    assert seen.identity > 0.9
    assert (gone.identity, gone.state) == (None, ObjectState.OCCLUDED)


def test_a_prompt_says_what_the_object_is(model: Model) -> None:
    session = Session(model, POLICY)
    session.step(scene((RED, 50, 40)))
    assert session.prompt(Prompt(1, mask_hw=square())).object.identity == 1.0


def test_a_lost_object_comes_back_elsewhere_with_its_id(model: Model) -> None:
    session = begun(model)
    assert steps(session, GONE, 10).state is ObjectState.LOST
    back = steps(session, scene((RED, 5, 70)), 2)
    assert (back.id, back.state) == (1, ObjectState.REACQUIRED)
    assert iou(back.mask_hw, np.roll(square(), (30, -45), (0, 1))) > 0.9


@pytest.mark.slow
def test_its_like_is_not_taken_for_a_lost_object(model: Model) -> None:
    session, trusting = begun(model), begun(model, replace(POLICY, redetect=False))
    for one in (session, trusting):
        assert steps(one, GONE, 10).state is ObjectState.LOST
    like = scene((ALIKE, 5, 70))
    assert steps(trusting, like, 3).state is ObjectState.REACQUIRED
    assert steps(session, like, 12).state is ObjectState.LOST
    assert steps(session, scene((RED, 80, 20)), 3).state is ObjectState.REACQUIRED


def only_what_was_clicked(decoded: Decoded, clicks: Clicks) -> Decoded:
    """Masks less all pieces but those under the clicks."""
    logits_n1ss = decoded.logits_n1ss.clone()
    for logits_1ss, (xy,) in zip(logits_n1ss, clicks.coords_nk2, strict=True):
        _, pieces_ss = cv2.connectedComponents((logits_1ss[0] > 0).numpy().astype(np.uint8))
        x, y = (xy / MASK_STRIDE).long().tolist()
        logits_1ss[0, torch.from_numpy(pieces_ss != pieces_ss[y, x])] = -5.0
    return replace(decoded, logits_n1ss=logits_n1ss)


class TestSearch:
    """Where tracking alone sees nothing of the object any more."""

    @pytest.fixture
    def session(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> Session:
        session = begun(model)
        decode = ColourModel.decode

        def blind(self: ColourModel, *args: Any, clicks: Clicks | None = None, **rest: Any):
            decoded = decode(self, *args, clicks=clicks, **rest)
            if clicks is None:
                return absent(decoded, [True] * len(decoded.iou_n))
            return only_what_was_clicked(decoded, clicks)

        monkeypatch.setattr(ColourModel, "decode", blind)
        assert steps(session, GONE, 10).state is ObjectState.LOST
        return session

    def test_the_object_is_found_in_the_whole_picture(self, session: Session) -> None:
        back = steps(session, scene((BLUE, 5, 70), (RED, 110, 10)), 2)
        assert (back.id, back.state) == (1, ObjectState.REACQUIRED)
        assert iou(back.mask_hw, np.roll(square(), (-30, 60), (0, 1))) > 0.9
        assert back.identity is not None
        assert back.identity > 0.9

    def test_its_like_is_not(self, session: Session) -> None:
        assert steps(session, scene((BLUE, 5, 70), (ALIKE, 110, 10)), 12).state is ObjectState.LOST

    def test_one_of_two_that_look_the_same_is_not_taken(self, session: Session) -> None:
        assert steps(session, scene((RED, 5, 70), (RED, 110, 10)), 12).state is ObjectState.LOST

    def test_what_is_much_smaller_is_not(self, session: Session) -> None:
        speck = GONE.copy()
        speck[60:70, 100:110] = RED
        assert steps(session, speck, 12).state is ObjectState.LOST

    def test_without_time_to_spare_nothing_is_looked_for(self, session: Session) -> None:
        for _ in range(6):
            (obj,) = session.step(scene((RED, 110, 10)), ComputeBudget(memories=1)).objects
        assert obj.state is ObjectState.LOST


def test_a_prompt_elsewhere_replaces_the_looks_that_came_after(model: Model) -> None:
    session = begun(model)
    gallery = session.state.objects.get(1).gallery
    before = len(gallery)
    session.prompt(Prompt(1, mask_hw=np.roll(square(), 5, 1)), session.steps[-3])
    assert before > 1
    assert sorted(gallery.own.steps) == gallery.own.steps
    assert len(gallery) <= before + 1


def test_a_lost_object_that_is_shown_on_an_old_frame_need_not_be_recognised(model: Model) -> None:
    session = begun(model)
    steps(session, GONE, 10)
    shown = session.step(scene((ALIKE, 5, 70))).step
    assert steps(session, scene((OTHER, 5, 70)), 2).state is ObjectState.LOST
    there_hw = np.roll(square(), (30, -45), (0, 1))
    now = session.prompt(Prompt(1, mask_hw=there_hw), shown).object
    assert now.state is ObjectState.VISIBLE
    assert iou(now.mask_hw, there_hw) > 0.9


def test_what_long_doubt_forgets_is_no_more_than_is_remembered(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begun(model)
    obj, newest, redetection = (
        session.state.objects.get(1),
        session.state.newest,
        session._redetection,
    )
    assert newest is not None and redetection is not None
    forgotten: list[int] = []
    monkeypatch.setattr(MemoryBank, "forget", lambda self, rows, step: forgotten.append(step))
    obj.doubted = 1_000_000
    redetection._take(obj, newest.step, newest.features, obj.outputs[-1].decoded, 0.9)
    shape = session.state.bank.shape
    assert 0 < len(forgotten) <= max(shape.map_ring, shape.pointer_ring)
    assert max(forgotten) == newest.step - 1


@pytest.mark.parametrize("name", ["official", "no-gallery"])
def test_policies_without_a_gallery_say_nothing_of_identity(model: Model, name: str) -> None:
    session = begun(model, POLICIES[name])
    seen = steps(session, scene((RED, 60, 40)), 1)
    assert seen.identity is None
    assert len(session.state.objects.get(1).gallery) == 0


def test_galleries_that_are_only_watched_change_no_mask(model: Model) -> None:
    watched, without = begun(model, replace(POLICY, redetect=False)), begun(model, NO_GALLERY)
    for image_hwc in (GONE, scene((ALIKE, 5, 70)), scene((RED, 80, 20))):
        mine, other = steps(watched, image_hwc, 4), steps(without, image_hwc, 4)
        assert np.array_equal(mine.mask_hw, other.mask_hw)
        assert replace(mine, mask_hw=GONE, identity=None) == replace(other, mask_hw=GONE)


def test_objects_that_were_reset_have_no_gallery(model: Model) -> None:
    session = begun(model)
    session.reset(1)
    assert len(session.state.objects.get(1).gallery) == 0
