"""Memory use of a process."""

import resource
import sys
from pathlib import Path


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process, in MiB (Linux).

    Raises:
        OSError: There is no such process, or no /proc.
    """
    return _status_mib(pid, "VmRSS")


def forget_peak() -> None:
    """Count the peak of this process's memory from now on, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """The most resident memory that this process had since `forget_peak`, in MiB."""
    try:
        return _status_mib("self", "VmHWM")
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20


def _status_mib(pid: int | str, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"no process {pid}")
