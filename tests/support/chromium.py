"""A real browser for tests of pages, which are skipped where there is none."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tools import studio_process
from tracker.errors import TrackdError


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(studio_process.chromium())
        except TrackdError as error:
            pytest.skip(str(error))
        yield browser
