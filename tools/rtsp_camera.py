"""Real RTSP cameras for tests and measurements: GStreamer's server, in a process of its own."""

import os
import select
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tracker.errors import TrackdError

NEEDED = "gir1.2-gst-rtsp-server-1.0 python3-gst-1.0 gstreamer1.0-plugins-{good,bad,ugly}"
_PYTHON = "/usr/bin/python3"
_SCRIPT = Path(__file__).with_name("rtsp_server.py")
_IMPORT = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)
_START_TIMEOUT_S = 60.0


@cache
def has_gstreamer() -> bool:
    """True if Debian's Python finds GStreamer's RTSP server."""
    try:
        return subprocess.run([_PYTHON, "-c", _IMPORT], capture_output=True).returncode == 0
    except OSError:
        return False


class RtspCamera:
    """Plays H.264 clips (MP4) one after the other, over and over, each client from the start.

    As a context manager it runs inside the block. After `kill`, `start` brings it back on the
    same port.
    """

    def __init__(
        self,
        *clips: Path,
        user: str = "",
        password: str = "",
        transport: Literal["tcp", "udp"] | None = None,
    ) -> None:
        """Prepare.

        Args:
            clips: What it plays.
            user: Whom it lets in; "" for anyone.
            password: The user's.
            transport: The only one that it sends over; None for any.

        Raises:
            TrackdError: GStreamer's RTSP server is not installed.
        """
        if not has_gstreamer():
            raise TrackdError(f"{_PYTHON} finds no GStreamer RTSP server", f"install {NEEDED}")
        self.port = 0
        self._user = user
        self._password = password
        self._transport = transport
        self._clips = clips
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, with its password if it has one."""
        login = f"{self._user}:{self._password}@" if self._user else ""
        return f"rtsp://{login}127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Start the server and wait until it listens."""
        command = [_PYTHON, str(_SCRIPT), "--port", str(self.port)]
        if self._user:
            command += ["--user", self._user, "--password", self._password]
        if self._transport is not None:
            command += ["--transport", self._transport]
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [*command, *map(str, self._clips)], stdout=subprocess.PIPE, stderr=errors
            )
            line = self._first_line(self._process)
            if not line:
                self.kill()
                errors.seek(0)
                raise RuntimeError(f"the RTSP server did not start: {errors.read()!r}")
        self.port = int(line)

    def _first_line(self, process: "subprocess.Popen[bytes]") -> bytes:
        """Return what it prints first; nothing where it ends or takes too long."""
        assert process.stdout is not None
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        line = b""
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline_s - time.monotonic())
            ready, _, _ = select.select([process.stdout], [], [], left_s)
            piece = os.read(process.stdout.fileno(), 100) if ready else b""
            if not piece:
                return b""
            line += piece
        return line

    def kill(self) -> None:
        """End it at once, as a power cut does; connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
