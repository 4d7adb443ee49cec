"""Reader thread of one source, from opening it to its end or failure."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from streams.errors import SourceTooLarge, SourceUnreadable
from streams.frame import Frame
from streams.info import SourceInfo
from streams.mailbox import Mailbox
from streams.options import SourceOptions
from streams.sources.registry import Source
from tracker.daemon.messages import LiveFrame
from tracker.daemon.sources.frame_rate_limiter import FrameRateLimiter
from tracker.daemon.sources.pacer import Pacer
from tracker.protocol.fields import StreamSettings

_RAISE = "scale them down, or raise limits.frame_pixels or limits.pixels, which all streams share"


class OpenSource(Protocol):
    """Opener of a source: `streams.open_source`."""

    def __call__(
        self,
        url: str,
        *,
        stream: str,
        open_timeout_s: float,
        read_timeout_s: float,
        options: SourceOptions,
        poll_stills: bool,
        stop: threading.Event,
        max_pixels: int,
    ) -> Source:
        """Open it and decode its first frame; raises a StreamError."""
        ...


class ReaderOwner(Protocol):
    """Owner of a reader, to which it reports. It is called from the reader's thread."""

    @property
    def epoch(self) -> str | None:
        """Scope in which the numbers of the frames are unique."""
        ...

    def room(self) -> int:
        """Return how many pixels a frame may have."""
        ...

    def fits(self, pixels: int) -> bool:
        """Note that frames have so many pixels now; return False where that is too many."""
        ...

    def opened(self, reader: "Reader", info: SourceInfo) -> None:
        """The source is open, or open again because it is played in a loop."""
        ...

    def next_seq(self, reader: "Reader") -> int | None:
        """Return the number of the frame that just came; None where nobody wants it."""
        ...

    def done(self, reader: "Reader") -> None:
        """The thread ends; the reader's `error` says why."""
        ...


