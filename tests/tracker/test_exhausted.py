"""Limits of memory and threads: the real errors of the libraries, told as what they are."""

import errno
import subprocess
import sys

import av.error
import pytest

from tests.support.warm_python import python
from tracker.cli import failures
from tracker.exhausted import exhausted

MEMORY = "the system gives this process no more memory"
ROOM_BYTES = 1 << 30

REAL = """
import resource, threading
import cv2, numpy as np, torch
from tracker.rle import encode_rle
from streams.decode.memory import check_memory
from tracker.exhausted import exhausted

def pages():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

torch.zeros(8).sum()  # its threads are there
check_memory()  # there is enough
most = pages() + {room}
resource.setrlimit(resource.RLIMIT_AS, (most, most))
big = 2 * {room}
small = np.zeros((8, 8, 3), np.uint8)
large = np.broadcast_to(np.ones((1, 1), np.bool_), (50000, 50000))
for ask in (
    lambda: torch.empty(big, dtype=torch.uint8),
    lambda: np.empty(big, np.uint8),
    lambda: cv2.resize(small, (30000, 30000)),
    lambda: bytearray(big),
    lambda: check_memory(big),
    lambda: encode_rle(large),
):
    try:
        ask()
    except Exception as error:
        print(exhausted(error).message)
    else:
        print("it was had")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_every_library_that_meets_a_limit_of_memory_is_understood() -> None:
    code = REAL.format(room=ROOM_BYTES)
    result = subprocess.run([*python(), "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines() == [MEMORY] * 6, result.stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "of the GPU is full"),
        (RuntimeError("can't start new thread"), "no more threads"),
        (ImportError("x.so: failed to map segment from shared object"), MEMORY),
    ],
)
def test_what_cannot_be_brought_about_here_is_understood_too(error: Exception, says: str) -> None:
    told = exhausted(error)
    assert told is not None and says in told.message


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_what_onednn_says_is_about_memory_only_where_that_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    error = RuntimeError("could not create a primitive")
    for limit, is_memory in ((resource.RLIM_INFINITY, False), (1 << 40, True)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert (exhausted(error) is not None) is is_memory


def test_a_cause_counts_and_other_errors_do_not() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError as cause:
            raise ValueError("while it was reported") from cause
    except ValueError as error:
        assert exhausted(error) is not None
    assert exhausted(ValueError("label 'out of memory'")) is None
    assert exhausted(OSError(errno.ENOSPC, "No space left on device")) is None


def test_a_command_says_what_to_do_and_not_that_it_is_a_bug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert failures.report(MemoryError()) == 1
    told = capsys.readouterr().err
    assert MEMORY in told and "raise the limit of memory" in told and "bug" not in told
