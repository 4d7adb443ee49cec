"""Optional packages: imported where they are used, with an error that says how to get them."""

import importlib
import importlib.util
from types import ModuleType

from tracker.errors import UsageError


def import_extra(module: str, *, extra: str, who: str) -> ModuleType:
    """The module of an optional package.

    Args:
        module: Its name.
        extra: The extra of trackd that brings it.
        who: What needs it, for the error.

    Raises:
        UsageError: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        what = "which is not installed" if missing else f"which cannot be imported: {error}"
        raise UsageError(
            f"{who} needs {package}, {what}", f"pip install 'trackd[{extra}]'"
        ) from error


def check_extra(module: str, *, extra: str, who: str) -> None:
    """Check that an optional package is installed, without importing it; as `import_extra`."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"{who} needs {package}, which is not installed", f"pip install 'trackd[{extra}]'"
        )
