"""Connection to a destination: an encoder, and the process that sends what it makes."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from enum import Enum
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.live_writer import LiveWriter
from tracker.bridges.restream import destination

CONNECT_S = 15.0
"""Longest wait for a server to take the stream."""

STALL_S = 10.0
"""A destination that takes nothing for so long is given up."""

_END_S = 5.0
_PROGRAM = Path(__file__).with_name("push.py")


class SendError(Exception):
    """The destination is not there, or went away; the text says why."""


class Progress(Enum):
    """State of a session."""

    CONNECTING = "connecting"
    LIVE = "live"
    ENDED = "ended"


class Session:
    """One connection, for pictures of one size.

    The first picture opens it; those that come before the server has answered are for nothing, so
    `progress` is to be asked first.

    Args:
        to: The destination.
        image_hwc: The first picture, uint8 RGB [H, W, 3].
        bitrate: Bits per second.

    Raises:
        SendError: The process does not start.
    """

    def __init__(
        self, to: "destination.Destination", image_hwc: NDArray[np.uint8], bitrate: int
    ) -> None:
        self.size_hw = image_hwc.shape[:2]
        self._reason = ""
        self._ended = False
        self._connected = threading.Event()
        self._until_s = time.monotonic() + CONNECT_S
        to.remove_leftovers()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=None if to.url == destination.STDOUT else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._listener = threading.Thread(target=self._listen, name="push", daemon=True)
        self._listener.start()
        height, width = self.size_hw
        self._writer = LiveWriter(self._send, width=width, height=height, bitrate=bitrate)
        asked = {"url": to.url, "format": to.format, "options": dict(to.options)}
        try:
            self._send(json.dumps(asked).encode() + b"\n")
            self.write(image_hwc, Fraction(0))
        except SendError:
            self.kill()
            raise

    @property
    def progress(self) -> Progress:
        """How far it is; one that takes too long to connect has ended."""
        if self._process.poll() is not None:
            return Progress.ENDED
        if self._connected.is_set():
            return Progress.LIVE
        if time.monotonic() > self._until_s:
            self._reason = self._reason or f"no answer within {CONNECT_S:g} s"
            return Progress.ENDED
        return Progress.CONNECTING

    @property
    def reason(self) -> str:
        """Why it ended, once it has."""
        self._listener.join(_END_S)
        return self._reason or "it ended"

    def write(self, image_hwc: NDArray[np.uint8], time_s: Fraction) -> None:
        """Encode and send a picture.

        Raises:
            SendError: The destination went away, or takes nothing.
        """
        self._writer.write(image_hwc, time_s)

    def close(self) -> None:
        """End the stream in order, or else at once."""
        try:
            self._writer.close()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(_END_S)
        except (SendError, OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._ended = True
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _send(self, data: bytes) -> None:
        """Write to the process, however slowly it reads."""
        if self._ended:  # a container that is given up ends itself, and the pipe may be another's
            return
        left = memoryview(data)
        while left:
            _, ready, _ = select.select([], [self._pipe], [], STALL_S)
            if not ready:
                self._reason = f"it took nothing for {STALL_S:g} s"
                raise SendError(self._reason)
            try:
                left = left[os.write(self._pipe, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise SendError(self.reason) from error

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            if text == "connected":
                self._connected.set()
            elif text.startswith("error: "):
                self._reason = text.removeprefix("error: ")
