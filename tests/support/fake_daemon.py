"""A daemon without a tracker, for tests of its clients: real sockets, made-up objects."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import zmq

from tests.support import control_clients, tracked_frames
from tracker.daemon.messages import RequestError
from tracker.daemon.publish.publisher import Publisher
from tracker.protocol.replies import (
    ChangeResult,
    ErrorCode,
    FindResult,
    ObjectInfo,
    ObjectsResult,
    PingResult,
    PromptResult,
    ProposalInfo,
    StreamInfo,
    StreamsResult,
    ZonesResult,
)
from tracker.protocol.requests import Request
from tracker.types import ObjectState

CUP = ObjectInfo(id=1, label="cup", state=ObjectState.VISIBLE, score=0.9, box=(4, 14, 17, 27))


def stream_info(stream: str, **more: Any) -> StreamInfo:
    """A stream that runs well."""
    fields = {
        "stream": stream,
        "url": "rtsp://***@10.0.0.5/main",
        "state": "running",
        "error": "",
        "policy": "latest",
        "encoding": "rle",
        "width": 640,
        "height": 480,
        "fps": 29.97,
        "frames": 120,
        "tracked": 100,
        "dropped": 20,
        "reconnects": 0,
        "objects": 1,
        "newest_seq": 119,
    }
    return StreamInfo.model_validate(fields | more)


@dataclass
class FakeDaemon:
    """Answers every request as a daemon with one stream and one object would.

    `refuse` is raised in place of the next answer to anything but a list; `requests` are all that
    came, each once.
    """

    publisher: Publisher
    control: str = ""
    data: str = ""
    refuse: RequestError | None = None
    streams: list[StreamInfo] = field(default_factory=lambda: [stream_info("cam1")])
    objects: list[ObjectInfo] = field(default_factory=lambda: [CUP])
    requests: list[Request] = field(default_factory=list)
    unsaved: str = ""  # why changes of streams are not kept over a restart

    def answer(self, request: Request) -> dict[str, Any]:
        self.requests.append(request)
        if self.refuse is not None:
            raise self.refuse
        match request.op:
            case "ping":
                result: Any = PingResult(version="0.1.0", ready=True, uptime_s=3.5)
            case "stream.list":
                result = StreamsResult(streams=self.streams)
            case "object.relabel" | "object.accept":
                result = CUP
            case "snapshot.restore" | "stream.move":
                result = ObjectsResult(stream=request.stream, objects=self.objects)
            case "object.list":
                result = ObjectsResult(stream=request.stream, objects=self.objects)
            case "prompt" | "object.correct":
                result = PromptResult(
                    object=CUP, created=True, frame_seq=7, newest_seq=9, replayed_frames=2
                )
            case "find":
                seen = ProposalInfo(box=(4.0, 14.0, 17.0, 27.0), score=0.8, label="cup", area=169.0)
                result = FindResult(
                    finder="text", frame_seq=7, proposals=[seen], left_out=0, took_s=0.5
                )
            case "zone.list":
                result = ZonesResult(stream=request.stream, zones=[])
            case "describe" | "metrics":
                return {"op": request.op}
            case "stream.add" | "stream.remove" | "stream.pause" | "stream.resume" if self.unsaved:
                result = ChangeResult(durable=False, reason=self.unsaved)
            case _:
                return {}
        return result.model_dump(mode="json")


@contextmanager
def daemon(control: str = "tcp://127.0.0.1:*", **config: object) -> Iterator[FakeDaemon]:
    """A daemon on free ports; `config` is that of its data sockets."""
    with tracked_frames.publishing(**config) as publisher:
        fake = FakeDaemon(publisher, data=publisher.endpoint)
        with control_clients.running(fake.answer, bind=control) as running:
            fake.control = running.endpoint
            yield fake


def unknown_stream(stream: str) -> RequestError:
    return RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}", "there are cam1")


@contextmanager
def router(serve: Callable[["zmq.Socket[bytes]", list[bytes]], None]) -> Iterator[str]:
    """A ROUTER that gives each message to `serve`; for replies that no daemon would send."""
    stop = threading.Event()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.router_handover = True
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def loop() -> None:
            while not stop.is_set():
                if socket.poll(20):
                    serve(socket, socket.recv_multipart())

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            stop.set()
            thread.join()


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
