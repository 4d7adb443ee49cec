"""Where all descriptors are taken: how many connections may take, and saving all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from tracker.daemon.descriptors import connections_to_a_socket

SAVE = """
import errno, os, resource, sys, threading
from pathlib import Path
from tracker.atomic import write_atomically
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError as err:
    assert err.errno == errno.EMFILE
threading.Timer(0.2, os.close, [taken.pop()]).start()
write_atomically(Path(sys.argv[1]), b"saved")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit on Windows")
def test_saving_waits_for_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    run = subprocess.run(
        [sys.executable, "-c", SAVE, str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert path.read_bytes() == b"saved"


@pytest.mark.parametrize(
    ("wanted", "limit", "allowed"),
    [(512, 256, 32), (512, 1024, 128), (512, 65_536, 512), (8, 256, 8), (512, 16, 4)],
)
def test_connections_leave_more_than_half_of_the_descriptors(
    wanted: int, limit: int, allowed: int
) -> None:
    assert connections_to_a_socket(wanted, limit) == allowed
    if limit > 64:
        assert 3 * allowed < limit / 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit on Windows")
def test_the_daemon_takes_as_many_descriptors_as_it_is_given() -> None:
    script = (
        "import resource\n"
        "from tracker.daemon.descriptors import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))\n"
        "assert raise_limit() == 200\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
