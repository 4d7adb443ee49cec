"""Real RTSP cameras for tests, which are skipped where there can be none."""

from pathlib import Path
from typing import Literal

import pytest

from tools import rtsp_camera


class RtspCamera(rtsp_camera.RtspCamera):
    """As that of `tools`; skips the test where GStreamer's RTSP server is not installed."""

    def __init__(
        self,
        *clips: Path,
        user: str = "",
        password: str = "",
        transport: Literal["tcp", "udp"] | None = None,
    ) -> None:
        if not rtsp_camera.has_gstreamer():
            pytest.skip(f"/usr/bin/python3 finds no RTSP server: install {rtsp_camera.NEEDED}")
        super().__init__(*clips, user=user, password=password, transport=transport)
