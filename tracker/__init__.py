"""Track any object in live video with SAM 2: types, models, engine, annotation, commands."""

from typing import Any

_DISTRIBUTIONS = ("trackd", "trackd-client")


def __getattr__(name: str) -> Any:
    """The installed version as `__version__`, looked up where somebody asks."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    for distribution in _DISTRIBUTIONS:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "(not installed)"
