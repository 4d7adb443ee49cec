"""The import of timm without torch's compiler, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

LOADING = """
import sys
from tracker.models import load_model
model = load_model("pico", device="cpu")
assert "timm" in sys.modules and "torchvision" in sys.modules
assert "torch._dynamo" not in sys.modules and "triton" not in sys.modules
"""
AFTERWARDS = """
import warnings
import torch
from torchvision.ops import roi_align
warnings.simplefilter("ignore")
picture, boxes = torch.arange(64.0).reshape(1, 1, 8, 8), torch.tensor([[0.0, 0.0, 0.0, 8.0, 8.0]])
assert roi_align(picture, boxes, 1, aligned=True).item() == 31.5
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
assert torch.compile(torch.sin, backend="eager")(torch.zeros(1)).item() == 0
import torch._dynamo
assert torch._dynamo.utils.is_compile_supported.__module__ == "torch._dynamo.utils"
"""


@pytest.mark.slow
def test_loading_says_nothing_and_the_compiler_is_imported_only_where_it_is_used() -> None:
    """Nor does it warn of anything; afterwards what uses the compiler still does."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", LOADING + AFTERWARDS],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
