"""Pacer: due times of the frames of a file that is played at its own pace."""

_LONGEST_STEP_S = 60.0  # a longer one is a fault in the file
_USUAL_STEP_S = 1 / 25  # for what has neither times nor a rate, such as a folder of images


class Pacer:
    """Adds up the steps between frames, so that being late once makes nothing else late."""

    def __init__(self, fps: float | None = None) -> None:
        """Begin before the first frame.

        Args:
            fps: Frames per second, for steps that the frames' own times do not give.
        """
        self._step_s = 1 / fps if fps else _USUAL_STEP_S
        self._time_s: float | None = None
        self._due_s: float | None = None

    def due_s(self, time_s: float | None, now_s: float) -> float:
        """Return when the next frame is due, on the clock of `now_s`: the first one now.

        Args:
            time_s: The frame's own time, in seconds; None where it has none. Where it goes back
                (a file begins again), the usual step lies between the two frames.
            now_s: Seconds on a monotonic clock.
        """
        if self._due_s is None:
            self._due_s = now_s
        else:
            self._due_s += self._step_to(time_s)
        self._time_s = time_s
        return self._due_s

    def _step_to(self, time_s: float | None) -> float:
        if time_s is None or self._time_s is None:
            return self._step_s
        step_s = time_s - self._time_s
        return step_s if 0 <= step_s <= _LONGEST_STEP_S else self._step_s
