"""The process: its processors, waiting threads, freed memory, and what a crash leaves."""

import ctypes
import faulthandler
import os
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 1 << 30
_SPINS = 10_000  # a fraction of a millisecond
_PR_SET_DUMPABLE = 4
_STDERR = 2


def prepare_process() -> None:
    """Set up the process for tracking. Call it before torch is first imported."""
    _wait_politely()
    _keep_freed_memory()


def _wait_politely() -> None:
    """Let waiting OpenMP threads spin for a moment, then sleep, unless the environment says else.

    A thread that spins for long at every barrier takes the processor from the thread that it waits
    for wherever fewer processors are free than threads run: in containers, on busy or rented
    machines. There the network was seen to run up to 40 times slower. One that sleeps at once must
    be woken hundreds of times a frame, which was seen to cost more than the work itself.

    GNU OpenMP, which torch brings on Linux, has two bounds: the one that is set here, and a lower
    one for while the teams of a process have more threads than there are processors. "passive"
    makes that one 0, "active" 1000 spins. By itself "active" would mean to spin for ever, to the
    OpenMP of LLVM and Intel too, which knows a bound of its own in milliseconds.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    linux = sys.platform.startswith("linux")
    os.environ["OMP_WAIT_POLICY"] = "active" if linux else "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
    if linux:
        os.environ.setdefault("KMP_BLOCKTIME", "1")


def _keep_freed_memory() -> None:
    """Let the C library keep what tensors free, up to a bound, for the tensors that follow.

    By default glibc gives large blocks back to the system at once, and every frame pays for
    getting the same memory again, page by page: a quarter of the time with several objects.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not in musl
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def usable_processors() -> int:
    """Processors that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def forbid_core_dumps() -> None:
    """Keep the memory of this process, keys and passwords in it, off the disk. Call it early.

    A limit of 0 bytes stops the kernel from writing a file, but not from piping the memory to a
    collector such as systemd-coredump: only a process that is not dumpable gives it nothing. Nor
    may other programs of its user then read its memory, attach a debugger, or list its files.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def leave_stacks() -> None:
    """Let a crash in native code write the stacks of all threads to stderr.

    They name files, lines and functions, and hold no values: no secret is among them.
    """
    try:
        os.fstat(_STDERR)
    except OSError:
        return  # closed; the number may later be that of another file
    if not faulthandler.is_enabled():
        faulthandler.enable(_STDERR)
