"""A network whose tracking is replayed from graphs; all else it computes as it did.

What is recorded, all at once when a model is loaded, and for batches of `BUCKETS` objects:
- the image encoder;
- the memory attention for objects with a full memory: one prompted frame and all recent ones. To
  pad memories that are not full would need a mask, with which attention is no fused kernel
  (FlashAttention), on every frame of a stream for the sake of its first ones;
- the mask decoder without clicks;
- the memory encoder of a tracked mask.

Batches go to the smallest graph that holds them. What no graph serves is computed eagerly: prompts,
memories of another number, more objects than the largest bucket, pictures of another size.

One thread at a time may use a network, as its graphs share buffers. Streams may take turns.
"""

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tracker.models.base import (
    MAP_DTYPE,
    POINTER_DTYPE,
    CandidateModel,
    Candidates,
    Capabilities,
    Clicks,
    Decoded,
    Features,
    Memories,
    MemorySpec,
    VideoModel,
)
from tracker.models.optim.graphs.capture import Capture
from tracker.models.optim.graphs.static_function import Row, StaticFunction

#: Objects in a pass that a graph is recorded for.
BUCKETS = (1, 2, 4, 8, 16, 32)
#: Maps and pointers of prompted frames that an object has, unless it was prompted on several.
PROMPTED = 1


@runtime_checkable
class PixelModel(VideoModel, CandidateModel, Protocol):
    """A `VideoModel` that encodes a picture in two steps, of which the second is the device's."""

    def pixels(self, picture_hwc: NDArray[np.uint8]) -> Tensor:
        """A picture as the network takes it, float32 [1, 3, size, size], on its device."""

    def encode_pixels(self, image_13ss: Tensor) -> Features:
        """Features of such a picture; it never waits for the device."""


