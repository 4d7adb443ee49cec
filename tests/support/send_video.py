"""Sends gray pictures, a level brighter each, at 25 a second: URL FORMAT CODEC.

In a process of its own: PyAV waits for a client without letting other threads run.
"""

import sys
import time

import av

from tests.support.streams_clips import gray


def main() -> None:
    url, format_, codec = sys.argv[1:]
    with av.open(url, "w", format=format_) as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height = 64, 48
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.options = {} if codec == "mjpeg" else {"tune": "zerolatency", "g": "10"}
        for index in range(10**6):
            frame = av.VideoFrame.from_ndarray(gray(20 + index % 200), format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
            time.sleep(0.04)


if __name__ == "__main__":
    main()
