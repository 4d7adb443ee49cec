"""The top-down path: shapes, what reaches it, in 8-bit integers too; and fine mask prompts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.train_data import write_small_pack
from tools.train.calibrate import main as calibrate
from tools.train.grow import main as grow
from tools.train.learner import _is_pretrained
from tracker.models import Model, find_spec, load_model
from tracker.models.base import Features
from tracker.models.checkpoints import checkpoint_path
from tracker.models.optim.int8.conv import QuantParams, can_quantize
from tracker.models.optim.int8.top_down import Int8TopDown
from tracker.models.pico.build import PicoConfig, build_pico, read_pico_config
from tracker.models.pico.top_down import Steps, TopDown

PACKAGED = checkpoint_path(find_spec("pico"))
CHANNELS = (8, 16, 24, 40)
OLDER = {"top_down": None, "fine_prompts": False}


def random_maps(side: int = 32) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.rand(1, channels, side >> level, side >> level, generator=random) * 8 - 4
        for level, channels in enumerate(CHANNELS)
    ]


def random_path() -> TopDown:
    torch.manual_seed(0)
    return TopDown(CHANNELS, (24, 16)).eval().requires_grad_(False)


def test_coarser_maps_reach_finer_ones_and_not_the_other_way() -> None:
    path, maps = random_path(), random_maps()
    before = path(maps)
    assert [m.shape for m in before] == [m.shape for m in maps]
    assert before[2] is maps[2] and before[3] is maps[3]
    for changed in range(4):
        other = [m + 1 if level == changed else m for level, m in enumerate(maps)]
        differs = [not torch.equal(a, b) for a, b in zip(path(other), before, strict=True)]
        assert differs == [changed >= 0, changed >= 1, changed == 2, changed == 3]


def test_a_pixel_knows_its_surroundings() -> None:
    """Of the finest map, as far as the mixes reach."""
    path, maps = random_path(), random_maps()
    other = [maps[0].clone(), *maps[1:]]
    other[0][..., 16, 16] += 3
    moved = (path(other)[0] - path(maps)[0]).abs().amax(dim=(0, 1)) > 0
    rows = moved.any(dim=1).nonzero().flatten()
    assert rows.min() >= 16 - 4 and rows.max() <= 16 + 4 and len(rows) > 4


@pytest.mark.skipif(not can_quantize(), reason="no fast products of 8-bit integers here")
def test_in_integers_it_is_near_the_real_one() -> None:
    path, maps = random_path(), random_maps()
    input_params = QuantParams.of_range(-4, 4)
    scale, zero_point = input_params.scale, input_params.zero_point
    quantized = [(m / scale + zero_point).round().to(torch.uint8) for m in maps]
    real = [(q.float() - zero_point) * scale for q in quantized]
    steps = path.steps(real)
    ranges = [(float(s.min()), float(s.max())) for s in steps]
    ours = Int8TopDown(path, [input_params] * 4, ranges)
    found = ours([q.contiguous(memory_format=torch.channels_last) for q in quantized])
    for level, right in enumerate(path(real)):
        params = ours.output_params[level]
        difference = (found[level].float() - params.zero_point) * params.scale - right
        assert difference.square().mean().sqrt() < 0.05 * right.std()
    assert Steps._fields == ("coarse", "above", "narrow", "middle", "fine")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights without these parts, of a small input."""
    folder = tmp_path_factory.mktemp("older")
    config = read_pico_config(PACKAGED.with_suffix(".json"))
    architecture = config.architecture.model_copy(update=OLDER)
    small = PicoConfig(architecture=architecture, input=replace(config.input, size=64))
    path = folder / "older.safetensors"
    names = set(build_pico(small).state_dict())
    save_file({n: t for n, t in load_file(PACKAGED).items() if n in names}, path)
    path.with_suffix(".json").write_text(small.model_dump_json())
    return path


def features(model: Model) -> Features:
    random = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 3, 64, 64, generator=random)
    with torch.inference_mode():
        return model.network.encode_pixels(picture)


class TestGrowing:
    @pytest.mark.slow
    def test_nothing_changes_at_first(
        self, older: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tools.train.calibrate.PICTURES", 8)
        out = tmp_path / "grown.safetensors"
        argv = [str(older), str(pack), "--out", str(out), "--top-down", "16", "8", "--fine-prompts"]
        assert grow(argv) == 0
        before, after = (
            load_model("pico", checkpoint=path, device="cpu", dtype="fp32") for path in (older, out)
        )
        assert after.network.module.image_encoder.trunk.top_down is not None
        ours, theirs = features(after), features(before)
        for level, same in zip(ours.high_res, theirs.high_res, strict=True):
            assert torch.allclose(level, same, atol=1e-5)
        new = load_file(out)
        spreads = [t.float().std() for n, t in new.items() if n.endswith("lateral.weight")]
        assert len(spreads) == 2 and all(spread > 0 for spread in spreads)
        assert calibrate([str(out), str(pack)]) == 0
        ranges = read_pico_config(out.with_suffix(".json")).trunk_ranges
        assert ranges is not None and len(ranges) == 16 + len(Steps._fields)

    @pytest.mark.parametrize(
        ("options", "code", "says"),
        [(["--top-down", "7", "8"], 2, "top_down"), ([], 1, "already")],
    )
    def test_what_cannot_be(
        self,
        options: list[str],
        code: int,
        says: str,
        older: Path,
        pack: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "grown.safetensors"
        assert grow([str(older), str(pack), "--out", str(out), *options]) == code
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1 and not out.exists()


def test_new_parts_of_the_trunk_learn_as_fast_as_the_rest() -> None:
    assert _is_pretrained("image_encoder.trunk.body.conv_stem.weight")
    assert _is_pretrained("image_encoder.trunk.blocks.0.attn.qkv.weight")
    assert not _is_pretrained("image_encoder.trunk.top_down.fine.out.weight")
    assert not _is_pretrained("sam_mask_decoder.iou_token.weight")
