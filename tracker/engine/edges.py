"""Coarse masks that follow the edges of the picture.

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


class Guide:
    """A picture that masks are to follow; what is computed of it serves all masks.

    Attributes:
        small_hwc: The picture as the network sees it, RGB uint8 [size, size, 3].
    """

    def __init__(self, small_hwc: NDArray[np.uint8]) -> None:
        self.small_hwc = small_hwc

    def follow(self, logits_n1ss: Tensor) -> Tensor:
        """Masks in greater detail.

        Args:
            logits_n1ss: float32; s is a quarter of the picture's size.

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
        linear_hw4 = self._fit(_probabilities(logits_ss[rows, columns]), rows, columns)
        colours_hw3 = self.small_hwc[fine].astype(np.float32) / 255
        height, width = colours_hw3.shape[:2]
        finer_hw4 = cv2.resize(linear_hw4, (width, height), interpolation=cv2.INTER_LINEAR)
        found_hw = (finer_hw4[..., :3] * colours_hw3).sum(axis=-1) + finer_hw4[..., 3] - 0.5
        if np.count_nonzero(found_hw > 0) >= LEAST_LEFT * times**2 * np.count_nonzero(inside_ss):
            out_hw[fine] = found_hw
        else:
            cv2.resize(logits_ss, out_hw.shape, dst=out_hw, interpolation=cv2.INTER_LINEAR)

    def _fit(self, probability_hw: Floats, rows: slice, columns: slice) -> Floats:
        """Factors of red, green and blue, and what is added, at the pixels of a part of a mask."""
        colours_hw3, means_hw3 = self._colours[rows, columns], self._means[rows, columns]
        mean_hw = _mean(probability_hw)
        covariance_hw3 = _mean(colours_hw3 * probability_hw[..., None])
        covariance_hw3 -= means_hw3 * mean_hw[..., None]
        factors_hw3 = np.einsum("hwij,hwj->hwi", self._inverse[rows, columns], covariance_hw3)
        added_hw = mean_hw - (factors_hw3 * means_hw3).sum(axis=-1)
        return _mean(np.concatenate([factors_hw3, added_hw[..., None]], axis=-1))

    @cached_property
    def _colours(self) -> Floats:
        """The picture at the masks' resolution, 0..1, [s, s, 3]."""
        side = self.small_hwc.shape[0] // 4
        coarse = cv2.resize(self.small_hwc, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(coarse / np.float32(255), np.float32)

    @cached_property
    def _means(self) -> Floats:
        return _mean(self._colours)

    @cached_property
    def _inverse(self) -> Floats:
        """Inverses of the covariances of colours around each pixel, [s, s, 3, 3]."""
        colours, means = self._colours, self._means
        products = np.stack([colours[..., i] * colours[..., j] for i, j in _PAIRS], axis=-1)
        own = np.stack([means[..., i] * means[..., j] for i, j in _PAIRS], axis=-1)
        rr, rg, rb, gg, gb, bb = np.moveaxis(_mean(products) - own, -1, 0)
        rr, gg, bb = rr + LEAST_VARIANCE, gg + LEAST_VARIANCE, bb + LEAST_VARIANCE
        a, b, c = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
        d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        cofactors = np.stack([a, b, c, b, d, e, c, e, f], axis=-1)
        inverse = cofactors / (rr * a + rg * b + rb * c)[..., None]
        return np.asarray(inverse.reshape(*inverse.shape[:2], 3, 3), np.float32)


def _mean(values: Floats) -> Floats:
    """The mean of the square around each pixel, channel by channel."""
    side = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side)), np.float32)


def _probabilities(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -10, 10))), np.float32)


def _span(inside_s: NDArray[np.bool_]) -> slice:
    at = np.flatnonzero(inside_s)
    return slice(max(0, int(at[0]) - REACH), min(len(inside_s), int(at[-1]) + 1 + REACH))
