"""The families beside SAM 2: what they load and refuse, and every command of a session."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.moving_scene import frame, square
from tools.bench import small
from tracker.engine import Policy, Session
from tracker.errors import ModelError, UsageError
from tracker.models import REGISTRY, Model, find_spec, load_model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.digest import file_sha256
from tracker.types import Prompt

pytest.importorskip("transformers")

NAMES = ["edgetam", "sam3-tracker", "efficienttam-ti"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of small networks, as they are loaded."""
    return {name: small.save_small(name, tmp_path_factory.mktemp(name)) for name in NAMES}


@pytest.fixture(scope="module")
def models(weights: dict[str, Path]) -> dict[str, Model]:
    return {
        name: load_model(name, checkpoint=path, device="cpu", dtype="fp32")
        for name, path in weights.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_that_a_model_states(name: str, models: dict[str, Model]) -> None:
    network, size = models[name].network, models[name].input.size
    memory, side = network.memory, network.mask_side
    with torch.inference_mode():
        features = network.encode_image(np.zeros((size, size, 3), np.uint8))
        decoded = network.decode(features, network.condition(features, []), first=True)
        maps_nqm = network.encode_memory(features, decoded, from_prompt=False)
    assert decoded.logits_n1ss.shape == (1, 1, side, side)
    assert decoded.pointers_nc.shape == (1, memory.pointer_channels)
    assert decoded.presence_n1.shape == (1, 1) and decoded.iou_n.shape == (1,)
    assert maps_nqm.shape == (1, memory.tokens, memory.map_channels)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_session_takes_every_command(name: str, models: dict[str, Model], tmp_path: Path) -> None:
    """What one object is told changes no other, and a snapshot goes on bit for bit."""
    model = models[name]
    session = Session(model, Policy(history_frames=4, keep_memories="distractors"))
    for step in range(3):
        session.step(frame(step))
        session.prompt(Prompt(step + 1, box_xyxy=(50 + step, 40, 90 + step, 80), label="it"))
    session.prompt(Prompt(2, ((70.0, 60.0),), (1,)))
    late = session.prompt(Prompt(4, mask_hw=square(1)), step=1)
    assert late.caught_up == 1
    held = session.memory_bytes
    session.remove(1)
    session.relabel(2, "other")
    session.reset(3)
    session.declare(9, None)
    session.save(tmp_path / "snapshot")
    other = Session.load(tmp_path / "snapshot", model)
    for step in range(3, 6):
        ours, theirs = session.step(frame(step)), other.step(frame(step))
        assert [o.id for o in ours.objects] == [2, 3, 4, 9]
        for a, b in zip(ours.objects, theirs.objects, strict=True):
            assert (a.state, a.label, a.score) == (b.state, b.label, b.score)
            assert np.array_equal(a.mask_hw, b.mask_hw)
    assert session.memory_bytes <= held


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_masks_in_bf16_are_about_those_in_fp32(name: str, weights: dict[str, Path]) -> None:
    outputs = []
    for dtype in ("fp32", "bf16"):
        session = Session(load_model(name, checkpoint=weights[name], device="cpu", dtype=dtype))
        session.step(frame(0))
        session.prompt(Prompt(1, mask_hw=square(0)))
        session.step(frame(1))
        outputs.append(session.state.objects.rows[0].outputs[-1].decoded.logits_n1ss)
    fp32, bf16 = outputs
    assert not torch.equal(fp32, bf16)
    assert (fp32 - bf16).abs().mean() <= 0.05 * fp32.abs().mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_objects_together_are_as_objects_alone(name: str, models: dict[str, Model]) -> None:
    """Those of a batch that remember unequally much too."""
    outputs = []
    for batch in (16, 1):
        session = Session(models[name], Policy(batch_objects=batch))
        for step in range(3):
            session.step(frame(step))
            session.prompt(Prompt(step + 1, box_xyxy=(50 + step, 40, 90 + step, 80)))
        session.step(frame(3))
        rows = session.state.objects.rows
        outputs.append(torch.cat([row.outputs[-1].decoded.logits_n1ss for row in rows]))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-3)


@pytest.mark.slow
def test_weights_alone_go_into_the_published_configuration(tmp_path: Path) -> None:
    from tracker.models.edgetam.family import FAMILY

    network = FAMILY.network_class()(FAMILY.default_config())
    count = sum(p.numel() for p in network.parameters())
    assert round(count / 1e6, 1) == 13.9
    path = tmp_path / "edgetam.safetensors"
    save_file({key: value.clone() for key, value in network.state_dict().items()}, path)
    model = load_model("edgetam", checkpoint=path, device="cpu", dtype="fp32")
    assert model.input.size == 1024
    assert model.fingerprint == file_sha256(path)
    assert model.network.memory.tokens == 512
    held = model.network.module.state_dict()
    key = "spatial_perceiver.latents_1d"
    assert torch.equal(held[key], network.state_dict()[key])


