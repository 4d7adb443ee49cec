"""Identity: how sure it is that a look is that of an object, 0..1.

The relative similarity of TLD (Kalal, Mikolajczyk and Matas, 2012), of distances: how near a look
is to the object's gallery, against how near it is to that of anything else. Where nothing else is
near, the distance at which things differ as a rule stands in its place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracker.engine.appearance import Descriptors
from tracker.engine.gallery import Gallery

ALIKE = 0.25  # of the distance of different things: nearer ones are not told apart

Floats = NDArray[np.float32]


def identity(
    looks_nd: Descriptors, gallery: Gallery, others: Sequence[Gallery], different: float
) -> Floats:
    """Identity [n] of n looks with one object, beside galleries of others.

    `different` is the distance at which looks are as likely of one object as of two.
    """
    other_n = gallery.distractors.nearest(looks_nd)
    for other in others:
        other_n = np.minimum(other_n, other.own.nearest(looks_nd))
    room_n = np.full(len(looks_nd), max(different, gallery.spread), np.float32)
    return relative_similarity(gallery.own.nearest(looks_nd), other_n, room_n)


def identities(
    looks_nd: Descriptors, own_n: Sequence[int], all_of: Sequence[Gallery], different: float
) -> Floats:
    """Identity [n] of n looks, each with an object of its own; an empty gallery knows nothing: 0.

    Args:
        looks_nd: One of each object.
        own_n: Which of all galleries is the object's own.
        all_of: Galleries of all objects.
        different: As for `identity`.
    """
    row_n, own = np.arange(len(looks_nd)), np.array(own_n, np.int64)
    near_ng = np.stack([gallery.own.nearest(looks_nd) for gallery in all_of], axis=1)
    nearest_own_n = near_ng[row_n, own]
    near_ng[row_n, own] = [
        all_of[index].distractors.nearest(looks_nd[i : i + 1])[0] for i, index in enumerate(own_n)
    ]
    room_n = np.array([max(different, all_of[index].spread) for index in own_n], np.float32)
    return relative_similarity(nearest_own_n, near_ng.min(axis=1), room_n)


def relative_similarity(own_n: Floats, other_n: Floats, room_n: Floats) -> Floats:
    """How much nearer looks are to their own gallery than to others, 0..1; 0.5 for as near.

    Others count from a quarter of `room_n` on, so that a twin leaves something, and up to it.
    """
    limit_n = np.clip(other_n, ALIKE * room_n, room_n) ** 2
    return np.asarray(limit_n / (limit_n + own_n**2), np.float32)
