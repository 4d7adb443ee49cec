"""Finders of words and classes, against the libraries' own pipelines on the same small weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support import tiny_transformers as tiny
from tests.support.moving_square import picture
from tracker.cli.main import main
from tracker.errors import FinderError, ModelError, UnknownModelError, UsageError
from tracker.finders.base import Proposal
from tracker.finders.detector import make_detector
from tracker.finders.phrases import split_phrases
from tracker.finders.settings import DetectorSettings, TextSettings
from tracker.finders.text import TextFinder, closest_phrase

pytest.importorskip("transformers")
import transformers as hf

CPU = torch.device("cpu")
PHRASES = ("red square", "cat")
# What the library calls boxes, with the dots between the phrases, and which of ours that is.
LABEL_OF_WORDS = {
    "red square": "red square",
    "square": "red square",
    "red square. cat.": "red square",  # all of the one, a third of both
    ". cat.": "cat",
    "..": None,
    "": None,
}
ALL = {"box_threshold": 0.0, "text_threshold": 0.0, "nms_threshold": 1.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def sorted_boxes(boxes: NDArray, scores: NDArray) -> NDArray:
    return np.asarray(boxes)[np.argsort(-np.asarray(scores), kind="stable")]


def ours(found: list[Proposal]) -> tuple[NDArray, NDArray, list[str | None]]:
    boxes = np.array([item.box_xyxy for item in found])
    return boxes, np.array([item.score for item in found]), [item.label for item in found]


def loaded(folder: Path, auto_class: str = "AutoModelForZeroShotObjectDetection"):
    return getattr(hf, auto_class).from_pretrained(folder), hf.AutoProcessor.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["grounding_dino", "mm_grounding_dino"])
def test_grounding_dino_gives_the_boxes_of_the_library(models: Path, family: str):
    folder = tiny.make(getattr(tiny, family), models / family)
    network, processor = loaded(folder)
    inputs = processor(
        images=Image.fromarray(picture(0)), text="red square. cat.", return_tensors="pt"
    )
    with torch.no_grad():
        outputs = network(**inputs)
    # So high that a box has some of the words, or none.
    text_threshold = outputs.logits.sigmoid()[..., : inputs["input_ids"].shape[1]].quantile(0.75)
    settings = ALL | {"text_threshold": text_threshold.item()}
    found = TextFinder(CPU, TextSettings(model=str(folder), **settings)).find(picture(0), PHRASES)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, text_threshold=text_threshold.item(), target_sizes=[(96, 128)]
    )
    boxes, scores, labels = ours(found)
    assert len(found) == len(expected["boxes"]) > 3
    np.testing.assert_allclose(scores, np.sort(expected["scores"].numpy())[::-1], atol=1e-5)
    want = sorted_boxes(expected["boxes"], expected["scores"])
    np.testing.assert_allclose(sorted_boxes(boxes, scores), want, atol=1e-2)
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    assert labels == [LABEL_OF_WORDS[expected["text_labels"][i]] for i in order]
    assert set(labels) == {*PHRASES, None}


@pytest.mark.slow
def test_owlv2_gives_the_boxes_and_labels_of_the_library(models: Path):
    folder = tiny.make(tiny.owlv2, models / "owlv2")
    found = TextFinder(CPU, TextSettings(model=str(folder), **ALL)).find(picture(0), PHRASES)
    pipeline = hf.pipeline("zero-shot-object-detection", model=str(folder), device="cpu")
    image = Image.fromarray(picture(0))
    expected = pipeline(image, candidate_labels=list(PHRASES), threshold=0.0)
    # The pipeline gives each box once for each phrase, ours for the phrase that fits best.
    best: dict[tuple[int, ...], dict] = {}
    for want in sorted(expected, key=lambda want: want["score"]):
        best[tuple(want["box"].values())] = want
    inside = [want for box, want in best.items() if box[0] < 128 and box[1] < 96]
    found = [item for item in found if item.box_xyxy[0] < 128 and item.box_xyxy[1] < 96]
    assert len(found) == len(inside) > 3
    for item, want in zip(found, sorted(inside, key=lambda w: -w["score"]), strict=True):
        assert item.score == pytest.approx(want["score"], abs=1e-5)
        assert item.label == want["label"]
        np.testing.assert_allclose(item.box_xyxy, list(want["box"].values()), atol=1)


@pytest.mark.slow
def test_omdet_turbo_gives_the_boxes_and_labels_of_the_library(models: Path):
    folder = tiny.make(tiny.omdet_turbo, models / "omdet")
    settings = TextSettings(model=str(folder), box_threshold=0.0, nms_threshold=0.9)
    found = TextFinder(CPU, settings).find(picture(0), PHRASES)
    network, processor = loaded(folder)
    inputs = processor(images=Image.fromarray(picture(0)), text=list(PHRASES), return_tensors="pt")
    with torch.no_grad():
        outputs = network(**inputs)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs,
        text_labels=list(PHRASES),
        threshold=0.0,
        nms_threshold=0.9,
        target_sizes=[(96, 128)],
    )
    boxes, _, labels = ours(found)
    assert len(found) == len(expected["boxes"]) > 0
    np.testing.assert_allclose(boxes, sorted_boxes(expected["boxes"], expected["scores"]), atol=0.1)
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    assert labels == [expected["text_labels"][i] for i in order]


@pytest.mark.slow
def test_a_detector_gives_the_boxes_and_classes_of_the_library(models: Path):
    folder = tiny.make(tiny.yolos, models / "yolos")
    finder = make_detector(CPU, DetectorSettings(model=str(folder), threshold=0.0))
    pipeline = hf.pipeline("object-detection", model=str(folder), device="cpu")
    expected = pipeline(Image.fromarray(picture(0)), threshold=0.0)
    found = sorted(finder.find(picture(0), ()), key=lambda item: -item.score)
    assert len(found) == len(expected) > 3
    for item, want in zip(found, sorted(expected, key=lambda w: -w["score"]), strict=True):
        assert (item.score, item.label) == (pytest.approx(want["score"], abs=1e-5), want["label"])
        np.testing.assert_allclose(item.box_xyxy, list(want["box"].values()), atol=1)
    label = found[0].label
    assert label is not None
    only = finder.find(picture(0), (label.upper(),))
    assert {item.label for item in only} == {label}
    with pytest.raises(UsageError, match=r"knows no class 'unicorn'; it knows car, dog, person"):
        finder.check_phrases(("unicorn",))


def detect_red(image_hwc: NDArray[np.uint8]) -> sv.Detections:
    """A detector as a user may have one."""
    ys, xs = np.nonzero(image_hwc[..., 0] > 200)
    box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    return sv.Detections(
        xyxy=np.array([box, [90, 60, 110, 80]], float),
        confidence=np.array([0.9, 0.3]),
        data={"class_name": np.array(["square", "square"])},
    )


def detect_nothing_right(image_hwc: NDArray[np.uint8]) -> list[int]:
    return [1]


def test_any_function_that_returns_detections_is_a_detector(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_detectors", sys.modules[__name__])
    finder = make_detector(CPU, DetectorSettings(model="my_detectors.detect_red"))
    assert finder.find(picture(0), ("Square",)) == [Proposal((4, 10, 24, 30), 0.9, "square")]
    assert finder.find(picture(0), ("cat",)) == []
    wrong = make_detector(CPU, DetectorSettings(model="my_detectors.detect_nothing_right"))
    with pytest.raises(FinderError, match=r"returned list, not supervision.Detections"):
        wrong.find(picture(0), ())
    with pytest.raises(UsageError, match=r"my_detectors.none cannot be imported: AttributeError"):
        make_detector(CPU, DetectorSettings(model="my_detectors.none"))


def test_a_folder_of_another_model_is_one_clear_error(models: Path, tmp_path: Path):
    folder = tiny.make(tiny.yolos, tmp_path / "yolos")
    with pytest.raises(ModelError, match=r"cannot be loaded as ZeroShotObjectDetection: .*"):
        TextFinder(CPU, TextSettings(model=str(folder)))
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"cannot be loaded as ObjectDetection: .*"):
        make_detector(CPU, DetectorSettings(model=str(folder)))


def test_weights_that_lack_tensors_are_refused(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tiny.make(tiny.yolos, tmp_path / "yolos")
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if name.endswith("bbox_predictor.layers.0.weight"))
    del state[name]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors of their config: bbox_predictor"):
        make_detector(CPU, DetectorSettings(model=str(folder)))


def test_names_that_are_not_known_or_not_here(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path))
    with pytest.raises(UnknownModelError, match=r"did you mean owlv2-base"):
        TextFinder(CPU, TextSettings(model="owlv2-bas"))
    with pytest.raises(ModelError, match=r"run `trackd models get owlv2-base`"):
        TextFinder(CPU, TextSettings(model="owlv2-base"))


def test_without_the_package_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"needs transformers.*pip install 'trackd\[text\]'"):
        TextFinder(CPU, TextSettings(model="owlv2-base"))


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("cat . Red  CAR.", ("cat", "red car")),
        ("cat", ("cat",)),
        ("cat.cat. dog", ("cat", "dog")),
    ],
)
def test_phrases_are_split_at_dots(text, phrases):
    assert split_phrases(text) == phrases


@pytest.mark.parametrize(
    "text", ["", ".", " . . ", "x" * 65, "a . " * 3 + ". ".join(map(str, range(70))), "a\x1bb"]
)
def test_texts_without_phrases_or_with_too_many_are_refused(text):
    with pytest.raises(UsageError):
        split_phrases(text)


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("red", "red car"),
        ("car cat", "cat"),
        ("", ""),
        ("tree", ""),
        ("red car", "red car"),
        (". cat.", "cat"),
        ("red car. cat. [SEP]", "red car"),
        ("..", ""),
    ],
)
def test_words_that_were_found_name_the_closest_phrase(words, phrase):
    assert closest_phrase(words, ("red car", "cat")) == phrase


@pytest.mark.slow
def test_a_command_finds_by_words(models: Path, tmp_path: Path, capsys):
    folder = tiny.make(tiny.owlv2, models / "owlv2-cli")
    photo = tmp_path / "photo.png"
    Image.fromarray(picture(0)).save(photo)
    argv = ["find", str(photo), "--text", "cat . red square", "--find-set", f"model={folder}"]
    argv += ["--find-set", "box_threshold=0", "--out", str(tmp_path / "drawn.png")]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" found") and not lines[0].startswith("0")
    assert "cat" in lines[1] or "red square" in lines[1]
    assert np.asarray(Image.open(tmp_path / "drawn.png")).shape == (96, 128, 3)