@pytest.mark.slow
def test_the_tracker_is_found_among_the_weights_of_all_of_sam3(
    weights: dict[str, Path], models: dict[str, Model], tmp_path: Path
) -> None:
    whole: dict[str, torch.Tensor] = {"detector_model.text_encoder.weight": torch.zeros(2)}
    for key, value in load_file(weights["sam3-tracker"] / "model.safetensors").items():
        key = re.sub(r"^tracker_model\.", "", key)
        key = re.sub(r"^vision_encoder\.backbone\.", "detector_model.vision_encoder.backbone.", key)
        key = re.sub(r"^vision_encoder\.neck\.", "tracker_neck.", key)
        inside = key.startswith(("detector_model.", "tracker_neck."))
        whole[key if inside else f"tracker_model.{key}"] = value
    save_file(whole, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((weights["sam3-tracker"] / "config.json").read_bytes())
    model = load_model("sam3-tracker", checkpoint=tmp_path, device="cpu", dtype="fp32")
    ours, theirs = (m.network.module.state_dict() for m in (model, models["sam3-tracker"]))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
def test_the_trunk_of_efficienttam_is_that_of_vitdet(models: dict[str, Model]) -> None:
    """Of transformers' implementation, with the same weights."""
    from transformers import VitDetConfig, VitDetModel

    arch = small.EFFICIENTTAM
    config = VitDetConfig(
        hidden_size=arch.width,
        num_attention_heads=arch.heads,
        image_size=arch.image_size,
        pretrain_image_size=arch.image_size,
        window_block_indices=[0, 1, 3, 4, 6, 7, 9, 10],
        window_size=14,
        use_absolute_position_embeddings=True,
    )
    trunk = models["efficienttam-ti"].network.module.image_encoder.trunk
    theirs = VitDetModel(config).eval()
    theirs.load_state_dict(vitdet_state(trunk.state_dict()), strict=True)
    image_13ss = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (ours_1chw,) = trunk(image_13ss)
        theirs_1chw = theirs(image_13ss).last_hidden_state
    torch.testing.assert_close(ours_1chw, theirs_1chw, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_efficienttam_is_read_by_the_names_of_its_authors(
    weights: dict[str, Path], models: dict[str, Model], tmp_path: Path
) -> None:
    path, state = tmp_path / "theirs.pt", load_file(weights["efficienttam-ti"])
    for key in [key for key in state if ".trunk." in key and ".mlp." in key]:
        theirs = key.replace(".fc1.", ".layers.0.").replace(".fc2.", ".layers.1.")
        state[theirs] = state.pop(key)
    positions = "image_encoder.trunk.pos_embed"
    class_token_11c = torch.zeros(1, 1, state[positions].shape[-1])
    state[positions] = torch.cat([class_token_11c, state[positions].flatten(1, 2)], dim=1)
    torch.save({"model": state}, path)
    path.with_suffix(".json").write_text(small.EFFICIENTTAM.model_dump_json())
    model = load_model("efficienttam-ti", checkpoint=path, device="cpu", dtype="fp32")
    ours, others = (
        m.network.module.image_encoder.state_dict() for m in (model, models["efficienttam-ti"])
    )
    assert ours.keys() == others.keys()
    assert all(torch.equal(ours[key], others[key]) for key in others)


def vitdet_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A timm trunk's weights under the names of transformers."""
    names = {
        "patch_embed.proj.": "embeddings.projection.",
        "blocks.": "encoder.layer.",
        ".attn.": ".attention.",
    }
    renamed = {}
    for key, value in state.items():
        if key == "pos_embed":
            class_token = torch.zeros(1, 1, value.shape[-1])
            renamed["embeddings.position_embeddings"] = torch.cat(
                [class_token, value.flatten(1, 2)], dim=1
            )
            continue
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        renamed[key] = value
    return renamed


class TestRefusals:
    @pytest.mark.slow
    def test_weights_of_another_model(self) -> None:
        pico = checkpoint_path(find_spec("pico"))
        with pytest.raises(
            ModelError, match="does not fit the configuration edgetam_video"
        ) as error:
            load_model("edgetam", checkpoint=pico, device="cpu")
        assert "missing " in str(error.value) and "\n" not in str(error.value)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "content",
        ["{", "[]", '{"model_type": "edgetam_video", "num_maskmem": "seven"}', "x" * (1 << 21)],
    )
    def test_a_broken_configuration(
        self, content: str, weights: dict[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "config.json").write_text(content)
        (tmp_path / "model.safetensors").symlink_to(weights["edgetam"] / "model.safetensors")
        with pytest.raises(ModelError, match="is not a configuration of edgetam_video") as error:
            load_model("edgetam", checkpoint=tmp_path, device="cpu")
        assert "\n" not in str(error.value)

    @pytest.mark.slow
    def test_a_trunk_on_a_hub(self, weights: dict[str, Path], tmp_path: Path) -> None:
        """timm would ask the hub what it is, even for its architecture alone."""
        config = json.loads((weights["edgetam"] / "config.json").read_text())
        config["vision_config"]["backbone_config"]["architecture"] = "hf-hub:someone/else"
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="'hf-hub:someone/else' is not a name"):
            load_model("edgetam", checkpoint=tmp_path, device="cpu")

    @pytest.mark.slow
    def test_a_configuration_that_the_weights_do_not_fit(
        self, weights: dict[str, Path], tmp_path: Path
    ) -> None:
        config = json.loads((weights["edgetam"] / "config.json").read_text())
        config["memory_attention_num_layers"] = 3
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "model.safetensors").symlink_to(weights["edgetam"] / "model.safetensors")
        with pytest.raises(ModelError, match="missing memory_attention"):
            load_model("edgetam", checkpoint=tmp_path, device="cpu")

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="is not a file"):
            load_model("edgetam", checkpoint=tmp_path, device="cpu")

    def test_without_transformers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(UsageError, match="this model needs transformers, which") as error:
            load_model("edgetam", checkpoint=Path("any"), device="cpu")
        assert "trackd[transformers]" in error.value.hint
        assert error.value.exit_code == 2

    def test_gated_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path))
        with pytest.raises(ModelError, match="LicenseRef-SAM-License") as error:
            load_model("sam3-tracker", device="cpu")
        assert REGISTRY["sam3-tracker"].gated is not None
        assert REGISTRY["sam3-tracker"].gated in error.value.hint
