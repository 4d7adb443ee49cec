"""Optional packages: imported where they are used, with an error that says how to get them."""

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def quiet(transformers: ModuleType) -> Iterator[None]:
    """Neither warnings nor bars of `transformers` within the block."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def check_extra(module: str, *, extra: str, who: str) -> None:
    """Check that an optional package is installed, without importing it; as `import_extra`."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"{who} needs {package}, which is not installed", f"pip install 'trackd[{extra}]'"
        )
