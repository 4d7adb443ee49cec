"""The quantized image encoder: each convolution exact to a step, the whole near the float one."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from tests.support.apart import apart
from tests.support.moving_scene import frame, square
from tests.support.train_data import write_small_pack
from tools.train.calibrate import main as calibrate
from tracker.engine import Session
from tracker.engine.encode import encode
from tracker.errors import ModelError, UsageError
from tracker.models import Model, find_spec, load_model, resized
from tracker.models.checkpoints import checkpoint_path
from tracker.models.optim.int8.conv import RELU6, Int8Conv, QuantParams, can_quantize
from tracker.models.optim.int8.trunk import can_be_quantized
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.precision import choose_precision
from tracker.types import Prompt

ROOT = Path(__file__).parents[2]
PICO_WEIGHTS = checkpoint_path(find_spec("pico"))

pytestmark = pytest.mark.skipif(
    not can_quantize(), reason="this processor or torch has no fast products of 8-bit integers"
)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("pico", device="cpu", dtype="int8")


def beside(tmp_path: Path, config: PicoConfig) -> Path:
    """The packaged weights with another configuration."""
    weights = tmp_path / "other.safetensors"
    weights.write_bytes(PICO_WEIGHTS.read_bytes())
    weights.with_suffix(".json").write_text(config.model_dump_json())
    return weights


class TestQuantParams:
    @pytest.mark.parametrize("ends", [(-3.0, 5.0), (1.0, 5.0), (-5.0, -1.0), (0.0, 0.0)])
    def test_they_have_zero_and_cover_the_range(self, ends: tuple[float, float]) -> None:
        params = QuantParams.of_range(*ends)
        assert 0 <= params.zero_point <= 255
        lowest = -params.zero_point * params.scale
        highest = (255 - params.zero_point) * params.scale
        assert lowest <= ends[0] + params.scale / 2 and highest >= ends[1] - params.scale / 2


CONVS = {
    "pointwise": nn.Conv2d(16, 24, 1),
    "depthwise": nn.Conv2d(16, 16, 3, padding=1, groups=16),
    "wide depthwise, strided": Conv2dSame(16, 16, 5, stride=2, groups=16),
    "dense, strided": Conv2dSame(16, 24, 3, stride=2),
}
INPUT_PARAMS, OUTPUT_PARAMS = QuantParams.of_range(-2, 4), QuantParams.of_range(-6, 5)


def quantized(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    return values.contiguous(memory_format=torch.channels_last)


def meant(x_nchw: Tensor, params: QuantParams) -> Tensor:
    return (x_nchw.double() - params.zero_point) * params.scale


def unrounded(x_nchw: Tensor, params: QuantParams) -> Tensor:
    """The values of uint8 that real ones would have, but for rounding."""
    return (x_nchw / params.scale + params.zero_point).clamp(0, 255)


def rounded_weights(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with weights of 255 steps, in double.

    They are rounded in float32, like the real ones: between two steps, double may choose the other.
    """
    weight = conv.weight.detach()
    steps = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    copy = type(conv)(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,
        padding=conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
    ).double()
    assert conv.bias is not None and copy.bias is not None
    with torch.no_grad():
        copy.weight.copy_((weight / steps).round().double() * steps)
        copy.bias.copy_(conv.bias)
    return copy


