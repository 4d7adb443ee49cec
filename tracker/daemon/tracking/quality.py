"""Quality controller: gives up quality to keep a deadline, takes it back when it can.

The ladder, from what is given up first to what is given up last:

| step             | given up                                    | levels for pico at 416 pixels |
|------------------|---------------------------------------------|-------------------------------|
| skip frames      | frames that come faster than the target and | none: `FrameRateLimiter` does |
|                  | those that grew stale                       | the mailbox drops these       |
| fewer memories   | what an object looked like of late          | 1 and 2: the newest 2, 1      |
| objects by turns | the mask of every object on every frame     | 3 to 7: 16, 8, 4, 2, 1        |
| lower input size | detail; not for models of one size          | 8 and 9: 352, 288 pixels      |

What costs least quality goes first. Measured with weights for 384 pixels as J of objects
prompted by masks, against J at full quality: one recent memory has .733 of .736;
a turn on every 2nd, 4th and 8th frame .725, .722 and .715 of .722; 320 pixels .581 of .648; 256
pixels .523 of .722. 192 pixels are no level: .176 of .722 is a lost object.

Each level keeps what those above it gave up; level 0 is full quality.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from tracker.engine import FULL, ComputeBudget
from tracker.models import Model
from tracker.models.model import SIZE_STEP
from tracker.protocol.fields import BudgetInfo

SIZE_PARTS = (5 / 6, 2 / 3)  # of the model's own size; pico was trained no further down
MEMORIES = (2, 1)  # without any an object is soon lost
OBJECTS = (16, 8, 4, 2, 1)

WINDOW = 10  # frames that show what a level costs
ENOUGH = 4  # frames that show that it costs too much
COSTS = 8  # costs that show how they grow with the work: those at the newest changes
WIDE = 0.25  # of their mean: how far apart works must lie for that
SETTLE = 2  # frames after a change that show nothing: buffers are made again
HOLD = 15  # frames on a level before it is left upwards
SLOW_QUANTILE = 0.8  # one frame in five may be late
FIT = 0.9  # of the target: what a lower level is to cost when it is chosen
CLIMB = 0.8  # of the target: what a higher level is to cost when it is tried
FORGET, FORGET_LATEST = 300, 4800  # frames for which the cost of a level that failed is believed
FEWER = 0.75  # of the objects that there were then: with so few it is tried again at once

# What is taken for granted where it was not measured: tracking an object costs as much without any
# map as so many maps cost, and half of what objects cost is there whatever their number.
_FREE_MAPS = 8
_PER_OBJECT = 0.5


def ladder(model: Model) -> tuple[ComputeBudget, ...]:
    """The levels for a model, from full quality down."""
    known = model.network.memory.recent
    levels = [FULL, *(ComputeBudget(memories=maps) for maps in MEMORIES if maps < known)]
    maps = levels[-1].memories
    levels += [ComputeBudget(None, maps, objects) for objects in OBJECTS]
    if model.network.capabilities.resizable:
        own = model.input.size
        sizes = {round(own * part / SIZE_STEP) * SIZE_STEP for part in SIZE_PARTS}
        smaller = sorted((size for size in sizes if size < own), reverse=True)
        levels += [ComputeBudget(size, maps, OBJECTS[-1]) for size in smaller]
    return tuple(levels)


def _info(level: int, budget: ComputeBudget, size: int, maps: int) -> BudgetInfo:
    return BudgetInfo(
        quality_level=level,
        input_size=budget.input_size or size,
        memories=maps if budget.memories is None else budget.memories,
        objects_per_frame=budget.objects_per_frame,
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that a frame took.

    Attributes:
        encode_s: In the image encoder.
        objects_s: For the objects that had their turn, all together.
        other_s: Lost to what this stream's budget does not change, such as other streams.
        objects: The stream's objects, with or without a turn.
    """

    encode_s: float
    objects_s: float
    other_s: float
    objects: int


@dataclass(frozen=True, slots=True)
class _Cost:
    """Cost of a frame on a level: `objects_s` for `work`, counted in objects at full quality."""

    encode_s: float
    objects_s: float
    work: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """The cost of a level that was left because it was too slow, believed up to a frame.

    Attributes:
        cost: What was measured.
        objects: How many the stream had.
        frames: For how many frames it is believed,
        until_frame: and up to which.
    """

    cost: _Cost
    objects: int
    frames: int
    until_frame: int


