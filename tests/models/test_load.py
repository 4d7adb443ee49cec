"""Loading a model: what comes back, and what is said when it cannot be loaded."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file, save_file
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import nn

from tracker.errors import ModelError, UnknownModelError, UsageError
from tracker.models import REGISTRY, InputSpec, find_spec, load_model, precision
from tracker.models.checkpoints import checkpoint_path
from tracker.models.digest import file_sha256
from tracker.models.optim.fused_conv import FusedConv, can_fuse
from tracker.models.optim.fusion import use_channel_norm
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.precision import choose_precision
from tracker.models.sam2.build import build_official
from tracker.models.state_dict import load_strictly, read_state

PICO_WEIGHTS = checkpoint_path(find_spec("pico"))
PICO_CONFIG = PICO_WEIGHTS.with_suffix(".json")
SMALL = 256


@pytest.fixture(scope="module")
def tiny_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_official(find_spec("sam2.1-tiny"), image_size=SMALL).state_dict()


@pytest.fixture(scope="module")
def tiny_pt(tiny_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in a file like the official ones."""
    path = tmp_path_factory.mktemp("models") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": tiny_state}, path)
    return path


def said(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_pico_needs_no_download() -> None:
    model = load_model("pico", device="cpu", dtype="fp32")
    assert model.input == InputSpec(416, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "linear")
    assert model.fingerprint == file_sha256(PICO_WEIGHTS)
    assert not model.network.module.training
    parameters = list(model.network.module.parameters())
    assert {(p.dtype, p.requires_grad) for p in parameters} == {(torch.float32, False)}


def test_every_packaged_weight_reaches_the_network() -> None:
    network = build_pico(read_pico_config(PICO_CONFIG))
    load_strictly(network, read_state(PICO_WEIGHTS), path=PICO_WEIGHTS, config=str(PICO_CONFIG))
    state, stored = network.state_dict(), load_file(PICO_WEIGHTS)
    assert state.keys() == stored.keys()
    for key, tensor in stored.items():
        assert torch.equal(state[key], tensor.to(state[key].dtype)), key


@pytest.mark.slow
def test_the_faster_network_computes_the_same() -> None:
    """Batch norms folded, layer norms fused: the features differ by rounding only."""
    plain = build_pico(read_pico_config(PICO_CONFIG))
    load_strictly(plain, read_state(PICO_WEIGHTS), path=PICO_WEIGHTS, config=str(PICO_CONFIG))
    plain.eval().requires_grad_(False)
    fast = load_model("pico", device="cpu", dtype="fp32").network.module
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.modules())
    image_13ss = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(1))
    slow_maps, fast_maps = (net.forward_image(image_13ss)["backbone_fpn"] for net in (plain, fast))
    for ours, theirs in zip(fast_maps, slow_maps, strict=True):
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_convolutions_and_clips_in_one_pass_change_no_bit() -> None:
    if not can_fuse():
        pytest.skip("this torch has no such operator")
    image_13ss = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(1))
    image_13ss = image_13ss.contiguous(memory_format=torch.channels_last)
    fused = load_model("pico", device="cpu", dtype="bf16").network.module
    plain = load_model("pico", device="cpu", dtype="bf16", without=["fused_conv"]).network.module
    assert any(isinstance(m, FusedConv) for m in fused.modules())
    assert not any(isinstance(m, FusedConv) for m in plain.modules())
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (net.forward_image(image_13ss)["backbone_fpn"] for net in (fused, plain))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_model_card_states_the_number_of_parameters() -> None:
    count = sum(p.numel() for p in build_pico(read_pico_config(PICO_CONFIG)).parameters())
    assert f"{count:,}" in PICO_CONFIG.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("cls", [SAM2Base, SAM2VideoPredictor])
def test_both_classes_get_the_settings_of_the_official_video_predictor(cls: type) -> None:
    for network in (
        build_pico(read_pico_config(PICO_CONFIG), cls),
        build_official(find_spec("sam2.1-tiny"), cls, image_size=SMALL),
    ):
        assert type(network) is cls
        assert network.binarize_mask_from_pts_for_mem_enc
        assert network.sam_mask_decoder.dynamic_multimask_via_stability
        assert network.sam_mask_decoder.dynamic_multimask_stability_delta == 0.05
        assert network.sam_mask_decoder.dynamic_multimask_stability_thresh == 0.98


