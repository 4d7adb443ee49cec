"""Births by the motion finder on clips of a fixed camera with true masks of vehicles.

Each clip is short, so the finder first sees the other clips of the camera, as one that has been
running would have; it is told nothing of their truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streams import open_source
from tools.evaluate.dataset import Sequence
from tracker.annotate.finding import FinderChoice, FindingTracker
from tracker.annotate.plan import PromptPlan
from tracker.annotate.trackers import PlanTracker
from tracker.engine import Policy, Session
from tracker.finders.boxes import mask_iou
from tracker.finders.settings import MotionSettings
from tracker.models import Model

LEAST_IOU = 0.3  # of a birth's mask with a vehicle's, to be its
LEAST_FRAMES = 5  # on which a vehicle is large enough, to be asked for
FPS = 25.0  # assumed: the pictures have no clock


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What was found in one clip.

    Attributes:
        name: Of the clip.
        frames: Its frames.
        vehicles: Vehicles of at least the finder's least area on `LEAST_FRAMES` of them.
        found: Of these, those with a birth.
        repeats: Births on a vehicle that was found already, or on one of several that the truth
            joins: most of the mask is on vehicles.
        false_births: Births on something else.
        delays: Frames from a vehicle's being large enough to its birth, of those found.
    """

    name: str
    frames: int
    vehicles: int
    found: int
    repeats: int
    false_births: int
    delays: tuple[int, ...]


def measure_clip(
    model: Model, clip: Sequence, others: Iterable[Sequence], choice: FinderChoice
) -> ClipScore:
    """Track a clip with the motion finder, and compare births with the truth."""
    assert isinstance(choice.settings, MotionSettings)
    finder = choice.make(model)
    for other in others:
        with open_source(str(other.frames_dir)) as source:
            for frame in source:
                finder.find(frame.image, ())
    session = Session(model, Policy(history_frames=0))
    plan = PromptPlan([], finds=True)
    tracker = FindingTracker(PlanTracker(session, plan), session, finder, choice, plan)
    truths = [_ids(path) for path in clip.annotations]
    entries = _entries(truths, choice)
    born: dict[int, int] = {}
    repeats, false_births, known = 0, 0, set[int]()
    with open_source(str(clip.frames_dir)) as source:
        for index, frame in enumerate(source):
            for item in tracker.track(frame).objects:
                if item.id in known:
                    continue
                known.add(item.id)
                vehicle = _best(truths[index], item.mask_hw)
                if vehicle is not None and vehicle not in born:
                    born[vehicle] = index
                elif vehicle is not None or _is_on_vehicles(truths[index], item.mask_hw):
                    repeats += 1
                else:
                    false_births += 1
    tracker.close()
    found = entries.keys() & born.keys()
    return ClipScore(
        name=clip.name,
        frames=len(truths),
        vehicles=len(entries),
        found=len(found),
        repeats=repeats,
        false_births=false_births,
        delays=tuple(max(0, born[vehicle] - entries[vehicle]) for vehicle in sorted(found)),
    )


def summary(scores: list[ClipScore]) -> dict[str, Any]:
    """All clips together."""
    delays = [delay for score in scores for delay in score.delays]
    frames = sum(score.frames for score in scores)
    false_births = sum(score.false_births for score in scores)
    vehicles = sum(score.vehicles for score in scores)
    return {
        "clips": len(scores),
        "frames": frames,
        "vehicles": vehicles,
        "share_found": round(sum(score.found for score in scores) / max(1, vehicles), 3),
        "repeats": sum(score.repeats for score in scores),
        "false_births": false_births,
        "false_births_per_minute": round(false_births / (frames / FPS / 60), 1),
        "median_delay_frames": median(delays) if delays else None,
        "median_delay_s": round(median(delays) / FPS, 2) if delays else None,
    }


def _ids(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def _entries(truths: list[NDArray[np.uint8]], choice: FinderChoice) -> dict[int, int]:
    """First frame on which each vehicle is large enough."""
    assert isinstance(choice.settings, MotionSettings)
    seen: dict[int, list[int]] = {}
    for index, ids_hw in enumerate(truths):
        least_px = choice.settings.min_area * ids_hw.size
        for vehicle, area_px in zip(*np.unique(ids_hw, return_counts=True), strict=True):
            if vehicle and area_px >= least_px:
                seen.setdefault(int(vehicle), []).append(index)
    return {vehicle: at[0] for vehicle, at in seen.items() if len(at) >= LEAST_FRAMES}


def _best(ids_hw: NDArray[np.uint8], mask_hw: NDArray[np.bool_]) -> int | None:
    """The vehicle that a mask is of; None for none."""
    ious = {int(i): mask_iou(ids_hw == i, mask_hw) for i in np.unique(ids_hw) if i}
    best = max(ious, key=lambda i: ious[i], default=None)
    return best if best is not None and ious[best] >= LEAST_IOU else None


def _is_on_vehicles(ids_hw: NDArray[np.uint8], mask_hw: NDArray[np.bool_]) -> bool:
    """True if most of a mask is on vehicles."""
    return bool(np.count_nonzero(ids_hw[mask_hw]) >= 0.5 * np.count_nonzero(mask_hw))
