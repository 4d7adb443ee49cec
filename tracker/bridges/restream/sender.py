"""Sender of pictures that connects again, with longer and longer waits, when a server goes away."""

import logging
import random
import time
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tracker.bridges.restream.destination import STDOUT, Destination
from tracker.bridges.restream.session import Progress, SendError, Session
from tracker.errors import TrackdError

FIRST_S, LONGEST_S = 1.0, 30.0
"""Waits between attempts: each twice the one before, and about a quarter up or down."""

HEALTHY_S = 60.0
"""After so long a connection the waits begin anew."""

_LOG = logging.getLogger("trackd.restream")


class Sender:
    """Sends pictures to a destination.

    Pictures that come while there is no connection are dropped.

    Args:
        to: The destination.
        bitrate: Bits per second.

    Attributes:
        sent: Pictures that were encoded and passed on.
        dropped: Pictures for which there was no connection.
        reconnects: Connections after the first.
    """

    def __init__(self, to: Destination, bitrate: int) -> None:
        self.sent = self.dropped = self.reconnects = 0
        self._to = to
        self._bitrate = bitrate
        self._session: Session | None = None
        self._begun_s = Fraction(0)  # on the clock of the pictures
        self._live_since_s: float | None = None
        self._was_live = False
        self._again_s = 0.0
        self._wait_s = FIRST_S

    def send(self, image_hwc: NDArray[np.uint8], time_s: Fraction) -> None:
        """Send a picture, or drop it.

        Args:
            image_hwc: uint8 RGB [H, W, 3].
            time_s: When it is shown, in seconds on a clock of the caller.

        Raises:
            TrackdError: The first connection failed, or the reader of standard output left.
        """
        if self._session is not None and self._session.size_hw != image_hwc.shape[:2]:
            self._session.close()
            self._session = None
        try:
            self._send(image_hwc, time_s)
        except SendError as error:
            self.dropped += 1
            self._fail(str(error))

    def close(self) -> None:
        """End the connection in order."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _send(self, image_hwc: NDArray[np.uint8], time_s: Fraction) -> None:
        if self._session is None:
            if time.monotonic() >= self._again_s:
                self._session = Session(self._to, image_hwc, self._bitrate)
                self._begun_s, self._live_since_s = time_s, None
            self.dropped += 1
            return
        match self._session.progress:
            case Progress.CONNECTING:
                self.dropped += 1
            case Progress.ENDED:
                raise SendError(self._session.reason)
            case Progress.LIVE:
                self._note_live()
                self._session.write(image_hwc, time_s - self._begun_s)
                self.sent += 1

    def _note_live(self) -> None:
        if self._live_since_s is not None:
            return
        self._live_since_s = time.monotonic()
        self.sent, self.dropped = self.sent + 1, self.dropped - 1  # the one that opened it
        self.reconnects += self._was_live
        self._was_live = True
        _LOG.info("sending to %s", self._to.shown)

    def _fail(self, reason: str) -> None:
        if self._session is not None:
            self._session.kill()
            self._session = None
        if not self._was_live or self._to.url == STDOUT:
            raise TrackdError(
                f"cannot send to {self._to.shown}: {reason}",
                "check that it is there and takes a publisher",
            )
        now_s = time.monotonic()
        if self._live_since_s is not None and now_s - self._live_since_s >= HEALTHY_S:
            self._wait_s = FIRST_S
        wait_s = self._wait_s * random.uniform(0.75, 1.25)
        self._again_s = now_s + wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_S)
        _LOG.warning("lost %s: %s; again in %.0f s", self._to.shown, reason, wait_s)
