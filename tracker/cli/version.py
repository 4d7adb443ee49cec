"""The version of this package."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """The installed version, or what to say where nothing is installed."""
    try:
        return installed_version("trackd")
    except PackageNotFoundError:
        return "(not installed)"
