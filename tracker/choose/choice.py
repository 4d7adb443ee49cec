"""Choice of the model that tracks, from what is wanted and what was measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tracker.choose.measure import Measurement

#: From the smallest to the largest; scores grow in this order on public benchmarks of SAM 2.
BY_SIZE = ("pico", "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large")


class Quality(StrEnum):
    """Least quality that will do."""

    ANY = "any"
    GOOD = "good"
    BEST = "best"


_LEAST = {Quality.ANY: "pico", Quality.GOOD: "sam2.1-tiny", Quality.BEST: "sam2.1-large"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted: a kind of device, objects at a time, frames a second, and a quality."""

    device: str
    objects: int
    fps: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was considered.

    Attributes:
        name: Of the model.
        is_here: Its weights are on this machine.
        ms: Milliseconds a frame with so many objects; None where it was not measured.
        why: What speaks for it or against it, in a few words.
    """

    name: str
    is_here: bool
    ms: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer.

    Attributes:
        name: The model.
        why: The reason in a sentence.
        candidates: All that were considered, from the smallest on.
    """

    name: str
    why: str
    candidates: tuple[Candidate, ...]


def choose(wish: Wish, measured: Iterable[Measurement], here: Iterable[str]) -> Choice:
    """The largest model that is fast enough, of those of the quality that is wanted.

    Where nothing was measured it is the smallest that will do on a CPU, on which official models
    take seconds a frame, and the middle one on a GPU.

    Args:
        wish: What is wanted.
        measured: Speeds on this machine.
        here: Names of the models whose weights are on it.
    """
    here = set(here)
    measured = list(measured)
    speeds = {name: _ms_for(wish, name, measured) for name in BY_SIZE}
    fitting = BY_SIZE[BY_SIZE.index(_LEAST[wish.quality]) :]
    limit_ms = 1000 / wish.fps
    candidates = tuple(
        Candidate(name, name in here, speeds[name], _remark(name, speeds[name], fitting, limit_ms))
        for name in BY_SIZE
    )
    name, why = _best(wish, fitting, speeds, limit_ms)
    return Choice(name, why, candidates)


def _best(
    wish: Wish, fitting: tuple[str, ...], speeds: Mapping[str, float | None], limit_ms: float
) -> tuple[str, str]:
    measured = {name: ms for name in fitting if (ms := speeds[name]) is not None}
    fast = [name for name, ms in measured.items() if ms <= limit_ms]
    asked = f"{wish.fps:g} frames a second with {wish.objects} objects on {wish.device}"
    if fast:
        name = fast[-1]
        return (
            name,
            f"the largest that was measured fast enough for {asked}: {_rate(measured[name])}",
        )
    if measured:
        name = min(measured, key=lambda name: measured[name])
        return (
            name,
            f"none that was measured reaches {asked}; this is the fastest: {_rate(measured[name])}",
        )
    if wish.device == "cpu":
        return fitting[0], "nothing was measured; on a CPU the smallest comes closest to live rates"
    name = fitting[0] if wish.quality is Quality.BEST else "sam2.1-base-plus"
    return name, f"nothing was measured on {wish.device}; this is the usual choice on a GPU"


def _remark(name: str, ms: float | None, fitting: tuple[str, ...], limit_ms: float) -> str:
    if name not in fitting:
        return "below the quality that is wanted"
    if ms is None:
        return "not measured here"
    return f"{'fast enough' if ms <= limit_ms else 'too slow'}: {_rate(ms)}"


def _rate(ms: float) -> str:
    return f"{ms:.0f} ms a frame, {1000 / ms:.1f} a second"


def _ms_for(wish: Wish, name: str, measured: list[Measurement]) -> float | None:
    """Time of a frame by a straight line through the numbers of objects that were measured."""
    points = sorted(
        (item.objects, item.ms)
        for item in measured
        if item.name == name and item.task == "track" and item.device == wish.device
    )
    if not points:
        return None
    (first, first_ms), (last, last_ms) = points[0], points[-1]
    if first == last:
        return last_ms if wish.objects <= last else last_ms * wish.objects / last
    slope = (last_ms - first_ms) / (last - first)
    return max(first_ms, first_ms + slope * (wish.objects - first))
