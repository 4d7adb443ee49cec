"""The memory encoder for a CPU against the modules of sam2 that it follows."""

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tools.bench.models import seeded
from tracker.models import find_spec, load_model, resized, with_whole_memories
from tracker.models.base import Decoded, Features
from tracker.models.checkpoints import checkpoint_path
from tracker.models.optim.fused_conv import can_fuse
from tracker.models.optim.memory_encoder import FastMemoryEncoder, use_fast_memory_encoder
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.sam2.build import build_official
from tracker.models.sam2.resize import with_shared_weights
from tracker.models.sam2.verbs import Sam2Network
from tracker.models.state_dict import load_strictly, read_state

pytestmark = pytest.mark.skipif(not can_fuse(), reason="this torch has no such operators")

OBJECTS = 3
ROUNDING = 1e-5


def plain_network(name: str) -> SAM2Base:
    """A network whose memory encoder is sam2's: pico, or a small official one of random weights."""
    if name == "sam2.1-tiny":
        tiny = seeded(build_official(find_spec(name), image_size=256), seed=1)
        return tiny.eval().requires_grad_(False)
    weights = checkpoint_path(find_spec(name))
    pico = build_pico(read_pico_config(weights.with_suffix(".json")))
    load_strictly(pico, read_state(weights), path=weights, config=name)
    return pico.eval().requires_grad_(False)


def fast_network(plain: SAM2Base, dtype: torch.dtype) -> SAM2Base:
    fast = with_shared_weights(plain)
    use_fast_memory_encoder(fast, dtype)
    return fast


def seen(net: SAM2Base) -> tuple[Features, Decoded]:
    """Blobs that reach all borders, the last object of three absent."""
    random = torch.Generator().manual_seed(2)
    side = net.image_size // 16
    top_1chw = torch.randn(1, net.hidden_dim, side, side, generator=random)
    blobs = 8 * torch.randn(OBJECTS, 1, side // 2, side // 2, generator=random) - 2
    logits_n1ss = torch.nn.functional.interpolate(blobs, scale_factor=8, mode="bicubic")
    presence_n1 = torch.tensor([[5.0], [2.0], [-5.0]])
    features = Features(top_1chw, top_1chw, (top_1chw, top_1chw))
    return features, Decoded(logits_n1ss, presence_n1, presence_n1[:, 0], presence_n1)


def memories(net: SAM2Base, dtype: torch.dtype, *, from_prompt: bool) -> Tensor:
    features, decoded = seen(net)
    half = dtype == torch.bfloat16
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        return Sam2Network(net).encode_memory(features, decoded, from_prompt=from_prompt)


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("from_prompt", [False, True], ids=["tracked", "prompted"])
@pytest.mark.parametrize("name", ["pico", "sam2.1-tiny"])
def test_memories_are_those_of_sam2_up_to_rounding(name: str, from_prompt: bool) -> None:
    plain = plain_network(name)
    assert not isinstance(plain.memory_encoder, FastMemoryEncoder)
    theirs = memories(plain, torch.float32, from_prompt=from_prompt)
    fast = fast_network(plain, torch.float32)
    ours = memories(fast, torch.float32, from_prompt=from_prompt)
    assert largest_difference(ours, theirs) < ROUNDING


def test_half_precision_loses_little_more_than_autocast_does() -> None:
    plain = plain_network("pico")
    exact = memories(plain, torch.float32, from_prompt=False)
    theirs = memories(plain, torch.bfloat16, from_prompt=False).float()
    ours = memories(fast_network(plain, torch.bfloat16), torch.bfloat16, from_prompt=False).float()
    assert (ours - exact).square().mean() < 1.5 * (theirs - exact).square().mean()
    assert largest_difference(ours, exact) < 0.03, "where the norm is of next to nothing"


def test_an_object_is_remembered_alike_alone_and_with_others() -> None:
    net = fast_network(plain_network("pico"), torch.float32)
    features, decoded = seen(net)
    with torch.inference_mode():
        together = Sam2Network(net).encode_memory(features, decoded, from_prompt=False)
        for i in range(OBJECTS):
            alone = Sam2Network(net).encode_memory(features, decoded.row(i), from_prompt=False)
            assert largest_difference(together[i : i + 1], alone) < ROUNDING


@pytest.mark.parametrize("threads", [1, 3])
def test_half_precision_does_not_depend_on_the_number_of_threads(threads: int) -> None:
    """What is tracked beside the encoding of another frame has fewer of them."""
    net, before = fast_network(plain_network("pico"), torch.bfloat16), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with_two = memories(net, torch.bfloat16, from_prompt=False)
        torch.set_num_threads(threads)
        assert torch.equal(memories(net, torch.bfloat16, from_prompt=False), with_two)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("pool", [1, 2])
def test_means_are_taken_of_squares_of_tokens(pool: int) -> None:
    plain = with_shared_weights(plain_network("pico"))
    plain.memory_stride = pool
    theirs = memories(plain, torch.float32, from_prompt=False)
    ours = memories(fast_network(plain, torch.float32), torch.float32, from_prompt=False)
    assert ours.shape[1] == (plain.image_size // 16 // pool) ** 2
    assert largest_difference(ours, theirs) < ROUNDING


def test_other_scales_of_masks_are_obeyed() -> None:
    plain = with_shared_weights(plain_network("pico"))
    plain.sigmoid_scale_for_mem_enc, plain.sigmoid_bias_for_mem_enc = 3.0, 0.5
    theirs = memories(plain, torch.float32, from_prompt=False)
    ours = memories(fast_network(plain, torch.float32), torch.float32, from_prompt=False)
    assert largest_difference(ours, theirs) < ROUNDING


def test_a_loaded_model_has_it_at_every_size_and_with_whole_memories() -> None:
    model = load_model("pico", device="cpu", dtype="fp32")
    for one in (model, resized(model, 192), with_whole_memories(model)):
        encoder = one.network.module.memory_encoder
        assert isinstance(encoder, FastMemoryEncoder)
        ours = {t.data_ptr() for t in encoder.buffers()}
        assert ours == {t.data_ptr() for t in model.network.module.memory_encoder.buffers()}
        memories(one.network.module, torch.float32, from_prompt=False)


def test_where_it_is_switched_off_the_encoder_is_that_of_sam2() -> None:
    off = load_model("pico", device="cpu", dtype="fp32", without=["memory_encoder"])
    plain = off.network.module
    fast = load_model("pico", device="cpu", dtype="fp32").network.module
    assert not isinstance(plain.memory_encoder, FastMemoryEncoder)
    assert (
        largest_difference(
            memories(fast, torch.float32, from_prompt=False),
            memories(plain, torch.float32, from_prompt=False),
        )
        < ROUNDING
    )
