"""Tracked frames without a tracker: a video, and what `--coco-frames` wrote of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from streams import open_source
from streams.frame import Frame
from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult


def recorded_frames(video: str, masks: Path) -> Iterator[tuple[Frame, TrackResult]]:
    """The frames that the masks are of, with their objects."""
    content = json.loads(masks.read_text(encoding="utf-8"))
    by_frame: dict[int, list[dict[str, Any]]] = {image["frame"]: [] for image in content["images"]}
    numbers = {image["id"]: image["frame"] for image in content["images"]}
    for annotation in content["annotations"]:
        by_frame[numbers[annotation["image_id"]]].append(annotation)
    with open_source(video) as source:
        for frame in source:
            if frame.seq > max(by_frame):
                return
            if frame.seq in by_frame:
                objects = tuple(map(_object, by_frame[frame.seq]))
                yield frame, TrackResult(frame.seq, objects, StageTimes(0, 0))


def _object(annotation: dict[str, Any]) -> ObjectResult:
    x, y, w, h = annotation["bbox"]
    mask_hw = np.asarray(coco_mask.decode(annotation["segmentation"]), np.bool_)
    score = annotation["score"]
    box = (x, y, x + w, y + h)
    return ObjectResult(
        annotation["track_id"], None, ObjectState.VISIBLE, score, score, box, mask_hw
    )
