"""The peer's side: a process that tracks when it is told to, and says how long each frame took.

It reads a JSON object a line from stdin and writes JSON objects, one a line, to what was stdout:

    (at the start)                                      {"model", "weights", "input_px", "versions"}
    {"do": "start", "frames", "masks", "warm_up"}       {"ready": true}
    {"do": "step", "frames": 3}                         {"ms": 41.2} for each frame
    {"do": "peak"}                                      {"peak_mib": 812.0}

`frames` and `masks` are .npy files: uint8 [n, H, W, 3], as many as will be asked for, and the bool
masks [k, H, W] of the objects on the first. A frame's time ends when the bool masks of all objects
at the size of the source are in main memory. What goes wrong is `{"problem": "in one line"}`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from tools.bench.memory import forget_peak, peak_mib
from tracker.process import prepare_process

Clock = Callable[[], float]
#: Clocks of a frame's time: that on the wall, or the process's own processor time.
CLOCKS: Mapping[str, Clock] = MappingProxyType(
    {"wall": time.perf_counter, "cpu": time.process_time}
)
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]  # [H, W]
Masks = NDArray[np.bool_]  # [k, H, W]


@dataclass(frozen=True, slots=True)
class Wish:
    """Settings that a peer is started with: a model's name, a precision and a device of torch.

    Where the precision is "int8" and a peer has none, it computes in bf16.
    """

    model: str
    dtype: str
    device: torch.device


@dataclass(frozen=True, slots=True)
class About:
    """Description that a peer gives of itself.

    Attributes:
        model: Which network it runs.
        weights: Whose its weights are.
        input: The size that it computes at, in words.
        versions: Of its packages.
    """

    model: str
    weights: str
    input: str
    versions: dict[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """One way to track."""

    about: About

    def start(self, frames_nhwc: Image, masks_khw: Masks) -> None:
        """Begin again: show the objects on the first frame.

        All frames are given since some read a video as a whole before they begin; `step` is given
        each in turn, from the second on.
        """

    def step(self, image_hwc: Image) -> Sequence[Mask]:
        """Track the objects on the next frame; their masks."""


def serve(build: Callable[[Wish], Tracker]) -> int:
    """Run the conversation; return the exit code."""
    prepare_process()  # every peer gains by it
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True, choices=["fp32", "bf16", "int8"])
    parser.add_argument("--device", required=True)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    with _own_stdout() as out:
        try:
            wish = Wish(options.model, options.dtype, torch.device(options.device))
            worker = Worker(build(wish), wish, out, CLOCKS[options.clock])
            for line in sys.stdin:
                worker.obey(json.loads(line))
        except Exception as err:  # whatever a peer stumbles over belongs into the table
            text = " ".join(f"{type(err).__name__}: {err}".split())
            _say(out, problem=text[:300])
            return 1
    return 0


@contextmanager
def _own_stdout() -> Iterator[IO[str]]:
    """Former stdout as a stream; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):  # in the order in which it is said
            yield out


def _say(out: IO[str], **what: Any) -> None:
    out.write(json.dumps(what) + "\n")


class Worker:
    """A tracker that is told what to do."""

    def __init__(self, tracker: Tracker, wish: Wish, out: IO[str], clock: Clock) -> None:
        self._tracker = tracker
        self._clock = clock
        self._wish = wish
        self._out = out
        self._frames: Iterator[Image] = iter(())
        self._objects = 0
        _say(out, **asdict(tracker.about))

    def obey(self, order: dict[str, Any]) -> None:
        """Do what one line asks for."""
        if order["do"] == "start":
            self._start(np.load(order["frames"]), np.load(order["masks"]), order["warm_up"])
            _say(self._out, ready=True)
        elif order["do"] == "step":
            for _ in range(order["frames"]):
                _say(self._out, ms=self._step())
        else:
            _say(self._out, peak_mib=self._peak_mib())

    def _start(self, frames_nhwc: Image, masks_khw: Masks, warm_up: int) -> None:
        forget_peak()
        if self._wish.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._wish.device)
        self._frames, self._objects = iter(frames_nhwc), len(masks_khw)
        next(self._frames)
        self._tracker.start(frames_nhwc, masks_khw)
        for _ in range(warm_up):
            self._step()

    def _step(self) -> float:
        """Milliseconds of one frame."""
        image_hwc = np.array(next(self._frames))
        start_s = self._clock()
        masks = self._tracker.step(image_hwc)
        spent_s = self._clock() - start_s
        if len(masks) != self._objects:
            raise ValueError(f"{len(masks)} masks of {self._objects} objects")
        for mask_hw in masks:
            if mask_hw.dtype != np.bool_ or mask_hw.shape != image_hwc.shape[:2]:
                raise ValueError(f"a mask is {mask_hw.dtype} {mask_hw.shape}")
        return round(1000 * spent_s, 3)

    def _peak_mib(self) -> float:
        if self._wish.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self._wish.device) / 2**20, 1)
        return round(peak_mib(), 1)


@contextmanager
def inference(wish: Wish) -> Iterator[None]:
    """Without gradients, in the precision that was wished for."""
    half = wish.dtype != "fp32"
    with (
        torch.inference_mode(),
        torch.autocast(wish.device.type, dtype=torch.bfloat16, enabled=half),
    ):
        yield


def random_weights(network: torch.nn.Module, std: float = 0.02) -> torch.nn.Module:
    """Small random weights, the same each time; ready to track."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=std)
    return network.eval().requires_grad_(False)


def to_masks(logits_k1hw: torch.Tensor) -> list[Mask]:
    """Logits [k, 1, H, W] as bool masks in main memory."""
    return list((logits_k1hw[:, 0] > 0).cpu().numpy())


def save_as_jpegs(frames_nhwc: Image, folder: Path) -> str:
    """Write frames as the official loader reads them; return the folder's name."""
    for index, frame_hwc in enumerate(frames_nhwc):
        PIL.Image.fromarray(frame_hwc).save(folder / f"{index:05d}.jpg", quality=95)
    return str(folder)
