"""Averaging weights of several points of a run."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tools.train.average import main


def write(path: Path, value: float, size: int = 3) -> Path:
    tensors = {"conv.weight": torch.full((size,), value).half(), "count": torch.tensor([7])}
    save_file(tensors, path)
    return path


def test_the_mean_of_two_points(tmp_path: Path) -> None:
    early, late = write(tmp_path / "a.safetensors", 1.0), write(tmp_path / "b.safetensors", 2.0)
    mean = tmp_path / "mean.safetensors"
    assert main([str(early), str(late), "--out", str(mean)]) == 0
    tensors = load_file(mean)
    assert tensors["conv.weight"].dtype == torch.float16
    assert tensors["conv.weight"].tolist() == [1.5, 1.5, 1.5]
    assert tensors["count"].tolist() == [7]


def test_another_architecture_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "a.safetensors", 1.0)
    other = write(tmp_path / "b.safetensors", 1.0, size=4)
    mean = tmp_path / "mean.safetensors"
    assert main([str(one), str(other), "--out", str(mean)]) == 1
    assert "has other tensors than" in capsys.readouterr().err
    assert not mean.exists()
