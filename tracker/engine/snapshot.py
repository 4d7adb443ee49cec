"""A session on disk: one safetensors file whose header holds the rest as JSON.

It is written to a temporary file beside it, synced, then renamed, so that a crash leaves the
snapshot before. Nothing in it is executed on load.
"""

import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from tracker.atomic import write_atomically
from tracker.engine.budget import ComputeBudget
from tracker.engine.clicks import Click, clicks_of, prompt_of
from tracker.engine.gallery import Gallery, Looks
from tracker.engine.history import HistoryFrame, LazyFeatures
from tracker.engine.objects import Output, TrackedObject
from tracker.engine.policy import OFFICIAL, Policy
from tracker.engine.refine import GuidedFilter
from tracker.engine.state import SessionState
from tracker.engine.visibility import Presence
from tracker.errors import SnapshotError, UsageError
from tracker.models import Model
from tracker.models.base import Decoded, Features
from tracker.types import ObjectState, StageTimes

HEADER = "trackd"
SNAPSHOT_VERSION = 8
#: Versions that are read: 6 has `budget` under its older name, 6 and 7 have no galleries.
_READ = (6, 7, SNAPSHOT_VERSION)
_WITH_GALLERIES = 8
#: Features in their order; a model may lack the last ones.
_FEATURES = ("top", "pos", "fine", "middle")
_NEWER = "take a new snapshot"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)


class _Version(BaseModel):
    version: int


class _LooksMeta(_Strict):
    steps: list[int] = []
    areas: list[float] = []


class _ObjectMeta(_Strict):
    id: int
    label: str | None
    born_step: int | None
    state: ObjectState
    absent: int
    settling: int
    clicks: list[Click]
    given: bool
    areas: dict[int, int]
    output_step: int | None
    own: _LooksMeta = _LooksMeta()
    distractors: _LooksMeta = _LooksMeta()
    identity: float | None = None
    doubted: int = 0


class _Meta(_Strict):
    version: int = SNAPSHOT_VERSION
    model: str
    fingerprint: str
    full_size: int
    policy: Policy
    budget: Annotated[ComputeBudget, Field(validation_alias=AliasChoices("budget", "effort"))]
    step: int | None
    height: int
    width: int
    objects: list[_ObjectMeta]

    @model_validator(mode="before")
    @classmethod
    def _official_ones_kept_no_galleries(cls, meta: dict[str, Any]) -> dict[str, Any]:
        """Have the policy of an older snapshot be the one of today that it was."""
        policy = meta.get("policy")
        if not isinstance(policy, dict) or meta.get("version", 0) >= _WITH_GALLERIES:
            return meta
        if not policy.get("whole_memories"):
            return meta
        none = {"gallery_entries": OFFICIAL.gallery_entries, "redetect": OFFICIAL.redetect}
        return meta | {"policy": policy | none}


def save(state: SessionState, path: Path) -> None:
    """Write a session to `path`.

    Raises:
        SnapshotError: It cannot be written; what was at `path` is still there.
    """
    try:
        write_atomically(path, to_bytes(state))
    except OSError as err:
        raise SnapshotError(
            f"cannot write snapshot {path}: {err.strerror}", "choose another folder"
        ) from err


def to_bytes(state: SessionState) -> bytes:
    """A session as the file that `load` reads."""
    step = state.history[-1].step if state.history else 0
    tensors = {f"bank.{name}": tensor for name, tensor in state.bank.tensors(step).items()}
    if state.history:
        tensors |= _feature_tensors(state.history[-1].features)
    if state.guide is not None:
        tensors["picture"] = torch.from_numpy(state.guide.small_hwc)
    outputs = [obj.outputs[-1].decoded for obj in state.objects.rows if obj.outputs]
    if outputs:
        tensors |= _output_tensors(outputs)
    tensors |= _gallery_tensors(state)
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data: bytes = safetensors_bytes(held, metadata={HEADER: _meta(state).model_dump_json()})
    return data


