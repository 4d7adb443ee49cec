"""Futures one after the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def after(first: "Future[S]", begin: "Callable[[S], Future[T]]") -> "Future[T]":
    """A future of what is begun with the result of `first`; it cannot be cancelled.

    It fails where `first` does, and with what `begin` raises.
    """
    made: Future[T] = Future()
    made.set_running_or_notify_cancel()

    def finish(second: "Future[T]") -> None:
        error = second.exception()
        if error is not None:
            made.set_exception(error)
        else:
            made.set_result(second.result())

    def go_on(done: "Future[S]") -> None:
        try:
            begin(done.result()).add_done_callback(finish)
        except Exception as err:
            made.set_exception(err)

    first.add_done_callback(go_on)
    return made
