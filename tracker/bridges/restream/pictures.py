"""Pictures as they are sent: with effects, and with what is to be hidden hidden."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from streams.live_writer import TIME_BASE
from tracker.bridges.restream.timeline import Timeline
from tracker.bridges.scenes import Scene
from tracker.effects.base import EffectRequest, EffectSpec, Shot, Target
from tracker.effects.chain import EffectChain
from tracker.effects.edges import signed_distance
from tracker.effects.region import RegionStage, blurred, pixelated
from tracker.errors import TrackdError
from tracker.protocol.data import ObjectMessage
from tracker.types import ObjectResult, StageTimes, TrackResult

ALL = "all"
_FPS = 30.0
_STYLES = {"blur": blurred, "pixelate": pixelated}


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """What of the pictures nobody may see.

    Attributes:
        targets: Labels and ids of objects; "all" for every object.
        style: How it is hidden.
        hides_unsure: A picture on which one of them has no mask of its own is hidden as a whole.
    """

    targets: frozenset[str]
    style: Literal["blur", "pixelate"] = "blur"
    hides_unsure: bool = True

    def has(self, item: ObjectMessage) -> bool:
        """True for an object that is to be hidden."""
        return bool(self.targets & {ALL, str(item.id), item.label})

    def is_unsure(self, objects: Sequence[ObjectMessage]) -> bool:
        """True where it is not known where all of it is.

        One of the objects is not in sight, by the tracker's word, or had no turn on this frame; or
        there is none of a name.
        """
        hidden = [item for item in objects if self.has(item)]
        names = {ALL if hidden else ""} | {str(i.id) for i in hidden} | {i.label for i in hidden}
        return not self.targets <= names or any(item.box is None for item in hidden)


class Pictures:
    """Makes finished pictures of scenes.

    Args:
        effects: Drawn one after the other.
        hiding: Done before them; None hides nothing.
    """

    def __init__(
        self, effects: Sequence[tuple[EffectSpec, EffectRequest]], hiding: Hiding | None
    ) -> None:
        self._hiding = hiding
        self._chain = EffectChain(effects, _FPS)
        self._timeline = Timeline()

    def of(self, scene: Scene) -> Iterator[Shot]:
        """The shots that are finished by now, with steady times; some effects look ahead.

        Raises:
            TrackdError: The picture or its masks are damaged: it is not to be sent.
        """
        stamp = scene.picture.message.frame
        pts = round(self._timeline.at(stamp) / TIME_BASE)
        image_hwc = _decoded(scene)
        frame = Frame(scene.result.stream, stamp.seq, pts, TIME_BASE, stamp.captured_ns, image_hwc)
        objects = tuple(_result(scene, item) for item in scene.result.objects)
        if self._hiding is not None:
            hidden_hwc = _hidden(self._hiding, scene.result.objects, objects, frame)
            frame = replace(frame, image=hidden_hwc)
        yield from self._chain.push(frame, TrackResult(stamp.seq, objects, StageTimes(0.0, 0.0)))


def _hidden(
    hiding: Hiding,
    messages: Sequence[ObjectMessage],
    objects: Sequence[ObjectResult],
    frame: Frame,
) -> NDArray[np.uint8]:
    """The picture of a frame without what nobody may see."""
    restyle = _STYLES[hiding.style]
    if hiding.hides_unsure and hiding.is_unsure(messages):
        return restyle(frame.image)
    pairs = zip(messages, objects, strict=True)
    shown = tuple(
        item if message.value is None else _whole_box(item)
        for message, item in pairs
        if hiding.has(message) and message.box
    )
    distances = {item.id: signed_distance(item) for item in shown}
    stage = RegionStage(restyle, Target(), hides=True)
    (shot,) = stage.push(Shot(frame, frame.image, shown, distances))
    return shot.image_hwc


def _whole_box(item: ObjectResult) -> ObjectResult:
    """An object of a label map, where others may have taken its pixels: all of its box is its."""
    assert item.box_xyxy is not None
    x0, y0, x1, y1 = item.box_xyxy
    mask_hw = np.zeros_like(item.mask_hw)
    mask_hw[y0:y1, x0:x1] = True
    return replace(item, mask_hw=mask_hw)


def _decoded(scene: Scene) -> NDArray[np.uint8]:
    """The picture as uint8 RGB [H, W, 3]."""
    data = np.frombuffer(scene.picture.jpeg, np.uint8)
    image_hwc = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image_hwc is None or image_hwc.shape[1::-1] != scene.size_wh:
        raise TrackdError(f"the picture of frame {scene.picture.message.frame.seq} is damaged")
    return np.asarray(cv2.cvtColor(image_hwc, cv2.COLOR_BGR2RGB), np.uint8)


def _result(scene: Scene, item: ObjectMessage) -> ObjectResult:
    """An object at the size of the picture, as effects have it."""
    width, height = scene.size_wh
    box, mask_hw = None, np.zeros((height, width), np.bool_)
    if item.box is not None:
        mask_hw = scene.mask(item.id)
        x0, y0, x1, y1 = scene.box(item)
        box = (math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1))
        if not mask_hw.any():
            raise TrackdError(f"object {item.id} has a box and no mask")
    return ObjectResult(
        item.id, item.label, item.state, item.score, 0.0, box, mask_hw, item.updated, item.identity
    )
