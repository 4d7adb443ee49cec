"""A session as its caller sees it: frames and prompts in, objects out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.moving_scene import HEIGHT, WIDTH, frame, square
from tests.support.small_pico import optimized_small_pico
from tracker.engine import Policy, Session
from tracker.errors import PromptError, UsageError
from tracker.models import Model
from tracker.models.base import Features
from tracker.models.sam2.adapter import Sam2Model
from tracker.types import ObjectState, Prompt

SQUARE = square()


@pytest.fixture(scope="module")
def model() -> Model:
    return optimized_small_pico()


@pytest.fixture
def session(model: Model) -> Session:
    return Session(model)


@pytest.mark.slow
def test_a_masked_square_is_followed(session: Session) -> None:
    session.step(frame())
    first = session.prompt(Prompt(7, mask_hw=SQUARE, label="square")).object
    assert (first.id, first.label, first.box_xyxy) == (7, "square", (50, 40, 90, 80))
    for shift in range(2, 14, 2):
        result = session.step(frame(shift))
    assert result.step == 6
    (obj,) = result.objects
    truth = np.roll(SQUARE, 12, axis=1)
    iou = (obj.mask_hw & truth).sum() / (obj.mask_hw | truth).sum()
    assert iou > 0.7
    assert obj.state is ObjectState.VISIBLE
    assert 0 <= obj.score <= 1
    assert 0 <= obj.iou <= 1


@pytest.mark.slow
def test_objects_come_and_go_without_touching_each_other(session: Session) -> None:
    session.step(frame())
    session.prompt(Prompt(5, mask_hw=SQUARE))
    session.step(frame(2))
    session.prompt(Prompt(2, box_xyxy=(52, 40, 92, 80)))
    session.prompt(Prompt(9, ((70.0, 60.0),), (1,)))
    assert session.object_ids == (2, 5, 9)
    assert [obj.id for obj in session.step(frame(4)).objects] == [2, 5, 9]
    session.remove(5)
    assert [obj.id for obj in session.result().objects] == [2, 9]
    assert [obj.id for obj in session.step(frame(6)).objects] == [2, 9]


@pytest.mark.slow
def test_a_frame_of_another_size_goes_on(session: Session) -> None:
    session.step(frame())
    session.prompt(Prompt(1, mask_hw=SQUARE))
    larger = np.repeat(np.repeat(frame(2), 2, axis=0), 2, axis=1)
    (obj,) = session.step(larger).objects
    assert obj.mask_hw.shape == (2 * HEIGHT, 2 * WIDTH)
    assert obj.box_xyxy is not None
    assert obj.box_xyxy[0] == pytest.approx(104, abs=16)


@pytest.mark.slow
def test_clicks_on_one_frame_add_up_and_a_box_starts_afresh(model: Model) -> None:
    session = Session(model, Policy(max_points=3))
    session.step(frame())
    for _ in range(3):
        session.prompt(Prompt(1, ((70.0, 60.0),), (1,)))
    with pytest.raises(PromptError, match="4 clicks"):
        session.prompt(Prompt(1, ((70.0, 60.0),), (1,)))
    session.prompt(Prompt(1, box_xyxy=(50, 40, 90, 80)))
    session.step(frame(1))
    session.prompt(Prompt(1, ((70.0, 60.0),), (1,)))


@pytest.mark.slow
def test_a_label_stays_until_it_is_changed(session: Session) -> None:
    session.step(frame())
    session.prompt(Prompt(1, mask_hw=SQUARE, label="a"))
    assert session.prompt(Prompt(1, ((70.0, 60.0),), (1,))).object.label == "a"
    assert session.prompt(Prompt(1, ((70.0, 60.0),), (1,), label="b")).object.label == "b"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(1), "empty"),
        (Prompt(0, ((1.0, 1.0),), (1,)), "ids start at 1"),
        (Prompt(1, ((1.0, 1.0),), ()), "1 points but 0 labels"),
        (Prompt(1, ((1.0, 1.0),), (2,)), "point label 2"),
        (Prompt(1, ((WIDTH, 1.0),), (1,)), "outside the 160x120 frame"),
        (Prompt(1, ((float("nan"), 1.0),), (1,)), "not a number"),
        (Prompt(1, box_xyxy=(0, 0, WIDTH + 1, 9)), "outside the 160x120 frame"),
        (Prompt(1, box_xyxy=(9, 0, 3, 9)), "reversed"),
        (Prompt(1, box_xyxy=(0, 0, float("nan"), 9)), "not made of numbers"),
        (Prompt(1, mask_hw=np.ones((3, 4), np.bool_)), "mask is 4x3, the frame is 160x120"),
        (Prompt(1, mask_hw=np.zeros((HEIGHT, WIDTH), np.bool_)), "mask is empty"),
        (Prompt(1, ((1.0, 1.0),), (1,), mask_hw=SQUARE), "a mask and clicks"),
    ],
)
def test_a_prompt_that_cannot_be_applied_changes_nothing(
    session: Session, prompt: Prompt, says: str
) -> None:
    session.step(frame())
    with pytest.raises(PromptError, match=says):
        session.prompt(prompt)
    assert session.object_ids == ()
    assert session.state.bank.rows == 0


def test_a_full_session_says_so(model: Model) -> None:
    session = Session(model, Policy(max_objects=1))
    session.step(frame())
    session.prompt(Prompt(1, mask_hw=SQUARE))
    with pytest.raises(PromptError, match="already tracks 1"):
        session.prompt(Prompt(2, mask_hw=SQUARE))
    session.prompt(Prompt(1, mask_hw=SQUARE))


def test_calls_out_of_order_say_what_to_do(session: Session) -> None:
    with pytest.raises(PromptError, match="no frame yet"):
        session.prompt(Prompt(1, mask_hw=SQUARE))
    with pytest.raises(UsageError, match="no frame yet"):
        session.result()
    with pytest.raises(UsageError, match="RGB uint8"):
        session.step(np.zeros((4, 4), np.uint8))
    session.step(frame())
    with pytest.raises(PromptError, match="no object 3; tracked objects: none"):
        session.remove(3)


@pytest.mark.slow
def test_the_same_frames_give_the_same_masks(model: Model) -> None:
    def run() -> list[NDArray[np.bool_]]:
        session = Session(model)
        session.step(frame())
        session.prompt(Prompt(1, box_xyxy=(50, 40, 90, 80)))
        return [session.step(frame(i)).objects[0].mask_hw for i in range(1, 6)]

    for once, again in zip(run(), run(), strict=True):
        assert np.array_equal(once, again)


@pytest.mark.slow
def test_the_session_does_not_grow_with_time(session: Session) -> None:
    session.step(frame())
    session.prompt(Prompt(1, mask_hw=SQUARE))
    held = session.state.bank.nbytes
    for i in range(40):
        session.step(frame(i % 8))
    assert session.state.bank.nbytes == held


@pytest.mark.slow
def test_frames_are_encoded_only_where_something_is_tracked(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Sam2Model.encode_image
    encoded: list[NDArray[np.uint8]] = []

    def counting(network: Sam2Model, picture_hwc: NDArray[np.uint8]) -> Features:
        encoded.append(picture_hwc)
        return encode(network, picture_hwc)

    monkeypatch.setattr(Sam2Model, "encode_image", counting)
    session = Session(model)
    for shift in range(4):
        session.step(frame(shift))
    assert len(encoded) == 0
    session.prompt(Prompt(1, mask_hw=square(2)), step=2)
    assert len(encoded) == 2, "the prompted frame, and the one after it"
    session.step(frame(4))
    session.remove(1)
    session.step(frame(5))
    assert len(encoded) == 3
