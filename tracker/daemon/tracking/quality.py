"""Keeps a live stream to its deadline: gives up quality while it must, takes it back when it can.

The ladder, from what is given up first to what is given up last:

| step             | given up                                    | rungs for pico at 416 pixels  |
|------------------|---------------------------------------------|-------------------------------|
| skip frames      | frames that come faster than the target and | none: `FrameRateLimiter` does |
|                  | those that grew stale                       | the mailbox drops these       |
| fewer memories   | what an object looked like of late          | 1 and 2: the newest 2, 1      |
| objects by turns | the mask of every object on every frame     | 3 to 7: 16, 8, 4, 2, 1        |
| lower input size | detail; not for models of one size          | 8 and 9: 352, 288 pixels      |

What costs least quality goes first. Measured with weights for 384 pixels as J of objects
prompted by masks, against J at full effort: one recent memory has .733 of .736;
a turn on every 2nd, 4th and 8th frame .725, .722 and .715 of .722; 320 pixels .581 of .648; 256
pixels .523 of .722. 192 pixels are no rung: .176 of .722 is a lost object.

Each rung keeps what those above it gave up; rung 0 is full effort.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracker.engine import FULL, ComputeBudget
from tracker.models import Model
from tracker.models.model import SIZE_STEP
from tracker.protocol.fields import EffortInfo

SIZE_PARTS = (5 / 6, 2 / 3)  # of the model's own size; pico was trained no further down
MEMORIES = (2, 1)  # without any an object is soon lost
OBJECTS = (16, 8, 4, 2, 1)

WINDOW = 10  # frames that tell what a rung costs
ENOUGH = 4  # frames that tell that it costs too much
COSTS = 8  # costs that tell how they grow with the work: those at the newest changes
WIDE = 0.25  # of their mean: how far apart works must lie for that
SETTLE = 2  # frames after a change that tell nothing: buffers are made anew
HOLD = 15  # frames on a rung before it is left upwards
SLOW_PERCENTILE = 80  # one frame in five may be late
FIT = 0.9  # of the budget: what a lower rung is to cost when it is chosen
CLIMB = 0.8  # of the budget: what a higher rung is to cost when it is tried
FORGET, FORGET_LATEST = 300, 4800  # frames for which the cost of a rung that failed is believed
FEWER = 0.75  # of the objects that there were then: with so few it is tried again at once

# What is taken for granted where it was not measured: tracking an object costs as much without any
# map as so many maps cost, and half of what objects cost is there whatever their number.
_FREE_MAPS = 8
_PER_OBJECT = 0.5


def ladder(model: Model) -> tuple[ComputeBudget, ...]:
    """The rungs for a model, from full effort down."""
    known = model.network.memory.recent
    rungs = [FULL, *(ComputeBudget(memories=maps) for maps in MEMORIES if maps < known)]
    maps = rungs[-1].memories
    rungs += [ComputeBudget(None, maps, objects) for objects in OBJECTS]
    if model.network.capabilities.resizable:
        own = model.input.size
        sizes = {round(own * part / SIZE_STEP) * SIZE_STEP for part in SIZE_PARTS}
        smaller = sorted((size for size in sizes if size < own), reverse=True)
        rungs += [ComputeBudget(size, maps, OBJECTS[-1]) for size in smaller]
    return tuple(rungs)


def _info(rung: int, effort: ComputeBudget, size: int, maps: int) -> EffortInfo:
    return EffortInfo(
        rung=rung,
        input_size=effort.input_size or size,
        memories=maps if effort.memories is None else effort.memories,
        objects_per_frame=effort.objects_per_frame,
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that a frame took.

    Attributes:
        encode_s: In the image encoder.
        objects_s: For the objects that had their turn, all together.
        other_s: Lost to what this stream's effort does not change, such as other streams.
        objects: The stream's objects, with or without a turn.
    """

    encode_s: float
    objects_s: float
    other_s: float
    objects: int


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a frame took on a rung: `objects_s` for `work`, counted in objects at full effort."""

    encode_s: float
    objects_s: float
    work: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """The cost of a rung that was left because it was too slow, believed up to a frame.

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
    """Chooses the rung for the next frame from what the frames before took.

    It goes down as soon as frames of late are over the budget, straight to the first rung that
    should fit; it goes up one rung at a time, after a while, and only where that should fit with
    room to spare. A rung that was tried and failed is not tried again for a while, unless there are
    clearly fewer objects; the while doubles with each failure. It has no clock: time is frames.

    What a rung should cost follows from what the present one does: the encoder from the pixels,
    the objects from their number, pixels and maps, along the line that the costs of late lie on.

    Attributes:
        rung: The present one; 0 is full effort.
    """

    def __init__(
        self, budget_s: float, rungs: Sequence[ComputeBudget], *, size: int, maps: int
    ) -> None:
        """Begin at full effort.

        Args:
            budget_s: What a frame may take, in seconds.
            rungs: As `ladder` returns them.
            size: The model's own input size in pixels.
            maps: Recent maps that the model knows.
        """
        self.rung = 0
        self._budget_s = budget_s
        self._rungs = rungs
        self._told = [_info(rung, effort, size, maps) for rung, effort in enumerate(rungs)]
        self._pixels = [(rung.input_size or size) ** 2 for rung in rungs]
        self._maps = [maps if rung.memories is None else rung.memories for rung in rungs]
        self._window: deque[Spent] = deque(maxlen=WINDOW)
        self._costs: deque[_Cost] = deque(maxlen=COSTS)
        self._failures: dict[int, _Failure] = {}
        self._frame = 0
        self._since = 0  # frame of the newest change

    @classmethod
    def of(cls, budget_s: float, model: Model) -> "QualityController":
        """A controller for a model."""
        maps = model.network.memory.recent
        return cls(budget_s, ladder(model), size=model.input.size, maps=maps)

    @property
    def effort(self) -> ComputeBudget:
        """What to spend on the next frame."""
        return self._rungs[self.rung]

    @property
    def info(self) -> EffortInfo:
        """The same as it is told to others; from any thread."""
        return self._told[self.rung]

    def note(self, spent: Spent) -> None:
        """Take in what a frame took that was tracked with `effort`, and choose for the next one."""
        self._frame += 1
        if self._frame - self._since <= SETTLE:
            return
        self._window.append(spent)
        if len(self._window) < ENOUGH:
            return
        now = self._measured()
        if self._predicted_s(self.rung, now) > self._budget_s:
            self._descend(now)
        elif len(self._window) == WINDOW and self._frame - self._since >= HOLD:
            self._climb(now)

    def _descend(self, now: _Cost) -> None:
        rungs = range(self.rung, len(self._rungs))
        predicted_s = [self._predicted_s(rung, now) for rung in rungs]
        fitting = [s <= FIT * self._budget_s for s in predicted_s]
        best = fitting.index(True) if any(fitting) else int(np.argmin(predicted_s))
        if best > 0:
            self._remember_failure(now)
            self._go_to(rungs[best], now)

    def _climb(self, now: _Cost) -> None:
        if self.rung == 0:
            return
        here_s = self._predicted_s(self.rung, now)
        above = self.rung - 1
        if self._predicted_s(above, now) > max(CLIMB * self._budget_s, here_s):
            return
        while above > 0 and self._predicted_s(above - 1, now) <= here_s:
            above -= 1  # it costs nothing, such as turns for more objects than there are
        self._go_to(above, now)

    def _go_to(self, rung: int, now: _Cost) -> None:
        self._costs.append(now)
        self.rung = rung
        self._since = self._frame
        self._window.clear()

    def _remember_failure(self, cost: _Cost) -> None:
        frames, before = FORGET, self._failures.get(self.rung)
        if before is not None and self._frame - self._since < FORGET:
            frames = min(2 * before.frames, FORGET_LATEST)
        objects = self._window[-1].objects
        self._failures[self.rung] = _Failure(cost, objects, frames, self._frame + frames)

    def _measured(self) -> _Cost:
        """What a frame took lately on the present rung."""
        return _Cost(
            _slow([spent.encode_s for spent in self._window]),
            _slow([spent.objects_s for spent in self._window]),
            _slow([self._work(self.rung, spent.objects) for spent in self._window]),
        )

    def _predicted_s(self, rung: int, now: _Cost) -> float:
        """What a frame should take on a rung, where `now` is what it takes on the present one."""
        objects = self._window[-1].objects
        each_s, work = self._each_s(now), self._work(rung, objects)
        pixels = self._pixels[rung] / self._pixels[self.rung]
        own_s = now.encode_s * pixels + now.objects_s + each_s * (work - now.work)
        failure = self._failures.get(rung)
        if rung != self.rung and failure is not None and self._believes(failure, objects):
            cost = failure.cost
            own_s = max(own_s, cost.encode_s + cost.objects_s + each_s * (work - cost.work))
        return own_s + float(np.median([spent.other_s for spent in self._window]))

    def _believes(self, failure: _Failure, objects: int) -> bool:
        """Whether a rung that failed would still cost what it did."""
        return self._frame < failure.until_frame and objects > FEWER * failure.objects

    def _work(self, rung: int, objects: int) -> float:
        """The objects that have a turn, counted by their pixels and maps at full effort."""
        limit = self._rungs[rung].objects_per_frame
        tracked = objects if limit is None else min(objects, limit)
        maps = (_FREE_MAPS + self._maps[rung]) / (_FREE_MAPS + self._maps[0])
        return tracked * maps * self._pixels[rung] / self._pixels[0]

    def _each_s(self, now: _Cost) -> float:
        """Seconds for each object at full effort: the slope of the newest costs over their work."""
        most_s = now.objects_s / now.work if now.work else np.inf
        works = np.array([now.work, *(cost.work for cost in self._costs)])
        spread = works - works.mean()
        if np.abs(spread).max() <= WIDE * works.mean():
            return _PER_OBJECT * most_s if now.work else 0.0
        costs_s = np.array([now.objects_s, *(cost.objects_s for cost in self._costs)])
        return float(np.clip(spread @ costs_s / (spread @ spread), 0.0, most_s))


def _slow(values: Sequence[float]) -> float:
    return float(np.percentile(values, SLOW_PERCENTILE))
