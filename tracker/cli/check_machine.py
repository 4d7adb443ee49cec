"""Checks of `trackd doctor` on any machine: packages, codecs, devices, optimizations, weights."""

import ctypes
import importlib.metadata
import importlib.util
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.cli.check import Check, fail, ok, warn
from tracker.process import usable_processors

if TYPE_CHECKING:
    import torch

    from tracker.models.optim.plan import Target

_MODULES = ("torch", "sam2", "av", "cv2", "numpy", "zmq", "supervision", "pydantic", "pycocotools")
_NEEDED_DECODERS = ("h264", "hevc")
_USEFUL_DECODERS = ("mjpeg", "vp9", "av1")
_PROTOCOLS = ("rtsp", "rtsps", "http", "https")
_UNUSED = "127.0.0.1:1"  # nobody listens there: FFmpeg knows the protocol where it is refused
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CLOCK_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_EARLIEST_S = 1_735_689_600  # 2025-01-01: an older date is a clock that was never set
_REINSTALL = "install trackd again"


def packages() -> Iterator[Check]:
    """Python and what trackd is built on."""
    python = f"Python {platform.python_version()}"
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        yield fail(f"{python}; not installed: {', '.join(missing)}", _REINSTALL)
    sold_as = importlib.metadata.packages_distributions()
    found = [name for name in _MODULES if name in sold_as]
    versions = (f"{name} {importlib.metadata.version(sold_as[name][0])}" for name in found)
    yield ok(f"{python}, {', '.join(versions)}")


def video() -> Iterator[Check]:
    """Decoders and protocols of the FFmpeg that PyAV carries."""
    import av

    missing = [name for name in _NEEDED_DECODERS if not _decodes(name)]
    wanting = [name for name in _USEFUL_DECODERS if not _decodes(name)]
    ffmpeg = f"FFmpeg {av.ffmpeg_version_info} of PyAV"
    if missing:
        yield fail(f"{ffmpeg} cannot decode {', '.join(missing)}", "pip install --force av")
    elif wanting:
        yield warn(f"{ffmpeg} cannot decode {', '.join(wanting)}", "pip install --force av")
    else:
        yield ok(f"{ffmpeg} decodes {', '.join((*_NEEDED_DECODERS, *_USEFUL_DECODERS))}")
    unknown = [name for name in _PROTOCOLS if not _knows(name)]
    if unknown:
        yield fail(f"{ffmpeg} cannot open {'://, '.join(unknown)}://", "pip install --force av")
    else:
        yield ok(f"{ffmpeg} opens {'://, '.join(_PROTOCOLS)}://")


def _decodes(codec: str) -> bool:
    from av.codec.codec import Codec, UnknownCodecError

    try:
        Codec(codec, "r")
    except UnknownCodecError:
        return False
    return True


def _knows(protocol: str) -> bool:
    import av
    import av.error

    try:
        av.open(f"{protocol}://{_UNUSED}/", timeout=2.0).close()
    except (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError):
        return False
    except (av.error.FFmpegError, OSError):
        return True
    return True


def device(
    name: str, dtype: str, model: str, checkpoint: Path | None, without: Iterable[str] = ()
) -> Iterator[Check]:
    """The device and the precision of the network."""
    import torch

    from tracker.models.load import choose_device
    from tracker.models.optim.plan import switched_off

    chosen = choose_device(name)
    precision = _target(chosen, dtype, model, checkpoint, switched_off(without)).precision
    if chosen.type == "cuda":
        facts = torch.cuda.get_device_properties(chosen)
        yield ok(f"{chosen}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB, {precision}")
    elif chosen.type == "cpu" and name == "auto" and shutil.which("nvidia-smi"):
        built = torch.version.cuda or "none"
        yield warn(
            f"an NVIDIA driver is here, but torch {torch.__version__} (CUDA {built}) sees no GPU",
            "compare the CUDA version with nvidia-smi and install the torch that fits",
        )
    else:
        yield ok(f"device {chosen.type}, {precision}")


