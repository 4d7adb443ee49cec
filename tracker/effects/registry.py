"""Registry of effects; packages add theirs in the entry point group `trackd.effects`.

The modules of the effects are imported when one is used: drawing packages take seconds.
"""

from tracker.effects.base import Effect, EffectRequest, EffectSpec, Stage
from tracker.plugins import Registry

DEFAULT = "overlay"


def _overlay(height: int, width: int) -> Effect:
    from tracker.effects.overlay import Overlay

    return Overlay(height, width)


def _blur(request: EffectRequest) -> Stage:
    from tracker.effects.region import RegionStage, blurred

    return RegionStage(blurred, request.target, hides=True)


def _pixelate(request: EffectRequest) -> Stage:
    from tracker.effects.region import RegionStage, pixelated

    return RegionStage(pixelated, request.target, hides=True)


def _spotlight(request: EffectRequest) -> Stage:
    from tracker.effects.region import RegionStage, dimmed

    return RegionStage(dimmed, request.target, outside=True)


def _colour_pop(request: EffectRequest) -> Stage:
    from tracker.effects.region import RegionStage, grey

    return RegionStage(grey, request.target, outside=True)


def _background(request: EffectRequest) -> Stage:
    from tracker.effects.background import Background
    from tracker.effects.region import RegionStage

    return RegionStage(Background(request.argument), request.target, outside=True)


def _check_background(argument: str) -> None:
    from tracker.effects.background import check_background

    check_background(argument)


def _cutout(request: EffectRequest) -> Stage:
    from tracker.effects.cutout import CutoutStage

    return CutoutStage(request.target)


def _remove(request: EffectRequest) -> Stage:
    from tracker.effects.remove import RemoveStage

    return RemoveStage(request)


def _check_remove(argument: str) -> None:
    if argument:
        from tracker.effects.inpaint import check_inpainting

        check_inpainting(argument)


def _crop(request: EffectRequest) -> Stage:
    from tracker.effects.crop import CropStage

    return CropStage(request)


def _check_crop(argument: str) -> None:
    from tracker.effects.crop import check_aspect

    check_aspect(argument)


EFFECTS = Registry(
    "effect",
    EffectSpec,
    "trackd.effects",
    (
        EffectSpec(DEFAULT, "masks, contours and names", _overlay),
        EffectSpec("blur", "the objects blurred, for privacy", stage=_blur, takes_rest=True),
        EffectSpec(
            "pixelate", "the objects in blocks of one colour", stage=_pixelate, takes_rest=True
        ),
        EffectSpec("spotlight", "all but the objects dimmed", stage=_spotlight, takes_rest=True),
        EffectSpec("colour-pop", "all but the objects grey", stage=_colour_pop, takes_rest=True),
        EffectSpec(
            "cutout",
            "the objects on transparent ground",
            stage=_cutout,
            has_alpha=True,
            takes_rest=True,
        ),
        EffectSpec(
            "background",
            "the objects before a picture, a video or a colour",
            stage=_background,
            argument="FILE|COLOUR",
            needs_argument=True,
            check=_check_background,
            takes_rest=True,
        ),
        EffectSpec(
            "remove",
            "the objects filled with what is behind them",
            stage=_remove,
            argument="MODEL",
            check=_check_remove,
        ),
        EffectSpec(
            "crop",
            "the part around the objects, 9x16 or another shape",
            stage=_crop,
            argument="WxH",
            check=_check_crop,
            is_last=True,
        ),
    ),
)
