"""Interface between the engine and a family of video segmentation models.

A family is a class with the methods of `VideoModel`, each a pure function of its arguments; the
state of tracking is the engine's. Shapes: n objects, k maps, p pointers, c channels of features, m
channels of a memory, h and w the feature map, q the tokens of a memory, s the side of a
low-resolution mask, size that of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Of the maps and pointers that a memory is kept in, whatever a network computes in.
MAP_DTYPE = torch.bfloat16
POINTER_DTYPE = torch.float32
#: Labels of the first and the second corner of a box among `Clicks`.
BOX_CORNER_LABELS = (2, 3)


@dataclass(frozen=True, slots=True)
class Features:
    """One encoded image.

    Attributes:
        top_1chw: The coarsest features, of stride 16 in SAM 2.
        pos_1chw: Their positional encoding, which images of one size share.
        high_res: Finer features, finest first: in SAM 2 at stride 4 and 8, [1, c/8, 4h, 4w] and
            [1, c/4, 2h, 2w].
    """

    top_1chw: Tensor
    pos_1chw: Tensor
    high_res: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that are this image's own; the positional encoding is the same for all."""
        return self.top_1chw.nbytes + sum(level.nbytes for level in self.high_res)


@dataclass(frozen=True, slots=True)
class Memories:
    """Memories of n objects, all with as many maps and pointers as each other.

    Attributes:
        maps_nkqm: k maps of q tokens each.
        age_index_nk: int64, how many steps ago each map was made, less one; `MemorySpec.recent`
            for one that lasts whatever its age.
        pointers_npc: p object pointers.
        pointer_age_np: float32, how many steps ago each pointer was made.
    """

    maps_nkqm: Tensor
    age_index_nk: Tensor
    pointers_npc: Tensor
    pointer_age_np: Tensor


@dataclass(frozen=True, slots=True)
class Clicks:
    """Points of n objects in input pixels: [n, k, 2] float32, labels [n, k] int32.

    Labels: 1 object, 0 not, `BOX_CORNER_LABELS` the corners of a box.
    """

    coords_nk2: Tensor
    labels_nk: Tensor


@dataclass(frozen=True, slots=True)
class Decoded:
    """Masks and scores of n objects.

    Attributes:
        logits_n1ss: Mask logits at low resolution, float32; below 0 all over where absent.
        presence_n1: Object score logits; above 0 the object is on the frame.
        iou_n: Predicted quality of the mask, 0..1.
        pointers_nc: Object pointers.
        distractor_n: Whether something else looks like the object; None where nobody asked.
    """

    logits_n1ss: Tensor
    presence_n1: Tensor
    iou_n: Tensor
    pointers_nc: Tensor
    distractor_n: Tensor | None = None

    def row(self, i: int) -> "Decoded":
        """The i-th object alone."""
        one = slice(i, i + 1)
        return Decoded(
            self.logits_n1ss[one],
            self.presence_n1[one],
            self.iou_n[one],
            self.pointers_nc[one],
            None if self.distractor_n is None else self.distractor_n[one],
        )

    def areas(self) -> list[int]:
        """Low-resolution pixels of each mask; 0 where the object is absent."""
        areas: list[int] = (self.logits_n1ss > 0).sum(dim=(1, 2, 3)).tolist()
        return areas

    def area_fractions(self) -> list[float]:
        """Share of the picture that each mask takes; 0 where the object is absent."""
        shares: list[float] = (self.logits_n1ss > 0).float().mean(dim=(1, 2, 3)).tolist()
        return shares


@dataclass(frozen=True, slots=True)
class Candidates:
    """Masks that a decoder proposes for n objects, of which one each is taken.

    Attributes:
        logits_nass: Masks at low resolution, as if the object were there.
        iou_na: Their predicted quality, 0..1.
        tokens_nac: Output tokens of the masks, or of the one that is decoded alone.
        presence_n1: Object score logits.
    """

    logits_nass: Tensor
    iou_na: Tensor
    tokens_nac: Tensor
    presence_n1: Tensor


@dataclass(frozen=True, slots=True)
class MemorySpec:
    """Size and number of the memories that a model attends to.

    Attributes:
        recent: Maps of recent frames, beside those of prompted ones.
        pointers: Object pointers of recent frames.
        tokens: Tokens of a map, which are a square.
        map_channels: Channels of a map.
        pointer_channels: Channels of an object pointer.
    """

    recent: int
    pointers: int
    tokens: int
    map_channels: int
    pointer_channels: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Abilities of a model beyond the official SAM 2.

    Attributes:
        draws_prompts: It was trained to be shown prompts as rough masks, too.
        follows_masks: It was trained to be shown the mask before on a tracked frame.
        finds_distractors: `decode` can tell whether something else looks like an object.
        resizable: It takes pictures of other sizes.
        look_distance: Distance of two looks, see `tracker.engine.appearance`, at which they are as
            likely of one object as of two, measured for its weights; None where nobody measured
            it, and galleries would mislead.
    """

    draws_prompts: bool = False
    follows_masks: bool = False
    finds_distractors: bool = False
    resizable: bool = False
    look_distance: float | None = None


class VideoModel(Protocol):
    """A video segmentation model: an image encoder, a mask decoder and a memory."""

    @property
    def mask_side(self) -> int:
        """Side of low-resolution masks in pixels, of which the input's side is a multiple."""

    @property
    def memory(self) -> MemorySpec:
        """Size and number of the memories."""

    @property
    def capabilities(self) -> Capabilities:
        """Abilities beyond the official SAM 2."""

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        """Features of a picture, RGB uint8 [size, size, 3]."""

    def condition(self, features: Features, memories: Sequence[Memories]) -> Tensor:
        """Features as the memories of n objects see them, [n, c, h, w].

        Args:
            features: The image.
            memories: Those of groups of objects, n in all; none stands for one object's first
                frame.
        """

    def decode(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool = False,
        clicks: Clicks | None = None,
        previous_n1ss: Tensor | None = None,
        shows_masks: bool = False,
        want_distractors: bool = False,
        is_there: bool = False,
    ) -> Decoded:
        """Masks of n objects from clicks, or from memory alone.

        Args:
            features: The image.
            conditioned_nchw: Its features as each object sees them.
            first: It is the objects' first frame.
            clicks: Points and box corners; None to decode from memory.
            previous_n1ss: Logits to correct, or to go on from.
            shows_masks: Show those to all parts that were trained to be shown them.
            want_distractors: Look for distractors too.
            is_there: The objects are known to be on the image.
        """

    def adopt_mask(self, features: Features, mask_11ss: Tensor) -> Decoded:
        """A given mask as the output, float32 0 or 1 at input resolution [1, 1, size, size]."""

    def encode_memory(self, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
        """Memory maps [n, q, m] of n objects.

        Args:
            features: The image.
            decoded: Its masks.
            from_prompt: The mask was prompted, not tracked.
        """

    def resized(self, size: int) -> Self:
        """The same weights for pictures of `size` pixels a side, of a model that is resizable."""

    def with_whole_memories(self) -> Self:
        """The same weights with memories that keep every token; itself where they do."""


@runtime_checkable
class CandidateModel(Protocol):
    """A model that gives every candidate of a prompt, which automatic mask generation needs."""

    def decode_candidates(
        self,
        features: Features,
        conditioned_nchw: Tensor,
        *,
        first: bool,
        clicks: Clicks | None,
        previous_n1ss: Tensor | None,
        shows_masks: bool,
    ) -> Candidates:
        """All candidates of n prompts, with the arguments of `VideoModel.decode`."""
