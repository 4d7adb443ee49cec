"""Program that passes an H.264 stream from standard input on to a server or a playlist.

It is a process of its own since FFmpeg may wait for a server for as long as that is silent, and
PyAV lets no other thread run meanwhile: a process can be ended. The first line of its input is
JSON, `url`, `format` and `options`; the rest is NUT. On stderr it says `connected`, and `error:
REASON` before it ends with 1. It is run by its path, and imports nothing of trackd.
"""

import json
import os
import signal
import sys
from typing import Any, BinaryIO

import av


def main() -> int:
    """Pass the stream on until its end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever started it ends its input
        signal.signal(number, signal.SIG_IGN)
    # Unbuffered: what is there is to be read, not waited for until a buffer is full.
    with os.fdopen(0, "rb", buffering=0) as stream:
        asked = json.loads(stream.readline())
        return _push_or_say_why(stream, asked)


def _push_or_say_why(stream: BinaryIO, asked: dict[str, Any]) -> int:
    try:
        _push(stream, asked)
    except Exception as error:
        # Not the error itself, which may hold the address.
        reason = getattr(error, "strerror", None) or type(error).__name__
        print(f"error: {reason}", file=sys.stderr, flush=True)
        os._exit(1)  # what FFmpeg still holds would be waited for
    return 0


def _push(stream: BinaryIO, asked: dict[str, Any]) -> None:
    to: Any = sys.stdout.buffer if asked["url"] == "-" else asked["url"]
    probing = {"probesize": "32", "analyzeduration": "0"}
    with av.open(stream, "r", format="nut", options=probing) as source:
        video = source.streams.video[0]
        with av.open(to, "w", format=asked["format"], options=asked["options"]) as sink:
            sent = sink.add_stream_from_template(video)
            sink.start_encoding()
            print("connected", file=sys.stderr, flush=True)
            for packet in source.demux(video):
                if packet.pts is None:  # the end
                    continue
                packet.dts = packet.pts  # there are no B-frames
                packet.stream = sent
                sink.mux(packet)


if __name__ == "__main__":
    sys.exit(main())
