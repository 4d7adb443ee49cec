"""An RTSP camera that plays clips: run it with Debian's Python, which has GStreamer's server.

    /usr/bin/python3 tools/rtsp_server.py [--port N] [--user NAME --password WORD]
                                          [--transport tcp|udp] CLIP [CLIP ...]

Prints the port once it listens. Every client gets the clips from their first frame, one after the
other and over again, as they are encoded (H.264 in MP4), each frame at its time.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

H264 = "video/x-h264,stream-format=byte-stream,alignment=au"
ROLE = "viewer"
TRANSPORTS = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}


def read_frames(clip: str) -> tuple[list[tuple[bytes, int]], int]:
    """Return encoded frames with their times, and the clip's length, in ns."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{clip}" ! qtdemux ! h264parse config-interval=-1 ! {H264} '
        "! appsink name=sink sync=false"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(Gst.State.PLAYING)
    frames: list[tuple[bytes, int]] = []
    end_ns = 0
    while sample := sink.emit("pull-sample"):
        buffer = sample.get_buffer()
        frames.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts))
        end_ns = max(end_ns, buffer.pts + buffer.duration)
    pipeline.set_state(Gst.State.NULL)
    if not frames:
        sys.exit(f"{clip} is no H.264 in MP4")
    start_ns = min(pts for _, pts in frames)
    return [(data, pts - start_ns) for data, pts in frames], end_ns - start_ns


def looped(clips: list[tuple[list[tuple[bytes, int]], int]]) -> Iterator[Any]:
    """Yield buffers without end; times go on from clip to clip."""
    start_ns = 0
    while True:
        for frames, length_ns in clips:
            for data, pts in frames:
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.pts = start_ns + pts
                yield buffer
            start_ns += length_ns


def serve(
    clips: list[tuple[list[tuple[bytes, int]], int]],
    port: int,
    user: str,
    password: str,
    transport: str | None,
) -> None:
    """Play the clips to whoever asks for `/live`, for ever."""
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=str(port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( appsrc name=clips format=time is-live=true max-bytes=1000000 caps="{H264}" '
        "! h264parse ! rtph264pay name=pay0 pt=96 )"
    )

    def on_media(_factory: Any, media: Any) -> None:
        buffers = looped(clips)
        source = media.get_element().get_by_name("clips")
        source.connect("need-data", lambda src, _: src.emit("push-buffer", next(buffers)))

    factory.connect("media-configure", on_media)
    if transport is not None:  # the others are refused: 461 Unsupported Transport
        factory.set_protocols(TRANSPORTS[transport])
    if user:
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, ROLE)
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role(ROLE, "media.factory.access", True)
        permissions.add_permission_for_role(ROLE, "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {port}")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


def main() -> None:
    """Read the clips and serve them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--transport", choices=sorted(TRANSPORTS))
    args = parser.parse_args()
    Gst.init(None)
    clips = [read_frames(clip) for clip in args.clips]
    serve(clips, args.port, args.user, args.password, args.transport)


if __name__ == "__main__":
    main()
