"""Processor time of a process."""

import os
from pathlib import Path


def processor_s(pid: int) -> float:
    """Seconds of processor time of a process so far, of all its threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