@pytest.mark.parametrize("name", CONVS)
class TestConvolution:
    def test_it_is_the_real_one_to_half_a_step(self, name: str) -> None:
        torch.manual_seed(1)
        conv, x_nchw = CONVS[name], quantized((1, 16, 12, 12))
        ours = Int8Conv(conv, INPUT_PARAMS, OUTPUT_PARAMS)(x_nchw)
        theirs = rounded_weights(conv)(meant(x_nchw, INPUT_PARAMS))
        exact = unrounded(theirs, OUTPUT_PARAMS)
        assert ours.dtype == torch.uint8 and ours.shape == exact.shape
        assert (ours.double() - exact).abs().max() <= 0.501
        assert len(ours.unique()) > 20, "the values are used"

    def test_relu6_is_the_range(self, name: str) -> None:
        conv, x_nchw = CONVS[name], quantized((1, 16, 12, 12))
        ours = meant(Int8Conv(conv, INPUT_PARAMS, RELU6)(x_nchw), RELU6)
        theirs = F.relu6(rounded_weights(conv)(meant(x_nchw, INPUT_PARAMS)))
        assert (ours - theirs).abs().max() <= 0.501 * RELU6.scale

    def test_it_gives_bf16(self, name: str) -> None:
        conv, x_nchw = CONVS[name], quantized((1, 16, 12, 12))
        ours = Int8Conv(conv, INPUT_PARAMS, None)(x_nchw)
        theirs = rounded_weights(conv)(meant(x_nchw, INPUT_PARAMS))
        assert ours.dtype == torch.bfloat16
        assert torch.allclose(ours.double(), theirs, rtol=2**-8, atol=1e-5)

    def test_inputs_of_several_sizes(self, name: str) -> None:
        ours = Int8Conv(CONVS[name], INPUT_PARAMS, OUTPUT_PARAMS)
        theirs = rounded_weights(CONVS[name])
        for side in (12, 8, 20, 12):
            x_nchw = quantized((1, 16, side, side), seed=side)
            exact = unrounded(theirs(meant(x_nchw, INPUT_PARAMS)), OUTPUT_PARAMS)
            assert (ours(x_nchw).double() - exact).abs().max() <= 0.501


def test_a_sum_with_what_was_there() -> None:
    conv, x_nchw = nn.Conv2d(24, 16, 1), quantized((1, 24, 8, 8))
    before, there = quantized((1, 16, 8, 8), seed=1), QuantParams.of_range(-3, 3)
    exact = rounded_weights(conv)(meant(x_nchw, INPUT_PARAMS)) + meant(before, there)
    ours = Int8Conv(conv, INPUT_PARAMS, OUTPUT_PARAMS).add_to(before.clone(), there, x_nchw)
    assert (ours.double() - unrounded(exact, OUTPUT_PARAMS)).abs().max() <= 0.501


def overlap(ours_hw: np.ndarray, truth_hw: np.ndarray) -> float:
    return float((ours_hw & truth_hw).sum() / (ours_hw | truth_hw).sum())


