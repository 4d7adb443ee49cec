"""Number of threads that FFmpeg may take for each work of a source."""

import os

_MOST = 4


def ffmpeg_threads() -> int:
    """Threads for decoding a picture, or for turning it into RGB.

    By itself FFmpeg starts up to 16 for each, and with many cameras on a large machine hundreds.
    """
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)
