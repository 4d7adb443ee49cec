"""The systemd unit: what it allows fits what the daemon takes with its default limits."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from streams import open_source
from tests.support.streams_clips import write_pattern
from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.descriptors import connections_to_a_socket
from tracker.errors import StateError, UsageError

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "configs" / "trackd.service"
# Threads of a source: one that reads, one that watches it, four of FFmpeg to decode and four to
# convert; and with three readers that were left behind, three times all but the one that watches.
A_STREAM = 1 + 4 * (1 + 2 * 4)
PROCESSORS, A_PROCESSOR, OTHERS = 64, 4, 32


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def number(name: str) -> int:
    (value,) = settings()[name]
    return int(value)


def pins(name: str) -> dict[str, str]:
    """Versions by package in a file of requirements, with names as package indexes have them."""
    lines = (ROOT / name).read_text().splitlines()
    found = [re.match(r"([\w.-]+)==([\w.+]+)", line) for line in lines]
    return {re.sub(r"[-_.]+", "-", one[1]).lower(): one[2] for one in found if one}


def test_what_is_installed_has_hashes_and_the_versions_that_were_tested() -> None:
    locked, tested = pins("requirements-serve.txt"), pins("constraints.txt")
    assert locked.items() <= tested.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[><=]", one)[0] for one in project["dependencies"]}
    assert wanted <= locked.keys()
    text = (ROOT / "requirements-serve.txt").read_text()
    sections = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(sections) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", section) for section in sections)


def test_threads_suffice_for_as_many_streams_as_there_may_be() -> None:
    streams = DaemonConfig().limits.streams
    assert number("TasksMax") >= streams * A_STREAM + PROCESSORS * A_PROCESSOR + OTHERS


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_source_takes_no_more_threads_than_counted(tmp_path: Path) -> None:
    def threads() -> set[str]:
        return set(os.listdir("/proc/self/task"))  # noqa: PTH208

    for url in (str(write_pattern(tmp_path / "clip.mp4", frames=8)), "lavfi:testsrc2"):
        before = threads()
        with open_source(url) as source:
            next(iter(source))
            assert len(threads() - before) <= 2 * 4


NO_THREADS = """
import encodings.ascii, encodings.idna, os, resource, sys, threading  # while they can be read
import streams.sources.ffmpeg
from streams import open_source
streams.sources.ffmpeg.ffmpeg_threads = lambda: 4
os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print("none")
with open_source(sys.argv[1]) as source:
    print(len(list(source)), source.stats.corrupt_packets)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="becomes another user")
def test_a_source_is_read_with_one_thread_where_there_are_no_more(tmp_path: Path) -> None:
    clip = write_pattern(tmp_path / "clip.mp4", frames=12)
    with tempfile.TemporaryDirectory() as folder:
        readable = Path(folder) / "clip.mp4"
        shutil.copy(clip, readable)
        for path, mode in ((Path(folder), 0o755), (readable, 0o644)):
            path.chmod(mode)
        command = [sys.executable, "-c", NO_THREADS, str(readable)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["none", "12 0"], result.stderr


def test_descriptors_suffice_for_as_many_connections_as_there_may_be() -> None:
    wanted = DaemonConfig().limits.connections
    assert connections_to_a_socket(wanted, number("LimitNOFILE")) == wanted


def test_what_a_restart_does_not_mend_is_not_restarted() -> None:
    (codes,) = settings()["RestartPreventExitStatus"]
    assert {int(code) for code in codes.split()} == {UsageError.exit_code, StateError.exit_code}
    assert settings()["Restart"] == ["on-failure"]


def test_there_is_time_to_drain_and_a_watchdog() -> None:
    assert number("TimeoutStopSec") > DaemonConfig().drain_timeout_s
    assert number("WatchdogSec") >= 30  # the daemon tells once a second
    assert settings()["Type"] == ["notify"]


def test_the_daemon_gets_no_right_that_it_has_no_use_for() -> None:
    for name, value in {
        "LimitCORE": "0",
        "UMask": "0077",
        "CapabilityBoundingSet": "",
        "AmbientCapabilities": "",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateDevices": "yes",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    }.items():
        assert settings()[name] == [value], name
    # libzmq gives its threads the policy that they have, and ends the process where it may not.
    assert settings()["SystemCallFilter"] == [
        "@system-service",
        "~@privileged @resources",
        "sched_setscheduler",
    ]