@pytest.mark.slow
def test_extra_settings_reach_the_class() -> None:
    spec = find_spec("sam2.1-tiny")
    network = build_official(spec, SAM2VideoPredictor, image_size=SMALL, fill_hole_area=8)
    assert network.fill_hole_area == 8
    assert network.sam_image_embedding_size == SMALL // 16
    assert network.memory_attention.layers[0].self_attn.freqs_cis.shape[0] == (SMALL // 16) ** 2


@pytest.mark.slow
def test_an_official_network_equals_that_of_the_official_builder() -> None:
    from sam2.build_sam import build_sam2_video_predictor

    spec = find_spec("sam2.1-tiny")
    theirs = build_sam2_video_predictor(f"configs/{spec.config}", device="cpu")
    ours = build_official(spec, SAM2VideoPredictor, fill_hole_area=8)
    skipped = {"training"}
    for name, value in vars(theirs).items():
        if isinstance(value, (bool, int, float, str)) and name not in skipped:
            assert getattr(ours, name) == value, name
    assert dict(theirs.sam_mask_decoder_extra_args) == dict(ours.sam_mask_decoder_extra_args)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (theirs, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", [name for name in REGISTRY if name.startswith("sam2")])
def test_every_official_entry_has_a_configuration(name: str) -> None:
    from importlib.resources import files

    spec = REGISTRY[name]
    assert (files("sam2") / "configs" / spec.config).is_file()
    assert spec.url is not None
    assert spec.url.endswith("/" + spec.filename)


@pytest.mark.slow
def test_hydra_initialised_by_the_caller_does_not_matter(tmp_path: Path) -> None:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(tmp_path), version_base="1.2"):
            network = build_official(find_spec("sam2-tiny"), image_size=SMALL)
        assert network.image_size == SMALL
    finally:
        GlobalHydra.instance().clear()
        from hydra import initialize_config_module

        initialize_config_module("sam2", version_base="1.2")


@pytest.mark.slow
def test_an_official_checkpoint_loads_strictly_from_the_models_directory(
    tiny_pt: Path, tiny_state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tiny_pt.parent))
    model = load_model("sam2.1-tiny", device="cpu")
    assert (model.input.size, model.input.resize) == (1024, "pil")
    assert model.fingerprint == file_sha256(tiny_pt)
    rewritten = ("image_encoder.neck.", "sam_mask_decoder.conv_s")  # in one, see use_narrow_neck
    held = {
        k: v for k, v in model.network.module.state_dict().items() if not k.startswith(rewritten)
    }
    assert held.keys() == {k for k in tiny_state if not k.startswith(rewritten)}
    for key, value in held.items():
        assert torch.equal(value, tiny_state[key]), key


@pytest.mark.slow
def test_a_given_checkpoint_may_be_safetensors(
    tiny_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file({key: value.clone() for key, value in tiny_state.items()}, path)
    model = load_model("sam2.1-tiny", checkpoint=path, device="cpu")
    assert torch.equal(model.network.module.no_mem_embed, tiny_state["no_mem_embed"])


@pytest.mark.slow
def test_another_pico_needs_other_files_only(tmp_path: Path) -> None:
    """Another trunk, width, size and number of memories: no code changes."""
    content = json.loads(PICO_CONFIG.read_text())
    content["architecture"] |= {
        "trunk": "mobilenetv3_small_050",
        "d_model": 64,
        "mem_dim": 32,
        "num_maskmem": 3,
        "attention_layers": 1,
        "fuser_layers": 0,
        "memory_stride": 2,
    }
    content["input"]["size"] = 256
    path = tmp_path / "mine.safetensors"
    path.with_suffix(".json").write_text(json.dumps(content))
    made = build_pico(read_pico_config(path.with_suffix(".json")))
    save_file({key: value.half() for key, value in made.state_dict().items()}, path)

    model = load_model("pico", checkpoint=path, device="cpu", dtype="fp32")

    assert model.input.size == model.network.module.image_size == 256
    assert (model.network.module.num_maskmem, model.network.module.mem_dim) == (3, 32)
    features = model.network.module.forward_image(torch.zeros(1, 3, 256, 256))
    assert features["vision_features"].shape == (1, 64, 16, 16)


def test_unknown_model_names_the_closest_and_all() -> None:
    with pytest.raises(UnknownModelError) as error:
        load_model("sam2.1-tinny")
    text = said(error)
    assert "did you mean sam2.1-tiny?" in text
    assert all(name in text for name in REGISTRY)
    assert error.value.exit_code == 2


def test_weights_that_were_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKD_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ModelError) as error:
        load_model("sam2-large")
    assert str(tmp_path / "trackd" / "models" / "sam2_hiera_large.pt") in said(error)
    assert "trackd checkpoints get sam2-large" in said(error)
    assert error.value.exit_code == 1


