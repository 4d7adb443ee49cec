"""The conditions of a run, which every record states."""

import argparse
import datetime
import shlex
import sys
from dataclasses import dataclass
from typing import Any

import torch

from tools.bench.machine import describe_machine, versions
from tools.bench.models import find_weights
from tools.bench.record import Machine, Run, Subject
from tracker.models import find_spec
from tracker.models.checkpoints import weights_file
from tracker.models.digest import file_sha256
from tracker.models.load import choose_device, choose_target
from tracker.models.optim.plan import switched_off


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a run of a suite: the machine and what is measured on it."""

    machine: Machine
    subject: Subject | None

    @property
    def dtype(self) -> str:
        """The precision, "fp32", "bf16" or "int8"."""
        assert self.subject is not None
        return self.subject.dtype

    def run(self, **parts: Any) -> Run:
        """A run under these conditions."""
        return Run(
            command=typed_command(),
            day=datetime.datetime.now(datetime.UTC).date().isoformat(),
            machine=self.machine,
            versions=versions(),
            subject=self.subject,
            **parts,
        )


def typed_command() -> str:
    """Command line as it can be typed again; paths by their last part."""
    words = [word.rsplit("/", 1)[-1] for word in sys.argv[1:]]
    return shlex.join(["python", "-m", "tools.bench", *words])


def without_model() -> Conditions:
    """Conditions of a suite that runs no network."""
    return Conditions(describe_machine(torch.device("cpu")), None)


def conditions_of(options: argparse.Namespace) -> Conditions:
    """Conditions of a suite with the options of a model.

    Raises:
        UsageError: The model, the device or the precision is not to be had.
    """
    device = choose_device(options.device)
    weights, spec = find_weights(options.model), find_spec(options.model.partition("@")[0])
    target = choose_target(spec, weights.path, device, options.dtype, switched_off())
    subject = Subject(
        model=options.model,
        weights=f"{weights.origin}, sha256 {file_sha256(weights_file(weights.path))[:12]}",
        input_px=weights.input_px,
        dtype=target.precision,
        device=str(device),
        threads=torch.get_num_threads(),
    )
    return Conditions(describe_machine(device), subject)
