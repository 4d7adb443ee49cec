"""The run: phase after phase, step after step, with checkpoints and scores on the way."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.train.blueprint import Blueprint, first_weights
from tools.train.checkpoint import Standing, load_run, save_run, save_tensors
from tools.train.clips import PROMPT_STREAM, ClipMaker
from tools.train.config import Phase, TrainConfig
from tools.train.forward import forward_clips
from tools.train.learner import Learner, Weights
from tools.train.loader import batches
from tools.train.losses import guess_losses, mean_losses
from tools.train.packed import Pack
from tools.train.progress import Progress
from tools.train.prompts import random_plan
from tools.train.record import Record
from tools.train.validate import held_out_scores
from tracker.errors import OutputError, UsageError
from tracker.models import InputSpec, Model
from tracker.models.optim.plan import CUDA_GRAPHS, Target, optimize
from tracker.models.precision import Precision, torch_dtype
from tracker.models.sam2.adapter import Sam2Model

LAST_NAME, BEST_NAME, CONFIG_NAME = "last.safetensors", "best.safetensors", "config.json"


class Ending(StrEnum):
    """Reason that a run stopped."""

    DONE = "done"
    TIME = "the time is up"
    ASKED = "asked to stop"


@dataclass(frozen=True, slots=True)
class _Stage:
    """A phase in training.

    Attributes:
        number: Of the phase, from 1.
        phase: Its settings.
        spec: The pictures that its network expects.
        learner: Trains that network.
        first_step: Steps of the run before the phase.
        first_clip: Clips of the run before it.
    """

    number: int
    phase: Phase
    spec: InputSpec
    learner: Learner
    first_step: int
    first_clip: int

    @property
    def last_step(self) -> int:
        """Steps of the run when the phase is done."""
        return self.first_step + self.phase.steps

    def clips_before(self, step: int) -> int:
        """Clips of the run before one of the phase's steps."""
        return self.first_clip + (step - self.first_step) * self.phase.clips_per_step