class Reader:
    """Puts the frames of a source into a mailbox, each at its time where it is asked for.

    A reader that hangs inside FFmpeg cannot be stopped: it is left alone, and what comes of it
    then is refused by its owner.

    Attributes:
        error: What ended it; None where a file was read to its end, or it was told to leave.
        is_done: Its thread ended, or is about to.
        abandoned: Its owner counted it as one that hangs.
        corrupt_packets: As `SourceStats`, over all rounds of a loop.
        decode_s: Likewise.
        damage: As `SourceStats`, of the last round.
    """

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        mailbox: Mailbox[LiveFrame],
        owner: ReaderOwner,
        *,
        open_source: OpenSource,
        hang_margin_s: float,
    ) -> None:
        """Prepare to read.

        Args:
            stream: Name of the stream.
            settings: Its source.
            mailbox: Where the frames go.
            owner: To which it reports.
            open_source: Opens the source.
            hang_margin_s: Seconds past the timeouts of a source after which it hangs.
        """
        self.error: Exception | None = None
        self.is_done = False
        self.abandoned = False
        self.corrupt_packets = 0
        self.decode_s = 0.0
        self.damage: str | None = None
        self._stream = stream
        self._settings = settings
        self._mailbox = mailbox
        self._owner = owner
        self._open_source = open_source
        self._hang_margin_s = hang_margin_s
        self._pixels = 0  # of the newest frame
        self._leaves = threading.Event()
        self._back_by_s: float | None = None
        self._stall_timeout_s = settings.stall_timeout_s + (settings.options.poll_s or 0.0)
        deadline = settings.deadline
        fps = None if deadline is None else deadline.fps
        self._frame_rate_limiter = None if fps is None else FrameRateLimiter(fps)
        self._thread = threading.Thread(target=self._run, name=f"read-{stream}", daemon=True)

    def start(self) -> None:
        """Begin to open the source."""
        self._thread.start()

    def leave(self) -> None:
        """Ask it to end, at the next frame at the latest; does not wait for that."""
        self._leaves.set()

    def hangs(self, now_s: float) -> bool:
        """True if it is inside the decoder for longer than all of its timeouts allow.

        Args:
            now_s: `time.monotonic()`.
        """
        back_by_s = self._back_by_s
        return back_by_s is not None and now_s > back_by_s

    def _run(self) -> None:
        try:
            self._play()
        except Exception as error:  # the owner decides what becomes of it
            self.error = error
        self.is_done = True
        self._owner.done(self)

    def _play(self) -> None:
        pacer: Pacer | None = None
        while not self._leaves.is_set():
            source = self._open()
            info = source.info
            if self._settings.realtime and not info.live:
                pacer = pacer or Pacer(float(info.fps) if info.fps else None)
            try:
                self._check_size(info.width, info.height)
                self._owner.opened(self, info)
                self._read(source, pacer)
            finally:
                with self._bounded(self._settings.stall_timeout_s):
                    source.close()
            if info.live and not self._leaves.is_set():
                raise SourceUnreadable(f"{info.url} has ended", "check that it is still on")
            if not self._settings.loop:
                return

    def _open(self) -> Source:
        settings = self._settings
        # Two steps of opening, then the first frame; an RTSP camera is asked for UDP after TCP.
        with self._bounded(2 * (2 * settings.open_timeout_s + self._stall_timeout_s)):
            try:
                return self._open_source(
                    settings.url,
                    stream=self._stream,
                    open_timeout_s=settings.open_timeout_s,
                    read_timeout_s=settings.stall_timeout_s,
                    options=settings.options,
                    poll_stills=True,
                    stop=self._leaves,
                    max_pixels=self._owner.room(),
                )
            except SourceTooLarge as error:
                raise SourceTooLarge(error.message, _RAISE) from error

    def _check_size(self, width: int, height: int) -> None:
        """Take note of the size of the frames, where it is new.

        Raises:
            SourceTooLarge: They are too large, beside those of the other streams.
        """
        pixels = width * height
        if pixels != self._pixels and not self._owner.fits(pixels):
            text = f"frames of {width}x{height} pixels are too many beside those of other streams"
            raise SourceTooLarge(text, _RAISE)
        self._pixels = pixels

    def _read(self, source: Source, pacer: Pacer | None) -> None:
        corrupt_before, decode_before_s = self.corrupt_packets, self.decode_s
        frames = iter(source)
        while not self._leaves.is_set():
            decoded_before_s = self.decode_s
            try:
                with self._bounded(self._stall_timeout_s):
                    frame = next(frames, None)
            finally:
                self.corrupt_packets = corrupt_before + source.stats.corrupt_packets
                self.decode_s = decode_before_s + source.stats.decode_s
                self.damage = source.stats.damage
            if frame is None:
                return
            self._deliver(frame, pacer, self.decode_s - decoded_before_s)

    def _deliver(self, frame: Frame, pacer: Pacer | None, decode_s: float) -> None:
        height, width = frame.image.shape[:2]
        self._check_size(width, height)
        now_s = time.monotonic()
        if pacer is None:
            age_s = (time.time_ns() - frame.captured_ns) / 1e9
            arrived_s = now_s - max(0.0, age_s)  # below 0 where the wall clock was set back
        else:  # as if a camera sent it now
            if self._leaves.wait(max(0.0, pacer.due_s(frame.time_s, now_s) - now_s)):
                return
            frame, arrived_s = replace(frame, captured_ns=time.time_ns()), time.monotonic()
        seq = self._owner.next_seq(self)
        if seq is None:
            self.leave()
            return
        queued_s = time.monotonic()
        if self._frame_rate_limiter is not None and not self._frame_rate_limiter.takes(queued_s):
            self._mailbox.skip()
            return
        numbered = replace(frame, seq=seq)
        if not self._mailbox.put(
            LiveFrame(numbered, frame.sender_ns, decode_s, arrived_s, queued_s, self._owner.epoch)
        ):
            self.leave()

    @contextmanager
    def _bounded(self, timeout_s: float) -> Iterator[None]:
        """Within the block the reader is inside the decoder, and must be back in time."""
        self._back_by_s = time.monotonic() + timeout_s + self._hang_margin_s
        try:
            yield
        finally:
            self._back_by_s = None
