"""Turns of several pieces of work, A B A B, each timed."""

import time
from collections.abc import Callable, Mapping

Rounds = tuple[tuple[float, ...], ...]


def take_turns(
    work: Mapping[str, Callable[[], object]], *, rounds: int, each: int, warm_up: int
) -> dict[str, Rounds]:
    """Milliseconds of each call: `each` calls of one, then of the next, so many rounds."""
    for call in work.values():
        for _ in range(warm_up):
            call()
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            times[name].append(tuple(_ms(call) for _ in range(each)))
    return {name: tuple(turns) for name, turns in times.items()}


def _ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return round(1000 * (time.perf_counter() - start_s), 4)
