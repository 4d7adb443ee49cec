"""Features of another scale: tracking goes on as it did, prompts weigh more against them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tools.train.blueprint import Blueprint, first_weights
from tools.train.config import Start
from tools.train.rescale import main, rescaled
from tracker.models.base import Decoded, Features, Memories
from tracker.models.checkpoints import checkpoint_path
from tracker.models.sam2.verbs import Sam2Network

SIZE = 128
FACTOR = 1 / 6


def tracked(weights: dict[str, torch.Tensor]) -> tuple[Features, torch.Tensor]:
    """Features of a picture, and logits of an object that was on one before it."""
    net = Blueprint.of(Start()).build(SIZE)
    net.load_state_dict(weights)
    net.eval().requires_grad_(False)
    network = Sam2Network(net)
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1, 3, SIZE, SIZE, generator=random)
    decoded = Decoded(
        torch.randn(1, 1, SIZE // 4, SIZE // 4, generator=random) * 8,
        torch.full((1, 1), 5.0),
        torch.ones(1),
        torch.randn(1, net.hidden_dim, generator=random),
    )
    with torch.inference_mode():
        seen = network.encode_pixels(first)
        memory = network.encode_memory(seen, decoded, from_prompt=False)
        features = network.encode_pixels(second)
        memories = Memories(
            memory[:, None], torch.zeros(1, 1, dtype=torch.long),
            decoded.pointers_nc[:, None], torch.ones(1, 1),
        )  # fmt: skip
        conditioned = network.condition(features, [memories])
        found = network.decode(features, conditioned)
    return features, found.logits_n1ss


@pytest.mark.slow
def test_tracked_frames_are_as_they_were() -> None:
    """Features so large that the position added to them before memory attention is nothing."""
    weights = rescaled(first_weights(Blueprint.of(Start()), "weights", 0), 60)
    before, logits_before = tracked(weights)
    after, logits_after = tracked(rescaled(weights, FACTOR))
    assert torch.allclose(after.top_1chw, before.top_1chw * FACTOR, rtol=1e-3, atol=1e-3)
    for fine, same in zip(after.high_res, before.high_res, strict=True):
        assert torch.equal(fine, same)
    spread = logits_before.std()
    assert (logits_after - logits_before).abs().mean() < 0.05 * spread
    assert ((logits_after > 0) == (logits_before > 0)).float().mean() > 0.98


def test_the_command_writes_weights_of_the_same_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = checkpoint_path(Blueprint.of(Start()).spec), tmp_path / "out.safetensors"
    assert main([str(source), "0.5", "--out", str(out)]) == 0
    before, after = load_file(source), load_file(out)
    assert {n: (t.shape, t.dtype) for n, t in after.items()} == {
        n: (t.shape, t.dtype) for n, t in before.items()
    }
    name = "image_encoder.neck.convs.1.conv.bias"
    assert torch.equal(after[name], before[name] * 0.5)
    assert main([str(tmp_path / "nothing.safetensors"), "0.5", "--out", str(out)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
