"""Finders of a package of its own: one that finds red, and some that do what none should."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import ModelError
from tracker.finders.base import Finder, FinderSpec, Needs, Proposal, Query

Find = Callable[[NDArray[np.uint8], Sequence[str]], Sequence[Proposal]]


class _Finder:
    def __init__(self, find: Find) -> None:
        self.find = find


def _red(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    """A box around what is red, by the first word if there is one."""
    red_hw = (image_hwc[..., 0] > 180) & (image_hwc[..., 1] < 90)
    y, x = np.nonzero(red_hw)
    if not len(y):
        return []
    box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
    return [Proposal(box, 0.75, phrases[0] if phrases else None)]


def _slow(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    time.sleep(2)
    return _red(image_hwc, phrases)


def _raises(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    raise ZeroDivisionError("of its own making")


def _broken(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    raise ModelError("the file /models/ours.onnx is damaged", "get it again")


def _hangs(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    time.sleep(3600)
    return []


def _dies(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    os._exit(3)


def _floods(image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
    """Ten thousand proposals, half of them without a number in place of an edge."""
    nan = float("nan")
    lefts = [1.0 + 30 * (i % 5) for i in range(5000)]  # of five places side by side
    good = [Proposal((left, 1.0, left + 20, 21.0), 0.5) for left in lefts]
    return good + [Proposal((nan, 0.0, 1.0, 1.0), 0.9)] * 5000


def _make(find: Find, model: Any, settings: Any) -> Finder:
    assert model is None
    return _Finder(find)


def _row(name: str, find: Find, query: Query = Query.NOTHING) -> FinderSpec:
    return FinderSpec(name, "for tests", partial(_make, find), query=query, needs=Needs.NOTHING)


RED = _row("red", _red, Query.CLASSES)
SLOW = _row("slow", _slow)
RAISES = _row("raises", _raises)
BROKEN = _row("broken", _broken)
HANGS = _row("hangs", _hangs)
DIES = _row("dies", _dies)
FLOODS = _row("floods", _floods)
NAMES = ("red", "slow", "raises", "broken", "hangs", "dies", "floods")
ENTRIES = tuple(f"{name} = odd_finders:{name.upper()}" for name in NAMES)