def test_a_checkpoint_path_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    monkeypatch.setattr("tracker.models.sam2.family.build_official", built.append)
    monkeypatch.setattr("tracker.models.efficienttam.family.build_efficienttam", built.append)
    with pytest.raises(ModelError, match=r"no\.pt does not exist"):
        load_model("efficienttam-ti", checkpoint=tmp_path / "no.pt")
    with pytest.raises(ModelError, match=r"no\.pt does not exist"):
        load_model("sam2.1-tiny", checkpoint=tmp_path / "no.pt")
    with pytest.raises(ModelError, match="is not a file"):
        load_model("sam2.1-tiny", checkpoint=tmp_path)
    assert not built


class _Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "ran")


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name, write in (("zip.pt", torch.save), ("plain.pt", _plain_pickle)):
        write({"model": _Payload(mark)}, tmp_path / name)
        with pytest.raises(ModelError) as error:
            load_model("sam2.1-tiny", checkpoint=tmp_path / name)
        assert name in said(error)
        assert "not plain tensors" in said(error)
    assert not mark.exists()


def _plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights\n", bytes(range(256)) * 64])
def test_a_file_of_something_else(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_model("sam2.1-tiny", checkpoint=path)
    assert str(path) in said(error)
    assert "damaged" in said(error)


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.99])
def test_a_truncated_checkpoint(tmp_path: Path, share: float) -> None:
    official = tmp_path / "whole.pt"
    torch.save({"model": load_file(PICO_WEIGHTS)}, official)
    for whole in (official, PICO_WEIGHTS):
        content = whole.read_bytes()
        cut = tmp_path / f"cut{whole.suffix}"
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ModelError) as error:
            load_model("sam2.1-tiny", checkpoint=cut)
        assert "damaged" in said(error)


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2], {"model": [1]}, {"model": {"a": 1}}])
def test_a_checkpoint_without_a_table_of_tensors(tmp_path: Path, content: object) -> None:
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    with pytest.raises(ModelError) as error:
        load_model("sam2.1-tiny", checkpoint=path)
    assert '"model" entry' in said(error)


@pytest.mark.slow
def test_weights_of_another_architecture(tiny_pt: Path) -> None:
    with pytest.raises(ModelError) as error:
        load_model("sam2.1-small", checkpoint=tiny_pt)
    text = said(error)
    assert str(tiny_pt) in text
    assert "sam2.1/sam2.1_hiera_s.yaml" in text
    missing = text.split("missing ")[1].split(",")[0]
    assert len(missing.split(" and ")[0].split()) == 3
    assert missing.endswith("more")


def test_the_first_keys_and_shape_that_differ_are_shown(tmp_path: Path) -> None:
    state = load_file(PICO_WEIGHTS)
    del state["no_obj_ptr"]
    state["surplus"] = torch.zeros(1)
    state["no_mem_embed"] = torch.zeros(1, 1, 8)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    with pytest.raises(ModelError) as error:
        load_model("pico", checkpoint=path)
    text = said(error)
    assert "missing no_obj_ptr," in text
    assert "unexpected surplus," in text
    assert "no_mem_embed is [1, 1, 8] instead of [1, 1, 128]" in text


