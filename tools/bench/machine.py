"""Machine on which a measurement was taken, in words."""

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import torch

from tools.bench.record import Machine

PACKAGES = ("trackd", "torch", "sam2", "numpy", "av", "opencv-python-headless", "pyzmq")


def describe_machine(device: torch.device) -> Machine:
    """This machine, with the GPU if `device` is one."""
    return Machine(
        cpu=_cpu_model(),
        cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        accelerator=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        system=f"{platform.system()} {platform.release()}",
    )


def slug(machine: Machine) -> str:
    """A name for the machine's folder, such as `amd-epyc-2-cpus`."""
    what = machine.accelerator or f"{machine.cpu} {machine.cpus} cpus"
    return re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a measurement depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
