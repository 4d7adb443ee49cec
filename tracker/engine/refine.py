"""Edge-aware refinement of coarse masks: the fast guided filter.

The guided filter (He, Sun and Tang, 2013), the fast way (He and Sun, 2015): around each pixel of a
mask its probabilities are fitted as a linear function of the picture's colours, and the functions
are applied to the picture itself, which is finer than the mask. Where the colours do not tell the
object from what is beside it, the mask is smoothed only.
"""

from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]

COARSE_SIDE = 128  # masks of more pixels, as official models give, have good edges of their own
RADIUS = 2  # pixels of a mask; of a square around each
LEAST_VARIANCE = 4e-4  # of colours 0..1: less is taken for noise
REACH = 2 * RADIUS + 2  # pixels of a mask, as far as another can matter, and one more
LEAST_LEFT = 0.5  # of a mask's pixels; less, and it was no matter of edges

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class GuidedFilter:
    """A picture that masks are to follow; what is computed of it serves all masks.

    Attributes:
        small_hwc: The picture as the network sees it, RGB uint8 [size, size, 3].
    """

    def __init__(self, small_hwc: NDArray[np.uint8], mask_side: int) -> None:
        """Prepare for masks of `mask_side` pixels a side, of which the picture's is a multiple."""
        self.small_hwc = small_hwc
        self._side = mask_side

    def follow(self, logits_n1ss: Tensor) -> Tensor:
        """Masks in greater detail.

        Args:
            logits_n1ss: float32, [n, 1, mask_side, mask_side].

        Returns:
            float32 [n, 1, size, size] on the CPU, above 0 where the objects are; no logits.
        """
        size = self.small_hwc.shape[0]
        finer = np.full((len(logits_n1ss), 1, size, size), -1.0, np.float32)
        for logits_ss, out_hw in zip(logits_n1ss[:, 0].cpu().numpy(), finer[:, 0], strict=True):
            self._follow_one(logits_ss, out_hw)
        return torch.from_numpy(finer)

    def _follow_one(self, logits_ss: Floats, out_hw: Floats) -> None:
        inside_ss = logits_ss > 0
        if not inside_ss.any():
            return
        rows, columns = (_span(np.asarray(inside_ss.any(axis=axis))) for axis in (1, 0))
        times = out_hw.shape[0] // logits_ss.shape[0]
        fine = tuple(slice(s.start * times, s.stop * times) for s in (rows, columns))
        factors_hw3, added_hw = self._fit(_probabilities(logits_ss[rows, columns]), rows, columns)
        colours_hw3 = self.small_hwc[fine].astype(np.float32)
        size = (colours_hw3.shape[1], colours_hw3.shape[0])
        finer_hw3 = np.asarray(cv2.resize(factors_hw3 / np.float32(255), size), np.float32)
        found_hw = _dot(finer_hw3, colours_hw3)
        found_hw += np.asarray(cv2.resize(added_hw, size), np.float32) - np.float32(0.5)
        if np.count_nonzero(found_hw > 0) >= LEAST_LEFT * times**2 * np.count_nonzero(inside_ss):
            out_hw[fine] = found_hw
        else:
            cv2.resize(logits_ss, out_hw.shape, dst=out_hw)

    def _fit(self, probability_hw: Floats, rows: slice, columns: slice) -> tuple[Floats, Floats]:
        """Factors of red, green and blue, and what is added, at the pixels of a part of a mask."""
        colours_hw3, means_hw3 = self._colours[rows, columns], self._means[rows, columns]
        mean_hw = _mean(probability_hw)
        covariance_hw3 = _mean(colours_hw3 * probability_hw[..., None])
        covariance_hw3 -= means_hw3 * mean_hw[..., None]
        inverse = (row_ss3[rows, columns] for row_ss3 in self._inverse)
        factors_hw3 = _merged([_dot(row_hw3, covariance_hw3) for row_hw3 in inverse])
        return _mean(factors_hw3), _mean(np.subtract(mean_hw, _dot(factors_hw3, means_hw3)))

    @cached_property
    def _colours(self) -> Floats:
        """The picture at the masks' resolution, 0..1, [s, s, 3]."""
        size = (self._side, self._side)
        coarse = cv2.resize(self.small_hwc, size, interpolation=cv2.INTER_AREA)
        return np.asarray(coarse / np.float32(255), np.float32)

    @cached_property
    def _means(self) -> Floats:
        return _mean(self._colours)

    @cached_property
    def _inverse(self) -> tuple[Floats, ...]:
        """Inverses of the covariances of colours around each pixel, three rows [s, s, 3]."""
        colours, means = self._colours, self._means
        products = np.stack([colours[..., i] * colours[..., j] for i, j in _PAIRS], axis=-1)
        own = np.stack([means[..., i] * means[..., j] for i, j in _PAIRS], axis=-1)
        rr, rg, rb, gg, gb, bb = np.moveaxis(_mean(products) - own, -1, 0)
        rr, gg, bb = rr + LEAST_VARIANCE, gg + LEAST_VARIANCE, bb + LEAST_VARIANCE
        a, b, c = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
        d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        determinant = rr * a + rg * b + rb * c
        rows = ((a, b, c), (b, d, e), (c, e, f))
        return tuple(_merged([cofactor / determinant for cofactor in row]) for row in rows)


def _mean(values: Floats) -> Floats:
    """The mean of the square around each pixel, channel by channel."""
    side = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side)), np.float32)


def _merged(channels: list[Floats]) -> Floats:
    return np.asarray(cv2.merge(channels), np.float32)


def _dot(a_hw3: Floats, b_hw3: Floats) -> Floats:
    """Products of vectors; numpy takes five times as long to add up three numbers."""
    products_hw3 = cv2.multiply(a_hw3, b_hw3)
    return np.asarray(cv2.transform(products_hw3, np.ones((1, 3), np.float32)), np.float32)


def _probabilities(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -10, 10))), np.float32)


def _span(inside_s: NDArray[np.bool_]) -> slice:
    at = np.flatnonzero(inside_s)
    return slice(max(0, int(at[0]) - REACH), min(len(inside_s), int(at[-1]) + 1 + REACH))
