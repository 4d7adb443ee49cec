"""Chain of the effects that were asked for, from tracked frames to finished pictures."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from streams.frame import Frame
from tracker.effects.base import Effect, EffectRequest, EffectSpec, Shot, Stage, Target
from tracker.effects.registry import DEFAULT, EFFECTS
from tracker.errors import UsageError
from tracker.types import TrackResult

FORM = "[TARGET=]NAME[:ARGUMENT]"
_REQUEST = re.compile(
    r"(?:(?P<target>rest|\d{1,9}(?:,\d{1,9})*)=)?(?P<name>[^:=]+)(?::(?P<argument>.*))?", re.DOTALL
)


def parse_effects(
    texts: str | Sequence[str] | None,
) -> list[tuple[EffectSpec, EffectRequest]]:
    """The effects of `--effect` options, in order; the default one where there are none.

    Raises:
        UsageError: One does not follow `FORM`, is unknown, or has a wrong argument or place.
    """
    texts = [texts] if isinstance(texts, str) else list(texts or ())
    found = [_parse(text) for text in texts or [DEFAULT]]
    for text, (spec, _), (after, _) in zip(texts, found, found[1:], strict=False):
        if spec.is_last:
            raise UsageError(f"--effect {text} is not the last", "give it after the others")
        if spec.has_alpha and not after.is_last:
            raise UsageError(
                f"--effect {after.name} comes after {spec.name}, which makes alpha",
                f"give {spec.name} after it",
            )
    return found


def _parse(text: str) -> tuple[EffectSpec, EffectRequest]:
    match = _REQUEST.fullmatch(text)
    if match is None:
        raise UsageError(f"--effect {text} is not {FORM}", "as in --effect blur, 1=blur, rest=blur")
    spec = EFFECTS.find(match["name"])
    argument = match["argument"] or ""
    if argument and not spec.argument:
        raise UsageError(f"--effect {text}: {spec.name} takes nothing after it", "leave it out")
    if spec.needs_argument and not argument:
        raise UsageError(
            f"--effect {text} lacks its {spec.argument}", f"as in {spec.name}:{spec.argument}"
        )
    target = _target(match["target"])
    if target.is_rest and not spec.takes_rest:
        raise UsageError(
            f"--effect {text}: {spec.name} is for objects, not for the rest",
            "give ids, or leave rest= out",
        )
    spec.check(argument)
    return spec, EffectRequest(argument, target)


def _target(text: str | None) -> Target:
    if text is None or text == "rest":
        return Target(is_rest=text == "rest")
    return Target(frozenset(map(int, text.split(","))))


class EffectChain:
    """Steps that each frame goes through; some frames come out later than they went in."""

    def __init__(self, effects: Sequence[tuple[EffectSpec, EffectRequest]], fps: float) -> None:
        """Make the steps."""
        self._stages: list[Stage] = []
        if any(spec.stage is not None for spec, _ in effects):
            from tracker.effects.edges import SteadyEdges

            self._stages.append(SteadyEdges())
        self._stages += [_stage(spec, replace(request, fps=fps)) for spec, request in effects]

    def push(self, frame: Frame, result: TrackResult) -> Iterator[Shot]:
        """Take a frame; give those that are finished."""
        return self._through(0, [Shot(frame, frame.image, result.objects)])

    def flush(self) -> Iterator[Shot]:
        """Give the rest; no more come."""
        for index, stage in enumerate(self._stages):
            yield from self._through(index + 1, stage.flush())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the steps have to say of what they did."""
        return tuple(note for stage in self._stages for note in getattr(stage, "notes", ()))

    def _through(self, first: int, shots: Iterable[Shot]) -> Iterator[Shot]:
        if first == len(self._stages):
            yield from shots
            return
        for shot in shots:
            yield from self._through(first + 1, self._stages[first].push(shot))


def _stage(spec: EffectSpec, request: EffectRequest) -> Stage:
    if spec.stage is not None:
        return spec.stage(request)
    assert spec.make is not None
    return _Drawing(spec, request.target)


class _Drawing:
    """Stage of an effect that draws on pictures of one size."""

    def __init__(self, spec: EffectSpec, target: Target) -> None:
        self._spec = spec
        self._target = target
        self._effects: dict[tuple[int, ...], Effect] = {}  # of the newest size

    def push(self, shot: Shot) -> Iterator[Shot]:
        size_hw = shot.image_hwc.shape[:2]
        if size_hw not in self._effects:
            assert self._spec.make is not None
            self._effects = {size_hw: self._spec.make(*size_hw)}
        objects = [item for item in shot.objects if self._target.has(item.id)]
        yield replace(shot, image_hwc=self._effects[size_hw].draw(shot.image_hwc, objects))

    def flush(self) -> Iterator[Shot]:
        return iter(())