class QualityController:
    """Chooses the level for the next frame from what the frames before took.

    It goes down as soon as frames of late are over the target, straight to the first level that
    should fit; it goes up one level at a time, after a while, and only where that should fit with
    room to spare. A level that was tried and failed is not tried again for a while, unless there
    are clearly fewer objects; the while doubles with each failure. It has no clock: time is frames.

    What a level should cost follows from what the present one does: the encoder from the pixels,
    the objects from their number, pixels and maps, along the line that the costs of late lie on.

    Attributes:
        level: The present one; 0 is full quality.
    """

    def __init__(
        self, target_s: float, levels: Sequence[ComputeBudget], *, size: int, maps: int
    ) -> None:
        """Begin at full quality.

        Args:
            target_s: What a frame may take, in seconds.
            levels: As `ladder` returns them.
            size: The model's own input size in pixels.
            maps: Recent maps that the model knows.
        """
        self.level = 0
        self._target_s = target_s
        self._levels = levels
        self._infos = [_info(level, budget, size, maps) for level, budget in enumerate(levels)]
        self._pixels = [(level.input_size or size) ** 2 for level in levels]
        self._maps = [maps if level.memories is None else level.memories for level in levels]
        self._window: deque[Spent] = deque(maxlen=WINDOW)
        self._costs: deque[_Cost] = deque(maxlen=COSTS)
        self._failures: dict[int, _Failure] = {}
        self._frame = 0
        self._since = 0  # frame of the newest change

    @classmethod
    def of(cls, target_s: float, model: Model) -> "QualityController":
        """A controller for a model."""
        maps = model.network.memory.recent
        return cls(target_s, ladder(model), size=model.input.size, maps=maps)

    @property
    def budget(self) -> ComputeBudget:
        """Budget of the next frame."""
        return self._levels[self.level]

    @property
    def info(self) -> BudgetInfo:
        """The same as it is published; from any thread."""
        return self._infos[self.level]

    def note(self, spent: Spent) -> None:
        """Take in what a frame took that was tracked with `budget`, and choose for the next one."""
        self._frame += 1
        if self._frame - self._since <= SETTLE:
            return
        self._window.append(spent)
        if len(self._window) < ENOUGH:
            return
        now = self._measured()
        if self._predicted_s(self.level, now) > self._target_s:
            self._descend(now)
        elif len(self._window) == WINDOW and self._frame - self._since >= HOLD:
            self._climb(now)

    def _descend(self, now: _Cost) -> None:
        levels = range(self.level, len(self._levels))
        predicted_s = [self._predicted_s(level, now) for level in levels]
        fitting = [s <= FIT * self._target_s for s in predicted_s]
        best = fitting.index(True) if any(fitting) else int(np.argmin(predicted_s))
        if best > 0:
            self._remember_failure(now)
            self._go_to(levels[best], now)

    def _climb(self, now: _Cost) -> None:
        if self.level == 0:
            return
        here_s = self._predicted_s(self.level, now)
        above = self.level - 1
        if self._predicted_s(above, now) > max(CLIMB * self._target_s, here_s):
            return
        while above > 0 and self._predicted_s(above - 1, now) <= here_s:
            above -= 1  # it costs nothing, such as turns for more objects than there are
        self._go_to(above, now)

    def _go_to(self, level: int, now: _Cost) -> None:
        self._costs.append(now)
        self.level = level
        self._since = self._frame
        self._window.clear()

    def _remember_failure(self, cost: _Cost) -> None:
        frames, before = FORGET, self._failures.get(self.level)
        if before is not None and self._frame - self._since < FORGET:
            frames = min(2 * before.frames, FORGET_LATEST)
        objects = self._window[-1].objects
        self._failures[self.level] = _Failure(cost, objects, frames, self._frame + frames)

    def _measured(self) -> _Cost:
        """Cost of recent frames on the present level."""
        return _Cost(
            _slow([spent.encode_s for spent in self._window]),
            _slow([spent.objects_s for spent in self._window]),
            _slow([self._work(self.level, spent.objects) for spent in self._window]),
        )

    def _predicted_s(self, level: int, now: _Cost) -> float:
        """Predicted time of a frame on a level, where `now` is its cost on the present one."""
        objects = self._window[-1].objects
        each_s, work = self._each_s(now), self._work(level, objects)
        pixels = self._pixels[level] / self._pixels[self.level]
        own_s = now.encode_s * pixels + now.objects_s + each_s * (work - now.work)
        failure = self._failures.get(level)
        if level != self.level and failure is not None and self._believes(failure, objects):
            cost = failure.cost
            own_s = max(own_s, cost.encode_s + cost.objects_s + each_s * (work - cost.work))
        return own_s + median(spent.other_s for spent in self._window)

    def _believes(self, failure: _Failure, objects: int) -> bool:
        """True if a level that failed would still cost what it did."""
        return self._frame < failure.until_frame and objects > FEWER * failure.objects

    def _work(self, level: int, objects: int) -> float:
        """The objects that have a turn, counted by their pixels and maps at full quality."""
        limit = self._levels[level].objects_per_frame
        tracked = objects if limit is None else min(objects, limit)
        maps = (_FREE_MAPS + self._maps[level]) / (_FREE_MAPS + self._maps[0])
        return tracked * maps * self._pixels[level] / self._pixels[0]

    def _each_s(self, now: _Cost) -> float:
        """Seconds for each object at full quality: the slope of the newest costs over work."""
        most_s = now.objects_s / now.work if now.work else math.inf
        costs = [now, *self._costs]
        mean = sum(cost.work for cost in costs) / len(costs)
        spread = [cost.work - mean for cost in costs]
        if max(map(abs, spread)) <= WIDE * mean:
            return _PER_OBJECT * most_s if now.work else 0.0
        rise = sum(off * cost.objects_s for off, cost in zip(spread, costs, strict=True))
        return min(max(rise / sum(off * off for off in spread), 0.0), most_s)


def _slow(values: Sequence[float]) -> float:
    """Upper quantile with linear interpolation; NumPy takes 100 times as long for ten."""
    ordered = sorted(values)
    below, part = divmod(SLOW_QUANTILE * (len(ordered) - 1), 1.0)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
    return low + part * (high - low)
