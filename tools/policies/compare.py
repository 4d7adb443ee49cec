"""Tracks a video with several policies at once and scores each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tools.evaluate.metrics import boundary_f, region_j
from tools.evaluate.prompting import PromptKind, prompt_from_mask
from tools.policies.video import Video
from tracker.engine import Policy, Session
from tracker.models import Model
from tracker.models.base import Features
from tracker.models.optim.graphs.network import GraphedNetwork
from tracker.models.sam2.adapter import Sam2Model

FOUND_IOU = 0.5
WHOLE = 0.5  # of the first frame's area: the object is back, not just an edge of it


@dataclass(frozen=True, slots=True)
class Named:
    """A policy and what the tables call it."""

    name: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class Score:
    """Score of a policy on a video; the first and the last frame are not scored for J and F.

    Attributes:
        group: The video's group.
        video: The video's name.
        prompt: How the object was shown on the first frame.
        policy: The policy's name.
        frames: Frames tracked.
        j: Mean region score.
        f: Mean boundary score.
        absent: Frames without the object.
        imagined: Those of them on which a mask was published.
        back: Frames after the last such, on which at least half of the object shows.
        found: Those of them with an IoU above one half.
    """

    group: str
    video: str
    prompt: PromptKind
    policy: str
    frames: int
    j: float
    f: float
    absent: int
    imagined: int
    back: int
    found: int


class SharedEncoder(Sam2Model):
    """A network that gives the picture that it has just encoded back without work.

    Sessions that take the same frame in turn then pay for it once.
    """

    _encoded: tuple[NDArray[np.uint8], Features] | None = None

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        """Features of a picture, RGB uint8 [size, size, 3]."""
        if self._encoded is None or not np.array_equal(self._encoded[0], picture_hwc):
            self._encoded = picture_hwc, super().encode_image(picture_hwc)
        return self._encoded[1]


def share_encodings(model: Model) -> Model:
    """The same model, whose sessions share the work on a frame that they take in turn."""
    network = model.network
    own = network.eager if isinstance(network, GraphedNetwork) else network
    assert isinstance(own, Sam2Model)
    shared = SharedEncoder(own.module, own.input, quantized=own.quantized, resizable=own.resizable)
    return replace(model, network=shared)


def compare(
    model: Model, policies: Iterable[Named], prompts: Iterable[PromptKind], video: Video
) -> tuple[Score, ...]:
    """Track a video once for each prompt, made from the first true mask, and policy."""
    runs = list(product(prompts, policies))
    per_frame = list(_track(model, runs, video))
    return tuple(
        score(video, prompt, named.name, tuple(masks[i] for masks in per_frame))
        for i, (prompt, named) in enumerate(runs)
    )


def _track(
    model: Model, runs: list[tuple[PromptKind, Named]], video: Video
) -> Iterator[tuple[NDArray[np.bool_], ...]]:
    """The masks of one frame after the other, one of each run."""
    sessions = [Session(model, named.policy) for _, named in runs]
    prompts = [prompt_from_mask(video.truths_hw[0], prompt) for prompt, _ in runs]
    for index, image_hwc in enumerate(video.images_hwc):
        masks = []
        for session, prompt in zip(sessions, prompts, strict=True):
            result = session.step(image_hwc)
            seen = result.objects[0] if index else session.prompt(prompt).object
            masks.append(seen.mask_hw)
        yield tuple(masks)


def score(
    video: Video, prompt: PromptKind, policy: str, masks_hw: tuple[NDArray[np.bool_], ...]
) -> Score:
    """Compare the published masks of a video, at least three frames, with its truth."""
    pairs = list(zip(masks_hw, video.truths_hw, strict=True))
    js = [float(region_j(mask_hw, truth_hw)) for mask_hw, truth_hw in pairs]
    absent = [index for index, truth_hw in enumerate(video.truths_hw) if not truth_hw.any()]
    whole = WHOLE * np.count_nonzero(video.truths_hw[0])
    back = [
        index
        for index in range(absent[-1] + 1 if absent else len(pairs), len(pairs))
        if np.count_nonzero(video.truths_hw[index]) >= whole
    ]
    return Score(
        group=video.group,
        video=video.name,
        prompt=prompt,
        policy=policy,
        frames=len(pairs),
        j=float(np.mean(js[1:-1])),
        f=float(np.mean([boundary_f(*pair) for pair in pairs[1:-1]])),
        absent=len(absent),
        imagined=sum(bool(masks_hw[index].any()) for index in absent),
        back=len(back),
        found=sum(js[index] > FOUND_IOU for index in back),
    )