def photo(side: int) -> np.ndarray:
    """Texture of all sizes, as in a photo, and an edge."""
    random = np.random.default_rng(3)
    picture = np.full((side, side, 3), 110.0)
    for cells in (4, 8, 16, 32, 64, 128):
        rough = random.normal(0, 90 / cells**0.5, (cells, cells, 3))
        picture += cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (side // 2, side // 2), side // 4, (200, 40, 30), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def compare_threads() -> None:
    """Print whether 1, 2 and 3 threads give the same features."""
    model = load_model("pico", device="cpu", dtype="int8")
    found, picture = [], photo(model.input.size)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        features = encode(model, picture)
        found.append((features.top_1chw, *features.high_res))
    same = all(torch.equal(a, b) for other in found for a, b in zip(found[0], other, strict=True))
    print("the same" if same else "others")


class TestEncoder:
    def test_it_is_what_users_get(self, model: Model) -> None:
        chosen = load_model("pico", device="cpu")
        assert chosen.precision == model.precision == "int8"
        assert load_model("pico", device="cpu", dtype="bf16").precision == "bf16"
        assert load_model("pico", device="cpu", dtype="fp32").precision == "fp32"

    @pytest.mark.parametrize("smaller", [0, 64, 128])
    def test_its_features_are_near_the_float_ones(self, model: Model, smaller: int) -> None:
        exact = load_model("pico", device="cpu", dtype="fp32")
        side = model.input.size - smaller
        ours = encode(resized(model, side), photo(side))
        theirs = encode(resized(exact, side), photo(side))
        assert apart(ours.top_1chw, theirs.top_1chw) < 0.15
        for level, right in zip(ours.high_res, theirs.high_res, strict=True):
            assert apart(level, right) < 0.15

    @pytest.mark.slow
    def test_the_number_of_threads_changes_no_bit(self) -> None:
        """Without AMX, with which it does; the variable is read when oneDNN is first used."""
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
        command = [
            sys.executable,
            "-c",
            "from tests.models import test_int8 as t; t.compare_threads()",
        ]
        done = subprocess.run(
            command,
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo is Linux's")
    def test_with_amx_its_bits_depend_on_the_number_of_threads(self, model: Model) -> None:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii").split()
        assert model.depends_on_threads is ("amx_tile" in flags)

    @pytest.mark.slow
    def test_it_tracks_as_well_as_bf16(self) -> None:
        reached = {}
        for dtype in ("int8", "bf16"):
            session = Session(load_model("pico", device="cpu", dtype=dtype))
            session.step(frame(0))
            session.prompt(Prompt(1, mask_hw=square(0)))
            masks = [session.step(frame(i)).objects[0].mask_hw for i in range(1, 6)]
            reached[dtype] = [overlap(mask, square(i)) for i, mask in enumerate(masks, 1)]
        for ours, theirs in zip(reached["int8"], reached["bf16"], strict=True):
            assert theirs > 0.75
            assert ours > theirs - 0.03


class TestChoice:
    def test_weights_without_ranges_stay_in_bf16(self, tmp_path: Path) -> None:
        config = read_pico_config(PICO_WEIGHTS.with_suffix(".json"))
        weights = beside(tmp_path, config.model_copy(update={"trunk_ranges": None}))
        usual = choose_precision("auto", torch.device("cpu"))
        assert load_model("pico", checkpoint=weights, device="cpu").precision == usual
        with pytest.raises(UsageError, match="not made for int8"):
            load_model("pico", checkpoint=weights, device="cpu", dtype="int8")

    def test_ranges_of_another_trunk(self, tmp_path: Path) -> None:
        config = read_pico_config(PICO_WEIGHTS.with_suffix(".json"))
        weights = beside(tmp_path, config.model_copy(update={"trunk_ranges": ((0.0, 1.0),)}))
        with pytest.raises(ModelError, match="1 pairs instead of"):
            load_model("pico", checkpoint=weights, device="cpu")

    def test_a_trunk_of_another_kind(self) -> None:
        config = read_pico_config(PICO_WEIGHTS.with_suffix(".json"))
        assert can_be_quantized(build_pico(config).image_encoder.trunk)
        other = config.architecture.model_copy(
            update={"trunk": "resnet10t", "trunk_out_indices": (1, 2, 3, 4)}
        )
        network = build_pico(config.model_copy(update={"architecture": other}))
        assert not can_be_quantized(network.image_encoder.trunk)


class TestCalibration:
    @pytest.mark.slow
    def test_ranges_are_written_beside_the_weights(self, tmp_path: Path) -> None:
        config = read_pico_config(PICO_WEIGHTS.with_suffix(".json"))
        size = config.model_copy(
            update={"trunk_ranges": None, "input": replace(config.input, size=64)}
        )
        weights = beside(tmp_path, size)
        assert calibrate([str(weights), str(write_small_pack(tmp_path))]) == 0
        after = read_pico_config(weights.with_suffix(".json"))
        assert after.trunk_ranges is not None and len(after.trunk_ranges) == len(
            config.trunk_ranges
        )
        assert all(low < 0 < high for low, high in after.trunk_ranges)
        assert after.model_copy(update={"trunk_ranges": None}) == size
        assert load_model("pico", checkpoint=weights, device="cpu").precision == "int8"

    def test_no_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert calibrate([str(tmp_path / "none.safetensors"), str(write_small_pack(tmp_path))]) == 1
        assert "cannot read" in capsys.readouterr().err
