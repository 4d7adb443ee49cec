"""Errors of a process that gets no more memory or threads, whichever library met the limit."""

import errno
import re
import sys

from tracker.errors import TrackdError

_GPU_SAYS = re.compile(r"CUDA.*out of memory|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED")
_MEMORY_SAYS = re.compile(
    r"can(?:'|no)t allocate memory|out of memory|Insufficient memory|failed to map segment"
    r"|std::bad_alloc",
    re.IGNORECASE,
)
# oneDNN says no more of a shortage, nor of anything else that fails there.
_VAGUE = re.compile(r"could not create a (?:primitive|memory)")
_THREADS_SAY = "can't start new thread"
_CAUSES = 8


class ExhaustedError(TrackdError):
    """A limit of the system, which the work of this process does not fit into."""


def exhausted(error: BaseException) -> ExhaustedError | None:
    """Error to report for one that a limit of the system caused; None for any other."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None:
            return None
        if isinstance(cause, ExhaustedError):
            return cause
        told = _told(cause)
        if told is not None:
            return told
        cause = cause.__cause__ or cause.__context__
    return None


def _told(error: BaseException) -> ExhaustedError | None:
    text = str(error) if _is_of_a_library(error) else ""
    if _GPU_SAYS.search(text):
        return ExhaustedError(
            "the memory of the GPU is full",
            "take a smaller model, fewer objects or fewer streams, or end what else uses the GPU",
        )
    out_of_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    out_of_memory |= isinstance(error, MemoryError) or _MEMORY_SAYS.search(text) is not None
    if out_of_memory or (_VAGUE.search(text) and _memory_is_limited()):
        return ExhaustedError(
            "the system gives this process no more memory",
            "take smaller frames, fewer objects or fewer streams, or raise the limit of memory "
            "(ulimit -v, or that of the container)",
        )
    if _THREADS_SAY in text:
        return ExhaustedError(
            "the system gives this process no more threads",
            "raise the limit of processes (ulimit -u, TasksMax of the unit), or that of memory",
        )
    return None


def _memory_is_limited() -> bool:
    if sys.platform == "win32":
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _is_of_a_library(error: BaseException) -> bool:
    """True if it is of a kind that native code raises for all that goes wrong in it."""
    return isinstance(error, RuntimeError | ImportError) or type(error).__module__ == "cv2"