def load(path: Path, model: Model, data: bytes | None = None) -> SessionState:
    """Make a session of what `save` wrote to `path`; of `data` where that was read already.

    Raises:
        SnapshotError: It is missing, damaged, of another version, of other weights, or of an input
            of another size.
    """
    meta, tensors = _read(path, data)
    if meta.fingerprint != model.fingerprint:
        raise SnapshotError(
            f"snapshot {path} was taken with other weights of {meta.model}",
            "load the weights that it was taken with",
        )
    if meta.full_size != model.full_size:
        raise SnapshotError(
            f"snapshot {path} was taken with {meta.model} at {meta.full_size} pixels, "
            f"not {model.full_size}",
            f"use the model {meta.model}",
        )
    try:
        state = SessionState.new(model, meta.policy, meta.budget)
        bank = {n.removeprefix("bank."): t for n, t in tensors.items() if n.startswith("bank.")}
        state.bank.restore(bank, meta.step or 0)
        if meta.step is not None:
            features = _features(tensors, model.device)
            times = StageTimes(0.0, 0.0)
            size, encoded = state.model.input.size, LazyFeatures.of(features)
            state.history.append(
                HistoryFrame(meta.step, size, meta.height, meta.width, encoded, times)
            )
            if state.follows_edges:
                state.guide = GuidedFilter(_picture(tensors, size), state.model.network.mask_side)
        _restore_objects(state, meta, tensors)
    except (KeyError, RuntimeError, ValueError, IndexError, UsageError) as err:
        raise SnapshotError(f"snapshot {path} is damaged: {err}", _NEWER) from err
    return state


def snapshot_version(path: Path) -> int | None:
    """The version of a snapshot, which `load` may refuse; None where there is none to be read."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER, "")
        return _Version.model_validate_json(header).version
    except (SafetensorError, OSError, ValidationError):
        return None


def _meta(state: SessionState) -> _Meta:
    newest = state.history[-1] if state.history else None
    step = None if newest is None else newest.step
    return _Meta(
        model=state.model.name,
        fingerprint=state.model.fingerprint,
        full_size=state.model.full_size,
        policy=state.policy,
        budget=state.budget,
        step=step,
        height=0 if newest is None else newest.height,
        width=0 if newest is None else newest.width,
        objects=[
            _ObjectMeta(
                id=obj.id,
                label=obj.label,
                born_step=obj.born_step,
                **asdict(obj.presence),
                clicks=clicks_of(obj.prompts[step]) if step in obj.prompts else [],
                given=step in obj.given,
                areas=obj.areas,
                output_step=obj.outputs[-1].step if obj.outputs else None,
                own=_looks_meta(obj.gallery.own),
                distractors=_looks_meta(obj.gallery.distractors),
                identity=obj.identity,
                doubted=obj.doubted,
            )
            for obj in state.objects.rows
        ],
    )


def _feature_tensors(features: Features) -> dict[str, Tensor]:
    maps = (features.top_1chw, features.pos_1chw, *features.high_res)
    return {f"features.{name}": tensor for name, tensor in zip(_FEATURES, maps, strict=False)}


def _features(tensors: dict[str, Tensor], device: torch.device) -> Features:
    names = [f"features.{name}" for name in _FEATURES]
    top, pos, *high_res = (tensors[name].to(device) for name in names if name in tensors)
    return Features(top, pos, tuple(high_res))


def _picture(tensors: dict[str, Tensor], size: int) -> NDArray[np.uint8]:
    picture_hwc: NDArray[np.uint8] = tensors["picture"].numpy()
    if picture_hwc.shape != (size, size, 3) or picture_hwc.dtype != np.uint8:
        raise ValueError(f"a picture of {picture_hwc.shape}")
    return picture_hwc


def _output_tensors(outputs: list[Decoded]) -> dict[str, Tensor]:
    return {
        "outputs.logits": torch.cat([o.logits_n1ss for o in outputs]),
        "outputs.presence": torch.cat([o.presence_n1 for o in outputs]),
        "outputs.iou": torch.cat([o.iou_n for o in outputs]),
        "outputs.pointers": torch.cat([o.pointers_nc for o in outputs]),
    }


def _looks_meta(looks: Looks) -> _LooksMeta:
    return _LooksMeta(steps=looks.steps, areas=looks.areas)


def _gallery_tensors(state: SessionState) -> dict[str, Tensor]:
    """Descriptors of all galleries, one object's after the other's."""
    tensors = {}
    for name in ("own", "distractors"):
        looks = [getattr(obj.gallery, name) for obj in state.objects.rows]
        held = [one.descriptors_kd for one in looks if len(one)]
        if held:
            tensors[f"gallery.{name}"] = torch.from_numpy(np.concatenate(held))
    return tensors


class _Galleries:
    """Reads the galleries of objects back, in their order."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._left = {
            name: tensors.get(f"gallery.{name}", torch.zeros(0, 0)).numpy()
            for name in ("own", "distractors")
        }

    def next(self, item: _ObjectMeta) -> Gallery:
        """The gallery of the next object."""
        return Gallery(self._looks("own", item.own), self._looks("distractors", item.distractors))

    def _looks(self, name: str, meta: _LooksMeta) -> Looks:
        count = len(meta.steps)
        if not count:
            return Looks()
        descriptors_kd = self._left[name][:count]
        if len(descriptors_kd) < count or len(meta.areas) != count:
            raise ValueError(f"{count} looks in a gallery, but not as many descriptors and areas")
        self._left[name] = self._left[name][count:]
        return Looks(list(meta.steps), list(meta.areas), descriptors_kd.copy())


