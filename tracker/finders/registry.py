"""Registry of finders; packages add theirs in the entry point group `trackd.finders`."""

from typing import TYPE_CHECKING, Any

from tracker.extras import check_extra
from tracker.finders import settings as defaults
from tracker.finders.base import Finder, FinderSpec, Needs, Query
from tracker.models.catalog import CATALOG
from tracker.plugins import Registry

if TYPE_CHECKING:
    from tracker.models import Model


def _everything(model: "Model", settings: Any) -> Finder:
    from tracker.finders.everything import EverythingFinder

    return EverythingFinder(model, settings)


def _motion(model: "Model | None", settings: Any) -> Finder:
    from tracker.finders.motion import MotionFinder

    return MotionFinder(settings)


def _text(model: "Model", settings: Any) -> Finder:
    from tracker.finders.text import TextFinder

    return TextFinder(model.device, settings)


def _detector(model: "Model", settings: Any) -> Finder:
    from tracker.finders.detector import make_detector

    return make_detector(model.device, settings)


def _check_text(settings: Any) -> None:
    known = CATALOG.get(settings.model)
    check_extra("transformers", extra=known.extra if known else "text", who="finder text")


def _check_detector(settings: Any) -> None:
    known = CATALOG.get(settings.model)
    if known is not None:  # else it is a folder or a function
        check_extra("transformers", extra=known.extra, who=known.name)


FINDERS = Registry(
    "finder",
    FinderSpec,
    "trackd.finders",
    (
        FinderSpec(
            "everything",
            "all that the model that tracks can segment",
            _everything,
            defaults.AutomaticMaskSettings,
        ),
        FinderSpec(
            "motion",
            "what moves before a fixed camera",
            _motion,
            defaults.MotionSettings,
            every_frame=True,
            needs=Needs.NOTHING,
        ),
        FinderSpec(
            "text",
            "what words name, by an open-vocabulary detector",
            _text,
            defaults.TextSettings,
            Query.PHRASES,
            needs=Needs.DEVICE,
            check=_check_text,
        ),
        FinderSpec(
            "detector",
            "objects of classes, by a detector",
            _detector,
            defaults.DetectorSettings,
            Query.CLASSES,
            needs=Needs.DEVICE,
            check=_check_detector,
        ),
    ),
)
