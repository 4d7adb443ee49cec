"""Futures one after the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def after(
    first: "Future[S]", begin: "Callable[[S], Future[T]]", *, cancellable: bool = False
) -> "Future[T]":
    """A future of what is begun with the result of `first`.

    It fails where `first` does, and with what `begin` raises. It cannot be cancelled; or, where it
    is `cancellable`, until `first` is done: then nothing is begun, and `first` is cancelled too.
    """
    made: Future[T] = Future()
    if not cancellable:
        made.set_running_or_notify_cancel()

    def finish(second: "Future[T]") -> None:
        error = second.exception()
        if error is not None:
            made.set_exception(error)
        else:
            made.set_result(second.result())

    def go_on(done: "Future[S]") -> None:
        if cancellable and not made.set_running_or_notify_cancel():
            return
        try:
            begin(done.result()).add_done_callback(finish)
        except Exception as err:
            made.set_exception(err)

    made.add_done_callback(lambda given_up: given_up.cancelled() and first.cancel())
    first.add_done_callback(go_on)
    return made


def finished(result: T) -> "Future[T]":
    """A future that is done."""
    future: Future[T] = Future()
    future.set_result(result)
    return future
