"""Recognition of objects by their galleries: on each frame whether each is still the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tracker.engine.appearance import Descriptors, describe
from tracker.engine.identity import identities
from tracker.engine.masks import OUTSIDE_LOGIT
from tracker.engine.memory_bank import Rows
from tracker.engine.objects import ObjectTable, TrackedObject
from tracker.engine.policy import Policy
from tracker.engine.visibility import SHOWN
from tracker.models.base import Decoded, Features

SURE = 0.5  # identity of an object that is surely the same, at least
RECOGNISED = 0.45  # identity with which an object comes back, at least
RECOGNISED_SOON = 0.2  # the same for one that was absent for `SOON` frames at most
SOON = 3
MIN_IOU = 0.5  # predicted quality of a mask whose look is kept, at least
LEARNED_FRAMES = 5  # after its first look, on which an object is taken to be the same
GALLERY_GAP = 2  # steps from one look that is kept to the next, at least
CHANGED_AFTER = 30  # frames of doubt after which the object has changed, and is not another
ABSENT_LOGIT = -3.0  # object score logit of what was not recognised, a score of 0.05


@dataclass(frozen=True, slots=True)
class Recognition:
    """Comparison of masks with galleries, which it keeps.

    Attributes:
        policy: Limits and choices.
        objects: The objects.
        different: The model's `look_distance`.
    """

    policy: Policy
    objects: ObjectTable
    different: float

    def check(self, rows: Rows, step: int, features: Features, decoded: Decoded) -> Decoded:
        """Give tracked objects their identity; what is not recognised on its return is absent."""
        objects = [self.objects.rows[row] for row in rows]
        looks_nd = describe(features, decoded.logits_n1ss)
        galleries = [obj.gallery for obj in self.objects.rows]
        identity_n = identities(looks_nd, rows.tolist(), galleries, self.different)
        there_n = (decoded.presence_n1[:, 0] > 0).tolist()
        good_n = (decoded.iou_n >= MIN_IOU).tolist()
        areas = decoded.area_fractions()
        refused = []
        for i, obj in enumerate(objects):
            sure = identity_n[i] >= SURE
            refused.append(there_n[i] and identity_n[i] < self._least_to_return(obj))
            shown = there_n[i] and not refused[i]
            known = shown and len(obj.gallery) > 0
            obj.identity = float(identity_n[i]) if known else None
            obj.doubted = obj.doubted + 1 if known and not sure else 0
            if shown and good_n[i] and (sure or self._is_trusted(obj, step)):
                self._keep(obj, step, areas[i], looks_nd[i])
        return absent(decoded, refused) if any(refused) else decoded

    def learn(self, obj: TrackedObject, step: int, features: Features, decoded: Decoded) -> None:
        """Keep the look of an object where it was prompted, in place of all that came after."""
        obj.gallery.forget_since(step)
        obj.identity, obj.doubted = None, 0
        if decoded.areas()[0]:
            obj.identity = 1.0
            look_1d = describe(features, decoded.logits_n1ss)
            (area,) = decoded.area_fractions()
            obj.gallery.add(step, area, look_1d[0], self.policy.gallery_entries)

    def _least_to_return(self, obj: TrackedObject) -> float:
        """Identity without which an object does not come back; 0 for one that was not away."""
        away = obj.presence.state not in SHOWN
        if not (self.policy.redetect and away and len(obj.gallery)):
            return 0.0
        return RECOGNISED_SOON if obj.presence.absent <= SOON else RECOGNISED

    def _is_trusted(self, obj: TrackedObject, step: int) -> bool:
        """True if a look unlike those before is taken for the object's own: new, or lasting."""
        own = obj.gallery.own
        new = not len(own) or step - own.steps[0] <= LEARNED_FRAMES
        return new or obj.doubted >= CHANGED_AFTER

    def _keep(self, obj: TrackedObject, step: int, area: float, look_d: Descriptors) -> None:
        if step - obj.gallery.newest_step >= GALLERY_GAP:
            obj.gallery.add(step, area, look_d, self.policy.gallery_entries)
            obj.doubted = 0


def absent(decoded: Decoded, which_n: Sequence[bool]) -> Decoded:
    """Masks and scores in which some of the objects are absent."""
    there_n = ~torch.tensor(which_n, device=decoded.presence_n1.device)
    return replace(
        decoded,
        logits_n1ss=decoded.logits_n1ss.where(there_n[:, None, None, None], OUTSIDE_LOGIT),
        presence_n1=decoded.presence_n1.where(there_n[:, None], ABSENT_LOGIT),
    )
