"""Probe for threads that the system would still give."""

import threading


def can_start(count: int) -> bool:
    """Start so many threads at once, to see whether it works, and let them end."""
    may_end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=may_end.wait, name="spare", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        may_end.set()
        for thread in started:
            thread.join()
    return True
