"""Constants that one machine can measure: `python -m tools.simulate.measure > here.yaml`.

Times are medians of processor time, which other programs disturb least; torch has one thread.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
import zmq
from numpy.typing import NDArray

from streams import open_source
from tools.bench.footage import Images, find_clip, first_frames, square_masks
from tools.bench.models import load
from tracker.daemon.publish.preview import encode_preview
from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.protocol.fields import Message, Preview
from tracker.types import Prompt

_FRAMES = 70  # more than the history of a session holds
_DECODED = 20
_REQUESTS = 3000
_ROWS = 20
_PARSED = 200


class _Row(Message):
    """A stream in a heartbeat, as much as placement and the directory need."""

    stream: str
    owner_epoch: int
    state: str
    objects: int
    ms_per_frame: float
    snapshot_s: float


class _Heartbeat(Message):
    """A node's heartbeat."""

    node: str
    boot: str
    streams: list[_Row]


class _Lookup(Message):
    """A client's request to a directory."""

    id: str
    op: str
    stream: str


def main() -> int:
    """Measure, and print the constants as YAML."""
    print("measure: about a minute", file=sys.stderr)
    torch.set_num_threads(1)
    frames_nhwc = first_frames(find_clip(None), _FRAMES, None)
    model, _ = load("pico", "cpu", "auto")
    found = {**_preview(frames_nhwc[0]), **_decoding()}
    for objects in (1, 4):
        found |= _snapshot(model, frames_nhwc, objects)
    found |= {**_heartbeat(), **_router()}
    print(yaml.safe_dump({name: float(f"{value:.3g}") for name, value in found.items()}), end="")
    return 0


def _median_ms(work: Callable[[], object], times: int) -> float:
    """Median of the processor time of a call, in milliseconds, after one that does not count."""
    work()
    return statistics.median(_times_ms(work, times))


def _times_ms(work: Callable[[], object], times: int) -> Iterator[float]:
    for _ in range(times):
        begun_s = time.process_time()
        work()
        yield (time.process_time() - begun_s) * 1000


def _decoding() -> dict[str, float]:
    """Processor time of all threads for a frame of 1280x720, from a file to RGB."""
    with open_source(str(find_clip(None))) as source:
        frames = iter(source)
        return {
            "decode_ms": _median_ms(lambda: [next(frames) for _ in range(_DECODED)], 3) / _DECODED
        }


def _preview(image_hwc: NDArray[np.uint8]) -> dict[str, float]:
    """Bytes of a preview with the default settings."""
    jpeg, _ = encode_preview(image_hwc, Preview())
    return {"preview_bytes": len(jpeg)}


def _snapshot(model: Model, frames_nhwc: Images, objects: int) -> dict[str, float]:
    """Bytes and milliseconds of a session whose memory and history are full."""
    session = Session(model, replace(Policy(), max_objects=objects))
    session.step(frames_nhwc[0])
    for number, mask_hw in enumerate(square_masks(objects, *frames_nhwc.shape[1:3]), start=1):
        session.prompt(Prompt(number, mask_hw=mask_hw))
    for image_hwc in frames_nhwc[1:]:
        session.step(image_hwc)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot"
        session.save(path)
        size = path.stat().st_size
        restore_ms = _median_ms(lambda: Session.load(path, model), 5)
    return {
        f"snapshot_bytes_{objects}": size,
        f"snapshot_ms_{objects}": _median_ms(session.to_bytes, 5),
        f"restore_ms_{objects}": restore_ms,
    }


def _heartbeat() -> dict[str, float]:
    """Bytes and parsing of a stream's row in a heartbeat; the rest of it is a request."""
    short, long = _heartbeat_json(0), _heartbeat_json(_ROWS)
    rows_ms = _median_ms(lambda: _parse_often(long), 9) - _median_ms(lambda: _parse_often(short), 9)
    return {
        "heartbeat_stream_bytes": (len(long) - len(short)) / _ROWS,
        "heartbeat_stream_ms": rows_ms / _ROWS / _PARSED,
    }


def _heartbeat_json(rows: int) -> bytes:
    row = _Row(
        stream="camera-00001",
        owner_epoch=3,
        state="running",
        objects=4,
        ms_per_frame=41.27,
        snapshot_s=1790000000.25,
    )
    beat = _Heartbeat(node="node-0001", boot="0f3a9c1b22de", streams=[row] * rows)
    return beat.model_dump_json().encode()


def _parse_often(data: bytes) -> None:
    for _ in range(_PARSED):
        _Heartbeat.model_validate_json(data)


def _router() -> dict[str, float]:
    """Processor time of a ROUTER's loop for a request: receive, parse, look up, answer."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    asking = threading.Thread(target=_ask, args=(context, port))
    asking.start()
    owners = {f"camera-{index:05}": f"node-{index:04}" for index in range(10_000)}
    begun_s = time.thread_time()
    for _ in range(_REQUESTS):
        client, _, body = router.recv_multipart()
        request = _Lookup.model_validate_json(body)
        reply = {"id": request.id, "ok": True, "result": {"node": owners[request.stream]}}
        router.send_multipart([client, b"", json.dumps(reply).encode()])
    used_s = time.thread_time() - begun_s
    asking.join()
    context.destroy()
    return {"request_ms": used_s / _REQUESTS * 1000}


def _ask(context: zmq.Context[zmq.Socket[bytes]], port: int) -> None:
    """Ask the router so many times, in turns, as REQ sockets do."""
    asking = context.socket(zmq.REQ)
    asking.connect(f"tcp://127.0.0.1:{port}")
    for number in range(_REQUESTS):
        stream = f"camera-{number:05}"
        asking.send_json({"id": str(number), "op": "directory.find", "stream": stream})
        asking.recv()


if __name__ == "__main__":
    raise SystemExit(main())
