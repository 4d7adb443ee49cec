"""`remove:MODEL`: what diffusion models fill, what is refused, and plates that are carried on."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.effects.test_effects import around, drawn, scene
from tests.support.moving_square import open_fake_session, write_clip
from tracker.cli.main import main
from tracker.effects import inpaint
from tracker.effects.clean_plate import CleanPlate
from tracker.effects.inpaint import DiffusionInpainter, check_inpainting, context
from tracker.errors import ModelError, TrackdError, UsageError
from tracker.types import ObjectResult, ObjectState

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None, reason="the extra inpaint is not installed"
)
SIDE = 64  # of the pictures that the pipelines of tests.support.tiny_diffusers are made for
PIPELINES = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
PICTURE = cv2.GaussianBlur(
    np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 3
)
HOLE = np.zeros((SIDE, SIDE), np.uint8)
HOLE[20:44, 16:40] = 1


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support import tiny_diffusers

    folder = tmp_path_factory.mktemp("models")
    for name, make in zip(PIPELINES, tiny_diffusers.MAKERS, strict=True):
        (folder / name).mkdir()
        make(folder / name)
    return folder


@pytest.fixture
def model(models: Path) -> Path:
    return models / "StableDiffusionInpaintPipeline"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(inpaint, "STEPS", 3)
    return 3


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_a_hole_is_filled_as_the_library_does_by_itself(models: Path, name: str, brief: int):
    """By its own defaults: it is guided by the words, of which there are none."""
    import diffusers

    pipeline = diffusers.DiffusionPipeline.from_pretrained(models / name)
    assert type(pipeline).__name__ == name
    drawn_hwc = pipeline(
        prompt="",
        negative_prompt="",
        image=Image.fromarray(PICTURE),
        mask_image=Image.fromarray(HOLE * 255),
        height=SIDE,
        width=SIDE,
        num_inference_steps=brief,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]
    filled_hwc = DiffusionInpainter(str(models / name)).fill(PICTURE, HOLE)
    assert filled_hwc is not None
    inside = HOLE > 0
    assert np.array_equal(filled_hwc[~inside], PICTURE[~inside])
    assert np.abs(filled_hwc[inside] - 255 * drawn_hwc[inside]).max() <= 1
    assert np.abs(filled_hwc[inside].astype(int) - PICTURE[inside]).mean() > 10


@pytest.mark.slow
def test_a_picture_larger_than_the_model_is_scaled_and_filled_the_same_each_time(
    model: Path, brief: int
):
    large = cv2.resize(PICTURE, (400, 300), interpolation=cv2.INTER_CUBIC)
    hole = np.zeros(large.shape[:2], np.uint8)
    hole[60:200, 300:390] = 1
    first, second = (DiffusionInpainter(str(model)).fill(large, hole) for _ in range(2))
    assert first is not None and second is not None
    assert np.array_equal(first, second)
    assert np.array_equal(first[hole == 0], large[hole == 0])
    assert (first[hole > 0] != large[hole > 0]).any()


@pytest.mark.parametrize(
    ("rows", "columns", "side", "expected"),
    [
        ((10, 20), (90, 100), 64, (slice(0, 64), slice(36, 100))),  # in a corner
        ((40, 60), (40, 60), 64, (slice(18, 82), slice(18, 82))),  # the model's own size
        ((10, 50), (40, 60), 40, (slice(0, 60), slice(20, 80))),  # half as much again
        ((0, 100), (0, 100), 64, (slice(0, 100), slice(0, 100))),  # no more than there is
    ],
)
def test_the_model_sees_what_is_around_a_hole(rows, columns, side, expected):
    hole = np.zeros((100, 100), np.uint8)
    hole[slice(*rows), slice(*columns)] = 1
    assert context(hole, side) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"_class_name": "StableDiffusionPipeline"}, "holds a StableDiffusionPipeline, which is"),
        ({"_class_name": ["pipeline", "Mine"]}, "which is not run here"),
        ({"unet": ["pickle", "Unpickler"]}, "brings code of its own, which is not run"),
        ({"unet": [["a"], "b"]}, "cannot be read"),
    ],
)
def test_other_pipelines_and_code_of_their_own_are_refused(
    tmp_path: Path, model: Path, changes: dict[str, object], says: str
):
    index = json.loads((model / "model_index.json").read_bytes())
    (tmp_path / "model_index.json").write_text(json.dumps(index | changes))
    with pytest.raises(ModelError, match=says):
        check_inpainting(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    check_inpainting(str(tmp_path))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusers.py").write_text("raise SystemExit")
    with pytest.raises(ModelError, match="brings code of its own"):
        check_inpainting(str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "pickled"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"),
        ("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    ],
)
def test_pickled_weights_are_not_read(tmp_path: Path, weights: str, pickled: str):
    from tests.support import tiny_diffusers

    tiny_diffusers.stable_diffusion(tmp_path)
    torch.save(load_file(tmp_path / weights), tmp_path / pickled)
    (tmp_path / weights).unlink()
    with pytest.raises(ModelError, match="cannot be loaded as StableDiffusionInpaintPipeline"):
        DiffusionInpainter(str(tmp_path))


def test_without_the_package_the_error_tells_how_to_get_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UsageError, match=r"remove:MODEL needs diffusers") as caught:
        DiffusionInpainter(str(model))
    assert caught.value.hint == "pip install 'trackd[inpaint]'"


def test_a_model_of_the_catalogue_that_is_not_here_tells_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRACKD_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="no weights of stable-diffusion-inpainting") as caught:
        check_inpainting("stable-diffusion-inpainting")
    assert caught.value.hint == "run `trackd models get stable-diffusion-inpainting`"
    with pytest.raises(TrackdError, match="unknown model 'sam-vit-base' to fill"):
        check_inpainting("sam-vit-base")


@pytest.mark.slow
def test_what_the_safety_checker_objects_to_is_not_shown(
    model: Path, monkeypatch: pytest.MonkeyPatch, brief: int
):
    import diffusers

    monkeypatch.setattr(
        diffusers.StableDiffusionInpaintPipeline,
        "run_safety_checker",
        lambda self, image, device, dtype: (image, [True]),
    )
    assert DiffusionInpainter(str(model)).fill(PICTURE, HOLE) is None


def still_disc(count: int) -> tuple[list, list[np.ndarray]]:
    """Shots of a camera that moves past a disc, which hides the same place always; and without."""
    shots, clean = [], []
    for index in range(count):
        image, _ = scene(index)
        clean.append(image.copy())
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(mask, (200 - 2 * index, 96), 22, 1, -1)
        y, x = np.nonzero(mask)
        image[mask > 0] = (255, 0, 0)
        box = (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
        shots.append((image, (ObjectResult(1, None, ObjectState.VISIBLE, 1, 1, box, mask > 0),)))
    return shots, clean


@pytest.mark.slow
@pytest.mark.parametrize("refuses", [False, True])
def test_a_plate_is_filled_once_and_carried_on(monkeypatch: pytest.MonkeyPatch, refuses: bool):
    """The world is filled from where it was on the first frame: a model that knows it all."""
    shots, clean = still_disc(16)
    asked = []

    def knowing(image_hwc: np.ndarray, hole_hw: np.ndarray) -> np.ndarray | None:
        asked.append(hole_hw)
        return None if refuses else np.where(hole_hw[..., None] > 0, clean[0], image_hwc)

    plate = CleanPlate("knowing", knowing)
    monkeypatch.setattr("tracker.effects.remove.clean_plate", lambda name: plate)
    monkeypatch.setattr("tracker.effects.inpaint.check_inpainting", lambda name: None)
    done = drawn("remove:knowing", shots)
    assert len(asked) == 1
    inside = shots[0][1][0].mask_hw
    assert asked[0][inside].all()
    assert not asked[0][~around(inside, 21)].any()
    errors = [
        np.abs(
            done[i][shots[i][1][0].mask_hw].astype(int) - clean[i][shots[i][1][0].mask_hw]
        ).mean()
        for i in (0, 8, 15)
    ]
    assert (max(errors) < 6) is not refuses, errors
    by = "clean plates by knowing"
    said = f"remove: {by}: 0, by OpenCV, since it refused: 1" if refuses else f"remove: {by}: 1"
    assert plate.notes == (said,)


@pytest.mark.slow
def test_the_command_fills_with_a_model_and_tells_what_is_wrong_before_it_tracks(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    brief: int,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.annotate.run.open_session", open_fake_session)
    write_clip(tmp_path / "clip.mp4", 3)
    track = ["track", "clip.mp4", "--box", "1:4,10,24,30", "--out", "out.mp4", "--effect"]
    assert main([*track, f"1=remove:{tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"trackd: error: {tmp_path} holds no pipeline: it has no model_index.json"
    )
    assert not (tmp_path / "out.mp4").exists()
    assert main([*track, f"1=remove:{model}"]) == 0
    assert f"remove: clean plates by {model}: 1" in capsys.readouterr().out
    assert (tmp_path / "out.mp4").exists()