class GraphedNetwork:
    """A `VideoModel` that replays graphs of another; none before `record`.

    It is as pure a network as the other: whatever it returns is copied out of the graphs' buffers.
    Features live as long as a history, masks as long as its objects' outputs, conditioned features
    until those of the pass's other groups are there, memory maps until the bank has them.

    Attributes:
        eager: The network that is recorded, and that computes what no graph serves.
    """

    def __init__(self, eager: PixelModel) -> None:
        self.eager = eager
        self._static: Features | None = None  # what the graphs read
        self._held: Features | None = None  # whose values those are
        self._functions: dict[str, StaticFunction] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the graphs' inputs and outputs; what lies between is the capture's."""
        return sum(function.nbytes for function in self._functions.values())

    def record(self, capture: Capture, size: int, buckets: Sequence[int] = BUCKETS) -> None:
        """Record all graphs, in the precision that is computed in here.

        Args:
            capture: The recorder.
            size: Side of the pictures in pixels.
            buckets: Objects in a pass.

        Raises:
            RuntimeError: Something cannot be recorded.
        """
        pixels_1ssc = self.eager.pixels(np.zeros((size, size, 3), np.uint8)).movedim(1, -1)
        pos_1chw = self.eager.encode_pixels(pixels_1ssc.movedim(-1, 1)).pos_1chw
        device = pixels_1ssc.device
        encode = StaticFunction(self._encode, [Row.of(pixels_1ssc)], device)
        top_1chw, *high_res = encode.record(capture, 1)
        self._static = Features(top_1chw, pos_1chw, tuple(high_res))
        memory = _memory_rows(self.eager.memory)
        (conditioned_1chw,) = self._condition(*(row.zeros(1, device) for row in memory))
        side = self.eager.mask_side
        mask, score = Row((1, side, side), torch.float32), Row((1,), torch.float32)
        shown = [mask] if self.eager.capabilities.follows_masks else []
        of_objects = {
            "condition": StaticFunction(self._condition, memory, device),
            "decode": StaticFunction(self._decode, [Row.of(conditioned_1chw), *shown], device),
            "encode_memory": StaticFunction(self._encode_memory, [mask, score], device),
        }
        for bucket in sorted(buckets, reverse=True):
            for function in of_objects.values():
                function.record(capture, bucket)
        self._functions = {"encode": encode, **of_objects}

    def _encode(self, pixels_1ssc: Tensor) -> tuple[Tensor, ...]:
        features = self.eager.encode_pixels(pixels_1ssc.movedim(-1, 1))
        return features.top_1chw, *features.high_res

    def _condition(
        self, maps_nkqm: Tensor, age_nk: Tensor, pointers_npc: Tensor, pointer_age_np: Tensor
    ) -> tuple[Tensor]:
        assert self._static is not None
        memories = Memories(maps_nkqm, age_nk, pointers_npc, pointer_age_np)
        return (self.eager.condition(self._static, [memories]),)

    def _decode(self, conditioned_nchw: Tensor, *shown_n1ss: Tensor) -> tuple[Tensor, ...]:
        assert self._static is not None
        previous_n1ss = shown_n1ss[0] if shown_n1ss else None
        decoded = self.eager.decode(
            self._static, conditioned_nchw, previous_n1ss=previous_n1ss, shows_masks=True
        )
        return decoded.logits_n1ss, decoded.presence_n1, decoded.iou_n, decoded.pointers_nc

    def _encode_memory(self, logits_n1ss: Tensor, presence_n1: Tensor) -> tuple[Tensor]:
        assert self._static is not None
        unread_n = presence_n1[:, 0]
        decoded = Decoded(logits_n1ss, presence_n1, unread_n, unread_n)
        return (self.eager.encode_memory(self._static, decoded, from_prompt=False),)

    def _replay(self, part: str, features: Features, *inputs: Tensor) -> tuple[Tensor, ...] | None:
        """Results of a part for an image; None where no graph serves."""
        if not (self._functions and self._hold(features)):
            return None
        return self._functions[part](*inputs)

    def _hold(self, features: Features) -> bool:
        """Have the graphs read an image's features; False if they are of another size or dtype."""
        if features is self._held:
            return True
        assert self._static is not None
        held, given = _tensors(self._static), _tensors(features)
        if [(x.shape, x.dtype) for x in held] != [(x.shape, x.dtype) for x in given]:
            return False
        self._held = None
        for buffer, tensor in zip(held, given, strict=True):
            buffer.copy_(tensor)
        self._held = features
        return True

    def encode_image(self, picture_hwc: NDArray[np.uint8]) -> Features:
        """See `VideoModel.encode_image`."""
        pixels_13ss = self.eager.pixels(picture_hwc)
        self._held = None
        found = self._functions["encode"](pixels_13ss.movedim(1, -1)) if self._functions else None
        if found is None:
            return self.eager.encode_pixels(pixels_13ss)
        assert self._static is not None
        top_1chw, *high_res = found
        self._held = Features(top_1chw, self._static.pos_1chw, tuple(high_res))
        return self._held

    def condition(self, features: Features, memories: Sequence[Memories]) -> Tensor:
        """See `VideoModel.condition`; each group of objects is replayed, or computed, by itself."""
        if not memories:
            return self.eager.condition(features, memories)
        groups = [self._condition_group(features, group) for group in memories]
        return groups[0] if len(groups) == 1 else torch.cat(groups)

    def _condition_group(self, features: Features, group: Memories) -> Tensor:
        inputs = group.maps_nkqm, group.age_index_nk, group.pointers_npc, group.pointer_age_np
        if (found := self._replay("condition", features, *inputs)) is not None:
            return found[0]
        return self.eager.condition(features, [group])

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
        """See `VideoModel.decode`; only tracking without a look for distractors is replayed."""
        unshown = previous_n1ss is not None and not shows_masks
        if not (first or clicks is not None or want_distractors or is_there or unshown):
            shown = () if previous_n1ss is None else (previous_n1ss,)
            found = self._replay("decode", features, conditioned_nchw, *shown)
            if found is not None:
                return Decoded(*found)
        return self.eager.decode(
            features,
            conditioned_nchw,
            first=first,
            clicks=clicks,
            previous_n1ss=previous_n1ss,
            shows_masks=shows_masks,
            want_distractors=want_distractors,
            is_there=is_there,
        )

    def encode_memory(self, features: Features, decoded: Decoded, *, from_prompt: bool) -> Tensor:
        """See `VideoModel.encode_memory`."""
        if not from_prompt:
            seen = decoded.logits_n1ss, decoded.presence_n1
            if (found := self._replay("encode_memory", features, *seen)) is not None:
                return found[0]
        return self.eager.encode_memory(features, decoded, from_prompt=from_prompt)

    def adopt_mask(self, features: Features, mask_11ss: Tensor) -> Decoded:
        """See `VideoModel.adopt_mask`."""
        return self.eager.adopt_mask(features, mask_11ss)

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
        """See `CandidateModel.decode_candidates`."""
        return self.eager.decode_candidates(
            features,
            conditioned_nchw,
            first=first,
            clicks=clicks,
            previous_n1ss=previous_n1ss,
            shows_masks=shows_masks,
        )

    @property
    def mask_side(self) -> int:
        """Side of low-resolution masks in pixels."""
        return self.eager.mask_side

    @property
    def memory(self) -> MemorySpec:
        """Size and number of the memories."""
        return self.eager.memory

    @property
    def capabilities(self) -> Capabilities:
        """Abilities beyond the official SAM 2."""
        return self.eager.capabilities

    def resized(self, size: int) -> Self:
        """The same weights for pictures of `size` pixels a side, without graphs."""
        return type(self)(self.eager.resized(size))

    def with_whole_memories(self) -> Self:
        """The same weights with memories that keep every token; without graphs, unless they do."""
        whole = self.eager.with_whole_memories()
        return self if whole is self.eager else type(self)(whole)


def _memory_rows(spec: MemorySpec) -> list[Row]:
    """The tensors of `Memories` of one object whose memory is full."""
    maps, pointers = spec.recent + PROMPTED, spec.pointers + PROMPTED
    return [
        Row((maps, spec.tokens, spec.map_channels), MAP_DTYPE),
        Row((maps,), torch.int64),
        Row((pointers, spec.pointer_channels), POINTER_DTYPE),
        Row((pointers,), torch.float32),
    ]


def _tensors(features: Features) -> tuple[Tensor, ...]:
    """What differs from image to image."""
    return features.top_1chw, *features.high_res
