"""Scores of a network on the videos that it never trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from tools.evaluate.metrics import boundary_f, region_j
from tools.evaluate.prompting import PromptKind, prompt_from_mask
from tools.train.pack_format import VideoFrame
from tools.train.packed import Pack
from tools.train.scene import Picture
from tracker.engine import Session
from tracker.errors import TrackdError
from tracker.models import Model


def held_out_scores(
    model: Model, pack: Pack, names: Sequence[str], most_frames: int
) -> Mapping[PromptKind, float]:
    """Mean J&F over the videos for each kind of prompt on their first frame.

    As `tools.evaluate`, but one session tracks an object from each kind at once, and only the
    first frames count.

    Raises:
        TrackdError: The object is not on the first frame of a video.
    """
    videos = {n: v for source in pack.index.videos.values() for n, v in source.items()}
    rows = [_score_video(model, pack, name, videos[name][:most_frames]) for name in names]
    return {kind: float(np.mean([row[kind] for row in rows])) for kind in PromptKind}


def _score_video(
    model: Model, pack: Pack, name: str, frames: Sequence[VideoFrame]
) -> dict[PromptKind, float]:
    session = Session(model)
    session.step(_rgb(pack, frames[0]))
    first = pack.mask(frames[0].mask) > 0
    if not first.any():
        raise TrackdError(f"the first mask of {name} is empty", "hold out another video")
    for object_id, kind in enumerate(PromptKind, 1):
        session.prompt(replace(prompt_from_mask(first, kind), object_id=object_id))
    scores: dict[PromptKind, list[float]] = {kind: [] for kind in PromptKind}
    for frame in frames[1:-1]:
        objects = session.step(_rgb(pack, frame)).objects
        truth = pack.mask(frame.mask) > 0
        for kind, found in zip(PromptKind, objects, strict=True):
            j, f = region_j(found.mask_hw, truth), boundary_f(found.mask_hw, truth)
            scores[kind].append((j + f) / 2)
    return {kind: float(np.mean(values)) for kind, values in scores.items()}


def _rgb(pack: Pack, frame: VideoFrame) -> Picture:
    return np.asarray(cv2.cvtColor(pack.image(frame.image), cv2.COLOR_BGR2RGB), np.uint8)
