"""Signals that interrupt the main thread, whichever thread the system hands them to."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

_AGAIN_S = 0.05


@contextlib.contextmanager
def signals_reach_main_thread() -> Iterator[None]:
    """Within the block every signal that Python handles ends what the main thread waits for.

    The system may hand a signal to any thread. Python then notes it for the main thread, which
    looks when its wait ends: a wait without a limit never does. So a thread listens to the bytes
    that Python writes for signals (`signal.set_wakeup_fd`), and interrupts the main thread's system
    call with SIGURG, which means nothing here. It does nothing elsewhere than in the main thread,
    and where there are no such signals (Windows).
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "pthread_kill"):
        yield
        return
    told, tells = socket.socketpair()
    tells.setblocking(False)
    listener = threading.Thread(
        target=_pass_on, args=(told, threading.get_ident()), name="signals", daemon=True
    )
    with told, tells, _handled(signal.SIGURG):
        try:
            listener.start()
        except RuntimeError:  # no more threads can be had: do without
            yield
            return
        try:
            with _written_to(tells):
                yield
        finally:
            tells.shutdown(socket.SHUT_WR)
            listener.join()


def _pass_on(told: socket.socket, main_thread: int) -> None:
    for numbers in iter(lambda: told.recv(64), b""):
        if numbers.strip(bytes([signal.SIGURG])):
            signal.pthread_kill(main_thread, signal.SIGURG)
            time.sleep(_AGAIN_S)  # it may have been about to wait
            signal.pthread_kill(main_thread, signal.SIGURG)


def forget_interrupt() -> None:
    """Let the process end with its exit code after an interrupt that was caught.

    CPython notes one that code compiled from a string did not catch, such as that of
    `@dataclass` while a module is imported, and ends the process by SIGINT although the caller of
    that code caught it. The note is deleted when the next such code begins.
    """
    exec("")


@contextlib.contextmanager
def _handled(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def _written_to(tells: socket.socket) -> Iterator[None]:
    before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
