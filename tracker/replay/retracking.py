"""Trackers that do again what a recording says was done: the same frames, the same commands."""

import time
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

import tracker
from streams.frame import Frame
from tracker.daemon.config.schema import LimitsConfig, ModelConfig
from tracker.daemon.messages import (
    AcceptCommand,
    Command,
    LiveFrame,
    PromptCommand,
    RelabelCommand,
    RemoveCommand,
    RequestError,
    ResetCommand,
    RestoreCommand,
    Tracked,
)
from tracker.daemon.tracking.quality import QualityController, Spent
from tracker.daemon.tracking.stream_tracker import StreamTracker
from tracker.daemon.workers.model_info import ModelInfo
from tracker.daemon.workers.warm import warm_model
from tracker.engine import Policy
from tracker.models import Model
from tracker.protocol.fields import FrameAddress, StreamSettings
from tracker.protocol.recording import CommandNote, FrameNote, SegmentNote
from tracker.replay.snapshots import RecordedSnapshot

_COMMANDS: dict[str, type[Command]] = {
    "prompt": PromptCommand,
    "accept": AcceptCommand,
    "remove": RemoveCommand,
    "reset": ResetCommand,
    "relabel": RelabelCommand,
    "restore": RestoreCommand,
}


class Retracking:
    """A stream that is tracked again, from where it had no objects.

    Args:
        stream: Its name.
        settings: As a segment has them.
        model: As `load_recorded` gives it.
        policy: Likewise.
    """

    def __init__(
        self, stream: str, settings: Mapping[str, Any], model: Model, policy: Policy
    ) -> None:
        self.known: set[int] = set()
        self._stream = stream
        self._settings = StreamSettings.model_validate({"url": "recorded", **settings})
        self._quality = _RecordedQuality.of(1.0, model)
        self._tracker = StreamTracker(
            stream,
            self._settings,
            model,
            policy,
            on_event=lambda event: None,
            quality=self._quality,
        )

    def track(self, note: FrameNote, image_hwc: NDArray[np.uint8]) -> Tracked:
        """Track all objects on a frame, with the threads and the budget that it had."""
        if note.threads != torch.get_num_threads():
            torch.set_num_threads(note.threads)
        self._quality.level = 0 if note.budget is None else note.budget.quality_level
        now_s = time.monotonic()
        base = None if note.time_base is None else Fraction(*note.time_base)
        frame = Frame(self._stream, note.seq, note.pts, base, note.captured_ns, image_hwc)
        live = LiveFrame(frame, None, 0.0, now_s, now_s, note.epoch)
        return self._tracker.track(live, dropped=0)

    def apply(self, note: CommandNote) -> str:
        """Do a command again; returns the reason why it cannot be done, or ""."""
        command: Any = TypeAdapter(_COMMANDS[note.command]).validate_python(
            note.fields | ({} if note.object is None else {"object_id": note.object})
        )
        if isinstance(command, PromptCommand) and note.frame_seq is not None:
            command = replace(command, frame=FrameAddress(seq=note.frame_seq), return_mask=False)
        try:
            self._tracker.apply(command)
        except RequestError as err:
            return f"{note.command} after frame {note.after_seq}: {err.message}"
        while self._tracker.is_behind:
            self._tracker.replay_next()
        if isinstance(command, PromptCommand) and note.object is not None:
            self.known.add(note.object)
        if isinstance(command, RestoreCommand):
            self.known = self._object_ids
        return ""

    def resume(self, snapshot: RecordedSnapshot) -> bool:
        """Go on from a snapshot; False where the state before it was another.

        Where objects were just put back, or the session counts its frames from elsewhere, that
        cannot be told.

        Raises:
            RequestError: SNAPSHOT, it cannot be used.
        """
        ours, frame = self._tracker.snapshot(), snapshot.note.state.frame
        if ours is not None and ours[1] == snapshot.session:
            return True
        self._tracker.resume(snapshot.note.state, snapshot.session, snapshot.name)
        self.known = self._object_ids
        before = None if ours is None else ours[0].frame
        return frame is None or (before is not None and before.step != frame.step)

    @property
    def _object_ids(self) -> set[int]:
        return {obj.id for obj in self._tracker.status().objects}


class _RecordedQuality(QualityController):
    """Quality by what the recording says, whatever it takes now."""

    def note(self, spent: Spent) -> None:
        """Nothing."""


def load_recorded(note: SegmentNote) -> tuple[Model, Policy, tuple[str, ...]]:
    """The model of a recording, its policy, and in what it differs from the one that tracked.

    Raises:
        TrackdError: It cannot be loaded.
    """
    config = ModelConfig.model_validate(note.model["config"])
    limits = LimitsConfig(objects_per_stream=note.model["objects_per_stream"])
    model, policy = warm_model(config, limits)
    now = ModelInfo.of(model).model_dump(mode="json") | {"torch": torch.__version__}
    before = note.model["info"] | {"torch": note.model["torch"]}
    now["trackd"], before["trackd"] = tracker.__version__, note.version
    differences = tuple(
        f"{name} {before[name]}, now {now[name]}"
        for name in before
        if name in now and before[name] != now[name]
    )
    return model, policy, differences
