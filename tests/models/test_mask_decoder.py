"""The mask decoder over tokens says what sam2's own says."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tracker.models.checkpoints import checkpoint_path
from tracker.models.optim.mask_decoder import TokenMaskDecoder
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.registry import find_spec

CONFIG = checkpoint_path(find_spec("pico")).with_suffix(".json")
SIDE = 12  # of the feature map, unlike that of the configuration
NAMES = ("masks", "qualities", "tokens", "presence")

RequestHandler = tuple[Tensor, Tensor, Tensor, Tensor]
Ask = Callable[..., RequestHandler]


@pytest.fixture(scope="module")
def network() -> SAM2Base:
    torch.manual_seed(0)
    network = build_pico(read_pico_config(CONFIG)).eval().requires_grad_(False)
    for parameter in network.sam_mask_decoder.parameters():  # norms and biases too
        torch.nn.init.normal_(parameter, std=0.1)
    prompts = network.sam_prompt_encoder
    prompts.image_embedding_size = (SIDE, SIDE)
    prompts.input_image_size = (16 * SIDE, 16 * SIDE)
    return network


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def asker(
    network: SAM2Base,
    *,
    objects: int,
    points: int,
    with_mask: bool = False,
    add_to_fine: Tensor | float = 0.0,
    show: Tensor | None = None,
) -> Ask:
    """Asks any decoder about the same pictures and prompts."""
    torch.manual_seed(1)
    prompts, c = network.sam_prompt_encoder, network.hidden_dim
    clicks = torch.rand(objects, points, 2) * 16 * SIDE
    labels = torch.ones(objects, points, dtype=torch.int32)
    mask = torch.randn(objects, 1, 4 * SIDE, 4 * SIDE) if with_mask else None
    sparse, dense = prompts(points=(clicks, labels), boxes=None, masks=mask)
    image = torch.randn(objects, c, SIDE, SIDE)
    fine, middle = torch.randn(1, c // 8, 4 * SIDE, 4 * SIDE), torch.randn(1, c // 4, 2 * SIDE, 24)

    def ask(decoder: torch.nn.Module, *, three_masks: bool = True) -> RequestHandler:
        answers: RequestHandler = decoder(
            image_embeddings=image,
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=three_masks,
            repeat_image=False,
            high_res_features=[fine + add_to_fine, middle, *([] if show is None else [show])],
        )
        return answers

    return ask


@pytest.mark.slow
@pytest.mark.parametrize("three_masks", [True, False])
@pytest.mark.parametrize(("objects", "points"), [(1, 1), (3, 1), (2, 5)])
def test_it_equals_the_original(
    network: SAM2Base, objects: int, points: int, three_masks: bool
) -> None:
    ask = asker(network, objects=objects, points=points)
    original = network.sam_mask_decoder
    expected = ask(original, three_masks=three_masks)
    found = ask(TokenMaskDecoder(original), three_masks=three_masks)
    for name, theirs, ours in zip(NAMES, expected, found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: n + m)


def test_it_equals_the_original_where_a_mask_is_corrected(network: SAM2Base) -> None:
    ask = asker(network, objects=2, points=1, with_mask=True)
    expected, found = ask(network.sam_mask_decoder), ask(TokenMaskDecoder(network.sam_mask_decoder))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_masks_are_shown_to_the_finest_features(network: SAM2Base) -> None:
    torch.manual_seed(2)
    shown = torch.nn.Conv2d(1, network.hidden_dim // 8, 1).requires_grad_(False)
    masks = torch.randn(2, 1, 4 * SIDE, 4 * SIDE) * 5
    original = network.sam_mask_decoder
    fast = TokenMaskDecoder(original, shown)
    plain = asker(network, objects=2, points=1)
    expected = asker(network, objects=2, points=1, add_to_fine=shown(masks))(original)
    found = asker(network, objects=2, points=1, show=masks)(fast)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain(fast), plain(original), rtol=1e-4, atol=1e-5)
    assert (found[0] - plain(fast)[0]).abs().max() > 0.1


def test_it_takes_pictures_of_another_size_in_turn(network: SAM2Base) -> None:
    network, small = deepcopy(network), SIDE // 2
    fast = TokenMaskDecoder(network.sam_mask_decoder)
    before = asker(network, objects=1, points=1)(fast)
    image, fine, middle = (
        torch.randn(1, network.hidden_dim // part, small * times, small * times)
        for part, times in ((1, 1), (8, 4), (4, 2))
    )
    prompts = network.sam_prompt_encoder
    prompts.image_embedding_size = (small, small)
    sparse, dense = prompts(
        points=(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.int32)), boxes=None, masks=None
    )
    expected, found = (
        decoder(image, prompts.get_dense_pe(), sparse, dense, True, False, [fine, middle])
        for decoder in (network.sam_mask_decoder, fast)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    prompts.image_embedding_size = (SIDE, SIDE)
    torch.testing.assert_close(asker(network, objects=1, points=1)(fast), before)


def test_bf16_loses_no_more_than_autocast_does(network: SAM2Base) -> None:
    ask = asker(network, objects=3, points=1)
    original = network.sam_mask_decoder
    exact = ask(original)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs, ours = ask(original), ask(TokenMaskDecoder(original))
    for name, true, under_autocast, fast in zip(NAMES, exact, theirs, ours, strict=True):
        lost_by_autocast = (under_autocast.float() - true).abs().mean()
        assert (fast.float() - true).abs().mean() <= 2 * lost_by_autocast, name


def test_a_copy_of_the_decoder_does_not_copy_what_was_prepared(network: SAM2Base) -> None:
    fast = TokenMaskDecoder(network.sam_mask_decoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = asker(network, objects=1, points=1)(fast)
        copied = deepcopy(fast)
        assert not copied._decoders
        torch.testing.assert_close(asker(network, objects=1, points=1)(copied), answers)
