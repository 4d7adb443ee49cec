"""Registry of effects; packages add theirs in the entry point group `trackd.effects`."""

from tracker.effects.base import Effect, EffectSpec
from tracker.plugins import Registry

DEFAULT = "overlay"


def _overlay(height: int, width: int) -> Effect:
    # The drawing packages take seconds to import: only for those who draw.
    from tracker.effects.overlay import Overlay

    return Overlay(height, width)


def _blur(height: int, width: int) -> Effect:
    from tracker.effects.blur import Blur

    return Blur(height, width)


EFFECTS = Registry(
    "effect",
    EffectSpec,
    "trackd.effects",
    (
        EffectSpec(DEFAULT, "masks, contours and names", _overlay),
        EffectSpec("blur", "the objects blurred, for privacy", _blur),
    ),
)
