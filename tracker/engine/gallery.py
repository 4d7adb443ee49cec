"""Gallery of an object: how it looked when it was surely seen, and what else looked like it.

It is bounded. Of the object's own looks the first, of its prompt, and the newest stay; of the
others the one most like another gives way to a new one, so that what is left is diverse. Of
distractors the newest stay.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracker.engine.appearance import Descriptors, distances

MAX_ENTRIES = 16
MAX_DISTRACTORS = 8


@dataclass(slots=True, eq=False)
class Looks:
    """Descriptors with the steps and areas that they are of, oldest first.

    Attributes:
        steps: When each was seen.
        areas: Of the mask, as a fraction of the picture.
        descriptors_kd: One each, [k, d].
    """

    steps: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    descriptors_kd: Descriptors = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, area: float, descriptor_d: Descriptors) -> None:
        """Append a look, newer than all."""
        self.steps.append(step)
        self.areas.append(area)
        before_kd = self.descriptors_kd.reshape(-1, len(descriptor_d))
        self.descriptors_kd = np.concatenate([before_kd, descriptor_d[None]])

    def drop(self, index: int) -> None:
        """Forget one of them."""
        del self.steps[index], self.areas[index]
        self.descriptors_kd = np.delete(self.descriptors_kd, index, axis=0)

    def forget_since(self, step: int) -> None:
        """Drop what was seen on a step and later."""
        while self.steps and self.steps[-1] >= step:
            self.drop(len(self) - 1)

    def nearest(self, looks_nd: Descriptors) -> NDArray[np.float32]:
        """Distance [n] from each of other looks to the one most like it; infinite if empty."""
        if not len(self):
            return np.full(len(looks_nd), np.inf, np.float32)
        return np.asarray(distances(looks_nd, self.descriptors_kd).min(axis=1), np.float32)


@dataclass(slots=True, eq=False)
class Gallery:
    """Looks of one object, and of its distractors.

    Attributes:
        own: Of the object.
        distractors: Of what looked most like it elsewhere, while it was surely seen.
        spread: Median distance from one of its looks to the next nearest; 0 for a single one.
    """

    own: Looks = field(default_factory=Looks)
    distractors: Looks = field(default_factory=Looks)
    spread: float = field(init=False)

    def __post_init__(self) -> None:
        self.spread = self._spread()

    def __len__(self) -> int:
        return len(self.own)

    @property
    def nbytes(self) -> int:
        """Bytes of all descriptors."""
        return self.own.descriptors_kd.nbytes + self.distractors.descriptors_kd.nbytes

    @property
    def newest_step(self) -> int:
        """When it was last surely seen; -1 for an empty gallery."""
        return self.own.steps[-1] if self.own.steps else -1

    @property
    def usual_area(self) -> float:
        """Median area of the object, as a fraction of the picture."""
        return float(np.median(self.own.areas))

    def add(self, step: int, area: float, descriptor_d: Descriptors, max_entries: int) -> None:
        """Keep a look of the object, in place of the most redundant one where it is full."""
        self.own.add(step, area, descriptor_d)
        if len(self.own) > max_entries:
            self.own.drop(self._most_redundant())
        self.spread = self._spread()

    def add_distractor(self, step: int, area: float, descriptor_d: Descriptors) -> None:
        """Keep a look of something else, in place of the oldest where there are too many."""
        self.distractors.add(step, area, descriptor_d)
        if len(self.distractors) > MAX_DISTRACTORS:
            self.distractors.drop(0)

    def forget_since(self, step: int) -> None:
        """Drop what was seen on a step and later."""
        self.own.forget_since(step)
        self.distractors.forget_since(step)
        self.spread = self._spread()

    def _spread(self) -> float:
        return float(np.median(self._apart().min(axis=1))) if len(self.own) > 1 else 0.0

    def _most_redundant(self) -> int:
        """Index of the look nearest to another, neither the first nor the newest."""
        middle = self._apart().min(axis=1)[1:-1]
        return 1 + int(middle.argmin()) if middle.size else 0

    def _apart(self) -> NDArray[np.float32]:
        """Distance [k, k] of each look to each other, infinite to itself."""
        apart_kk = distances(self.own.descriptors_kd, self.own.descriptors_kd)
        np.fill_diagonal(apart_kk, np.inf)
        return apart_kk
