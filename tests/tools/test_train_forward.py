"""The trainer's forward pass: it sees what tracking sees, and its prompts fit their objects."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.small_pico import small_pico
from tools.evaluate.prompting import PromptKind
from tools.train.blueprint import Blueprint
from tools.train.config import Prompts, Start
from tools.train.forward import Guess, forward_clips
from tools.train.prompts import Plan, add_correction, first_clicks, random_plan, spoil
from tools.train.trainer import normalised
from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.types import Prompt

SIZE, FRAMES = 128, 7
EXACT = Prompts(exact_box=1.0, central_point=1.0, spoiled=0.0)


@pytest.fixture(scope="module")
def model() -> Model:
    """One of its own: what tests cache in the shared one in inference mode cannot be trained."""
    return small_pico.__wrapped__()


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bright ellipse that moves over noise: images [T, S, S, 3], masks [T, S, S]."""
    random = np.random.default_rng(0)
    images = random.integers(0, 90, (FRAMES, SIZE, SIZE, 3), np.uint8)
    masks = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
    for t in range(FRAMES):
        cv2.ellipse(masks[t], (40 + 6 * t, 60), (22, 30), 10 * t, 0, 360, 1, -1)
    images[masks > 0] = (220, 120, 60)
    return images, masks.astype(bool)


def tracked(
    model: Model, images: NDArray[np.uint8], prompt: Prompt, correction: tuple[int, Prompt] | None
) -> list[torch.Tensor]:
    """Logits of every frame as the engine has them, less what it does to finished masks."""
    session = Session(model, Policy(fill_hole_area=0, keep_memories="all"))
    logits = []
    for t, image in enumerate(images):
        session.step(image)
        if t == 0:
            session.prompt(prompt)
        if correction is not None and t == correction[0]:
            session.prompt(correction[1])
        logits.append(session.state.objects.rows[0].outputs[-1].decoded.logits_n1ss)
    return logits


def chosen(guess: Guess) -> torch.Tensor:
    return guess.logits_nass[:, guess.chosen_n]


@pytest.fixture
def surely_there(model: Model) -> Iterator[None]:
    """Object scores larger by ten: of an absent object tracking gives no logits to compare."""
    score = model.network.module.sam_mask_decoder.pred_obj_score_head
    hook = score.register_forward_hook(lambda _, __, logits_n1: logits_n1 + 10)
    yield
    hook.remove()


