"""Whole runs on tiny data: they learn, stop, go on after a kill, score and export."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.support.train_data import HELD_OUT, write_small_pack
from tests.support.warm_python import python
from tools.train import command
from tools.train.checkpoint import Standing, load_run, save_tensors
from tools.train.export import main as export_main
from tools.train.progress import Progress
from tools.train.trainer import BEST_NAME, LAST_NAME
from tracker.engine import Session
from tracker.models import load_model
from tracker.types import Prompt

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SIZE = 64


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_pack(tmp_path_factory.mktemp("run"))


def written(folder: Path, pack: Path, steps: int = 4, **change: Any) -> Path:
    """A configuration of one phase; `phase` in `change` adds to it."""
    phase = {"steps": steps, "size": SIZE, "frames": 2, "batch": 1, "warmup": 0}
    tree = {
        "data": {"pack": str(pack), "sources": {"videos": 1, "stills/blobs": 1}, "workers": 0,
                 "held_out": [HELD_OUT]},
        "evaluation": {"every": steps, "frames": 3},
        "phases": [phase | change.pop("phase", {})],
        "log_every": 2,
        "save_every": 2,
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tree | change))
    return path


def train(config: Path, out: Path, *options: str) -> int:
    return command.main([str(config), "--out", str(out), "--device", "cpu", *options])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two phases, the second with a part of the trunk, that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    config = written(folder, pack)
    tree = yaml.safe_load(config.read_text())
    late = {
        "size": 96,
        "accumulate": 2,
        "steps": 2,
        "frozen": ["image_encoder.trunk.body.blocks.0"],
    }
    tree["phases"].append(tree["phases"][0] | late)
    tree["evaluation"]["every"] = 3
    tree["data"]["workers"] = 1
    config.write_text(yaml.safe_dump(tree))
    assert train(config, folder / "out") == 0
    return folder


def test_a_run_keeps_its_last_and_its_best_state(whole: Path) -> None:
    weights, standing = load_run(whole / "out" / LAST_NAME)
    assert standing.step == 6 and standing.size == 96
    assert standing.best_step in (3, 6)
    log, scores = rows(whole / "out" / "log.csv"), rows(whole / "out" / "scores.csv")
    assert [row["step"] for row in log] == ["2", "4", "6"]
    assert [row["phase"] for row in log] == ["1", "1", "2"]
    assert [row["clips"] for row in log] == ["2", "4", "8"]
    assert [row["step"] for row in scores] == ["3", "6"]
    assert all(0 <= float(row[kind]) <= 1 for row in scores for kind in ("mask", "box", "point"))
    packaged = load_model("pico", device="cpu").network.module.state_dict()
    moved = [name for name, t in weights.network.items() if name in packaged
             and not torch.equal(t, packaged[name])]  # fmt: skip
    assert any(name.startswith("sam_mask_decoder") for name in moved)
    assert any("blocks.6" in f"{name}" for name in weights.moments)
    assert not any("trunk.body.blocks.0." in name for name in weights.moments)


def test_a_run_is_not_begun_over_another(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (whole / "out" / LAST_NAME).read_bytes()
    assert train(whole / "run.yaml", whole / "out") == 2
    assert "--resume" in capsys.readouterr().err
    assert (whole / "out" / LAST_NAME).read_bytes() == before


def assert_alike(out: Path, other: Path) -> None:
    ours, theirs = load_run(out / LAST_NAME)[0], load_run(other / LAST_NAME)[0]
    for part in ("network", "average", "moments"):
        mine, its = getattr(ours, part), getattr(theirs, part)
        assert mine.keys() == its.keys()
        for name in mine:
            assert torch.equal(mine[name], its[name]), name


def test_a_killed_run_goes_on_to_the_same_weights(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = whole / "run.yaml", tmp_path / "out"
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [*python(), "-m", "tools.train", config, "--out", out, "--device", "cpu"],
        cwd=ROOT, env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / LAST_NAME).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    step = load_run(out / LAST_NAME)[1].step
    assert 2 <= step < 6
    assert train(config, out, "--resume", "--minutes", "0") == 0
    assert f"stopped at step {step + 1} of 6, the time is up" in capsys.readouterr().err
    assert train(config, out, "--resume") == 0
    assert_alike(out, whole / "out")
    logs = [rows(folder / "log.csv") for folder in (out, whole / "out")]
    losses = [{row["step"]: row["loss"] for row in log} for log in logs]
    assert {"2", "6"} <= losses[0].keys()
    assert losses[0]["2"] == losses[1]["2"]


def test_ctrl_c_saves(
    pack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(progress: Progress, done: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "step", interrupt)
    config = written(tmp_path, pack, steps=500, save_every=500)
    assert train(config, tmp_path / "out") == 130
    assert "stopped at step 3 of 500, asked to stop" in capsys.readouterr().err
    assert load_run(tmp_path / "out" / LAST_NAME)[1].step == 3


def test_one_clip_is_learnt_by_heart(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools.train.clips import ClipMaker

    clip_of = ClipMaker.clip
    monkeypatch.setattr(ClipMaker, "clip", lambda self, number: clip_of(self, 3))
    config = written(
        tmp_path, pack, steps=8, phase={"rate": 3e-3}, log_every=2, save_every=8,
        prompts={"mask": 0, "box": 1, "point": 0, "correct_first": 0, "correct_later": 0},
    )  # fmt: skip
    assert train(config, tmp_path / "out", "--init", "random") == 0
    losses = [float(row["loss"]) for row in rows(tmp_path / "out" / "log.csv")]
    assert losses[-1] < 0.6 * losses[0]


def test_what_is_exported_loads_and_tracks(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    assert export_main([str(whole / "out"), str(out), "--last"]) == 0
    assert {t.dtype for t in load_file(out).values() if t.is_floating_point()} == {torch.float16}
    assert json.loads(out.with_suffix(".json").read_text())["input"]["size"] == 96
    session = Session(load_model("pico", checkpoint=out, device="cpu"))
    image = np.full((60, 80, 3), 60, np.uint8)
    image[20:40, 20:50] = (230, 60, 40)
    session.step(image)
    session.prompt(Prompt(1, box_xyxy=(20, 20, 50, 40)))
    assert session.step(image).objects[0].mask_hw.shape == (60, 80)
    assert export_main([str(whole / "out"), str(out), "--size", "128"]) == 0
    assert load_model("pico", checkpoint=out, device="cpu").input.size == 128


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["{run}", "x.pt"], "should end in .safetensors"),
        (["{run}", "x.safetensors", "--size", "100"], "no network takes"),
        (["{run}/none", "x.safetensors"], "name the run's folder"),
    ],
)
def test_an_export_that_cannot_be_made_is_explained(
    whole: Path,
    tmp_path: Path,
    options: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_main([option.format(run=whole / "out") for option in options]) in (1, 2)
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_damaged_checkpoint_is_named(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for content in (b"", b"nonsense" * 10):
        (out / LAST_NAME).write_bytes(content)
        assert train(written(tmp_path, pack), out, "--resume") == 1
        assert "is damaged" in capsys.readouterr().err
    save_tensors(out / BEST_NAME, {}, Standing(model="pico", size=SIZE))
    assert not list(out.glob(".*"))


def test_an_unknown_start_is_named(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, pack)
    assert train(config, tmp_path / "a", "--init", "nowhere.safetensors") == 1
    assert "nowhere.safetensors does not exist" in capsys.readouterr().err
    assert train(written(tmp_path, tmp_path), tmp_path / "b") == 1
    assert "no pack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("frozen", "words"),
    [(["image_encoder.trunk.body.block"], "nothing called"), (["."], "nothing called")],
)
def test_a_wrong_name_of_what_is_frozen_is_refused(
    pack: Path, tmp_path: Path, frozen: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, pack, phase={"frozen": frozen})
    assert train(config, tmp_path / "out") == 2
    assert words in capsys.readouterr().err