class Run:
    """A run in a folder."""

    def __init__(
        self, config: TrainConfig, folder: Path, device: torch.device, *, resume: bool
    ) -> None:
        """Begin a run, or go on with the one in the folder.

        Raises:
            UsageError: The folder holds a run and `resume` is not set, or one of another model.
            TrackdError: The pack, the first weights or the checkpoint cannot be read.
            OutputError: The folder cannot be written.
        """
        self._config, self._folder, self._device = config, folder, device
        self._pack = Pack(config.data.pack)
        self._blueprint = Blueprint.of(config.model)
        last = folder / LAST_NAME
        if last.exists() and not resume:
            raise UsageError(f"{folder} holds a run", "give --resume, or another --out")
        if last.exists():
            self._weights, self._standing = load_run(last)
            if self._standing.model != config.model.name:
                raise UsageError(f"the run in {folder} is of {self._standing.model}")
        else:
            first = first_weights(self._blueprint, config.model.init, config.seed)
            self._weights = Weights(first, dict(first), {})
            self._standing = Standing(model=config.model.name, size=config.phases[0].size)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG_NAME).write_text(config.model_dump_json(indent=2))
        except OSError as err:
            raise OutputError(f"cannot write {folder}: {err.strerror}", "use --out") from err
        self._record = Record(folder, self._standing.step)

    @property
    def standing(self) -> Standing:
        """Progress of the run."""
        return self._standing

    def train(self, stop: Callable[[], bool], deadline_s: float) -> Ending:
        """Go on until all phases are done, or `stop` says so, or the monotonic clock does."""
        first_step, first_clip = 0, 0
        with Progress(self._standing.step, self._config.steps) as progress:
            for number, phase in enumerate(self._config.phases, 1):
                if self._standing.step < first_step + phase.steps:
                    stage = self._stage(number, phase, first_step, first_clip)
                    ending = self._train_stage(stage, progress, stop, deadline_s)
                    if ending is not Ending.DONE:
                        return ending
                first_step += phase.steps
                first_clip += phase.steps * phase.clips_per_step
        return Ending.DONE

    def _stage(self, number: int, phase: Phase, first_step: int, first_clip: int) -> _Stage:
        learner = Learner(
            self._blueprint.build(phase.size), self._weights, phase, self._config, self._device
        )
        spec = self._blueprint.input_spec(phase.size)
        return _Stage(number, phase, spec, learner, first_step, first_clip)

    def _train_stage(
        self, stage: _Stage, progress: Progress, stop: Callable[[], bool], deadline_s: float
    ) -> Ending:
        """Train from where the run stands to the end of a stage, or until it is stopped."""
        ending, clips = Ending.DONE, self._clips(stage)
        while ending is Ending.DONE and self._standing.step < stage.last_step:
            started_s = time.monotonic()
            for part in range(stage.phase.accumulate):
                self._learn(stage, part, *next(clips))
            step = self._standing.step
            rate, gradient = stage.learner.step(step - stage.first_step, step)
            self._record.add_step(gradient)
            self._advance(stage.phase.size, time.monotonic() - started_s)
            progress.step(self._standing.step)
            if stop():
                ending = Ending.ASKED
            elif time.monotonic() >= deadline_s:
                ending = Ending.TIME
            self._keep(stage, progress, rate, stopping=ending is not Ending.DONE)
        self._weights = stage.learner.weights()
        return ending

    def _clips(self, stage: _Stage) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches that the run has not seen of a stage."""
        phase, data = stage.phase, self._config.data
        maker = ClipMaker(
            self._pack,
            data,
            seed=self._config.seed,
            frames=phase.frames,
            side=phase.size,
            objects=phase.objects,
        )
        return batches(
            maker,
            phase,
            first_clip=stage.clips_before(self._standing.step),
            steps=stage.last_step - self._standing.step,
            workers=data.workers,
        )

    def _learn(self, stage: _Stage, part: int, images: Tensor, masks: Tensor) -> None:
        """Gather the gradients of one pass."""
        config, phase = self._config, stage.phase
        random = np.random.default_rng([config.seed, PROMPT_STREAM, self._standing.step, part])
        plan = random_plan(config.prompts, phase.frames, random)
        images_tn3ss = normalised(images.to(self._device, non_blocking=True), stage.spec)
        masks_ntss = masks.to(self._device, non_blocking=True).flatten(0, 1)
        masks_tn1ss = masks_ntss.transpose(0, 1).unsqueeze(2)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=config.bf16):
            guesses = forward_clips(
                stage.learner.network, images_tn3ss, masks_tn1ss, plan, config.prompts, random
            )
            losses = mean_losses(
                [guess_losses(g, masks_tn1ss[g.frame], phase.loss_stride) for g in guesses]
            )
        (losses.total / phase.accumulate).backward()  # type: ignore[no-untyped-call]
        self._record.add_pass(plan.kind, losses, len(images))

    def _advance(self, size: int, seconds: float) -> None:
        was = self._standing
        update = {"step": was.step + 1, "size": size, "seconds": was.seconds + seconds}
        self._standing = was.model_copy(update=update)

    def _keep(self, stage: _Stage, progress: Progress, rate: float, *, stopping: bool) -> None:
        """Log, score and save where it is time to."""
        config, step, seconds = self._config, self._standing.step, self._standing.seconds
        ends = stopping or step == stage.last_step
        if ends or step % config.log_every == 0:
            clips = stage.clips_before(step)
            progress.say(step, self._record.log(step, stage.number, clips, seconds, rate))
        if step % config.evaluation.every == 0 or step == config.steps:
            progress.say(step, self._score(stage))
        if ends or step % config.save_every == 0:
            save_run(self._folder / LAST_NAME, stage.learner.weights(), self._standing)

    def _score(self, stage: _Stage) -> str:
        """Score the averaged weights on the held-out videos; keep them if they are the best."""
        average = stage.learner.weights().average
        model = self._model(average, stage.spec)
        evaluation, held_out = self._config.evaluation, self._config.data.held_out
        scores = held_out_scores(model, self._pack, held_out, evaluation.frames)
        step, best = self._standing.step, self._standing.best_score
        mean = self._record.score(step, self._standing.seconds, scores)
        if best is None or mean > best:
            update = {"best_score": mean, "best_step": step}
            self._standing = self._standing.model_copy(update=update)
            save_tensors(self._folder / BEST_NAME, average, self._standing)
        each = " ".join(f"{kind} {score:.3f}" for kind, score in scores.items())
        return f"held-out J&F {mean:.3f}: {each}"

    def _model(self, weights: Mapping[str, Tensor], spec: InputSpec) -> Model:
        """A network with these weights, as `load_model` would make it."""
        network = self._blueprint.build(spec.size)
        network.load_state_dict(weights)
        network.eval().requires_grad_(False)
        precision: Precision = "bf16" if self._config.bf16 else "fp32"
        target = Target(self._device.type, precision, spec, trunk="convolutional")
        on = optimize(network, target, frozenset({CUDA_GRAPHS}))  # soon there is another
        network.to(self._device)
        network.image_encoder.to(memory_format=torch.channels_last)
        return Model(
            self._standing.model,
            Sam2Model(network, spec),
            self._device,
            torch_dtype(precision),
            spec,
            fingerprint="",
            optimizations=on,
        )


def normalised(images_ntssc: Tensor, spec: InputSpec) -> Tensor:
    """Frames uint8 [n, T, S, S, 3] as the network takes them, float32 [T, n, 3, S, S].

    Channels stay last in memory, as convolutions like it.
    """
    images_tnssc = images_ntssc.transpose(0, 1).float()
    scale = 1 / (255 * images_tnssc.new_tensor(spec.std))
    shift = images_tnssc.new_tensor(spec.mean) / images_tnssc.new_tensor(spec.std)
    return images_tnssc.mul_(scale).sub_(shift).permute(0, 1, 4, 2, 3)
