"""How threads wait for each other, and what a crash leaves."""

import os
import signal
import subprocess
import sys

import pytest

from tracker.process import prepare_process

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unset")
def test_threads_wait_for_a_bounded_while(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, policy in (("linux", "active"), ("darwin", "passive")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        monkeypatch.setattr(sys, "platform", platform)
        prepare_process()
        assert os.environ["OMP_WAIT_POLICY"] == policy
        if policy == "active":  # which has no bound but these
            assert int(os.environ["GOMP_SPINCOUNT"]) > 0
            assert int(os.environ["KMP_BLOCKTIME"]) > 0


@pytest.mark.usefixtures("unset")
def test_the_environment_has_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    prepare_process()
    assert [os.environ.get(name) for name in NAMES] == ["passive", None, None]


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own, its stderr a pipe."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_core_is_dumped_to_a_file_or_a_collector() -> None:
    code = """
import ctypes
from tracker.process import forbid_core_dumps
forbid_core_dumps()
print(next(line for line in open("/proc/self/limits") if line.startswith("Max core")).split()[4:6])
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""
    assert run(code).stdout.splitlines() == ["['0', '0']", "0"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="becomes another user")
def test_a_process_that_is_not_dumpable_still_finds_itself_in_proc() -> None:
    code = """
import encodings.ascii, encodings.idna, os, pathlib, resource, socket, tempfile  # while readable
from prometheus_client import ProcessCollector, CollectorRegistry
from tracker.daemon.telemetry.log_writer import background_output
from tracker.daemon.access.peers import PeerUsers
from tracker.daemon.state.state_folder import StateFolder
from tracker.process import forbid_core_dumps
os.setgid(65534), os.setuid(65534)
os.dup2(os.pipe()[1], 2)  # one of its own
forbid_core_dumps()
place = pathlib.Path(tempfile.mkdtemp())
assert pathlib.Path("/proc/self/environ").stat().st_uid == 0  # it is seen from outside as root's
with background_output():
    assert not os.get_blocking(2)
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
print("user:", PeerUsers().user_of(accepted.fileno()))
folder = StateFolder(place / "state")
(place / "state").rename(place / "moved")
(folder.here() / "written").write_text("")
print("moved:", (place / "moved" / "written").exists())
registry = CollectorRegistry()
ProcessCollector(registry=registry)
print("files:", registry.get_sample_value("process_open_fds") > 3)
"""
    result = run(code)
    said = result.stdout.splitlines()
    assert said == ["user: 65534", "moved: True", "files: True"], result.stderr


def test_a_crash_in_native_code_leaves_its_stack_and_no_secret() -> None:
    code = """
import os
from tracker.process import leave_stacks
def open_camera(password):
    os.abort()
leave_stacks()
open_camera("hunter2")
"""
    crashed = run(code)
    assert crashed.returncode == -signal.SIGABRT
    assert "in open_camera" in crashed.stderr and "hunter2" not in crashed.stderr
