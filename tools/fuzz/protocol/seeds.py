"""A proper request of each operation, to be spoiled."""

from typing import Any

STEADY = "steady"
"""The stream that is tracked all the while: it is prompted, but never taken away."""

STREAMS = ("hostile-1", "hostile-2")
"""Streams that are added on the way."""

URLS = (
    "lavfi:testsrc2=size=64x48:rate=5",
    "lavfi:nonsense",
    "rtsp://u:secret@127.0.0.1:1/",
    "http://127.0.0.1:1/a.m3u8",
    "/no/such/file",
    "gopher://127.0.0.1/",
    "webcam:99",
    "",
)
"""The only addresses that are sent: a spoiled one may be of another machine, or a file's."""

_BOX = [4.0, 6.0, 50.5, 40.0]
_POINTS = [[10, 12], [30.5, 20]]
_PIECE: dict[str, Any] = {"digest": "0" * 64, "size": 3, "offset": 0, "data": "AAAA"}
_MASK = {"size": [48, 64], "counts": "P1`0"}

SEEDS: tuple[dict[str, Any], ...] = (
    {"op": "ping"},
    {"op": "describe"},
    {"op": "metrics"},
    {"op": "stream.list"},
    {
        "op": "stream.add",
        "stream": STREAMS[0],
        "url": URLS[0],
        "policy": "latest",
        "realtime": True,
        "loop": False,
        "encoding": "bits",
        "preview": {"fps": 5.0, "max_side_px": 64, "quality": 80},
        "open_timeout_s": 1.0,
        "stall_timeout_s": 1.0,
        "deadline": {"fps": 5},
        "measure": {"rotated_box": True, "velocity": True, "prediction": True},
        "zones": {"gate": {"line": [[0, 24], [64, 24]]}},
        "owner_epoch": 2,
    },
    {"op": "stream.remove", "stream": STREAMS[0], "owner_epoch": 3},
    {"op": "stream.add", "stream": STREAMS[1], "url": URLS[2]},
    *(
        {"op": f"stream.{what}", "stream": stream}
        for what in ("remove", "pause", "resume")
        for stream in STREAMS
    ),
    *({"op": "stream.move", "stream": stream, "worker": "0"} for stream in STREAMS),
    *({"op": "stream.record", "stream": stream, "on": True} for stream in STREAMS),
    {"op": "prompt", "stream": STEADY, "object": 1, "box": _BOX, "label": "cup"},
    {
        "op": "prompt",
        "stream": STEADY,
        "points": _POINTS,
        "labels": [1, 0],
        "frame": {"seq": 7},
        "wait_s": 0.1,
    },
    {
        "op": "prompt",
        "stream": STEADY,
        "box": [0.1, 0.1, 0.9, 0.9],
        "normalized": True,
        "draft": True,
        "return_mask": True,
        "defer_replay": True,
    },
    {"op": "prompt", "stream": STREAMS[0], "points": _POINTS, "wait_s": 1},
    {"op": "prompt", "stream": STEADY, "object": 2, "mask": _MASK},
    {
        "op": "object.correct",
        "stream": STEADY,
        "object": 1,
        "points": _POINTS,
        "frame": {"captured_ns": "1790000000000000000", "epoch": "0a"},
    },
    {"op": "prompt", "stream": STEADY, "text": "red car", "finder": "text", "label": "car"},
    {"op": "find", "stream": STEADY, "finder": "motion", "min_score": 0.5, "max_proposals": 4},
    {"op": "find", "stream": STREAMS[0], "finder": "text", "text": "cat . dog", "wait_s": 1},
    {"op": "object.accept", "stream": STEADY, "object": 2},
    {"op": "object.remove", "stream": STEADY, "object": 2},
    {"op": "object.reset", "stream": STEADY, "object": 1},
    {"op": "object.relabel", "stream": STEADY, "object": 1, "label": "mug"},
    {"op": "object.list", "stream": STEADY},
    {
        "op": "zone.set",
        "stream": STEADY,
        "zone": "yard",
        "polygon": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]],
        "normalized": True,
        "labels": ["cup"],
        "objects": [1, 2],
        "anchor": "CENTER_OF_MASS",
        "dwell_s": 0.5,
        "min_frames": 1,
    },
    {"op": "zone.remove", "stream": STEADY, "zone": "yard"},
    {"op": "zone.list", "stream": STEADY},
    {"op": "snapshot.save", "stream": STEADY},
    {"op": "snapshot.restore", "stream": STEADY},
    {"op": "snapshot.read", "stream": STEADY, "offset": 0},
    {"op": "snapshot.write", "stream": STEADY, **_PIECE},
    {
        "op": "snapshot.restore",
        "stream": STREAMS[0],
        "digest": _PIECE["digest"],
        "objects": [{"id": 1, "label": "cup", "found": False}],
        "next_object_id": 2,
    },
)