def _restore_objects(state: SessionState, meta: _Meta, tensors: dict[str, Tensor]) -> None:
    if len(meta.objects) != state.bank.rows:
        raise ValueError(f"{len(meta.objects)} objects but {state.bank.rows} rows of memory")
    names = ("logits", "presence", "iou", "pointers")
    galleries = _Galleries(tensors)
    with_output = 0
    for item in meta.objects:
        obj = TrackedObject(item.id, item.label, item.born_step, deque(maxlen=state.history.maxlen))
        obj.presence = Presence(item.state, item.absent, item.settling)
        obj.areas = dict(item.areas)
        obj.gallery, obj.identity, obj.doubted = galleries.next(item), item.identity, item.doubted
        if meta.step is not None and item.output_step is not None:
            held = (tensors[f"outputs.{name}"].to(state.model.device) for name in names)
            obj.outputs.append(Output(item.output_step, Decoded(*held).row(with_output)))
            if item.clicks:
                obj.prompts[meta.step] = prompt_of(item.id, item.clicks)
            obj.given = {meta.step} if item.given else set()
            with_output += 1
        state.objects.add(obj)


def _read(path: Path, data: bytes | None) -> tuple[_Meta, dict[str, Tensor]]:
    try:
        data = path.read_bytes() if data is None else data
        tensors = safetensors_load(data)
    except FileNotFoundError as err:
        raise SnapshotError(f"no snapshot {path}", "check the path") from err
    except (SafetensorError, OSError) as err:
        raise SnapshotError(f"snapshot {path} is damaged: {err}", _NEWER) from err
    size = int.from_bytes(data[:8], "little")
    header = (json.loads(data[8 : 8 + size]).get("__metadata__") or {}).get(HEADER)
    if header is None:
        raise SnapshotError(f"{path} is not a snapshot of trackd", "check the path")
    try:
        version = _Version.model_validate_json(header).version
        if version not in _READ:
            raise SnapshotError(
                f"snapshot {path} is of version {version}, not {SNAPSHOT_VERSION}", _NEWER
            )
        return _Meta.model_validate_json(header), tensors
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "header"
        raise SnapshotError(f"snapshot {path} is damaged: {where}: {first['msg']}", _NEWER) from err