@pytest.mark.slow
@pytest.mark.usefixtures("surely_there")
@pytest.mark.parametrize("kind", list(PromptKind))
@pytest.mark.parametrize("shown", [True, False])
def test_training_computes_what_tracking_computes(
    model: Model,
    scene: tuple[NDArray[np.uint8], NDArray[np.bool_]],
    kind: PromptKind,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for what in ("draws_prompts", "follows_masks"):
        monkeypatch.setattr(model.network.module, what, shown)
    images, masks = scene
    truth = torch.from_numpy(masks)[:, None, None]
    plan = Plan(kind, 0, None, 1)
    random = np.random.default_rng(1)
    if kind is PromptKind.MASK:
        prompt = Prompt(1, mask_hw=masks[0])
    else:
        clicks = first_clicks(kind, truth[0], EXACT, np.random.default_rng(1))
        xy = clicks.coords_nk2[0].tolist()
        box = kind is PromptKind.BOX
        prompt = (
            Prompt(1, box_xyxy=(*xy[0], *xy[1]))
            if box
            else Prompt(1, points_xy=((xy[0][0], xy[0][1]),), point_labels=(1,))
        )
    inputs = normalised(torch.from_numpy(images)[None], model.input)
    guesses = forward_clips(model.network.module, inputs, truth, plan, EXACT, random)
    expected = tracked(model, images, prompt, None)
    assert [guess.frame for guess in guesses] == list(range(len(expected)))[-len(guesses) :]
    for guess in guesses[-(FRAMES - 1) :]:
        assert guess.presence_n1.item() > 0
        assert torch.allclose(chosen(guess), expected[guess.frame], atol=0.1)


@pytest.mark.slow
def test_a_corrected_frame_is_computed_as_in_tracking(
    model: Model, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    images, masks = scene
    truth = torch.from_numpy(masks)[:, None, None]
    plan = Plan(PromptKind.MASK, 0, 2, 1)
    inputs = normalised(torch.from_numpy(images)[None], model.input)
    guesses = forward_clips(
        model.network.module, inputs, truth, plan, EXACT, np.random.default_rng(1)
    )
    assert [guess.frame for guess in guesses] == [1, 2, 2, 3, 4, 5, 6]
    click = add_correction(None, chosen(guesses[1]), truth[2], np.random.default_rng(1))
    x, y = click.coords_nk2[0, 0].tolist()
    correction = Prompt(1, points_xy=((x, y),), point_labels=(int(click.labels_nk[0, 0]),))
    expected = tracked(model, images, Prompt(1, mask_hw=masks[0]), (2, correction))
    for guess in guesses[2:]:
        assert torch.allclose(chosen(guess), expected[guess.frame], atol=0.1)


@pytest.mark.slow
def test_objects_of_one_picture_are_tracked_as_each_by_itself(
    model: Model, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    images, masks = scene
    inputs = normalised(torch.from_numpy(np.stack([images, images[:, :, ::-1]])), model.input)
    first = torch.from_numpy(masks)[:, None, None]
    both = [first, first.roll(10, dims=-2), first.flip(-1), first.flip(-1).roll(9, dims=-1)]
    plan = Plan(PromptKind.MASK, 0, None, 1)

    def forward(images_ti3ss: torch.Tensor, truth: torch.Tensor) -> list[torch.Tensor]:
        random = np.random.default_rng(0)
        return [
            guess.logits_nass
            for guess in forward_clips(
                model.network.module, images_ti3ss, truth, plan, EXACT, random
            )
        ]

    together = forward(inputs, torch.cat(both, dim=1))
    for number, truth in enumerate(both):
        picture = number // 2
        alone = forward(inputs[:, picture : picture + 1], truth)
        for ours, theirs in zip(together, alone, strict=True):
            assert torch.allclose(ours[number], theirs[0], atol=1e-2)


@pytest.mark.slow
def test_gradients_reach_the_prompted_frame_through_memory(
    model: Model, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    images, masks = scene
    truth = torch.from_numpy(masks)[:2, None, None]
    inputs = normalised(torch.from_numpy(images[:2])[None], model.input)
    boxes = model.network.module.sam_prompt_encoder.point_embeddings[2].weight
    boxes.requires_grad_(True)
    try:
        guesses = forward_clips(
            model.network.module, inputs, truth, Plan(PromptKind.BOX, 0, None, 1), EXACT,
            np.random.default_rng(0),
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(guesses[-1].logits_nass.sum(), boxes)
    finally:
        boxes.requires_grad_(False)
    assert gradient.abs().sum() > 0


@pytest.mark.slow
def test_official_networks_are_trained_alike() -> None:
    start = Start(name="sam2.1-tiny", init="random")
    network = Blueprint.of(start).build(64).train()
    inputs = torch.rand(2, 1, 3, 64, 64)
    truth = torch.zeros(2, 1, 1, 64, 64, dtype=torch.bool)
    truth[..., 10:50, 10:50] = True
    plan = Plan(PromptKind.POINT, 1, 1, 1)
    guesses = forward_clips(network, inputs, truth, plan, EXACT, np.random.default_rng(0))
    assert [guess.frame for guess in guesses] == [0, 0, 1, 1]
    sum(guess.logits_nass.mean() for guess in guesses).backward()
    assert network.image_encoder.trunk.patch_embed.proj.weight.grad.abs().sum() > 0


def test_prompts_lie_on_their_objects() -> None:
    masks = torch.zeros(40, 1, 64, 64, dtype=torch.bool)
    masks[:, :, 10:30, 20:50] = True
    random = np.random.default_rng(0)
    points = first_clicks(PromptKind.POINT, masks, Prompts(), random).coords_nk2[:, 0]
    assert bool(((points >= torch.tensor([20, 10])) & (points < torch.tensor([50, 30]))).all())
    edge = (points - torch.tensor([35.0, 20.0])).abs() / torch.tensor([15.0, 10.0])
    assert (edge.max(dim=1).values > 0.6).any()
    exact = first_clicks(PromptKind.BOX, masks, EXACT, random)
    assert exact.coords_nk2[0].tolist() == [[20, 10], [50, 30]]
    assert exact.labels_nk[0].tolist() == [2, 3]
    loose = first_clicks(PromptKind.BOX, masks, replace_exact(0.0), random).coords_nk2
    assert 0.2 < (loose - exact.coords_nk2).std() < 4


def replace_exact(share: float) -> Prompts:
    return Prompts(exact_box=share)


def test_masks_are_spoiled_as_new_videos_spoil_them() -> None:
    carried = torch.full((600, 1, 32, 32), -8.0)
    carried[:, :, 8:16, 8:16] = 8.0
    carried[1::3, :, 20:24, 20:24] = 8.0  # the next of each clip takes that for its own, too
    random = np.random.default_rng(0)
    assert torch.equal(spoil(carried, 3, EXACT, random), carried)
    spoiled = spoil(carried, 3, Prompts(spoiled=0.4), random)
    same = [torch.equal(a, b) for a, b in zip(carried, spoiled, strict=True)]
    assert 0.55 < np.mean(same) < 0.75
    unknown = (spoiled == 0).flatten(1).all(dim=1)
    assert 30 < unknown.sum() < 90
    spread = (spoiled[2::3, 0, 20:24, 20:24] > 0).flatten(1).all(dim=1)
    assert 10 < spread.sum() < 40
    assert (spoiled[2::3, 0, 8:16, 8:16][spread] > 0).all()
    shifted = (spoiled[0::3] > 0).flatten(1).sum(dim=1)[~unknown[0::3]]
    assert (shifted == 64).all()


def test_corrections_say_what_is_true_where_the_mask_is_wrong() -> None:
    truth = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    truth[:, :, 20:40, 20:40] = True
    logits = torch.full((2, 1, 16, 16), -8.0)
    logits[1] = 8.0
    clicks = add_correction(None, logits, truth, np.random.default_rng(0))
    assert clicks.labels_nk.tolist() == [[1], [0]]
    again = add_correction(clicks, logits, truth, np.random.default_rng(0))
    assert again.coords_nk2.shape == (2, 2, 2)


def test_plans_follow_the_weights() -> None:
    random = np.random.default_rng(0)
    prompts = Prompts(mask=0, box=1, point=3, correct_first=0.5, correct_later=0)
    plans = [random_plan(prompts, 4, random) for _ in range(400)]
    kinds = [plan.kind for plan in plans]
    assert PromptKind.MASK not in kinds
    assert 0.65 < kinds.count(PromptKind.POINT) / 400 < 0.85
    assert all(plan.later_frame is None for plan in plans)
    assert 0.4 < sum(plan.first_corrections > 0 for plan in plans) / 400 < 0.6
    assert replace(plans[0]) == random_plan(prompts, 4, np.random.default_rng(0))
