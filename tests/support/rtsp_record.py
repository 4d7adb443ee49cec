"""An RTSP server that takes a push (RECORD): run it with Debian's Python, which has GStreamer's.

    /usr/bin/python3 tests/support/rtsp_record.py PORT FILE

Prints the port once it listens, and the time in seconds of each frame that comes; the H.264 goes
into the file.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( rtph264depay name=depay0 ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au "
    "! appsink name=sink emit-signals=true sync=false )"
)


def main() -> None:
    port, path = sys.argv[1:]
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)

    def on_sample(sink):
        buffer = sink.emit("pull-sample").get_buffer()
        with Path(path).open("ab") as file:
            file.write(buffer.extract_dup(0, buffer.get_size()))
        print(f"frame {buffer.pts / Gst.SECOND:.4f}", flush=True)
        return Gst.FlowReturn.OK

    def on_media(_factory, media):
        media.get_element().get_by_name("sink").connect("new-sample", on_sample)

    factory.connect("media-configure", on_media)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    server.get_mount_points().add_factory("/door", factory)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {port}")
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
