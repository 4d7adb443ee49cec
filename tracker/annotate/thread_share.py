"""torch's threads during a run: shared with other programs, or fixed where results need it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from tracker.models import Model
from tracker.processors import ThreadGovernor


@contextmanager
def sharing_processors(model: Model, *, live: bool) -> Iterator[Callable[[], None]]:
    """Give what to call between frames; afterwards there are as many threads as before.

    A file is to give the same bytes on every run. Where these depend on the number of threads, that
    number must stay: where there are two, each has a work of its own (a frame that is tracked, and
    the next one that is encoded), and neither waits for the other.
    """
    before = torch.get_num_threads()
    try:
        if live or not model.depends_on_threads:
            yield ThreadGovernor().adjust
        else:
            if before == 2:
                torch.set_num_threads(1)
            yield lambda: None
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
