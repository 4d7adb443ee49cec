"""Re-detection: a search of the whole picture for an object that is lost, or taken for another.

As in long-term trackers (TLD, LTMU) local tracking is left alone, and a detector finds the object
again: windows whose features look like the gallery are clicked on, the decoder, which remembers the
object, makes masks of the clicks, and the masks' looks are compared with the gallery and with
distractors. What does not win by a margin is not taken.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.engine.appearance import Windows, describe, describe_windows
from tracker.engine.gallery import Gallery
from tracker.engine.identity import identity
from tracker.engine.memory_bank import MemoryBank
from tracker.engine.objects import ObjectTable, TrackedObject
from tracker.engine.policy import Policy
from tracker.engine.prompt_raster import rasterize_prompts
from tracker.engine.recognition import RECOGNISED, SURE
from tracker.models import Model
from tracker.models.base import Clicks, Decoded, Features

SEARCH_EVERY = 2  # steps from one search to the next
PROPOSALS = 3  # windows that are clicked on
WINDOW_SHARE = 0.8  # of the object's usual side
DOUBTED_FRAMES = 2  # of doubt, after which a tracked object is looked for
MARGIN = 0.15  # identity by which the best mask must beat the next, and that of a doubted object
AREA_TIMES = 4.0  # what is found is at most so many times larger or smaller than usual
APART_IOU = 0.3  # masks that overlap less are of different things
SURELY_THERE = 3.0  # object score logit of what was found, a score of 0.95
DISTRACTOR_EVERY = 8  # steps from one search for a distractor to the next


@dataclass(frozen=True, slots=True)
class Redetection:
    """A search for one object on the newest frame.

    Attributes:
        model: The network.
        policy: Limits and choices.
        bank: Memories of the objects.
        objects: The objects.
        different: The model's `look_distance`.
    """

    model: Model
    policy: Policy
    bank: MemoryBank
    objects: ObjectTable
    different: float

    def search(self, step: int, features: Features) -> None:
        """Look for one of the objects that are absent or doubted; in turn, one a step."""
        missing = [obj for obj in self.objects.rows if self._is_missing(obj, step)]
        if missing and step % SEARCH_EVERY:
            return
        if missing:
            missing.sort(key=lambda obj: obj.id)
            turn = step // SEARCH_EVERY % len(missing)
            self._redetect(missing[turn], step, features)
        elif step % DISTRACTOR_EVERY == 0 and len(self.objects):
            turn = step // DISTRACTOR_EVERY % len(self.objects)
            self._learn_distractor(self.objects.rows[turn], step, features)

    def _is_missing(self, obj: TrackedObject, step: int) -> bool:
        """True if an object is absent, or another may have its mask."""
        if obj.tracked_step != step or not 0 <= obj.gallery.newest_step < step:
            return False
        return obj.identity is None or obj.doubted >= DOUBTED_FRAMES

    def _redetect(self, obj: TrackedObject, step: int, features: Features) -> None:
        """Look for an object, and take it where it is found."""
        side = WINDOW_SHARE * obj.gallery.usual_area**0.5
        windows = describe_windows(features, side)
        clicks_k2 = self._proposals(obj, windows)
        if not len(clicks_k2):
            return
        decoded = self._decode(obj, step, features, clicks_k2)
        found = self._choose(obj, features, decoded)
        if found is not None:
            index, sure = found
            self._take(obj, step, features, decoded.row(index), sure)

    def _others(self, obj: TrackedObject) -> list[Gallery]:
        return [other.gallery for other in self.objects.rows if other is not obj]

    def _proposals(self, obj: TrackedObject, windows: Windows) -> NDArray[np.float32]:
        """Centres of the windows that look most like an object, apart, as fractions [k, 2]."""
        near_q = obj.gallery.own.nearest(windows.descriptors_qd)
        near_q[_covered(windows.centres_q2, self._taken(obj))] = np.inf
        chosen: list[int] = []
        while len(chosen) < PROPOSALS and np.isfinite(near_q).any():
            chosen.append(int(near_q.argmin()))
            away_q = np.abs(windows.centres_q2 - windows.centres_q2[chosen[-1]]).max(axis=1)
            near_q[away_q < windows.side / 2] = np.inf
        return windows.centres_q2[chosen]

    def _taken(self, obj: TrackedObject) -> Tensor:
        """Low-resolution pixels of all shown objects, bool [s, s]."""
        side = self.model.network.mask_side
        taken_ss = torch.zeros(side, side, dtype=torch.bool, device=self.model.device)
        for other in self.objects.rows:
            if other.outputs and other.identity is not None:
                taken_ss |= other.outputs[-1].decoded.logits_n1ss[0, 0] > 0
        return taken_ss

    def _decode(
        self, obj: TrackedObject, step: int, features: Features, clicks_k2: NDArray[np.float32]
    ) -> Decoded:
        """Masks of clicks on a frame, one each, of an object that is remembered."""
        network, row = self.model.network, self.objects.row(obj.id)
        assert row is not None
        conditioned_1chw = network.condition(features, [self.bank.recall(np.array([row]), step)])
        count, size = len(clicks_k2), self.model.input.size
        coords_k12 = torch.from_numpy(clicks_k2[:, None] * np.float32(size)).to(self.model.device)
        clicks = Clicks(coords_k12, torch.ones_like(coords_k12[..., 0], dtype=torch.int32))
        previous = None
        if self.policy.draw_prompts and network.capabilities.draws_prompts:
            previous = rasterize_prompts(clicks, None, size=size, side=network.mask_side)
        return network.decode(
            features,
            conditioned_1chw.expand(count, -1, -1, -1).contiguous(),
            clicks=clicks,
            previous_n1ss=previous,
            shows_masks=self.policy.draw_prompts,
        )

    def _choose(
        self, obj: TrackedObject, features: Features, decoded: Decoded
    ) -> tuple[int, float] | None:
        """The mask that is the object, and its identity; None where none is, or several are."""
        looks_kd = describe(features, decoded.logits_n1ss)
        identity_k = identity(looks_kd, obj.gallery, self._others(obj), self.different)
        times_k = np.array(decoded.area_fractions()) / obj.gallery.usual_area
        serves_k = (times_k <= AREA_TIMES) & (times_k >= 1 / AREA_TIMES)
        if obj.identity is not None:
            now_11ss = obj.outputs[-1].decoded.logits_n1ss
            serves_k &= _overlaps(decoded.logits_n1ss, now_11ss) < APART_IOU
        identity_k[~serves_k] = 0
        best = int(identity_k.argmax())
        least = RECOGNISED if obj.identity is None else max(SURE, obj.identity + MARGIN)
        if identity_k[best] < least:
            return None
        overlap_k = _overlaps(decoded.logits_n1ss, decoded.logits_n1ss[best : best + 1])
        rivals_k = identity_k[overlap_k < APART_IOU]
        if rivals_k.size and rivals_k.max() > identity_k[best] - MARGIN:
            return None
        return best, float(identity_k[best])

    def _take(
        self, obj: TrackedObject, step: int, features: Features, decoded: Decoded, sure: float
    ) -> None:
        """Have an object be where it was found; what it remembers of doubtful frames goes."""
        row = self.objects.row(obj.id)
        assert row is not None
        rows = np.array([row])
        for doubtful in range(step - min(obj.doubted, self.bank.shape.recent_ring) + 1, step):
            self.bank.forget(rows, doubtful)
        decoded = replace(decoded, presence_n1=decoded.presence_n1.clamp(min=SURELY_THERE))
        memory_1qm = self.model.network.encode_memory(features, decoded, from_prompt=False)
        self.bank.write(rows, step, memory_1qm, decoded.pointers_nc)
        obj.put(step, decoded)
        obj.identity, obj.doubted = sure, 0

    def _learn_distractor(self, obj: TrackedObject, step: int, features: Features) -> None:
        """Keep what looks most like an object elsewhere, while it is surely seen."""
        if obj.tracked_step != step or obj.identity is None or obj.identity < SURE:
            return
        area = obj.gallery.usual_area
        windows = describe_windows(features, WINDOW_SHARE * area**0.5)
        near_q = obj.gallery.own.nearest(windows.descriptors_qd)
        mask_ss = obj.outputs[-1].decoded.logits_n1ss[0, 0] > 0
        near_q[_near(windows, mask_ss)] = np.inf
        if np.isfinite(near_q).any():
            best = int(near_q.argmin())
            obj.gallery.add_distractor(step, area, windows.descriptors_qd[best])


def _covered(centres_q2: NDArray[np.float32], mask_ss: Tensor) -> NDArray[np.bool_]:
    """Which points lie on a mask."""
    side = mask_ss.shape[-1]
    x_q, y_q = np.clip((centres_q2 * side).astype(np.int64), 0, side - 1).T
    return np.asarray(mask_ss.cpu().numpy()[y_q, x_q], np.bool_)


def _near(windows: Windows, mask_ss: Tensor) -> NDArray[np.bool_]:
    """Which windows touch the box of a mask."""
    inside_ss = mask_ss.cpu().numpy()
    side = inside_ss.shape[-1]
    rows, columns = np.flatnonzero(inside_ss.any(axis=1)), np.flatnonzero(inside_ss.any(axis=0))
    if not rows.size:
        return np.zeros(len(windows.centres_q2), np.bool_)
    low = np.array([columns[0], rows[0]]) / side - windows.side / 2
    high = np.array([columns[-1] + 1, rows[-1] + 1]) / side + windows.side / 2
    return np.asarray(((windows.centres_q2 > low) & (windows.centres_q2 < high)).all(axis=1))


def _overlaps(logits_n1ss: Tensor, other_11ss: Tensor) -> NDArray[np.float32]:
    """Intersection over union [n] of each mask with another."""
    masks_n1ss, other_11ss = logits_n1ss > 0, other_11ss > 0
    both_n = (masks_n1ss & other_11ss).sum(dim=(1, 2, 3))
    either_n = (masks_n1ss | other_11ss).sum(dim=(1, 2, 3)).clamp(min=1)
    return np.asarray((both_n / either_n).cpu().numpy(), np.float32)
