"""Which model to track with, by what was measured; and the record of that."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tracker.choose import measure as measuring
from tracker.choose.choice import Quality, Wish, choose
from tracker.choose.measure import Measurement
from tracker.choose.record import keep_measurements, read_measurements, record_path
from tracker.cli.main import main
from tracker.errors import ModelError


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def measured(name: str, one_ms: float, eight_ms: float, device: str = "cuda") -> list[Measurement]:
    return [
        Measurement(name, "track", device, "fp32", 2, objects, ms)
        for objects, ms in ((1, one_ms), (8, eight_ms))
    ]


SPEEDS = (
    measured("pico", 20, 34) + measured("sam2.1-tiny", 30, 100) + measured("sam2.1-large", 90, 400)
)


@pytest.mark.parametrize(
    ("objects", "fps", "quality", "name", "says"),
    [
        (1, 10, "any", "sam2.1-large", "the largest that was measured fast enough"),
        (1, 30, "any", "sam2.1-tiny", "30 ms a frame, 33.3 a second"),
        (4, 20, "any", "pico", "26 ms a frame"),  # tiny: 30 + 3/7 of 70 = 60 ms
        (4, 10, "good", "sam2.1-tiny", "60 ms a frame"),
        (15, 10, "good", "sam2.1-tiny", "none that was measured reaches"),  # 170 ms
        (1, 25, "best", "sam2.1-large", "none that was measured reaches 25 frames a second with 1"),
    ],
)
def test_the_largest_model_that_is_fast_enough(objects, fps, quality, name, says):
    answer = choose(Wish("cuda", objects, fps, Quality(quality)), SPEEDS, ["pico"])
    assert answer.name == name
    assert says in answer.why


def test_without_a_measurement_the_device_decides_and_the_answer_says_so():
    cpu = choose(Wish("cpu", 1, 10, Quality.ANY), SPEEDS, ["pico"])
    assert (cpu.name, cpu.why.partition(";")[0]) == ("pico", "nothing was measured")
    assert choose(Wish("cpu", 1, 10, Quality.GOOD), [], []).name == "sam2.1-tiny"
    assert choose(Wish("cuda", 1, 10, Quality.ANY), [], []).name == "sam2.1-base-plus"
    assert choose(Wish("cuda", 1, 10, Quality.BEST), [], []).name == "sam2.1-large"


def test_the_record_keeps_the_newest_of_a_kind_and_only_of_this_machine(models: Path):
    assert read_measurements() == []
    keep_measurements(measured("pico", 20, 34))
    keep_measurements(measured("pico", 10, 30)[:1])
    assert [(item.objects, item.ms) for item in read_measurements()] == [(1, 10), (8, 34)]
    other = replace(measured("pico", 15, 30)[0], precision="bf16", threads=1)
    keep_measurements([other])
    assert [(item.objects, item.ms) for item in read_measurements()] == [(1, 15), (8, 34)]
    content = json.loads(record_path().read_text())
    record_path().write_text(json.dumps(content | {"machine": "another"}))
    assert read_measurements() == []
    record_path().write_text("{")
    with pytest.raises(ModelError, match=r"speeds.json cannot be read; delete it"):
        read_measurements()


@pytest.mark.slow
def test_the_commands_list_measure_and_choose(models: Path, capsys, monkeypatch):
    monkeypatch.setattr(measuring, "_MOST_RUNS", 1)
    monkeypatch.setattr(measuring, "_WARM_UP", 0)
    monkeypatch.setattr(measuring, "OBJECTS", (1,))
    assert main(["choose", "--device", "cpu"]) == 0
    assert "use pico: nothing was measured" in capsys.readouterr().out
    assert main(["models", "--measure", "--device", "cpu", "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert (item["name"], item["task"], item["objects"]) == ("pico", "track", 1)
    assert main(["choose", "--device", "cpu", "--fps", "0.001", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["name"] == "pico"
    assert "the largest that was measured fast enough" in answer["why"]
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    for name in ("pico", "sam2.1-large", "owlv2-base", "fastsam", "finders: everything"):
        assert name in table
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["fastsam"]["weights_license"] == "AGPL-3.0-only"
    assert rows["pico"]["bytes"] > 1e6 and rows["sam2.1-tiny"]["bytes"] is None


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["choose", "--objects", "0"], 2, "--objects or --fps is out of range"),
        (["choose", "--fps", "nan"], 2, "--objects or --fps is out of range"),
        (["choose", "--device", "tpu"], 2, "unknown device 'tpu'"),
        (["models", "get", "owlv2"], 2, "unknown model 'owlv2'; did you mean owlv2-base?"),
        (["models", "get", "mobilesam"], 1, "mobilesam is not published where trackd could fetch"),
        (["models", "get", "fastsam"], 1, "and put model.onnx into"),
    ],
)
def test_wrong_usage_is_one_clear_line(capsys, argv, code, says):
    assert main(argv) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("trackd: error: ") and says in line


def test_published_files_are_fetched_and_checked(models: Path, monkeypatch, capsys):
    """The files of EfficientSAM, from a server of our own."""
    import hashlib
    from dataclasses import replace

    from tests.support.http_server import serving, with_length
    from tracker.models import catalog, model_files

    entry = catalog.CATALOG["efficientsam-tiny"]
    assert isinstance(entry.files, catalog.WebFiles)
    data = {"encoder.onnx": b"e" * 5000, "decoder.onnx": b"d" * 3000}
    with serving({f"/{name}": with_length(content) for name, content in data.items()}) as server:
        files = tuple(
            catalog.WebFile(name, f"{server.url}/{name}", hashlib.sha256(content).hexdigest())
            for name, content in data.items()
        )
        ours = replace(entry, files=catalog.WebFiles(files))
        assert model_files.model_folder(ours) is None
        folder = model_files.get_model(ours, revision=None, on_progress=lambda done, total: None)
        assert model_files.model_folder(ours) == folder == models / "efficientsam-tiny"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == data
        wrong = replace(files[0], sha256="0" * 64)
        (folder / "encoder.onnx").unlink()
        with pytest.raises(ModelError, match="has SHA-256"):
            model_files.get_model(
                replace(entry, files=catalog.WebFiles((wrong, files[1]))),
                revision=None,
                on_progress=lambda done, total: None,
            )
