"""A control socket whose requests are done badly; as a program, in a process of its own."""

import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tests.support.control_clients import running
from tracker.daemon.messages import RequestError
from tracker.protocol.replies import ErrorCode
from tracker.protocol.requests import Ping, Request

MAX_BYTES = 64 * 1024
TIMEOUT_S = 0.02


def careless() -> Any:
    """Does each request in another way: well, by a refusal, by a mistake, later, or never."""
    ways = itertools.cycle(range(5))

    def handle(request: Request) -> "dict[str, Any] | Future[dict[str, Any]]":
        way = 0 if isinstance(request, Ping) else next(ways)
        future: Future[dict[str, Any]] = Future()
        if way == 0:
            return {"version": "0"}
        if way == 1:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, "no such stream")
        if way == 2:
            raise ZeroDivisionError
        if way == 3:
            future.set_result({})
        return future

    return handle


@contextmanager
def apart() -> Iterator[tuple[str, int]]:
    """Where it listens, and its process, which is ended afterwards."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.kill()


if __name__ == "__main__":
    logging.disable()  # its mistakes are logged, hundreds of times
    with running(careless(), max_message_bytes=MAX_BYTES, timeout_s=TIMEOUT_S) as control:
        print(control.endpoint, flush=True)
        sys.stdin.read()
