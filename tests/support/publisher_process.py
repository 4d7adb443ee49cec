"""A publisher in a process of its own, so that its memory is nobody else's.

Run as a program it publishes frame N for each line N that it reads, and answers a line "status".
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from tests.support.tracked_frames import found, publishing, tracked
from tracker.daemon.access import authenticator
from tracker.daemon.access.local_users import LocalUserAuthenticator
from tracker.daemon.publish import xpub

# The bounds of what a subscriber may send: each can be put out of reach, to see the other at work.
BOUNDS = {
    "unread": (authenticator, "MAX_UNREAD_SUBSCRIPTION_BYTES"),
    "subscribed": (xpub, "MAX_SUBSCRIBED_BYTES"),
}


class PublisherProcess:
    """A running publisher; a context manager that ends it.

    Args:
        send_hwm: Of its sockets.
        unbounded: Names of `BOUNDS` that it is to be without.

    Attributes:
        endpoint: Where it publishes masks of stream cam1: all pixels, one bit each, 32 kB a frame.
    """

    def __init__(self, send_hwm: int, *unbounded: str) -> None:
        if not Path("/proc/self/statm").is_file():
            pytest.skip("no /proc to read resident memory from")
        self._arguments = (str(send_hwm), *unbounded)

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, *self._arguments]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self.endpoint = self._line()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def publish(self, seq: int) -> None:
        self._say(str(seq))

    def status(self) -> dict[str, Any]:
        """Some of its status; all that was published before has been given to it."""
        self._say("status")
        return dict(json.loads(self._line()))

    def resident_bytes(self) -> int:
        self.status()  # collects garbage
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the publisher has ended"
        return line.strip()


def main(send_hwm: int, unbounded: Sequence[str]) -> None:
    for name in unbounded:
        module, bound = BOUNDS[name]
        setattr(module, bound, sys.maxsize)
    if "subscribed" in unbounded:  # what is read at once is never unread
        xpub._READ_AT_ONCE = 4
    picture = {
        "objects": (found(1, np.ones((400, 640), np.bool_)),),
        "image": np.zeros((400, 640, 3), np.uint8),
        "encoding": "bits",
    }
    security = LocalUserAuthenticator()
    with publishing(security=security, send_hwm=send_hwm) as publisher:
        print(publisher.endpoint, flush=True)
        for line in sys.stdin:
            if line != "status\n":
                publisher.tracked(tracked(int(line), **picture))
                continue
            gc.collect()
            status = publisher.status()
            told = {name: getattr(status, name) for name in ("healthy", "subscriptions", "resets")}
            print(json.dumps(told | {"cut_off": security.refused_for["unread"]}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
