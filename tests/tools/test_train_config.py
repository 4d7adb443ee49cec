"""Configurations of the trainer: the presets are sound, mistakes are named in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.train.command import main
from tools.train.config import Phase, read_config
from tools.train.learner import rate_share
from tracker.errors import UsageError

PRESETS = sorted((Path(__file__).parents[2] / "tools" / "train" / "configs").glob("*.yaml"))
GOOD: dict[str, Any] = {
    "data": {"pack": "pack", "sources": {"davis-train": 1}, "held_out": ["bear"]},
    "phases": [{"steps": 10, "size": 64, "frames": 2, "batch": 2}],
}


def written(folder: Path, tree: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_never_train_on_what_they_are_scored_on(preset: Path) -> None:
    config = read_config(preset)
    assert "davis-dev" not in config.data.sources
    assert len(config.data.held_out) >= 4
    assert config.steps > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speed": 3}, "speed: Extra inputs"),
        ({"data": {**GOOD["data"], "held_out": []}}, "data.held_out"),
        ({"data": {**GOOD["data"], "sources": {"davis-dev": 1}}}, "never to train on"),
        ({"data": {**GOOD["data"], "sources": {"x/davis-dev/": 1}}}, "never to train on"),
        ({"phases": []}, "phases"),
        ({"phases": [{"steps": 10, "size": 100, "frames": 2, "batch": 2}]}, "phases.0.size"),
        ({"phases": [{"steps": 10, "size": 64, "frames": 1, "batch": 2}]}, "phases.0.frames"),
        ({"prompts": {"mask": 0, "box": 0, "point": 0}}, "mask, box and point are all 0"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_config(written(tmp_path, GOOD | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- 1", "a: [", "data: 3"])
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "no.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "no.yaml" in capsys.readouterr().err


def test_the_rate_rises_then_falls() -> None:
    phase = Phase(steps=100, size=64, frames=2, batch=1, warmup=10, final_rate=0.1)
    shares = [rate_share(phase, done) for done in range(100)]
    assert shares[0] < 0.1 < shares[5] < shares[10]
    assert max(shares) == max(shares[8:14])
    assert shares[-1] == pytest.approx(0.1, abs=0.01)