def optimizations(
    name: str, dtype: str, model: str, checkpoint: Path | None, without: Iterable[str] = ()
) -> Iterator[Check]:
    """The optimizations of the network, on or off, with the reason."""
    from tracker.models.load import choose_device
    from tracker.models.optim.plan import ENVIRONMENT, decide, switched_off

    off = switched_off(without)
    for decision in decide(_target(choose_device(name), dtype, model, checkpoint, off), off):
        row = decision.optimization.name
        text = f"optimization {row}: {'on' if decision.on else 'off'}, {decision.why}"
        if row in off:
            yield warn(text, f"correct model.without or {ENVIRONMENT} to switch it on")
        else:
            yield ok(text)


def _target(
    device: "torch.device", dtype: str, model: str, checkpoint: Path | None, off: frozenset[str]
) -> "Target":
    from tracker.models.checkpoints import checkpoint_path
    from tracker.models.load import choose_target
    from tracker.models.registry import find_spec

    spec = find_spec(model)
    return choose_target(spec, checkpoint or checkpoint_path(spec), device, dtype, off)


def weights(name: str, checkpoint: Path | None) -> Iterator[Check]:
    """The weights of the model that would track, and what other models are here."""
    from tracker.models.checkpoints import (
        CheckpointState,
        checkpoint_path,
        list_checkpoints,
        weights_file,
    )
    from tracker.models.registry import find_spec

    spec = find_spec(name)
    path = weights_file(checkpoint or checkpoint_path(spec))
    if path.is_file():
        license = f", {spec.license.spdx}" if checkpoint is None else ""
        yield ok(f"model {name}: {path}, {path.stat().st_size / 1e6:.1f} MB{license}")
    elif checkpoint is not None:
        yield fail(f"model {name}: no file {path}", "correct model.checkpoint")
    elif spec.embedded:
        yield fail(f"model {name}: the packaged weights {path} are gone", _REINSTALL)
    elif spec.gated is not None:
        yield fail(f"model {name}: no weights in {path}", f"accept their license at {spec.gated}")
    else:
        yield fail(f"model {name}: no weights in {path}", f"trackd checkpoints get {name}")
    others = [item for item in list_checkpoints() if item.spec.name != name]
    here = [item.spec.name for item in others if item.state is not CheckpointState.MISSING]
    yield ok(
        f"other models here: {', '.join(here) or 'none'}; "
        f"{len(others) - len(here)} more can be had with `trackd checkpoints get`"
    )


def processors() -> Iterator[Check]:
    """Number of processors, and how threads wait for each other."""
    usable = usable_processors()
    quota = _cpu_quota()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if quota is not None and quota < usable and not threads:
        yield warn(
            f"{usable} processors, but this container may use {quota:g}",
            f"export OMP_NUM_THREADS={max(1, math.floor(quota))}",
        )
    else:
        count = "1 processor" if usable == 1 else f"{usable} processors"
        yield ok(count + (f", OMP_NUM_THREADS={threads}" if threads else ""))
    policy = os.environ.get("OMP_WAIT_POLICY", "").lower()
    bounded = os.environ.get("GOMP_SPINCOUNT", "").isdecimal()
    if policy == "passive" or bounded:
        yield ok(f"waiting threads soon sleep (OMP_WAIT_POLICY={policy})")
    else:
        yield warn(
            f"waiting threads spin (OMP_WAIT_POLICY={policy}): slow where processors are shared",
            "unset OMP_WAIT_POLICY",
        )


def _cpu_quota() -> float | None:
    """Processors that a container may use; None where that is not limited."""
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def clock() -> Iterator[Check]:
    """The time that frames are stamped with."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    how = "timedatectl set-ntp true, or start chrony"
    if time.time() < _EARLIEST_S:
        yield fail(f"the clock says {now}", f"set it: {how}")
        return
    synchronised = _clock_synchronised()
    if synchronised is None:
        yield ok(f"the clock says {now}; whether it is synchronised is not known")
    elif synchronised:
        yield ok(f"the clock says {now}, synchronised")
    else:
        yield warn(f"the clock says {now}, but the system does not synchronise it", how)


def _clock_synchronised() -> bool | None:
    """True where the kernel says that its clock is synchronised; None where it cannot be asked."""
    if sys.platform != "linux":
        return None
    timex = ctypes.create_string_buffer(512)  # zeros: change nothing; struct timex is smaller
    state = ctypes.CDLL(None).adjtimex(timex)
    return None if state < 0 else bool(state != _CLOCK_UNSYNCHRONISED)
