"""The example subscribers, each a program of its own, print what a publisher sends."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.tracked_frames import DEADLINE_S, HEIGHT, WIDTH, disc, found, publishing, tracked
from tracker.types import ObjectState

EXAMPLES = Path(__file__).parents[2] / "examples" / "subscribers"
NPM_TIMEOUT_S = 120
MESSAGES = 3


def _program(name: str, package: str) -> str:
    """Path of a program; without it the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}; on Debian: apt-get install {package}")
    return path


@pytest.fixture(scope="session")
def python_subscriber() -> list[str]:
    return [sys.executable, str(EXAMPLES / "subscriber.py")]


@pytest.fixture(scope="session")
def node_subscriber(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The example beside the `zeromq` package, which npm brings with its binary built."""
    node, npm = _program("node", "nodejs npm"), _program("npm", "nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    command = [npm, "install", *flags, "--prefix", str(folder), "zeromq@6"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install zeromq within {NPM_TIMEOUT_S} s")
    if done.returncode:
        pytest.skip(f"npm cannot install zeromq: {done.stderr.strip().splitlines()[-1:]}")
    return [node, shutil.copy(EXAMPLES / "subscriber.mjs", folder)]


@pytest.fixture(scope="session")
def cpp_subscriber(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The example, compiled as its second line says."""
    compiler = _program("g++", "g++")
    packages = {
        "zmq.hpp": "cppzmq-dev",
        "zmq.h": "libzmq3-dev",
        "nlohmann/json.hpp": "nlohmann-json3-dev",
    }
    for header, package in packages.items():
        probe = [
            compiler,
            "-std=c++17",
            "-x",
            "c++",
            "-fsyntax-only",
            "-include",
            header,
            os.devnull,
        ]
        if subprocess.run(probe, capture_output=True).returncode:
            pytest.skip(f"no {header}; on Debian: apt-get install {package}")
    source = EXAMPLES / "subscriber.cpp"
    said = re.search(r"// Build: (.*)", source.read_text())
    assert said is not None
    folder = tmp_path_factory.mktemp("cpp")
    shutil.copy(source, folder)
    subprocess.run(said[1].split(), cwd=folder, check=True, timeout=120)
    return [str(folder / "subscriber")]


@pytest.fixture(params=["python", "node", "cpp"])
def command(request: pytest.FixtureRequest) -> list[str]:
    return request.getfixturevalue(f"{request.param}_subscriber")


def test_a_subscriber_prints_id_label_state_and_box(command: list[str]) -> None:
    hidden = np.zeros((HEIGHT, WIDTH), np.bool_)
    with publishing() as publisher:
        arguments = [*command, publisher.endpoint, "cam1", str(MESSAGES)]
        with _running(arguments) as child:
            # The first frame may come before it subscribes: it is repeated then.
            for seq in range(MESSAGES):
                objects = (
                    found(1, disc(10 + seq, 20), label="blå kopp"),
                    found(2, hidden, label=None, state=ObjectState.LOST),
                )
                publisher.tracked(tracked(seq, objects))
                publisher.tracked(tracked(seq, stream="cam10"))
                lines = [child.stdout.readline(), child.stdout.readline()]
                x0, x1 = 4 + seq, 17 + seq
                assert [_plain(line) for line in lines] == [
                    f"1blåkoppvisible[{x0},14,{x1},27]",
                    "2nulllostnull",
                ]
            assert child.stdout.read() == ""
            assert child.wait() == 0


@contextmanager
def _running(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended when it is not wanted any more, or says nothing for too long."""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        timer = threading.Timer(DEADLINE_S, child.kill)
        timer.start()
        try:
            yield child
        finally:
            timer.cancel()
            child.kill()


def _plain(line: str) -> str:
    """A line as each language would print it."""
    return re.sub(r'["\s]', "", line).replace("None", "null")