@pytest.mark.parametrize(
    ("place", "key", "value", "expected"),
    [
        ("architecture", "num_maskmem", "many", "architecture.num_maskmem"),
        ("architecture", "surplus", 1, "architecture.surplus"),
        ("architecture", "mem_dim", 48, "no multiple of mem_dim"),
        ("input", "size", 100, "input.size"),
        ("input", "surplus", 1, "input.surplus"),
        ("architecture", "trunk", "no_such_trunk", "timm cannot build the trunk"),
        ("architecture", "trunk_out_indices", [0, 1, 2, 3], "has strides [2, 4, 8, 16]"),
    ],
)
def test_a_wrong_pico_configuration(
    tmp_path: Path, place: str, key: str, value: object, expected: str
) -> None:
    content = json.loads(PICO_CONFIG.read_text())
    content[place][key] = value
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError) as error:
        build_pico(read_pico_config(path))
    assert expected in said(error)


def test_a_configuration_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text("{")
    with pytest.raises(ModelError, match="not a pico configuration"):
        read_pico_config(path)


@pytest.mark.slow
def test_a_folder_states_the_size_of_the_pictures(
    tiny_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    save_file({k: v.clone() for k, v in tiny_state.items()}, tmp_path / "model.safetensors")
    config.write_text(json.dumps({"model_type": "sam2_video", "image_size": SMALL}))
    model = load_model("sam2.1-tiny", checkpoint=tmp_path, device="cpu", dtype="fp32")
    assert model.input.size == model.network.module.image_size == SMALL
    config.write_text(json.dumps({"model_type": "sam2_video"}))  # the default is not written
    model = load_model("sam2.1-tiny", checkpoint=tmp_path, device="cpu", dtype="fp32")
    assert model.input.size == model.network.module.image_size == 1024


@pytest.mark.parametrize("content", ["{", "[]", '{"image_size": "large"}', '{"image_size": 100}'])
def test_a_folder_with_a_broken_configuration(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match="is not a configuration of SAM 2") as error:
        load_model("sam2.1-tiny", checkpoint=tmp_path, device="cpu")
    assert "config.json" in said(error)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta", "cpu:1", ""])
def test_a_device_that_is_not_here(device: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model("pico", device=device)
    assert "use auto" in said(error)


@pytest.mark.parametrize("int8", [False, True])
def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch, int8: bool) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(precision, "_has_bf16", lambda device: True)
    monkeypatch.setattr(precision, "_has_int8", lambda device: True)
    assert choose_precision("auto", cpu, int8=int8) == ("int8" if int8 else "bf16")
    assert choose_precision("bf16", cpu, int8=int8) == "bf16"
    assert choose_precision("fp32", cpu, int8=int8) == "fp32"
    monkeypatch.setattr(precision, "_has_int8", lambda device: False)
    assert choose_precision("auto", cpu, int8=int8) == "bf16"
    with pytest.raises(UsageError, match="int8"):
        choose_precision("int8", cpu, int8=int8)
    monkeypatch.setattr(precision, "_has_bf16", lambda device: False)
    assert choose_precision("auto", cpu, int8=int8) == "fp32"
    assert choose_precision("bf16", cpu, int8=int8) == "bf16"
    with pytest.raises(UsageError, match="cannot compute in bf16"):
        choose_precision("bf16", torch.device("cuda"))
    with pytest.raises(UsageError, match="unknown dtype"):
        choose_precision("fp16", cpu)


def test_the_registry_loads_without_torch() -> None:
    code = "import sys, tracker.models, tracker.cli.checkpoints; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.parametrize("channels", [4, 16, 64])
def test_norms_over_channels_equal_the_original(channels: int) -> None:
    torch.manual_seed(0)
    original = LayerNorm2d(channels)
    nn.init.normal_(original.weight)
    nn.init.normal_(original.bias)
    holder = nn.Sequential(original)
    x_nchw = torch.randn(2, channels, 6, 5)
    with torch.inference_mode():
        expected = original(x_nchw)
        use_channel_norm(holder)
        torch.testing.assert_close(holder(x_nchw), expected, rtol=0, atol=1e-5)
