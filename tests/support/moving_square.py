"""A deterministic tracker by colour and clips of squares to track with it."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from streams import Frame, VideoWriter
from tracker.engine import Policy
from tracker.types import ObjectResult, ObjectState, Prompt, Prompted, StageTimes, TrackResult

HEIGHT, WIDTH = 96, 128
RED, GREEN = (220, 30, 30), (30, 200, 60)
SIDE = 20


def square_xy(index: int) -> tuple[int, int]:
    """Left and top of the red square on a frame."""
    return 4 + 2 * index, 10 + index


def picture(index: int) -> NDArray[np.uint8]:
    """A red square that moves, a green one that stands still until frame 6 and is gone then."""
    image = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    x, y = square_xy(index)
    image[y : y + SIDE, x : x + SIDE] = RED
    if index < 6:
        image[60:80, 90:110] = GREEN
    return image


def frames(count: int) -> list[Frame]:
    return [Frame("main", i, i, Fraction(1, 25), 0, picture(i)) for i in range(count)]


def write_clip(path: Path, count: int) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=Fraction(25)) as video:
        for index in range(count):
            video.write(picture(index), index, Fraction(1, 25))
    return path


class ColourSession:
    """Tracks every pixel of about the colour that was prompted. Scores grow with the id."""

    prefetches = False

    def __init__(self) -> None:
        self.policy = Policy()
        self.steps = 0
        self.colours: dict[int, NDArray[np.int64]] = {}
        self.labels: dict[int, str | None] = {}

    def step(self, image_hwc: NDArray[np.uint8]) -> TrackResult:
        self.image = image_hwc
        self.steps += 1
        return self.result()

    def prompt(self, prompt: Prompt) -> Prompted:
        prompt.validate(*self.image.shape[:2])
        if prompt.mask_hw is not None:
            y, x = (int(v) for v in np.argwhere(prompt.mask_hw)[0])
        elif prompt.box_xyxy is not None:
            x0, y0, x1, y1 = prompt.box_xyxy
            x, y = int(x0 + x1) // 2, int(y0 + y1) // 2
        else:
            x, y = (int(v) for v in prompt.points_xy[0])
        self.colours[prompt.object_id] = self.image[y, x].astype(int)
        self.labels[prompt.object_id] = prompt.label
        return Prompted(self._find(prompt.object_id), 0, 0)

    def remove(self, object_id: int) -> None:
        del self.colours[object_id]

    def result(self) -> TrackResult:
        found = tuple(self._find(object_id) for object_id in sorted(self.colours))
        return TrackResult(self.steps - 1, found, StageTimes(0.0, 0.0))

    def _find(self, object_id: int) -> ObjectResult:
        far = np.abs(self.image.astype(int) - self.colours[object_id]).max(axis=2)
        mask_hw = far < 60
        if not mask_hw.any():
            state = ObjectState.OCCLUDED
            return ObjectResult(object_id, self.labels[object_id], state, 0.0, 0.0, None, mask_hw)
        y, x = np.nonzero(mask_hw)
        box = (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
        score = 0.5 + 0.1 * min(object_id, 4)
        label = self.labels[object_id]
        return ObjectResult(object_id, label, ObjectState.VISIBLE, score, 0.9, box, mask_hw)


def open_fake_session(*asked: object) -> tuple[SimpleNamespace, ColourSession]:
    """In place of `tracker.annotate.run.open_session`."""
    model = SimpleNamespace(name="colour", device="cpu", precision="fp32", depends_on_threads=True)
    return model, ColourSession()
