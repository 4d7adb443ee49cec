"""Speeds of models on this machine: a tracker's step, a finder's and a segmenter's picture."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine import Policy, Session
from tracker.finders.registry import FINDERS
from tracker.models import REGISTRY, Model, load_model
from tracker.models.catalog import CATALOG, CatalogModel, Task
from tracker.models.checkpoints import checkpoint_path
from tracker.models.model_files import model_folder
from tracker.segmenters.registry import SEGMENTERS
from tracker.types import Prompt

OBJECTS = (1, 8)
HEIGHT, WIDTH = 720, 1280
_WARM_UP = 2
_MOST_RUNS, _MOST_S = 10, 5.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Median milliseconds of one model on one machine.

    Attributes:
        name: Of the model.
        task: "track", or as in `tracker.models.catalog.Task`.
        device: Kind of device: cpu, cuda or mps.
        precision: fp32, bf16 or int8.
        threads: Of torch.
        objects: Objects that were tracked, or prompted.
        ms: A frame of 1280x720 pixels.
    """

    name: str
    task: str
    device: str
    precision: str
    threads: int
    objects: int
    ms: float

    def as_dict(self) -> dict[str, object]:
        """Its fields."""
        return asdict(self)


def names_here() -> tuple[str, ...]:
    """Names of the models whose files are on this machine, but for those that fill pictures."""
    trackers = [spec.name for spec in REGISTRY.values() if checkpoint_path(spec).is_file()]
    others = [
        entry.name
        for entry in CATALOG.values()
        if entry.task is not Task.INPAINT and model_folder(entry) is not None
    ]
    return (*trackers, *others)


def measure(
    name: str, device: str = "auto", stop_asked: Callable[[], bool] = lambda: False
) -> Iterator[Measurement]:
    """Measurements of a model that is here, one after the other.

    Args:
        name: A tracker, or a model of the catalogue.
        device: As for `load_model`.
        stop_asked: Asked before each run; after it what is there is given.

    Raises:
        TrackdError: It cannot be loaded.
    """
    if name in REGISTRY:
        yield from _measure_tracker(name, device, stop_asked)
    else:
        yield _measure_other(CATALOG[name], load_model("pico", device=device), stop_asked)


def _measure_tracker(
    name: str, device: str, stop_asked: Callable[[], bool]
) -> Iterator[Measurement]:
    model = load_model(name, device=device)
    for objects in OBJECTS:
        session = Session(model, Policy(history_frames=0))
        session.step(_picture(0))
        for prompt in _prompts(objects):
            session.prompt(prompt)
        ms = _median_ms(partial(_step, session, map(_picture, count(1))), model, stop_asked)
        yield _measurement(name, "track", model, objects, ms)


def _step(session: Session, pictures: Iterator[NDArray[np.uint8]]) -> None:
    session.step(next(pictures))


def _measure_other(
    entry: CatalogModel, model: Model, stop_asked: Callable[[], bool]
) -> Measurement:
    picture = _picture(0)
    if entry.task is Task.SEGMENT:
        segmenter = SEGMENTERS.find(entry.name).make(model)
        run: Callable[[], object] = partial(segmenter.segment, picture, _prompts(1))
    else:
        spec = FINDERS.find("text" if entry.task is Task.TEXT else "detector")
        finder = spec.make(model, spec.parse_settings({"model": entry.name}))
        run = partial(finder.find, picture, ("car",) if entry.task is Task.TEXT else ())
    return _measurement(entry.name, str(entry.task), model, 1, _median_ms(run, model, stop_asked))


def _measurement(name: str, task: str, model: Model, objects: int, ms: float) -> Measurement:
    precision = model.precision if task == "track" else "fp32"
    threads = torch.get_num_threads()
    return Measurement(name, task, model.device.type, precision, threads, objects, round(ms, 2))


def _median_ms(run: Callable[[], object], model: Model, stop_asked: Callable[[], bool]) -> float:
    """Median time of some runs, at most `_MOST_RUNS`, or for `_MOST_S` seconds."""
    for _ in range(_WARM_UP):
        run()
    spent_ms: list[float] = []
    begun_s = time.perf_counter()
    while not spent_ms or (
        len(spent_ms) < _MOST_RUNS and time.perf_counter() - begun_s < _MOST_S and not stop_asked()
    ):
        at_s = time.perf_counter()
        run()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        spent_ms.append(1000 * (time.perf_counter() - at_s))
    return median(spent_ms)


def _picture(index: int) -> NDArray[np.uint8]:
    """Smooth colours, and eight bright rectangles that move."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image_hwc = np.stack([x // 8, y // 4, (x + y) // 16], axis=-1).astype(np.uint8)
    for box in _boxes(index):
        x0, y0, x1, y1 = box
        image_hwc[y0:y1, x0:x1] = (220, 180 - x0 // 16, 60 + y0 // 8)
    return image_hwc


def _boxes(index: int) -> list[tuple[int, int, int, int]]:
    corners = [(60 + 300 * (i % 4) + 2 * index % 40, 120 + 320 * (i // 4)) for i in range(8)]
    return [(x, y, x + 160, y + 140) for x, y in corners]


def _prompts(objects: int) -> list[Prompt]:
    boxes = _boxes(0)[:objects]
    return [Prompt(i, box_xyxy=box) for i, box in enumerate(boxes, 1)]
